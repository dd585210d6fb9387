"""The order of compartments inside a core: neurons with the same sources side by side, so that lists get shorter.

Adjacent targets take smaller skips, dense runs and fewer entries. The network stays in its own order; only
compartments move.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ..hw_targets.chip import Chip
from .fixed import FixedNetwork
from .limits import measure
from .netlist import Ints

ROUNDS = 30
"""Rounds of averaging."""


def ordered(network: FixedNetwork, neurons: Ints, chip: Chip) -> Ints:
    """The same neurons in the order that takes the fewest words within all limits; as they came if there is none."""
    best, fewest = neurons, 2**40
    for candidate in (neurons, np.sort(neurons), neurons[line(network, neurons)]):
        problem, words = measure(network, candidate, chip)
        if words < fewest and problem is None:
            best, fewest = candidate, words
    return best


def line(network: FixedNetwork, neurons: Ints) -> Ints:
    """(neurons,) an order on a line where lists and neurons stand at each other's mean (reciprocal averaging)."""
    parts = network.netlist.lists_of(neurons).parts
    lists = parts.lists[np.argsort(parts.compartment, kind="stable")]
    start = np.concatenate([[0], np.cumsum(np.bincount(parts.compartment, minlength=len(neurons)))])
    order: Ints = np.argsort(_line(start, lists, 1 + int(lists.max(initial=0)), ROUNDS), kind="stable")
    return order


@njit(cache=True, nogil=True)
def _line(start: Any, lists: Any, count_lists: int, rounds: int) -> Any:  # pragma: no cover – compiled
    """(neurons,) places after some rounds of reciprocal averaging, from index order on."""
    count = len(start) - 1
    place = np.arange(count) / max(1, count)
    for _ in range(rounds):
        total = np.zeros(count_lists)
        number = np.zeros(count_lists)
        for neuron in range(count):
            for j in range(start[neuron], start[neuron + 1]):
                total[lists[j]] += place[neuron]
                number[lists[j]] += 1
        total /= np.maximum(number, 1)
        for neuron in range(count):
            size = start[neuron + 1] - start[neuron]
            if size:
                place[neuron] = total[lists[start[neuron] : start[neuron + 1]]].sum() / size
        place -= place.mean()
        place /= max(np.abs(place).max(), 1e-12)
    return place
