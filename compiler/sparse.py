"""`SparseNetwork`: populations and sparse projections in float, nothing else left."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .nodes import LIF, FloatArray, Input, Shape, frozen_array
from .synapses import Synapses


@dataclass(frozen=True, eq=False)
class SparseInput:
    """An input population.

    Attributes:
        moments: mean and variance of value / max_value on the calibration samples, (2, size), or None.
        activity: (size,) share of the steps in which it sends a packet, measured there, or None.
    """

    node: Input
    moments: FloatArray | None = None
    activity: FloatArray | None = None

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def size(self) -> int:
        return int(np.prod(self.node.shape))


@dataclass(frozen=True, eq=False)
class SparsePopulation:
    """LIF neurons that are left.

    Attributes:
        node: the layer's neuron parameters.
        shape: the shape that the layer was trained with.
        origin: (size,) int32, each neuron's index in the trained layer, C order, rising.
        bias: (size,) float64, constant input per step (the x of the neuron's equation).
        rate: (size,) mean spikes per step where they were measured, or None.
    """

    node: LIF
    shape: Shape
    origin: NDArray[np.int32]
    bias: FloatArray
    rate: FloatArray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "origin", frozen_array(self.origin, np.int32))
        object.__setattr__(self, "bias", frozen_array(self.bias, np.float64))
        assert self.bias.shape == self.origin.shape

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def size(self) -> int:
        return len(self.origin)


@dataclass(frozen=True, eq=False)
class SparseProjection:
    """Synapses in float from one population to another; `layer` is the trained layer that they come from."""

    layer: str
    source: str
    target: str
    synapses: Synapses


@dataclass(frozen=True)
class Census:
    """Unrolled synapses of one folded layer: all that it could have, and those whose weight survived training."""

    layer: str
    source: str
    target: str
    synapses: int
    surviving: int


@dataclass(frozen=True, eq=False)
class SparseNetwork:
    """What `lower` makes of a `Network`, and `balance` completes with delays."""

    inputs: tuple[SparseInput, ...]
    populations: tuple[SparsePopulation, ...]
    projections: tuple[SparseProjection, ...]
    outputs: tuple[str, ...]
    steps: int
    census: tuple[Census, ...] = ()
    votes: int = 1

    def __post_init__(self) -> None:
        pairs = [(p.source, p.target) for p in self.projections]
        assert len(set(pairs)) == len(pairs), "one projection per pair of populations"
        for projection in self.projections:
            assert projection.synapses.n_source == self.by_name[projection.source].size
            assert projection.synapses.n_target == self.by_name[projection.target].size

    @cached_property
    def by_name(self) -> dict[str, SparseInput | SparsePopulation]:
        members: list[SparseInput | SparsePopulation] = [*self.inputs, *self.populations]
        return {p.name: p for p in members}

    def dump(self) -> str:
        """A short stable text for tests and people."""
        lines = [f"sparse network, {self.steps} steps, outputs {', '.join(self.outputs)}"]
        lines += [f"  {p.name}: input {p.size} {p.node.encoding}" for p in self.inputs]
        for p in self.populations:
            lines.append(f"  {p.name}: {p.size} of {int(np.prod(p.shape))} neurons, {np.count_nonzero(p.bias)} biases")
        for q in self.projections:
            delays = f", delays {np.unique(q.synapses.delays).tolist()}" if q.synapses.max_delay else ""
            lines.append(f"  {q.source} -> {q.target}: {len(q.synapses)} synapses{delays}")
        return "\n".join(lines)
