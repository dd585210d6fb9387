"""`.net` files with odd shapes, with what NetX does not read, and from strangers: one sentence for each fault."""

from __future__ import annotations

import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from snn_compile.compiler.findings import UnsupportedModelError
from snn_compile.errors import ModelFileError, NetworkError, SnnCompileError
from snn_compile.frontend.readers import budget
from snn_compile.frontend.readers.net import file as net_file
from snn_compile.frontend.readers.net.network import read_net
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


def pool(size):
    return conv(np.ones((1, 1, *size)), [2, 1, 1], stride=size) | {"type": "pool"}


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
        "scalar shape": ([dense(eye) | {"shape": 3}], r"dense0: has the shape \(2,\) by its weights"),
        "scalar bias": ([dense(eye, bias=1)], r"dense0: has biases of the shape \(\) for 2 outputs"),
        "scalar delay": ([dense(eye, delay=1), dense(eye, delay=1)], "dense1: delays the answer of the network"),
        "text flag": ([dense(eye, {**CUBA, "gradedSpike": b"no"})], "dense0: neuron/gradedSpike is a text, numbers"),
        "text exponent": ([dense(eye, {**CUBA, "wgtExp": b"2"})], "dense0: neuron/wgtExp is a text, numbers"),
        "text sigma": ([dense(eye, {**SDNN, "sigma_output": b"x"})], "dense0: neuron/sigma_output is a text, numbers"),
        "text delay": ([dense(eye, delay=b"x") | {"type": "dense_rec", "weight_rec": eye}], "dense_rec0: delay is"),
        "array type": ([dense(eye, {**CUBA, "type": [1, 2]})], "dense0: neuron/type holds 2 numbers, a text is needed"),
        "array activation": ([dense(eye, {**SDNN, "activation": [1, 2]})], "dense0: neuron/activation holds 2 numbers"),
        "wide pool": ([image, pool([4, 400])], r"pool1: has a window \(4, 400\) that is larger than its image"),
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
    """A good file with one field replaced by something else; `test_hdf5_hostile` has what concerns the file itself."""
    write_layers(path, [dense(np.eye(2) * 50)])
    with h5py.File(path, "r+") as file:
        layer = file["layer/0"]
        if name in ("text", "deep"):
            del layer["weight"]
        if name == "text":
            layer["weight"] = np.array([[b"a", b"b"]])
        elif name == "deep":
            layer.create_group("weight/more/still")
        elif name == "gap":
            file.move("layer/0", "layer/1")
        elif name == "no layers":
            del file["layer"]
        elif name == "steps":
            file["simulation/tSample"][...] = 0
        else:
            layer["type"][...] = b"\xff\x00 "


SENTENCES = {
    "text": "/layer/0/weight holds 2 texts, numbers are needed",
    "deep": "/layer/0/weight/more is a group in a group of fields",
    "gap": "has 1 layers, yet no /layer/0",
    "no layers": "has no group /layer",
    "type": "its /layer/0/type is no word",
    "steps": "its simulation/tSample is no number of steps, 1 to 65536 is possible",
}


@pytest.mark.parametrize("name", SENTENCES)
def test_files_from_strangers(name, tmp_path) -> None:
    path = tmp_path / "hostile.net"
    hostile(path, name)
    with pytest.raises(ModelFileError, match=f"hostile.net: {SENTENCES[name]}"):
        read_net(path, NONE)


def test_too_many_layers(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(net_file, "MAX_LAYERS", 1)
    with pytest.raises(ModelFileError, match="has 2 layers, 1 to 1 are possible"):
        read_net(write_layers(tmp_path / "many.net", [dense(np.eye(2)), dense(np.eye(2))]), NONE)


def test_joined_layers_do_not_double_for_ever(tmp_path) -> None:
    """Each concat names all that came before, so that each has twice the sources of the one before it."""
    layers = [dense(np.eye(2))]
    layers += [{"type": "concat", "layers": list(range(n))} for n in range(1, 15)]
    with pytest.raises(UnsupportedModelError, match="concat9: joins 256 sources") as caught:
        read_net(write_layers(tmp_path / "doubled.net", layers), NONE)
    texts = [finding.text for finding in caught.value.findings]
    assert texts[-2] == f"joins {' + '.join(['neurons0'] * 8)} and 120 more along the channels, in this order"


def test_pools_and_delays_together_stay_within_a_budget(tmp_path, monkeypatch) -> None:
    """One kernel of 2 channels by 2 by 2, one delay for each of 2 by 2 by 2 neurons: 16 numbers."""
    image, halved = {"type": "input", "shape": [2, 4, 4]}, pool([2, 2]) | {"shape": [2, 2, 2]}
    path = write_layers(tmp_path / "p.net", [image, halved | {"delay": [1, 2]}, dense(np.ones((2, 8)))])
    monkeypatch.setattr(budget, "MOST", 16)
    assert read_net(path, NONE).by_name["delay1"].steps.tolist() == [1] * 4 + [2] * 4
    monkeypatch.setattr(budget, "MOST", 15)
    with pytest.raises(NetworkError, match="pool1: the delay of each of its neurons is .* more than 15 numbers"):
        read_net(path, NONE)
    monkeypatch.setattr(budget, "MOST", 7)
    with pytest.raises(NetworkError, match="pool1: its kernel for all channels is .* more than 7 numbers"):
        read_net(path, NONE)
