"""An HDF5 file as a plain tree: nothing is followed out of the file, and every size is checked before it is read.

`child` runs this file in a process of its own, which damaged files can end; it needs nothing else of the package,
so that the process starts quickly. The process sends one line of JSON, the tree with the place of each array, and then
the bytes of the arrays; or the sentence of what is wrong with the file.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
import zlib
from typing import Any, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

TOP = ("node", "layer", "simulation")
"""What is read of a file; all else at its top is left alone."""
MAX_DEPTH = 32
MAX_MEMBERS = 500
"""Of one group."""
MAX_OBJECTS = 2**14
"""Groups and data sets of a file."""
MAX_TEXTS = 2**12
MAX_NAME = 500
MAX_BYTES = 2**30
"""Of all numbers together, 8 bytes or more for each."""
MAX_EXPANSION = 100
"""Bytes per byte of the file, of a data set with more than `FREE_BYTES`."""
FREE_BYTES = 2**28
MAX_CHUNKS = 2**16
MEMORY = 4 * MAX_BYTES
"""Address space of the process, where the system has a limit for it."""
CPU_SECONDS = 300
"""In case that nobody is left to end the process."""
SHUFFLE, GZIP, CHECKSUM = h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_FLETCHER32
AGAIN = "write it again with nir.write or lava-dl's export_hdf5"
HDF5_ERRORS = (
    OSError, RuntimeError, LookupError, ValueError, TypeError, OverflowError, MemoryError, AttributeError,
)  # fmt: skip
"""What h5py raises for a damaged file."""

Value: TypeAlias = "NDArray[Any] | str"
Tree: TypeAlias = "dict[str, Tree | Value]"
"""Groups by name; a data set is an array of numbers, one text, or an array of texts."""


class RefusedError(Exception):
    """The file holds something that no model file needs: the problem, and a way out."""

    def __init__(self, problem: str, way_out: str = AGAIN) -> None:
        self.problem, self.way_out = problem, way_out
        super().__init__(problem)


def read(path: str) -> Tree:
    """The groups `TOP` of a file, without the ``metadata`` of NIR's nodes.

    Raises:
        RefusedError: the file is damaged, too large, points out of itself, or is a compiled program.
    """
    try:
        with h5py.File(path, "r") as file:
            return _Walk().top(file)
    except HDF5_ERRORS as error:
        raise RefusedError("is cut off or damaged, or no HDF5 file") from error


def _shown(where: str) -> str:
    """A name on one line, and not too long."""
    return repr(where[:80])[1:-1]


class _Walk:
    """One walk through a file; counts what it has met."""

    def __init__(self) -> None:
        self.objects = self.texts = self.bytes = 0
        self.seen: set[Any] = set()

    def top(self, file: Any) -> Tree:
        if file.get("manifest", getlink=True) is not None:
            raise RefusedError("is compiled already (a program or a trace)", "give the model itself")
        return {name: self._member(file, name, name, 1) for name in TOP if file.get(name, getlink=True) is not None}

    def _member(self, group: Any, name: str, where: str, depth: int) -> Tree | Value:
        """A group or data set, reached by a hard link only."""
        link = group.get(name, getlink=True)
        if link is None:
            raise RefusedError(f"is damaged: its member {_shown(where)} is listed, and not there")
        if not isinstance(link, h5py.HardLink):
            raise RefusedError(f"its member {_shown(where)} is a {type(link).__name__}, not in the file itself")
        self.objects += 1
        if self.objects > MAX_OBJECTS:
            raise RefusedError(f"has more than {MAX_OBJECTS} groups and data sets", "make the network smaller")
        member = group[name]
        if isinstance(member, h5py.Group):
            return self._group(member, where, depth)
        if isinstance(member, h5py.Dataset):
            return self._value(member, where)
        raise RefusedError(f"its member {_shown(where)} is neither a group nor a data set")

    def _group(self, group: Any, where: str, depth: int) -> Tree:
        """Each group once: one that holds itself would never end."""
        info = h5py.h5o.get_info(group.id)
        if (info.fileno, info.addr) in self.seen:
            raise RefusedError(f"{_shown(where)} stands at two places of the file")
        self.seen.add((info.fileno, info.addr))
        if depth > MAX_DEPTH:
            raise RefusedError(f"nests groups deeper than {MAX_DEPTH}", "flatten it")
        if len(group) > MAX_MEMBERS:
            problem = f"its group {_shown(where)} has {len(group)} members, {MAX_MEMBERS} are possible"
            raise RefusedError(problem, "split it")
        names = list(group)
        for name in names:
            if len(name) > MAX_NAME:
                raise RefusedError(f"has a name of {len(name)} characters, {MAX_NAME} are possible", "shorten it")
        if "type" in names:
            names = [name for name in names if name != "metadata"]
        return {name: self._member(group, name, f"{where}/{name}", depth + 1) for name in names}

    def _value(self, data: Any, where: str) -> Value:
        text = h5py.check_string_dtype(data.dtype) is not None
        if not text and (data.dtype.kind not in "fiub" or data.dtype.itemsize > 8):
            raise RefusedError(f"its data set {_shown(where)} has the dtype {data.dtype}, numbers are needed")
        if data.shape is None or data.ndim > 8:
            raise RefusedError(f"its data set {_shown(where)} has the shape {data.shape}, up to 8 sizes are needed")
        self._check_storage(data, _shown(where))
        if text:
            return self._text(data, _shown(where))
        array = np.asarray(data[()])
        if array.dtype.kind == "f" and not bool(np.isfinite(array).all()):
            raise RefusedError(f"its data set {_shown(where)} holds NaN or infinity", "train it again")
        return array

    def _text(self, data: Any, where: str) -> Value:
        """One text at a time, as many entries may name the same long one."""
        self.texts += data.size
        if self.texts > MAX_TEXTS:
            raise RefusedError(f"has more than {MAX_TEXTS} texts", "make the network smaller")
        found = []
        for index in np.ndindex(data.shape):
            content = data[index]
            if isinstance(content, str):
                content = content.encode("utf-8", "surrogateescape")
            if not isinstance(content, bytes) or len(content) > MAX_NAME:
                raise RefusedError(f"{where} holds something that is no text of up to {MAX_NAME} bytes")
            found.append(content.decode("utf-8", "surrogateescape"))
        return found[0] if len(found) == 1 else np.array(found, dtype=str).reshape(data.shape)

    def _check_storage(self, data: Any, where: str) -> None:
        """Before anything of a data set is read: where it lies, how it is packed, how large it gets."""
        if data.external or data.is_virtual:
            raise RefusedError(f"its data set {where} lies in another file")
        plist = data.id.get_create_plist()
        filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
        if set(filters) - {SHUFFLE, GZIP, CHECKSUM} or len(set(filters)) < len(filters):
            raise RefusedError(f"its data set {where} is packed with the filters {filters}, gzip is possible")
        count = math.prod(data.shape)
        size, stored = count * data.dtype.itemsize, data.id.get_storage_size()
        self.bytes += max(size, 8 * count)
        if self.bytes > MAX_BYTES or (size > FREE_BYTES and size > MAX_EXPANSION * stored):
            problem = f"its data set {where} of the shape {data.shape} has {size} bytes, {stored} in the file"
            most = f"{MAX_BYTES // 8} numbers are possible in all, {MAX_EXPANSION} bytes for each in the file"
            raise RefusedError(f"{problem}, {most}", "make the network smaller")
        if data.chunks is not None:
            _check_chunks(data, size, filters, where)


def _check_chunks(data: Any, size: int, filters: list[int], where: str) -> None:
    """Each unpacks to no more than it says: HDF5 itself would go on for as long as something comes out."""
    chunk = math.prod(data.chunks) * data.dtype.itemsize
    count = math.prod(-(-n // step) for n, step in zip(data.shape, data.chunks, strict=True))
    stored = data.id.get_num_chunks()
    if chunk > max(size, FREE_BYTES) or max(count, stored) > MAX_CHUNKS:
        raise RefusedError(f"its data set {where} is cut into {count} chunks of {chunk} bytes")
    for i in range(stored if GZIP in filters else 0):
        info = data.id.get_chunk_info(i)
        if info.size > 2 * chunk + 1024:
            raise RefusedError(f"its data set {where} has a chunk of {info.size} bytes for {chunk}")
        mask, content = data.id.read_direct_chunk(info.chunk_offset)
        left_out = mask >> filters.index(GZIP) & 1
        if not left_out and not _unpacks_to(content, chunk):
            raise RefusedError(f"its data set {where} unpacks to something else than it says")


def _unpacks_to(content: bytes, size: int) -> bool:
    unpacker = zlib.decompressobj()
    try:
        return len(unpacker.decompress(content, size + 1)) == size
    except zlib.error:
        return False


def pack(tree: Tree, arrays: list[NDArray[Any]]) -> dict[str, Any]:
    """The tree as JSON takes it: an array is its dtype and shape, and is added to `arrays`."""
    told: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, np.ndarray):
            arrays.append(np.ascontiguousarray(value, value.dtype.newbyteorder("<")))
            told[name] = [arrays[-1].dtype.str, list(value.shape)]
        else:
            told[name] = pack(value, arrays) if isinstance(value, dict) else value
    return told


def _limit() -> None:
    try:
        import resource
    except ImportError:
        return
    limits = ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CPU, CPU_SECONDS), (resource.RLIMIT_CORE, 0))
    for kind, limit in limits:
        _, most = resource.getrlimit(kind)
        with contextlib.suppress(ValueError, OSError):  # some systems know a limit and do not take it
            resource.setrlimit(kind, (limit if most == resource.RLIM_INFINITY else min(limit, most), most))


def main(path: str) -> None:
    """Reads a file and writes what it holds."""
    _limit()
    arrays: list[NDArray[Any]] = []
    try:
        told: dict[str, Any] = {"tree": pack(read(path), arrays)}
    except RefusedError as error:
        told = {"problem": error.problem, "way_out": error.way_out}
    sys.stdout.buffer.write(json.dumps(told).encode() + b"\n")
    for array in arrays:
        sys.stdout.buffer.write(array.data if array.dtype.kind != "U" else array.tobytes())
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1])
