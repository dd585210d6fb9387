"""The bill without tables is the report's, and prices per source add up to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import small_chip
from snn_compile.compiler.cost import cost
from snn_compile.compiler.fold import fold
from snn_compile.compiler.lower import lower
from snn_compile.compiler.nodes import Conv2d, Linear
from snn_compile.compiler.pipeline import compile_network
from snn_compile.compiler.unroll import possible_synapses, tap_prices, unroll
from snn_compile.frontend.readers import read_model
from snn_compile.hw_targets import chip as chips

DIGITS = Path(__file__).parents[2] / "examples" / "digits.pt"


@pytest.mark.parametrize("chip", [chips.load("loihi2"), small_chip(neurons_per_core=40)], ids=["loihi2", "small"])
def test_the_bill_is_that_of_the_report(chip):
    network = read_model(DIGITS)
    bill, report = cost(network, chip), compile_network(network, chip).report
    assert (bill.cores, bill.synapses, bill.words) == (report.cores_used, report.synapses, report.synapse_bits // 64)
    assert bill.cores - 1 < bill.filled <= bill.cores
    sparse = lower(fold(network))
    assert {name: len(price) for name, price in bill.bits_per_synapse.items()} == {
        "input": 64,
        **{p.name: int(np.prod(p.shape)) for p in sparse.populations},
    }


def test_a_full_core_is_one_core():
    network = read_model(DIGITS)
    neurons = compile_network(network, chips.load("loihi2")).report.neurons
    bill = cost(network, small_chip(neurons_per_core=neurons))
    assert (bill.cores, bill.filled) == (1, 1.0)


def test_prices_of_the_synapses_add_up_to_the_words():
    network, chip = read_model(DIGITS), chips.load("loihi2")
    bill, compiled = cost(network, chip), compile_network(network, chip).network
    total = 0.0
    for q in compiled.projections:
        source = compiled.by_name[q.source]
        origin = getattr(source, "origin", np.arange(source.size))
        total += bill.bits_per_synapse[q.source][origin[q.synapses.sources]].sum()
    assert total == pytest.approx(64 * bill.words)


@st.composite
def convolutions(draw):
    """(layer with all weights, shape of its input)."""
    groups, inside, out = draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 2))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    pairs = [draw(st.tuples(st.integers(low, 2), st.integers(low, 2))) for low in (1, 0, 1)]
    stride, padding, dilation = pairs
    shape = (groups * inside, *(draw(st.integers(5, 8)) for _ in range(2)))
    numbers = np.arange(1, 1 + groups * out * inside * kernel[0] * kernel[1], dtype=float)
    weight = numbers.reshape(groups * out, inside, *kernel)
    return Conv2d("c", weight=weight, stride=stride, padding=padding, dilation=dilation, groups=groups), shape


@given(convolutions())
def test_a_tap_costs_the_prices_of_its_unrolled_synapses(convolution):
    layer, shape = convolution
    price = np.random.default_rng(0).integers(1, 100, shape).astype(float)
    synapses = unroll(layer, shape)  # each weight is its own number
    of_weight = np.bincount(synapses.weights.astype(int), price.ravel()[synapses.sources], layer.weight.size + 1)
    np.testing.assert_array_equal(tap_prices(layer, shape, price).ravel(), of_weight[1:])
    assert possible_synapses(layer, shape) == len(synapses)


def test_a_linear_weight_costs_the_price_of_its_source():
    layer = Linear("fc", weight=np.ones((2, 3)))
    assert tap_prices(layer, (3,), np.array([1.0, 2.0, 3.0])).tolist() == [[1.0, 2.0, 3.0]]
    assert possible_synapses(layer, (3,)) == 6
