"""The level above which values hold a given sum of costs: two counts over the bits of float32; no PyTorch here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

BINS = 1 << 16


@njit(cache=True, inline="always")
def _key(bits: Any) -> Any:
    """An integer from 0 to 2^32 - 1 that rises with the float of these bits."""
    return np.int64(bits) + 2147483648 if bits >= 0 else np.int64(~bits)


@njit(cache=True)
def _count(bits: Any, worth: Any, costs: Any, high: Any, sums: Any) -> None:
    """Adds costs to the bins of the upper 16 bits of each key (`high` < 0), or of the lower 16 of those with `high`."""
    product = np.empty(1, np.float32)
    view = product.view(np.int32)
    values = bits.view(np.float32)
    for i in range(len(bits)):
        product[0] = values[i] * worth[i if len(worth) > 1 else 0]
        key = _key(view[0])
        if high < 0:
            sums[key >> 16] += costs[i if len(costs) > 1 else 0]
        elif key >> 16 == high:
            sums[key & 0xFFFF] += costs[i if len(costs) > 1 else 0]


def level(
    values: Sequence[NDArray[np.float32]],
    worths: Sequence[NDArray[np.float32]],
    costs: Sequence[NDArray[np.int32]],
    budget: int,
) -> float:
    """The smallest delta so that the costs where ``value * worth > delta`` sum up to `budget` at most.

    Args:
        values: flat tensors.
        worths, costs: of the same sizes, or of size 1 for all alike.

    Returns:
        A ``value * worth``, or -inf where everything is within the budget.

    >>> one, each = np.ones(1, np.float32), np.ones(1, np.int32)
    >>> level([np.float32([1, 4]), np.float32([3, -2])], [one, one], [each, each], 2)
    1.0
    """
    parts = [(v.view(np.int32), w, c) for v, w, c in zip(values, worths, costs, strict=True)]
    left, key = budget, 0
    for high in (-1, 0):
        sums = np.zeros(BINS, np.int64)
        for bits, worth, cost in parts:
            _count(bits, worth, cost, -1 if high < 0 else key >> 16, sums)
        falling = np.cumsum(sums[::-1])
        over = int(np.searchsorted(falling, left, side="right"))
        if over == BINS:
            return -math.inf
        left -= int(falling[over - 1]) if over else 0
        key += (BINS - 1 - over) << (16 if high < 0 else 0)
    pattern = np.array([key - 2147483648 if key >= 2147483648 else 0xFFFFFFFF - key], np.uint32)
    return float(pattern.view(np.float32)[0])
