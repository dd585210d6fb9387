"""Neurons of other frameworks: what lowering makes of them equals their own equation, spike for spike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from float_reference import simulate, simulate_sparse
from hypothesis import given
from hypothesis import strategies as st
from snn_compile.compiler.balance import balance
from snn_compile.compiler.fold import fold
from snn_compile.compiler.lower import lower
from snn_compile.compiler.network import Network
from snn_compile.compiler.nodes import (
    LIF,
    AvgPool2d,
    BatchNorm,
    Conv2d,
    Delay,
    Flatten,
    Input,
    Linear,
    Normalise,
)
from snn_compile.compiler.pipeline import compile_network
from snn_compile.compiler.quantise import quantise
from snn_compile.errors import NetworkError, SnnCompileError, UnsupportedError
from snn_compile.hw_targets import chip as chips
from snn_compile.runtime.engine import run_engine

LOIHI1, LOIHI2 = chips.load("loihi1"), chips.load("loihi2")


def constant(rng, low, high, size):
    """One number, or one per neuron."""
    return float(rng.uniform(low, high)) if rng.random() < 0.5 else rng.uniform(low, high, size)


def random_neuron(rng, name, size, readout=False):
    late = bool(rng.random() < 0.4)
    return LIF(
        name,
        tau=constant(rng, 1.1, 10, size),
        threshold=constant(rng, 0.3, 2, size),
        reset=str(rng.choice(["hard", "soft", "none"])),
        decay_input=bool(rng.random() < 0.5),
        fires="never" if readout else str(rng.choice([">=", ">"])),
        refractory=0 if late else int(rng.choice([0, 0, 2])),
        tau_syn=constant(rng, 1, 5, size) if rng.random() < 0.5 else 1.0,
        reset_delay=late,
        gain=constant(rng, 0.5, 3, size),
        bias=constant(rng, -0.3, 0.3, size) if rng.random() < 0.5 else 0.0,
    )


def random_trained(seed):
    """(network, inputs (steps, …)): a convolution or not, delays, a loop, a skip, a readout, all neurons different."""
    rng = np.random.default_rng(seed)
    steps = int(rng.integers(3, 20))
    nodes, edges = [Input("x", shape=(2, 4, 4))], [("x", "c")]
    nodes += [Conv2d("c", weight=rng.normal(size=(3, 2, 2, 2)), bias=rng.normal(size=3) * 0.2, stride=(1, 1))]
    nodes += [random_neuron(rng, "a", 27), AvgPool2d("pool", (1, 3), (1, 3)), Flatten("flat")]
    edges += [("c", "a"), ("a", "pool"), ("pool", "flat")]
    hidden, out = int(rng.integers(1, 6)), int(rng.integers(1, 5))
    nodes += [Delay("late", steps=int(rng.integers(0, 3))), Linear("fc", weight=rng.normal(size=(hidden, 9)))]
    nodes += [random_neuron(rng, "b", hidden)]
    edges += [("flat", "late"), ("late", "fc"), ("fc", "b")]
    if rng.random() < 0.5:
        nodes += [Linear("loop", weight=rng.normal(size=(hidden, hidden)), bias=rng.normal(size=hidden) * 0.1)]
        edges += [("b", "loop"), ("loop", "b")]
    nodes += [Linear("out", weight=rng.normal(size=(out, hidden)), bias=rng.normal(size=out) * 0.2)]
    nodes += [Delay("later", steps=rng.integers(0, 4, out)), random_neuron(rng, "y", out, rng.random() < 0.5)]
    edges += [("b", "out"), ("out", "later"), ("later", "y")]
    if rng.random() < 0.5:
        nodes += [Flatten("f"), Linear("skip", weight=rng.normal(size=(out, 27)))]
        edges += [("a", "f"), ("f", "skip"), ("skip", "y")]
    return Network(tuple(nodes), tuple(edges), steps), (rng.random((steps, 32)) < 0.4).astype(float)


@given(st.integers(0, 2**32 - 1))
def test_what_is_lowered_computes_what_was_trained(seed):
    network, inputs = random_trained(seed)
    try:
        sparse = balance(lower(fold(network)), LOIHI2)
    except SnnCompileError as error:
        assert "can fire" in error.problem  # an output without a chance
        return
    ours, theirs = simulate_sparse(sparse, inputs), simulate(network, inputs, order=["a", "b", "y"])
    for p in sparse.populations:
        if p.name != "constant":
            found, expected = ours[p.name], theirs[p.name][:, p.origin]
            assert np.allclose(found, expected, atol=1e-9) if p.node.readout else np.array_equal(found, expected)


def test_a_bias_goes_through_the_synaptic_current():
    """i: 1, 1.5, 1.75 …; without the current v would add up 1 per step."""
    nodes = (
        Input("x", shape=(1,)),
        Linear("fc", weight=np.zeros((1, 1)), bias=np.ones(1)),
        LIF("y", tau=1e9, decay_input=False, tau_syn=2.0, threshold=4.0, fires="never"),
    )
    network = Network(nodes, (("x", "fc"), ("fc", "y")), steps=4)
    sparse = balance(lower(fold(network)), LOIHI2)
    assert [p.name for p in sparse.populations] == ["constant", "y"]
    assert simulate_sparse(sparse, np.zeros((4, 1)))["y"].ravel() == pytest.approx([1, 2.5, 4.25, 6.125])


def test_a_late_reset_is_a_larger_one_now():
    """v = 1.5 > 1, then 0.5 * 1.5 + 1.5 - 1 = 1.25 > 1, then 0.5 * 1.25 + 1.5 - 1 = 1.125: snnTorch's default."""
    node = LIF("y", tau=2.0, decay_input=False, reset="soft", reset_delay=True, fires=">")
    nodes = (Input("x", shape=(1,)), Linear("fc", weight=np.full((1, 1), 1.5)), node)
    (population,) = lower(fold(Network(nodes, (("x", "fc"), ("fc", "y")), steps=4))).populations
    assert (population.drop.tolist(), population.refractory) == ([2.0], 0)
    hard = Network((*nodes[:2], LIF("y", reset_delay=True)), (("x", "fc"), ("fc", "y")), steps=4)
    assert lower(fold(hard)).populations[0].refractory == 1


def test_what_no_neuron_can_do_is_named():
    def lowered(**settings):
        nodes = (Input("x", shape=(1,)), Linear("fc", weight=np.full((1, 1), 9.0)), LIF("y", **settings))
        return lower(fold(Network(nodes, (("x", "fc"), ("fc", "y")), steps=4)))

    with pytest.raises(UnsupportedError, match="y: subtracts its threshold one step late, and keeps nothing"):
        lowered(tau=1.0, reset="soft", reset_delay=True)
    with pytest.raises(UnsupportedError, match="y: resets one step late and then rests"):
        lowered(refractory=2, reset_delay=True)


def test_delays_that_a_layer_mixes_are_refused():
    nodes = (
        Input("x", shape=(1, 2, 4)), AvgPool2d("pool"), Delay("late", steps=np.array([[[3, 2]]])), Flatten("flat"),
        Linear("fc", weight=np.ones((1, 2))), LIF("y"),
    )  # fmt: skip
    names = [node.name for node in nodes]
    with pytest.raises(UnsupportedError, match="late: has delays that differ, and pool mixes them"):
        fold(Network(nodes, tuple(zip(names, names[1:], strict=False)), steps=4))


NEURONS = {
    "decays of its own": {"tau": np.linspace(1.2, 8, 30), "tau_syn": np.linspace(1, 4, 30), "decay_input": False},
    "synaptic current": {"tau": 3.0, "tau_syn": 2.5, "bias": 0.05},
    "thresholds of its own": {"threshold": np.linspace(0.4, 2.5, 30), "decay_input": False},
    "snnTorch's Leaky": {"tau": 5.0, "decay_input": False, "reset": "soft", "reset_delay": True, "fires": ">"},
    "late, with decays of its own": {
        "tau": np.linspace(1.5, 9, 30), "decay_input": False, "reset": "soft", "reset_delay": True
    },
    "late zero": {"tau": 5.0, "decay_input": False, "reset_delay": True, "fires": ">"},
    "no reset": {"tau": 4.0, "reset": "none"},
    "soft": {"tau": 2.0, "reset": "soft"},
}  # fmt: skip


def one_layer(neuron, seed=0):
    rng = np.random.default_rng(seed)
    nodes = (
        Input("x", shape=(20,), max_value=16),
        Linear("fc", weight=rng.normal(0.1, 0.4, (30, 20)), bias=rng.normal(0, 0.1, 30)),
        LIF("y", **neuron),
    )
    return Network(nodes, (("x", "fc"), ("fc", "y")), steps=16), rng.integers(0, 17, (60, 20))


def dequantised(network, sparse, fixed):
    """The layer with the weights, biases, decays and drops that the integers stand for."""
    (p,), (q,) = fixed.populations, [q for q in fixed.projections if q.source == "x"]
    assert isinstance(network.nodes[2], LIF)
    over = 1 if network.nodes[2].fires == ">=" else 0
    unit = (64 * p.vth + over) / sparse.populations[-1].threshold
    weight = np.zeros((30, 20))
    weight[q.synapses.targets, q.synapses.sources] = q.synapses.weights
    weight = weight * 2.0**q.exponent * 64 / unit * 16
    tau = np.minimum(4096 / np.maximum(p.dv, 1e-6), 1e9)
    node = replace(
        network.nodes[2], tau=tau, threshold=sparse.populations[-1].threshold, decay_input=False, gain=1.0,
        tau_syn=4096 / (p.du + 1.0), bias=p.bias / unit,
    )  # fmt: skip
    return replace(network, nodes=(network.nodes[0], Linear("fc", weight=weight), node))


@pytest.mark.parametrize("name", NEURONS)
def test_the_integers_compute_the_float_neurons_with_their_own_weights(name):
    """What is left is the rounding of v to six fractional bits, and the decay of 12 bits after a late reset."""
    network, samples = one_layer(NEURONS[name])
    sparse = balance(lower(fold(network)), LOIHI2)
    fixed = quantise(sparse, LOIHI2)
    if len(fixed.populations) > 1:  # a constant source would need its weights too
        network = replace(network, nodes=(network.nodes[0], replace(network.nodes[1], bias=None), network.nodes[2]))
        sparse = balance(lower(fold(network)), LOIHI2)
        fixed = quantise(sparse, LOIHI2)
    spikes = run_engine(fixed, samples, traces=["y"]).traces["y"].spikes
    inputs = np.repeat(samples[:, None] / 16, 16, axis=1)
    twin = dequantised(network, sparse, fixed)
    expected = np.stack([simulate(twin, x)["y"][:, fixed.populations[0].origin] for x in inputs])
    assert expected.sum() > 2000
    assert (spikes != expected).sum() < 0.01 * expected.sum()
    trained = np.stack([simulate(network, x)["y"][:, fixed.populations[0].origin] for x in inputs])
    assert (spikes != trained).sum() < 0.1 * trained.sum()


def test_a_readout_is_the_membrane_at_the_end():
    network, samples = one_layer({"tau": 6.0, "tau_syn": 2.0, "fires": "never", "bias": 0.1})
    fixed = quantise(balance(lower(fold(network)), LOIHI2), LOIHI2)
    counts = run_engine(fixed, samples).counts
    inputs = np.repeat(samples[:, None] / 16, 16, axis=1)
    expected = np.stack([simulate(network, x)["y"][-1] for x in inputs])
    scale = (counts * expected).sum() / (expected**2).sum()
    assert scale > 1000
    assert np.abs(counts / scale - expected).max() < 0.02 * np.abs(expected).max()
    with pytest.raises(UnsupportedError, match="y: sends spikes with payloads, loihi1 has binary spikes"):
        quantise(balance(lower(fold(network)), LOIHI1), LOIHI1)


def test_an_analogue_input_of_loihi1_reaches_no_synaptic_current():
    network, _ = one_layer({"tau_syn": 2.0})
    with pytest.raises(UnsupportedError, match="y: has a synaptic current, and its analogue input can only be loaded"):
        quantise(balance(lower(fold(network)), LOIHI1), LOIHI1)


def chain_of(*nodes, steps=6):
    names = [node.name for node in nodes]
    return Network(nodes, tuple(zip(names, names[1:], strict=False)), steps)


X, ONE = Input("x", shape=(1,), encoding="spikes"), np.ones((1, 1))
READ = LIF("y", tau=1e30, decay_input=False, fires="never")


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [
        ([Linear("a", weight=ONE), Delay("d", 3), Linear("b", weight=ONE, bias=np.ones(1))], "b: adds a constant"),
        (
            [Normalise("n", mean=np.ones(1)), Delay("d", 3), Linear("b", weight=ONE)],
            "n: adds a constant, and the delay d",
        ),
        ([Linear("a", weight=ONE), Delay("d", 3), BatchNorm("n", bias=np.ones(1))], "n: adds a constant"),
    ],
)
def test_a_constant_that_would_have_to_cross_a_delay_is_named(layers, sentence):
    with pytest.raises(UnsupportedError, match=sentence):
        fold(chain_of(X, *layers, READ))


def test_a_constant_before_a_delay_is_as_late_as_the_values():
    network = chain_of(X, Linear("a", weight=ONE, bias=np.ones(1)), Delay("d", 2), Linear("b", weight=2 * ONE), READ)
    inputs = np.array([[1.0], [0], [0], [1], [0], [0]])
    ours = simulate_sparse(balance(lower(fold(network)), LOIHI2), inputs)["y"]
    assert ours.ravel().tolist() == simulate(network, inputs)["y"].ravel().tolist() == [0, 0, 4, 6, 8, 12]


def test_the_host_loads_an_input_that_skips_layers():
    """Its delay is only what lines the windows up, and a bias is there in every step."""
    nodes = [Input("x", shape=(2,), max_value=4), Linear("a", weight=3 * np.eye(2)), LIF("h"),
             Linear("b", weight=3 * np.eye(2)), LIF("y"), Linear("skip", weight=np.eye(2))]  # fmt: skip
    edges = (("x", "a"), ("a", "h"), ("h", "b"), ("b", "y"), ("x", "skip"), ("skip", "y"))
    fixed = quantise(balance(lower(fold(Network(tuple(nodes), edges, steps=8))), LOIHI1), LOIHI1)
    assert [q.host for q in fixed.projections] == [True, False, True]
    late = Network((*nodes, Delay("d", 2)), (*edges[:-1], ("skip", "d"), ("d", "y")), steps=8)
    with pytest.raises(UnsupportedError, match="y: has a delayed analogue input"):
        quantise(balance(lower(fold(late)), LOIHI1), LOIHI1)


def test_answers_of_different_units_are_not_mixed():
    nodes = (X, Linear("a", weight=2 * ONE), LIF("s"), Linear("b", weight=ONE), READ)
    network = Network(nodes, (("x", "a"), ("a", "s"), ("x", "b"), ("b", "y")), steps=4)
    with pytest.raises(
        UnsupportedError, match="y: is read out beside 1 other outputs, whose answers have another unit"
    ):
        lower(fold(network))


def test_a_readout_that_nothing_reaches_is_named():
    with pytest.raises(NetworkError, match="y: is read out, and nothing could ever reach it"):
        lower(fold(chain_of(X, Linear("a", weight=0 * ONE), READ)))
    rests = chain_of(X, Linear("a", weight=ONE), replace(READ, refractory=3))
    assert quantise(balance(lower(fold(rests)), LOIHI2), LOIHI2).populations[0].model == "integrator"


def test_without_memory_every_reset_is_a_hard_one():
    network = chain_of(X, Linear("a", weight=2 * ONE), LIF("y", tau=1.0, reset="none"))
    assert quantise(balance(lower(fold(network)), LOIHI1), LOIHI1).populations[0].reset == "zero"


def notes_of(*nodes, **settings):
    return compile_network(chain_of(*nodes, **settings), LOIHI2).report.warnings


def test_the_report_says_what_saturates_and_is_silent_about_trained_delays():
    big = chain_of(X, Linear("a", weight=50 * ONE), LIF("y", tau=1e9, decay_input=False, reset="none"), steps=2000)
    assert any(
        "y: at the expected input its membrane grows to" in note
        for note in compile_network(big, LOIHI2).report.warnings
    )
    late = notes_of(X, Linear("a", weight=2 * ONE), Delay("d", 3), LIF("y", tau=2.0, reset="soft"))
    assert not any("feedback" in note or "grows" in note for note in late)
