"""Regions: populations on a map of rows and columns, cut along a space-filling curve with all their channels.

Neighbours of a convolution read almost the same sources, so a core that holds a region with all channels needs few
axons for many synapses, and a chip that holds a region of all layers sends little to others. A layer that has much of
what another lacks (many sources, few targets) shares its cores with it.
"""

from __future__ import annotations

import numpy as np

from ..hw_targets.chip import Chip
from .fill import AXONS, AXONS_MAX, NEURONS, OUT, OUT_MAX, SIZE, WORDS, WORDS_MAX, Core, fill_in_order
from .fixed import FixedNetwork, FixedPopulation
from .netlist import Ints
from .nodes import FloatArray
from .settle import fill_each, fill_each_roughly, proven
from .slices import entries_to

USED = [SIZE, WORDS, AXONS, OUT]
MAX = [NEURONS, WORDS_MAX, AXONS_MAX, OUT_MAX]
RESERVE = 0.05
"""Share of the input axons that a population with few targets leaves to one with few sources."""
LOOKS = 2
"""Rough fillings before the one that counts."""
WORTH = 0.2
"""A core with room for this share of what a core holds alone is offered neurons of another population."""


def has_maps(network: FixedNetwork) -> bool:
    """Whether any population stands on a map of rows and columns."""
    return any(on_a_map(p) for p in network.populations)


def fill_regions(network: FixedNetwork, core: Core, chip: Chip) -> list[Ints]:
    """Cores that hold regions, in the order of the curve, so that a chip after the other takes a region of all layers.

    Rough fillings tell how many chips are needed, and where one region ends and the next begins.
    """
    borders = np.zeros(0)
    for _ in range(LOOKS):
        places = np.sort(_Filling(network, core, chip, borders, proof=False).run().place)
        if len(places) <= chip.cores_per_chip:
            break
        borders = places[chip.cores_per_chip :: chip.cores_per_chip]
    found = _Filling(network, core, chip, borders).run()
    return [found.members[i] for i in np.argsort(found.place, kind="stable")]


class _Filling:
    """Cores under way.

    Attributes:
        borders: places on the curve where the next chip begins.
        proof: whether sizes are proven, with shared lists and few formats.
        members, used, place: of each core, its neurons, what it uses (`USED`), its place on the curve, 0 … 1.
    """

    def __init__(self, network: FixedNetwork, core: Core, chip: Chip, borders: FloatArray, proof: bool = True) -> None:
        self.network, self.core, self.chip, self.borders, self.proof = network, core, chip, borders, proof
        self.members: list[Ints] = []
        self.used: list[Ints] = []
        self.place: list[float] = []

    def run(self) -> _Filling:
        """The last population first: then it is known where each neuron sends to."""
        netlist = self.network.netlist
        for row in reversed(range(len(self.network.populations))):
            population = self.network.populations[row]
            neurons, places = _along_the_curve(population)
            neurons += int(netlist.base[row])
            self._expect_entries(neurons, places)
            alone = fill_in_order(self.core, neurons, len(neurons) // 2)
            need = self.core.now[USED] / max(1, alone)
            rest = self._offer(neurons, places, alone, need) if self.members else np.arange(len(neurons))
            self._open(neurons[rest], places[rest], reserve=row > 0 and _lopsided(alone * need / self.core.limits[MAX]))
        return self

    def _expect_entries(self, neurons: Ints, places: FloatArray) -> None:
        """What these neurons need of output axons, by the cores that hold their targets so far."""
        own = np.searchsorted(self.borders, places, side="right")
        chips = np.searchsorted(self.borders, self.place, side="right")
        self.core.out[neurons] = entries_to(self.network.netlist, self.members, chips, neurons, own)

    def _open(self, neurons: Ints, places: FloatArray, reserve: bool) -> None:
        """New cores for all of these."""
        start, limit = 0, int(self.core.limits[AXONS_MAX])
        self.core.limits[AXONS_MAX] = int(limit * (1 - RESERVE)) if reserve else limit
        exactly = fill_each(self.network, self.core, neurons, self.chip)
        for size in exactly if self.proof else fill_each_roughly(self.core, neurons):
            self.members.append(neurons[start : start + size])
            self.used.append(self.core.now[USED].copy())
            self.place.append(float(places[start : start + size].mean()))
            start += size
        self.core.limits[AXONS_MAX] = limit

    def _offer(self, neurons: Ints, places: FloatArray, alone: int, need: FloatArray) -> Ints:
        """Fills cores that have room with neurons near them; rows of those that are left.

        Args: neurons and their places; how many fill a core alone, and how much of `USED` each takes there.
        """
        room = ((self.core.limits[MAX] - np.stack(self.used)) / np.maximum(need, 1e-9)).min(axis=1)
        offered = np.flatnonzero(room >= max(1, WORTH * alone))
        offered = offered[np.argsort(np.array(self.place)[offered], kind="stable")]
        if not len(offered):
            return np.arange(len(neurons))
        at = np.array(self.place)[offered]
        ends = np.append(np.searchsorted(places, (at[1:] + at[:-1]) / 2), len(neurons))
        begin, left = 0, []
        for i, end in zip(offered.tolist(), ends.tolist(), strict=True):
            own = self.members[i]
            most = begin + min(end - begin, int(2 * room[i]))
            both = np.concatenate([own, neurons[begin:most]])
            fits = max(len(own), fill_in_order(self.core, both, 0))
            if self.proof and fits > len(own):
                fits = max(len(own), proven(self.network, both[:fits], self.chip)[0])
            if fits > len(own):
                self.members[i] = both[:fits]
                self.used[i] = self.core.now[USED].copy()
            left.append(np.arange(begin + fits - len(own), end))
            begin = end
        return np.concatenate(left)


def _lopsided(share: FloatArray) -> bool:
    """Whether a full core has hardly an input axon left, but half of its output axons; `share`: of `MAX`."""
    return bool(share[2] > 1 - RESERVE and share[3] < 0.5)


def on_a_map(population: FixedPopulation) -> bool:
    """Whether it has rows and columns, channel by channel."""
    return len(population.shape) == 3 and min(population.shape[1:]) > 1


def _along_the_curve(population: FixedPopulation) -> tuple[Ints, FloatArray]:
    """(neurons, places): of the population, in the order of the curve; without a map in its own, at the curve's end."""
    if not on_a_map(population):
        return np.arange(population.size), np.ones(population.size)
    channel, row, column = np.unravel_index(population.origin, population.shape)
    bits = int(max(population.shape[1:]) - 1).bit_length()
    place = hilbert(row, column, bits)
    order = np.lexsort((channel, place))
    return order, place[order] / 4**bits


def hilbert(row: Ints, column: Ints, bits: int) -> Ints:
    """The place of each point of a square of 2**bits rows and columns on Hilbert's curve.

    Neighbours on the curve are neighbours on the square. Source: D. Hilbert, Math. Annalen 38 (1891).

    >>> hilbert(np.array([0, 1, 1, 0]), np.array([0, 0, 1, 1]), 1).tolist()
    [0, 1, 2, 3]
    """
    y, x = row.astype(np.int64), column.astype(np.int64)
    place = np.zeros(len(y), np.int64)
    for bit in reversed(range(bits)):
        up, right = (y >> bit) & 1, (x >> bit) & 1
        place = place * 4 + ((3 * right) ^ up)
        mirrored = (up == 0) & (right == 1)
        y, x = (np.where(mirrored, (1 << bits) - 1 - v, v) for v in (y, x))
        y, x = np.where(up == 0, x, y), np.where(up == 0, y, x)
    return place
