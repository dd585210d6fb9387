import io
import os
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from snn_compile.compiler.network import Network
from snn_compile.errors import ModelFileError, NetworkError, SnnCompileError, UnsupportedError
from snn_compile.frontend.readers import read_checkpoint, read_model
from snn_compile.frontend.readers.options import ReadOptions
from snn_compile.frontend.readers.pytorch import archive
from snn_compile.frontend.readers.pytorch.pickle import InertUnpickler
from snn_compile.frontend.readers.pytorch.tensors import Storages

sys.path.insert(0, str(Path(__file__).parent))
from archives import Tensor, checkpoint, save

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits.pt"


def read(tmp_path, **changes):
    return read_model(save(tmp_path / "model.pt", checkpoint(**changes)))


def refused(tmp_path, sentence, error=ModelFileError, **changes):
    with pytest.raises(error, match=sentence):
        read(tmp_path, **changes)


def architecture(**changes):
    return {**checkpoint()["architecture"], **changes}


def test_a_valid_checkpoint(tmp_path):
    network = read(tmp_path)
    assert network.dump().splitlines()[1:] == [
        "  x: Input (3,) graded <-",
        "  fc: Linear (2,) 5 weights <- x",
        "  y: LIF (2,) tau 2 threshold 1 >= hard <- fc",
    ]
    assert network.by_name["fc"].weight.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert network.rates["y"].tolist() == [0.5, 0.25]
    assert network.calibration.tolist() == [[0, 8, 16]]
    assert network.facts == {"data": "none", "test_accuracy": 0.5, "density": None}
    assert network.steps == 4
    assert read(tmp_path, calibration=None, rates={}, facts={}).calibration is None


def test_the_example():
    network = read_model(EXAMPLE)
    assert network.facts["test_accuracy"] >= 0.95
    assert network.facts["test_samples"] == 360
    weights = [node.weight for node in network.nodes if hasattr(node, "weight")]
    share = sum(map(np.count_nonzero, weights)) / sum(w.size for w in weights)
    assert share == network.facts["connectivity"] <= 0.1
    assert network.steps == 8
    assert network.calibration.shape == (64, 64)
    assert EXAMPLE.stat().st_size < 2**20


def test_files_that_are_no_model(tmp_path):
    path = tmp_path / "model.pt"
    with pytest.raises(ModelFileError, match=r"model.pt: does not exist; check the path"):
        read_model(path)
    with pytest.raises(ModelFileError, match=r"is a directory; give the model file in it"):
        read_model(tmp_path)
    for content, sentence in (
        (b"", "is empty; write it again"),
        (b"hello", r"is not a model file \(no zip archive\)"),
        (archive.LEGACY_MAGIC + b"...", "is in PyTorch's legacy format from before version 1.6; load it with torch"),
        (b"\x89HDF\r\n\x1a\n" + b"0" * 50, "HDF5"),
        (b"PK\x03\x04", "is cut off or damaged"),
    ):
        path.write_bytes(content)
        with pytest.raises(ModelFileError, match=sentence):
            read_model(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_and_devices_are_not_opened(tmp_path, monkeypatch):
    """A pipe without a writer lets whoever opens it wait for ever."""
    pipe, model = tmp_path / "pipe", save(tmp_path / "model.pt", {"w": Tensor(np.zeros(1))})
    os.mkfifo(pipe)
    opened = []
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *args: opened.append(self) or real(self, *args))
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(ModelFileError, match=r"is no regular file; give the model file itself"):
            read_model(path)
        with pytest.raises(ModelFileError, match=r"is no regular file; give the description of the layers itself"):
            read_model(model, ReadOptions(steps=1, architecture=path))
    assert {path.name for path in opened} == {"model.pt"}
    with pytest.raises(ModelFileError, match=r"is a directory; give the description of the layers in it"):
        read_model(model, ReadOptions(steps=1, architecture=tmp_path))
    for path in (Path("a\0b"), model / "below"):
        with pytest.raises(ModelFileError, match=r"does not exist; check the path"):
            read_model(path)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux")
def test_a_file_whose_first_byte_cannot_be_read():
    with pytest.raises(ModelFileError, match=r"/proc/self/mem: cannot be read \(Input/output error\); check its perm"):
        read_model("/proc/self/mem")


@pytest.mark.skipif(os.name == "nt" or (hasattr(os, "geteuid") and os.geteuid() == 0), reason="root reads everything")
def test_a_closed_file(tmp_path):
    path = save(tmp_path / "model.pt", checkpoint())
    path.chmod(0)
    with pytest.raises(ModelFileError, match=r"cannot be read .*; check its permissions"):
        read_model(path)


def test_an_unreadable_file(tmp_path, monkeypatch):
    path = save(tmp_path / "model.pt", checkpoint())

    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(ModelFileError, match=r"cannot be read \(Permission denied\); check its permissions"):
        read_model(path)


def test_zips_that_torch_does_not_write(tmp_path, monkeypatch):
    path = tmp_path / "model.pt"

    def wrong(sentence, **how):
        with pytest.raises(ModelFileError, match=sentence):
            read_model(save(path, how.pop("content", checkpoint()), **how))

    wrong("is a zip archive with 2 entries", extra=[("b/data.pkl", b"N.")])
    wrong("is a zip archive with 0 entries", prefix="a/b")
    wrong("is not little-endian; save it on another machine", byteorder=b"big")
    wrong("its entry 'byteorder' has 40 bytes, 16 are possible", byteorder=b"little" + b" " * 34)
    with pytest.warns(UserWarning, match=r"Duplicate name"):
        save(path, checkpoint(), extra=[("a/data/0", b"")])
    with pytest.raises(ModelFileError, match=r"holds the entry 'a/data/0' twice"):
        read_model(path)
    assert read_model(save(path, checkpoint(), byteorder=None)).steps == 4
    monkeypatch.setattr(archive, "MAX_ENTRIES", 3)
    wrong("has 5 entries, 3 are possible; save fewer tensors")


def test_sizes_beyond_the_file(tmp_path):
    path = save(tmp_path / "model.pt", checkpoint())
    raw = bytearray(path.read_bytes())
    start = raw.rindex(b"PK\x01\x02")  # the last entry of the directory
    raw[start + 20 : start + 28] = struct.pack("<II", 10**6, 10**6)
    path.write_bytes(raw)
    with pytest.raises(ModelFileError, match=r"says it holds 10\d+ bytes, the file has \d+"):
        read_model(path)


def test_a_damaged_storage(tmp_path):
    path = save(tmp_path / "model.pt", checkpoint())
    raw = path.read_bytes()
    weight = np.arange(6, dtype=np.float32).tobytes()
    path.write_bytes(raw.replace(weight, weight[:-1] + b"?"))
    with pytest.raises(ModelFileError, match=r"its entry 'data/0' is damaged"):
        read_model(path)


TENSORS = [
    (
        Tensor(np.zeros(6, np.float32), size=(2, 3), stride=(3, 1), offset=1),
        "offset 1: it reaches outside of its",
    ),
    (Tensor(np.zeros(6, np.float32), size=(2, 3), stride=(4, 1)), "it reaches outside of its storage of 6 elements"),
    (Tensor(np.zeros(6, np.float32), size=(2, 3), stride=(2**61, 1)), "it reaches outside"),
    (Tensor(np.zeros(6, np.float32), size=(2, 3), stride=(2**62, 1)), "whole numbers of 0 or more are needed"),
    (Tensor(np.zeros(6, np.float32), size=(2, 3), stride=(-3, 1)), "whole numbers of 0 or more are needed"),
    (Tensor(np.zeros(6, np.float32), size=(-2, 3), stride=(3, 1)), "whole numbers of 0 or more are needed"),
    (Tensor(np.zeros(6, np.float32), size=(2, 3), stride=(3, 1), offset=-1), "whole numbers of 0 or more"),
    (Tensor(np.zeros(6, np.float32), size=(2, 3), stride=(1,)), "the same number of each"),
    (Tensor(np.zeros(6, np.float32), size=(2, 3), stride=(0, 0)), "it names elements of its storage twice"),
    (Tensor(np.zeros(6, np.float32), size=(2, 3), stride=(1, 1)), "it names elements of its storage twice"),
    (Tensor(np.zeros(6, np.float32), size=(0, 2**40), stride=(1, 1)), "it reaches outside"),
    (Tensor(np.zeros(6, np.float32), size=(1,) * 20, stride=(1,) * 20), "the same number of each"),
    (
        Tensor(np.zeros(6, np.float32), elements=7),
        "storage 0 is described as 7 elements of FloatStorage, it has 6",
    ),
    (Tensor(np.zeros(6, np.float32), elements=10**9), "is described as 1000000000 elements"),
    (Tensor(np.zeros(7, np.uint8), kind="Float"), "storage 0 has 7 bytes, no multiple of 4"),
    (Tensor(np.zeros(6, np.float32), kind="Untyped"), r"storage 0 is described as 6 elements"),
    (b"ctorch._utils\n_rebuild_tensor_v2\n(NK\x00))\x89NtR", "a tensor has no storage"),
    (b"ctorch._utils\n_rebuild_tensor_v2\n(NNN)\x89NtR", "a tensor has no storage"),
]


@pytest.mark.parametrize(("tensor", "sentence"), TENSORS)
def test_tensors_stay_inside_their_storage(tmp_path, tensor, sentence):
    refused(tmp_path, sentence, state_dict={"fc.weight": tensor})


def test_a_layout_that_is_no_layout(tmp_path):
    content = checkpoint()
    good = Tensor(np.zeros(6, np.float32))
    from archives import Pickler, number

    raw = Pickler().tensor(good)
    broken = raw.replace(b"(" + number(6) + b"t", b"N", 1)
    content["state_dict"] = {"fc.weight": broken, "other": good}
    path = save(tmp_path / "model.pt", content)
    with pytest.raises(ModelFileError, match=r"size of type NoneType, stride \(1,\), offset 0: whole numbers"):
        read_model(path)


def test_one_storage_with_two_types_and_a_missing_one(tmp_path):
    a, b = Tensor(np.zeros(6, np.float32), key="0"), Tensor(np.zeros(6, np.int32), key="0")
    refused(tmp_path, "6 elements of IntStorage, it has 6 of FloatStorage", state_dict={"fc.weight": a, "b": b})
    path = save(tmp_path / "model.pt", checkpoint())
    copy = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        for info in old.infolist():
            if info.filename != "a/data/0":
                new.writestr(info.filename, old.read(info))
    path.write_bytes(copy.getvalue())
    with pytest.raises(ModelFileError, match=r"has no entry 'data/0'"):
        read_model(path)


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u1", "?"])
def test_every_dtype(tmp_path, dtype):
    values = np.array([[1, 0, 1], [0, 1, 1]], dtype)
    path = save(tmp_path / "model.pt", [Tensor(values), Tensor(values.T), Tensor(values, size=(0, 3), stride=(3, 1))])
    with archive.TorchArchive(path) as file:
        storages = Storages(file)
        unpickler = InertUnpickler("file", storages.storage, storages.tensor)
        whole, turned, empty = unpickler.load(file.read("data.pkl", 10**6))
    assert whole.dtype == values.dtype
    assert np.array_equal(whole, values)
    assert np.array_equal(turned, values.T)
    assert not whole.flags.writeable
    assert empty.shape == (0, 3)


def test_bfloat16_becomes_float32(tmp_path):
    upper = (np.array([1.5, -2.0, 3.0, 0.0, 1.0, 2.0], np.float32).view(np.uint32) >> 16).astype(np.uint16)
    tensor = Tensor(upper, kind="BFloat16", size=(2, 3), stride=(3, 1))
    weight = read(tmp_path, state_dict={"fc.weight": tensor}).by_name["fc"].weight
    assert weight.tolist() == [[1.5, -2.0, 3.0], [0.0, 1.0, 2.0]]
    assert weight.dtype == np.float32


NODES = checkpoint()["architecture"]["nodes"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format": "other"}, "is a state dict of 1 tensors, which does not say how they are connected"),
        ({"version": 2}, "has the format version 2, this program reads 1; update snn-compile"),
        ({"version": None}, "has the format version of type NoneType"),
        ({"architecture": []}, "architecture is list, dict is needed"),
        ({"architecture": {}}, "nodes is NoneType, list is needed"),
        ({"architecture": architecture(nodes=[1])}, "a layer is int, dict is needed"),
        ({"architecture": architecture(nodes=[{}] * 501)}, "has 501 layers, 500 are possible"),
        ({"architecture": architecture(nodes=[{"kind": "LIF", "name": {}}])}, "a layer has the setting 'name', whose"),
        ({"architecture": architecture(nodes=[{"kind": "LIF", "name": "x" * 9999}])}, "a layer has the setting 'name'"),
        ({"architecture": architecture(nodes=[{"kind": [1] * 99}])}, "a layer has the setting 'kind', whose value is"),
        ({"architecture": architecture(nodes=[{1: "LIF"}])}, "a layer has the setting 1, whose value is"),
        ({"architecture": architecture(edges=[["x", "y"]] * 1001)}, "has 1001 edges, 1000 are possible"),
        ({"architecture": architecture(edges=[["x"]])}, "has an edge that is no pair of names"),
        ({"architecture": architecture(edges=[["x", 1]])}, "has an edge that is no pair of names"),
        ({"architecture": architecture(steps="4")}, "steps is str, int is needed"),
        ({"state_dict": {"fc.weight": 1}}, "state_dict holds 'fc.weight', which is no tensor"),
        ({"state_dict": {1: Tensor(np.zeros(1))}}, "state_dict holds 1, which is no tensor"),
        ({"rates": {"fc": Tensor(np.zeros(2))}}, "has rates for 'fc', which is no population"),
        ({"rates": {"y": Tensor(np.zeros(3))}}, r"has float64 rates of the shape \(3,\) for y of 2 neurons"),
        ({"rates": {"y": Tensor(np.zeros(2, "i4"))}}, "has int32 rates of the shape"),
        ({"rates": {"y": Tensor(np.array([0.5, np.nan]))}}, "has rates for y that are not between 0 and 1"),
        ({"calibration": 3}, r"its calibration samples are no integers \(samples, …\)"),
        ({"calibration": Tensor(np.zeros((2, 3)))}, "its calibration samples are no integers"),
        ({"calibration": Tensor(np.zeros((2, 4), "u1"))}, r"samples have the shape \(4,\), the input has \(3,\)"),
        ({"calibration": Tensor(np.full((2, 3), 17, "u1"))}, "its calibration samples are not within 0 and 16"),
        ({"facts": {"a": [1]}}, "its fact 'a' is no text or number"),
        ({"facts": {2: 1}}, "its fact 2 is no text or number"),
        (
            {"architecture": architecture(nodes=[{**NODES[0], "shape": [2**20, 2**20]}, {"kind": "LIF", "name": "y"}],
                                          edges=[["x", "y"]])},
            r"its layer x has the shape \(1048576, 1048576\), 67108864 values are possible",
        ),
    ],
)  # fmt: skip
def test_a_wrong_structure_is_a_sentence(tmp_path, changes, sentence):
    refused(tmp_path, sentence, **changes)


@pytest.mark.parametrize(
    ("nodes", "error", "sentence"),
    [
        ([{"kind": "LSTM", "name": "a"}], UnsupportedError, "a: is a layer of kind 'LSTM'; use one of"),
        ([{**NODES[0], "shape": [0]}, *NODES[1:]], NetworkError, "x: has the shape"),
        ([*NODES[:2], {**NODES[2], "tau": "slow"}], NetworkError, "y: tau is slow, 1 to 1e.30 is needed"),
        ([{**NODES[0], "max_value": 1.5}, *NODES[1:]], NetworkError, "x: max_value is 1.5, a whole number 1 to 65535"),
        ([*NODES[:2], {**NODES[2], "decay_input": "no"}], NetworkError, "y: decay_input is 'no', no truth value"),
        (
            [NODES[0], {"kind": "Dropout", "name": "fc", "p": 2}, NODES[2]],
            NetworkError,
            "fc: p is 2, 0 to 1 is possible",
        ),
        (
            [NODES[0], {"kind": "AvgPool2d", "name": "fc", "kernel": [1.5, 2]}, NODES[2]],
            NetworkError,
            r"fc: kernel \(1.5",
        ),
        ([NODES[0], {"kind": "Normalise", "name": "fc"}, NODES[2]], NetworkError, "fc: has 2 means, 1 deviations"),
        ([*NODES[:2], {**NODES[2], "colour": 1}], NetworkError, "y: a LIF has no setting 'colour'"),
        ([NODES[0], {"kind": "Linear", "name": "gc"}, NODES[2]], NetworkError, "the array gc.weight is missing"),
    ],
)
def test_networks_that_contradict_themselves(tmp_path, nodes, error, sentence):
    state = {"fc.mean": Tensor(np.zeros(2)), "fc.std": Tensor(np.ones(1)), **checkpoint()["state_dict"]}
    refused(tmp_path, sentence, error, architecture=architecture(nodes=nodes), state_dict=state)


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    path = save(tmp_path_factory.mktemp("fuzz") / "model.pt", checkpoint())
    return path, path.read_bytes()


def survives(path, raw):
    """Only our errors or a valid network come out."""
    path.write_bytes(raw)
    try:
        assert isinstance(read_model(path), Network)
    except SnnCompileError as error:
        assert len(str(error)) < 5000


FUZZ = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(st.data())
def test_damaged_files_never_crash(valid, data):
    path, raw = valid
    broken = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(raw) - 1))
        broken[place] = data.draw(st.integers(0, 255))
    survives(path.with_name("flipped.pt"), bytes(broken[: data.draw(st.integers(len(raw) // 2, len(raw)))]))
    survives(path.with_name("flipped.pt"), bytes(broken))


@FUZZ
@given(st.data())
def test_damaged_pickles_never_crash(valid, data):
    """The checksums stand: the damage reaches the interpreter and the structure checks."""
    path, raw = valid
    pickle = bytearray(zipfile.ZipFile(io.BytesIO(raw)).read("a/data.pkl"))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(pickle) - 1))
        new = data.draw(st.sampled_from([*b"(.NKjhqrX}]tuesaRbQc\x85\x86\x87\x88\x8a\x00\x01\xff"]))
        pickle[place] = new
    storages = [(name, content) for name, content in entries(raw) if "/data/" in name]
    survives(
        save(path.with_name("pickle.pt"), None, pickle=bytes(pickle), extra=storages),
        path.with_name("pickle.pt").read_bytes(),
    )


def entries(raw):
    with zipfile.ZipFile(io.BytesIO(raw)) as file:
        return [(name, file.read(name)) for name in file.namelist()]


@FUZZ
@given(st.binary(max_size=200))
def test_random_bytes_never_crash(valid, data):
    path, _ = valid
    for start in (b"", b"PK\x03\x04", archive.LEGACY_MAGIC):
        survives(path.with_name("random.pt"), start + data)


def test_what_torch_writes_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "model.pt"
    content = checkpoint(
        state_dict=torch.nn.Linear(3, 2).state_dict(), rates={}, calibration=torch.zeros(2, 3, dtype=torch.uint8)
    )
    content["state_dict"] = {"fc." + key: tensor for key, tensor in content["state_dict"].items()}
    content["state_dict"]["fc.weight"] = torch.nn.Parameter(torch.arange(6.0).reshape(3, 2).T)
    content["state_dict"]["half"] = torch.ones(2, dtype=torch.bfloat16)
    torch.save(content, path)
    network = read_checkpoint(path)
    assert network.by_name["fc"].weight.tolist() == [[0, 2, 4], [1, 3, 5]]
    torch.save(content, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ModelFileError, match=r"legacy format"):
        read_checkpoint(path)
    torch.save(torch.nn.Linear(3, 2), path)
    with pytest.raises(ModelFileError, match=r"names torch\.nn\.modules\.linear\.Linear, which is code, not data"):
        read_checkpoint(path)
    torch.save(torch.nn.Linear(3, 2).state_dict(), path)
    with pytest.raises(ModelFileError, match=r"is a PyTorch file, but no snn-compile checkpoint"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ReadOptions(steps=8), "is a checkpoint of snn-train, where --steps means nothing; leave it out"),
        (ReadOptions(dt=1e-3), "where --dt means nothing"),
        (ReadOptions(architecture=Path("a.toml")), "where --architecture means nothing"),
    ],
)
def test_what_a_file_says_itself_is_not_asked(tmp_path, options, message):
    save(tmp_path / "model.pt", checkpoint())
    with pytest.raises(ModelFileError, match=message):
        read_model(tmp_path / "model.pt", options)
    read_model(tmp_path / "model.pt", ReadOptions(allow_approximation=True))
