"""Exchange: neurons change cores, one against one or alone, as long as that takes weight off what crosses.

Gains are exact: an axon more on a core costs its weight, one less gives it back. Words are estimated from fan-in, so
every core is measured at the end; where one breaks a limit, less room is given and all is done again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from ..hw_targets.chip import Chip
from .exchange_kernel import Graph, State, count, run
from .fixed import FixedNetwork
from .limits import measure
from .netlist import Ints, Netlist
from .nodes import FloatArray
from .order import ordered
from .slices import CoreSlices, neuron_entries
from .threads import each

EFFORT = 100_000_000
"""Synapses times cores up to which neurons are exchanged."""
ROOM = (1.0, 0.98, 0.95)
"""Shares of a core's words that may be used, one after the other."""


def exchange(network: FixedNetwork, slices: list[Ints], weight: FloatArray, chip: Chip) -> list[Ints]:
    """Slices with less weight between cores, every limit kept; the same where there is nothing to gain.

    Args:
        network: integers only.
        slices: every limit kept.
        weight: (sources,) of each axon.
        chip: whose limits hold.
    """
    netlist, cores = network.netlist, len(slices)
    if cores < 2 or cores * max(len(netlist.source), len(weight)) > EFFORT:
        return slices
    fan_in = np.diff(netlist.indptr)
    words = np.array([found[1] for found in each(lambda own: measure(network, own, chip), slices)], np.float64)
    per_neuron = fan_in * (words.sum() / max(1, len(netlist.source)))
    graph = _graph(netlist, weight)
    limits = (chip.neurons_per_core, chip.limits.in_axons_per_core[0], chip.limits.out_axons_per_core[0])
    for room in ROOM:
        core_of = CoreSlices(tuple(slices)).core_of()
        most = np.full(cores, room * chip.synapse_words)
        if not run(graph, _start(graph, core_of, words, chip.neurons_per_core), per_neuron, most, limits):
            break
        ends = np.cumsum(np.bincount(core_of, minlength=cores))
        parts = [own for own in np.split(np.argsort(core_of, kind="stable"), ends[:-1]) if len(own)]
        found = list(each(lambda own: ordered(network, own, chip), parts))
        entries = neuron_entries(netlist, CoreSlices(tuple(found)), chip)
        if max(int(entries[own].sum()) for own in found) > chip.limits.out_axons_per_core[0]:
            break
        if all(problem is None for problem, _ in each(lambda own: measure(network, own, chip), found)):
            return found
    return slices


def _graph(netlist: Netlist, weight: FloatArray) -> Graph:
    sends = np.flatnonzero(np.bincount(netlist.source, minlength=len(weight))[: netlist.neurons])
    row = np.concatenate([np.repeat(np.arange(netlist.neurons), np.diff(netlist.indptr)), sends])
    column = np.concatenate([netlist.source, sends])
    there = sp.csr_array((np.ones(len(row), np.bool_), (row, column)), (netlist.neurons, len(weight)))
    there.sum_duplicates()
    other = there.tocsc()
    to_itself = np.zeros(netlist.neurons, np.bool_)
    target = np.repeat(np.arange(netlist.neurons), np.diff(netlist.indptr))
    to_itself[target[netlist.source == target]] = True
    return Graph(there.indptr, there.indices, other.indptr, other.indices, weight, to_itself)


def _start(graph: Graph, core_of: Any, words: FloatArray, most: int) -> State:
    cores = len(words)
    neurons, sources = len(core_of), len(graph.weight)
    state = State(
        core_of,
        np.zeros((cores, most), np.int32),
        np.zeros(neurons, np.int64),
        np.zeros((sources, cores), np.int32),
        np.zeros(sources, np.int64),
        np.zeros((neurons, cores)),
        words.copy(),
        np.zeros((3, cores), np.int64),
    )
    count(graph, state)
    return state
