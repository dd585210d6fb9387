"""`Netlist`: all neurons of a network in one numbering, all synapses of the chip sorted by target."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..hw_targets.formats import Parts
from .fixed import FixedNetwork

Ints = NDArray[np.int64]
NONE: Ints = np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class Netlist:
    """Neurons are numbered population by population; sources are the neurons, then the inputs.

    Attributes:
        names: of the populations, then of the inputs.
        base: (populations + inputs + 1,) first source of each.
        neurons: how many neurons there are; a source below this number is a neuron.
        indptr: (neurons + 1,) the synapses of each target neuron.
        source, weight, delay, exponent: (synapses,), sorted by target.
    """

    names: tuple[str, ...]
    base: Ints
    neurons: int
    indptr: Ints
    source: NDArray[np.int32]
    weight: NDArray[np.int16]
    delay: NDArray[np.uint8]
    exponent: NDArray[np.int8]
    _scratch: threading.local = field(default_factory=threading.local, init=False, repr=False)

    @classmethod
    def of(cls, network: FixedNetwork) -> Netlist:
        names = (*(p.name for p in network.populations), *(p.name for p in network.inputs))
        sizes = [network.by_name[name].size for name in names]
        base = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        neurons = sum(p.size for p in network.populations)
        first = dict(zip(names, base.tolist(), strict=False))
        on_chip = [q for q in network.projections if not q.host]
        indptr = np.zeros(neurons + 1, np.int64)
        for q in on_chip:
            begin = first[q.target] + 1
            indptr[begin : begin + q.synapses.n_target] += np.bincount(
                q.synapses.targets, minlength=q.synapses.n_target
            )
        np.cumsum(indptr, out=indptr)
        free = indptr[:-1].copy()
        total = int(indptr[-1])
        columns: list[NDArray[Any]] = [np.empty(total, d) for d in (np.int32, np.int16, np.uint8, np.int8)]
        for q in on_chip:
            s, ends = q.synapses, (first[q.source], first[q.target])
            _by_target(s.indptr, s.targets, s.weights, s.delays, *ends, q.exponent, free, *columns)
        return cls(names, base, neurons, indptr, *columns)

    def population_of(self, source: Ints) -> Ints:
        """(n,) row in `names` of each source."""
        return np.asarray(np.searchsorted(self.base, source, side="right") - 1)

    def label(self, source: int) -> str:
        """How people know a source: population and index.

        >>> from .fixed import FixedInput, FixedPopulation
        >>> n = np.zeros(3, np.int16)
        >>> one = FixedPopulation("hidden", (3,), np.arange(3), 4095, 2048, 100, n, n, 0)
        >>> Netlist.of(FixedNetwork((FixedInput("x", (2,), "rate", 1, 1),), (one,), (), ("hidden",), 4)).label(2)
        'hidden[2]'
        """
        row = int(self.population_of(np.array([source]))[0])
        return f"{self.names[row]}[{source - int(self.base[row])}]"

    @cached_property
    def exponents(self) -> tuple[int, int]:
        """The smallest exponent and how many there are from it to the largest."""
        low = int(self.exponent.min(initial=7))
        return low, max(1, int(self.exponent.max(initial=-8)) - low + 1)

    def _count(self) -> NDArray[np.int32]:
        """Zeros for each source and exponent, and zeros again after each use: a core shall not pay for all sources.

        Each thread has its own.
        """
        if not hasattr(self._scratch, "count"):
            self._scratch.count = np.zeros(int(self.base[-1]) * self.exponents[1], np.int32)
        count: NDArray[np.int32] = self._scratch.count
        return count

    def lists_of(self, neurons: Ints, shared: bool = False) -> CoreLists:
        """The lists of a core with these neurons, in this order.

        Sources with equal fan-out on the core share a list. With `shared`, fan-out that is equal but for a shift of
        all compartments is equal too, and reached by one population axon.
        """
        low, exponents = self.exponents
        arrays = (self.indptr, self.source, self.weight, self.delay, self.exponent)
        key, first, *synapses = _by_source(neurons, *arrays, low, exponents, self._count())
        number = key // exponents
        new = np.flatnonzero(np.diff(number, prepend=-1))
        sources, begin = number[new], first[np.append(new, len(key))]
        compartment, weight, delay, exponent = synapses
        lists, kept = _shared(begin, compartment, weight, delay, exponent, shared)
        length = np.diff(begin)[kept]
        if not len(sources):
            return CoreLists(sources, NONE, NONE, lists, lists, Parts.cut(*([NONE] * 5)))
        alone = np.bincount(lists) == 1
        if shared:
            base = np.where(alone[lists], 0, np.minimum.reduceat(compartment, begin[:-1]))
            axon, of_axon = lists, np.arange(len(kept))
        else:
            base, axon, of_axon = np.zeros(len(sources), np.int64), np.arange(len(sources)), lists
        if len(kept) < len(lists):
            stop = np.cumsum(length)
            rows = np.repeat(begin[kept] - stop + length, length) + np.arange(stop[-1])
            compartment, weight, delay, exponent = (column[rows] for column in synapses)
        compartment = compartment - np.repeat(base[kept], length)
        parts = Parts.cut(np.repeat(np.arange(len(kept)), length), compartment, weight, delay, exponent)
        return CoreLists(sources, axon, base, lists, of_axon, parts)


class CoreLists(NamedTuple):
    """What a core receives, and the synapses that it delivers to.

    Attributes:
        sources: (n,) that have targets on the core, rising.
        axon: (n,) the input axon that the packets of each source address.
        base: (n,) added to each compartment of the list.
        lists: (n,) the list of each source.
        list_of: (input axons,) the list of each.
        parts: the lists' synapses.
    """

    sources: Ints
    axon: Ints
    base: Ints
    lists: Ints
    list_of: Ints
    parts: Parts

    @property
    def population(self) -> NDArray[np.bool_]:
        """(input axons,) whether several sources address it, each with a base."""
        return np.asarray(np.bincount(self.axon, minlength=len(self.list_of)) > 1)


@njit(cache=True, nogil=True)
def _by_target(
    indptr: Any,
    targets: Any,
    weights: Any,
    delays: Any,
    first: int,
    goal: int,
    exponent: int,
    free: Any,
    to_source: Any,
    to_weight: Any,
    to_delay: Any,
    to_exponent: Any,
) -> None:  # pragma: no cover – compiled
    """One projection into the columns of the netlist; `free` is the next row of each target."""
    for i in range(len(indptr) - 1):
        for j in range(indptr[i], indptr[i + 1]):
            at = free[goal + targets[j]]
            free[goal + targets[j]] = at + 1
            to_source[at] = first + i
            to_weight[at] = weights[j]
            to_delay[at] = delays[j]
            to_exponent[at] = exponent


@njit(cache=True, nogil=True)
def _by_source(
    neurons: Any, indptr: Any, source: Any, weight: Any, delay: Any, exponent: Any, low: int, exponents: int, count: Any
) -> Any:  # pragma: no cover – compiled
    """A core's synapses sorted by source, exponent, compartment: keys, first synapse of each (and the end), columns.

    `count` has, and gets back, a zero for each key ``source * exponents + exponent - low``.
    """
    total = 0
    keys = 0
    for neuron in neurons:
        for j in range(indptr[neuron], indptr[neuron + 1]):
            key = source[j] * exponents + exponent[j] - low
            keys += count[key] == 0
            count[key] += 1
            total += 1
    key_of = np.empty(keys, np.int64)
    keys = 0
    for neuron in neurons:
        for j in range(indptr[neuron], indptr[neuron + 1]):
            key = source[j] * exponents + exponent[j] - low
            if count[key] > 0:
                key_of[keys] = key
                keys += 1
                count[key] = -count[key]
    key_of.sort()
    first = np.zeros(keys + 1, np.int64)
    for i in range(keys):
        first[i + 1] = first[i] - count[key_of[i]]
        count[key_of[i]] = first[i]
    columns = np.empty((4, total), np.int64)
    for compartment in range(len(neurons)):
        for j in range(indptr[neurons[compartment]], indptr[neurons[compartment] + 1]):
            key = source[j] * exponents + exponent[j] - low
            at = count[key]
            count[key] += 1
            columns[0, at] = compartment
            columns[1, at] = weight[j]
            columns[2, at] = delay[j]
            columns[3, at] = exponent[j]
    for key in key_of:
        count[key] = 0
    return key_of, first, columns[0], columns[1], columns[2], columns[3]


@njit(cache=True, nogil=True)
def _shared(
    begin: Any, compartment: Any, weight: Any, delay: Any, exponent: Any, shifted: bool
) -> Any:  # pragma: no cover – compiled
    """(lists, kept): for each source the number of its list, and for each list the first source that has it.

    `shifted`: compartments count from the first of each list.
    """
    sources = len(begin) - 1
    digest = np.empty(sources, np.uint64)
    base = np.zeros(sources, np.int64)
    for i in range(sources):
        if shifted:
            base[i] = compartment[begin[i] : begin[i + 1]].min()
        value = np.uint64(begin[i + 1] - begin[i])
        for j in range(begin[i], begin[i + 1]):
            field = ((((compartment[j] - base[i]) * 512 + weight[j] + 256) * 64 + delay[j]) * 16) + exponent[j] + 8
            value = (value ^ np.uint64(field)) * np.uint64(0x9E3779B97F4A7C15)
            value ^= value >> np.uint64(29)
        digest[i] = value
    order = np.argsort(digest, kind="mergesort")
    same = np.arange(sources)
    for position in range(1, sources):
        i, other = order[position], same[order[position - 1]]
        if digest[i] != digest[other] or begin[i + 1] - begin[i] != begin[other + 1] - begin[other]:
            continue
        equal = True
        for k in range(begin[i + 1] - begin[i]):
            a, b = begin[i] + k, begin[other] + k
            if compartment[a] - base[i] != compartment[b] - base[other] or weight[a] != weight[b]:
                equal = False
                break
            if delay[a] != delay[b] or exponent[a] != exponent[b]:
                equal = False
                break
        if equal:
            same[i] = other
    lists = np.empty(sources, np.int64)
    kept = np.empty(sources, np.int64)
    count = 0
    for i in range(sources):
        if same[i] == i:
            lists[i] = count
            kept[count] = i
            count += 1
        else:
            lists[i] = lists[same[i]]
    return lists, kept[:count]
