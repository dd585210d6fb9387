"""Exchange: neurons change cores, one against one or alone, as long as that takes weight off what crosses.

Gains are exact: an axon more on a core costs its weight, one less gives it back. Words are estimated from fan-in, so
every core is measured at the end; where one breaks a limit, less room is given and all is done again.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numba import njit

from ..hw_targets.chip import Chip
from .fixed import FixedNetwork
from .limits import measure
from .netlist import Ints, Netlist
from .nodes import FloatArray
from .order import ordered
from .slices import CoreSlices, neuron_entries
from .threads import each

EFFORT = 100_000_000
"""Synapses times cores up to which neurons are exchanged."""
SWEEPS = 30
BEST = 8
"""Neurons of each side that are looked at for a pair."""
ROOM = (1.0, 0.98, 0.95)
"""Shares of a core's words that may be used, one after the other."""
SMALLEST = 1e-9


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
        if not _exchange(graph, _start(graph, core_of, words, chip.neurons_per_core), per_neuron, most, limits):
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


class _Graph(NamedTuple):
    """The axons of each neuron, its own among them, and the neurons of each axon."""

    start: Any
    axons: Any
    fan_start: Any
    fan: Any
    weight: Any
    to_itself: Any


def _graph(netlist: Netlist, weight: FloatArray) -> _Graph:
    sends = np.flatnonzero(np.bincount(netlist.source, minlength=len(weight))[: netlist.neurons])
    row = np.concatenate([np.repeat(np.arange(netlist.neurons), np.diff(netlist.indptr)), sends])
    column = np.concatenate([netlist.source, sends])
    there = sp.csr_array((np.ones(len(row), np.bool_), (row, column)), (netlist.neurons, len(weight)))
    there.sum_duplicates()
    other = there.tocsc()
    to_itself = np.zeros(netlist.neurons, np.bool_)
    target = np.repeat(np.arange(netlist.neurons), np.diff(netlist.indptr))
    to_itself[target[netlist.source == target]] = True
    return _Graph(there.indptr, there.indices, other.indptr, other.indices, weight, to_itself)


class _State(NamedTuple):
    """Where everything stands, kept up with each move.

    Attributes:
        core_of: (neurons,).
        members, place: (cores, most) neurons of each core, and (neurons,) where in its row each stands.
        pins: (sources, cores) neurons on the core that have the axon or send it.
        reached: (sources,) cores with a pin.
        gain: (neurons, cores) weight that a move there takes off.
        load: (cores,) words.
        counts: (3, cores) neurons, input axons and output-axon entries of each core.
    """

    core_of: Any
    members: Any
    place: Any
    pins: Any
    reached: Any
    gain: Any
    load: Any
    counts: Any


def _start(graph: _Graph, core_of: Any, words: FloatArray, most: int) -> _State:
    cores = len(words)
    neurons, sources = len(core_of), len(graph.weight)
    state = _State(
        core_of,
        np.zeros((cores, most), np.int32),
        np.zeros(neurons, np.int64),
        np.zeros((sources, cores), np.int32),
        np.zeros(sources, np.int64),
        np.zeros((neurons, cores)),
        words.copy(),
        np.zeros((3, cores), np.int64),
    )
    _count(graph, state)
    return state


@njit(cache=True, nogil=True)
def _count(g: Any, state: Any) -> None:  # pragma: no cover – compiled
    size, held, _ = state.counts
    neurons = len(state.core_of)
    for neuron in range(neurons):
        core = state.core_of[neuron]
        state.place[neuron] = size[core]
        state.members[core, size[core]] = neuron
        size[core] += 1
        for j in range(g.start[neuron], g.start[neuron + 1]):
            new = int(state.pins[g.axons[j], core] == 0)
            held[core] += new
            state.reached[g.axons[j]] += new
            state.pins[g.axons[j], core] += 1
    for neuron in range(neurons):
        _own_axon(g, state, neuron, 1)
        _gains(g, state, neuron)


@njit(cache=True, nogil=True)
def _own_axon(g: Any, state: Any, neuron: int, sign: int) -> None:  # pragma: no cover – compiled
    """What a neuron's axon counts for at home: entries to all cores with targets; none of its own without any there."""
    core = state.core_of[neuron]
    alone = int(state.pins[neuron, core] == 1 and not g.to_itself[neuron])
    state.counts[2, core] += sign * (state.reached[neuron] - alone)
    if state.reached[neuron] > 0:
        state.counts[1, core] -= sign * alone


@njit(cache=True, nogil=True)
def _exchange(g: Any, state: Any, words: Any, most: Any, limits: Any) -> int:  # pragma: no cover – compiled
    """Moves until no pair of cores gains; how many there were. `most`: (cores,) words, `limits`: of `counts`."""
    cores = len(most)
    size, held, sent = state.counts
    done, sweep = 0, 0
    before = np.ones(cores, np.bool_)
    while before.any() and sweep < SWEEPS:
        sweep += 1
        changed = np.zeros(cores, np.bool_)
        for a in range(cores):
            for b in range(a + 1, cores):
                if not (before[a] or before[b] or changed[a] or changed[b]):
                    continue
                for _ in range(size[a] + size[b]):
                    v, u = _best_pair(g, state, a, b, words, most, limits[0])
                    if v < 0 and u < 0:
                        break
                    _both(g, state, v, u, a, b, words)
                    if held[a] > limits[1] or held[b] > limits[1] or sent.max() > limits[2]:
                        _both(g, state, v, u, b, a, words)
                        break
                    changed[a] = changed[b] = True
                    done += 1
        before = changed
    return done


@njit(cache=True, nogil=True)
def _gains(g: Any, state: Any, neuron: int) -> None:  # pragma: no cover – compiled
    """What a move of this neuron to each core takes off."""
    own, gain, pins = state.core_of[neuron], state.gain[neuron], state.pins
    gain[:] = 0
    for j in range(g.start[neuron], g.start[neuron + 1]):
        axon = g.axons[j]
        left = g.weight[axon] if pins[axon, own] == 1 else 0.0
        for core in range(pins.shape[1]):
            gain[core] += left - (g.weight[axon] if pins[axon, core] == 0 else 0.0)
    gain[own] = 0


@njit(cache=True, nogil=True)
def _best_of(state: Any, own: int, other: int, found: Any) -> int:  # pragma: no cover – compiled
    """The neurons of a core that gain most by a move to the other, best first; how many were found."""
    count = 0
    for i in range(state.counts[0, own]):
        neuron = state.members[own, i]
        value = state.gain[neuron, other]
        if count == len(found) and value <= state.gain[found[count - 1], other]:
            continue
        at = count if count < len(found) else count - 1
        while at > 0 and state.gain[found[at - 1], other] < value:
            found[at] = found[at - 1]
            at -= 1
        found[at] = neuron
        count = min(count + 1, len(found))
    return count


@njit(cache=True, nogil=True)
def _best_pair(
    g: Any, state: Any, a: int, b: int, words: Any, most: Any, size_max: int
) -> Any:  # pragma: no cover – compiled
    """(neuron of a, neuron of b) whose exchange gains most within all limits; -1 for none."""
    gain, load, size = state.gain, state.load, state.counts[0]
    ours, theirs = np.empty(BEST, np.int64), np.empty(BEST, np.int64)
    count_a, count_b = _best_of(state, a, b, ours), _best_of(state, b, a, theirs)
    best, first, second = SMALLEST, -1, -1
    for i in range(-1, count_a):
        v = ours[i] if i >= 0 else -1
        for k in range(-1, count_b):
            u = theirs[k] if k >= 0 else -1
            total = (gain[v, b] if v >= 0 else 0.0) + (gain[u, a] if u >= 0 else 0.0)
            if total <= best:
                continue
            more = (words[u] if u >= 0 else 0.0) - (words[v] if v >= 0 else 0.0)
            if (more > 0 and load[a] + more > most[a]) or (more < 0 and load[b] - more > most[b]):
                continue
            if (v < 0 and size[a] >= size_max) or (u < 0 and size[b] >= size_max):
                continue
            if v >= 0 and u >= 0:
                total -= _lost(g, v, u, a, b, state.pins)
            if total > best:
                best, first, second = total, v, u
    return first, second


@njit(cache=True, nogil=True)
def _lost(g: Any, v: int, u: int, a: int, b: int, pins: Any) -> float:  # pragma: no cover – compiled
    """What two moves gain alone but not together: axons of both stay where they are."""
    total = 0.0
    j, k = g.start[v], g.start[u]
    while j < g.start[v + 1] and k < g.start[u + 1]:
        if g.axons[j] < g.axons[k]:
            j += 1
        elif g.axons[j] > g.axons[k]:
            k += 1
        else:
            axon = g.axons[j]
            total += g.weight[axon] * (
                int(pins[axon, a] == 1) + int(pins[axon, b] == 1) - int(pins[axon, b] == 0) - int(pins[axon, a] == 0)
            )
            j += 1
            k += 1
    return total


@njit(cache=True, nogil=True)
def _both(g: Any, state: Any, v: int, u: int, a: int, b: int, words: Any) -> None:  # pragma: no cover – compiled
    """Neuron v from a to b, neuron u from b to a; the one from the larger row first leaves room for the other."""
    if v >= 0:
        _take_off(state, v, a)
    if u >= 0:
        _move(g, state, u, b, a, words)
    if v >= 0:
        _move(g, state, v, a, b, words)


@njit(cache=True, nogil=True)
def _take_off(state: Any, neuron: int, core: int) -> None:  # pragma: no cover – compiled
    size = state.counts[0]
    if state.place[neuron] < 0:
        return
    last = state.members[core, size[core] - 1]
    state.members[core, state.place[neuron]] = last
    state.place[last] = state.place[neuron]
    state.place[neuron] = -1
    size[core] -= 1


@njit(cache=True, nogil=True)
def _move(g: Any, state: Any, neuron: int, x: int, y: int, words: Any) -> None:  # pragma: no cover – compiled
    """One neuron from x to y, with all counts and the gains of all that share an axon with it."""
    core_of, pins, gain, reached = state.core_of, state.pins, state.gain, state.reached
    size, held, _ = state.counts
    _take_off(state, neuron, x)
    state.members[y, size[y]] = neuron
    state.place[neuron] = size[y]
    size[y] += 1
    state.load[x] -= words[neuron]
    state.load[y] += words[neuron]
    _own_axon(g, state, neuron, -1)
    core_of[neuron] = y
    for j in range(g.start[neuron], g.start[neuron + 1]):
        axon = g.axons[j]
        if axon < len(core_of) and axon != neuron:
            _own_axon(g, state, axon, -1)
        pins[axon, x] -= 1
        pins[axon, y] += 1
        gone, new = int(pins[axon, x] == 0), int(pins[axon, y] == 1)
        held[x] -= gone
        held[y] += new
        reached[axon] += new - gone
        if axon < len(core_of) and axon != neuron:
            _own_axon(g, state, axon, 1)
        if pins[axon, x] > 1 and pins[axon, y] > 2:
            continue
        weight = g.weight[axon]
        for k in range(g.fan_start[axon], g.fan_start[axon + 1]):
            other = g.fan[k]
            if other == neuron:
                continue
            home = core_of[other]
            if home == x and pins[axon, x] == 1:
                gain[other, :] += weight
            elif home == y and pins[axon, y] == 2:
                gain[other, :] -= weight
            if gone:
                gain[other, x] -= weight
            if new:
                gain[other, y] += weight
            gain[other, home] = 0
    _own_axon(g, state, neuron, 1)
    _gains(g, state, neuron)
