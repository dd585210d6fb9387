"""Filling one core neuron by neuron, with the exact packed size known after each: what `partition` walks with.

The size of every list in all six formats is kept and extended by one synapse at a time. Exact as long as a core
has room for all formats and no two lists are equal; `partition.excess` has the last word.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from ..hw_targets.chip import Chip
from ..hw_targets.formats import COUNT_BITS, ENTRY_SYNAPSES, HEADER_BITS, INDEX_BITS_MIN, WEIGHT_BITS
from .fixed import FixedNetwork

SIZE, WORDS, AXONS, PARTS, OUT, INDEX, DELAY, COMPARTMENT_PROFILES, THRESHOLD_PROFILES = range(9)
"""Columns of `Core.now`, the core's state."""
NEURONS, WORDS_MAX, MEMORY, PER_NEURON, AXONS_MAX, LIST, OUT_MAX, INDEX_MAX, CP_MAX, TP_MAX = range(10)
"""Columns of `Core.limits`."""
OF_AXON, COUNT, LAST, OPEN, ENTRIES, SLOTS, BITS = 0, 1, 2, 3, 8, 13, 14
"""Columns of a part: its axon, synapses, last compartment, slots of the open run and entries of the four run-lengths
and of dense, slots of dense, bits in the best format."""
ADDED, REFUSED, FULL = range(3)


class Core(NamedTuple):
    """The netlist, the limits and the core that is being filled, flat for compiled code."""

    indptr: Any
    source: Any
    exponent: Any
    """(synapses,) from the lowest of the network on."""
    delay_bits: Any
    """(neurons,) that the longest delay of its synapses takes."""
    profiles: Any
    """(neurons, 2) numbers of its decays and of its threshold."""
    out: Any
    """(neurons,) output-axon entries that it is taken to need."""
    limits: Any
    exponents: int
    members: Any
    part_at: Any
    axon_at: Any
    """For each source and exponent its part, for each source its axon, or -1."""
    parts: Any
    keys: Any
    axon_bits: Any
    axon_source: Any
    used: Any
    now: Any


def empty_core(network: FixedNetwork, chip: Chip) -> Core:
    """A core without neurons."""
    netlist, limits = network.netlist, chip.limits
    low, exponents = netlist.exponents
    delays = np.zeros(netlist.neurons, np.int64)
    if netlist.delay.any():
        some = np.flatnonzero(np.diff(netlist.indptr))
        delays[some] = np.maximum.reduceat(netlist.delay, netlist.indptr[some])
    numbers = network.profile_numbers
    sources = int(netlist.base[-1])
    axons = min(limits.in_axons_per_core[0], sources) + 1
    unlimited = 2**31
    return Core(
        netlist.indptr,
        netlist.source,
        (netlist.exponent.astype(np.int64) - low).astype(np.int8),
        np.ceil(np.log2(delays + 1)).astype(np.int64),
        np.column_stack(numbers),
        np.zeros(netlist.neurons, np.int64),
        np.array(
            [
                chip.neurons_per_core,
                chip.synapse_words,
                chip.memory_words,
                limits.words_per_neuron[0],
                limits.in_axons_per_core[0],
                limits.words_per_list[0],
                limits.out_axons_per_core[0],
                limits.index_bits_max[0],
                limits.compartment_profiles_per_core[0] or unlimited,
                limits.threshold_profiles_per_core[0] or unlimited,
            ],
            np.int64,
        ),
        exponents,
        np.empty(min(chip.neurons_per_core, netlist.neurons) + 1, np.int64),
        np.full(sources * exponents, -1, np.int32),
        np.full(sources, -1, np.int32),
        np.zeros((axons * exponents, 15), np.int32),
        np.zeros(axons * exponents, np.int64),
        np.zeros(axons, np.int64),
        np.zeros(axons, np.int64),
        np.zeros((2, 1 + max(int(own.max(initial=0)) for own in numbers)), np.int64),
        np.zeros(9, np.int64),
    )


@njit(cache=True, nogil=True)
def clear(core: Any) -> None:  # pragma: no cover – compiled
    """Takes all neurons off the core."""
    _clear_lists(core)
    core.used[:] = 0
    core.now[:] = 0
    core.now[INDEX] = INDEX_BITS_MIN


@njit(cache=True, nogil=True)
def _clear_lists(core: Any) -> None:  # pragma: no cover – compiled
    for part in range(core.now[PARTS]):
        core.part_at[core.keys[part]] = -1
    for axon in range(core.now[AXONS]):
        core.axon_at[core.axon_source[axon]] = -1
    core.now[PARTS] = core.now[AXONS] = core.now[WORDS] = 0


@njit(cache=True, nogil=True)
def _words(bits: int) -> int:  # pragma: no cover – compiled
    return (bits + COUNT_BITS + 63) // 64 if bits else 0


@njit(cache=True, nogil=True)
def _extend(part: Any, compartment: int, index: int, delay: int) -> None:  # pragma: no cover – compiled
    """One more synapse at the end of a part: new sizes in every format."""
    base = WEIGHT_BITS + delay
    gap = compartment - part[LAST] - 1
    new = part[COUNT] == 0
    part[COUNT] += 1
    part[LAST] = compartment
    count = part[COUNT]
    best = HEADER_BITS * ((count + ENTRY_SYNAPSES - 1) // ENTRY_SYNAPSES) + count * (base + index)
    for i in range(4):
        if new or gap >= 1 << (i + 2):
            part[OPEN + i] = 1
            part[ENTRIES + i] += 1
        else:
            if part[OPEN + i] % ENTRY_SYNAPSES == 0:
                part[ENTRIES + i] += 1
            part[OPEN + i] += 1
        best = min(best, (HEADER_BITS + index) * part[ENTRIES + i] + count * (base + i + 2))
    if new or gap > (HEADER_BITS + index - 1) // base:
        part[OPEN + 4] = 1
        part[ENTRIES + 4] += 1
        part[SLOTS] += 1
    else:
        before = (part[OPEN + 4] + ENTRY_SYNAPSES - 1) // ENTRY_SYNAPSES
        part[OPEN + 4] += gap + 1
        part[ENTRIES + 4] += (part[OPEN + 4] + ENTRY_SYNAPSES - 1) // ENTRY_SYNAPSES - before
        part[SLOTS] += gap + 1
    part[BITS] = min(best, (HEADER_BITS + index) * part[ENTRIES + 4] + part[SLOTS] * base)


@njit(cache=True, nogil=True)
def _trial(core: Any, neuron: int, trial: Any) -> Any:  # pragma: no cover – compiled
    """(words, axons, longest list) that the core would have with this neuron after the others."""
    words, axons, longest = core.now[WORDS], core.now[AXONS], 0
    for j in range(core.indptr[neuron], core.indptr[neuron + 1]):
        source = core.source[j]
        axon, before = core.axon_at[source], 0
        trial[:] = 0
        if axon < 0:
            axons += 1
        else:
            before = core.axon_bits[axon]
            part = core.part_at[source * core.exponents + core.exponent[j]]
            if part >= 0:
                trial[:] = core.parts[part]
        old = trial[BITS]
        _extend(trial, core.now[SIZE], core.now[INDEX], core.now[DELAY])
        own = _words(before - old + trial[BITS])
        words += own - _words(before)
        longest = max(longest, own)
    return words, axons, longest


@njit(cache=True, nogil=True)
def _put(core: Any, neuron: int, compartment: int) -> None:  # pragma: no cover – compiled
    """The synapses of a neuron into the lists."""
    now = core.now
    for j in range(core.indptr[neuron], core.indptr[neuron + 1]):
        source = core.source[j]
        key = source * core.exponents + core.exponent[j]
        if core.axon_at[source] < 0:
            core.axon_at[source] = now[AXONS]
            core.axon_source[now[AXONS]] = source
            core.axon_bits[now[AXONS]] = 0
            now[AXONS] += 1
        if core.part_at[key] < 0:
            core.part_at[key] = now[PARTS]
            core.keys[now[PARTS]] = key
            core.parts[now[PARTS], :] = 0
            now[PARTS] += 1
        axon, part = core.axon_at[source], core.parts[core.part_at[key]]
        old = part[BITS]
        _extend(part, compartment, now[INDEX], now[DELAY])
        now[WORDS] -= _words(core.axon_bits[axon])
        core.axon_bits[axon] += part[BITS] - old
        now[WORDS] += _words(core.axon_bits[axon])


@njit(cache=True, nogil=True)
def _recount(core: Any, index: int, delay: int) -> None:  # pragma: no cover – compiled
    """All lists again, with other index or delay bits."""
    _clear_lists(core)
    core.now[INDEX], core.now[DELAY] = index, delay
    for compartment in range(core.now[SIZE]):
        _put(core, core.members[compartment], compartment)


@njit(cache=True, nogil=True)
def _index_bits(compartments: int) -> int:  # pragma: no cover – compiled
    bits = INDEX_BITS_MIN
    while compartments > 1 << bits:
        bits += 1
    return bits


@njit(cache=True, nogil=True)
def _new_profiles(core: Any, neuron: int) -> Any:  # pragma: no cover – compiled
    first = core.used[0, core.profiles[neuron, 0]] == 0
    return int(first), int(core.used[1, core.profiles[neuron, 1]] == 0)


@njit(cache=True, nogil=True)
def try_add(core: Any, neuron: int, trial: Any) -> int:  # pragma: no cover – compiled
    """Puts a neuron behind the others if every limit allows it: ADDED, REFUSED, or FULL where no other will fit."""
    now, limits = core.now, core.limits
    size = now[SIZE] + 1
    if size > limits[NEURONS] or _index_bits(size) > limits[INDEX_MAX]:
        return FULL
    decays, threshold = _new_profiles(core, neuron)
    if now[COMPARTMENT_PROFILES] + decays > limits[CP_MAX] or now[THRESHOLD_PROFILES] + threshold > limits[TP_MAX]:
        return REFUSED
    if now[OUT] + core.out[neuron] > limits[OUT_MAX]:
        return REFUSED
    index, delay = now[INDEX], now[DELAY]
    if _index_bits(size) != index or core.delay_bits[neuron] > delay:
        _recount(core, _index_bits(size), max(delay, core.delay_bits[neuron]))
    words, axons, longest = _trial(core, neuron, trial)
    over = words > limits[WORDS_MAX] or words + limits[PER_NEURON] * size > limits[MEMORY]
    if over or axons > limits[AXONS_MAX] or longest > limits[LIST]:
        if now[INDEX] != index:
            return FULL
        if now[DELAY] != delay:
            _recount(core, index, delay)
        return REFUSED
    _put(core, neuron, now[SIZE])
    core.members[now[SIZE]] = neuron
    now[SIZE] = size
    now[OUT] += core.out[neuron]
    now[COMPARTMENT_PROFILES] += decays
    now[THRESHOLD_PROFILES] += threshold
    core.used[0, core.profiles[neuron, 0]] = core.used[1, core.profiles[neuron, 1]] = 1
    return ADDED


@njit(cache=True, nogil=True)
def fill_in_order(core: Any, order: Any, start: int) -> int:  # pragma: no cover – compiled
    """An empty core filled with order[start], order[start + 1], … as long as they fit: how many did."""
    clear(core)
    trial = np.zeros(15, np.int32)
    for i in range(start, len(order)):
        if try_add(core, order[i], trial) != ADDED:
            return i - start
    return len(order) - start
