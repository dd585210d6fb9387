"""Cores that keep every limit: filled in an order, then relieved until their output axons fit as well."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ..hw_targets.chip import Chip
from .fill import MEMORY, OUT_MAX, WORDS, WORDS_MAX, Core, fill_in_order
from .fixed import FixedNetwork
from .limits import Excess, excess, measure
from .netlist import Ints
from .slices import CoreSlices, neuron_entries

Progress = Callable[[int, int], None]
FEW = 0.1
"""Share of the cores that may exceed their output axons for all to be filled again."""
ROOM = 0.03
"""Share of the output axons that is left free, more with each round, as needs grow with every new core."""


def settle(
    network: FixedNetwork,
    core: Core,
    chip: Chip,
    fill: Callable[[], list[Ints]],
    at_most: int | None = None,
    refills: int = 0,
) -> list[Ints]:
    """The slices of `fill`, then those relieved that need more output axons than a core has.

    How many output axons a neuron needs is known when all stand somewhere; at first one is reckoned for each, and
    where few cores exceed their limit all is filled again, `refills` times, with what is known then. Empty where it
    takes more than `at_most` cores.
    """
    netlist, limit = network.netlist, chip.limits.out_axons_per_core[0]
    core.out[:] = np.bincount(netlist.source, minlength=int(netlist.base[-1]))[: netlist.neurons] > 0
    core.limits[OUT_MAX] = limit
    slices = fill()
    for _ in range(refills):
        entries = neuron_entries(netlist, CoreSlices(tuple(slices)), chip)
        over = sum(int(entries[own].sum()) > limit for own in slices)
        if not over or over > FEW * len(slices):
            break
        np.maximum(core.out, entries, out=core.out)
        slices = fill()
    return relieve(network, core, slices, chip, at_most)


def fill_all(network: FixedNetwork, core: Core, order: Ints, chip: Chip, progress: Progress | None) -> list[Ints]:
    """Cores filled one after the other with neurons in this order."""
    slices: list[Ints] = []
    start = 0
    for size in fill_each(network, core, order, chip):
        slices.append(order[start : start + size])
        start += size
        if progress is not None:
            progress(start, len(order))
    return slices


def fill_each(network: FixedNetwork, core: Core, order: Ints, chip: Chip) -> Iterator[int]:
    """How many neurons each core takes, one core after the other; `core` is as it was filled last."""
    start = saved = 0
    while start < len(order):
        size, saved = _fill_one(network, core, order, start, saved, chip)
        core.limits[[WORDS_MAX, MEMORY]] = chip.synapse_words, chip.memory_words
        yield size
        start += size


def fill_each_roughly(core: Core, order: Ints) -> Iterator[int]:
    """The same without shared lists and without proof: what a first look needs."""
    start = 0
    while start < len(order):
        size = max(1, fill_in_order(core, order, start))
        yield size
        start += size


def _fill_one(network: FixedNetwork, core: Core, order: Ints, start: int, saved: int, chip: Chip) -> tuple[int, int]:
    """(neurons, words saved): the most that one core holds from `start` on.

    `saved`: words by which the core before came out smaller than counted, since equal lists are shared.
    """
    core.limits[[WORDS_MAX, MEMORY]] = np.array([chip.synapse_words, chip.memory_words]) + saved
    size = fill_in_order(core, order, start)
    found, words = proven(network, order[start : start + max(1, size)], chip)
    if found < size or start + found == len(order):
        return found, saved if found == size else 0
    now = int(core.now[WORDS]) - words
    if now <= saved + chip.synapse_words // 64 or int(core.now[WORDS]) < chip.synapse_words // 2:
        return found, max(0, now)
    more, now = _fill_one(network, core, order, start, now, chip)
    return max(found, more), now


def proven(network: FixedNetwork, neurons: Ints, chip: Chip) -> tuple[int, int]:
    """How many of the first of these neurons a core holds, and the words of all; raises where not even one fits."""
    problem, words = measure(network, neurons, chip)
    if problem is None:
        return len(neurons), words
    fits, breaks = 0, len(neurons)
    while breaks - fits > 1:
        middle = (fits + breaks) // 2
        problem = excess(network, neurons[:middle], chip)
        fits, breaks = (middle, breaks) if problem is None else (fits, middle)
    if fits == 0:
        assert problem is not None
        raise problem.error(network.netlist.label(int(neurons[0])), chip)
    return fits, words


def relieve(
    network: FixedNetwork, core: Core, slices: list[Ints], chip: Chip, at_most: int | None = None
) -> list[Ints]:
    """Takes the last neurons off the slices with too many output-axon entries, and fills new cores with all of them."""
    limit = chip.limits.out_axons_per_core[0]
    attempt = 0
    while at_most is None or len(slices) <= at_most:
        entries = neuron_entries(network.netlist, CoreSlices(tuple(slices)), chip)
        kept: list[Ints] = []
        off: list[Ints] = []
        for neurons in slices:
            total = np.cumsum(entries[neurons])
            if int(total[0]) > limit:
                label = network.netlist.label(int(neurons[0]))
                raise Excess("output axons", int(total[0]), limit).error(label, chip)
            size = len(neurons)
            if int(total[-1]) > limit:
                room = int(limit * (1 - ROOM * min(attempt, 10)))
                size = max(1, int(np.searchsorted(total, room, side="right")))
                off.append(neurons[size:])
            kept.append(neurons[:size])
        if not off:
            return slices
        core.out[:] = np.maximum(entries, core.out > 0)
        core.limits[OUT_MAX] = int(limit * (1 - ROOM * min(attempt, 10)))
        slices = kept + fill_all(network, core, np.concatenate(off), chip, None)
        attempt += 1
    return []
