"""The program file: same bytes twice, the same program back, and nothing hostile or broken gets through."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import any_network, random_network, small_chip
from snn_compile.compiler import file
from snn_compile.compiler.decode import decode
from snn_compile.compiler.encode import encode
from snn_compile.compiler.partition import partition
from snn_compile.compiler.place import place
from snn_compile.errors import OutputError, ProgramFileError, SnnCompileError


def program_of(network):
    chip = small_chip(neurons_per_core=9)
    return encode(network, place(partition(network, chip), chip), chip, {"report": {"model": "m"}})


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.snnc"
    file.save(program_of(random_network(1, encoding="bias")[0]), path)
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(any_network())
def test_what_is_saved_is_loaded_with_the_same_bytes_again(tmp_path, drawn):
    network, _ = drawn
    program = program_of(network)
    first, second = tmp_path / "first.snnc", tmp_path / "second.snnc"
    file.save(program, first)
    loaded = file.load(first)
    assert decode(loaded) == network
    assert loaded.manifest == program.manifest
    assert [core.place for core in loaded.cores] == [core.place for core in program.cores]
    file.save(loaded, second)
    assert first.read_bytes() == second.read_bytes()


def test_a_failed_write_leaves_nothing_behind(saved, monkeypatch):
    before = saved.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(file, "_write", fail)
    with pytest.raises(OutputError, match=r"model\.snnc: cannot be written \(No space left on device\); choose"):
        file.save(program_of(random_network(2)[0]), saved)
    assert [path.name for path in saved.parent.iterdir()] == ["model.snnc"]
    assert saved.read_bytes() == before


def edit_manifest(path, change):
    with h5py.File(path, "r+") as opened:
        manifest = json.loads(opened["manifest"][()].tobytes())
        change(manifest)
        del opened["manifest"]
        opened.create_dataset("manifest", data=np.frombuffer(json.dumps(manifest).encode(), np.uint8))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format="other"), "is no program of snn-compile"),
        (lambda m: m.update(version=99), "has format version 99, this release reads 4; compile the model again"),
        (lambda m: m.update(target="tianjic"), "is for the target 'tianjic', which this release does not know"),
        (lambda m: m.update(steps=0), "has no steps, no cores or no population"),
        (lambda m: m.update(places=[[0, 0, 0]] * 99), "has no cores/"),
        (lambda m: m["inputs"][0].update(levels=0), "the input in has impossible numbers"),
        (lambda m: m["inputs"][0].update(shape=[2**40]), "the input in has impossible numbers"),
        (lambda m: m["hosts"][0].update(source="nobody"), "the host's projection nobody -> p0 is broken"),
        (lambda m: m["hosts"][0].update(shift=-3), "the host's projection in -> p0 is broken"),
        (lambda m: m["populations"][0].update(size=2**40), "the population p0 has impossible numbers"),
        (lambda m: m["populations"][0].update(offset=-5), "the population p0 has impossible numbers"),
        (lambda m: m["populations"][0].update(size=10**30), "has impossible numbers|has a broken manifest"),
        (lambda m: m["populations"][0].update(shape=[-1]), "the population p0 has impossible numbers"),
        (lambda m: m["populations"][0].update(shape=[1]), "p0 does not name the origin of each neuron"),
        (lambda m: m["inputs"][0].update(shape=[2 * 10**9]), "in has broken starts|is broken"),
        (lambda m: m["inputs"][0].update(encoding="graded"), "in -> p0: goes with the host if and only if"),
        (lambda m: m["places"].__setitem__(0, [0, 99, 0]), r"core 0 stands at \(0, 99, 0\), outside the mesh"),
        (
            lambda m: m["places"].__setitem__(0, [1, 0, 0]),
            r"core 0 stands at \(1, 0, 0\), outside the mesh or",
        ),
        (lambda m: m.update(board="nahuku"), "is for the board 'nahuku', which loihi2 does not have"),
        (lambda m: m.update(outputs=[]), "has no outputs, or one twice"),
        (lambda m: m.pop("outputs"), "has a broken manifest"),
        (lambda m: m.update(outputs=["nobody"]), "names a population 'nobody' that is not there"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(saved, change, message):
    edit_manifest(saved, change)
    with pytest.raises(ProgramFileError, match=message):
        decode(file.load(saved))


def replace_dataset(path, name, make):
    with h5py.File(path, "r+") as opened:
        old = opened[name][()]
        del opened[name]
        make(opened, name, old)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f, n, old: None, "has no cores/0/words"),
        (lambda f, n, old: f.create_dataset(n, data=old.astype(np.float64)), "is not an array of uint64"),
        (lambda f, n, old: f.create_dataset(n, data=old[None]), "is not an array of uint64"),
        (lambda f, n, old: f.create_group(n), "is not an array of uint64"),
        (lambda f, n, old: f.create_dataset(n, data=old, chunks=True, compression="gzip"), "is not stored plainly"),
        (lambda f, n, old: f.create_dataset(n, (2**40,), np.uint64, chunks=(1024,)), "is not stored plainly"),
        (lambda f, n, old: f.create_dataset(n, (2**40,), np.uint64), "claims more than the file holds"),
        (
            lambda f, n, old: f.create_dataset(n, (2,), np.uint64, external=[("/etc/passwd", 0, 16)]),
            "not stored plainly",
        ),
        (lambda f, n, old: f.__setitem__(n, h5py.ExternalLink("other.h5", "/x")), "has no cores/0/words"),
        (lambda f, n, old: f.__setitem__(n, h5py.SoftLink("/cores/1/words")), "has no cores/0/words"),
        (
            lambda f, n, old: f.create_dataset(n, data=np.zeros(20000, np.uint64)),
            "core 0 has 20000 words, loihi2 has 16384",
        ),
    ],
)
def test_arrays_that_are_not_plain_are_refused(saved, make, message):
    replace_dataset(saved, "cores/0/words", make)
    with pytest.raises(ProgramFileError, match=message):
        file.load(saved)


def test_a_virtual_dataset_is_refused(saved):
    def make(opened, name, old):
        layout = h5py.VirtualLayout((len(old),), np.uint64)
        layout[:] = h5py.VirtualSource("elsewhere.h5", "x", (len(old),))
        opened.create_virtual_dataset(name, layout)

    replace_dataset(saved, "cores/0/words", make)
    with pytest.raises(ProgramFileError, match="is not stored plainly"):
        file.load(saved)


@pytest.mark.parametrize("content", [b"", b"not HDF5", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_what_is_no_program_is_refused(tmp_path, content):
    path = tmp_path / "x.snnc"
    path.write_bytes(content)
    with pytest.raises(ProgramFileError, match=r"x\.snnc: is no program file, or a broken one"):
        file.load(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(ProgramFileError, match="is not there; check the path"):
        file.load(tmp_path / "missing.snnc")
    with pytest.raises(ProgramFileError, match="is no file"):
        file.load(tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.data())
def test_a_damaged_file_is_refused_or_harmless(saved, data):
    content = bytearray(saved.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    keep = data.draw(st.sampled_from([len(content), len(content) * 9 // 10, len(content) // 2]))
    path = saved.with_name("damaged.snnc")
    path.write_bytes(bytes(content[:keep]))
    try:
        decode(file.load(path))
    except SnnCompileError as error:
        assert "\n" not in str(error)
