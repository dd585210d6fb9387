"""A NIR file (HDF5) as plain values: nothing is followed out of the file, and every size is checked before it is read.

Layout, as nir 1.0.8 writes it: ``node/type`` "NIRGraph", ``node/nodes/<name>/…`` a node or a graph again,
``node/edges`` (n, 2) text, ``version``. A node has a ``type`` and one data set per parameter; ``metadata`` is not read.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ...compiler.node import LARGEST
from ...errors import ModelFileError
from .archive import open_file

MAX_NODES = 500
MAX_EDGES = 1000
MAX_DEPTH = 16
MAX_NAME = 500
MAX_BYTES = 2**30
"""Of all parameters together, decompressed."""
MAX_EXPANSION = 100
"""Bytes per byte of the file, of a data set with more than `FREE_BYTES`."""
FREE_BYTES = 2**28
MAX_CHUNKS = 2**16
SHUFFLE, GZIP, CHECKSUM = h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_FLETCHER32
EXPORT = "write it again with nir.write"
HDF5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError, AttributeError)
"""What h5py raises for a damaged file."""

Value = NDArray[Any] | str


@dataclass
class RawNode:
    """A node as it stands in the file; `nodes` and `edges` are those of a graph."""

    kind: str
    values: dict[str, Value] = field(default_factory=dict)
    nodes: dict[str, RawNode] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)


def read_graph(path: Path) -> RawNode:
    """The outermost graph of a NIR file, read in this process, which a damaged file can end; see `nir_child`.

    Raises:
        ModelFileError: the file is missing, damaged, no NIR file, too large, or points out of itself.
    """
    open_file(path).close()
    try:
        with h5py.File(path, "r") as file:
            return _Reader(path).root(file)
    except HDF5_ERRORS as error:
        raise ModelFileError(str(path), "is cut off or damaged", EXPORT) from error


class _Reader:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.nodes = self.edges = self.bytes = 0
        self.seen: set[Any] = set()

    def _error(self, problem: str, way_out: str = EXPORT) -> ModelFileError:
        return ModelFileError(str(self.path), problem, way_out)

    def root(self, file: Any) -> RawNode:
        if not isinstance(self._member(file, "node"), h5py.Group):
            raise self._error("is an HDF5 file without the group node, so no NIR file", "give a file of nir.write")
        root = self._node(self._member(file, "node"), "node", 0)
        if root.kind != "NIRGraph":
            raise self._error(f"holds one {root.kind}, a NIRGraph is needed", "wrap it with nir.NIRGraph.from_list")
        return root

    def _names(self, group: Any, limit: int, where: str) -> list[str]:
        if len(group) > limit:
            raise self._error(f"its group {where[:80]} has {len(group)} members, {limit} are possible", "split it")
        names = list(group)
        for name in names:
            if len(name) > MAX_NAME:
                raise self._error(f"has a name of {len(name)} characters, {MAX_NAME} are possible", "shorten it")
        return names

    def _member(self, group: Any, name: str) -> Any:
        """A group or data set, each reached once and by a hard link only."""
        link = group.get(name, getlink=True)
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise self._error(f"its member {name[:80]!r} is a {type(link).__name__}, not in the file itself")
        return group[name]

    def _once(self, member: Any, where: str) -> None:
        """A group that holds itself would never end."""
        info = h5py.h5o.get_info(member.id)
        if (info.fileno, info.addr) in self.seen:
            raise self._error(f"{where[:80]} stands at two places of the file")
        self.seen.add((info.fileno, info.addr))

    def _node(self, group: Any, where: str, depth: int) -> RawNode:
        if not isinstance(group, h5py.Group):
            raise self._error(f"its member {where[:80]} is no group")
        self._once(group, where)
        if depth > MAX_DEPTH:
            raise self._error(f"nests graphs deeper than {MAX_DEPTH}", "flatten it")
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise self._error(f"has more than {MAX_NODES} nodes", "leave nodes out")
        node = RawNode("")
        for name in self._names(group, 64, where):
            if name in ("metadata", "nodes", "edges"):
                continue
            node.values[name] = self._value(self._member(group, name), f"{where}/{name}")
        kind = node.values.pop("type", None)
        if not isinstance(kind, str):
            raise self._error(f"its node {where[:80]} has no type")
        node.kind = kind
        if kind == "NIRGraph":
            self._graph(node, group, where, depth)
        return node

    def _graph(self, node: RawNode, group: Any, where: str, depth: int) -> None:
        nodes = self._member(group, "nodes")
        if not isinstance(nodes, h5py.Group):
            raise self._error(f"its graph {where[:80]} has no nodes")
        self._once(nodes, f"{where}/nodes")
        for name in self._names(nodes, MAX_NODES, where):
            node.nodes[name] = self._node(self._member(nodes, name), f"{where}/nodes/{name}", depth + 1)
        edges = self._member(group, "edges")
        if not isinstance(edges, h5py.Dataset):
            raise self._error(f"its graph {where[:80]} has no edges")
        node.edges = list(self._edges(edges, where))
        for end in (end for edge in node.edges for end in edge):
            if end not in node.nodes:
                raise self._error(f"has an edge at {end[:80]!r}, which is no node of {where[:80]}")

    def _edges(self, dataset: Any, where: str) -> Iterator[tuple[str, str]]:
        if dataset.size == 0:
            return
        if dataset.ndim != 2 or dataset.shape[1] != 2:
            raise self._error(f"the edges of {where[:80]} have the shape {dataset.shape}, (n, 2) is needed")
        self.edges += dataset.shape[0]
        if self.edges > MAX_EDGES:
            raise self._error(f"has more than {MAX_EDGES} edges", "leave nodes out")
        self._check_storage(dataset, f"{where}/edges")
        for row in range(dataset.shape[0]):
            first, second = (self._text(dataset, (row, end), where) for end in (0, 1))
            yield first, second

    def _value(self, dataset: Any, where: str) -> Value:
        if not isinstance(dataset, h5py.Dataset):
            raise self._error(f"its member {where[:80]} is no data set")
        if h5py.check_string_dtype(dataset.dtype) is not None:
            if dataset.size != 1:
                raise self._error(f"its text {where[:80]} has the shape {dataset.shape}")
            self._check_storage(dataset, where)
            return self._text(dataset, (0,) * dataset.ndim, where)
        if dataset.dtype.kind not in "fiu" or dataset.dtype.itemsize > 8:
            raise self._error(f"its data set {where[:80]} has the dtype {dataset.dtype}, numbers are needed")
        if dataset.shape is None or dataset.ndim > 8:
            raise self._error(f"its data set {where[:80]} has the shape {dataset.shape}")
        self._check_storage(dataset, where)
        array = np.asarray(dataset[()])
        if array.dtype.kind == "f" and not bool(np.isfinite(array).all()):
            raise self._error(f"its data set {where[:80]} holds NaN or infinity", "train it again")
        if array.dtype.kind == "f" and array.size and max(-float(array.min()), float(array.max())) > LARGEST:
            raise self._error(f"its data set {where[:80]} holds values beyond {LARGEST:g}", "train it again")
        return array

    def _text(self, dataset: Any, index: tuple[int, ...], where: str) -> str:
        """One text at a time, as many entries may name the same long one."""
        content = dataset[index]
        if isinstance(content, str):
            content = content.encode("utf-8", "surrogateescape")
        if not isinstance(content, bytes) or len(content) > MAX_NAME:
            raise self._error(f"{where[:80]} holds something that is no text of up to {MAX_NAME} bytes")
        return content.decode("utf-8", "surrogateescape")

    def _check_storage(self, dataset: Any, where: str) -> None:
        """Before anything of a data set is read: where it lies, how it is packed, how large it gets."""
        if dataset.external or dataset.is_virtual:
            raise self._error(f"its data set {where[:80]} lies in another file")
        plist = dataset.id.get_create_plist()
        filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
        if set(filters) - {SHUFFLE, GZIP, CHECKSUM} or len(set(filters)) < len(filters):
            raise self._error(f"its data set {where[:80]} is packed with the filters {filters}, gzip is possible")
        size = math.prod(dataset.shape) * dataset.dtype.itemsize
        self.bytes += size
        stored = dataset.id.get_storage_size()
        if self.bytes > MAX_BYTES or (size > FREE_BYTES and size > MAX_EXPANSION * stored):
            problem = f"its data set {where[:80]} of the shape {dataset.shape} has {size} bytes, {stored} in the file"
            raise self._error(f"{problem}, {MAX_BYTES} are possible, {MAX_EXPANSION} for each in the file")
        if dataset.chunks is not None:
            self._check_chunks(dataset, size, GZIP in filters, where)

    def _check_chunks(self, dataset: Any, size: int, packed: bool, where: str) -> None:
        """Each unpacks to no more than it says: HDF5 itself would go on for as long as something comes out."""
        chunk = math.prod(dataset.chunks) * dataset.dtype.itemsize
        count = math.prod(-(-n // step) for n, step in zip(dataset.shape, dataset.chunks, strict=True))
        stored = dataset.id.get_num_chunks()
        if chunk > max(size, FREE_BYTES) or max(count, stored) > MAX_CHUNKS:
            raise self._error(f"its data set {where[:80]} is cut into {count} chunks of {chunk} bytes")
        for i in range(stored if packed else 0):
            info = dataset.id.get_chunk_info(i)
            if info.size > 2 * chunk + 1024:
                raise self._error(f"its data set {where[:80]} has a chunk of {info.size} bytes for {chunk}")
            mask, content = dataset.id.read_direct_chunk(info.chunk_offset)
            if mask == 0 and not _unpacks_to(content, chunk):
                raise self._error(f"its data set {where[:80]} unpacks to something else than it says")


def _unpacks_to(content: bytes, size: int) -> bool:
    unpacker = zlib.decompressobj()
    try:
        return len(unpacker.decompress(content, size + 1)) == size
    except zlib.error:
        return False
