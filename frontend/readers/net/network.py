"""lava-dl's `.net`: the integers of a trained network as they are, in the order in which NetX runs them.

The file has its shapes as channels, rows, columns, and its kernels as PyTorch has them. NetX flips the kernels, turns
all into columns, rows, channels and convolves, which flips them back: what it computes is the cross-correlation of
PyTorch, neuron (x, y, c) of NetX is neuron (c, y, x) here, and its ``transpose(2, 1, 0).flatten()`` is `Flatten`.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ....compiler.findings import UnsupportedModelError
from ....compiler.network import Network
from ....compiler.neuron_nodes import FixedNeurons
from ....compiler.nodes import Delay, Flatten, Input, Linear, Node, Shape
from ....errors import NetworkError
from ..hdf5.child import read_tree
from ..options import ReadOptions
from .fields import AGAIN, Findings, flag, integers, numbers, text
from .file import Layer, layers_of
from .neurons import bias_mantissas, make_neurons
from .synapses import Source, make_convolution, make_dense, make_input_layer, make_pool

if TYPE_CHECKING:
    from ..hdf5.tree import Tree

MAX_NEURONS = 2**22
"""Per layer."""
GRADED_MAX = 255
MAX_JOINED = 250
"""Sources of one layer behind a concat."""
MAX_JOINED_IN_ALL = 4096
"""As many layers of weights may come of the concats of a file."""
MAX_NAMED = 8
"""Sources that a finding names."""


def read_net(path: str | Path, options: ReadOptions) -> Network:
    """The network in a lava-dl `.net`: integer weights, `FixedNeurons`, delays; nothing is quantised again.

    Raises:
        ModelFileError: the file is missing, damaged, too large, or no `.net`.
        UnsupportedModelError: layers that cannot be carried; it has the findings of all layers.
        NetworkError: the layers contradict each other.

    >>> read_net("missing.net", ReadOptions())
    Traceback (most recent call last):
    snn_compile.errors.ModelFileError: missing.net: does not exist; check the path
    """
    return network_from_net_tree(Path(path), read_tree(Path(path)), options)


def network_from_net_tree(path: Path, tree: Tree, options: ReadOptions) -> Network:
    """As `read_net`, from what `read_tree` gives of the file."""
    layers, steps = layers_of(path, tree)
    return _Builder(options).network(layers, options.steps or steps)


class _Builder:
    """Layer by layer: nodes, edges, and what leaves each layer of the file."""

    def __init__(self, options: ReadOptions) -> None:
        self.options, self.findings = options, Findings()
        self.nodes: list[Node] = []
        self.edges: list[tuple[str, str]] = []
        self.current: list[Source] = []
        self.leaves: list[list[Source]] = []
        self.votes = 1
        self.joined = 0

    def network(self, layers: list[Layer], steps: int | None) -> Network:
        makers = {
            "input": self._input, "dense": self._synaptic, "dense_rec": self._synaptic, "conv": self._synaptic,
            "pool": self._synaptic, "flatten": self._flatten, "average": self._average, "concat": self._concat,
        }  # fmt: skip
        if steps is None:
            self.findings.refuse("network", "does not say how many steps a sample has", "give them with --steps")
        for position, layer in enumerate(layers):
            if layer.kind not in makers:
                way_out = f"use {', '.join(makers)}"
                self.findings.refuse(layer.name, f"is a layer of type {layer.kind}", way_out)
            else:
                if not self.current and layer.kind != "input":
                    self._guess_input(layer, layers)
                makers[layer.kind](layer, layers[position + 1 :])
            if self.findings.refused(layer.name):
                break  # what follows has no shape to start from
            self.leaves.append(self.current)
            if not any(finding.layer == layer.name for finding in self.findings.found):
                self.findings.exact(layer.name, "integers as they are")
        if any(finding.kind == "unsupported" for finding in self.findings.found):
            raise UnsupportedModelError(self.findings.found)
        return Network(
            tuple(self.nodes), tuple(self.edges), steps or 1, votes=self.votes, findings=tuple(self.findings.found),
            facts={"format": "lava-dl .net"},
        )  # fmt: skip

    def _add(self, node: Node, *sources: str) -> str:
        self.nodes.append(node)
        self.edges += [(source, node.name) for source in sources]
        return node.name

    # --- inputs

    def _input(self, layer: Layer, following: list[Layer]) -> None:
        shape = _shape(layer, self.findings)
        if self.current:
            self.findings.refuse(layer.name, "stands behind other layers", "put it first")
        if self.findings.refused(layer.name):
            return
        self._start(layer, shape, _first_kind(layer, following))
        if "neuron/type" not in layer.fields:
            return
        (source,) = self.current
        neurons = make_neurons(layer, f"neurons{layer.index}", self.findings, last=False)
        if neurons is not None and neurons.model == "sigma-delta":
            neurons = replace(neurons, activation="identity")
        synapses = make_input_layer(layer, source, neurons, self.findings)
        if neurons is not None and synapses is not None and not self.findings.refused(layer.name):
            self._connect(layer, [synapses], neurons, following)

    def _guess_input(self, layer: Layer, layers: list[Layer]) -> None:
        """Without an input layer its shape is what the first dense layer takes, or what the user says."""
        shape = self.options.input_shape
        if shape is None and layer.kind in ("dense", "dense_rec"):
            weight = numbers(layer, "weight")
            if weight is not None and weight.ndim == 2:
                shape = (weight.shape[1],)
        if shape is None:
            problem = "has no input layer before it, so the shape of its input is not known"
            self.findings.refuse(layer.name, problem, "give it with --input-shape")
            shape = (1, 1, 1)
        self._start(layer, shape, _first_kind(layer, layers))

    def _start(self, layer: Layer, shape: Shape, kind: str) -> None:
        encoding = self.options.encoding or ("spikes" if kind == "spikes" else "graded")
        most = self.options.max_value or (1 if encoding == "spikes" else GRADED_MAX)
        if self.options.encoding is None:
            self.findings.assume(layer.name, f"takes {_ENCODINGS[encoding]}", "give --encoding")
        if self.options.max_value is None:
            self.findings.assume(layer.name, f"takes values 0 to {most}, as they are", "give --max-value")
        self.current = [(self._add(Input("input", shape=shape, max_value=most, encoding=encoding)), shape)]

    # --- layers with synapses

    def _synaptic(self, layer: Layer, following: list[Layer]) -> None:
        last = all(other.kind in ("average", "flatten") for other in following)
        neurons = make_neurons(layer, f"neurons{layer.index}", self.findings, last)
        bias = integers(layer, "bias", self.findings)
        mantissas = None if bias is None or neurons is None else bias_mantissas(neurons, bias)
        maker = {"conv": make_convolution, "pool": make_pool}.get(layer.kind, make_dense)
        synapses = maker(layer, self.current, mantissas, self.findings)
        if synapses and neurons is not None and not self.findings.refused(layer.name):
            self._connect(layer, synapses, neurons, following)

    def _connect(self, layer: Layer, synapses: list[Node], neurons: FixedNeurons, following: list[Layer]) -> None:
        """Sources, synapses, neurons, the loop of a recurrent layer, and the delay of what leaves."""
        shapes = []
        for (source, shape), node in zip(self.current, synapses, strict=True):
            if isinstance(node, Linear) and len(shape) > 1:
                source = self._add(Flatten(f"{node.name}-flat"), source)
                shape = (math.prod(shape),)
            shapes.append(node.output_shape(shape))
            self._add(node, source)
        if len(set(shapes)) > 1 or math.prod(shapes[0]) > MAX_NEURONS:
            problem = f"has {math.prod(shapes[0])} neurons, {MAX_NEURONS} are possible"
            raise NetworkError(layer.name, problem, "make it smaller")
        self._check_shape(layer, shapes[0])
        self._add(neurons, *(node.name for node in synapses))
        if layer.kind == "dense_rec":
            self._loop(layer, neurons, shapes[0])
        self.current = [(neurons.name, shapes[0])]
        self._delay(layer, neurons, following)

    def _check_shape(self, layer: Layer, shape: Shape) -> None:
        given = _shape(layer, self.findings) if "shape" in layer.fields else shape
        same = given == shape or (len(shape) == 1 and math.prod(given) == shape[0])
        if not same and not self.findings.refused(layer.name):
            problem = f"has the shape {shape} by its weights, the file says {given}"
            raise NetworkError(layer.name, problem, AGAIN)

    def _loop(self, layer: Layer, neurons: FixedNeurons, shape: Shape) -> None:
        weight = integers(layer, "weight_rec", self.findings)
        if weight is None or weight.size != shape[0] ** 2:
            size = "none" if weight is None else weight.size
            problem = f"has {size} recurrent weights for {shape[0]} neurons"
            self.findings.refuse(layer.name, problem, AGAIN)
            return
        square = weight.reshape(shape[0], shape[0])
        self._add(Linear(f"{layer.name}-loop", weight=square), neurons.name)
        self.edges.append((f"{layer.name}-loop", neurons.name))
        if flag(layer, "delay"):
            self.findings.assume(layer.name, "its delays hold back what it sends on, not its loop; NetX delays both")

    def _delay(self, layer: Layer, neurons: FixedNeurons, following: list[Layer]) -> None:
        """Axonal delays, as slayer trains them: they hold back the spikes of this layer, one number per neuron."""
        delays = integers(layer, "delay", self.findings)
        (_, shape) = self.current[0]
        if delays is None or not delays.any():
            return
        if delays.min() < 0 or delays.max() >= 2**16:
            self.findings.refuse(layer.name, f"has delays {delays.min():g} to {delays.max():g}", "use 0 to 62 steps")
            return
        flat = delays.astype(np.int64).ravel()
        if len(flat) == shape[0] != math.prod(shape):
            self.findings.budget.take(layer.name, shape, "the delay of each of its neurons")
            flat = np.repeat(flat, math.prod(shape[1:]))
        if len(flat) not in (1, math.prod(shape)):
            problem = f"has {len(flat)} delays for {math.prod(shape)} neurons"
            self.findings.refuse(layer.name, problem, AGAIN)
        elif all(other.kind in ("average", "flatten") for other in following):
            problem = "delays the answer of the network, whose spikes the host counts"
            self.findings.refuse(layer.name, problem, "leave the delays of the last layer out")
        else:
            if "bias" in layer.fields:
                self.findings.assume(layer.name, "its delays hold back its spikes; NetX holds back its inputs")
            name = self._add(Delay(f"delay{layer.index}", steps=flat[0] if len(flat) == 1 else flat), neurons.name)
            self.current = [(name, shape)]

    # --- layers without synapses

    def _flatten(self, layer: Layer, following: list[Layer]) -> None:
        """Nothing to do: the next dense layer flattens what it gets."""
        size = sum(math.prod(shape) for _, shape in self.current)
        if "shape" in layer.fields and math.prod(_shape(layer, self.findings)) != size:
            self.findings.refuse(layer.name, f"its shape is not that of the {size} values that enter it", AGAIN)

    def _average(self, layer: Layer, following: list[Layer]) -> None:
        """slayer's mean over groups of neighbours: as many votes for each class."""
        size = sum(math.prod(shape) for _, shape in self.current)
        groups = math.prod(_shape(layer, self.findings)) if "shape" in layer.fields else size
        if following or len(self.current) != 1 or size % groups:
            problem = f"averages {size} neurons into {groups} groups, or stands before other layers"
            self.findings.refuse(layer.name, problem, "end the network with it, in groups of one size")
            return
        self.votes = size // groups
        self.findings.exact(layer.name, f"{self.votes} neurons vote for each class: sums in place of means")

    def _concat(self, layer: Layer, following: list[Layer]) -> None:
        """What the layer before sends, then what the `layers` send; their weights are taken apart in the next layer."""
        ids = integers(layer, "layers", self.findings)
        if ids is None or ids.size == 0 or ids.min() < 0 or ids.max() >= len(self.leaves):
            problem = f"joins layers that are not among the {len(self.leaves)} before it"
            self.findings.refuse(layer.name, problem, "give the numbers of earlier layers in `layers`")
            return
        if ids.size != len(np.unique(ids)):
            self.findings.refuse(layer.name, f"joins a layer twice ({ids.size} numbers)", "name each layer once")
            return
        named = [int(i) for i in ids.ravel()]
        order = named if len(self.leaves) - 1 in named else [len(self.leaves) - 1, *named]
        count = sum(len(self.leaves[i]) for i in order)
        self.joined += count
        if count > MAX_JOINED or self.joined > MAX_JOINED_IN_ALL:
            problem = (
                f"joins {count} sources (all concats {self.joined}), {MAX_JOINED} ({MAX_JOINED_IN_ALL}) are possible"
            )
            self.findings.refuse(layer.name, problem, "join fewer layers")
            return
        self.current = [source for i in order for source in self.leaves[i]]
        names = " + ".join(name for name, _ in self.current[:MAX_NAMED])
        names += f" and {count - MAX_NAMED} more" if count > MAX_NAMED else ""
        self.findings.assume(layer.name, f"joins {names} along the channels, in this order")


_ENCODINGS = {"spikes": "spikes, one payload per step", "graded": "a value in each step", "rate": "values as rates"}


def _shape(layer: Layer, findings: Findings) -> Shape:
    """(channels, rows, columns), or one number of neurons."""
    value = integers(layer, "shape", findings)
    sizes = () if value is None else tuple(int(n) for n in value.ravel()[:4])
    if 1 <= len(sizes) <= 3 and min(sizes) >= 1 and math.prod(sizes) <= MAX_NEURONS:
        return (1, *sizes) if len(sizes) == 2 else sizes
    findings.refuse(layer.name, f"has the shape {sizes}, up to three sizes and {MAX_NEURONS} neurons", AGAIN)
    return (1,)


def _first_kind(layer: Layer, following: list[Layer]) -> str:
    """What the first neurons listen to: values where they encode an input or its changes, else spikes."""
    if "neuron/type" in layer.fields and layer.kind == "input":
        return "graded"
    for other in [layer, *following]:
        if "neuron/type" in other.fields:
            return "graded" if text(other, "neuron/type") == "SDNN" else "spikes"
    return "spikes"
