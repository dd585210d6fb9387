"""The pickle interpreter refuses everything that is not data, and never runs anything."""

import os
import pickle
import sys
import zipfile
from pathlib import Path

import pytest
from snn_compile.errors import ModelFileError
from snn_compile.frontend.readers import read_model
from snn_compile.frontend.readers.pytorch import pickle as inert

sys.path.insert(0, str(Path(__file__).parent))
from archives import checkpoint, save

STOP = b"."


def load(data):
    return inert.InertUnpickler("file", lambda kind, key, n: (kind, key, n), lambda *layout: layout).load(data)


class Attack:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickled_command_is_refused_and_not_run(tmp_path, protocol):
    target = tmp_path / "touched"
    data = pickle.dumps({**{k: v for k, v in checkpoint().items() if k == "format"}, "x": Attack(target)}, protocol)
    path = save(tmp_path / "model.pt", None, pickle=data)
    sentence = "names posix.system, which is code, not data; save plain" if protocol == 2 else "protocol 4, torch.save"
    with pytest.raises(ModelFileError, match=sentence):
        read_model(path)
    pickle.loads(data)  # the attack itself works
    assert target.exists()


COMMAND = b"X\x04\x00\x00\x00true"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"(" + COMMAND + b"iposix\nsystem\n.", r"names posix\.system, which is code"),
        (b"(cposix\nsystem\n" + COMMAND + b"o.", r"names posix\.system, which is code"),
        (b"cposix\nsystem\n" + COMMAND + b"\x85\x81.", r"names posix\.system, which is code"),
        (b"X\x05\x00\x00\x00posixX\x06\x00\x00\x00system\x93.", r"names posix\.system, which is code"),
        (b"NX\x06\x00\x00\x00system\x93.", r"names \?\.\?, which is code"),
        (b"cbuiltins\neval\n.", r"names builtins\.eval, which is code"),
        (b"ctorch.nn.modules.linear\nLinear\n.", r"names torch\.nn\.modules\.linear\.Linear, which is code"),
        (b"ctorch\nload\n.", r"names torch\.load, which is code"),
        (b"ctorch\nUntypedStorage\n.", r"names torch\.UntypedStorage, which is code"),
        (b"(ccollections\nOrderedDict\no.", "uses the pickle instruction OBJ, which torch.save does not write"),
        (b"ccollections\nOrderedDict\n)\x81.", "uses the pickle instruction NEWOBJ"),
        (b"\x82\x01.", "uses the pickle instruction EXT1"),
        (b"I1\n.", "uses the pickle instruction INT"),
        (b"N2.", "uses the pickle instruction DUP"),
        (b"P1\n.", "uses the pickle instruction PERSID"),
        (b"\x80\x04N.", "is a pickle of protocol 4, torch.save writes protocol 2"),
    ],
)
def test_every_road_to_code_is_refused(data, sentence):
    with pytest.raises(ModelFileError, match=sentence):
        load(data)


GLOBAL = b"ccollections\nOrderedDict\n"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "its pickle is damaged or cut off"),
        (b"]", "its pickle is damaged or cut off"),
        (b"\xff.", "its pickle is damaged or cut off"),
        (b"X\xff\xff\xff\x7fabc", "its pickle is damaged or cut off"),
        (STOP, r"damaged \(a value is missing\)"),
        (b"NN.", r"damaged \(values are left over\)"),
        (b"(.", r"damaged \(a value is missing\)"),
        (b"(N.", r"damaged \(values are left over\)"),
        (b"Nt.", r"damaged \(a mark is missing\)"),
        (b"N\x86.", r"damaged \(a value is missing\)"),
        (b"NNa.", r"damaged \(a list is missing\)"),
        (b"](u.", r"damaged \(a dict is missing\)"),
        (b"}(Nu.", r"damaged \(a dict is missing\)"),
        (b"})Ns.", "has a dict key of type tuple, text or an integer is needed"),
        (b"h\x05.", r"damaged \(memo 5 is missing\)"),
        (b"q\x00.", r"damaged \(a value is missing\)"),
        (b"Nr\xff\xff\xff\xff.", "its memo goes up to 4294967295, 1048576 is possible"),
        (b"\x8a\xff" + b"\x7f" * 255 + b".", "holds a number of 2039 bits, 63 are possible"),
        (b"\x8b\xff\xff\xff\x7f.", "its pickle is damaged or cut off"),
        (b"(" * 100 + b".", "nests its values deeper than 64"),
        (b"NN)R.", r"damaged \(something is built as torch.save does not build it\)"),
        (GLOBAL + b"N\x85R.", r"damaged \(something is built"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n)R.", r"damaged \(something is built"),
        (b"ctorch._utils\n_rebuild_parameter\nNR.", r"damaged \(something is built"),
        (b"]Nb.", r"damaged \(state for something that has none\)"),
        (b"Nb.", r"damaged \(state for something that has none\)"),
        (b"NQ.", r"damaged \(a storage is not described as torch.save does\)"),
        (b"(X\x07\x00\x00\x00storage" + GLOBAL + b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQ.", "is no storage"),
    ],
)
def test_damage_is_a_sentence(data, sentence):
    with pytest.raises(ModelFileError, match=sentence):
        load(data)


def test_sizes_are_capped(monkeypatch):
    monkeypatch.setattr(inert, "MAX_PICKLE", 100)
    with pytest.raises(ModelFileError, match=r"its pickle has 201 bytes, 100 are possible"):
        load(b"N" * 200 + b".")
    monkeypatch.setattr(inert, "MAX_OPCODES", 50)
    with pytest.raises(ModelFileError, match=r"its pickle has more than 50 instructions"):
        load(b"N" * 80 + b".")


def test_what_pickle_writes_for_plain_values_comes_back():
    value = {
        "a": [1, -300, 70000, 2**40, -(2**40), 0.25, None, True, False, "ü"],
        "b": ((), (1,), (1, 2), (1, 2, 3, 4)),
    }
    assert load(pickle.dumps(value, 2)) == value
    assert load(b"\x80\x02" + GLOBAL + b")R}b.") == {}
    assert load(b"ctorch._utils\n_rebuild_parameter\n(K\x07\x88NtR.") == 7


def test_deep_nesting_does_not_overflow_the_stack(tmp_path):
    tuples = b"N" + b"\x85" * 20_000 + b"."
    assert isinstance(load(tuples), tuple)
    deep = Pickled(tuples)
    for key in ("architecture", "facts", "state_dict", "rates", "calibration", "format", "version"):
        path = save(tmp_path / "model.pt", checkpoint(**{key: deep.inner}))
        with pytest.raises(ModelFileError, match=r"model.pt: "):
            read_model(path)
    # a list that holds itself
    path = save(tmp_path / "model.pt", checkpoint(facts={"loop": b"]q\x01h\x01a"}))
    with pytest.raises(ModelFileError, match=r"its fact 'loop' is no text or number"):
        read_model(path)


class Pickled:
    def __init__(self, data):
        self.inner = data[:-1]


def test_a_deflated_bomb_is_refused_before_it_grows(tmp_path):
    bomb = b"X" + (2**24 - 10).to_bytes(4, "little") + b"\0" * (2**24 - 10) + b"."
    path = save(tmp_path / "bomb.pt", None, pickle=bomb, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**16
    with pytest.raises(ModelFileError, match=r"holds the compressed entry 'a/data.pkl', torch.save stores without"):
        read_model(path)
