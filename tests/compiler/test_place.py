"""Placement: every core has its own place on the board, no limit is passed, and it is never worse than the order."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from networks import any_network, output_entries, random_network, small_chip
from snn_compile.compiler.anneal import anneal
from snn_compile.compiler.decode import decode
from snn_compile.compiler.encode import encode
from snn_compile.compiler.partition import partition
from snn_compile.compiler.place import Placement, place
from snn_compile.compiler.slices import CoreSlices
from snn_compile.compiler.swaps import Graph, Sites, swap
from snn_compile.compiler.traffic import Traffic
from snn_compile.errors import LimitError
from snn_compile.hw_targets import chip as chips

LOIHI1 = chips.load("loihi1")


def sliced(cores):
    return CoreSlices(tuple(np.array([i]) for i in range(cores)))


def traffic_of(matrix, entries=None):
    """Traffic by hand: packets from row to column, and so many output-axon entries (one each if not given)."""
    packets = np.asarray(matrix, float)
    entries = (packets > 0).astype(np.int64) if entries is None else np.asarray(entries)
    return Traffic(sp.csr_array(packets), sp.csr_array(entries), sp.csr_array(entries), np.zeros(len(packets)))


def random_traffic(seed, cores, density=0.1):
    rng = np.random.default_rng(seed)
    matrix = rng.integers(1, 100, (cores, cores)) * (rng.random((cores, cores)) < density)
    return traffic_of(matrix, (matrix > 0) * rng.integers(1, 20, matrix.shape))


def measured(network, slices, seed=0):
    netlist, rng = network.netlist, np.random.default_rng(seed)
    return Traffic.of(netlist, slices, {name: rng.random(network.by_name[name].size) for name in netlist.names})


@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.sampled_from([0.0, 0.01, 0.3]), st.integers(1, 9))
def test_every_core_has_one_place_and_it_is_never_worse_than_the_order(seed, cores, density, per_chip):
    chip = small_chip(cores_per_chip=max(per_chip * 4, -(-cores // 8)), cores_per_tile=12, out_axons_per_core=10**6)
    traffic, slices = random_traffic(seed, cores, density), sliced(cores)
    found, ordered = place(slices, chip, traffic=traffic), place(slices, chip)
    assert len(found.positions) == cores and found.chips == ordered.chips
    assert chip.misplaced(found.positions, found.board) is None
    assert max(Counter(found.positions).values()) <= 12
    ours, theirs = (traffic.hops(p.positions, chip, p.board).spike_hops for p in (found, ordered))
    assert ours <= theirs
    assert place(slices, chip, traffic=traffic).positions == found.positions


@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.integers(0, 400))
def test_output_axons_hold_for_the_chips_where_the_cores_stand(seed, cores, spare):
    """The limit is what the order needs, or a little more: some swaps between chips must be refused."""
    traffic, slices = random_traffic(seed, cores, 0.3), sliced(cores)
    needed = int(traffic.output_entries(np.arange(cores) // 8).max())
    chip = small_chip(cores_per_chip=8, out_axons_per_core=needed + spare)
    found = place(slices, chip, traffic=traffic)
    assert traffic.output_entries(found.chip_of()).max() <= needed + spare


def test_a_core_over_its_output_axons_is_helped_or_named():
    """In order, core 0 (chip 0) has 9 entries for core 4 (chip 1); side by side they are within the limit."""
    entries = np.zeros((5, 5), np.int64)
    entries[0, 4] = 9
    traffic = traffic_of(entries, entries)
    found = place(sliced(5), small_chip(cores_per_chip=4, out_axons_per_core=9), traffic=traffic)
    assert found.chip_of()[0] == found.chip_of()[4] and found.method == "by traffic"
    with pytest.raises(LimitError, match="core 0: needs 18 output axons with its targets where they stand, one loihi2"):
        place(sliced(5), small_chip(cores_per_chip=4, out_axons_per_core=8), traffic=traffic)


@given(any_network(), st.integers(0, 2**32 - 1))
def test_traffic_is_what_the_routing_tables_say(drawn, seed):
    network, _ = drawn
    chip = small_chip(neurons_per_core=5, cores_per_chip=4)
    slices, netlist = partition(network, chip), network.netlist
    spikes = {name: np.random.default_rng(seed).random(network.by_name[name].size) for name in netlist.names}
    traffic = Traffic.of(netlist, slices, spikes)
    rates = np.concatenate([spikes[name] for name in netlist.names])
    program = encode(network, place(slices, chip), chip)
    packets, entries = np.zeros((2, len(program.cores), len(program.cores)))
    for number, core in enumerate(program.cores):
        count = np.diff(core.out_start.astype(np.int64))
        np.add.at(packets[number], core.out_core, np.repeat(rates[core.neurons], count))
        np.add.at(entries[number], core.out_core, 1)
    np.testing.assert_allclose(traffic.packets.toarray(), packets)
    assert np.array_equal(traffic.entries.toarray(), entries)
    host = np.zeros(len(program.cores))
    for table in program.inputs:
        own = np.repeat(spikes[table.source.name], np.diff(table.out_start.astype(np.int64)))
        np.add.at(host, table.out_core, own)
    np.testing.assert_allclose(traffic.host, host)
    on_chip = np.array([chip.position(core)[0] for core in range(len(slices.neurons))])
    assert np.array_equal(traffic.output_entries(on_chip), output_entries(netlist, slices, chip))


@given(any_network())
def test_decoding_gives_back_the_network_wherever_its_cores_stand(drawn):
    network, _ = drawn
    chip = small_chip(neurons_per_core=3, cores_per_chip=8)
    slices = partition(network, chip)
    program = encode(network, place(slices, chip, traffic=measured(network, slices)), chip)
    assert decode(program) == network


def test_hops_are_counted_along_the_mesh_and_links_apart():
    """Nahuku has 8 chips in a row: chip 9 lies below chip 1. (0, 7, 0) → (9, 0, 3) is 1 east and 4 + 3 south."""
    traffic = traffic_of([[0, 2], [0, 0]])
    hops = traffic.hops([(0, 7, 0), (9, 0, 3)], LOIHI1, "nahuku")
    assert (hops.east_west, hops.north_south, hops.links) == (2 * 0, 2 * 6, 2 * 2)
    assert hops.spike_hops == 2 * (1 + 7)
    near = traffic.hops([(0, 1, 3), (0, 4, 1)], LOIHI1, "nahuku")
    assert (near.east_west, near.north_south, near.links) == (2 * 3, 2 * 2, 0)


@given(st.integers(0, 2**32 - 1), st.integers(2, 40))
def test_swaps_only_gain_and_random_ones_stay_on_their_chip(seed, cores):
    traffic = random_traffic(seed, cores, 0.3)
    graph = Graph.of(traffic, 10**6)
    number, slot = np.divmod(np.arange(48), 12)
    sites = Sites(8 * number + slot % 4, slot // 4, 12)
    start = np.random.default_rng(seed).permutation(48)[:cores]

    def cost(site):
        x, y = sites.x[site], sites.y[site]
        away = np.abs(x[:, None] - x) + np.abs(y[:, None] - y)
        return float((traffic.packets.toarray() * away).sum())

    swapped, tried = swap(graph, sites, start), anneal(graph, sites, start)
    assert cost(swapped) <= cost(start) and np.array_equal(start // 12, tried // 12)
    assert len(np.unique(swapped)) == len(np.unique(tried)) == cores


def test_two_groups_that_talk_among_themselves_get_a_chip_each():
    """Even and odd cores: in order they are mixed on both chips."""
    group = np.arange(16) % 2
    traffic = traffic_of((group[:, None] == group) & ~np.eye(16, dtype=bool))
    found = place(sliced(16), small_chip(cores_per_chip=8), traffic=traffic)
    assert traffic.hops(found.positions, LOIHI1, "nahuku").links == 0
    assert len(set(found.chip_of()[group == 0])) == len(set(found.chip_of()[group == 1])) == 1


def test_chips_in_use_stand_in_a_block():
    """On Nahuku: eight chips two by four, four of a chain one below the other; in order they stand in a row."""
    found = place(sliced(1024), LOIHI1, "nahuku", random_traffic(0, 1024, 0.01))
    assert sorted(set(found.chip_of())) == [0, 1, 8, 9, 16, 17, 24, 25]
    found = place(sliced(512), LOIHI1, "nahuku", traffic_of(np.eye(512, k=32)))
    assert sorted(set(found.chip_of())) == [0, 8, 16, 24]


def test_without_traffic_cores_stand_in_order():
    assert place(sliced(130), LOIHI1).method == "in order"
    silent = place(sliced(130), LOIHI1, traffic=traffic_of(np.zeros((130, 130))))
    assert silent.method == "in order" and silent.positions == place(sliced(130), LOIHI1).positions


@pytest.mark.parametrize(("cores", "board"), [(1, "kapoho-bay"), (256, "kapoho-bay"), (257, "nahuku")])
def test_the_smallest_board_with_enough_chips_is_taken(cores, board):
    assert place(sliced(cores), LOIHI1).board == board


def test_a_refusal_names_the_chips_and_the_board_that_would_do():
    with pytest.raises(LimitError, match="needs 300 cores on 3 chips, the board kapoho-bay has 2 of 128 cores; prune more, or choose the board nahuku, which has 32"):  # fmt: skip # noqa: E501
        place(sliced(300), LOIHI1, "kapoho-bay")
    with pytest.raises(LimitError, match="needs 4097 cores on 33 chips, the board nahuku has 32 .* prune more: no board of loihi1 has 33 chips"):  # fmt: skip # noqa: E501
        place(sliced(4097), LOIHI1)


def test_a_network_of_many_cores_is_the_same_twice():
    network, _ = random_network(5, recurrent=True)
    chip = small_chip(neurons_per_core=2, cores_per_chip=12)
    slices = partition(network, chip)
    first, second = (place(slices, chip, traffic=measured(network, slices)) for _ in range(2))
    assert isinstance(first, Placement) and first.dump() == second.dump()
