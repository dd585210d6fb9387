"""Networks from names, lists and TOML files."""

import numpy as np
import pytest
from snn_compile.compiler import nodes as ir
from snn_compile.compiler.unroll import possible_synapses
from snn_compile.errors import DataError, NetworkError
from snn_compile.frontend.networks import build

IMAGE = ir.Input("x", shape=(1, 8, 8), max_value=16)
NEURON = ir.LIF("y", tau=3.0)


def weighted(network):
    before = {target: source for source, target in network.edges}
    return [(n, network.shapes[before[n.name]]) for n in network.nodes if isinstance(n, (ir.Linear, ir.Conv2d))]


@pytest.mark.parametrize(
    ("name", "shape", "weights", "synapses", "outputs", "votes"),
    [
        ("mnist-2fc", (1, 28, 28), 635_200, 635_200, 10, 1),
        ("cifar10-6conv2fc", (3, 32, 32), 36_715_264, 1_614_720_000, 100, 10),
    ],
)
def test_the_networks_of_the_paper(name, shape, weights, synapses, outputs, votes):
    """Weights and unrolled synapses as counted from the published code; no layer has a bias."""
    network = build(name, ir.Input("x", shape=shape, max_value=255), ir.LIF("y"), steps=8, data=name.split("-")[0])
    layers = weighted(network)
    assert sum(layer.weight.size for layer, _ in layers) == weights
    assert sum(possible_synapses(layer, before) for layer, before in layers) == synapses
    assert all(layer.bias is None for layer, _ in layers)
    assert network.shapes[network.outputs[0]] == (outputs,) and network.votes == votes
    assert isinstance(network.nodes[1], ir.Normalise)


def test_a_list_of_layers():
    network = build("conv4k5p2s2,bn,lif, dropout0.25,maxpool2,conv8k1g2,lif,avgpool2,fc10,lif", IMAGE, NEURON, steps=6)
    assert (
        network.dump()
        == """network, 6 steps
  x: Input (1, 8, 8) graded <-
  conv1: Conv2d (4, 4, 4) 0 weights <- x
  bn1: BatchNorm (4, 4, 4) <- conv1
  lif1: LIF (4, 4, 4) tau 3 threshold 1 >= hard <- bn1
  dropout1: Dropout (4, 4, 4) <- lif1
  maxpool1: MaxPool2d (4, 2, 2) <- dropout1
  conv2: Conv2d (8, 2, 2) 0 weights <- maxpool1
  lif2: LIF (8, 2, 2) tau 3 threshold 1 >= hard <- conv2
  avgpool1: AvgPool2d (8, 1, 1) <- lif2
  flatten1: Flatten (8,) <- avgpool1
  fc1: Linear (10,) 0 weights <- flatten1
  lif3: LIF (10,) tau 3 threshold 1 >= hard <- fc1"""
    )
    assert network.by_name["conv2"].groups == 2 and network.by_name["dropout1"].p == 0.25


def test_a_file_says_the_same_and_more(tmp_path):
    path = tmp_path / "net.toml"
    path.write_text(
        """
        votes = 2
        [[layer]]
        kind = "conv"
        channels = 4
        kernel = 3
        padding = 1
        [[layer]]
        kind = "lif"
        tau = 5.0
        threshold = 0.5
        [[layer]]
        kind = "fc"
        outputs = 6
        [[layer]]
        kind = "lif"
        """
    )
    network = build(str(path), IMAGE, NEURON, steps=4)
    assert [n.name for n in network.nodes] == ["x", "conv1", "lif1", "flatten1", "fc1", "lif2"]
    assert (network.by_name["lif1"].tau, network.by_name["lif1"].threshold, network.by_name["lif2"].tau) == (5, 0.5, 3)
    assert network.votes == 2


def test_the_input_of_the_data_set_is_normalised():
    network = build("fc10,lif", ir.Input("x", shape=(1, 28, 28), max_value=255), NEURON, steps=4, data="mnist")
    assert np.allclose((network.nodes[1].mean, network.nodes[1].std), ([0.1307], [0.3081]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fc10,relu", "--network: has the layer 'relu'; write layers such as"),
        ("", "--network: has the layer ''"),
        ("lif16,fc10,lif", "has a layer lif with the setting 'size' too much"),
        ("conv,lif", "has a layer conv with no channels"),
        ("fc10p1,lif", "has a layer fc with the setting 'padding' too much"),
        ("missing.toml", r"missing.toml: cannot be read \(No such file or directory\); check the path"),
    ],
)
def test_what_cannot_be_read_is_said(text, message):
    with pytest.raises(DataError, match=message):
        build(text, IMAGE, NEURON, steps=4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layer = 3", "is no description of a network"),
        ("[[layer]]\nkind = 'pool'", "has a layer of kind 'pool'; use one of conv, fc"),
        ("[[layer]]\nkind = 'fc'\noutputs = 'ten'", "has a layer fc that cannot be"),
        ("[[layer]]\nkind = 'fc'\noutputs = 10\nsize = 3", "has a layer fc with the setting 'size' too much"),
    ],
)
def test_a_file_that_cannot_be_read_is_said(tmp_path, text, message):
    (tmp_path / "net.toml").write_text(text)
    with pytest.raises(DataError, match=message):
        build(str(tmp_path / "net.toml"), IMAGE, NEURON, steps=4)


def test_layers_that_do_not_fit_are_named():
    with pytest.raises(NetworkError, match="maxpool1: its window"):
        build("maxpool9,fc10,lif", IMAGE, NEURON, steps=4)
    with pytest.raises(NetworkError, match="has no neurons|leads nowhere"):
        build("fc10", IMAGE, NEURON, steps=4)
