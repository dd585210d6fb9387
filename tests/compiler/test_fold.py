"""Folding changes no value: the folded network computes the same currents as the layers one after the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from snn_compile.compiler.fold import fold, path
from snn_compile.compiler.lower import lower
from snn_compile.compiler.network import Network
from snn_compile.compiler.nodes import (
    LIF,
    AvgPool2d,
    BatchNorm,
    Conv2d,
    Dropout,
    Flatten,
    Input,
    Linear,
    MaxPool2d,
    Normalise,
    Scale,
)
from snn_compile.compiler.pipeline import compile_network
from snn_compile.compiler.unroll import possible_synapses, unroll
from snn_compile.errors import UnsupportedError
from snn_compile.hw_targets import chip as chips
from snn_compile.runtime.engine import run_engine


def chain(*nodes, steps=4):
    names = [node.name for node in nodes]
    return Network(nodes, tuple(zip(names, names[1:], strict=False)), steps)


def batch_norm(rng, name, channels):
    return BatchNorm(
        name,
        weight=rng.normal(size=channels),
        bias=rng.normal(size=channels),
        running_mean=rng.normal(size=channels),
        running_var=rng.random(channels) + 0.1,
    )


def run_layers(network, x):
    """The value that reaches the first LIF, layer by layer in plain NumPy; x (channels, rows, columns) or (n,)."""
    for node in network.nodes[1:]:
        if isinstance(node, LIF):
            return x.ravel()
        x = apply_layer(node, x)
    raise AssertionError


def apply_layer(node, x):
    if isinstance(node, (Normalise, Scale, BatchNorm)):
        gain, shift = (np.broadcast_to(a, len(x)).reshape(-1, *[1] * (x.ndim - 1)) for a in node.affine())
        return x * gain + shift
    if isinstance(node, Flatten):
        return x.ravel()
    if isinstance(node, Linear):
        return node.weight @ x + (0 if node.bias is None else node.bias)
    if isinstance(node, AvgPool2d):
        return windows(x, node.kernel, node.stride, (1, 1)).mean(axis=(3, 4))
    if isinstance(node, Conv2d):
        x = np.pad(x, ((0, 0), *((p, p) for p in node.padding)))
        view = windows(x, node.weight.shape[2:], node.stride, node.dilation)
        groups = np.split(view, node.groups), np.split(node.weight, node.groups)
        y = np.concatenate([np.einsum("crsyx,ocyx->ors", v, w) for v, w in zip(*groups, strict=True)])
        return y if node.bias is None else y + node.bias[:, None, None]
    assert isinstance(node, Dropout)
    return x


def windows(x, kernel, stride, dilation):
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(x, extent, axis=(1, 2))
    return view[:, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def folded_value(network, x):
    folded = fold(network)
    (target,) = network.outputs
    (before,) = (s for s, t in folded.edges if t == target)
    source, steps = path(folded, before)
    (layer,) = (step for step in steps if isinstance(step, (Linear, Conv2d)))
    synapses = unroll(layer, folded.shapes[source])
    assert len(synapses) <= possible_synapses(layer, folded.shapes[source])
    bias = 0 if layer.bias is None else layer.bias
    if layer.bias is not None:
        shape = layer.output_shape(folded.shapes[source])
        bias = np.broadcast_to(bias.reshape(-1, *[1] * (len(shape) - 1)) if bias.ndim == 1 else bias, shape).ravel()
    return synapses.matrix() @ x.ravel() + bias


@given(st.integers(0, 2**32 - 1))
def test_a_dense_path_keeps_its_values(seed):
    rng = np.random.default_rng(seed)
    n, m = rng.integers(1, 9, 2)
    network = chain(
        Input("x", shape=(int(n),), max_value=16),
        Normalise("norm", mean=rng.normal(size=1), std=rng.random(1) + 0.1),
        Scale("scale", factor=rng.normal(size=n)),
        Dropout("drop"),
        Linear("fc", weight=rng.normal(size=(m, n)), bias=rng.normal(size=m) if seed % 2 else None),
        batch_norm(rng, "bn", m),
        LIF("y"),
    )
    x = rng.random(n)
    assert np.allclose(folded_value(network, x), run_layers(network, x))


@given(st.integers(0, 2**32 - 1))
def test_a_convolutional_path_keeps_its_values_up_to_the_border(seed):
    rng = np.random.default_rng(seed)
    groups = int(rng.choice([1, 2]))
    inside, out = groups * int(rng.integers(1, 3)), groups * int(rng.integers(1, 3))
    pool = tuple(rng.integers(1, 3, 2).tolist())
    size = [p * int(rng.integers(4, 7)) for p in pool]
    shape = (out, inside // groups, *rng.integers(1, 4, 2))
    network = chain(
        Input("x", shape=(inside, *size), max_value=255),
        Normalise("norm", mean=rng.normal(size=inside), std=rng.random(inside) + 0.1),
        AvgPool2d("pool", kernel=pool, stride=pool),
        Conv2d(
            "conv",
            weight=rng.normal(size=shape) * (rng.random(shape) < 0.7),
            bias=rng.normal(size=out) if seed % 2 else None,
            stride=tuple(rng.integers(1, 3, 2).tolist()),
            padding=tuple(rng.integers(0, 3, 2).tolist()),
            groups=groups,
        ),
        batch_norm(rng, "bn", out),
        LIF("y"),
    )
    x = rng.random((inside, *size))
    assert np.allclose(folded_value(network, x), run_layers(network, x))


@pytest.mark.parametrize("overlap", [(2, 2), (1, 1)])
def test_pooling_folds_into_what_follows_and_what_precedes(overlap):
    rng = np.random.default_rng(0)
    x = rng.random((2, 8, 7))
    pool = AvgPool2d("pool", kernel=(3, 2), stride=overlap)
    rows, columns = pool.output_shape((2, 8, 7))[1:]
    source = Input("x", shape=(2, 8, 7), max_value=255)
    conv = Conv2d("conv", weight=rng.normal(size=(3, 2, 3, 2)), dilation=(1, 2), bias=rng.normal(size=3))
    dense = Linear("fc", weight=rng.normal(size=(4, 2 * rows * columns)))
    for nodes in ([pool, conv], [conv, AvgPool2d("late", kernel=(2, 2), stride=overlap)], [pool, Flatten("f"), dense]):
        network = chain(source, *nodes, LIF("y"))
        assert np.allclose(folded_value(network, x), run_layers(network, x))
    for nodes in ([pool], [AvgPool2d("one", kernel=(2, 2)), AvgPool2d("two", kernel=(2, 2))], [Flatten("flat")]):
        network = chain(source, *nodes, LIF("y"))
        assert np.allclose(folded_value(network, x), run_layers(network, x))


def test_a_black_pixel_sends_nothing_and_the_constant_is_a_bias():
    network = chain(
        Input("x", shape=(2,), max_value=255),
        Normalise("norm", mean=np.array([0.5]), std=np.array([0.25])),
        Linear("fc", weight=np.array([[1.0, 2.0]])),
        LIF("y"),
    )
    layer = fold(network).by_name["fc"]
    assert layer.weight.tolist() == [[4.0, 8.0]]
    assert layer.bias.tolist() == [-6.0]


def test_nothing_that_went_in_is_changed():
    network = chain(
        Input("x", shape=(1, 4, 4)), Scale("s", factor=np.array([2.0])), Flatten("f"),
        Linear("fc", weight=np.ones((2, 16))), LIF("y"),
    )  # fmt: skip
    before = network.dump()
    lower(fold(network))
    assert network.dump() == before
    assert (network.by_name["fc"].weight == 1).all()
    with pytest.raises(ValueError, match="read-only"):
        network.by_name["fc"].weight[0, 0] = 3


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([Scale("s", factor=np.ones(3)), Linear("a", weight=np.ones((2, 4)))], "s: has 3 channels, its input has 4"),
    ],
)
def test_what_cannot_be_folded_is_named(nodes, message):
    with pytest.raises(UnsupportedError, match=message):
        fold(chain(Input("x", shape=(4,)), *nodes, LIF("y")))


def test_linear_layers_without_neurons_between_are_one_and_convolutions_are_refused():
    rng = np.random.default_rng(0)
    first, second = (Linear(n, weight=rng.normal(size=(3, 3)), bias=rng.normal(size=3)) for n in "ab")
    folded = fold(chain(Input("x", shape=(3,)), first, Scale("s", factor=np.full(1, 2.0)), second, LIF("y")))
    x = rng.normal(size=3)
    expected = second.weight @ (2 * (first.weight @ x + first.bias)) + second.bias
    assert folded.by_name["b"].weight @ x + folded.by_name["b"].bias == pytest.approx(expected)
    one = np.ones((1, 1, 1, 1))
    with pytest.raises(UnsupportedError, match="b: follows a with no neurons between them; multiply the two"):
        fold(chain(Input("x", shape=(1, 2, 2)), Conv2d("a", weight=one), Conv2d("b", weight=one), LIF("y")))


def test_a_pooling_with_a_remainder_before_padding_is_refused():
    network = chain(
        Input("x", shape=(1, 5, 5)),
        AvgPool2d("pool"),
        Conv2d("conv", weight=np.ones((1, 1, 3, 3)), padding=(1, 1)),
        LIF("y"),
    )
    with pytest.raises(UnsupportedError, match="pool: does not tile its input"):
        fold(network)


def test_max_pooling_of_spikes_becomes_or_neurons():
    """A pooled neuron spikes in just the steps in which one of its window does."""
    rng = np.random.default_rng(0)
    network = chain(
        Input("x", shape=(1, 6, 6), max_value=16),
        Conv2d("conv", weight=rng.normal(0.5, 1, (2, 1, 3, 3))),
        LIF("h"),
        Dropout("drop"),
        MaxPool2d("pool"),
        Flatten("flat"),
        Linear("fc", weight=rng.normal(1, 1, (3, 8))),
        LIF("y"),
        steps=8,
    )
    compiled = compile_network(network, chips.load("loihi2"))
    result = run_engine(compiled.network, rng.integers(0, 17, (20, 1, 6, 6)), traces=["h", "pool"])
    spikes = {}
    for name, shape in (("h", (2, 4, 4)), ("pool", (2, 2, 2))):
        spikes[name] = np.zeros((20, 8, np.prod(shape)), bool)
        spikes[name][:, :, compiled.network.by_name[name].origin] = result.traces[name].spikes
        spikes[name] = spikes[name].reshape(20, 8, *shape)
    any_of_window = spikes["h"].reshape(20, 8, 2, 2, 2, 2, 2).any(axis=(4, 6))
    assert 0 < any_of_window.mean() < 1
    assert np.array_equal(spikes["pool"], any_of_window)
    assert not any("tau" in warning for warning in compiled.report.warnings)


def test_max_pooling_of_values_is_refused():
    network = chain(
        Input("x", shape=(1, 4, 4)), Conv2d("conv", weight=np.ones((1, 1, 1, 1))), MaxPool2d("pool"), LIF("y")
    )
    with pytest.raises(
        UnsupportedError, match="pool: pools the result of conv, no spikes; put it behind spiking neurons"
    ):
        fold(network)
