"""Layers of a file, one after the other, put together to a `Network` with the findings about each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ....compiler import nodes as ir
from ....compiler.findings import Finding, UnsupportedModelError
from ....compiler.network import Network
from ....errors import ModelFileError, NetworkError, UnsupportedError
from ..options import ReadOptions
from .layers import NeedsShapeError, OptionalShape, Piece, refuse
from .module_tree import MAX_WEIGHTS

MAX_VALUES = 2**26
POOL_SPIKES = "train with AvgPool2d, or pool the spikes behind the neurons"
INPUT = "input"


class Chain:
    """Collects pieces; each hears the one before it, or those that it names (also later ones).

    Raises:
        ModelFileError: steps, encoding, scale or shape of the input are said nowhere.
        UnsupportedModelError: a layer cannot be carried; it holds the findings about all.
        NetworkError: the layers do not fit each other.
    """

    def __init__(self, subject: str, options: ReadOptions) -> None:
        self.subject = subject
        self.options = options
        self.votes = 1
        self.weights = 0
        self.mean_std: tuple[Sequence[float], Sequence[float]] | None = None
        self.nodes: list[ir.Node] = []
        self.edges: list[tuple[str, str]] = []
        self.findings: list[Finding] = []
        self.exits: dict[str, str] = {}
        self.shapes: dict[str, OptionalShape] = {}
        self.spikes: dict[str, bool | None] = {}
        self.waiting: list[tuple[str, str]] = []
        self.copies: dict[str, list[str]] = {}
        self.last = INPUT

    def begin(self, shape: OptionalShape) -> None:
        """The input's shape, None where it cannot be known."""
        if shape is not None and not (all(n < MAX_VALUES for n in shape) and math.prod(shape) <= MAX_VALUES):
            raise ModelFileError(self.subject, f"has more than {MAX_VALUES} input values", "correct the input's shape")
        self.exits[INPUT], self.shapes[INPUT], self.spikes[INPUT] = INPUT, shape, False
        if self.mean_std is not None:
            mean, std = (np.asarray(values, float) for values in self.mean_std)
            self.add("normalise", lambda _: Piece.of(ir.Normalise("normalise", mean=mean, std=std)))

    def add(
        self,
        name: str,
        make: Callable[[OptionalShape], Piece | None],
        sources: Sequence[str] | None = None,
        text: str = "carried as it is",
    ) -> None:
        """One layer; `make` gets the shape that enters it, and gives its nodes, or None where it does nothing."""
        heard = [self.last] if sources is None else list(sources)
        known = [s for s in heard if s in self.exits and self.shapes.get(s) is not None]
        shape = self.shapes[known[0]] if known else None
        try:
            piece = make(shape)
            nodes = {node.name: node for node in piece.nodes} if piece else {}
            self._check_pool(name, piece, nodes, heard)
            after = nodes[piece.entry].output_shape(shape) if piece and shape is not None else shape
            self._check_size(name, nodes, after)
        except (UnsupportedError, NetworkError) as error:
            if not (isinstance(error, NeedsShapeError) and shape is None and self._shape_is_open):
                self.findings.append(Finding(name, "unsupported", error.problem, error.way_out))
            self.exits[name], self.shapes[name], self.last = name, None, name
            return
        self.findings.append(Finding(name, "exact", text))
        self.shapes[name], self.spikes[name] = after, self._gives_spikes(piece, heard)
        if piece is None:
            self.exits[name] = self.exits.get(heard[0], heard[0])
        else:
            self.findings += piece.findings
            self._take(name, piece, nodes[piece.entry], heard)
        self.last = name

    def _check_pool(self, name: str, piece: Piece | None, nodes: Mapping[str, ir.Node], heard: Sequence[str]) -> None:
        """The largest of values that are no spikes is nothing that neurons could find."""
        pools = piece is not None and isinstance(nodes[piece.entry], ir.MaxPool2d)
        if pools and self.spikes.get(heard[0]) is False:
            raise refuse(name, f"takes the largest of values of {heard[0]}, which are no spikes", POOL_SPIKES)

    def _gives_spikes(self, piece: Piece | None, heard: Sequence[str]) -> bool | None:
        """Whether a layer gives 0 and 1; None where that is not known."""
        last = next((node for node in piece.nodes if node.name == piece.exit), None) if piece else None
        return (
            self.spikes.get(heard[0])
            if last is None or isinstance(last, ir.Dropout)
            else isinstance(last, ir.Population)
        )

    def _check_size(self, name: str, nodes: Mapping[str, ir.Node], shape: OptionalShape) -> None:
        self.weights += sum(n.weight.size for n in nodes.values() if isinstance(n, (ir.Linear, ir.Conv2d)))
        if self.weights > MAX_WEIGHTS:
            raise refuse(name, f"is beyond {MAX_WEIGHTS} weights of all layers together", "make the network smaller")
        if shape is not None and math.prod(shape) > MAX_VALUES:
            raise refuse(name, f"gives {math.prod(shape):.3g} values, {MAX_VALUES} are possible", "make it smaller")

    @property
    def _shape_is_open(self) -> bool:
        """Whether a shape is unknown for a reason that is told anyway."""
        return self.shapes[INPUT] is None or any(finding.kind == "unsupported" for finding in self.findings)

    def _take(self, name: str, piece: Piece, entry: ir.Node, heard: Sequence[str]) -> None:
        """Its nodes and edges; weights that hear several layers stand once for each."""
        self.nodes += piece.nodes
        self.edges += piece.edges
        self.waiting.append((heard[0], piece.entry))
        for other in heard[1:]:
            target = piece.entry
            if isinstance(entry, (ir.Linear, ir.Conv2d)):
                copy = _again(entry, f"{name}.from.{other}")
                self.nodes.append(copy)
                self.findings.append(Finding(name, "exact", f"one copy of its weights hears {other}"))
                target = copy.name
                self.copies.setdefault(name, []).append(target)
            elif not isinstance(entry, ir.Population):
                problem = f"hears {len(heard)} layers, which only neurons, linear and conv2d layers sum"
                self.findings.append(Finding(name, "unsupported", problem, "sum them in neurons"))
            self.waiting.append((other, target))
        self.exits[name] = piece.exit

    def network(self, steps: int | None = None, encoding: Any = None, max_value: int | None = None) -> Network:
        """All layers together; the arguments are what the file itself says."""
        if any(finding.kind == "unsupported" for finding in self.findings):
            raise UnsupportedModelError(self.findings)
        source = self._input(encoding, max_value)
        steps = self.options.steps if steps is None else steps
        if steps is None:
            raise self._unsaid("how many steps a sample takes", "--steps")
        network = Network(
            (source, *self.nodes), tuple(dict.fromkeys(self._edges())), steps, votes=self.votes,
            findings=tuple(self.findings),
        )  # fmt: skip
        for name, shape in network.shapes.items():
            if math.prod(shape) > MAX_VALUES:
                raise NetworkError(name, f"has the shape {shape}, {MAX_VALUES} values are possible", "make it smaller")
        return network

    def _edges(self) -> list[tuple[str, str]]:
        edges = list(self.edges)
        for source, target in self.waiting:
            if source not in self.exits:
                raise NetworkError(target, f"hears {source!r}, which is no layer", "correct its from")
            edges += [(self.exits[source], target)] + [(copy, target) for copy in self.copies.get(source, [])]
        return edges

    def _input(self, encoding: Any, max_value: int | None) -> ir.Input:
        shape, how = self.shapes[INPUT], encoding or self.options.encoding
        if shape is None:
            raise self._unsaid("the shape of its input", "--input-shape")
        if how is None:
            raise self._unsaid("how samples enter", "--encoding")
        highest = self.options.max_value if max_value is None else max_value
        if highest is None and how == "spikes":
            highest = 1
            self.findings.insert(0, Finding(INPUT, "assumed", "its spikes are 0 and 1"))
        if highest is None:
            raise self._unsaid("how large its input becomes", "--max-value")
        return ir.Input(INPUT, shape=tuple(shape), max_value=highest, encoding=how)

    def _unsaid(self, what: str, flag: str) -> ModelFileError:
        return ModelFileError(self.subject, f"does not say {what}", f"give {flag}")


def _again(node: ir.Linear | ir.Conv2d, name: str) -> ir.Linear | ir.Conv2d:
    """The same weights without bias, which counts once."""
    if isinstance(node, ir.Linear):
        return ir.Linear(name, weight=node.weight)
    settings = {key: getattr(node, key) for key in ("stride", "padding", "dilation", "groups")}
    return ir.Conv2d(name, weight=node.weight, **settings)
