"""`to_nir`: the folded network as a NIR graph, which computes the same in Euler steps of dt."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ...atomic import write_whole
from ...compiler.findings import Finding
from ...compiler.fold import fold
from ...compiler.network import Network
from ...compiler.nodes import Conv2d, Delay, Flatten, FloatArray, Input, Linear, Node, Population, Shape
from ...errors import UnsupportedError
from ..readers.nir.inline import safe_name
from .nir_neurons import Plain, check_kind, neuron_nodes

VERSION = "1.0.8"
"""Of the nir package whose layout is written."""
PACK_FROM = 1024
"""Bytes from which an array is packed with gzip, as nir.write does."""


def to_nir(network: Network, dt: float) -> bytes:
    """The content of a NIR file (HDF5); `dt` in seconds per step, which the file itself cannot say.

    Batch norm, scaling and pooling are folded into the weights first; pruned weights stay as zeros. What NIR cannot say
    and what does not change spikes is in `unsaid`.

    Raises:
        UnsupportedError: neurons in integers, a soft or late reset, a refractory time, several inputs, or a layer
            that NIR cannot say.

    >>> from snn_compile.compiler.nodes import LIF
    >>> nodes = (Input("x", shape=(2,)), Linear("fc", weight=np.eye(2)), LIF("y", fires=">"))
    >>> network = Network(nodes, (("x", "fc"), ("fc", "y")), steps=4)
    >>> to_nir(network, 1e-4)[1:4]
    b'HDF'
    """
    for node in network.nodes:
        check_kind(node)
    nodes, edges = _Graph(fold(network), dt).build()
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        _write_text(file, "version", VERSION)
        _write(file.create_group("node"), {"type": "NIRGraph", "nodes": nodes})
        file["node"].create_dataset("edges", data=edges, dtype=h5py.string_dtype())
    return buffer.getvalue()


def write_nir(network: Network, path: str | Path, dt: float) -> tuple[Finding, ...]:
    """Writes `to_nir`, whole or not at all; returns what the file does not say.

    Raises:
        UnsupportedError: see `to_nir`.
        OutputError: it cannot be written there.
    """
    write_whole(path, to_nir(network, dt))
    return unsaid(network, dt)


def unsaid(network: Network, dt: float) -> tuple[Finding, ...]:
    """What a reader of the NIR file has to be told, one finding each."""
    found = []
    for node in network.nodes:
        if isinstance(node, Input):
            text = f"NIR does not say the encoding {node.encoding}; its values are raw values / {node.max_value}"
            found.append(Finding(node.name, "assumed", text))
            text = f"NIR does not say dt = {dt:g} s, nor the {network.steps} steps of a sample"
            found.append(Finding(node.name, "assumed", text))
        elif getattr(node, "fires", None) == ">=":
            text = "fires at its threshold, NIR above it: the file has the next smaller float32"
            found.append(Finding(node.name, "assumed", text))
    if network.votes > 1:
        found.append(Finding("network", "assumed", f"NIR does not say that {network.votes} outputs vote for a class"))
    return tuple(found)


class _Graph:
    """Nodes and edges of the file, under names that other tools can take."""

    def __init__(self, network: Network, dt: float) -> None:
        self.network, self.dt = network, dt
        self.taken: set[str] = set()
        self.names = {name: safe_name(name.replace(".", "_"), self.taken) for name in network.by_name}
        self.nodes: dict[str, Plain] = {}
        self.edges: list[tuple[str, str]] = []
        self.last: dict[str, str] = {}
        self.biases: dict[str, FloatArray] = {}

    def build(self) -> tuple[dict[str, Plain], list[tuple[str, str]]]:
        """All nodes with their outputs."""
        inputs = [node.name for node in self.network.nodes if isinstance(node, Input)]
        if len(inputs) > 1:
            raise UnsupportedError(inputs[1], "is a second input, NIR files of one are written", "join the inputs")
        self._find_biases()
        for node in self.network.nodes:
            self._add(node)
        for source, target in self.network.edges:
            self.edges.append((self.last[source], self.names[target]))
        for name in self.network.outputs:
            output = safe_name("output", self.taken)
            self.nodes[output] = {"type": "Output", "shape": np.array(self.network.shapes[name])}
            self.edges.append((self.last[name], output))
        return self.nodes, self.edges

    def _add(self, node: Node) -> None:
        name = self.names[node.name]
        chain = [(name, plain) for plain in self._plain(node)]
        chain = [(name, chain[0][1]), *((safe_name(f"{name}-threshold", self.taken), p) for _, p in chain[1:])]
        self.nodes |= dict(chain)
        self.edges += [(a, b) for (a, _), (b, _) in zip(chain, chain[1:], strict=False)]
        self.last[node.name] = chain[-1][0]

    def _plain(self, node: Node) -> list[Plain]:
        shape = self.network.shapes[node.name]
        if isinstance(node, Input):
            return [{"type": "Input", "shape": np.array(shape)}]
        (before, *_) = (s for s, t in self.network.edges if t == node.name)
        entering = self.network.shapes[before]
        if isinstance(node, Linear):
            affine = {} if node.bias is None else {"bias": node.bias}
            return [{"type": "Affine" if affine else "Linear", "weight": node.weight, **affine}]
        if isinstance(node, Conv2d):
            return [_conv(node, entering)]
        if isinstance(node, Flatten):
            return [{"type": "Flatten", "input_type": np.array(entering), "start_dim": 0, "end_dim": -1}]
        if isinstance(node, Delay):
            late = np.broadcast_to(np.asarray(node.steps, np.float64).reshape(_fitting(node.steps, shape)), shape)
            return [{"type": "Delay", "delay": late * self.dt}]
        return neuron_nodes(node, shape, self.dt, self.biases.get(node.name))

    def _find_biases(self) -> None:
        """The biases by place of convolutions, which NIR's Conv2d cannot hold, for the neurons behind them."""
        for node in self.network.nodes:
            if isinstance(node, Conv2d) and node.bias is not None and node.bias.ndim == 3:
                (target,) = (t for s, t in self.network.edges if s == node.name)
                if isinstance(self.network.by_name[target], Flatten):
                    (target,) = (t for s, t in self.network.edges if s == target)
                if not isinstance(self.network.by_name[target], Population):
                    problem = f"has a bias that differs by place, and {target} follows, no neurons"
                    raise UnsupportedError(node.name, problem, "leave its padding or its bias out")
                bias = node.bias.reshape(self.network.shapes[target])
                self.biases[target] = bias + self.biases.get(target, 0.0)


def _fitting(values: Any, shape: Shape) -> Shape:
    return shape if np.ndim(values) else ()


def _conv(node: Conv2d, shape: Shape) -> Plain:
    """nir's own reader takes the number of rows for both sides of a kernel, so it gets a square one, with zeros."""
    rows, columns = node.weight.shape[2:]
    side = max(rows, columns)
    more = (side - rows, side - columns)
    if any(extra % 2 for extra in more):
        problem = f"its kernel is {rows} x {columns}, which nir reads as {rows} x {rows}"
        raise UnsupportedError(node.name, problem, "use a square kernel, or sides that differ by an even number")
    edge = [(0, 0), (0, 0), *((extra // 2, extra // 2) for extra in more)]
    padding = [p + d * (extra // 2) for p, d, extra in zip(node.padding, node.dilation, more, strict=True)]
    bias = node.bias if node.bias is not None and node.bias.ndim == 1 else np.zeros(len(node.weight))
    return {
        "type": "Conv2d", "input_shape": np.array(shape[1:]), "weight": np.pad(node.weight, edge), "bias": bias,
        "stride": np.array(node.stride), "padding": np.array(padding), "dilation": np.array(node.dilation),
        "groups": node.groups,
    }  # fmt: skip


def _write_text(group: Any, key: str, text: str) -> None:
    group.create_dataset(key, data=text, dtype=h5py.string_dtype())


def _write(group: Any, content: Mapping[str, Any]) -> None:
    for key, value in content.items():
        if isinstance(value, dict):
            _write(group.create_group(key), value)
        elif isinstance(value, str):
            _write_text(group, key, value)
        else:
            array = np.asarray(value)
            packed = {"compression": "gzip"} if array.nbytes >= PACK_FROM else {}
            group.create_dataset(key, data=array, track_times=False, **packed)
