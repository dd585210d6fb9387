"""`partition`: within every limit, never worse than index order, and much better where neurons share inputs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import any_network, output_entries, random_synapses, small_chip
from snn_compile.compiler import multilevel
from snn_compile.compiler.decode import decode
from snn_compile.compiler.encode import encode
from snn_compile.compiler.fill import empty_core
from snn_compile.compiler.fixed import FixedInput, FixedNetwork, FixedPopulation, FixedProjection
from snn_compile.compiler.grow import grow_from
from snn_compile.compiler.limits import excess, synapse_words
from snn_compile.compiler.order import ordered
from snn_compile.compiler.partition import index_order, partition
from snn_compile.compiler.pipeline import compile_network
from snn_compile.compiler.place import place
from snn_compile.compiler.slices import CoreSlices, Crossing, Reach, neuron_entries
from snn_compile.compiler.synapses import Synapses
from snn_compile.errors import LimitError, UnsupportedError
from snn_compile.frontend.readers import read_model

DIGITS = Path(__file__).parents[2] / "examples" / "digits.pt"
LIMITS = {
    "neurons": {"neurons_per_core": 7},
    "words": {"synapse_words_per_core": 40},
    "axons": {"in_axons_per_core": 26, "neurons_per_core": 20},
    "output axons": {"out_axons_per_core": 30, "neurons_per_core": 9},
    "formats": {"formats_per_core": 2, "neurons_per_core": 12},
    "profiles": {"compartment_profiles_per_core": 1, "threshold_profiles_per_core": 2},
}


def communities(groups=6, size=20):
    """Inputs and neurons in groups that know each other only, numbered at random."""
    rng = np.random.default_rng(0)
    count = groups * size
    group_in, group_out = rng.permutation(count) % groups, rng.permutation(count) % groups
    weights = 2 * rng.integers(1, 100, (count, count)) * (group_out[:, None] == group_in)
    made = FixedPopulation("p0", (count,), np.arange(count), 4095, 0, 100, np.zeros(count), np.zeros(count), 0)
    joined = FixedProjection("x", "p0", Synapses.from_dense(weights.astype(np.int16)), 0)
    return FixedNetwork((FixedInput("x", (count,), "rate", 1, 1),), (made,), (joined,), ("p0",), 4)


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
@given(any_network(), st.integers(0, 2**32 - 1))
def test_every_limit_holds_and_index_order_is_never_better(limits, drawn, seed):
    network, _ = drawn
    chip = small_chip(**limits)
    rates = np.random.default_rng(seed).random(int(network.netlist.base[-1]))
    try:
        baseline = index_order(network, chip)
    except LimitError:
        return  # one neuron alone is too much
    slices = partition(network, chip, rates=rates)
    assert sorted(np.concatenate(slices.neurons).tolist()) == list(range(network.netlist.neurons))
    for neurons in slices.neurons:
        assert excess(network, neurons, chip) is None
    assert output_entries(network.netlist, slices, chip).max() <= chip.limits.out_axons_per_core[0]
    ours, theirs = (Crossing.of(network.netlist, s, rates) for s in (slices, baseline))
    assert (ours.cores, ours.packets) <= (theirs.cores, theirs.packets)
    assert (slices.crossing, slices.baseline) == (ours, theirs)


def test_neurons_that_share_inputs_come_together():
    network, chip = communities(), small_chip(neurons_per_core=20)
    slices = partition(network, chip)
    assert slices.method == "fast" and slices.baseline.axons > 400
    assert slices.crossing == Crossing(6, 0, 0.0)


def test_rates_decide_which_axons_stay_in_one_core():
    """A ring of four neurons, two per core: one pair of axons crosses, the one with low rates."""
    ring = np.roll(np.eye(4, dtype=np.int16) * 2, 1, axis=0)
    made = FixedPopulation("p", (4,), np.arange(4), 4095, 0, 9, np.zeros(4), np.zeros(4), 0)
    joined = FixedProjection("p", "p", Synapses.from_dense(ring), 0)
    network = FixedNetwork((FixedInput("x", (1,), "rate", 1, 1),), (made,), (joined,), ("p",), 4)
    slices = partition(network, small_chip(neurons_per_core=2), rates=np.array([0.9, 0.1, 0.9, 0.1, 0.0]))
    assert sorted(sorted(n.tolist()) for n in slices.neurons) == [[0, 1], [2, 3]]
    slices = partition(network, small_chip(neurons_per_core=2), rates=np.array([0.1, 0.9, 0.1, 0.9, 0.0]))
    assert sorted(sorted(n.tolist()) for n in slices.neurons) == [[0, 3], [1, 2]]


def test_the_same_tables_on_a_second_run():
    first, again = (compile_network(read_model(DIGITS), small_chip(neurons_per_core=16)) for _ in range(2))
    for one, two in zip(first.program.cores, again.program.cores, strict=True):
        assert one.words.tobytes() == two.words.tobytes() and one.neurons.tobytes() == two.neurons.tobytes()


@given(any_network(), st.integers(0, 2**32 - 1))
def test_reach_counts_cores(drawn, seed):
    """Against sets, source by source."""
    network, _ = drawn
    netlist = network.netlist
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.integers(1, max(2, netlist.neurons), 3))
    slices = CoreSlices(tuple(n for n in np.split(rng.permutation(netlist.neurons), cuts) if len(n)))
    core = slices.core_of()
    target = np.repeat(core, np.diff(netlist.indptr))
    reach = Reach.of(netlist, slices, 2)
    for source in range(int(netlist.base[-1])):
        goals = set(target[netlist.source == source].tolist())
        own = {int(core[source])} if source < netlist.neurons else set()
        assert reach.cores[source] == len(goals)
        assert reach.crossings[source] == max(0, len(goals | own) - 1)
        assert reach.remote[source] == sum(g // 2 != int(core[source]) // 2 for g in goals if own)
    assert neuron_entries(netlist, slices, small_chip(cores_per_chip=2)).tolist() == (
        (reach.cores + reach.remote)[: netlist.neurons].tolist()
    )


def test_output_axons_fill_cores_and_do_not_halve_them():
    """Each of 60 neurons feeds one of 60: five entries per core hold, so twelve cores of five, not sixteen of less."""
    rng = np.random.default_rng(1)
    made = [FixedPopulation(n, (60,), np.arange(60), 4095, 0, 9, np.zeros(60), np.zeros(60), i) for i, n in
            enumerate(("a", "b"))]  # fmt: skip
    joined = (
        FixedProjection("x", "a", random_synapses(rng, 60, 60, 0.1), 0),
        FixedProjection("a", "b", Synapses.from_dense(2 * np.eye(60, dtype=np.int16)), 0),
    )
    network = FixedNetwork((FixedInput("x", (60,), "rate", 1, 1),), tuple(made), joined, ("b",), 4)
    slices = partition(network, small_chip(neurons_per_core=20, out_axons_per_core=10))
    assert len(slices.neurons) == 6
    assert output_entries(network.netlist, slices, small_chip()).max() <= 10


def test_order_inside_a_core_saves_words_and_only_moves_compartments():
    network, chip = communities(), small_chip()
    every = np.arange(network.netlist.neurons)
    better = ordered(network, every, chip)
    assert sorted(better.tolist()) == every.tolist()
    assert synapse_words(network, better, chip) < 0.7 * synapse_words(network, every, chip)
    assert decode(encode(network, place(CoreSlices((better,)), chip), chip)) == network


def test_best_is_no_worse_than_fast_and_the_same_again():
    pytest.importorskip("mtkahypar")
    compiled = [compile_network(read_model(DIGITS), small_chip(neurons_per_core=16), effort="best") for _ in range(2)]
    for one, two in zip(compiled[0].program.cores, compiled[1].program.cores, strict=True):
        assert one.words.tobytes() == two.words.tobytes() and one.neurons.tobytes() == two.neurons.tobytes()
    network = compiled[0].network
    fast, best = (partition(network, small_chip(neurons_per_core=16), effort=effort) for effort in ("fast", "best"))
    assert (best.crossing.cores, best.crossing.packets) <= (fast.crossing.cores, fast.crossing.packets)


@given(any_network())
def test_blocks_that_do_not_fit_become_cores_that_do(drawn):
    """Blocks at random, twice as large as a core: every limit holds all the same."""
    network, _ = drawn
    chip = small_chip(neurons_per_core=8, synapse_words_per_core=50)
    try:
        count = len(index_order(network, chip).neurons)
    except LimitError:
        return
    block = np.random.default_rng(0).integers(0, max(1, count // 2), network.netlist.neurons)
    blocks = [n for n in (np.flatnonzero(block == i) for i in range(count)) if len(n)]
    slices = grow_from(network, empty_core(network, chip), np.ones(int(network.netlist.base[-1])), chip, blocks)
    assert sorted(np.concatenate(slices).tolist()) == list(range(network.netlist.neurons))
    assert all(excess(network, neurons, chip) is None for neurons in slices)


def test_best_without_its_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "mtkahypar", None)
    multilevel._library.cache_clear()
    with pytest.raises(UnsupportedError, match="--effort best: needs mtkahypar.*install the extra 'partition'"):
        partition(communities(), small_chip(neurons_per_core=20), effort="best")
