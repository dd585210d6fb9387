"""`.net` files with odd shapes, with what NetX does not read, and from strangers: one sentence for each fault."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from snn_compile.compiler.findings import UnsupportedModelError
from snn_compile.errors import ModelFileError, SnnCompileError
from snn_compile.frontend.readers import hdf5_check, net_file
from snn_compile.frontend.readers.net import read_net
from snn_compile.frontend.readers.options import ReadOptions

sys.path.insert(0, str(Path(__file__).parent))
from net_files import CUBA, SDNN, conv, dense, write_layers
from net_simulation import simulate

NONE = ReadOptions()


def test_odd_shapes(tmp_path) -> None:
    """A last layer of one neuron with its weights in one row and no neurons; a type that is a scalar."""
    last = {"type": "dense", "shape": [1], "weight": np.array([3, -2], np.float32)}
    path = write_layers(tmp_path / "odd.net", [dense([[50, 0], [0, 50]]), last], steps=4)
    with h5py.File(path, "r+") as file:
        del file["layer/1/type"]
        file["layer/1/type"] = b"dense"
    network = read_net(path, NONE)
    made = simulate(network, np.array([[1, 0], [1, 1], [0, 1], [0, 0]]))
    assert made["neurons0"].tolist() == [[1, 0], [1, 1], [0, 1], [0, 0]]
    assert made["neurons1"][:, 0].tolist() == [3, 1, -2, 0]
    assert network.by_name["neurons1"].model == "integrator"


def test_recurrent_layer_hears_itself_one_step_later(tmp_path) -> None:
    layer = dense([[50], [0]]) | {"type": "dense_rec", "weight_rec": np.array([[0, 0], [50, 0]], np.float32)}
    made = simulate(read_net(write_layers(tmp_path / "r.net", [layer]), NONE), np.array([[1], [0], [0]]))
    assert made["neurons0"].tolist() == [[1, 0], [0, 1], [0, 0]]


def test_delay_holds_back_what_a_layer_sends(tmp_path) -> None:
    first = dense(np.eye(2) * 50, delay=np.array([0, 2], np.float32))
    path = write_layers(tmp_path / "d.net", [first, dense(np.eye(2) * 50)])
    made = simulate(read_net(path, NONE), np.array([[1, 1], [0, 0], [0, 0], [0, 0]]))
    assert made["neurons1"].tolist() == [[1, 0], [0, 0], [0, 1], [0, 0]]


def test_joined_layers_are_taken_apart(tmp_path) -> None:
    """The weights' columns: first what the layer before sends, then the layer named."""
    layers = [
        dense(np.eye(2) * 50), dense(np.eye(2) * 50), {"type": "concat", "shape": [4], "layers": [0]},
        dense([[50, 0, 0, -9]]),
    ]  # fmt: skip
    network = read_net(write_layers(tmp_path / "c.net", layers), NONE)
    edges = {source: target for source, target in network.edges if target.startswith("dense3")}
    assert edges == {"neurons1": "dense3-0", "neurons0": "dense3-1"}
    assert network.by_name["dense3-1"].weight.tolist() == [[0, -9]]


def test_rest_after_a_spike(tmp_path) -> None:
    network = read_net(write_layers(tmp_path / "r.net", [dense([[50]], {**CUBA, "refDelay": 3})]), NONE)
    assert network.by_name["neurons0"].refractory == 2
    assert any("NetX ignores it" in finding.text for finding in network.findings)


def refusals():
    eye = np.eye(2)
    image = {"type": "input", "shape": [2, 4, 4]}
    kernel = np.ones((3, 2, 3, 3))
    return {
        "fraction": ([dense(eye * 0.5)], "dense0: weight holds 0.5, whole numbers are needed; quantise it"),
        "neuron": ([dense(eye, {**CUBA, "type": b"RF_PHASE"})], "dense0: has neurons of type RF_PHASE; use CUBA"),
        "graded": ([dense(eye, {**CUBA, "gradedSpike": True})], "dense0: sends graded spikes, LIF neurons"),
        "exponent": ([dense(eye, {**CUBA, "wgtExp": 2})], "dense0: neuron/wgtExp is not 0"),
        "decay": ([dense(eye, {**CUBA, "vDecay": 4097})], "dense0: neuron/vDecay is 4097, 0 to 4096 is possible"),
        "missing": ([dense(eye, {"type": b"CUBA"})], "dense0: neuron/iDecay is missing"),
        "silent": ([dense(eye, None), dense(eye)], "dense0: never spikes"),
        "activation": ([dense(eye, {**SDNN, "activation": b"tanh"})], "dense0: has the activation tanh"),
        "kind": ([dense(eye), {"type": "unpool", "shape": [2]}], "unpool1: is a layer of type unpool"),
        "steps": ([dense(eye)], "network: does not say how many steps"),
        "late": ([dense(eye, delay=[1.0, 0.0])], "dense0: delays the answer of the network"),
        "input": ([conv(kernel, [3, 2, 2])], "conv0: has no input layer before it"),
        "channels": ([image, conv(kernel[:, :1], [3, 2, 2])], "conv1: has a kernel"),
        "stride": ([image, conv(kernel, [3, 2, 2], stride=[0, 1])], "conv1: its stride is not"),
        "bias": ([dense(eye, bias=[1.0, 2.0, 3.0])], r"dense0: has biases of the shape \(3,\) for 2 outputs"),
        "size": ([dense(eye), dense(np.ones((2, 3)))], r"dense1: has weights of the shape \(2, 3\) for 2 inputs"),
        "shape": ([dense(eye) | {"shape": [3]}], r"dense0: has the shape \(2,\) by its weights, the file says \(3,\)"),
        "huge": ([image, conv(kernel, [3, 2, 2], padding=[4000, 4000])], "conv1: has 192096012 neurons"),
    }  # fmt: skip


@pytest.mark.parametrize("name", refusals())
def test_what_cannot_be_carried_is_named(name, tmp_path) -> None:
    layers, sentence = refusals()[name]
    path = write_layers(tmp_path / "bad.net", layers, None if name == "steps" else 8)
    with pytest.raises(SnnCompileError, match=f"^{sentence}"):
        read_net(path, NONE)


def test_all_faults_are_listed(tmp_path) -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        read_net(write_layers(tmp_path / "bad.net", [dense(np.eye(2) * 0.5, {"type": b"RF"})], None), NONE)
    assert [finding.kind for finding in caught.value.findings].count("unsupported") == 3


def hostile(path: Path, name: str) -> None:
    """A good file with one field replaced by something else."""
    write_layers(path, [dense(np.eye(2) * 50)])
    with h5py.File(path, "r+") as file:
        del file["layer/0/weight"]
        layer = file["layer/0"]
        if name == "soft link":
            layer["weight"] = h5py.SoftLink("/layer/0/shape")
        elif name == "external link":
            layer["weight"] = h5py.ExternalLink("/etc/passwd", "/")
        elif name == "external storage":
            layer.create_dataset("weight", (2, 2), "f4", external=[("/etc/hostname", 0, 16)])
        elif name == "virtual":
            layout = h5py.VirtualLayout((2, 2), "f4")
            layout[:] = h5py.VirtualSource("other.h5", "weight", (2, 2))
            layer.create_virtual_dataset("weight", layout)
        elif name == "bomb":
            layer.create_dataset("weight", (2**16, 2**16), "f4", chunks=(2**10, 2**10), compression="gzip")
        elif name == "NaN":
            layer["weight"] = np.array([[np.nan, 1], [1, 1]], np.float32)
        elif name == "text":
            layer["weight"] = np.array([[b"a", b"b"]])
        elif name == "compound":
            layer["weight"] = np.zeros(2, [("a", "f4")])
        elif name == "deep":
            layer.create_group("weight/more/still")
        elif name == "gap":
            file.move("layer/0", "layer/1")
        elif name == "no layers":
            del file["layer"]
        else:
            layer["weight"] = np.eye(2)
            layer["type"][...] = b"\xff\x00 "


SENTENCES = {
    "soft link": "/layer/0/weight is a link",
    "external link": "/layer/0/weight is a link",
    "external storage": "/layer/0/weight lies in another file",
    "virtual": "/layer/0/weight lies in another file",
    "bomb": r"/layer/0/weight has the shape \(65536, 65536\), a network may have",
    "NaN": "/layer/0/weight holds NaN or infinity",
    "text": "/layer/0/weight holds",
    "compound": "/layer/0/weight holds",
    "deep": "/layer/0/weight/more is neither a dataset nor a group of them",
    "gap": "has 1 layers, yet no /layer/0",
    "no layers": "has no group /layer",
    "type": "its /layer/0/type is no word",
}


@pytest.mark.parametrize("name", SENTENCES)
def test_files_from_strangers(name, tmp_path) -> None:
    path = tmp_path / "hostile.net"
    hostile(path, name)
    with pytest.raises(ModelFileError, match=f"hostile.net: {SENTENCES[name]}"):
        read_net(path, NONE)


def test_flipped_bits_give_a_sentence_or_a_network(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(hdf5_check, "SECONDS", 5)
    layers = [{"type": "input", "shape": [1, 4, 4]}, conv(np.ones((2, 1, 3, 3)), [2, 2, 2]), dense(np.ones((2, 8)))]
    path = write_layers(tmp_path / "good.net", layers)
    good, rng, refused = path.read_bytes(), random.Random(4), 0
    for i in range(24):
        damaged = bytearray(good)
        for _ in range(3):
            damaged[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
        other = tmp_path / f"{i}.net"
        other.write_bytes(damaged[: rng.randrange(len(good))] if i % 6 == 0 else damaged)
        try:
            read_net(other, NONE)
        except SnnCompileError:
            refused += 1
    assert refused >= 4


@pytest.mark.parametrize("script", ["import time; time.sleep(60)", "import os; os.abort()"])
def test_a_file_on_which_the_library_hangs_or_crashes(script, tmp_path, monkeypatch) -> None:
    """What HDF5 does on some damaged files, played by a guard that does not come back."""
    guard = tmp_path / "guard.py"
    guard.write_text(script)
    monkeypatch.setattr(hdf5_check, "GUARD", guard)
    monkeypatch.setattr(hdf5_check, "SECONDS", 2)
    with pytest.raises(ModelFileError, match=r"bad.net: is a damaged HDF5 file: the HDF5 library crashes on it"):
        read_net(write_layers(tmp_path / "bad.net", [dense(np.eye(2))]), NONE)


def test_too_many_layers(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(net_file, "MAX_LAYERS", 1)
    with pytest.raises(ModelFileError, match="has 2 layers, 1 to 1 are possible"):
        read_net(write_layers(tmp_path / "many.net", [dense(np.eye(2)), dense(np.eye(2))]), NONE)
