"""Shared lists: the tables of a convolution give the unrolled network back, bit for bit, whatever its shape."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import any_network, small_chip
from snn_compile.compiler import file
from snn_compile.compiler.decode import decode
from snn_compile.compiler.encode import encode
from snn_compile.compiler.fixed import FixedInput, FixedNetwork, FixedPopulation, FixedProjection
from snn_compile.compiler.limits import excess, measure, synapse_words
from snn_compile.compiler.nodes import Conv2d
from snn_compile.compiler.partition import partition
from snn_compile.compiler.place import place
from snn_compile.compiler.slices import CoreSlices
from snn_compile.compiler.synapses import Synapses
from snn_compile.compiler.tiles import fill_tiles
from snn_compile.compiler.traffic import Traffic
from snn_compile.compiler.unroll import unroll
from snn_compile.errors import LimitError, ProgramFileError
from snn_compile.runtime.engine import run_engine


def population(name, shape, holes, rng):
    """On a map, without some of its neurons."""
    size = int(np.prod(shape))
    origin = np.flatnonzero(rng.random(size) >= holes)
    origin = origin if len(origin) else np.arange(size)
    return FixedPopulation(name, shape, origin, 4095, 0, 100, np.zeros(len(origin)), np.zeros(len(origin)), 0)


@st.composite
def convolutional(draw):
    """Two convolutions of any kernel, stride, padding, dilation and groups, and a layer that sees all of it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (2 * draw(st.integers(1, 2)), draw(st.integers(3, 9)), draw(st.integers(3, 9)))
    inputs = (FixedInput("x", shape, "rate", 1, 1),)
    made, joined, before = [], [], None
    for i in range(2):
        groups, stride, dilation = draw(st.sampled_from([1, 2])), draw(st.integers(1, 2)), draw(st.integers(1, 2))
        kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
        weight = 2.0 * rng.integers(-60, 60, (4, shape[0] // groups, *kernel))
        weight *= rng.random(weight.shape) < draw(st.sampled_from([0.2, 0.6, 1.0]))
        weight[0, 0, 0, 0] = 2
        pads = tuple(max(draw(st.integers(0, 2)), dilation) for _ in range(2))
        layer = Conv2d("c", weight=weight, padding=pads, stride=(stride, stride), dilation=(dilation, dilation),
                       groups=groups)  # fmt: skip
        synapses = unroll(layer, shape)
        synapses = synapses.with_weights(synapses.weights.astype(np.int16))
        shape = layer.output_shape(shape)
        own = population(f"p{i}", shape, draw(st.sampled_from([0.0, 0.1])), rng)
        alive = np.zeros(int(np.prod(shape)), bool)
        alive[own.origin] = True
        sources = np.ones(synapses.n_source, bool)
        if before is not None:
            sources[:] = False
            sources[before.origin] = True
        synapses = synapses.select(sources, alive)
        if len(synapses):
            joined.append(FixedProjection(f"p{i - 1}" if i else "x", f"p{i}", synapses, -4))
        made.append(own)
        before = own
    return FixedNetwork(inputs, tuple(made), tuple(joined), ("p1",), 4)


CHIPS = [
    {},
    {"neurons_per_core": 30},
    {"synapse_words_per_core": 60, "neurons_per_core": 60},
    {"in_axons_per_core": 40, "neurons_per_core": 50},
    {"out_axons_per_core": 150, "neurons_per_core": 40, "cores_per_chip": 4},
]


@given(convolutional(), st.sampled_from(CHIPS))
def test_tiles_hold_every_limit_and_give_the_unrolled_network_back(network, limits):
    chip = small_chip(**limits)
    try:
        slices = fill_tiles(network, chip)
    except LimitError:
        return  # one neuron alone is too much
    if not slices.neurons:
        return  # output axons are in the way
    assert sorted(np.concatenate(slices.neurons).tolist()) == list(range(network.netlist.neurons))
    for neurons, shared in zip(slices.neurons, slices.shared, strict=True):
        assert excess(network, neurons, chip, shared) is None
    silence = {name: np.zeros(network.by_name[name].size) for name in network.netlist.names}
    traffic = Traffic.of(network.netlist, slices, silence)
    chips = np.arange(len(slices.neurons)) // chip.cores_per_chip
    assert traffic.output_entries(chips).max() <= chip.limits.out_axons_per_core[0]
    if chips.max() < 8:
        placement = place(slices, chip)
        program = encode(network, placement, chip)
        assert decode(program) == network
        assert np.array_equal(program.output_entries(), traffic.output_entries(placement.chip_of()))


@given(any_network(), st.integers(0, 2**32 - 1))
def test_any_network_comes_back_from_shared_lists(drawn, seed):
    """Neurons in any order on three cores, every list shared: delays, recurrence and several exponents too."""
    network, _ = drawn
    rng = np.random.default_rng(seed)
    parts = [part for part in np.array_split(rng.permutation(network.netlist.neurons), 3) if len(part)]
    slices = CoreSlices(tuple(parts), shared=(True,) * len(parts))
    chip = small_chip()
    program = encode(network, place(slices, chip), chip)
    assert decode(program) == network
    for core, neurons in zip(program.cores, parts, strict=True):
        lists = network.netlist.lists_of(neurons, True)
        assert len(core.axon_start) == len(lists.list_of) == len(np.unique(lists.lists))
        assert len(core.words) == synapse_words_of(network, neurons, chip)


def synapse_words_of(network, neurons, chip):

    return measure(network, neurons, chip, shared=True)[1]


def one_convolution(side=12):
    """Three taps of a 3 × 3 kernel, one channel: all places have the same fan-out but for the borders."""
    weight = np.zeros((1, 1, 3, 3))
    weight[0, 0, 0, 0], weight[0, 0, 1, 1], weight[0, 0, 2, 1] = 2, 4, -6
    synapses = unroll(Conv2d("c", weight=weight, padding=(1, 1)), (1, side, side))
    synapses = synapses.with_weights(synapses.weights.astype(np.int16))
    size = side * side
    made = FixedPopulation("p", (1, side, side), np.arange(size), 4095, 0, 3, np.zeros(size), np.zeros(size), 0)
    joined = FixedProjection("x", "p", synapses, 0)
    return FixedNetwork((FixedInput("x", (1, side, side), "rate", 1, 1),), (made,), (joined,), ("p",), 4)


def test_a_core_holds_each_weight_once_for_all_places():
    network, chip = one_convolution(), small_chip()
    every = np.arange(network.netlist.neurons)
    lists = network.netlist.lists_of(every, True)
    assert len(lists.list_of) == 4  # the inside, and what the borders leave of it
    assert 20 * synapse_words_of(network, every, chip) < synapse_words(network, every, chip)
    slices = partition(network, chip)
    assert slices.method == "tiles" and slices.shared == (True,)
    assert not any(partition(network, chip, sharing=False).is_shared())


def test_two_entries_for_a_population_axon_and_one_more_to_another_chip():
    """Four neurons whose fan-out is the same but for a shift: one axon with its base for all of them."""
    made = [FixedPopulation(n, (4,), np.arange(4), 4095, 0, 9, np.zeros(4), np.zeros(4), i) for i, n in
            enumerate(("a", "b"))]  # fmt: skip
    weights = np.diag([2, 2, 2, 2]) + np.diag([4, 4, 4], -1)
    weights[3, 0] = 6

    joined = FixedProjection("a", "b", Synapses.from_dense(weights.astype(np.int16)), 0)
    network = FixedNetwork((FixedInput("x", (1,), "rate", 1, 1),), tuple(made), (joined,), ("b",), 4)
    slices = CoreSlices((np.arange(4), np.arange(4, 8)), shared=(True, True))
    traffic = Traffic.of(network.netlist, slices, {"a": np.ones(4), "b": np.zeros(4), "x": np.zeros(1)})
    # a[1] and a[2] have (2, 4); a[0] has (2, 4, 6) and a[3] has (2) for itself
    assert traffic.axons.toarray().tolist() == [[0, 3], [0, 0]]
    assert traffic.entries.toarray().tolist() == [[0, 4], [0, 0]]
    assert traffic.packets.toarray().tolist() == [[0, 4], [0, 0]]
    assert traffic.output_entries(np.array([0, 0])).tolist() == [4, 0]
    assert traffic.output_entries(np.array([0, 1])).tolist() == [7, 0]


def test_a_shared_program_runs_as_the_unrolled_one(tmp_path):
    network, chip = one_convolution(), small_chip(neurons_per_core=50)
    results = []
    samples = np.random.default_rng(0).integers(0, 2, (5, 144))
    for slices in (fill_tiles(network, chip), partition(network, chip, sharing=False)):
        assert any(slices.is_shared()) == (not results)
        path = tmp_path / "p.snnc"
        file.save(encode(network, place(slices, chip), chip), path)
        results.append(run_engine(decode(file.load(path)), samples))
    assert np.array_equal(results[0].counts, results[1].counts)
    assert results[0].counts.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"out_base": np.uint16(60000)}, "a base leads to no compartment"),
        ({"out_axon": np.uint16(0)}, "an input axon has no source|reaches an input axon twice"),
    ],
)
def test_bases_that_contradict_the_tables_are_refused(change, message):
    network, chip = one_convolution(), small_chip()
    program = encode(network, place(partition(network, chip), chip), chip)
    (entry,) = program.inputs
    changed = {key: np.full(len(getattr(entry, key)), value) for key, value in change.items()}
    with pytest.raises(ProgramFileError, match=message):
        decode(replace(program, inputs=(replace(entry, **changed),)))


def on_maps(*shapes):
    return [FixedPopulation(n, s, np.arange(np.prod(s)), 4095, 0, 100, *np.zeros((2, int(np.prod(s)))), min(i, 1))
            for i, (n, s) in enumerate(zip("abc", shapes, strict=False))]  # fmt: skip


def fan_in(rng, n_source, n_target, count):
    """Each target has so many sources at random."""
    sources = np.concatenate([rng.choice(n_source, count, replace=False) for _ in range(n_target)])
    weights = (2 * rng.integers(1, 60, count * n_target)).astype(np.int16)
    return Synapses.from_triples(n_source, n_target, sources, np.repeat(np.arange(n_target), count), weights)


def test_one_core_is_better_than_two_with_fewer_words():
    rng = np.random.default_rng(0)
    made = on_maps((1, 44, 50), (1, 20, 20), (1, 20, 20))
    joined = [FixedProjection(s, t, fan_in(rng, *sizes), -4) for s, t, sizes in
              (("x", "a", (10, 2200, 1)), ("a", "b", (2200, 400, 25)), ("a", "c", (2200, 400, 25)))]  # fmt: skip
    network = FixedNetwork((FixedInput("x", (10,), "rate", 1, 1),), tuple(made), tuple(joined), ("b", "c"), 4)
    assert len(partition(network, small_chip()).neurons) == 1


def test_neurons_that_reach_many_cores_are_spread():
    """A map whose neurons all feed a layer at random: its output axons fill cores long before its neurons do."""
    rng = np.random.default_rng(0)
    made = on_maps((8, 16, 16))
    size, flat = 2048, 60
    made.append(FixedPopulation("f", (flat,), np.arange(flat), 4095, 0, 100, np.zeros(flat), np.zeros(flat), 1))
    one = FixedProjection("x", "a", fan_in(rng, 256, size, 1), -4)
    network = FixedNetwork(
        (FixedInput("x", (256,), "rate", 1, 1),),
        tuple(made),
        (one, FixedProjection("a", "f", fan_in(rng, size, flat, 300), -4)),
        ("f",),
        4,
    )
    chip = small_chip(in_axons_per_core=500, out_axons_per_core=500, neurons_per_core=1500)
    slices = fill_tiles(network, chip)
    silence = {name: np.zeros(network.by_name[name].size) for name in network.netlist.names}
    entries = Traffic.of(network.netlist, slices, silence).output_entries(np.zeros(len(slices.neurons)))
    assert len(slices.neurons) > 4 and entries.max() <= 500
    assert decode(encode(network, place(slices, chip), chip)) == network


def test_a_map_that_lives_in_a_corner_is_one_tile():
    alive = np.ravel_multi_index(tuple(a.ravel() for a in np.mgrid[:6, :6]), (64, 64))
    made = FixedPopulation("p", (1, 64, 64), alive, 4095, 0, 100, np.zeros(36), np.zeros(36), 0)
    synapses = Synapses.from_dense(2 * np.eye(36, dtype=np.int16))
    joined = FixedProjection("x", "p", synapses, -4)
    network = FixedNetwork((FixedInput("x", (36,), "rate", 1, 1),), (made,), (joined,), ("p",), 4)
    assert [len(n) for n in fill_tiles(network, small_chip()).neurons] == [36]
