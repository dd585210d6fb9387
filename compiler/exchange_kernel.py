"""What `exchange` runs in compiled code: exact gains, counts that are kept up with each move, and the search."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

SWEEPS = 30
BEST = 8
"""Neurons of each side that are looked at for a pair."""
SMALLEST = 1e-9


class Graph(NamedTuple):
    """The axons of each neuron, its own among them, and the neurons of each axon."""

    start: Any
    axons: Any
    fan_start: Any
    fan: Any
    weight: Any
    to_itself: Any


class State(NamedTuple):
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


@njit(cache=True, nogil=True)
def count(g: Any, state: Any) -> None:  # pragma: no cover – compiled
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
def run(g: Any, state: Any, words: Any, most: Any, limits: Any) -> int:  # pragma: no cover – compiled
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
