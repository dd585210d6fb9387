"""From raw samples to what the input population sends: the same integers in training, engine, Lava and chip."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiler.fixed import FixedInput
from ..errors import DataError


def rate_spikes(values: NDArray[Any], max_value: int, steps: int) -> NDArray[np.uint8]:
    """(samples, steps, …) binary spikes at a rate of value / max_value, evenly spaced.

    Step i (from 0) spikes where ``floor((i + 1) x) > floor(i x)``, x = value / max_value, in integers.

    >>> rate_spikes(np.array([[0, 1, 2, 4]]), 4, 4)[0].T.tolist()
    [[0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 1], [1, 1, 1, 1]]
    """
    wide = values.astype(np.int64)
    spikes = np.empty((len(values), steps, *values.shape[1:]), np.uint8)
    before = np.zeros_like(wide)
    for step in range(steps):
        level = wide * (step + 1) // max_value
        spikes[:, step] = level - before
        before = level
    return spikes


def levels(values: NDArray[Any], source: FixedInput) -> NDArray[np.int32]:
    """``floor(value * levels / max_value + 1/2)``, in any shape."""
    if source.levels == source.max_value:
        return values.astype(np.int32)
    table = (np.arange(source.max_value + 1) * source.levels * 2 + source.max_value) // (2 * source.max_value)
    return np.take(table.astype(np.int32), values)


def payloads(samples: NDArray[Any], source: FixedInput, steps: int) -> NDArray[np.int32]:
    """What `source` sends for raw samples.

    Args:
        samples: (samples, *shape) integers 0 … max_value; with the encoding ``spikes`` (samples, steps, *shape)
            payloads per step; with ``delta`` either, of values.
        source: the input population.
        steps: T.

    Returns:
        (samples, size) for ``graded`` and ``bias``: the same payload at every step, ``floor(value levels /
        max_value + 1/2)``; (samples, steps, size) for ``rate``, ``spikes`` and ``delta``.

    Raises:
        DataError: the samples have another shape, or values outside the range.

    >>> pixel = FixedInput("pixels", (2,), "graded", max_value=16, levels=16)
    >>> payloads(np.array([[3, 16]]), pixel, steps=8).tolist()
    [[3, 16]]
    >>> payloads(np.array([[[3], [5], [4]]]), FixedInput("video", (1,), "delta", 16, 16), steps=3)[0, :, 0].tolist()
    [3, 2, -1]
    """
    flat = _flat(np.asarray(samples), source, steps)
    if source.encoding == "spikes":
        return flat.astype(np.int32)
    if source.encoding == "rate":
        return rate_spikes(flat, source.max_value, steps).astype(np.int32)
    if source.encoding != "delta":
        return levels(flat, source)
    if flat.ndim == 3:
        return np.diff(levels(flat, source), axis=1, prepend=np.int32(0))
    sent = np.zeros((len(flat), steps, source.size), np.int32)
    sent[:, 0] = levels(flat, source)
    return sent


def _flat(samples: NDArray[Any], source: FixedInput, steps: int) -> NDArray[Any]:
    """(samples, size) or (samples, steps, size), checked."""
    timed = source.encoding == "spikes" or (
        source.encoding == "delta" and samples.ndim > 2 and samples.shape[1:] != source.shape
    )
    lead = (steps,) if timed else ()
    shape = (*lead, *source.shape)
    if samples.shape[1:] not in (shape, (*lead, source.size)):
        raise DataError(
            source.name, f"takes samples of the shape {shape}, gets {samples.shape[1:]}", "choose the matching data set"
        )
    if samples.dtype.kind not in "ui" and samples.dtype != bool:
        raise DataError(
            source.name,
            f"takes integers 0 to {source.max_value}, gets {samples.dtype}",
            f"multiply by {source.max_value} and round",
        )
    limit = source.payload if source.encoding == "spikes" else source.max_value
    low, high = (int(samples.min()), int(samples.max())) if samples.size else (0, 0)
    if low < 0 or high > limit:
        raise DataError(
            source.name,
            f"takes values 0 to {limit}, gets {low} to {high}",
            "choose the data set that the network was trained on",
            value=high,
            limit=limit,
        )
    return samples.reshape(len(samples), *lead, source.size)
