"""Random swaps within chips that may lose at first: the way out of an arrangement that no single swap improves.

Chance comes from a generator of its own, and time is bounded by a number of proposals, so that the same traffic gives
the same sites.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from .netlist import Ints
from .swaps import Graph, Sites, standing

PROPOSALS_PER_CORE = 1000
WORK = 3 * 10**8
"""Neighbours that all proposals look at together, at most: what bounds the time on dense traffic."""
LOSS = 0.5
"""What the first swaps may lose, in packets of a mean core."""


def anneal(graph: Graph, sites: Sites, start: Ints, seed: int = 1) -> Ints:
    """(cores,) sites after random swaps within chips that may lose less and less (Dueck and Scheuer, 1990).

    Args:
        graph, sites, start: as in `swap`.
        seed: of the random numbers, above 0.
    """
    site, item = standing(start, len(sites.x))
    proposals = min(PROPOSALS_PER_CORE * len(start), WORK // (20 + 2 * len(graph.other) // len(start)))
    x, y, per_chip = sites.x, sites.y, sites.per_chip
    _anneal(site, item, graph.edges, x, y, per_chip, proposals, LOSS * graph.load, np.uint64(seed))
    return site


@njit(cache=True)
def _anneal(
    site: Any, item: Any, edges: Any, x: Any, y: Any, per_chip: int, proposals: int, loss: float, random: Any
) -> None:  # pragma: no cover – compiled
    for p in range(proposals):
        random = _next(random)
        i = int(random % np.uint64(len(site)))
        random = _next(random)
        old = site[i]
        new = old - old % per_chip + int(random % np.uint64(per_chip))
        if x[new] == x[old] and y[new] == y[old]:
            continue
        j = item[new]
        change = _change(i, j, old, new, site, edges, x, y)
        if j >= 0:
            change += _change(j, i, new, old, site, edges, x, y)
        if change <= loss * (1 - p / proposals) ** 2:
            site[i], item[new], item[old] = new, i, j
            if j >= 0:
                site[j] = old


@njit(cache=True)
def _next(random: Any) -> Any:  # pragma: no cover – compiled
    """xorshift64 (Marsaglia, 2003)."""
    random ^= random << np.uint64(13)
    random ^= random >> np.uint64(7)
    return random ^ random << np.uint64(17)


@njit(cache=True)
def _change(
    core: int, partner: int, old: int, new: int, site: Any, edges: Any, x: Any, y: Any
) -> float:  # pragma: no cover – compiled
    """What packets times distance changes by when a core goes from a site to another and its partner the other way."""
    indptr, other, weight, _, _ = edges
    change = 0.0
    for e in range(indptr[core], indptr[core + 1]):
        if other[e] != partner:
            s = site[other[e]]
            change += weight[e] * (abs(x[new] - x[s]) + abs(y[new] - y[s]) - abs(x[old] - x[s]) - abs(y[old] - y[s]))
    return change
