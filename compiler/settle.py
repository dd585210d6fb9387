"""Cores that keep every limit: filled in an order, cut or filled again until their output axons fit as well."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..hw_targets.chip import Chip
from .fill import MEMORY, WORDS, WORDS_MAX, Core, fill_in_order
from .fixed import FixedNetwork
from .limits import Excess, excess, synapse_words
from .netlist import Ints
from .slices import CoreSlices, neuron_entries

Progress = Callable[[int, int], None]
REFILLS = 4
"""Times that the cores are filled with what the time before showed of the output axons."""


def settle(network: FixedNetwork, core: Core, chip: Chip, fill_all: Callable[[], list[Ints]]) -> list[Ints]:
    """The slices of `fill_all`, within the output axons of a core.

    How many output axons a neuron needs is known when all stand somewhere: cores with too many are cut, or all are
    filled again with room for what was seen (`core.out`), whichever takes fewer cores.
    """
    netlist = network.netlist
    core.out[:] = np.bincount(netlist.source, minlength=int(netlist.base[-1]))[: netlist.neurons] > 0
    best: list[Ints] | None = None
    for _ in range(REFILLS):
        slices = fill_all()
        entries = neuron_entries(netlist, CoreSlices(tuple(slices)), chip)
        kept = cut(network, slices, chip)
        best = kept if best is None or len(kept) < len(best) else best
        if len(kept) == len(slices):
            break
        core.out[:] = np.maximum(core.out, entries)
    assert best is not None
    return best


def fill_all(network: FixedNetwork, core: Core, order: Ints, chip: Chip, progress: Progress | None) -> list[Ints]:
    """Cores filled one after the other with neurons in this order."""
    slices: list[Ints] = []
    start = saved = 0
    while start < len(order):
        size, saved = _fill_one(network, core, order, start, saved, chip)
        slices.append(order[start : start + size])
        start += size
        if progress is not None:
            progress(start, len(order))
    return slices


def _fill_one(network: FixedNetwork, core: Core, order: Ints, start: int, saved: int, chip: Chip) -> tuple[int, int]:
    """(neurons, words saved): the most that one core holds from `start` on.

    `saved`: words by which the core before came out smaller than counted, since equal lists are shared.
    """
    core.limits[[WORDS_MAX, MEMORY]] = np.array([chip.synapse_words, chip.memory_words]) + saved
    size = fill_in_order(core, order, start)
    found = proven(network, order[start : start + max(1, size)], chip)
    if found < size or start + found == len(order):
        return found, saved if found == size else 0
    now = int(core.now[WORDS]) - synapse_words(network, order[start : start + found], chip)
    if now <= saved + chip.synapse_words // 64:
        return found, max(0, now)
    more, now = _fill_one(network, core, order, start, now, chip)
    return max(found, more), now


def proven(network: FixedNetwork, neurons: Ints, chip: Chip) -> int:
    """How many of the first of these neurons a core holds, all if it can; raises where not even one."""
    problem = excess(network, neurons, chip)
    if problem is None:
        return len(neurons)
    fits, breaks = 0, len(neurons)
    while breaks - fits > 1:
        middle = (fits + breaks) // 2
        problem = excess(network, neurons[:middle], chip)
        fits, breaks = (middle, breaks) if problem is None else (fits, middle)
    if fits == 0:
        assert problem is not None
        raise problem.error(network.netlist.label(int(neurons[0])), chip)
    return fits


def cut(network: FixedNetwork, slices: list[Ints], chip: Chip) -> list[Ints]:
    """Cuts the slices with too many output-axon entries until none is left."""
    limit = chip.limits.out_axons_per_core[0]
    while True:
        entries = neuron_entries(network.netlist, CoreSlices(tuple(slices)), chip)
        pieces: list[Ints] = []
        for neurons in slices:
            while int((total := np.cumsum(entries[neurons]))[-1]) > limit:
                if int(total[0]) > limit:
                    raise Excess("output axons", int(total[0]), limit).error(
                        network.netlist.label(int(neurons[0])), chip
                    )
                size = int(np.searchsorted(total, limit, side="right"))
                pieces.append(neurons[:size])
                neurons = neurons[size:]
            pieces.append(neurons)
        if len(pieces) == len(slices):
            return pieces
        slices = pieces
