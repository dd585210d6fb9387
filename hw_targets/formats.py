"""The formats of synapse lists, those of Intel's published compiler for Loihi 1, and the choice among them.

A list belongs to one input axon of a core, or to several whose synapses there are equal. It is cut into parts of one
exponent, each part takes the format that is smallest for it, and a core has room for so many formats only. See
`codec` for the bits.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
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
NEVER = 2**40

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
    """The synapses of a core, sorted by list, exponent and compartment, cut into parts of one list and exponent.

    Attributes:
        lists: (synapses,) index of the list, 0 … lists - 1, rising.
        compartment, weight, delay, exponent: (synapses,).
        start: (parts,) first synapse of each part.
    """

    lists: Ints
    compartment: Ints
    weight: Ints
    delay: Ints
    exponent: Ints
    start: Ints

    @classmethod
    def of(cls, lists: Ints, compartment: Ints, weight: Ints, delay: Ints, exponent: Ints) -> Parts:
        """From synapses in any order."""
        order = np.lexsort((compartment, exponent, lists))
        return cls.cut(*(column[order] for column in (lists, compartment, weight, delay, exponent)))

    @classmethod
    def cut(cls, lists: Ints, compartment: Ints, weight: Ints, delay: Ints, exponent: Ints) -> Parts:
        """From sorted synapses."""
        first = np.ones(len(lists), bool)
        first[1:] = (np.diff(lists) != 0) | (np.diff(exponent) != 0)
        return cls(lists, compartment, weight, delay, exponent, np.flatnonzero(first))

    @property
    def delay_bits(self) -> int:
        return int(self.delay.max(initial=0)).bit_length()

    @property
    def count(self) -> Ints:
        """(parts,) synapses of each part."""
        return np.diff(self.start, append=len(self.lists))

    def gaps(self) -> Ints:
        """(synapses,) compartments skipped since the synapse before; -1 where a part begins."""
        gap = np.diff(self.compartment, prepend=0) - 1
        gap[self.start] = -1
        return gap

    def sizes(self, shapes: list[Format]) -> Ints:
        """(formats, parts, 2): entries and slots of each part in each format of one exponent."""
        stop = np.append(self.start[1:], len(self.lists))
        rows = np.array([(shape.kind, shape.longest_gap) for shape in shapes], np.int64)
        sizes: Ints = _sizes(self.compartment, self.start, stop, rows)
        return sizes


@njit(cache=True, nogil=True)
def _sizes(compartment: Any, start: Any, stop: Any, rows: Any) -> Any:  # pragma: no cover – compiled
    out = np.zeros((len(rows), len(start), 2), np.int64)
    for part in range(len(start)):
        for row in range(len(rows)):
            kind, longest = rows[row]
            if kind == 0:
                count = stop[part] - start[part]
                out[row, part, 0], out[row, part, 1] = (count + 59) // 60, count
                continue
            run = 1
            entries = slots = 0
            for j in range(start[part] + 1, stop[part]):
                gap = compartment[j] - compartment[j - 1] - 1
                if gap > longest:
                    entries += (run + 59) // 60
                    slots += run
                    run = 1
                else:
                    run += gap + 1 if kind == 2 else 1
            out[row, part, 0], out[row, part, 1] = entries + (run + 59) // 60, slots + run
    return out


@dataclass(frozen=True, eq=False)
class Packing:
    """The format of every part, at most as many different ones as the core has, and the exact sizes.

    Attributes:
        formats: the core's format table.
        choice: (parts,) row of the table.
        entries, slots: (parts,) of each part in its format; a slot holds a synapse or a zero written in.
        bits: (lists,) of each list, with headers, without rounding.
        words: (lists,) of each list.
    """

    formats: tuple[Format, ...]
    choice: Ints
    entries: Ints
    slots: Ints
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
    own = parts.exponent[parts.start]
    shapes = candidates(compartments, parts.delay_bits, 0)
    if not len(own):
        empty = np.zeros(0, np.int64)
        return Packing((), empty, empty, empty, empty, empty)
    sizes = parts.sizes(shapes)
    header = np.array([HEADER_BITS + shape.prefix_bits for shape in shapes])[:, None]
    plain = sizes[:, :, 0] * header + sizes[:, :, 1] * np.array([shape.slot_bits for shape in shapes])[:, None]
    exponents, group = np.unique(own, return_inverse=True)
    kept = _keep_formats(plain, group.reshape(-1), len(exponents), formats_limit)
    every = np.arange(len(own))
    shape = np.argmin(np.where(kept[group], plain.T, NEVER), axis=1)
    used, choice = np.unique(group * len(shapes) + shape, return_inverse=True)
    bits = np.bincount(parts.lists[parts.start], plain[shape, every]).astype(np.int64)
    entries, slots = sizes[shape, every].T
    table = [replace(shapes[i % len(shapes)], exponent=int(exponents[i // len(shapes)])) for i in used.tolist()]
    return Packing(tuple(table), choice.reshape(-1), entries, slots, bits, words_of(bits))


@njit(cache=True, nogil=True)
def _keep_formats(bits: Any, group: Any, groups: int, limit: int) -> Any:  # pragma: no cover – compiled
    """(groups, formats) those that stay; the one whose loss costs least goes first, each exponent keeps one.

    More exponents than rows is the caller's error. `bits`: (formats, parts), `group`: (parts,) exponents.
    """
    formats, parts = bits.shape
    kept = np.zeros((groups, formats), np.bool_)
    for part in range(parts):
        kept[group[part], np.argmin(bits[:, part])] = True
    while kept.sum() > limit:
        loss = np.zeros((groups, formats), np.int64)
        for part in range(parts):
            own = kept[group[part]]
            best, first, second = -1, NEVER, NEVER
            for row in range(formats):
                if own[row] and bits[row, part] < first:
                    best, first, second = row, bits[row, part], first
                elif own[row] and bits[row, part] < second:
                    second = bits[row, part]
            loss[group[part], best] += second - first
        least, at = NEVER, -1
        for i in range(groups * formats):
            number, row = i // formats, i % formats
            if kept[number, row] and kept[number].sum() > 1 and loss[number, row] < least:
                least, at = loss[number, row], i
        if at < 0:
            break
        kept[at // formats, at % formats] = False
    return kept
