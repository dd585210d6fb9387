"""`SparseNetwork`: populations and sparse projections in float, nothing else left."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .nodes import LIF, FixedNeurons, FloatArray, Input, Shape, frozen_array
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
    """Neurons that are left. LIF neurons in the form that the chip has::

        u = keep_syn u + a;   v = keep v + u + bias;   spike where v >= threshold or v > threshold
        at a spike v = 0, or v -= drop

    with `a` the sum of the synapses, whose weights hold everything else: gain, 1 / tau and 1 / threshold.

    Attributes:
        node: the layer as trained; its `fires` and `reset` hold.
        shape: the shape that the layer was trained with.
        origin: (size,) int32, each neuron's index in the trained layer, C order, rising.
        bias: (size,) float64, what is added to v in each step; of `FixedNeurons` mantissas.
        keep, keep_syn: (size,) what is left of v and of u after a step, 0 … 1; 0 for `FixedNeurons`.
        drop: (size,) what a spike takes from v with the reset "soft" or "none"; else 0.
        threshold: v at a spike, one number for all; weights are divided by it where it differs between neurons.
        refractory: steps after a spike in which v rests.
        rate: (size,) mean spikes per step where they were measured, or None.
    """

    node: LIF | FixedNeurons
    shape: Shape
    origin: NDArray[np.int32]
    bias: FloatArray
    keep: FloatArray
    keep_syn: FloatArray
    drop: FloatArray
    threshold: float
    refractory: int
    rate: FloatArray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "origin", frozen_array(self.origin, np.int32))
        for key in ("bias", "keep", "keep_syn", "drop"):
            array = np.broadcast_to(np.asarray(getattr(self, key), np.float64), self.origin.shape)
            object.__setattr__(self, key, frozen_array(array))

    def select(self, kept: NDArray[np.bool_]) -> SparsePopulation:
        """Only the neurons where `kept` holds."""
        arrays = {key: getattr(self, key)[kept] for key in ("origin", "bias", "keep", "keep_syn", "drop")}
        return replace(self, rate=None if self.rate is None else self.rate[kept], **arrays)

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
