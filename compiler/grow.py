"""Growing a core: the neuron that shares most of its axons with those that stand there comes next.

An axon is a source with its targets, a hyperedge; its weight is what one more core for it costs. A neuron's score is
the share of its axons, by weight, that the core has already; neurons wait in buckets by score, the latest first.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from ..hw_targets.chip import Chip
from .fill import ADDED, FULL, MEMORY, SIZE, WORDS, WORDS_MAX, Core, clear, try_add
from .fixed import FixedNetwork
from .limits import measure
from .netlist import NONE, Ints, Netlist
from .nodes import FloatArray
from .order import ordered
from .settle import Progress, proven

BUCKETS = 1024
REFUSALS = 64
"""Neurons that may not fit one after the other before a core is left."""


class Frontier(NamedTuple):
    """The axons, flat for compiled code, and the neurons that wait for the core that grows."""

    fan_start: Any
    fan: Any
    weight: Any
    """(sources,) of each axon."""
    whole: Any
    """(neurons,) weight of all axons of a neuron, its own among them."""
    placed: Any
    gain: Any
    stamp: Any
    """(sources,) the last core that has the axon."""
    bucket: Any
    after: Any
    before: Any
    head: Any
    reached: Any


def new_frontier(netlist: Netlist, weight: FloatArray) -> Frontier:
    """All neurons unplaced; `weight`: (sources,) of each axon."""
    sources, neurons = int(netlist.base[-1]), netlist.neurons
    fan_start, fan = fan_out(netlist)
    whole = np.bincount(
        np.repeat(np.arange(neurons), np.diff(netlist.indptr)), weight[netlist.source], neurons
    ) + np.where(np.diff(fan_start)[:neurons] > 0, weight[:neurons], 0)
    return Frontier(
        fan_start,
        fan,
        weight,
        np.maximum(whole, 1e-12),
        np.zeros(neurons, np.bool_),
        np.zeros(neurons),
        np.full(sources, -1, np.int32),
        np.full(neurons, -1, np.int32),
        np.full(neurons, -1, np.int32),
        np.full(neurons, -1, np.int32),
        np.full(BUCKETS, -1, np.int32),
        np.zeros(neurons, np.int32),
    )


def fan_out(netlist: Netlist) -> tuple[Ints, Any]:
    """(start, targets) of every source."""
    start = np.zeros(int(netlist.base[-1]) + 1, np.int64)
    np.cumsum(np.bincount(netlist.source, minlength=len(start) - 1), out=start[1:])
    targets = np.empty(len(netlist.source), np.int32)
    _transpose(netlist.indptr, netlist.source, start[:-1].copy(), targets)
    return start, targets


@njit(cache=True, nogil=True)
def _transpose(indptr: Any, source: Any, free: Any, targets: Any) -> None:  # pragma: no cover – compiled
    for neuron in range(len(indptr) - 1):
        for j in range(indptr[neuron], indptr[neuron + 1]):
            targets[free[source[j]]] = neuron
            free[source[j]] += 1


@njit(cache=True, nogil=True)
def _take_out(f: Any, neuron: int) -> None:  # pragma: no cover – compiled
    after, before = f.after[neuron], f.before[neuron]
    if after >= 0:
        f.before[after] = before
    if before >= 0:
        f.after[before] = after
    else:
        f.head[f.bucket[neuron]] = after
    f.bucket[neuron] = -1


@njit(cache=True, nogil=True)
def _put_in(f: Any, neuron: int, bucket: int) -> None:  # pragma: no cover – compiled
    f.bucket[neuron] = bucket
    f.before[neuron] = -1
    f.after[neuron] = f.head[bucket]
    if f.head[bucket] >= 0:
        f.before[f.head[bucket]] = neuron
    f.head[bucket] = neuron


@njit(cache=True, nogil=True)
def _raise_score(f: Any, neuron: int, weight: float, count: int) -> Any:  # pragma: no cover – compiled
    """(neurons reached, bucket): a waiting neuron whose axon came to the core."""
    if f.placed[neuron] or f.bucket[neuron] == -2:
        return count, -1
    if f.gain[neuron] == 0 and f.bucket[neuron] == -1:
        f.reached[count] = neuron
        count += 1
    f.gain[neuron] += weight
    bucket = min(BUCKETS - 1, int(f.gain[neuron] / f.whole[neuron] * (BUCKETS - 1)))
    if bucket != f.bucket[neuron]:
        if f.bucket[neuron] >= 0:
            _take_out(f, neuron)
        _put_in(f, neuron, bucket)
    return count, bucket


@njit(cache=True, nogil=True)
def grow(core: Any, f: Any, number: int, first: int, seeds: Any) -> int:  # pragma: no cover – compiled
    """One core, `seeds` before all others; `core.members` are its neurons. Returns the first that has no core yet.

    `number` is a new one each time; no neuron below `first` waits for a core.
    """
    clear(core)
    trial = np.zeros(15, np.int32)
    count, top, refused = 0, -1, 0
    seed, given = first, 0
    while refused < REFUSALS or given < len(seeds):
        while top >= 0 and f.head[top] < 0:
            top -= 1
        if given < len(seeds):
            neuron = seeds[given]
            given += 1
            if f.bucket[neuron] >= 0:
                _take_out(f, neuron)
            elif f.gain[neuron] == 0:
                f.reached[count] = neuron
                count += 1
        elif top >= 0:
            neuron = f.head[top]
            _take_out(f, neuron)
        else:
            while seed < len(f.placed) and (f.placed[seed] or f.bucket[seed] == -2):
                seed += 1
            if seed == len(f.placed):
                break
            neuron = seed
            f.reached[count] = neuron
            count += 1
        done = try_add(core, neuron, trial)
        if done == FULL:
            break
        if done != ADDED:
            f.bucket[neuron] = -2
            refused += 1
            continue
        refused = 0
        f.placed[neuron] = True
        begin = core.indptr[neuron]
        for j in range(begin - 1, core.indptr[neuron + 1]):
            source = neuron if j < begin else core.source[j]
            if f.stamp[source] == number:
                continue
            f.stamp[source] = number
            for k in range(f.fan_start[source], f.fan_start[source + 1]):
                count, bucket = _raise_score(f, f.fan[k], f.weight[source], count)
                top = max(top, bucket)
            if source < len(f.placed):
                count, bucket = _raise_score(f, source, f.weight[source], count)
                top = max(top, bucket)
    for i in range(count):
        f.gain[f.reached[i]] = 0
        f.bucket[f.reached[i]] = -1
    f.head[:] = -1
    while first < len(f.placed) and f.placed[first]:
        first += 1
    return first


class Grower:
    """Grows cores, one after the other, for one network and chip.

    Attributes:
        core, frontier: what compiled code works on.
        first: no neuron below waits for a core.
    """

    def __init__(self, network: FixedNetwork, core: Core, weight: FloatArray, chip: Chip) -> None:
        self.network, self.core, self.chip = network, core, chip
        self.frontier = new_frontier(network.netlist, weight)
        self.first = self.number = self.saved = 0

    def next_core(self, seeds: Ints = NONE) -> Ints:
        """One core, in the order of its compartments; grown again where sharing and order saved much."""
        before = self.first
        kept, saved = self._attempt(seeds)
        waiting = self.first < self.network.netlist.neurons
        if waiting and len(kept) and saved > self.saved + self.chip.synapse_words // 64:
            self._release(kept, before)
            self.saved = saved
            kept, saved = self._attempt(seeds)
        self.saved = max(0, saved)
        return kept

    def _attempt(self, seeds: Ints) -> tuple[Ints, int]:
        """(neurons, words that they take less than was counted; 0 where some had to be given back)."""
        core, chip = self.core, self.chip
        core.limits[[WORDS_MAX, MEMORY]] = np.array([chip.synapse_words, chip.memory_words]) + self.saved
        self.number += 1
        self._release(seeds, self.first)
        self.first = grow(core, self.frontier, self.number, self.first, seeds)
        members = core.members[: core.now[SIZE]].copy()
        if not len(members):  # more than what was counted: `proven` has the last word
            members = (seeds if len(seeds) else np.array([self.first]))[:1]
            self.frontier.placed[members] = True
        kept = ordered(self.network, members, chip)
        problem, words = measure(self.network, kept, chip)
        if problem is None:
            return kept, int(core.now[WORDS]) - words
        kept = members[: proven(self.network, members, chip)[0]]
        self._release(members[len(kept) :], self.first)
        return kept, 0

    def _release(self, neurons: Ints, first: int) -> None:
        """These neurons wait for a core again."""
        self.frontier.placed[neurons] = False
        self.first = int(neurons.min(initial=first))

    def rest(self, progress: Progress | None = None) -> list[Ints]:
        """Cores for all that wait."""
        slices: list[Ints] = []
        placed = self.frontier.placed
        while True:
            while self.first < len(placed) and placed[self.first]:
                self.first += 1
            if self.first == len(placed):
                return slices
            slices.append(self.next_core())
            if progress is not None:
                progress(int(placed.sum()), len(placed))


def grow_all(
    network: FixedNetwork, core: Core, weight: FloatArray, chip: Chip, progress: Progress | None
) -> list[Ints]:
    """All cores, one after the other; `weight`: (sources,) of each axon."""
    return Grower(network, core, weight, chip).rest(progress)


def grow_from(network: FixedNetwork, core: Core, weight: FloatArray, chip: Chip, blocks: list[Ints]) -> list[Ints]:
    """Cores that hold as much of each block as fits; what does not fit goes to cores with room, then to new ones."""
    grower = Grower(network, core, weight, chip)
    grower.frontier.placed[:] = True
    grower.first = network.netlist.neurons
    for _ in range(2):  # the second time, cores with room take what others could not hold
        for i, block in enumerate(blocks):
            kept = grower.next_core(block)
            blocks[i] = kept
    return [*blocks, *grower.rest()]
