"""NIR graphs: a file of any framework that writes them in, a `Network` out, in Euler steps of dt."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import networkx as nx

from ....compiler.network import Network
from ....compiler.node import Shape
from ....compiler.nodes import LIF, Input
from ....errors import ModelFileError
from ..hdf5.child import read_tree
from ..options import ReadOptions
from .file import RawNode, graph_of
from .inline import FlatGraph, inline, safe_name
from .layers import LAYERS, Layer, as_image, read_layer
from .neurons import SILENT, SPIKING, read_neurons
from .notes import Notes
from .repair import LayerGraph, one_source_each, place_scales
from .values import check_size, neuron_shape, shape_of

if TYPE_CHECKING:
    from ..hdf5.tree import Tree


def read_nir(path: Path, options: ReadOptions) -> Network:
    """The network in a NIR file; `findings` has what was carried as it is and what was assumed.

    `options.steps` must be given; `dt`, `reset`, `encoding` and `max_value` are used.

    Raises:
        ModelFileError: the file is missing, damaged, too large, no NIR file, or `options` do not suffice.
        NetworkError: the graph contradicts itself.
        UnsupportedModelError: it has nodes that cannot be carried; all of them are in its `findings`.

    >>> read_nir(Path("missing.nir"), ReadOptions(steps=16))
    Traceback (most recent call last):
    snn_compile.errors.ModelFileError: missing.nir: does not exist; check the path
    """
    return network_from_nir_tree(path, read_tree(path), options)


def network_from_nir_tree(path: Path, tree: Tree, options: ReadOptions) -> Network:
    """As `read_nir`, from what `read_tree` gives of the file."""
    root = graph_of(path, tree)
    if options.steps is None:
        raise ModelFileError(str(path), "does not say how many steps a sample has", "give --steps")
    if not 1e-12 <= options.dt <= 1e6:
        raise ModelFileError(str(path), f"is read with dt = {options.dt} s, 1e-12 to 1e6 is possible", "give --dt")
    notes = Notes()
    flat = inline(root, notes)
    _note_options(flat, options, notes)
    thresholds = _join_thresholds(flat, notes)
    for name in flat.outputs:
        if flat.nodes[name].kind in (*LAYERS, "Input"):
            notes.unsupported(name, "is the output, and it has no neurons", "end the graph with neurons, such as LI")
    builder = _Builder(flat, thresholds, options, notes)
    builder.build()
    notes.settle()
    graph = builder.graph
    place_scales(graph, notes)
    notes.settle()
    one_source_each(graph)
    network = Network(graph.nodes(), tuple(graph.edges), options.steps, findings=notes.settle())
    for name, shape in network.shapes.items():
        check_size(name, shape)
    _check_outputs(network, flat, notes)
    return network


def _note_options(flat: FlatGraph, options: ReadOptions, notes: Notes) -> None:
    if any(node.kind in (*SILENT, *SPIKING, "Delay") for node in flat.nodes.values()):
        notes.add(flat.source, "assumed", f"a step takes dt = {options.dt:g} s; every step is one Euler step")
    if options.encoding is None:
        notes.add(flat.source, "assumed", "samples bring a value for every step (--encoding spikes)")
    if options.max_value is None:
        notes.add(flat.source, "assumed", "the largest raw value is 1 (--max-value)")


def _join_thresholds(flat: FlatGraph, notes: Notes) -> dict[str, RawNode]:
    """Takes out each Threshold right behind LI, CubaLI or I; returns it by the name of the neurons."""
    found: dict[str, RawNode] = {}
    for name in [name for name, node in flat.nodes.items() if node.kind in SILENT]:
        after = [t for s, t in flat.edges if s == name]
        if not after:
            continue
        target = flat.nodes[after[0]]
        heard = [s for s, t in flat.edges if t == after[0]]
        if len(after) > 1 or heard != [name] or target.kind != "Threshold" or name in flat.outputs:
            text = f"sends its membrane to {after[0]}; only spikes, or a membrane at the end, can be carried"
            notes.unsupported(name, text, "put a Threshold right behind it")
            continue
        found[name] = target
        notes.add(after[0], "exact", f"Threshold, the spikes of {name}, which nothing resets")
        flat.edges = [(name if s == after[0] else s, t) for s, t in flat.edges if t != after[0]]
        flat.outputs = [name if output == after[0] else output for output in flat.outputs]
        del flat.nodes[after[0]]
    return found


class _Builder:
    """Makes layers of the nodes, each when the shape that enters it is known."""

    def __init__(self, flat: FlatGraph, thresholds: dict[str, RawNode], options: ReadOptions, notes: Notes) -> None:
        self.flat, self.thresholds, self.options, self.notes = flat, thresholds, options, notes
        self.shapes: dict[str, Shape | None] = {}
        self.graph = LayerGraph()

    def build(self) -> None:
        """Fills `graph`; what cannot be carried is noted and left out."""
        order = self._order()
        position = {name: i for i, name in enumerate(order)}
        ends: dict[str, tuple[str, str]] = {}
        skipped: list[str] = []
        taken = set(order)
        for name in order:
            layers = self._layers(name)
            if not layers:
                skipped.append(name)
                layers = [Input(name, shape=(1,))]
            layers = [layers[0], *(replace(layer, name=safe_name(layer.name, taken)) for layer in layers[1:])]
            names = [layer.name for layer in layers]
            ends[name] = names[0], names[-1]
            self.graph.layers |= {layer.name: layer for layer in layers}
            self.graph.edges += itertools.pairwise(names)
        for s, t in self.flat.edges:
            self.graph.edges.append((ends[s][1], ends[t][0]))
            if position[s] >= position[t]:
                self.notes.add(t, "assumed", f"hears {s} one step later, as it closes a loop")
        for name in skipped:
            self.graph.bridge(name)

    def _order(self) -> list[str]:
        """From the input on, each node behind those that it hears but for what closes a loop."""
        graph = nx.DiGraph()
        graph.add_nodes_from(self.flat.nodes)
        graph.add_edges_from(self.flat.edges)
        return list(nx.dfs_postorder_nodes(graph, self.flat.source))[::-1]

    def _layers(self, name: str) -> list[Layer]:
        """The layers of a node, in the order in which they follow; none where it does nothing or cannot be carried."""
        node = self.flat.nodes[name]
        if name == self.flat.source:
            return [self._input(node, name)]
        known = [self.shapes[s] for s, t in self.flat.edges if t == name and self.shapes.get(s) is not None]
        shape = known[0] if known else None
        if node.kind in SILENT + SPIKING:
            return self._neurons(node, name, shape)
        self.shapes[name] = None
        if node.kind not in LAYERS:
            self.notes.unsupported(name, f"is a node of kind {node.kind[:40]!r}", "use the nodes of nir 1.0.8")
        elif shape is not None:
            made = read_layer(node, name, shape, self.options, self.notes)
            if made is not None:
                self.shapes[name] = made[1]
                return made[0]
        return []

    def _input(self, node: RawNode, name: str) -> Layer:
        shape = shape_of(node, name, "shape")
        self.shapes[name] = shape
        self.notes.add(name, "exact", f"Input, {shape}")
        encoding, largest = self.options.encoding or "spikes", self.options.max_value or 1
        return Input(name, shape=as_image(shape), encoding=encoding, max_value=largest)

    def _neurons(self, node: RawNode, name: str, shape: Shape | None) -> list[Layer]:
        self.shapes[name] = shape or neuron_shape(node)
        neurons = read_neurons(node, name, self.shapes[name], self.options, self.notes)
        if neurons is None:
            return []
        if name in self.thresholds:
            spikes = read_neurons(self.thresholds[name], name, self.shapes[name], self.options, Notes())
            if spikes is None:
                self.notes.unsupported(name, "has a Threshold that is not positive", "give it one above 0")
                return []
            neurons = replace(neurons, threshold=spikes.threshold, fires=">")
        return [neurons]


def _check_outputs(network: Network, flat: FlatGraph, notes: Notes) -> None:
    """The Output of the graph is the one population that nobody else hears."""
    for name in flat.outputs:
        if name not in network.outputs or not isinstance(network.by_name.get(name), LIF):
            text = "leads to the Output, and layers that follow hear it too"
            notes.unsupported(name, text, "give the Output one layer of neurons that nothing follows")
    if set(flat.outputs) != set(network.outputs) or len(flat.outputs) > 1:
        names = ", ".join(flat.outputs)
        notes.unsupported(flat.source, f"leads to the outputs {names}, one is possible", "give the Output one layer")
    notes.settle()
