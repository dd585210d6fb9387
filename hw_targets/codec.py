"""Synapse lists as bits: the three formats of Intel's published compiler for Loihi 1.

A list belongs to one input axon of a core and begins at a 64-bit word. It is a row of entries; an entry holds up to 60
synapses of one format, bits from the least significant end::

    entry = count (6) | format id (4) | prefix | count * slot        slot = weight | delay | position
      sparse      no prefix                       position = compartment, index bits
      run-length  prefix = first compartment      position = compartments skipped since the one before, skip bits
      dense       prefix = first compartment      no position: one compartment after the other, zeros written in

A count of 0 ends the list, so at least six zero bits follow its last entry.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
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


def write(parts: Parts, packing: Packing) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """The words of all lists, one after the other, and the word at which each list starts, (axons,)."""
    starts = np.concatenate([[0], np.cumsum(packing.words)])
    words = np.zeros(int(starts[-1]), np.uint64)
    if not len(parts.axon):
        return words, starts[:-1].astype(np.uint32)
    rows = np.array([shape.row() for shape in packing.formats], np.int64)
    part = np.repeat(np.arange(len(parts.start)), parts.count)
    longest = np.array([shape.longest_gap for shape in packing.formats])
    gap = parts.gaps()
    choice = packing.choice[part]
    new_run = (gap < 0) | (gap > longest[choice])
    fill = np.where(new_run | (rows[choice, 0] != Kind.DENSE), 0, gap)
    _write_lists(
        words,
        starts[:-1] * 64,
        parts.axon,
        parts.compartment,
        parts.weight >> 1,
        parts.delay,
        choice,
        new_run,
        fill,
        gap,
        rows,
    )
    return words, starts[:-1].astype(np.uint32)


@njit(cache=True)
def _put(words: Any, at: int, value: int, width: int) -> int:  # pragma: no cover – compiled
    word, bit = at >> 6, at & 63
    mask = (np.uint64(1) << np.uint64(width)) - np.uint64(1)
    field = np.uint64(value) & mask
    words[word] |= field << np.uint64(bit)
    if bit + width > 64:
        words[word + 1] |= field >> np.uint64(64 - bit)
    return at + width


@njit(cache=True)
def _get(words: Any, at: int, width: int) -> int:  # pragma: no cover – compiled
    if width == 0:
        return 0
    word, bit = at >> 6, at & 63
    value = words[word] >> np.uint64(bit)
    if bit + width > 64:
        value |= words[word + 1] << np.uint64(64 - bit)
    value &= (np.uint64(1) << np.uint64(width)) - np.uint64(1)
    return np.int64(value)  # type: ignore[return-value]  # numba: not an unsigned number


@njit(cache=True)
def _write_lists(
    words: Any,
    list_bit: Any,
    axon: Any,
    compartment: Any,
    weight: Any,
    delay: Any,
    choice: Any,
    new_run: Any,
    fill: Any,
    gap: Any,
    rows: Any,
) -> None:  # pragma: no cover – compiled
    total = len(axon)
    i = 0
    at = 0
    while i < total:
        if i == 0 or axon[i] != axon[i - 1]:
            at = list_bit[axon[i]]
        kind, weight_bits, delay_bits, index_width, skip_bits = rows[choice[i]][:5]
        stop = i + 1
        slots = 1
        while stop < total and not new_run[stop]:
            slots += fill[stop] + 1
            stop += 1
        written = 0
        pending = 0
        synapse = i
        while written < slots:
            if written % 60 == 0:
                at = _put(words, at, min(60, slots - written), 6)
                at = _put(words, at, choice[i], 4)
                if kind != 0:
                    at = _put(words, at, compartment[synapse] - pending, index_width)
            if pending > 0:
                at = _put(words, at, 0, weight_bits + delay_bits)
                pending -= 1
            else:
                at = _put(words, at, weight[synapse], weight_bits)
                at = _put(words, at, delay[synapse], delay_bits)
                if kind == 0:
                    at = _put(words, at, compartment[synapse], index_width)
                elif kind == 1:
                    at = _put(words, at, gap[synapse] if written % 60 else 0, skip_bits)
                synapse += 1
                if synapse < stop:
                    pending = fill[synapse]
            written += 1
        i = stop


@dataclass(frozen=True, eq=False)
class Entries:
    """Synapses as they were read: (synapses,) axon, compartment, weight, delay and exponent."""

    axon: Ints
    compartment: Ints
    weight: Ints
    delay: Ints
    exponent: Ints


def read(
    words: NDArray[np.uint64],
    starts: NDArray[Any],
    lengths: NDArray[Any],
    rows: NDArray[Any],
    compartments: int,
) -> Entries:
    """The synapses of all lists; every index is checked.

    Raises:
        ValueError: a list leaves the memory, names a format or compartment that is not there, or has no end.
    """
    rows = np.ascontiguousarray(rows, np.int64).reshape(-1, 6)
    starts, lengths = starts.astype(np.int64), lengths.astype(np.int64)
    if len(starts) != len(lengths) or (len(starts) and int((starts + lengths).max()) > len(words)):
        raise ValueError("a synapse list leaves the core's memory")
    for row in rows.tolist():
        if not (
            0 <= row[0] <= 2 and row[1] == WEIGHT_BITS and 0 <= row[2] <= 6 and 0 <= row[3] <= 16 and 0 <= row[4] <= 5
        ):
            raise ValueError(f"the format {row} is not one of this chip's")
    columns = np.zeros((5, 0), np.int64)
    total = _read_lists(words, starts, lengths, rows, compartments, columns, False)
    if total < 0:
        raise ValueError(_READ_FAULTS[-total])
    columns = np.zeros((5, total), np.int64)
    _read_lists(words, starts, lengths, rows, compartments, columns, True)
    return Entries(*columns)


_READ_FAULTS = {
    1: "a synapse list has no end",
    2: "a synapse list names a format that is not in the core's table",
    3: "a synapse names a compartment that the core has not",
}


@njit(cache=True)
def _read_lists(
    words: Any, starts: Any, lengths: Any, rows: Any, compartments: int, out: Any, fill: bool
) -> int:  # pragma: no cover – compiled
    total = 0
    for axon in range(len(starts)):
        at = starts[axon] * 64
        end = at + lengths[axon] * 64
        while True:
            if at + 6 > end:
                return -1
            count = _get(words, at, 6)
            if count == 0:
                break
            if at + 10 > end:
                return -1
            shape = _get(words, at + 6, 4)
            at += 10
            if shape >= len(rows):
                return -2
            kind, weight_bits, delay_bits, index_width, skip_bits, exponent = rows[shape]
            place = 0
            if kind != 0:
                if at + index_width > end:
                    return -1
                place = _get(words, at, index_width)
                at += index_width
            position = index_width if kind == 0 else (skip_bits if kind == 1 else 0)
            if at + count * (weight_bits + delay_bits + position) > end:
                return -1
            for i in range(count):
                weight = _get(words, at, weight_bits)
                delay = _get(words, at + weight_bits, delay_bits)
                field = _get(words, at + weight_bits + delay_bits, position)
                at += weight_bits + delay_bits + position
                if kind == 0:
                    place = field
                elif kind == 1:
                    place += field + (1 if i else 0)
                elif i:
                    place += 1
                if place >= compartments:
                    return -3
                if weight:
                    if fill:
                        out[0, total] = axon
                        out[1, total] = place
                        out[2, total] = 2 * (weight - 256 if weight >= 128 else weight)
                        out[3, total] = delay
                        out[4, total] = exponent
                    total += 1
    return total
