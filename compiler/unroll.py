"""A layer as synapses, one for each weight and place, and how many they are."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .nodes import Conv2d, FloatArray, Linear, Shape
from .synapses import Synapses


def _inside(layer: Conv2d, axis: int, tap: int, size: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows (or columns) of the result that a tap of the kernel reaches from inside the image, and from where."""
    place = np.arange(count) * layer.stride[axis] - layer.padding[axis] + tap * layer.dilation[axis]
    rows = np.flatnonzero((place >= 0) & (place < size))
    return rows, place[rows]


def tap_prices(layer: Linear | Conv2d, shape: Shape, price: FloatArray | None = None) -> FloatArray:
    """What each weight of a layer costs in unrolled synapses, or at a price per synapse of its source.

    Args:
        shape: of the input.
        price: of this shape; None: 1.

    Returns:
        An array that broadcasts to the shape of the weight.

    >>> tap_prices(Conv2d("c", weight=np.ones((8, 4, 3, 3)), padding=(1, 1)), (4, 32, 32))[0, 0].astype(int).tolist()
    [[961, 992, 961], [992, 1024, 992], [961, 992, 961]]
    """
    price = np.ones(shape) if price is None else price.reshape(shape)
    if isinstance(layer, Linear):
        return price.reshape(1, -1)
    out, inside, kernel_rows, kernel_columns = layer.weight.shape
    _, height, width = shape
    _, rows, columns = layer.output_shape(shape)
    sums = np.empty((shape[0], kernel_rows, kernel_columns))
    for ky, kx in np.ndindex(kernel_rows, kernel_columns):
        (_, y), (_, x) = _inside(layer, 0, ky, height, rows), _inside(layer, 1, kx, width, columns)
        sums[:, ky, kx] = price[:, y[:, None], x].sum(axis=(1, 2))
    group = np.arange(out) // (out // layer.groups)
    channels: FloatArray = group[:, None] * inside + np.arange(inside)
    return sums[channels]


def possible_synapses(layer: Linear | Conv2d, shape: Shape) -> int:
    """Unrolled synapses of a layer without pruning, for an input of `shape`.

    >>> possible_synapses(Conv2d("c", weight=np.ones((8, 4, 3, 3)), padding=(1, 1)), (4, 32, 32))
    282752
    """
    prices = tap_prices(layer, shape)
    return int(prices.sum()) * (layer.weight.size // prices.size)


def surviving_synapses(layer: Linear | Conv2d, shape: Shape) -> int:
    """How many synapses `unroll` makes of a layer, without making them.

    >>> surviving_synapses(Conv2d("c", weight=np.ones((8, 4, 3, 3)), padding=(1, 1)), (4, 32, 32))
    282752
    """
    return int(((layer.weight != 0) * tap_prices(layer, shape)).sum())


def unroll(layer: Linear | Conv2d, shape: Shape) -> Synapses:
    """The synapses of a layer that sees an input of `shape`.

    >>> conv = Conv2d("c", weight=np.ones((1, 1, 3, 3)), padding=(1, 1))
    >>> len(unroll(conv, (1, 2, 2)))          # a border drops what falls outside the image
    16
    """
    if isinstance(layer, Linear):
        return Synapses.from_dense(layer.weight.astype(np.float64))
    _, height, width = shape
    out, inside, kernel_rows, kernel_columns = layer.weight.shape
    _, rows, columns = layer.output_shape(shape)
    group = np.arange(out) // (out // layer.groups)
    parts = []
    for ky, kx in np.ndindex(kernel_rows, kernel_columns):
        (r, y), (c, x) = _inside(layer, 0, ky, height, rows), _inside(layer, 1, kx, width, columns)
        o, i = np.nonzero(layer.weight[:, :, ky, kx])
        place_in = (y[:, None] * width + x).ravel()
        place_out = (r[:, None] * columns + c).ravel()
        sources = (group[o] * inside + i)[:, None] * (height * width) + place_in
        targets = o[:, None] * (rows * columns) + place_out
        weights = np.repeat(layer.weight[o, i, ky, kx].astype(np.float64), len(place_in))
        parts.append((sources.ravel(), targets.ravel(), weights))
    sources, targets, weights = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Synapses.from_triples(math.prod(shape), out * rows * columns, sources, targets, weights)
