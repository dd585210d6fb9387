"""Files that want to run something, or to grow without end: refused in a sentence, and nothing ran.

`test_inert_pickle.py` has the strict interpreter's sentences; here every road is tried on both interpreters.
"""

import builtins
import os
import pickle
import resource
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from snn_compile.errors import ModelFileError, SnnCompileError
from snn_compile.frontend.readers import read_checkpoint
from snn_compile.frontend.readers.options import ReadOptions
from snn_compile.frontend.readers.pytorch import archive, tensors
from snn_compile.frontend.readers.pytorch.file import read_torch
from snn_compile.frontend.readers.pytorch.module_pickle import ModuleUnpickler, Stub
from snn_compile.frontend.readers.pytorch.module_tree import is_module, number
from snn_compile.frontend.readers.pytorch.pickle import GlobalName, InertUnpickler

sys.path.insert(0, str(Path(__file__).parent))
from archives import Tensor, checkpoint, save, text

"".encode("cp437")  # zipfile's codec, imported before `exec` is watched
OPTIONS = ReadOptions(steps=4, encoding="graded", max_value=1, input_shape=(2,))
BOTH = (InertUnpickler, ModuleUnpickler)


def load(cls, data):
    return cls("file", lambda kind, key, n: (kind, key, n), lambda *layout: layout).load(data)


def short(value):
    return b"\x8c" + bytes([len(value)]) + value.encode()


def attacks(command):
    """Every road by which a pickle runs ``os.system(command)``, by name."""
    arg = text(command)
    one = arg + b"\x85"
    system = b"cposix\nsystem\n"
    named = short("posix") + short("system") + b"\x93"
    getattr_ = b"c__builtin__\ngetattr\n"
    imported = b"c__builtin__\n__import__\n" + text("os") + b"\x85R"
    return {
        "GLOBAL REDUCE": system + one + b"R.",
        "STACK_GLOBAL REDUCE": b"\x80\x04" + named + one + b"R.",
        "framed": b"\x80\x04\x95" + struct.pack("<Q", len(named + one) + 2) + named + one + b"R.",
        "INST": b"(" + arg + b"iposix\nsystem\n.",
        "OBJ": b"(" + system + arg + b"o.",
        "NEWOBJ": b"\x80\x02" + system + one + b"\x81.",
        "NEWOBJ_EX": b"\x80\x04" + named + one + b"}\x92.",
        "BUILD": b"\x80\x02ctypes\nSimpleNamespace\n)\x81}" + text("x") + system + one + b"Rsb.",
        "setstate": b"ctypes\nSimpleNamespace\n)\x81}" + text("__setstate__") + system + b"sb" + arg + b"b.",
        "getattr chain": getattr_ + imported + text("system") + b"\x86R" + one + b"R.",
        "eval": b"c__builtin__\neval\n" + text(f"__import__('os').system({command!r})") + b"\x85R.",
        "exec": b"cbuiltins\nexec\n" + text(f"import os; os.system({command!r})") + b"\x85R.",
        "apply": b"cfunctools\npartial\n" + system + arg + b"\x86R)R.",
        "map": b"cbuiltins\nlist\ncbuiltins\nmap\n" + system + b"]" + arg + b"a\x86R\x85R.",
        "reconstructor": b"ccopyreg\n_reconstructor\n" + system + b"cbuiltins\nobject\nN\x87R" + arg + b"b.",
        "copyreg newobj": b"ccopyreg\n__newobj__\n" + system + arg + b"\x86R.",
        "operator": b"coperator\nattrgetter\n" + text("system") + b"\x85Rcposix\n__dict__\n\x85R.",
        "dotted name": b"\x80\x04" + short("os") + short("path.os.system") + b"\x93" + one + b"R.",
        "subprocess": b"csubprocess\nPopen\n" + b"(]" + b"(" + text("sh") + text("-c") + arg + b"et\x81.",
        "nested pickle": b"c_pickle\nloads\nC" + bytes([60]) + (system + b".").ljust(60, b" ") + b"\x85R.",
        "torch.load": b"ctorch\nload\n" + one + b"R.",
        "hub": b"ctorch.hub\nload\n" + one + b"R.",
        "numpy": b"cnumpy\nload\n" + one + b"R.",
        "codecs": b"c_codecs\nencode\n" + arg + text("rot13") + b"\x86R.",
        "memo": system + b"q\x000" + one + b"h\x00" + arg + b"\x85R.",
        "memo overwritten": b"ccollections\nOrderedDict\nq\x000" + system + b"q\x000h\x00" + one + b"R.",
        "dup": system + b"2" + one + b"R.",
        "set items": system + b")R" + b"(" + arg + arg + b"u.",
        "append": system + b")R" + arg + b"a.",
        "tensor of a call": b"ctorch._utils\n_rebuild_tensor_v2\n(" + system + one + b"RK\x00))\x89NtR.",
        "storage of a call": b"(" + text("storage") + system + one + b"R" + text("0") + text("cpu") + b"K\x01tQ.",
        "pid of a pid": b"(" + text("storage") + system + b"(" + text("storage") + system + one + b"RtQtQ.",
        "EXT1": b"\x82\x01.", "EXT2": b"\x83\x01\x00.", "EXT4": b"\x84\x01\x00\x00\x00.",
        "PERSID": b"P" + command.encode() + b"\n.",
        "BINPERSID": arg + b"Q.",
    }  # fmt: skip


@pytest.mark.parametrize("cls", BOTH)
@pytest.mark.parametrize("road", attacks(""))
def test_no_road_runs_anything(tmp_path, monkeypatch, cls, road):
    ran = []
    for module, name in ((os, "system"), (subprocess, "Popen"), (builtins, "eval"), (builtins, "exec")):
        monkeypatch.setattr(module, name, lambda *args, **kwargs: ran.append(args))
    canary = tmp_path / "canary"
    loaded = set(sys.modules)
    data = attacks(f"touch {canary}")[road]
    try:
        result = load(cls, data)
    except ModelFileError as error:
        result = None
        assert len(str(error)) < 500
    else:
        assert cls is ModuleUnpickler
        assert isinstance(result, (Stub, GlobalName, tuple))
        assert not is_module(result)
    path = save(tmp_path / "model.pt", None, pickle=data)
    for read in (read_checkpoint, lambda path: read_torch(path, OPTIONS)):
        with pytest.raises(ModelFileError, match=r"model.pt: "):
            read(path)
    assert ran == []
    assert not canary.exists()
    assert set(sys.modules) <= loaded | {"this"}


def test_the_roads_are_real(tmp_path):
    """The plain ones of them run under Python's own interpreter."""
    for road in (
        "GLOBAL REDUCE",
        "STACK_GLOBAL REDUCE",
        "framed",
        "INST",
        "OBJ",
        "getattr chain",
        "eval",
        "apply",
        "map",
    ):
        canary = tmp_path / road.replace(" ", "_")
        data = attacks(f"touch {canary}")[road]
        pickle.loads(data)
        assert canary.exists(), road


def test_stubs_keep_what_they_were_given():
    data = b"\x80\x04" + short("a.b") + short("C") + b"\x93" + b"K\x01\x85" + b"}" + short("k") + b"K\x02s\x92}"
    stub = load(ModuleUnpickler, data + short("x") + b"K\x03sb(" + short("y") + b"K\x04uK\x05a.")
    assert (stub.name, stub.args, stub.state) == ("a.b.C", ((1,), {"k": 2}), {"x": 3})
    assert (stub.items, stub.values) == ({"y": 4}, [5])
    with pytest.raises(ModelFileError, match=r"state for something that has none"):
        load(ModuleUnpickler, b"cm\nC\n)\x81}b}b.")


SCALAR = b"cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n" + text("f8") + b"\x89\x88\x87R(K\x03" + text("<") + b"tb"


def test_pickled_numpy_scalars():
    for value, size in (
        (np.float64(1.5), 8),
        (np.float32(-2.5), 4),
        (np.int64(-7), 8),
        (np.uint8(200), 1),
        (np.bool_(True), 1),
    ):
        for protocol in (2, 3, 4, 5):
            assert number(load(ModuleUnpickler, pickle.dumps(value, protocol))) == value.item()
        assert value.itemsize == size
    for raw in (b"C\x07" + b"0" * 7, b"N", b"K\x01", b"cos\nsystem\n", text("x" * 100)):
        stub = load(ModuleUnpickler, SCALAR + raw + b"\x86R.")
        assert number(stub) is stub
    stub = load(ModuleUnpickler, b"cnumpy.core.multiarray\nscalar\n" + text("O8") + b"C\x08" + b"0" * 8 + b"\x86R.")
    assert number(stub) is stub


def test_every_other_rebuild_is_refused_by_name():
    for kind in ("qtensor", "sparse_tensor", "meta_tensor_no_storage", "nested_tensor", "wrapper_subclass"):
        with pytest.raises(ModelFileError, match=rf"no plain array of numbers \(_rebuild_{kind}\)"):
            load(ModuleUnpickler, f"ctorch._utils\n_rebuild_{kind}\n)R.".encode())


def version_3(dtype, size, stride=1, offset=0, elements=6, kind=b"torch.storage\nUntypedStorage"):
    pid = b"(" + text("storage") + b"c" + kind + b"\n" + text("0") + text("cpu") + b"K" + bytes([elements]) + b"tQ"
    layout = b"K" + bytes([offset]) + b"K" + bytes([size]) + b"\x85K" + bytes([stride]) + b"\x85"
    return b"ctorch._utils\n_rebuild_tensor_v3\n(" + pid + layout + b"\x89Nctorch\n" + dtype + b"\ntR"


@pytest.mark.parametrize(
    ("tensor", "sentence"),
    [
        (version_3(b"uint16", 3), "is a state dict of 1 tensors"),
        (version_3(b"uint16", 4), "it reaches outside of its storage of 3 elements"),
        (version_3(b"uint16", 3, 0), "it names elements of its storage twice"),
        (version_3(b"uint16", 3, 1, 1), "it reaches outside"),
        (version_3(b"int32", 1), "on a storage of something else"),
        (version_3(b"load", 1), "holds a tensor of torch.load, which no layer has"),
        (version_3(b"uint16", 3, elements=200), "described as 200 elements of ByteStorage, it has 6"),
        (version_3(b"uint16", 3, kind=b"os\nsystem"), r"os.system is no storage"),
    ],
)
def test_untyped_storages(tmp_path, tensor, sentence):
    path = save(tmp_path / "net.pt", {"w": tensor}, extra=[("a/data/0", bytes(6))])
    with pytest.raises(ModelFileError, match=sentence):
        read_torch(path, OPTIONS)


@pytest.mark.parametrize(
    "tensor",
    [
        Tensor(np.zeros(6, np.float32), size=(2**61, 2**61), stride=(0, 0)),
        Tensor(np.zeros(6, np.float32), size=(3, 3), stride=(1, 1)),
        Tensor(np.zeros(6, np.float32), size=(2,), stride=(-1,), offset=3),
        Tensor(np.zeros(6, np.float32), size=(-1,), stride=(1,)),
        Tensor(np.zeros(6, np.float32), size=(1,), stride=(1,), offset=6),
        Tensor(np.zeros(6, np.float32), size=(0,), stride=(2**62 - 1,)),
        Tensor(np.zeros(6, np.float32), size=(2**62,), stride=(1,)),
        Tensor(np.zeros(6, np.float32), size=(1,) * 17, stride=(1,) * 17),
    ],
)
def test_layouts_are_checked_when_modules_are_read(tmp_path, tensor):
    path = save(tmp_path / "net.pt", {"w": tensor})
    with pytest.raises(ModelFileError, match=r"has a tensor of size") as caught:
        read_torch(path, OPTIONS)
    assert len(str(caught.value)) < 500


def test_all_storages_together_are_capped(tmp_path, monkeypatch):
    path = save(tmp_path / "net.pt", {"a": Tensor(np.zeros(6)), "b": Tensor(np.zeros(6))})
    monkeypatch.setattr(tensors, "MAX_BYTES", 95)
    with pytest.raises(ModelFileError, match=r"its entry 'data/1' has 48 bytes, 47 are possible"):
        read_torch(path, OPTIONS)


def patched(path, change):
    raw = bytearray(path.read_bytes())
    change(raw)
    path.write_bytes(raw)
    return path


def test_zips_that_lie(tmp_path):
    """Two names for the same bytes, a directory that says more than there is, or entries without end."""
    content = checkpoint()

    def overlap(raw):
        places = [i for i in range(len(raw) - 4) if raw[i : i + 4] == b"PK\x01\x02"]
        raw[places[-1] + 42 : places[-1] + 46] = raw[places[2] + 42 : places[2] + 46]

    def far(raw):
        end = raw.rindex(b"PK\x05\x06")
        raw[end + 16 : end + 20] = struct.pack("<I", 2**31)

    for change in (overlap, far):
        path = patched(save(tmp_path / "model.pt", content), change)
        with pytest.raises(ModelFileError, match=r"model.pt: "):
            read_torch(path, OPTIONS)
    extra = [(f"a/x{i}", b"") for i in range(archive.MAX_ENTRIES)]
    with pytest.raises(ModelFileError, match=rf"entries, {archive.MAX_ENTRIES} are possible"):
        read_torch(save(tmp_path / "many.pt", content, extra=extra), OPTIONS)
    for name in ("../../evil", "/etc/passwd", "a/data/../0", "a\\data\\0"):
        read_torch(save(tmp_path / "names.pt", content, extra=[(name, b"x")]))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["many.pt", "model.pt", "names.pt"]


def test_deflated_storages_are_refused(tmp_path):
    path = tmp_path / "net.pt"
    with zipfile.ZipFile(save(path, {"w": Tensor(np.zeros(1))}), "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/data/9", bytes(2**24))
    assert path.stat().st_size < 2**16
    with pytest.raises(ModelFileError, match=r"holds the compressed entry 'a/data/9'"):
        read_torch(path, OPTIONS)


def laughs(opening, closing):
    """Thirty values, each of which holds the one before twice: a billion by walking, thirty by reference."""
    data = b"\x80\x02" + text("ha") + b"q\x00"
    for level in range(30):
        data += opening + b"h" + bytes([level]) + b"h" + bytes([level]) + closing + b"q" + bytes([level + 1])
    return data


@pytest.mark.parametrize("kind", ["tuple", "list", "dict", "stub", "state"])
@pytest.mark.parametrize("key", ["w", "state_dict", "format", "model"])
def test_a_billion_laughs_cost_nothing(tmp_path, kind, key):
    opening, closing = {
        "tuple": (b"", b"\x86"), "list": (b"](", b"e"), "stub": (b"cm\nC\n", b"\x86R"),
        "dict": (b"}(" + text("a"), b"0" + text("b") + b"Nu"), "state": (b"cm\nC\n)\x81", b"\x86b"),
    }[kind]  # fmt: skip
    laugh = laughs(opening, closing)[2:]
    begin = time.perf_counter()
    with pytest.raises(ModelFileError) as caught:
        read_torch(save(tmp_path / "net.pt", {key: laugh}), OPTIONS)
    with pytest.raises(ModelFileError):
        read_checkpoint(tmp_path / "net.pt")
    assert len(str(caught.value)) < 500
    assert time.perf_counter() - begin < 5


def module(state):
    """A module whose state has what `state` gives beside empty tables."""
    tables = {"_modules": b"}", "_parameters": b"}", "_buffers": b"}", **state}
    content = b"".join(text(key) + value for key, value in tables.items())
    return b"ctorch.nn.modules.container\nSequential\n)\x81}(" + content + b"ub"


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ({"_modules": b"N"}, "has _modules that are no dict of names"),
        ({"_modules": b"]"}, "has _modules that are no dict of names"),
        ({"_modules": b"}K\x01Ns"}, "has _modules that are no dict of names"),
        ({"_modules": b"}" + text("x" * 300) + b"Ns"}, "has _modules that are no dict of names"),
        ({"_modules": b"}" + text("a") + b"K\x01s"}, "has a child 'a' that is no module"),
        ({"_modules": b"}" + text("a") + b"cposix\nsystem\n)Rs"}, "its module 'a' has no submodules and parameters"),
        ({"_parameters": b"}" + text("a") + b"K\x01s"}, "has in _parameters 'a', which is no tensor"),
        ({"_buffers": b"}" + text("a") + b"cm\nC\n)Rs"}, "has in _buffers 'a', which is no tensor"),
        ({"_modules": b"}" + text("a") + module({}) + b"s"}, "network: has no neurons"),
        ({}, "network: has no neurons"),
    ],
)
def test_modules_that_are_none(tmp_path, state, sentence):
    with pytest.raises(SnnCompileError, match=sentence):
        read_torch(save(tmp_path / "net.pt", module(state)), OPTIONS)


def test_what_is_shared_counts_each_time_it_is_reached(tmp_path, monkeypatch):
    """One module with many tensors, or with a large mask, in a tree that reaches it often."""
    weight = Tensor(np.zeros((100, 100), np.float32))
    from archives import Pickler

    pickler = Pickler()
    pair = text("weight_orig") + pickler.tensor(weight) + b"q\x01" + text("weight_mask") + b"h\x01"
    masked = module({"_parameters": b"}(" + pair + b"u"})
    many = module({"_buffers": b"}(" + b"".join(text(f"b{i}") + b"N" for i in range(1000)) + b"u"})
    for inner, limit, sentence in (
        (many, "MAX_MODULES", "has a tree of more than 10 modules"),
        (masked, "MAX_WEIGHTS", "has more than 50000 masked weights"),
        (many, "MAX_ENTRIES", "has a tree with more than 50000 attributes and tensors"),
    ):
        from snn_compile.frontend.readers.pytorch import module_tree

        monkeypatch.setattr(module_tree, limit, 10 if limit == "MAX_MODULES" else 50_000)
        children = text("x") + inner + b"q\x02" + b"".join(text(f"c{i}") + b"h\x02" for i in range(60))
        path = save(
            tmp_path / "net.pt", module({"_modules": b"}(" + children + b"u"}), extra=[("a/data/0", weight.raw)]
        )
        with pytest.raises(ModelFileError, match=sentence):
            read_torch(path, OPTIONS)
        monkeypatch.undo()


def test_names_cannot_steer_a_terminal(tmp_path):
    name = b"cm\x1b[31m\nC\x1b]0;x\x07\n"
    with pytest.raises(ModelFileError, match=r"names m\?\[31m\.C\?\]0;x\?, which is code"):
        load(InertUnpickler, name + b".")
    assert load(ModuleUnpickler, name + b")R.").name == "m?[31m.C?]0;x?"
    bad = module({"_modules": b"}" + text("\x1b[31m") + module({}) + b"s"})
    with pytest.raises(ModelFileError, match=r"has _modules that are no dict of names"):
        read_torch(save(tmp_path / "net.pt", bad), OPTIONS)


def test_values_that_hold_themselves(tmp_path):
    for loop in (
        b"}q\x01" + text("state_dict") + b"h\x01s",
        b"]q\x01h\x01a",
        b"cm\nC\n)\x81q\x01}" + text("_modules") + b"}" + text("a") + b"h\x01ssb",
        module({"_modules": b"}q\x01" + text("a") + b"h\x01s"}),
        b"cm\nC\n)Rq\x01h\x01b",
    ):
        with pytest.raises(SnnCompileError) as caught:
            read_torch(save(tmp_path / "net.pt", loop), OPTIONS)
        assert len(str(caught.value)) < 500


@pytest.mark.parametrize("level", [b"\x85", b"\x8a\x00\x86"])
def test_nesting_without_end(tmp_path, level):
    depth = 50_000
    assert isinstance(load(ModuleUnpickler, b"N" + level * depth + b"."), tuple)
    stubs = b"\x80\x02cm\nC\nq\x000N" + b"q\x010h\x00h\x01\x85R" * depth + b"."
    deep = load(ModuleUnpickler, stubs)
    assert isinstance(deep, Stub)
    keys = b"\x80\x02N" + b"\x85" * depth + b"q\x000}h\x00Ns."
    with pytest.raises(ModelFileError, match=r"has a dict key of type tuple"):
        load(ModuleUnpickler, keys)
    with pytest.raises(ModelFileError, match=r"nests its values deeper than 256"):
        load(ModuleUnpickler, b"(" * 300 + b".")


@pytest.mark.parametrize(
    "data",
    [
        b"I" + b"9" * 10**6 + b"\n.",
        b"L" + b"9" * 10**6 + b"L\n.",
        b"\x8b" + struct.pack("<i", 10**6) + b"\x7f" * 10**6 + b".",
        b"\x8d" + struct.pack("<Q", 2**62) + b"x.",
        b"\x8e" + struct.pack("<Q", 2**40) + b"x.",
        b"\x96" + struct.pack("<Q", 2**40) + b"x.",
        b"\x95" + struct.pack("<Q", 2**62) + b".",
        b"F1e999\n" + b"\x85" * 3,
        b"g99\n.",
        b"Np999999999999\n.",
        b"r\xff\xff\xff\xff.",
        b"\x94.",
        b"0.",
        b"1.",
        b"(1(1.",
        b"\x97.",
        b"\x98.",
        b"\x80\x06N.",
    ],
)
def test_damaged_instructions(data):
    begin = time.perf_counter()
    with pytest.raises(ModelFileError):
        load(ModuleUnpickler, data)
    assert time.perf_counter() - begin < 5


def test_a_tensor_that_is_called(tmp_path):
    tensor = Tensor(np.zeros(2))
    for after in (b")R", b"N\x85R", b")\x81", b"}b", b"Na", b"NNs"):
        from archives import Pickler

        data = Pickler().tensor(tensor) + after
        for cls in BOTH:
            with pytest.raises(ModelFileError, match=r"pickle"):
                load(cls, data + b".")
        path = save(tmp_path / "net.pt", {"x": data}, extra=[("a/data/0", bytes(16))])
        with pytest.raises(ModelFileError, match=r"pickle"):
            read_torch(path, OPTIONS)


def test_truncated_at_every_length(tmp_path):
    raw = save(tmp_path / "whole.pt", {"w": Tensor(np.zeros((2, 2)))}).read_bytes()
    path = tmp_path / "net.pt"
    for length in [*range(0, len(raw), 7), len(raw) - 1]:
        path.write_bytes(raw[:length])
        with pytest.raises(ModelFileError, match=r"net.pt: "):
            read_torch(path, OPTIONS)


def test_memory_stays_small(tmp_path):
    """All roads of this page together need less than 300 MiB more than before."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bomb = b"\x80\x04" + b"]" * 10 + b"(" + b"N" * 900_000 + b"t."
    with pytest.raises(ModelFileError):
        read_torch(save(tmp_path / "net.pt", None, pickle=bomb), OPTIONS)
    doubled = b"(" + text("x" * 1000) + b"2" * 500_000 + b"l."
    with pytest.raises(ModelFileError):
        read_torch(save(tmp_path / "net.pt", None, pickle=doubled), OPTIONS)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024
