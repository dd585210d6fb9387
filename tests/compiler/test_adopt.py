"""Integer populations in the chip's form: every sum stays what it was, and what does not fit is named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from snn_compile.compiler.adopt import adopt, adopt_input
from snn_compile.compiler.fixed import FixedInput
from snn_compile.compiler.nodes import FixedNeurons, Input
from snn_compile.compiler.sparse import SparsePopulation, SparseProjection
from snn_compile.compiler.synapses import Synapses
from snn_compile.errors import LimitError, NetworkError, UnsupportedError
from snn_compile.hw_targets.chip import load

CHIP = load("loihi2")


def population(size=1, bias=0, shape=None, origin=None, **fields) -> SparsePopulation:
    node = FixedNeurons("y", **{"vth": 9, **fields})
    where = np.arange(size) if origin is None else np.array(origin)
    return SparsePopulation(node, shape or (size,), where, np.full(len(where), float(bias)), 0, 0, 0, 1.0, 0)


def projection(weights) -> SparseProjection:
    return SparseProjection("fc", "x", "y", Synapses.from_dense(np.asarray(weights, float)))


def shifted(values, exponent):
    return values << exponent if exponent >= 0 else values >> -exponent


@settings(max_examples=300, deadline=None)
@given(
    weights=st.lists(st.integers(-300, 300), min_size=1, max_size=6),
    power=st.integers(0, 5),
    exponent=st.integers(-6, 6),
    seed=st.integers(0, 10**6),
)
def test_every_sum_stays_what_it_was(weights, power, exponent, seed) -> None:
    given_weights = np.array([weights]) << power
    assume(given_weights.any())
    try:
        _, (made,) = adopt(population(exponent=exponent), [projection(given_weights)], CHIP, 0)
    except LimitError as error:
        odd = given_weights
        while not (odd % 2).any():
            odd = odd >> 1
        assert error.subject == "fc" and (odd.max() > 127 or odd.min() < -128 or "exponent" in str(error))
        return
    held = made.synapses.matrix().toarray()
    assert held.min() >= -256 and held.max() <= 254 and not (held % 2).any()
    sent = np.random.default_rng(seed).integers(-255, 256, (len(weights), 20))
    assert np.array_equal(shifted(held @ sent, made.exponent), shifted(given_weights @ sent, exponent))


def test_weights_that_do_not_fit_are_named() -> None:
    sentence = "^fc: has the weight 200 beside others that are no multiple of 2, which allows 127"
    with pytest.raises(LimitError, match=sentence):
        adopt(population(), [projection([[200, 1]])], CHIP, 0)
    with pytest.raises(NetworkError, match="^fc: is in integers, yet has the weight or bias 0.5"):
        adopt(population(), [projection([[0.5, 1]])], CHIP, 0)


def test_large_biases_move_into_the_exponent() -> None:
    made, _ = adopt(population(bias=8192, bias_exp=5), [projection([[1]])], CHIP, 0)
    assert made.bias.tolist() == [8192 << 5] and made.bias_mant.tolist() == [2048]
    with pytest.raises(LimitError, match="^y: its neuron 0 has the bias 262112, 13 bits << 7 cannot hold it"):
        adopt(population(bias=8191, bias_exp=5), [projection([[1]])], CHIP, 0)


def test_decays_of_the_neurons_that_are_left() -> None:
    du = np.arange(6).reshape(1, 2, 3)
    made, _ = adopt(population(shape=(1, 2, 3), origin=[1, 5], du=du), [projection([[1], [1]])], CHIP, 0)
    assert made.du.tolist() == [1, 5]


def test_payload_of_sigma_delta_neurons_bounds_what_they_send() -> None:
    """sigma reaches 3 * 10 + 5 + 7 for the shifts of seven steps; a payload that, twice the threshold, and 7 + 1."""
    source = FixedInput("x", (1,), "delta", 10, 10)
    cells = population(model="sigma-delta", du=-1, vth=4, bias=5)
    made, _ = adopt(cells, [projection([[3]])], CHIP, 0, {"x": source}, 7)
    assert made.payload == (3 * 10 + 5 + 7) + 2 * 4 + 7 + 1


def test_values_as_biases_on_a_chip_without_payloads() -> None:
    chip = load("loihi1")
    cells = population(bias_exp=4)
    source = adopt_input(Input("x", shape=(1,), max_value=9), [cells.node], chip)
    _, (host,) = adopt(cells, [projection([[-3]])], chip, 0, {"x": source})
    assert source.encoding == "bias" and host.host
    assert (int(host.synapses.weights[0]) * 9 >> -host.exponent) << 4 == -3 * 9 << 6
    slow = replace(cells, node=replace(cells.node, du=100))
    with pytest.raises(UnsupportedError, match="^y: has a synaptic current or a delay"):
        adopt(slow, [projection([[-3]])], chip, 0, {"x": source})


def test_what_an_input_cannot_send() -> None:
    both = [FixedNeurons("a"), FixedNeurons("b", model="sigma-delta")]
    with pytest.raises(UnsupportedError, match="^x: feeds sigma-delta neurons, which take changes, and others"):
        adopt_input(Input("x", shape=(1,)), both, CHIP)
    with pytest.raises(UnsupportedError, match="^x: sends payloads up to 9, loihi1 has binary spikes"):
        adopt_input(Input("x", shape=(1,), max_value=9), both[1:], load("loihi1"))
