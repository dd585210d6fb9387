"""Repairs of a graph of layers, until it is one that a `Network` can hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import networkx as nx
import numpy as np

from ....compiler.nodes import LIF, Conv2d, Flatten, Input, Linear, Node, Scale
from ....errors import NetworkError
from .file import MAX_NODES
from .inline import Edge, safe_name
from .layers import ElementScale, Layer
from .notes import Notes


@dataclass
class LayerGraph:
    """Layers by name in the order in which they compute, and the edges between them."""

    layers: dict[str, Layer] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)

    def before(self, name: str) -> list[str]:
        return [s for s, t in self.edges if t == name]

    def after(self, name: str) -> list[str]:
        return [t for s, t in self.edges if s == name]

    def bridge(self, name: str) -> None:
        """Takes a layer out; what it heard leads to what heard it."""
        before, after = self.before(name), self.after(name)
        rest = [edge for edge in self.edges if name not in edge]
        self.edges = list(dict.fromkeys(rest + [(s, t) for s in before for t in after]))
        del self.layers[name]

    def nodes(self) -> tuple[Node, ...]:
        return tuple(layer for layer in self.layers.values() if not isinstance(layer, ElementScale))


def place_scales(graph: LayerGraph, notes: Notes) -> None:
    """A factor per element goes behind the flattening that follows it, or into the gain of the neurons."""
    for name, scale in [(n, s) for n, s in graph.layers.items() if isinstance(s, ElementScale)]:
        after = graph.after(name)
        target = graph.layers[after[0]] if len(after) == 1 and len(graph.before(after[0])) == 1 else None
        if isinstance(target, LIF):
            gain = np.asarray(target.gain, np.float64).ravel() * scale.factor
            graph.layers[target.name] = replace(target, gain=gain)
            graph.bridge(name)
        elif isinstance(target, Flatten):
            graph.layers[name] = Flatten(name)
            graph.layers[target.name] = Scale(target.name, factor=scale.factor)
        else:
            text = "has a factor per element of an image, and neither neurons nor a flattening follow it alone"
            notes.unsupported(name, text, "use one factor per channel")


def one_source_each(graph: LayerGraph) -> None:
    """Where several edges meet in a layer, one copy of it for each; the neurons behind add them up. One has the bias.

    Raises:
        NetworkError: a loop has no neurons in it, or the copies get too many.
    """
    stateless = [name for name, layer in graph.layers.items() if not isinstance(layer, (LIF, Input))]
    inner = nx.DiGraph()
    inner.add_nodes_from(stateless)
    inner.add_edges_from((s, t) for s, t in graph.edges if s in inner and t in inner)
    if not nx.is_directed_acyclic_graph(inner):
        raise NetworkError(stateless[0], "stands in a graph with a loop without neurons in it", "put neurons into it")
    for name in list(nx.topological_sort(inner)):
        before = graph.before(name)
        if len(before) > 1:
            _split(graph, name, before)


def _split(graph: LayerGraph, name: str, before: list[str]) -> None:
    if len(graph.layers) + len(before) > 2 * MAX_NODES:
        raise NetworkError(
            name, f"needs a copy per edge, more than {2 * MAX_NODES} layers", "let edges meet in neurons"
        )
    taken, layer, after = set(graph.layers), graph.layers[name], graph.after(name)
    bare = replace(layer, bias=None) if isinstance(layer, (Linear, Conv2d)) else layer
    graph.edges = [edge for edge in graph.edges if edge[1] != name] + [(before[0], name)]
    copies: dict[str, Layer] = {}
    for source in before[1:]:
        copy = safe_name(name, taken)
        copies[copy] = replace(bare, name=copy)
        graph.edges += [(source, copy), *((copy, target) for target in after)]
    graph.layers = dict(_behind(graph.layers, name, copies))


def _behind(layers: dict[str, Layer], name: str, copies: dict[str, Layer]) -> Iterable[tuple[str, Layer]]:
    for key, layer in layers.items():
        yield key, layer
        if key == name:
            yield from copies.items()
