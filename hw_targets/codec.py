"""Synapse lists as bits, written and read; `formats` says which format a list takes.

A list begins at a 64-bit word. It is a row of entries; an entry holds up to 60
synapses of one format, bits from the least significant end::

    entry = count (6) | format id (4) | prefix | count * slot        slot = weight | delay | position
      sparse      no prefix                       position = compartment, index bits
      run-length  prefix = first compartment      position = compartments skipped since the one before, skip bits
      dense       prefix = first compartment      no position: one compartment after the other, zeros written in

A count of 0 ends the list, so at least six zero bits follow its last entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .formats import WEIGHT_BITS, Ints, Kind, Packing, Parts


def write(parts: Parts, packing: Packing) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """The words of all lists, one after the other, and the word at which each list starts, (lists,)."""
    starts = np.concatenate([[0], np.cumsum(packing.words)])
    words = np.zeros(int(starts[-1]), np.uint64)
    if not len(parts.lists):
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
        parts.lists,
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


@njit(cache=True, nogil=True)
def _put(words: Any, at: int, value: int, width: int) -> int:  # pragma: no cover – compiled
    word, bit = at >> 6, at & 63
    mask = (np.uint64(1) << np.uint64(width)) - np.uint64(1)
    field = np.uint64(value) & mask
    words[word] |= field << np.uint64(bit)
    if bit + width > 64:
        words[word + 1] |= field >> np.uint64(64 - bit)
    return at + width


@njit(cache=True, nogil=True)
def _get(words: Any, at: int, width: int) -> int:  # pragma: no cover – compiled
    if width == 0:
        return 0
    word, bit = at >> 6, at & 63
    value = words[word] >> np.uint64(bit)
    if bit + width > 64:
        value |= words[word + 1] << np.uint64(64 - bit)
    value &= (np.uint64(1) << np.uint64(width)) - np.uint64(1)
    return np.int64(value)  # type: ignore[return-value]  # numba: not an unsigned number


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
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
