"""Populations on maps are cut along the curve; every limit holds, and a convolution needs far fewer cores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import output_entries, small_chip
from snn_compile.compiler import threads
from snn_compile.compiler.fixed import FixedInput, FixedNetwork, FixedPopulation, FixedProjection
from snn_compile.compiler.limits import excess
from snn_compile.compiler.nodes import Conv2d
from snn_compile.compiler.partition import index_order, partition
from snn_compile.compiler.regions import has_maps, hilbert
from snn_compile.compiler.slices import Crossing
from snn_compile.compiler.unroll import unroll
from snn_compile.errors import LimitError


def on_a_map(name, shape):
    size = int(np.prod(shape))
    return FixedPopulation(name, shape, np.arange(size), 4095, 0, 100, np.zeros(size), np.zeros(size), 0)


def convolutions(seed, channels=(1, 6, 6, 6), side=8, density=0.3):
    """A chain of pruned 3 × 3 convolutions in integers."""
    rng = np.random.default_rng(seed)
    made, joined = [], []
    for i, (before, after) in enumerate(zip(channels, channels[1:], strict=False)):
        weight = 2.0 * rng.integers(1, 100, (after, before, 3, 3)) * (rng.random((after, before, 3, 3)) < density)
        weight[0, 0, 1, 1] = 2
        synapses = unroll(Conv2d(f"c{i}", weight=weight, padding=(1, 1)), (before, side, side))
        synapses = synapses.with_weights(synapses.weights.astype(np.int16))
        made.append(on_a_map(f"p{i}", (after, side, side)))
        joined.append(FixedProjection(f"p{i - 1}" if i else "x", f"p{i}", synapses, -7))
    inputs = (FixedInput("x", (channels[0], side, side), "rate", 1, 1),)
    return FixedNetwork(inputs, tuple(made), tuple(joined), (made[-1].name,), 4)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_the_curve_meets_every_point_once_and_goes_to_neighbours(bits):
    side = 1 << bits
    row, column = (a.ravel() for a in np.mgrid[:side, :side])
    place = hilbert(row, column, bits)
    assert sorted(place.tolist()) == list(range(side * side))
    order = np.argsort(place)
    steps = np.abs(np.diff(row[order])) + np.abs(np.diff(column[order]))
    assert (steps == 1).all()


@settings(max_examples=20)
@given(
    st.integers(0, 2**32 - 1),
    st.booleans(),
    st.sampled_from(
        [
            {"neurons_per_core": 40},
            {"in_axons_per_core": 90},
            {"out_axons_per_core": 120, "cores_per_chip": 4},
            {"synapse_words_per_core": 200, "cores_per_chip": 3},
            {"compartment_profiles_per_core": 1, "neurons_per_core": 50},
        ]
    ),
)
def test_every_limit_holds_on_maps(seed, sharing, limits):
    network, chip = convolutions(seed), small_chip(**limits)
    try:
        baseline = index_order(network, chip)
    except LimitError:
        return  # one neuron alone is too much
    slices = partition(network, chip, sharing=sharing)
    assert sorted(np.concatenate(slices.neurons).tolist()) == list(range(network.netlist.neurons))
    cores = list(zip(slices.neurons, slices.is_shared(), strict=True))
    assert all(excess(network, neurons, chip, shared) is None for neurons, shared in cores)
    if not any(slices.is_shared()):  # `test_sharing` counts those of shared lists
        assert output_entries(network.netlist, slices, chip).max() <= chip.limits.out_axons_per_core[0]
    assert len(slices.neurons) <= len(baseline.neurons)


def test_a_convolution_of_many_channels_takes_a_fraction_of_the_cores_of_index_order():
    network = convolutions(0, channels=(3, 32, 32, 32), side=16, density=0.05)
    chip = small_chip(in_axons_per_core=512, out_axons_per_core=1024)
    assert has_maps(network)
    slices = partition(network, chip, sharing=False)
    assert slices.crossing.cores < 0.5 * slices.baseline.cores
    assert slices.crossing.packets < 0.5 * slices.baseline.packets
    assert slices.crossing == Crossing.of(network.netlist, slices, np.ones(int(network.netlist.base[-1])))


@pytest.mark.parametrize("sharing", [True, False])
def test_the_same_slices_on_any_number_of_threads(monkeypatch, sharing):
    network = convolutions(1, channels=(3, 16, 16, 16), side=12, density=0.1)
    chip = small_chip(in_axons_per_core=300, out_axons_per_core=600, cores_per_chip=4, neurons_per_core=1000)
    found = []
    for count in (1, 2, 5):
        monkeypatch.setattr(threads, "THREADS", count)
        found.append(partition(network, chip, sharing=sharing))
    assert len(found[0].neurons) > 4
    for other in found[1:]:
        assert [n.tolist() for n in other.neurons] == [n.tolist() for n in found[0].neurons]
