"""A linear layer with few weights, forward and to its input, compiled by numba; no PyTorch here.

Both multiply whole rows of transposed activations, (features, n), by one weight after the other, so that the zeros cost
nothing and the inner loop is SIMD code. Sums run over rising indices.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def compressed(weight: Any) -> tuple[Any, Any, Any]:
    """(starts, columns, values) of the weights other than 0 of a (rows, columns) matrix, row by row.

    >>> starts, columns, values = compressed(np.array([[0, 2], [3, 0]], np.float32))
    >>> starts.tolist(), columns.tolist(), values.tolist()
    ([0, 1, 2], [1, 0], [2.0, 3.0])
    """
    starts = np.zeros(len(weight) + 1, np.int64)
    for o in range(len(weight)):
        number = 0
        row = weight[o]
        for i in range(len(row)):
            number += row[i] != 0
        starts[o + 1] = starts[o] + number
    columns, values = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.float32)
    for o in range(len(weight)):
        if starts[o] == starts[o + 1]:
            continue
        row, k = weight[o], starts[o]
        for i in range(len(row)):
            if row[i] != 0:
                columns[k], values[k] = i, row[i]
                k += 1
    return starts, columns, values


@njit(cache=True, nogil=True)
def multiply(starts: Any, columns: Any, values: Any, x: Any, out: Any) -> None:
    """Fills `out` (rows, n) with W x from `x` (columns, n); float32."""
    for o in range(len(out)):
        target = out[o]
        target[:] = 0
        for k in range(starts[o], starts[o + 1]):
            source, w = x[columns[k]], values[k]
            for j in range(len(target)):
                target[j] += w * source[j]


@njit(cache=True, nogil=True)
def multiply_back(starts: Any, columns: Any, values: Any, grad: Any, out: Any) -> None:
    """Fills `out` (columns, n) with W^T g from `grad` (rows, n); float32."""
    out[:] = 0
    for o in range(len(grad)):
        source = grad[o]
        for k in range(starts[o], starts[o + 1]):
            target, w = out[columns[k]], values[k]
            for j in range(len(target)):
                target[j] += w * source[j]
