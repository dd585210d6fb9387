"""Swaps of cores between places: exact gains, and output-axon entries that stay within their limit.

A place is a site; empty sites are swapped like cores. Gains are exact sums of packets times distance, and the order of
the swaps is fixed, so that the same traffic gives the same sites.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from .netlist import Ints
from .traffic import Floats, Traffic

SWEEPS = 10


@dataclass(frozen=True, eq=False)
class Graph:
    """Traffic between different cores, both ways together; the neighbours of core i are `indptr[i]` … `indptr[i + 1]`.

    Attributes:
        indptr: (cores + 1,).
        other: (pairs,) the neighbour.
        weight: (pairs,) packets to and from it.
        sends, gets: (pairs,) output-axon entries that core i has for it, and it for core i.
        room: (cores,) output-axon entries that may lead to other chips.
    """

    indptr: Ints
    other: Ints
    weight: Floats
    sends: Ints
    gets: Ints
    room: Ints

    @classmethod
    def of(cls, traffic: Traffic, limit: int) -> Graph:
        """Args: `traffic` between the cores, and the chip's `limit` on output-axon entries of a core."""
        cores = len(traffic.host)
        axons, entries, packets = (m.tocoo() for m in (traffic.axons, traffic.entries, traffic.packets))
        row, column = entries.row.astype(np.int64), entries.col.astype(np.int64)
        apart = row != column
        forth, back = row * cores + column, column * cores + row
        keys = np.unique(np.concatenate([forth[apart], back[apart]]))
        weight, sends, gets = np.zeros(len(keys)), np.zeros(len(keys), np.int64), np.zeros(len(keys), np.int64)
        there, here = np.searchsorted(keys, forth[apart]), np.searchsorted(keys, back[apart])
        weight[there] += packets.data[apart]
        weight[here] += packets.data[apart]
        sends[there] = axons.data[apart]
        gets[here] = axons.data[apart]
        indptr = np.searchsorted(keys, np.arange(cores + 1) * cores)
        room = limit - np.bincount(row, entries.data, cores).astype(np.int64)
        return cls(indptr, keys % cores, weight, sends, gets, room)

    @property
    def edges(self) -> tuple[Any, ...]:
        return self.indptr, self.other, self.weight, self.sends, self.gets

    @property
    def load(self) -> float:
        """Packets of a mean core, to and from others."""
        return float(self.weight.sum()) / len(self.room)

    def cost(self, sites: Sites, site: Ints) -> float:
        """Packets times distance where core i stands on `site[i]`."""
        here, there = np.repeat(site, np.diff(self.indptr)), site[self.other]
        away = np.abs(sites.x[here] - sites.x[there]) + np.abs(sites.y[here] - sites.y[there])
        return float((self.weight * away).sum()) / 2


@dataclass(frozen=True, eq=False)
class Sites:
    """Where cores can stand: `per_chip` sites of one chip after those of another.

    Attributes:
        x, y: (sites,) coordinates that distances are counted in, east-west plus north-south.
        per_chip: sites of one chip.
    """

    x: Ints
    y: Ints
    per_chip: int


def swap(graph: Graph, sites: Sites, start: Ints) -> Ints:
    """(cores,) sites after the best swap of each core in turn, over and over until none gains worth a packet in 1000.

    No swap takes a core's output-axon entries over their limit, or further over it.

    Args:
        graph: the traffic.
        sites: where cores can stand.
        start: (cores,) site of each core.
    """
    site, item = standing(start, len(sites.x))
    least = 1e-3 * graph.load
    _swap(site, item, graph.edges, graph.room, sites.x, sites.y, sites.per_chip, SWEEPS, least)
    return site


def standing(start: Ints, sites: int) -> tuple[Ints, Ints]:
    """Copies that can change: the site of each core; the core on each site, or -1."""
    item = np.full(sites, -1, np.int64)
    item[start] = np.arange(len(start))
    return start.astype(np.int64), item


@njit(cache=True)
def _swap(
    site: Any,
    item: Any,
    edges: Any,
    room: Any,
    x: Any,
    y: Any,
    per_chip: int,
    sweeps: int,
    least: float,
) -> None:  # pragma: no cover – compiled
    indptr, other, weight, _, _ = edges
    cost_x, cost_y = np.empty((len(site), x.max() + 1)), np.empty((len(site), y.max() + 1))
    row = np.zeros(len(site))
    over = _entries_over(site, edges, room, per_chip)
    moved = True
    while moved and sweeps > 0:
        moved, sweeps = False, sweeps - 1
        cost_x[:], cost_y[:] = 0.0, 0.0
        for i in range(len(site)):
            _add(i, -1, site[i], edges, x, cost_x)
            _add(i, -1, site[i], edges, y, cost_y)
        for i in range(len(site)):
            row[other[indptr[i] : indptr[i + 1]]] = weight[indptr[i] : indptr[i + 1]]
            old = site[i]
            new = _best(i, old, item, row, cost_x, cost_y, x, y, least)
            row[other[indptr[i] : indptr[i + 1]]] = 0.0
            j = item[new]
            if new == old or not _enter(i, j, old, new, site, edges, over, per_chip):
                continue
            moved = True
            site[i], item[new], item[old] = new, i, j
            _add(i, old, new, edges, x, cost_x)
            _add(i, old, new, edges, y, cost_y)
            if j >= 0:
                site[j] = old
                _add(j, new, old, edges, x, cost_x)
                _add(j, new, old, edges, y, cost_y)


@njit(cache=True)
def _best(
    i: int,
    old: int,
    item: Any,
    row: Any,
    cost_x: Any,
    cost_y: Any,
    x: Any,
    y: Any,
    least: float,
) -> int:  # pragma: no cover – compiled
    """The site whose swap with that of core i gains most, and at least so much; `old` where none does."""
    found, best = old, -least
    for new in range(len(item)):
        far = abs(x[new] - x[old]) + abs(y[new] - y[old])
        if far == 0:
            continue
        change = cost_x[i, x[new]] + cost_y[i, y[new]] - cost_x[i, x[old]] - cost_y[i, y[old]]
        j = item[new]
        if j >= 0:
            change += cost_x[j, x[old]] + cost_y[j, y[old]] - cost_x[j, x[new]] - cost_y[j, y[new]]
            change += 2 * row[j] * far
        if change < best:
            found, best = new, change
    return found


@njit(cache=True)
def _add(core: int, old: int, new: int, edges: Any, axis: Any, cost: Any) -> None:  # pragma: no cover – compiled
    """The neighbours' costs at each coordinate of an axis after a core went from a site (or none, -1) to another."""
    indptr, other, weight, _, _ = edges
    if old >= 0 and axis[old] == axis[new]:
        return
    for e in range(indptr[core], indptr[core + 1]):
        for c in range(cost.shape[1]):
            away = abs(c - axis[new])
            if old >= 0:
                away -= abs(c - axis[old])
            cost[other[e], c] += weight[e] * away


@njit(cache=True)
def _entries_over(site: Any, edges: Any, room: Any, per_chip: int) -> Any:  # pragma: no cover – compiled
    """(cores,) entries to other chips beyond the room for them; below 0 where some is left."""
    indptr, other, _, sends, _ = edges
    over = -room
    for i in range(len(site)):
        for e in range(indptr[i], indptr[i + 1]):
            if site[i] // per_chip != site[other[e]] // per_chip:
                over[i] += sends[e]
    return over


@njit(cache=True)
def _enter(
    i: int, j: int, old: int, new: int, site: Any, edges: Any, over: Any, per_chip: int
) -> bool:  # pragma: no cover – compiled
    """Counts the entries for a swap of core i with j (-1: an empty site), unless it takes a core further over."""
    if old // per_chip == new // per_chip:
        return True
    after = over.copy()
    _cross(i, j, old // per_chip, new // per_chip, site, edges, after, per_chip)
    if j >= 0:
        _cross(j, i, new // per_chip, old // per_chip, site, edges, after, per_chip)
    for m in range(len(after)):
        if after[m] > 0 and after[m] > over[m]:
            return False
    over[:] = after
    return True


@njit(cache=True)
def _cross(
    core: int, partner: int, old: int, new: int, site: Any, edges: Any, over: Any, per_chip: int
) -> None:  # pragma: no cover – compiled
    """Entries of a core and its neighbours when it goes to another chip; those to its partner stay what they are."""
    indptr, other, _, sends, gets = edges
    for e in range(indptr[core], indptr[core + 1]):
        m = other[e]
        if m == partner:
            continue
        chip = site[m] // per_chip
        change = int(chip != new) - int(chip != old)
        over[core] += sends[e] * change
        over[m] += gets[e] * change
