"""Quantisation: integers of the chip, close to the float network, with a proof that nothing overflows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import random_synapses, small_chip
from snn_compile.compiler.balance import balance
from snn_compile.compiler.fixed import FixedInput, FixedNetwork, FixedPopulation, FixedProjection
from snn_compile.compiler.fold import fold
from snn_compile.compiler.lower import lower
from snn_compile.compiler.network import Network
from snn_compile.compiler.nodes import LIF, Input, Linear
from snn_compile.compiler.overflow import check_overflow
from snn_compile.compiler.quantise import quantise
from snn_compile.compiler.scale import Incoming, choose, to_weights
from snn_compile.compiler.synapses import Synapses
from snn_compile.errors import LimitError, NetworkError, UnsupportedError
from snn_compile.hw_targets import chip as chips
from snn_compile.runtime.engine import run_engine

LOIHI1, LOIHI2 = chips.load("loihi1"), chips.load("loihi2")


def trained(seed=0, inputs=20, hidden=30, encoding="graded", max_value=16, bias=True, gain=1.0, **neuron):
    """A random network as training would leave it, with calibration samples and rates."""
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(hidden, inputs)) * (rng.random((hidden, inputs)) < 0.3) * gain
    second = rng.normal(size=(4, hidden)) * (rng.random((4, hidden)) < 0.5) * gain
    nodes = (
        Input("x", shape=(inputs,), max_value=max_value, encoding=encoding),
        Linear("fc1", weight=first, bias=rng.normal(size=hidden) * 0.2 if bias else None),
        LIF("h", **neuron),
        Linear("fc2", weight=second),
        LIF("y", **neuron),
    )
    edges = (("x", "fc1"), ("fc1", "h"), ("h", "fc2"), ("fc2", "y"))
    samples = rng.integers(0, max_value + 1, (40, inputs))
    return Network(nodes, edges, steps=8, rates={"h": np.full(hidden, 0.2)}, calibration=samples)


def compiled(network, chip=LOIHI2):
    return quantise(balance(lower(fold(network)), chip), chip)


def float_spikes(network, samples):
    """Spikes of h, (samples, steps, size), in float64, layer by layer in the same step."""
    x = samples / network.nodes[0].max_value
    _, layer, node = network.nodes[:3]
    current = x @ layer.weight.T + layer.bias
    v, spikes = np.zeros_like(current), []
    for _ in range(network.steps):
        v = v + (current - v) / node.tau if node.decay_input else v * (1 - 1 / node.tau) + current
        fired = v >= node.threshold if node.fires == ">=" else v > node.threshold
        v = np.where(fired, 0, v)
        spikes.append(fired)
    return np.stack(spikes, axis=1)


@pytest.mark.parametrize(("target", "share"), [("loihi1", 0.006), ("loihi2", 0.04)])
@pytest.mark.parametrize("neuron", [{}, {"tau": 4.0, "threshold": 0.7}, {"decay_input": False, "fires": ">"}], ids=str)
def test_spikes_are_those_of_the_float_network(target, share, neuron):
    """The first layer has 13 bits on loihi1 (a bias from the host) and 8-bit weights on loihi2: few spikes move."""
    network = trained(**neuron)
    samples = np.random.default_rng(1).integers(0, 17, (300, 20))
    fixed = compiled(network, chips.load(target))
    spikes = run_engine(fixed, samples, traces=["h"]).traces["h"].spikes
    expected = float_spikes(network, samples)[:, :, fixed.by_name["h"].origin]
    assert expected.sum() > 5000
    assert (spikes != expected).sum() < share * expected.sum()


@pytest.mark.parametrize(("fires", "over"), [(">=", 1), (">", 0)])
def test_the_threshold_stands_where_training_had_it(fires, over):
    """A constant input of c per step reaches c k in step k of an integrator: 64 S c k >= 64 vth + 1, or > 64 vth."""
    rng = np.random.default_rng(0)
    for c in rng.uniform(0.13, 0.9, 50):
        first = int(np.ceil(1 / c))
        node = LIF("y", tau=1e9, threshold=1.0, decay_input=False, fires=fires)
        nodes = (Input("x", shape=(1,)), Linear("fc", weight=np.array([[c]])), node)
        fixed = compiled(Network(nodes, (("x", "fc"), ("fc", "y")), steps=9))
        spikes = run_engine(fixed, np.array([[1]]), traces=["y"]).traces["y"].spikes[0, :, 0].tolist()
        weight = int(fixed.projections[0].synapses.weights[0]) << fixed.projections[0].exponent
        assert weight / c == pytest.approx(fixed.populations[0].vth + over / 64, rel=0.006)
        assert spikes.index(1) + 1 == first or abs(c * round(1 / c) - 1) < 0.02


def test_the_scale_is_chosen_by_the_error_not_by_the_maximum():
    """One outlier among many small weights: clipping it serves the currents better than rounding all others away."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(50, 400)) * 0.01
    weights[0, 0] = 0.12
    active = np.full(400, 0.2)
    active[0] = 0.0001
    incoming = Incoming(Synapses.from_dense(weights), active, active * (1 - active))
    best = choose([incoming], largest=2**16, neurons=50, exponents=(-8, 7))[0]
    scale = best.scale / 2 ** best.exponents[0]
    assert 0.12 * scale > 254
    by_maximum = int(np.floor(16 * np.log2(254 / 0.12)))
    assert incoming.error(round(16 * np.log2(scale))) < 0.7 * incoming.error(by_maximum)


def test_graded_input_keeps_eight_bits_of_weight_and_payload_by_a_negative_exponent():
    network = compiled(trained(inputs=784, hidden=50, max_value=255, gain=0.5))
    (source,), first = network.inputs, network.projections[0]
    assert (source.payload_bits, source.levels) == (8, 255)
    assert first.exponent < 0
    assert np.abs(first.synapses.weights).max() > 200


def test_a_target_without_graded_spikes_gets_the_first_layer_as_a_bias():
    network = compiled(trained(), LOIHI1)
    assert network.inputs[0].encoding == "bias"
    assert [q.host for q in network.projections] == [True, False]
    assert network.synapse_count() == len(network.projections[1].synapses)


def test_rate_coding_stays_binary_on_both_targets():
    for chip in (LOIHI1, LOIHI2):
        network = compiled(trained(encoding="rate"), chip)
        assert (network.inputs[0].payload_bits, network.projections[0].host) == (0, False)


@given(st.integers(0, 2**32 - 1), st.floats(-3, 3), st.sampled_from(["loihi1", "loihi2"]))
def test_what_comes_out_is_proven_and_representable(seed, magnitude, target):
    rng = np.random.default_rng(seed)
    network = trained(
        seed,
        inputs=int(rng.integers(1, 40)),
        max_value=int(rng.choice([1, 16, 255, 4095])),
        gain=10.0**magnitude,
        tau=float(rng.choice([1.0, 1.5, 2.0, 20.0])),
        threshold=float(10.0**magnitude),
    )
    try:
        fixed = compiled(network, chips.load(target))
    except NetworkError:
        return  # nobody can fire
    check_overflow(fixed)
    for q in fixed.projections:
        weights = q.synapses.weights
        assert q.host or ((weights % 2 == 0).all() and weights.min() >= -256 and weights.max() <= 254)
    for p in fixed.populations:
        assert 1 <= p.vth < 2**17 and (p.dv >= 0).all() and (p.du == 4095).all()


def test_weights_are_even_and_clipped():
    assert to_weights(np.array([1.0, 2.9, 3.1, 500, -500]), 1.0).tolist() == [0, 2, 4, 254, -256]


def test_what_the_chip_cannot_do_is_named():
    with pytest.raises(UnsupportedError, match=r"h: does not reset to 0 at a spike .* neurons on loihi1 do; train"):
        compiled(trained(reset="soft"), LOIHI1)
    with pytest.raises(UnsupportedError, match="x: sends spikes with payloads up to 16, loihi1 has binary spikes"):
        compiled(replace(trained(encoding="spikes"), calibration=None), LOIHI1)
    with pytest.raises(LimitError, match="no scale of its weights fits the sums of loihi2"):
        compiled(trained(inputs=3000, max_value=255), small_chip(weight_exponent_min=20, weight_exponent_max=20))


def one_population(weight=2, exponent=0, payload=1, bias=0, steps=8, du=4095, host=False, sources=1):
    source = FixedInput("x", (sources,), "bias" if host else "spikes", payload, payload)
    population = FixedPopulation("y", (1,), np.zeros(1), du, 0, 100, np.array([bias]), np.array([0]), 0)
    synapses = Synapses.from_dense(np.full((1, sources), weight, np.int16))
    return FixedNetwork((source,), (population,), (FixedProjection("x", "y", synapses, exponent, host),), ("y",), steps)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (one_population(weight=254, exponent=9, payload=2), "y: the current of neuron 0 can reach 16646144, u holds"),
        (one_population(weight=-256, exponent=9), "y: the current of neuron 0 can reach 8388608, u holds less than"),
        (one_population(weight=254, exponent=6, du=-1, steps=64), "y: the current of neuron 0 can reach"),
        (one_population(weight=254, payload=60000, sources=200), "x -> y: a sum can reach"),
        (one_population(weight=30000, host=True), "y: its bias can reach 30000, 13 bits hold 4095"),
    ],
)
def test_an_overflow_that_can_happen_is_an_error(network, message):
    with pytest.raises(LimitError, match=message):
        check_overflow(network)


@given(st.integers(0, 2**32 - 1))
def test_the_bounds_are_reached_by_the_worst_input_and_never_passed(seed):
    """Inputs that fire exactly where a neuron's weights are positive reach its bound; random ones stay within."""
    rng = np.random.default_rng(seed)
    synapses = random_synapses(rng, 12, 5, 0.6)
    high, low = synapses.bound(7)
    matrix = synapses.matrix().toarray()
    assert [int(row @ (7 * (row > 0))) for row in matrix] == high.tolist()
    assert [int(row @ (7 * (row < 0))) for row in matrix] == low.tolist()
    values = matrix @ rng.integers(0, 8, 12)
    assert (values <= high).all() and (values >= low).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"du": 4096}, "p: du is 4096, -1 to 4095 is possible"),
        ({"vth": 2**17}, "p: vth is 131072, 0 to 131071 is possible"),
        ({"dv": -1}, "p: dv is -1"),
        ({"bias_mant": np.array([4096])}, "p: a bias exceeds 13 bits"),
        ({"bias_mant": np.array([70000])}, "p: bias_mant does not fit int16"),
        ({"bias_exp": np.array([8])}, "p: a bias exceeds 13 bits << 7"),
    ],
)
def test_a_population_holds_only_what_the_chip_has(change, message):
    good = {"du": 4095, "dv": 0, "vth": 10, "bias_mant": np.array([-4096]), "bias_exp": np.array([7])}
    FixedPopulation("p", (1,), np.zeros(1), **good, offset=0)
    with pytest.raises(LimitError, match=message):
        FixedPopulation("p", (1,), np.zeros(1), **(good | change), offset=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outputs": ("z",)}, "z: is an output, but no population"),
        ({"steps": 0}, "has no population or no step"),
        ({"outputs": ()}, "has no outputs, or one twice"),
        ({"outputs": ("y", "y")}, "has no outputs, or one twice"),
        ({"populations": ()}, "names a population that is not there|is an output"),
    ],
)
def test_a_fixed_network_checks_itself(change, message):
    with pytest.raises(NetworkError, match=message):
        replace(one_population(), **change)


def test_a_projection_checks_itself():
    network = one_population()
    (projection,) = network.projections
    for wrong, message in [
        ((projection, projection), "x -> y: stands twice"),
        ((replace(projection, source="q"),), "q -> y: names a population that is not there"),
        ((replace(projection, synapses=Synapses.from_dense(np.ones((1, 1)))),), "has float64 weights, int16 is needed"),
        ((replace(projection, synapses=Synapses.from_dense(np.zeros((1, 1)))),), "x -> y: has no synapse"),
        ((replace(projection, synapses=Synapses.from_dense(np.ones((2, 1)))),), "does not match its populations"),
        ((replace(projection, exponent=1, host=True),), "goes with the host if and only if"),
    ]:
        with pytest.raises(NetworkError, match=message):
            replace(network, projections=wrong)
    late = replace(network.populations[0], offset=3)
    with pytest.raises(NetworkError, match="x -> y: would arrive before its target's window begins"):
        replace(network, populations=(late,))
