"""The formats of synapse lists, those of Intel's published compiler for Loihi 1, and the choice among them.

A list belongs to one input axon of a core. It is cut into parts of one exponent, each part takes the format that is
smallest for it, and a core has room for so many formats only. See `codec` for the bits.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HEADER_BITS = 10
COUNT_BITS = 6
ENTRY_SYNAPSES = 60
INDEX_BITS_MIN = 6
SKIP_BITS = (2, 3, 4, 5)
WEIGHT_BITS = 8

Ints = NDArray[np.int64]


class Kind(enum.IntEnum):
    SPARSE = 0
    RUN_LENGTH = 1
    DENSE = 2


@dataclass(frozen=True)
class Format:
    """One row of a core's format table; `exponent` scales the weights: weight = stored * 2 << exponent."""

    kind: Kind
    delay_bits: int
    index_bits: int
    skip_bits: int
    exponent: int
    weight_bits: int = WEIGHT_BITS

    @property
    def prefix_bits(self) -> int:
        return 0 if self.kind == Kind.SPARSE else self.index_bits

    @property
    def slot_bits(self) -> int:
        position = {Kind.SPARSE: self.index_bits, Kind.RUN_LENGTH: self.skip_bits, Kind.DENSE: 0}[self.kind]
        return self.weight_bits + self.delay_bits + position

    @property
    def longest_gap(self) -> int:
        """Compartments that may be left out between two synapses of one entry."""
        if self.kind == Kind.RUN_LENGTH:
            return int(2**self.skip_bits) - 1
        if self.kind == Kind.DENSE:
            return int((HEADER_BITS + self.index_bits - 1) // self.slot_bits)
        return 2**31

    def row(self) -> tuple[int, ...]:
        return (self.kind, self.weight_bits, self.delay_bits, self.index_bits, self.skip_bits, self.exponent)


def index_bits(compartments: int) -> int:
    """Bits of a compartment index in a core with so many.

    >>> index_bits(64), index_bits(65), index_bits(1024)
    (6, 7, 10)
    """
    return max(INDEX_BITS_MIN, (compartments - 1).bit_length())


def candidates(compartments: int, delay_bits: int, exponent: int) -> list[Format]:
    """The formats that a part of a list can choose from: sparse, four run-lengths, dense."""
    bits = index_bits(compartments)
    return [
        Format(Kind.SPARSE, delay_bits, bits, 0, exponent),
        *(Format(Kind.RUN_LENGTH, delay_bits, bits, skip, exponent) for skip in SKIP_BITS),
        Format(Kind.DENSE, delay_bits, bits, 0, exponent),
    ]


def words_of(bits: Ints) -> Ints:
    """64-bit words of lists with so many bits; room for the ending count included.

    >>> words_of(np.array([58, 59, 64, 65])).tolist()
    [1, 2, 2, 2]
    """
    return (bits + COUNT_BITS + 63) // 64


@dataclass(frozen=True, eq=False)
class Parts:
    """The synapses of a core, sorted by axon, exponent and compartment, cut into parts of one axon and exponent.

    Attributes:
        axon: (synapses,) index of the axon, 0 … axons - 1, rising.
        compartment, weight, delay, exponent: (synapses,).
        start: (parts,) first synapse of each part.
    """

    axon: Ints
    compartment: Ints
    weight: Ints
    delay: Ints
    exponent: Ints
    start: Ints

    @classmethod
    def of(cls, axon: Ints, compartment: Ints, weight: Ints, delay: Ints, exponent: Ints) -> Parts:
        order = np.lexsort((compartment, exponent, axon))
        axon, compartment, exponent = axon[order], compartment[order], exponent[order]
        first = np.ones(len(axon), bool)
        first[1:] = (np.diff(axon) != 0) | (np.diff(exponent) != 0)
        return cls(axon, compartment, weight[order], delay[order], exponent, np.flatnonzero(first))

    @property
    def delay_bits(self) -> int:
        return int(self.delay.max(initial=0)).bit_length()

    @property
    def count(self) -> Ints:
        """(parts,) synapses of each part."""
        return np.diff(self.start, append=len(self.axon))

    def gaps(self) -> Ints:
        """(synapses,) compartments skipped since the synapse before; -1 where a part begins."""
        gap = np.diff(self.compartment, prepend=0) - 1
        gap[self.start] = -1
        return gap

    def bits(self, shape: Format) -> Ints:
        """(parts,) bits of each part in a format, headers included."""
        count = self.count
        if shape.kind == Kind.SPARSE:
            return HEADER_BITS * -(-count // ENTRY_SYNAPSES) + count * shape.slot_bits
        gap = self.gaps()
        run_start = np.flatnonzero((gap < 0) | (gap > shape.longest_gap))
        slots = np.diff(run_start, append=len(gap))
        if shape.kind == Kind.DENSE:
            last = self.compartment[np.append(run_start[1:], len(gap)) - 1]
            slots = last - self.compartment[run_start] + 1
        run_bits = (HEADER_BITS + shape.prefix_bits) * -(-slots // ENTRY_SYNAPSES) + slots * shape.slot_bits
        return np.add.reduceat(run_bits, np.searchsorted(run_start, self.start))


@dataclass(frozen=True, eq=False)
class Packing:
    """The format of every part, at most as many different ones as the core has, and the exact sizes.

    Attributes:
        formats: the core's format table.
        choice: (parts,) row of the table.
        bits: (axons,) of each list, with headers, without rounding.
        words: (axons,) of each list.
    """

    formats: tuple[Format, ...]
    choice: Ints
    bits: Ints
    words: Ints


def pack(parts: Parts, compartments: int, formats_limit: int) -> Packing:
    """Chooses the smallest format of each part; where the table is too small, the formats that save least go first.

    >>> one = np.zeros(3, np.int64)
    >>> parts = Parts.of(one, np.array([4, 5, 6]), one + 2, one, one)
    >>> packing = pack(parts, compartments=100, formats_limit=7)
    >>> packing.formats[0].kind.name, packing.bits.tolist(), packing.words.tolist()
    ('DENSE', [41], [1])
    """
    exponents = np.unique(parts.exponent)
    own = parts.exponent[parts.start]
    table: list[Format] = []
    costs: list[Ints] = []
    for exponent in exponents.tolist():
        for shape in candidates(compartments, parts.delay_bits, exponent):
            table.append(shape)
            costs.append(np.where(own == exponent, parts.bits(shape), 2**40))
    if not table:
        empty = np.zeros(0, np.int64)
        return Packing((), empty, empty, empty)
    cost = np.stack(costs)
    kept = _keep_formats(cost, table, formats_limit)
    best = np.argmin(cost[kept], axis=0)
    used = np.unique(best)
    bits = np.bincount(parts.axon[parts.start], cost[kept][best, np.arange(len(best))]).astype(np.int64)
    rank = np.searchsorted(used, best)
    return Packing(tuple(table[kept[i]] for i in used), rank, bits, words_of(bits))


def _keep_formats(cost: Ints, table: list[Format], limit: int) -> list[int]:
    """Rows of `table` that stay; each exponent keeps at least one. More exponents than rows is the caller's error."""
    kept = sorted(set(np.argmin(cost, axis=0).tolist()))
    while len(kept) > limit:
        losses = []
        for row in kept:
            others = [k for k in kept if k != row]
            if any(table[k].exponent == table[row].exponent for k in others):
                losses.append((int(cost[others].min(axis=0).sum()), row))
        if not losses:
            break
        kept.remove(min(losses)[1])
    return kept
