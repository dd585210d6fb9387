"""Partition, placement, encoding: every limit holds at the exact size, and decoding gives back what went in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import any_network, output_entries, random_network, small_chip
from snn_compile.compiler.decode import decode
from snn_compile.compiler.encode import encode
from snn_compile.compiler.fill import AXONS, WORDS, empty_core, fill_in_order
from snn_compile.compiler.fixed import FixedInput, FixedNetwork, FixedPopulation, FixedProjection
from snn_compile.compiler.limits import excess
from snn_compile.compiler.partition import index_order, partition
from snn_compile.compiler.place import place
from snn_compile.compiler.slices import CoreSlices
from snn_compile.compiler.synapses import Synapses
from snn_compile.errors import LimitError, ProgramFileError, UnsupportedError
from snn_compile.hw_targets import chip as chips
from snn_compile.hw_targets.formats import pack

LOIHI2 = chips.load("loihi2")
TIGHT = small_chip(
    neurons_per_core=10,
    synapse_words_per_core=60,
    pool_words_per_core=66,
    in_axons_per_core=40,
    out_axons_per_core=60,
    words_per_list=8,
    formats_per_core=3,
    cores_per_chip=4,
)


def program_of(network, chip=LOIHI2):
    return encode(network, place(partition(network, chip), chip), chip)


def populations(*sizes, vth=100):
    """A chain of dense populations."""
    rng = np.random.default_rng(0)
    names = ["x"] + [f"p{i}" for i in range(len(sizes) - 1)]
    made = [
        FixedPopulation(name, (n,), np.arange(n), 4095, 0, vth + i, np.zeros(n), np.zeros(n), i)
        for i, (name, n) in enumerate(zip(names[1:], sizes[1:], strict=True))
    ]
    joined = [
        FixedProjection(a, b, Synapses.from_dense((2 * rng.integers(1, 100, (m, n))).astype(np.int16)), 0)
        for a, b, n, m in zip(names, names[1:], sizes, sizes[1:], strict=False)
    ]
    return FixedNetwork((FixedInput("x", (sizes[0],), "rate", 1, 1),), tuple(made), tuple(joined), (names[-1],), 4)


@given(any_network(), st.sampled_from(["loihi1", "loihi2"]))
def test_decoding_gives_back_the_network(drawn, target):
    network, _ = drawn
    if any(p.graded or p.reset == "subtract" for p in network.populations):
        target = "loihi2"
    assert decode(program_of(network, chips.load(target))) == network


@given(any_network())
def test_a_tight_chip_takes_more_cores_and_no_limit_is_passed(drawn):
    network, _ = drawn
    try:
        slices = partition(network, TIGHT)
    except LimitError:
        return  # one neuron alone is too much
    netlist = network.netlist
    assert sorted(np.concatenate(slices.neurons).tolist()) == list(range(netlist.neurons))
    for neurons in slices.neurons:
        assert excess(network, neurons, TIGHT) is None
    assert output_entries(netlist, slices, TIGHT).max() <= 60
    program = encode(network, place(slices, TIGHT), TIGHT)
    for core in program.cores:
        assert len(core.neurons) <= 10 and len(core.words) <= 60 and len(core.words) + len(core.neurons) <= 66
        assert len(core.axon_start) <= 40 and core.axon_words.max(initial=0) <= 8 and len(core.formats) <= 3
    assert decode(program) == network


@given(any_network(), st.integers(0, 2**32 - 1))
def test_decoding_follows_the_routing_whatever_the_order_of_neurons_and_cores(drawn, seed):
    network, _ = drawn
    rng = np.random.default_rng(seed)
    order = rng.permutation(network.netlist.neurons)
    cuts = np.sort(rng.integers(1, max(2, len(order)), 3))
    slices = CoreSlices(tuple(part for part in np.split(order, cuts) if len(part)))
    assert decode(encode(network, place(slices, LOIHI2), LOIHI2)) == network


def test_index_order_fills_one_core_after_the_other():
    slices = index_order(populations(5, 12, 8), small_chip(neurons_per_core=9))
    assert slices.dump() == "core 0: 9 neurons 0..8\ncore 1: 9 neurons 9..17\ncore 2: 2 neurons 18..19"


def test_a_core_takes_as_many_neurons_as_fit_exactly():
    network = populations(30, 200)
    chip = small_chip(synapse_words_per_core=300)
    sizes = [len(neurons) for neurons in index_order(network, chip).neurons]
    for size, start in zip(sizes[:-1], np.cumsum([0, *sizes]).tolist(), strict=False):
        more = excess(network, np.arange(start, start + size + 1), chip)
        assert more is not None and more.what == "synapse words"


def test_sources_with_equal_fan_out_share_a_list():
    """Sources 0, 2 and 3 reach the same neurons with the same weights; 1 has one weight that differs."""
    weights = np.array([[2, 2, 2, 2], [4, 6, 4, 4], [0, 0, 0, 0]], np.int16)
    network = populations(4, 3)
    projection = replace(network.projections[0], synapses=Synapses.from_dense(weights))
    network = replace(network, projections=(projection,))
    sources, _, _, lists, _, parts = network.netlist.lists_of(np.arange(3))
    assert (sources - 3).tolist() == [0, 1, 2, 3] and lists.tolist() == [0, 1, 0, 0]
    assert parts.weight.tolist() == [2, 4, 2, 6]
    program = program_of(network)
    assert program.cores[0].axon_start.tolist() == [0, 1, 0, 0] and len(program.cores[0].words) == 2
    assert decode(program) == network


@given(any_network(), st.integers(1, 60))
def test_a_core_that_is_filled_neuron_by_neuron_has_the_size_that_packing_finds(drawn, words):
    """With room for all formats and lists that are not shared, the sizes counted on the way are exact."""
    network, _ = drawn
    chip = small_chip(formats_per_core=15, synapse_words_per_core=words, pool_words_per_core=2**14)
    core = empty_core(network, chip)
    size = fill_in_order(core, np.arange(network.netlist.neurons), 0)
    sources, _, _, lists, _, parts = network.netlist.lists_of(np.arange(size))
    packing = pack(parts, max(1, size), 15)
    if len(np.unique(parts.exponent)) < 3:
        assert core.now[AXONS] == len(sources)
        assert core.now[WORDS] == packing.words[lists].sum() <= words


def test_output_entries_count_cores_and_chips():
    """p0[0] reaches cores 1 and 2 of its chip and core 4 on the next one: 1 + 1 + 2 entries."""
    network = populations(1, 1, 4)
    chip = small_chip(cores_per_chip=4)
    slices = CoreSlices(tuple(np.array([i]) for i in (0, 1, 2, 3, 4)))
    assert output_entries(network.netlist, slices, chip).tolist() == [1 + 1 + 1 + 2, 0, 0, 0, 0]


def test_too_many_output_axons_split_the_source_core():
    network = populations(2, 8, 24)
    chip = small_chip(neurons_per_core=8, out_axons_per_core=12)
    slices = index_order(network, chip)
    assert output_entries(network.netlist, slices, chip).max() <= 12
    assert sorted(len(n) for n in slices.neurons) == [4, 4, 8, 8, 8]
    assert decode(program_of(network, chip)) == network


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"in_axons_per_core": 39}, r"p0\[0\]: needs 40 input axons, one loihi2 core has 39; split the layer or prune"),
        ({"words_per_list": 0}, r"p0\[0\]: needs 1 words in one synapse list, one loihi2 core has 0"),
        ({"synapse_words_per_core": 33}, r"p0\[0\]: needs 34 synapse words, one loihi2 core has 33"),
        ({"pool_words_per_core": 34}, r"p0\[0\]: needs 35 words of memory, one loihi2 core has 34"),
        ({"neurons_per_core": 1, "out_axons_per_core": 2}, r"p0\[0\]: needs 3 output axons, one loihi2 core has 2"),
    ],
)
def test_a_neuron_that_no_core_holds_is_named(limits, message):
    with pytest.raises(LimitError, match=message):
        partition(populations(40, 3, 3), small_chip(**limits))


@pytest.mark.parametrize("what", ["threshold_profiles_per_core", "compartment_profiles_per_core"])
def test_profiles_limit_what_shares_a_core(what):
    network = populations(2, 2, 2, 2)
    changed = tuple(replace(p, dv=i) for i, p in enumerate(network.populations))
    network = replace(network, populations=changed)
    assert [len(n) for n in index_order(network, small_chip(**{what: 2})).neurons] == [4, 2]


def test_neurons_of_a_population_share_a_core_as_long_as_it_has_profiles_for_their_decays():
    network = populations(2, 6)
    (cells,) = network.populations
    network = replace(network, populations=(replace(cells, dv=[1, 1, 2, 2, 2, 3], du=[5, 5, 5, 5, 6, 6]),))
    chip = small_chip(compartment_profiles_per_core=2)
    assert [n.tolist() for n in index_order(network, chip).neurons] == [[0, 1, 2, 3], [4, 5]]
    assert excess(network, np.arange(5), chip).what == "compartment profiles"
    program = program_of(network, chip)
    assert [core.profiles[:, :2].tolist() for core in program.cores] == [[[5, 1], [5, 2]], [[6, 2], [6, 3]]]
    assert decode(program) == network


def test_more_exponents_than_formats_are_refused():
    network = populations(2, 2)
    again = FixedProjection("p0", "p0", network.projections[0].synapses, 3)
    with pytest.raises(LimitError, match=r"p0\[0\]: needs 2 synapse formats, one loihi2 core has 1; use fewer"):
        partition(replace(network, projections=(*network.projections, again)), small_chip(formats_per_core=1))


def test_a_board_that_is_too_small_or_absent_is_refused():
    slices = CoreSlices(tuple(np.array([i]) for i in range(200)))
    assert place(slices, LOIHI2).chips == 2
    with pytest.raises(LimitError, match="needs 200 cores on 2 chips, the board oheo-gulch has 1 of 128 cores"):
        place(slices, LOIHI2, "oheo-gulch")
    with pytest.raises(UnsupportedError, match="nahuku: is no board of loihi2; choose one of kapoho-point, oheo-gulch"):
        place(slices, LOIHI2, "nahuku")


def test_placement_in_order():
    assert place(CoreSlices(tuple(np.array([i]) for i in range(5))), LOIHI2).dump().splitlines()[3:] == [
        "core 3: chip 0 x 0 y 0",
        "core 4: chip 0 x 1 y 0",
    ]


@pytest.mark.parametrize(
    ("weights", "delay", "message"),
    [
        ([[3]], 0, "x -> p0: has weights 3 to 3, mixed 8-bit weights are even, -256 to 254"),
        ([[256]], 0, "x -> p0: has weights 256 to 256"),
        ([[2]], 63, "x -> p0: has a delay of 63 steps, loihi2 has 62"),
    ],
)
def test_values_that_the_tables_cannot_hold_are_refused(weights, delay, message):
    network = populations(1, 1)
    synapses = Synapses.from_dense(np.array(weights, np.int16), np.full((1, 1), delay, np.uint8))
    network = replace(network, projections=(replace(network.projections[0], synapses=synapses),))
    with pytest.raises(LimitError, match=message):
        program_of(network)


def broken(change):
    """A program of two cores with something changed in its first core."""
    network, _ = random_network(4)
    program = program_of(network, small_chip(neurons_per_core=9))
    first, *others = program.cores
    return replace(program, cores=(change(first), *others))


def array_changed(name, change):
    return lambda core: replace(core, **{name: change(getattr(core, name).copy())})


def put(index, value):
    def change(array):
        array[index] = value
        return array

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (array_changed("neurons", put(0, 1)), "its neurons do not stand on exactly one core each"),
        (array_changed("configuration", put(0, 9 << 16)), "names a profile that is not there"),
        (array_changed("profiles", put((0, 3), 7)), "differ in more than decays and drop"),
        (array_changed("profiles", put((slice(None), 3), 2**17)), "differ in more|vth is 131072"),
        (array_changed("profiles", put((slice(None), 4), 8)), "vth is .*, 0 to 0 is possible"),
        (
            array_changed("profiles", put((slice(None), 3), 4)),
            "the profiles of p0 say something that its",
        ),
        (array_changed("profiles", put((slice(None), 7), -1)), "differ in more|drop is -1"),
        (array_changed("out_core", put(0, 99)), "leads to a core that is not there"),
        (array_changed("out_axon", put(0, 60000)), "leads to an input axon that is not there"),
        (array_changed("out_start", put(0, 5)), "its output axons have broken starts"),
        (array_changed("axon_start", put(0, 60000)), "core 0: its synapse lists do not stand one after the other"),
        (array_changed("words", put(slice(None), 2**64 - 1)), "core 0: a"),
        (array_changed("formats", put((0, 5), 5)), "has 2 exponents|has . exponents|joins"),
    ],
)
def test_tables_that_contradict_each_other_are_refused(change, message):
    with pytest.raises(ProgramFileError, match=message):
        decode(broken(change))
