"""Nodes check themselves on creation and survive the way through plain values."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from snn_compile.compiler import nodes as ir
from snn_compile.compiler.network import Network
from snn_compile.errors import NetworkError, UnsupportedError

EXAMPLES = {
    ir.Input: ir.Input("n", shape=(2, 3), max_value=16, encoding="rate"),
    ir.Normalise: ir.Normalise("n", mean=np.array([0.1]), std=np.array([0.3])),
    ir.Scale: ir.Scale("n", factor=np.array([2.0, 3.0])),
    ir.BatchNorm: ir.BatchNorm(
        "n", weight=np.ones(2), bias=np.zeros(2), running_mean=np.ones(2), running_var=np.ones(2), eps=1e-3
    ),
    ir.Dropout: ir.Dropout("n", p=0.25),
    ir.Flatten: ir.Flatten("n"),
    ir.Linear: ir.Linear("n", weight=np.arange(6.0).reshape(2, 3), bias=np.ones(2)),
    ir.Conv2d: ir.Conv2d("n", weight=np.ones((2, 1, 3, 3)), stride=(2, 1), padding=(1, 0), groups=2),
    ir.AvgPool2d: ir.AvgPool2d("n", kernel=(2, 3), stride=(2, 3)),
    ir.MaxPool2d: ir.MaxPool2d("n", kernel=(3, 2), stride=(1, 2)),
    ir.Delay: ir.Delay("n", steps=np.array([1, 0, 4])),
    ir.LIF: ir.LIF(
        "n",
        tau=np.array([3.0, 2.0]),
        threshold=0.5,
        reset="soft",
        decay_input=False,
        fires=">",
        tau_syn=1.5,
        reset_delay=True,
        gain=np.array([[[1.0, 2.0]]]),
        bias=-0.25,
    ),
    ir.FixedNeurons: ir.FixedNeurons(
        "n", vth=100, du=np.array([5, 6]), dv=7, reset="subtract", refractory=2, bias_exp=6, exponent=-1
    ),
}


@pytest.mark.parametrize("cls", ir.NODE_CLASSES)
def test_plain_values_give_the_node_back(cls):
    node = EXAMPLES[cls]
    plain, arrays = ir.node_to_plain(node)
    again = ir.node_from_plain(plain, arrays)
    assert type(again) is cls
    for field in dataclasses.fields(node):
        assert np.array_equal(getattr(again, field.name), getattr(node, field.name)), field.name


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ir.Input("x", shape=()), "x: has the shape"),
        (lambda: ir.Input("x", shape=(2,), max_value=0), "max_value is 0, a whole number 1 to 65535 is possible"),
        (lambda: ir.Input("x", shape=(2,), encoding="morse"), "has the encoding 'morse'"),
        (lambda: ir.Linear("fc", weight=np.ones(3)), "fc: weight has 1 dimensions, 2 are needed"),
        (lambda: ir.Linear("fc", weight=np.full((1, 1), np.nan)), "fc: weight holds NaN or infinity"),
        (lambda: ir.Linear("fc", weight=np.array([["a"]])), "fc: weight has dtype <U1"),
        (lambda: ir.Linear("fc", weight=np.ones((2, 2)), bias=np.ones(3)), "bias has 3 values for 2 outputs"),
        (lambda: ir.Conv2d("c", weight=np.ones((3, 1, 1, 1)), groups=2), "3 channels in 2 groups"),
        (lambda: ir.Conv2d("c", weight=np.ones((1, 1, 1, 1)), stride=(0, 1)), r"stride is \(0, 1\)"),
        (lambda: ir.Conv2d("c", weight=np.ones((1, 1, 1, 1)), bias=np.ones(2)), "bias has 2 values for 1 channels"),
        (lambda: ir.AvgPool2d("p", kernel=(0, 1)), "must be two positive integers"),
        (lambda: ir.Normalise("n", std=np.zeros(1)), "std is not positive"),
        (lambda: ir.BatchNorm("b", weight=np.ones(2)), "its four arrays have the lengths"),
        (lambda: ir.BatchNorm("b", running_var=-np.ones(1)), "running_var . eps is not positive"),
        (lambda: ir.LIF("y", tau=0.5), "y: tau is 0.5, 1 to 1e.30 is needed"),
        (lambda: ir.LIF("y", tau=np.array([3.0, 0.5])), "y: tau is 0.5 to 3, 1 to 1e.30 is needed"),
        (lambda: ir.LIF("y", tau=np.array([3.0, np.nan])), "y: tau holds NaN"),
        (lambda: ir.LIF("y", tau="slow"), "y: tau is slow, 1 to 1e.30 is needed"),
        (lambda: ir.LIF("y", threshold=-1.0), "threshold is -1.0, a number above 0 and up to 1e.30 is needed"),
        (lambda: ir.LIF("y", reset="often"), "reset is 'often', 'hard', 'soft' or 'none' is possible"),
        (lambda: ir.LIF("y", reset_delay=1), "reset_delay is 1, no truth value"),
        (lambda: ir.Delay("d", steps=-1), "d: its delay is no whole number of steps from 0 on"),
        (lambda: ir.Delay("d", steps=0.5), "d: its delay is no whole number"),
        (lambda: ir.FixedNeurons("y", vth=2**23), "y: vth is 8388608, a whole number 0 to 8388607 is needed"),
        (lambda: ir.FixedNeurons("y", du=0.5), "y: du is no whole number"),
        (lambda: ir.FixedNeurons("y", model="izhikevich"), "y: model is 'izhikevich', 'lif' or 'sigma-delta' or"),
        (lambda: ir.LIF("y", fires="<"), "fires at '<'"),
        (lambda: ir.LIF(""), "has the name '', printable text up to 500 letters is needed"),
        (lambda: ir.LIF("y\x1b[31m"), r"has the name 'y\\x1b\[31m', printable text"),
    ],
)
def test_a_node_refuses_what_cannot_be(make, message):
    with pytest.raises(NetworkError, match=message):
        make()


def test_an_unknown_layer_is_named_with_what_there_is():
    with pytest.raises(UnsupportedError, match="pool1: is a layer of kind 'MaxUnpool'; use one of AvgPool2d, .*LIF.*"):
        ir.node_from_plain({"kind": "MaxUnpool", "name": "pool1"}, {})
    with pytest.raises(NetworkError, match="fc: the array fc.weight is missing"):
        ir.node_from_plain({"kind": "Linear", "name": "fc"}, {})
    with pytest.raises(NetworkError, match="fc: a Linear has no setting 'colour'"):
        ir.node_from_plain({"kind": "Linear", "name": "fc", "colour": 1}, {"fc.weight": np.ones((1, 1))})
    with pytest.raises(NetworkError, match="x: its settings cannot be read"):
        ir.node_from_plain({"kind": "Input", "name": "x", "shape": 3}, {})


X, FC, Y = ir.Input("x", shape=(2,)), ir.Linear("fc", weight=np.ones((3, 2))), ir.LIF("y")


@pytest.mark.parametrize(
    ("nodes", "edges", "message"),
    [
        ((X, FC, Y, Y), [("x", "fc"), ("fc", "y")], "y: stands twice"),
        ((X, FC, Y), [("x", "fc"), ("x", "fc"), ("fc", "y")], "an edge stands twice"),
        ((X, FC, Y), [("x", "fc"), ("fc", "z")], "z: the edge fc -> z names a layer that is not there"),
        ((X, FC, Y), [("x", "fc")], "y: gets no input"),
        ((X, FC, Y), [("x", "fc"), ("fc", "y"), ("y", "x")], "x: is an input, yet an edge ends there"),
        ((X, FC, Y), [("x", "fc"), ("x", "y")], "fc: leads nowhere"),
        ((X, FC), [("x", "fc")], "has no neurons"),
        ((FC, Y), [("fc", "y")], "has no input"),
        ((X, FC, Y), [("x", "fc"), ("fc", "y"), ("y", "fc")], "fc: gets 2 inputs, one is needed"),
        ((ir.Input("x", shape=(5,)), FC, Y), [("x", "fc"), ("fc", "y")], r"fc: takes 2 inputs, gets the shape \(5,\)"),
    ],
)
def test_a_network_refuses_what_cannot_be(nodes, edges, message):
    with pytest.raises(NetworkError, match=message):
        Network(nodes, tuple(edges), steps=4)


def test_a_loop_needs_a_spiking_layer():
    a, b = ir.Scale("a", factor=np.ones(1)), ir.Scale("b", factor=np.ones(1))
    with pytest.raises(NetworkError, match="loop without neurons"):
        Network((X, FC, Y, a, b), (("x", "fc"), ("fc", "y"), ("a", "b"), ("b", "a")), steps=4)


def test_constants_fit_their_neurons_and_a_readout_is_the_end():
    edges = (("x", "fc"), ("fc", "y"))
    with pytest.raises(NetworkError, match=r"y: tau has the shape \(2,\), the layer has \(3,\)"):
        Network((X, FC, ir.LIF("y", tau=np.full(2, 2.0))), edges, steps=4)
    nodes = (X, FC, ir.LIF("y", fires="never"), ir.Linear("fc2", weight=np.ones((1, 3))), ir.LIF("z"))
    with pytest.raises(NetworkError, match="y: never spikes, yet layers follow it"):
        Network(nodes, (*edges, ("y", "fc2"), ("fc2", "z")), steps=4)


def test_steps_are_bounded():
    with pytest.raises(NetworkError, match="has 0 steps per sample"):
        Network((X, FC, Y), (("x", "fc"), ("fc", "y")), steps=0)
