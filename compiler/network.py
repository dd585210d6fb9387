"""`Network`: float layers as trained, a graph of `nodes`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from ..errors import NetworkError
from .findings import Finding
from .nodes import LIF, Conv2d, FixedNeurons, FloatArray, Input, Linear, Node, Population, Shape, check


@dataclass(frozen=True, eq=False)
class Network:
    """A trained float network: nodes, edges between their names, steps per sample.

    Attributes:
        nodes: nodes with distinct names; edges that meet in neurons are summed.
        edges: pairs (source name, target name).
        steps: T, steps per sample.
        rates: per population, mean spikes per neuron and step (shape of the population, flattened), or empty.
        calibration: raw input samples (samples, …) of the first input, or None.
        facts: what the file says of its training (plain values, for the report).
        votes: output neurons per class, one class after the other; their spikes are summed.
        findings: what the reader assumed and approximated.
    """

    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]
    steps: int
    rates: Mapping[str, FloatArray] = field(default_factory=dict)
    calibration: NDArray[Any] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    votes: int = 1
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        names = [node.name for node in self.nodes]
        for name in names:
            check(names.count(name) == 1, name, "stands twice in the network", "give each layer its own name")
        check(len(self.edges) == len(set(self.edges)), "network", "an edge stands twice in it")
        for source, target in self.edges:
            for end in (source, target):
                check(end in names, end, f"the edge {source} -> {target} names a layer that is not there")
        check(
            isinstance(self.steps, int) and 1 <= self.steps <= 2**16,
            "network",
            f"has {self.steps} steps per sample, 1 to 65536 is possible",
        )
        check(any(isinstance(node, Input) for node in self.nodes), "network", "has no input")
        check(any(isinstance(node, Population) for node in self.nodes), "network", "has no neurons")
        for node in self.nodes:
            fan_in = sum(target == node.name for _, target in self.edges)
            if isinstance(node, Input):
                check(fan_in == 0, node.name, "is an input, yet an edge ends there")
            elif isinstance(node, Population):
                check(fan_in >= 1, node.name, "gets no input")
            else:
                check(fan_in == 1, node.name, f"gets {fan_in} inputs, one is needed")
        for name in self.graph:
            if not isinstance(self.by_name[name], Population) and not any(s == name for s, _ in self.edges):
                raise NetworkError(name, "leads nowhere", "end the network with neurons")
        self._check_constants()
        outputs = sum(math.prod(self.shapes[name]) for name in self.outputs)
        check(
            isinstance(self.votes, int) and self.votes >= 1 and outputs % self.votes == 0,
            "network",
            f"has {self.votes} votes per class for {outputs} outputs",
            "give a number that divides the outputs",
        )
        check(bool(self.outputs), "network", "has no output: every spiking layer feeds another", "add a readout layer")

    def _check_constants(self) -> None:
        """One constant for each neuron, and nobody hears a readout."""
        for node in self.nodes:
            shape = self.shapes[node.name]
            for key in node.per_neuron:
                array = getattr(node, key)
                fits = array.shape == shape or array.shape == (math.prod(shape),)
                check(fits, node.name, f"{key} has the shape {array.shape}, the layer has {shape}")
            if isinstance(node, Population) and node.readout and any(s == node.name for s, _ in self.edges):
                raise NetworkError(node.name, "never spikes, yet layers follow it", "end the network there")

    @cached_property
    def by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def graph(self) -> nx.DiGraph:
        graph = nx.DiGraph()
        graph.add_nodes_from(node.name for node in self.nodes)
        graph.add_edges_from(self.edges)
        return graph

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """Names of the populations that no other population hears."""
        found = []
        for node in self.nodes:
            if isinstance(node, Population):
                hearers = {n for n in nx.descendants(self.graph, node.name) if isinstance(self.by_name[n], Population)}
                if hearers <= {node.name}:
                    found.append(node.name)
        return tuple(found)

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """The shape that leaves each node, without batch and time."""
        stateless = self.graph.subgraph(n for n in self.graph if not isinstance(self.by_name[n], Population))
        if not nx.is_directed_acyclic_graph(stateless):
            raise NetworkError("network", "has a loop without neurons in it", "put a LIF layer into the loop")
        shapes: dict[str, Shape] = {n.name: n.shape for n in self.nodes if isinstance(n, Input)}
        waiting = [node for node in self.nodes if node.name not in shapes]
        while waiting:
            ready = [n for n in waiting if any(s in shapes for s, t in self.edges if t == n.name)]
            if not ready:
                raise NetworkError(waiting[0].name, "is not reached from any input", "connect it or leave it out")
            for node in ready:
                source = next(s for s, t in self.edges if t == node.name and s in shapes)
                shapes[node.name] = node.output_shape(shapes[source])
            waiting = [node for node in waiting if node.name not in shapes]
        for source, target in self.edges:
            got = self.by_name[target].output_shape(shapes[source])
            check(got == shapes[target], target, f"gets the shapes {shapes[target]} and {got}, they must be the same")
        return shapes

    def dump(self) -> str:
        """A short stable text for tests and people.

        >>> net = Network((Input("x", shape=(2,)), Linear("fc", weight=np.eye(2)), LIF("y")),
        ...               (("x", "fc"), ("fc", "y")), steps=4)
        >>> print(net.dump())
        network, 4 steps
          x: Input (2,) graded <-
          fc: Linear (2,) 2 weights <- x
          y: LIF (2,) tau 2 threshold 1 >= hard <- fc
        """
        lines = [f"network, {self.steps} steps"]
        for node in self.nodes:
            sources = ", ".join(s for s, t in self.edges if t == node.name)
            lines.append(f"  {node.name}: {self.describe(node)} <- {sources}".rstrip())
        return "\n".join(lines)

    def describe(self, node: Node) -> str:
        """A few words on a node: kind, shape of its result, settings."""
        note = ""
        if isinstance(node, Input):
            note = f" {node.encoding}"
        elif isinstance(node, (Linear, Conv2d)):
            note = f" {np.count_nonzero(node.weight)} weights" + (" + bias" if node.bias is not None else "")
        elif isinstance(node, LIF):
            note = f" tau {_short(node.tau)} threshold {_short(node.threshold)} {node.fires} {node.reset}"
            usual = {"refractory": 0, "tau_syn": 1.0, "reset_delay": False, "gain": 1.0, "bias": 0.0}
            for key, value in usual.items():
                own = getattr(node, key)
                note += f" {key} {_short(own)}" if isinstance(own, np.ndarray) or own != value else ""
        elif isinstance(node, FixedNeurons):
            note = f" {node.model} du {_short(node.du)} dv {_short(node.dv)} vth {node.vth}"
        return f"{type(node).__name__} {self.shapes[node.name]}{note}"


def _short(value: Any) -> str:
    return f"{value.min():g}..{value.max():g}" if isinstance(value, np.ndarray) else f"{value:g}"
