"""Exchange of neurons between cores, and cores that are dissolved: exact counts, every limit, never worse."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from networks import any_network, output_entries, random_synapses, small_chip
from snn_compile.compiler import exchange as module
from snn_compile.compiler import exchange_kernel
from snn_compile.compiler.dissolve import dissolve
from snn_compile.compiler.exchange import exchange
from snn_compile.compiler.fill import empty_core
from snn_compile.compiler.fixed import FixedInput, FixedNetwork, FixedPopulation, FixedProjection
from snn_compile.compiler.limits import excess
from snn_compile.compiler.partition import index_order
from snn_compile.compiler.slices import CoreSlices, Crossing, Reach
from snn_compile.errors import LimitError

CHIP = {"neurons_per_core": 6, "in_axons_per_core": 30, "out_axons_per_core": 24, "synapse_words_per_core": 60}


def within_limits(network, slices, chip):
    assert sorted(np.concatenate(slices).tolist()) == list(range(network.netlist.neurons))
    assert all(excess(network, neurons, chip) is None for neurons in slices)
    entries = output_entries(network.netlist, CoreSlices(tuple(slices)), chip)
    assert entries.max() <= chip.limits.out_axons_per_core[0]


@given(any_network(), st.integers(0, 2**32 - 1))
def test_exchange_takes_weight_off_and_keeps_every_limit(drawn, seed):
    network, _ = drawn
    chip = small_chip(**CHIP)
    weight = np.random.default_rng(seed).random(int(network.netlist.base[-1]))
    try:
        start = list(index_order(network, chip).neurons)
    except LimitError:
        return  # one neuron alone is too much
    found = exchange(network, start, weight, chip)
    within_limits(network, found, chip)
    before, after = (Crossing.of(network.netlist, CoreSlices(tuple(s)), weight) for s in (start, found))
    assert after.packets <= before.packets + 1e-9 and after.cores <= before.cores


@given(any_network(), st.integers(0, 2**32 - 1))
def test_what_is_kept_up_is_what_counting_gives(drawn, seed):
    """After the exchanges, pins, gains and counts are as if counted from nothing, and as `Reach` has them."""
    network, _ = drawn
    netlist = network.netlist
    rng = np.random.default_rng(seed)
    cores = int(rng.integers(2, 6))
    core_of = np.sort(rng.integers(0, cores, netlist.neurons)).astype(np.int32)
    if len(np.unique(core_of)) < cores:
        return
    graph = module._graph(netlist, rng.random(int(netlist.base[-1])))
    words = np.diff(netlist.indptr).astype(float)
    load = np.bincount(core_of, words, cores)
    state = module._start(graph, core_of, load, netlist.neurons)
    exchange_kernel.run(graph, state, words, load + 8, (netlist.neurons, 10**6, 10**6))
    again = module._start(graph, state.core_of.copy(), np.bincount(state.core_of, words, cores), netlist.neurons)
    for key in ("pins", "reached", "counts"):
        assert np.array_equal(getattr(state, key), getattr(again, key)), key
    assert np.allclose(state.gain, again.gain) and np.allclose(state.load, again.load)
    if again.counts[0].min() == 0:
        return  # a core has gone
    slices = CoreSlices(tuple(np.flatnonzero(state.core_of == core) for core in range(cores)))
    reach = Reach.of(netlist, slices, 10**6)
    target = np.repeat(slices.core_of(), np.diff(netlist.indptr))
    assert again.counts[1].tolist() == [len(np.unique(netlist.source[target == core])) for core in range(cores)]
    assert again.counts[2].tolist() == [int(reach.cores[own].sum()) for own in slices.neurons]


def two_layers():
    """Neurons that need output axons, and neurons that need words: apart they waste what the others lack."""
    rng = np.random.default_rng(0)
    made = [FixedPopulation(n, (40,), np.arange(40), 4095, 0, 9, np.zeros(40), np.zeros(40), i) for i, n in
            enumerate(("a", "b"))]  # fmt: skip
    joined = (
        FixedProjection("x", "a", random_synapses(rng, 10, 40, 0.3), -4),
        FixedProjection("a", "b", random_synapses(rng, 40, 40, 0.3), -4),
    )
    return FixedNetwork((FixedInput("x", (10,), "rate", 1, 1),), tuple(made), joined, ("b",), 4)


def test_a_core_that_holds_little_is_dissolved():
    network, chip = two_layers(), small_chip(neurons_per_core=20)
    slices = [
        np.arange(15),
        np.arange(15, 30),
        np.arange(30, 34),
        np.arange(34, 54),
        np.arange(54, 70),
        np.arange(70, 80),
    ]
    found = dissolve(network, empty_core(network, chip), slices, chip)
    within_limits(network, found, chip)
    assert len(found) == 4


@given(any_network(), st.integers(0, 2**32 - 1))
def test_dissolving_keeps_every_limit(drawn, seed):
    """From cores that hold half of what they could."""
    network, _ = drawn
    try:
        start = index_order(network, small_chip(**{key: value // 2 for key, value in CHIP.items()}))
    except LimitError:
        return
    chip = small_chip(**CHIP)
    found = dissolve(network, empty_core(network, chip), list(start.neurons), chip)
    within_limits(network, found, chip)
    assert len(found) <= len(start.neurons)
