"""Tensors as NumPy views of a file's storages: every offset, size and stride is checked, nothing is copied."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import ModelFileError
from .archive import RETRAIN, TorchArchive

DTYPES: dict[str, Any] = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "<u2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "u1",
}
"""Element of each storage as it lies in the file; bfloat16 is the upper half of a float32, bool one byte."""

TYPES: dict[str, Any] = {
    **{"torch.uint8": "u1", "torch.uint16": "<u2", "torch.uint32": "<u4", "torch.uint64": "<u8", "torch.int8": "i1"},
    **{"torch.int16": "<i2", "torch.int32": "<i4", "torch.int64": "<i8"},
    **{"torch.float16": "<f2", "torch.float32": "<f4", "torch.float64": "<f8"},
}
"""Element of a tensor that says its own type."""

MAX_DIMENSIONS = 16
MAX_BYTES = 2**32
"""Of all storages of one file together."""


class Storages:
    """Reads storages from an archive, each once, and builds tensors on them."""

    def __init__(self, archive: TorchArchive) -> None:
        self.archive = archive
        self.arrays: dict[str, tuple[str, NDArray[Any]]] = {}
        self.bytes = 0

    def _error(self, problem: str) -> ModelFileError:
        return ModelFileError(str(self.archive.path), problem, RETRAIN)

    def storage(self, kind: str, key: str, elements: int) -> NDArray[Any]:
        """(elements,) read-only; bfloat16 becomes float32.

        Raises:
            ModelFileError: it is missing, has another size, or was named with another type before.
        """
        if key not in self.arrays:
            content = self.archive.read(f"data/{key}", min(self.archive.length, MAX_BYTES - self.bytes))
            self.bytes += len(content)
            dtype = np.dtype(DTYPES[kind])
            if len(content) % dtype.itemsize:
                raise self._error(f"storage {key[:20]} has {len(content)} bytes, no multiple of {dtype.itemsize}")
            self.arrays[key] = kind, _elements(kind, np.frombuffer(content, dtype))
        known, array = self.arrays[key]
        if known != kind or len(array) != elements:
            raise self._error(
                f"storage {key[:20]} is described as {elements} elements of {kind}, it has {len(array)} of {known}"
            )
        return array

    def tensor(self, storage: Any, offset: Any, size: Any, stride: Any) -> NDArray[Any]:
        """A view of `storage` with the given offset, size and stride, in elements.

        Raises:
            ModelFileError: it reaches outside its storage, or names an element twice.
        """
        _Layout(self, offset, size, stride).check(storage)
        item = storage.itemsize
        start = offset if all(size) else 0
        return np.lib.stride_tricks.as_strided(
            storage[start:], shape=size, strides=[step * item for step in stride], writeable=False
        )

    def tensor_of_type(self, storage: Any, offset: Any, size: Any, stride: Any, dtype: str) -> NDArray[Any]:
        """As `tensor`, on a storage of bytes, with elements of `dtype`, such as ``torch.uint16``."""
        if dtype not in TYPES:
            raise ModelFileError(
                str(self.archive.path), f"holds a tensor of {dtype[:40]}, which no layer has", "save it as float32"
            )
        if (
            not isinstance(storage, np.ndarray)
            or storage.dtype != np.uint8
            or len(storage) % np.dtype(TYPES[dtype]).itemsize
        ):
            raise self._error(f"holds a tensor of {dtype} on a storage of something else")
        return self.tensor(storage.view(TYPES[dtype]), offset, size, stride)


class _Layout:
    def __init__(self, storages: Storages, offset: Any, size: Any, stride: Any) -> None:
        self.storages, self.offset, self.size, self.stride = storages, offset, size, stride

    def check(self, storage: Any) -> None:
        """Raises unless the view lies inside `storage` and each element of it is another one."""
        text = f"a tensor of size {_short(self.size)}, stride {_short(self.stride)}, offset {_short(self.offset)}"
        if not isinstance(storage, np.ndarray) or storage.ndim != 1:
            raise self.storages._error("its pickle is damaged (a tensor has no storage)")
        if not self._well_formed():
            raise self.storages._error(f"has {text}: whole numbers of 0 or more are needed, the same number of each")
        if not self._inside(len(storage)):
            raise self.storages._error(f"has {text}: it reaches outside of its storage of {len(storage)} elements")
        if not self._injective():
            raise self.storages._error(f"has {text}: it names elements of its storage twice")

    def _well_formed(self) -> bool:
        if not (isinstance(self.size, tuple) and isinstance(self.stride, tuple) and _whole(self.offset)):
            return False
        same = len(self.size) == len(self.stride) <= MAX_DIMENSIONS
        return same and all(map(_whole, self.size)) and all(map(_whole, self.stride))

    def _inside(self, elements: int) -> bool:
        if not all(self.size):
            extent = 1
            for n, step in zip(self.size, self.stride, strict=True):
                extent *= max(1, n) * max(1, step)
            return bool(extent < 2**31)
        last = self.offset + sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True))
        return bool(last < elements)

    def _injective(self) -> bool:
        reach = 0
        for step, n in sorted(zip(self.stride, self.size, strict=True)):
            if n > 1:
                if step <= reach:
                    return False
                reach += (n - 1) * step
        return True


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62


def _short(value: Any) -> str:
    """A few numbers as text; anything else by its type (it may be huge or refer to itself)."""
    if isinstance(value, tuple) and len(value) <= MAX_DIMENSIONS and all(isinstance(n, int) for n in value):
        return str(value)
    return str(value) if isinstance(value, int) else f"of type {type(value).__name__}"


def _elements(kind: str, raw: NDArray[Any]) -> NDArray[Any]:
    if kind == "BFloat16Storage":
        raw = (raw.astype("<u4") << 16).view("<f4")
    elif kind == "BoolStorage":
        raw = raw != 0
    raw.flags.writeable = False
    return raw
