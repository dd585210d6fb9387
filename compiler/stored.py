"""Arrays of an HDF5 file from a stranger: read only where they lie in the file itself and are no larger than it."""

from __future__ import annotations

import contextlib
import io
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import SnnCompileError


class StoredArrays(ABC):
    """What the readers of programs and of traces share; each says its faults in its own words.

    Args:
        file: opened for reading.
        path: as the user knows it.
        size: of the file in bytes; all arrays together may claim no more.
    """

    def __init__(self, file: h5py.File, path: str, size: int) -> None:
        self.file, self.path, self.left = file, path, size

    @abstractmethod
    def fault(self, problem: str) -> SnnCompileError:
        """The error that says so of this file."""

    def dataset(self, name: str, dtypes: Sequence[type], ndim: int) -> h5py.Dataset:
        """The dataset at `name`, reached by hard links only; its data lie in no other file and no other dataset."""
        group: Any = self.file
        for part in name.split("/"):
            if not isinstance(group, h5py.Group) or not isinstance(group.get(part, getlink=True), h5py.HardLink):
                raise self.fault(f"has no {name}")
            group = group[part]
        types: list[np.dtype[Any]] = [np.dtype(dtype) for dtype in dtypes]
        if not isinstance(group, h5py.Dataset) or group.dtype not in types or group.ndim != ndim:
            raise self.fault(f"{name} is not an array of {' or '.join(map(str, types))}")
        if group.external or group.is_virtual:
            raise self.fault(f"{name} is not stored plainly in the file")
        return group

    def array(self, name: str, dtype: type, ndim: int) -> NDArray[Any]:
        """A whole array, stored in one piece without filters."""
        found = self.dataset(name, (dtype,), ndim)
        if found.chunks is not None:
            raise self.fault(f"{name} is not stored plainly in the file")
        self.left -= found.nbytes
        if self.left < 0:
            raise self.fault(f"{name} claims more than the file holds")
        return np.asarray(found[()])


class Disk(io.FileIO):
    """A file for HDF5 to write to, which crashes where a disk is full: here it never learns of that.

    Attributes:
        error: the first error; nothing is written after it.
    """

    error: OSError | None = None

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while len(left) and self.error is None:
                left = left[super().write(left) :]
        except OSError as error:
            self.error = error
        return size

    def check(self) -> None:
        """Raises the error, if there was one."""
        if self.error is not None:
            raise self.error


@contextlib.contextmanager
def created(path: str | os.PathLike[str]) -> Iterator[tuple[h5py.File, Disk]]:
    """A new HDF5 file, closed after the block.

    Raises:
        OSError: the file cannot be written.
    """
    with Disk(path, "w+") as disk:
        try:
            with h5py.File(disk, "w") as file:
                yield file, disk
        finally:
            disk.check()
