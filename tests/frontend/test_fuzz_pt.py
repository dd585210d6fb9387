"""Mutations of valid files, at the level of the zip and of the pickle's instructions: a network or a sentence, soon."""

import io
import pickletools
import resource
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from snn_compile.compiler.network import Network
from snn_compile.errors import SnnCompileError
from snn_compile.frontend.readers import read_checkpoint
from snn_compile.frontend.readers.options import ReadOptions
from snn_compile.frontend.readers.pytorch.file import read_torch

sys.path.insert(0, str(Path(__file__).parent))
from archives import Tensor, checkpoint, save

OPTIONS = ReadOptions(steps=4, encoding="graded", max_value=1)
FUZZ = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SECONDS = 5.0
MEBIBYTES = 400
"""More than a file of a few kilobytes may take."""

TOML = """
[[layer]]
kind = "linear"
name = "fc"
[[layer]]
kind = "snntorch.Synaptic"
name = "lif"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz")
    (path / "net.toml").write_text(TOML)
    return path


def state_dict(folder):
    arrays = {
        "fc.weight": np.ones((2, 3), np.float32),
        "fc.bias": np.ones(2, np.float32),
        "lif.beta": np.array(0.5),
        "lif.alpha": np.full(2, 0.5),
        "lif.threshold": np.ones(2),
        "lif.reset_mechanism_val": np.array(1),
    }
    return save(folder / "state.pt", {"net": {key: Tensor(value) for key, value in arrays.items()}, "epoch": 3})


def whole_module(folder):
    torch = pytest.importorskip("torch")
    import stand_ins

    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), stand_ins.neuron("LIFNode"), torch.nn.MaxPool2d(2), torch.nn.Flatten(),
        torch.nn.Sequential(torch.nn.Linear(2, 2), stand_ins.neuron("IFNode", v_reset=None)),
    )  # fmt: skip
    return stand_ins.save(net, folder / "module.pt", pickle_protocol=4)


def own(folder):
    return save(folder / "own.pt", checkpoint())


SOURCES = {"state": state_dict, "module": whole_module, "own": own}


@pytest.fixture(scope="module", params=SOURCES)
def valid(request, folder):
    """(options, entries by name) of a file that is read."""
    path = SOURCES[request.param](folder)
    toml = folder / "net.toml" if request.param == "state" else None
    shape = (1, 4, 4) if request.param == "module" else None
    options = ReadOptions(**{**OPTIONS.__dict__, "architecture": toml, "input_shape": shape})
    if request.param == "own":
        options = ReadOptions()
    assert isinstance(read_torch(path, options), Network)
    with zipfile.ZipFile(path) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    return options, entries, path.read_bytes()


def survives(path, options):
    """Only our errors or a network come out, in bounded time and memory."""
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    for read in (lambda: read_torch(path, options), lambda: read_checkpoint(path)):
        try:
            assert isinstance(read(), Network)
        except SnnCompileError as error:  # noqa: PERF203
            assert 0 < len(str(error)) < 5000
    assert time.perf_counter() - begin < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEBIBYTES * 1024


def write(path, entries):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, raw in entries.items():
            file.writestr(name, raw)
    path.write_bytes(buffer.getvalue())


def instructions(data):
    """The pickle in pieces, one an instruction with its argument."""
    starts = [place for _, _, place in pickletools.genops(data)]
    return [data[a:b] for a, b in zip(starts, [*starts[1:], len(data)], strict=True)]


STRANGE = [
    b"0", b"1", b"2", b"(", b"N", b"}", b"]", b")", b"t", b"l", b"d", b"e", b"u", b"s", b"a", b"R", b"b", b"Q", b"o",
    b"\x81", b"\x92", b"\x93", b"\x94", b"\x85", b"\x86", b"\x87", b"\x88", b"\x8f", b"\x90", b"\x91", b"K\x00",
    b"K\xff",
    b"h\x00", b"h\x05", b"q\x05", b"J\xff\xff\xff\xff", b"G\x7f\xf8\x00\x00\x00\x00\x00\x00", b"\x8a\x08" + b"\x7f" * 8,
    b"cposix\nsystem\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n", b"X\x00\x00\x00\x00",
    b"X\x08\x00\x00\x00_modules", b"\x95\xff\xff\xff\xff\xff\xff\xff\x7f", b"P0\n", b"\x82\x01", b"iposix\nsystem\n",
]  # fmt: skip


@FUZZ
@given(st.data())
def test_instructions_are_dropped_moved_doubled_and_put_in(valid, folder, data):
    options, entries, _ = valid
    (name,) = (name for name in entries if name.endswith("/data.pkl"))
    pieces = instructions(entries[name])
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(pieces) - 1))
        how = data.draw(st.sampled_from(["drop", "move", "double", "put", "replace"]))
        if how == "drop":
            del pieces[place]
        elif how == "move":
            pieces.insert(data.draw(st.integers(0, len(pieces) - 1)), pieces.pop(place))
        elif how == "double":
            pieces.insert(place, pieces[place])
        else:
            pieces[place : place + (how == "replace")] = [data.draw(st.sampled_from(STRANGE))]
        if not pieces:
            break
    write(folder / "net.pt", {**entries, name: b"".join(pieces)})
    survives(folder / "net.pt", options)


@FUZZ
@given(st.data())
def test_bytes_are_changed_behind_right_checksums(valid, folder, data):
    options, entries, _ = valid
    changed = dict(entries)
    for _ in range(data.draw(st.integers(1, 6))):
        name = data.draw(st.sampled_from(sorted(changed)))
        raw = bytearray(changed[name])
        if raw:
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        changed[name] = bytes(raw[: data.draw(st.integers(len(raw) // 2, len(raw)))]) if name[-1] != "l" else bytes(raw)
    write(folder / "net.pt", changed)
    survives(folder / "net.pt", options)


@FUZZ
@given(st.data())
def test_the_zip_is_flipped_cut_and_spliced(valid, folder, data):
    options, _, raw = valid
    broken = bytearray(raw)
    tail = len(raw) - 600  # the directory, where sizes and places stand
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.one_of(st.integers(0, len(raw) - 1), st.integers(max(tail, 0), len(raw) - 1)))
        broken[place] = data.draw(st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 8, 127, 128, 255])))
    begin, end = sorted((data.draw(st.integers(0, len(raw))), data.draw(st.integers(0, len(raw)))))
    how = data.draw(st.sampled_from(["whole", "cut", "splice", "doubled"]))
    result = {"whole": broken, "cut": broken[:end], "splice": broken[:begin] + broken[end:], "doubled": broken + raw}[
        how
    ]
    (folder / "net.pt").write_bytes(bytes(result))
    survives(folder / "net.pt", options)
