"""Chunks of a trace file as they lie on disk, decompressed here: no more comes out than a chunk holds."""

from __future__ import annotations

import math
import zlib
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

DEFLATE_RATIO = 1032
"""No deflate stream grows more than that."""


def read_block(dataset: h5py.Dataset, block: int, steps: int, size: int) -> NDArray[Any]:
    """(chunk's samples, steps, size) of one row of chunks."""
    rows, high, wide = dataset.chunks
    whole = np.zeros((rows, steps, size), dataset.dtype)
    for step in range(0, steps, high):
        for neuron in range(0, size, wide):
            part = whole[:, step : step + high, neuron : neuron + wide]
            part[:] = _read_chunk(dataset, (block * rows, step, neuron))[:, : part.shape[1], : part.shape[2]]
    whole.flags.writeable = False
    return whole


def _read_chunk(dataset: h5py.Dataset, place: tuple[int, int, int]) -> NDArray[Any]:
    """A chunk, decompressed to exactly its size; h5py itself would let it grow without end."""
    count = math.prod(dataset.chunks)
    size, width = count * dataset.dtype.itemsize, dataset.dtype.itemsize
    stored = dataset.id.get_chunk_info_by_coord(place)
    if not stored.size or stored.size > 2 * size + 1024:
        raise ValueError(f"{stored.size} bytes are stored for a chunk of {size}")
    mask, data = dataset.id.read_direct_chunk(place)
    if mask == 0:
        stream = zlib.decompressobj()
        data = stream.decompress(data, size + 1)
        if not stream.eof:
            raise ValueError(f"a chunk of {size} bytes does not end")
    elif mask != 1 << (width > 1):  # HDF5 leaves the compression out where it does not help
        raise ValueError(f"filter mask {mask}")
    if len(data) != size:
        raise ValueError(f"{len(data)} bytes for a chunk of {size}")
    lanes = np.frombuffer(data, np.uint8).reshape(width, count)  # shuffle: all first bytes, then all second ones
    values: NDArray[Any] = np.ascontiguousarray(lanes.T).view(dataset.dtype).reshape(dataset.chunks)
    return values
