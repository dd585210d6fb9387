"""HDF5 files that are damaged or lie, NIR graphs and lava-dl networks alike: one sentence each, and nothing outside."""

from __future__ import annotations

import resource
import struct
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from snn_compile.errors import ModelFileError, SnnCompileError
from snn_compile.frontend.readers import read_model
from snn_compile.frontend.readers.hdf5 import child as hdf5_child
from snn_compile.frontend.readers.hdf5 import tree as hdf5_tree
from snn_compile.frontend.readers.net.network import read_net
from snn_compile.frontend.readers.nir.graph import read_nir
from snn_compile.frontend.readers.options import ReadOptions

sys.path.insert(0, str(Path(__file__).parent))
from hdf5_here import tree_here
from net_files import dense, write_layers
from nir_files import TEXT, save, small

GIVEN = ReadOptions(steps=4)


def save_net(path: Path) -> Path:
    write_layers(path, [dense([[50, 25]])])
    with h5py.File(path, "r+") as file:
        del file["layer/0/type"]
        file.create_dataset("layer/0/type", data="dense", dtype=TEXT)
    return path


@dataclass(frozen=True)
class Format:
    """A valid file: the group of a layer in it, and how it is read."""

    group: str
    save: Callable
    read: Callable

    @property
    def weight(self) -> str:
        return f"{self.group}/weight"


FORMATS = {
    "nir": Format("node/nodes/fc", lambda path: save(path, small()), read_nir),
    "net": Format("layer/0", save_net, read_net),
}


@pytest.fixture(params=FORMATS)
def kind(request) -> Format:
    return FORMATS[request.param]


def refused(kind, tmp_path, change, sentence) -> None:
    """Read in this process, as the library comes back from these files."""
    path = kind.save(tmp_path / "model.h5")
    with h5py.File(path, "r+") as file:
        change(file, kind)
    with pytest.raises(
        ModelFileError, match=f"^[^ ]*model.h5: {sentence.format(group=kind.group, weight=kind.weight)}"
    ):
        tree_here(path)


def put(link, member=""):
    def change(file, kind):
        if kind.group + member in file:
            del file[kind.group + member]
        file[kind.group + member] = link

    return change


def replaced(**how):
    def change(file, kind):
        del file[kind.weight]
        file.create_dataset(kind.weight, **how)

    return change


def loop(file, kind):
    file[f"{kind.group}/again"] = file[kind.group.split("/")[0]]


def twice(file, kind):
    file[f"{kind.group}/a/b"] = 1
    file[f"{kind.group}/c"] = file[f"{kind.group}/a"]


def virtual(file, kind):
    layout = h5py.VirtualLayout((1, 2), "f8")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (1, 2))
    del file[kind.weight]
    file.create_virtual_dataset(kind.weight, layout)


def nested(file, kind):
    file.create_group(kind.group + "/g" * 40)


def crowd(file, kind):
    for i in range(600):
        file[kind.group].create_group(f"n{i}")


def texts(file, kind):
    file.create_dataset(f"{kind.group}/texts", data=["a"] * 4097, dtype=TEXT)


MANY = 2**29


@pytest.mark.parametrize(("change", "sentence"), [
    (put(h5py.ExternalLink("/etc/passwd", "/")), "its member {group} is a ExternalLink, not in the file itself"),
    (put(h5py.SoftLink("/")), "its member {group} is a SoftLink, not in the file itself"),
    (put(np.dtype("f8"), "/a\n"), r"its member {group}/a\\n is neither a group nor a data set"),
    (loop, "{group}/again stands at two places of the file"),
    (twice, "{group}/c stands at two places of the file"),
    (replaced(shape=(1, 2), dtype="f8", external=[("/etc/passwd", 0, 16)]), "its data set {weight} lies in another"),
    (virtual, "its data set {weight} lies in another file"),
    (nested, "nests groups deeper than 32"),
    (crowd, "its group {group} has 60[0-9] members, 500 are possible"),
    (put(1, "/" + "x" * 501), "has a name of 501 characters, 500 are possible"),
    (texts, "has more than 4096 texts"),
    (put("x" * 10**6, "/type"), "{group}/type holds something that is no text of up to 500 bytes"),
    (replaced(data=np.array([[1.0, np.nan]])), "its data set {weight} holds NaN or infinity; train it again"),
    (replaced(data=np.ones((1, 2), complex)), "its data set {weight} has the dtype complex128, numbers are needed"),
    (replaced(data=np.zeros((1, 2), [("a", "f4")])), "its data set {weight} has the dtype .*, numbers are needed"),
    (replaced(data=h5py.Empty("f8")), "its data set {weight} has the shape None"),
    (replaced(data=np.ones((1, 2)), compression="lzf"), r"its data set .* filters \[32000\], gzip is possible"),
    (replaced(shape=(2**20, 2**20), dtype="f8"), "its data set {weight} .* has 8796093022208 bytes, 0 in the file"),
    (replaced(shape=(MANY,), dtype="i1"), "its data set {weight} .* 134217728 numbers are possible in all"),
    (replaced(shape=(2**9, 2**9), dtype="f8", chunks=(1, 1)), "its data set {weight} is cut into 262144 chunks"),
    (replaced(shape=(1, 2), maxshape=(None, None), dtype="f8", chunks=(2**14, 2**13)), ".* is cut into 1 chunks"),
])  # fmt: skip
def test_one_sentence_for_each_lie(kind, tmp_path, change, sentence):
    refused(kind, tmp_path, change, sentence)


@pytest.mark.parametrize("mask", [0, 1])
def test_a_chunk_that_unpacks_to_more_than_it_says(kind, tmp_path, mask):
    """HDF5 would unpack all of it; nothing is, also where the chunk leaves out the shuffling before."""
    bomb = zlib.compressobj(9)
    content = b"".join([*(bomb.compress(bytes(2**20)) for _ in range(64)), bomb.flush()])

    def change(file, kind):
        replaced(shape=(256, 256), dtype="f8", chunks=(256, 256), compression="gzip", shuffle=True)(file, kind)
        file[kind.weight].id.write_direct_chunk((0, 0), content, filter_mask=mask)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(kind, tmp_path, change, "its data set {weight} unpacks to something else than it says")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**15  # KiB


def test_limits_that_need_large_files(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5_tree, "FREE_BYTES", 2**16)
    zeros = replaced(data=np.zeros((512, 512)), compression="gzip")
    refused(kind, tmp_path, zeros, "its data set {weight} .* has 2097152 bytes, [0-9]+ in the file")
    monkeypatch.setattr(hdf5_tree, "MAX_OBJECTS", 3)
    refused(kind, tmp_path, lambda file, kind: None, "has more than 3 groups and data sets")


def test_a_file_cut_off_anywhere(kind, tmp_path):
    content = kind.save(tmp_path / "whole").read_bytes()
    for length in range(1, len(content), len(content) // 40):
        (tmp_path / "cut").write_bytes(content[:length])
        with pytest.raises(ModelFileError, match="is cut off or damaged"):
            tree_here(tmp_path / "cut")


# --- in the child


@given(st.data())
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bytes_give_a_sentence_or_a_network(kind, tmp_path, monkeypatch, data):
    """Some of them crash the library, or never end."""
    monkeypatch.setattr(hdf5_child, "SECONDS", 5.0)
    content = bytearray(kind.save(tmp_path / "whole").read_bytes())
    used = [i for i in range(0, len(content), 8) if any(content[i : i + 8])]
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.sampled_from(used)) + data.draw(st.integers(0, 7))
        new = data.draw(st.one_of(st.binary(min_size=1, max_size=4), st.just(struct.pack("<q", -1))))
        content[start : start + len(new)] = new
    (tmp_path / "fuzzed").write_bytes(content)
    try:
        kind.read(tmp_path / "fuzzed", GIVEN)
    except SnnCompileError as error:
        assert "\n" not in str(error)


def test_a_file_on_which_the_library_never_ends(kind, tmp_path, monkeypatch):
    """The first text's heap gets an object that is so long that the next one begins where it does."""
    monkeypatch.setattr(hdf5_child, "SECONDS", 3.0)
    path = kind.save(tmp_path / "endless")
    content = path.read_bytes()
    start = content.index(b"GCOL") + 16
    path.write_bytes(content[: start + 8] + struct.pack("<q", -16) + content[start + 16 :])
    with pytest.raises(ModelFileError, match="is damaged: the HDF5 library reads it for more than 3 s; write it again"):
        kind.read(path, GIVEN)


@pytest.mark.parametrize(("script", "end"), [
    ("import os; os.abort()", "-6 on it"), ("raise ImportError('no h5py')", r"1 on it \(ImportError: no h5py\)"),
])  # fmt: skip
def test_a_child_that_crashes_is_a_sentence(kind, tmp_path, monkeypatch, script, end):
    monkeypatch.setattr(hdf5_child, "SCRIPT", tmp_path / "script.py")
    hdf5_child.SCRIPT.write_text(script)
    with pytest.raises(ModelFileError, match=f"the HDF5 library ends with the code {end}; write it again"):
        kind.read(kind.save(tmp_path / "crash"), GIVEN)


def test_the_child_loads_no_plugins(kind, tmp_path, monkeypatch):
    """What the surroundings tell HDF5 does not reach it, but for the locks that some file systems need off."""
    for name in ("HDF5_PLUGIN_PATH", "HDF5_VOL_CONNECTOR", "HDF5_DRIVER", "HDF5_USE_FILE_LOCKING"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setattr(hdf5_child, "SCRIPT", tmp_path / "script.py")
    hdf5_child.SCRIPT.write_text(
        "import os; raise ValueError({k: os.environ[k] for k in os.environ if k[:4] == 'HDF5'})"
    )
    told = r"\{'HDF5_USE_FILE_LOCKING': 'x', 'HDF5_PLUGIN_PRELOAD': '::'\}"
    with pytest.raises(ModelFileError, match=told):
        kind.read(kind.save(tmp_path / "told"), GIVEN)


def test_both_readers_ask_the_child(kind, tmp_path, monkeypatch):
    """Files named by their content; a file of the user's with a module's name beside them is not run."""
    (tmp_path / "h5py.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    path = kind.save(tmp_path / "model")
    with h5py.File(path, "r+") as file:
        put(h5py.SoftLink("/"))(file, kind)
    for read in (read_nir, read_net, read_model):
        with pytest.raises(ModelFileError, match="is a SoftLink, not in the file itself"):
            read(path, GIVEN)


def test_compiled_or_no_model(tmp_path):
    """A program is known by its name, before anything large in it is looked at."""
    for name, sentence in (("manifest", r"is compiled already \(a program or a trace\); give the model itself"),
                           ("other", "is an HDF5 file, but no model that is read; give a NIR graph")):  # fmt: skip
        with h5py.File(tmp_path / name, "w") as file:
            file[name] = np.zeros(3)
            file.create_group("cores")["a"] = h5py.SoftLink("/")
            if name == "manifest":
                file["layer"] = np.array([np.nan])
        with pytest.raises(ModelFileError, match=sentence):
            read_model(tmp_path / name, GIVEN)


def test_the_child_gives_what_is_read_here(kind, tmp_path):
    """Groups, texts, scalars, empty arrays, big-endian numbers, truth values; no metadata."""
    path = kind.save(tmp_path / "model")
    with h5py.File(path, "r+") as file:
        group = file[kind.group]
        group["inner/a"] = np.arange(6.0).reshape(2, 3).astype(">f4")
        group["inner/b"], group["c"], group["d"], group["ä \n"] = np.zeros((0, 3)), 7, True, b"\xff"
        group.create_dataset("texts", data=[("ü", "a")], dtype=TEXT)
        group["metadata/x"] = h5py.SoftLink("/")
    here, apart = tree_here(path), hdf5_child.read_tree(path)

    def compare(a, b):
        assert list(a) == list(b)
        for key, value in a.items():
            if isinstance(value, dict):
                compare(value, b[key])
            else:
                assert type(value) is type(b[key]) and np.array_equal(value, b[key])
                assert np.shape(value) == np.shape(b[key])

    compare(here, apart)
    inner = here
    for name in kind.group.split("/"):
        inner = inner[name]
    assert {"inner", "c", "d", "ä \n", "texts"} < set(inner) and "metadata" not in inner
