"""The nodes of a NIR file, as they stand in it.

Layout, as nir 1.0.8 writes it: ``node/type`` "NIRGraph", ``node/nodes/<name>/…`` a node or a graph again,
``node/edges`` (n, 2) text, ``version``. A node has a ``type`` and one data set per parameter; ``metadata`` is not read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ....compiler.node import LARGEST
from ....errors import ModelFileError

if TYPE_CHECKING:
    from ..hdf5.tree import Tree, Value

MAX_NODES = 500
MAX_EDGES = 1000
EXPORT = "write it again with nir.write"


@dataclass
class RawNode:
    """A node as it stands in the file; `nodes` and `edges` are those of a graph."""

    kind: str
    values: dict[str, Value] = field(default_factory=dict)
    nodes: dict[str, RawNode] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)


def graph_of(path: Path, tree: Tree) -> RawNode:
    """The outermost graph in what `read_tree` gives of a NIR file.

    Raises:
        ModelFileError: it is no NIR file, or has too many nodes or edges.
    """
    node = tree.get("node")
    if not isinstance(node, dict):
        problem = "is an HDF5 file without the group node, so no NIR file"
        raise ModelFileError(str(path), problem, "give a file of nir.write")
    root = _Parser(path).node(node, "node")
    if root.kind != "NIRGraph":
        problem = f"holds one {_shown(root.kind)}, a NIRGraph is needed"
        raise ModelFileError(str(path), problem, "wrap it with nir.NIRGraph.from_list")
    return root


def _shown(text: str) -> str:
    return repr(text[:80])[1:-1]


class _Parser:
    def __init__(self, path: Path) -> None:
        self.path, self.count, self.edges = path, 0, 0

    def _error(self, problem: str, way_out: str = EXPORT) -> ModelFileError:
        return ModelFileError(str(self.path), problem, way_out)

    def node(self, group: Tree | Value, where: str) -> RawNode:
        if not isinstance(group, dict):
            raise self._error(f"its member {_shown(where)} is no group")
        self.count += 1
        if self.count > MAX_NODES:
            raise self._error(f"has more than {MAX_NODES} nodes", "leave nodes out")
        kind = group.get("type")
        if not isinstance(kind, str):
            raise self._error(f"its node {_shown(where)} has no type")
        node = RawNode(kind)
        for name, value in group.items():
            if name not in ("type", "nodes", "edges"):
                node.values[name] = self._value(value, _shown(f"{where}/{name}"))
        if kind == "NIRGraph":
            self._graph(node, group, where)
        return node

    def _graph(self, node: RawNode, group: Tree, where: str) -> None:
        nodes, edges = group.get("nodes"), group.get("edges")
        if not isinstance(nodes, dict):
            raise self._error(f"its graph {_shown(where)} has no nodes")
        if isinstance(edges, dict) or edges is None:
            raise self._error(f"its graph {_shown(where)} has no edges")
        node.nodes = {name: self.node(inner, f"{where}/nodes/{name}") for name, inner in nodes.items()}
        node.edges = self._edges(np.asarray(edges), _shown(where))
        for end in (end for edge in node.edges for end in edge):
            if end not in node.nodes:
                raise self._error(f"has an edge at {end[:80]!r}, which is no node of {_shown(where)}")

    def _edges(self, edges: NDArray[Any], where: str) -> list[tuple[str, str]]:
        if edges.size == 0:
            return []
        if edges.ndim != 2 or edges.shape[1] != 2:
            raise self._error(f"the edges of {where} have the shape {edges.shape}, (n, 2) is needed")
        if edges.dtype.kind != "U":
            raise self._error(f"the edges of {where} have the dtype {edges.dtype}, texts are needed")
        self.edges += len(edges)
        if self.edges > MAX_EDGES:
            raise self._error(f"has more than {MAX_EDGES} edges", "leave nodes out")
        return [(str(source), str(target)) for source, target in edges]

    def _value(self, value: Tree | Value, where: str) -> Value:
        if isinstance(value, dict):
            raise self._error(f"its member {where} is no data set")
        if isinstance(value, str):
            return value
        if value.dtype.kind == "U":
            raise self._error(f"its text {where} has the shape {value.shape}, one text is needed")
        if value.dtype.kind == "b":
            raise self._error(f"its data set {where} has the dtype {value.dtype}, numbers are needed")
        if value.dtype.kind == "f" and value.size and max(-float(value.min()), float(value.max())) > LARGEST:
            raise self._error(f"its data set {where} holds values beyond {LARGEST:g}", "train it again")
        return value
