"""A trace from a stranger: nothing broken or hostile gets through, and no chunk grows beyond its size."""

from __future__ import annotations

import json
import zlib

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from snn_compile.errors import SnnCompileError, TraceFileError
from snn_compile.runtime.trace_file import read_trace
from traces import population, random_trace, write

V = "populations/0/v"
GZIP = {"maxshape": (None, 5, 3), "chunks": (64, 5, 3), "compression": "gzip", "shuffle": True}


@pytest.fixture
def saved(tmp_path):
    traces = {"a": random_trace(0, 3, 5, 3), "b": random_trace(1, 3, 5, 4, np.int32)}
    labels = np.arange(3)
    return write(tmp_path / "t.h5", [population("a", 3), population("b", 4)], traces, labels=labels)


def read_all(path):
    with read_trace(path) as file:
        for p in file.populations:
            for sample in range(file.samples):
                file.trace(p.name, sample)


def edit_manifest(path, change):
    with h5py.File(path, "r+") as opened:
        manifest = json.loads(opened["manifest"][()].tobytes())
        change(manifest)
        del opened["manifest"]
        opened.create_dataset("manifest", data=np.frombuffer(json.dumps(manifest).encode(), np.uint8))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format="other"), r"t\.h5: is no trace of snn-run; give a file that snn-run --trace wrote"),
        (lambda m: m.update(version=99), r"t\.h5: has format version 99, this release reads 1; trace the run again"),
        (lambda m: m.pop("steps"), "has a broken manifest"),
        (lambda m: m.update(steps=0), "has 0 steps of 3 samples, which cannot be"),
        (lambda m: m.update(samples=-1), "has 5 steps of -1 samples"),
        (lambda m: m.update(samples=10**30), "has a broken manifest|which cannot be"),
        (lambda m: m.update(samples=4), r"populations/0/spikes has the shape \(3, 5, 3\), not \(4, 5, 3\)"),
        (lambda m: m.update(populations=[]), "has 0 populations, 1 to 256 are possible"),
        (lambda m: m.update(populations=m["populations"] * 200), "has 400 populations, 1 to 256 are possible"),
        (lambda m: m["populations"][1].update(name="a"), "has a population twice"),
        (lambda m: m["populations"][0].update(size=0), "the population a has impossible numbers"),
        (lambda m: m["populations"][0].update(shape=[2**40]), "the population a has impossible numbers"),
        (lambda m: m["populations"][0].update(vth=-1), "the population a has impossible numbers"),
        (lambda m: m["populations"][0].update(name="\x1b[2J\n", vth=-1), "population \ufffd\\[2J\ufffd has impossible"),
        (lambda m: m["populations"][0].update(size=4), "a does not name the origin of each neuron"),
        (lambda m: m["populations"][0].update(shape=[1]), "a does not name the origin of each neuron"),
        (lambda m: m.update(labels=[1]), "has 1 predictions or labels for 3 samples"),
        (lambda m: m.update(labels=[2**63, 0, 0]), "is no trace file, or a broken one|has a broken manifest"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(saved, change, message):
    edit_manifest(saved, change)
    with pytest.raises(TraceFileError, match=message):
        read_all(saved)


def replace_dataset(path, name, make):
    with h5py.File(path, "r+") as opened:
        old = opened[name][()]
        del opened[name]
        make(opened, name, old)


def virtual(opened, name, old):
    layout = h5py.VirtualLayout(old.shape, np.int32)
    layout[:] = h5py.VirtualSource("elsewhere.h5", "x", old.shape)
    opened.create_virtual_dataset(name, layout)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f, n, old: None, "has no populations/0/v"),
        (lambda f, n, old: f.create_dataset(n, data=old.astype(np.float64), **GZIP), "is not an array of int32"),
        (lambda f, n, old: f.create_dataset(n, data=old.astype(np.uint8), **GZIP), "is not an array of int32"),
        (lambda f, n, old: f.create_dataset(n, data=old.astype(">i4"), **GZIP), "is not an array of int32"),
        (lambda f, n, old: f.create_dataset(n, data=old[0], chunks=True), "is not an array of int32"),
        (lambda f, n, old: f.create_group(n), "is not an array of int32"),
        (lambda f, n, old: f.__setitem__(n, h5py.ExternalLink("other.h5", "/x")), "has no populations/0/v"),
        (lambda f, n, old: f.__setitem__(n, h5py.SoftLink("/populations/0/u")), "has no populations/0/v"),
        (virtual, "is not stored plainly in the file"),
        (
            lambda f, n, old: f.create_dataset(n, old.shape, np.int32, external=[("/etc/passwd", 0, old.nbytes)]),
            "is not stored plainly in the file",
        ),
        (lambda f, n, old: f.create_dataset(n, data=old), "has other chunks or filters"),
        (
            lambda f, n, old: f.create_dataset(n, data=old, **{**GZIP, "chunks": (1, 1, 1)}),
            "has other chunks or filters",
        ),
        (
            lambda f, n, old: f.create_dataset(n, data=old, **{**GZIP, "compression": "lzf"}),
            "has other chunks or filters than those of format version 1",
        ),
        (
            lambda f, n, old: f.create_dataset(n, data=old, fletcher32=True, **GZIP),
            "has other chunks or filters",
        ),
        (lambda f, n, old: f.create_dataset(n, old.shape, np.int32, **GZIP), "a broken one"),
    ],
)
def test_arrays_that_are_not_as_written_are_refused(saved, make, message):
    replace_dataset(saved, V, make)
    with pytest.raises(TraceFileError, match=message):
        read_all(saved)


def test_a_file_that_claims_more_than_it_holds_is_refused(saved):
    many = 2**30
    edit_manifest(saved, lambda m: m.update(samples=many, labels=None))
    for kind, dtype in (("spikes", np.uint8), ("u", np.int32), ("v", np.int32)):
        form = {**GZIP, "shuffle": dtype == np.int32}
        replace_dataset(
            saved,
            f"populations/0/{kind}",
            lambda f, n, old, dtype=dtype, form=form: f.create_dataset(n, (many, 5, 3), dtype, **form),
        )
    with pytest.raises(TraceFileError, match="populations/0/spikes claims more than the file holds"):
        read_trace(saved)


def test_a_sample_of_more_values_than_possible_is_refused(saved):
    edit_manifest(saved, lambda m: m.update(steps=2**16))
    wide = np.zeros(2**11, np.int32)
    edit_manifest(saved, lambda m: m["populations"][0].update(size=2**11, shape=[2**11]))
    replace_dataset(saved, "populations/0/origin", lambda f, n, old: f.create_dataset(n, data=wide))
    with pytest.raises(TraceFileError, match="a has 65536 steps of 2048 neurons, 67108864 values per sample are"):
        read_trace(saved)


@pytest.mark.parametrize(
    ("content", "mask"),
    [
        (zlib.compress(bytes(10**8)), 0),
        (zlib.compress(bytes(10**6)), 0),
        (zlib.compress(bytes(100)), 0),
        (zlib.compress(bytes(64 * 5 * 3 * 4))[:-6], 0),
        (bytes(64 * 5 * 3 * 4), 1),
        (bytes(64 * 5 * 3 * 4), 3),
        (bytes(64 * 5 * 3 * 4 + 1), 2),
    ],
)
def test_a_chunk_of_another_size_is_refused(saved, content, mask):
    with h5py.File(saved, "r+") as opened:
        opened[V].id.write_direct_chunk((0, 0, 0), content, filter_mask=mask)
    with pytest.raises(TraceFileError, match=r"t\.h5: is no trace file, or a broken one; give a file that snn-run"):
        read_all(saved)


def test_a_chunk_that_hdf5_left_uncompressed_is_read(saved):
    with h5py.File(saved, "r+") as opened:
        old = opened[V][()]
        whole = np.zeros((64, 5, 3), "<i4")
        whole[:3] = old
        shuffled = whole.reshape(-1).view(np.uint8).reshape(-1, 4).T.tobytes()
        opened[V].id.write_direct_chunk((0, 0, 0), shuffled, filter_mask=2)
    with read_trace(saved) as file:
        assert np.array_equal(file.array("a", "v", 2), old[2])


@pytest.mark.parametrize("content", [b"", b"not HDF5", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_what_is_no_trace_is_refused(tmp_path, content):
    path = tmp_path / "x.h5"
    path.write_bytes(content)
    with pytest.raises(TraceFileError, match=r"x\.h5: is no trace file, or a broken one"):
        read_trace(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(TraceFileError, match="is not there; check the path"):
        read_trace(tmp_path / "missing.h5")
    with pytest.raises(TraceFileError, match="is no file"):
        read_trace(tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.data())
def test_a_damaged_file_is_refused_or_harmless(saved, data):
    content = bytearray(saved.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    keep = data.draw(st.sampled_from([len(content), len(content) * 9 // 10, len(content) // 2]))
    path = saved.with_name("damaged.h5")
    path.write_bytes(bytes(content[:keep]))
    try:
        read_all(path)
    except SnnCompileError as error:
        assert "\n" not in str(error)
