"""What a run gives back, whatever backend computed it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiler.fixed import FixedNetwork

Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Trace:
    """Every step of one population, in the local steps of its window.

    Attributes:
        spikes: (samples, steps, size) uint8.
        u, v: (samples, steps, size) int32, after the step's update.
    """

    spikes: NDArray[np.uint8]
    u: NDArray[np.int32]
    v: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Activity:
    """Events of a whole run, summed over samples and steps.

    Attributes:
        samples, steps: how many, steps per sample.
        spikes: per population and input, (size,) int64 spikes sent (for an input: steps with a payload above 0).
        synops: synaptic operations: one per synapse on the chip that a spike reaches.
        active_updates: neuron updates in which u, v, bias or input was not zero; None where it is not counted.
    """

    samples: int
    steps: int
    spikes: Mapping[str, Counts]
    synops: int
    active_updates: int | None = None


@dataclass(frozen=True, eq=False)
class RunResult:
    """Spike counts of the output neurons, predictions, activity, and traces where they were asked for.

    Attributes:
        counts: (samples, outputs) int32, the output populations one after the other.
        seconds: wall time of the run without loading.
        votes: output neurons per class.
    """

    backend: str
    counts: NDArray[np.int32]
    activity: Activity
    seconds: float
    traces: Mapping[str, Trace] = field(default_factory=dict)
    votes: int = 1

    @classmethod
    def join(cls, parts: Sequence[RunResult], seconds: float) -> RunResult:
        """The result of all samples from those of contiguous ranges, in order.

        Args:
            parts: at least one, of the same network and backend.
            seconds: wall time of the whole.
        """
        first = parts[0]
        return cls(
            first.backend,
            np.concatenate([part.counts for part in parts]),
            _join_activity([part.activity for part in parts]),
            seconds,
            {name: _join_traces([part.traces[name] for part in parts]) for name in first.traces},
            first.votes,
        )

    @property
    def predictions(self) -> NDArray[np.int64]:
        """(samples,) the class whose output neurons spike most; the first of equals."""
        best: NDArray[np.int64] = self.counts.reshape(len(self.counts), -1, self.votes).sum(axis=2).argmax(axis=1)
        return best

    def accuracy(self, labels: NDArray[Any]) -> float:
        """Share of the samples whose prediction is their label; `labels`: (samples,)."""
        return float((self.predictions == labels).mean())

    @property
    def output_spikes_sha256(self) -> str:
        """Over the int32 counts, samples × outputs, C order, little-endian."""
        return hashlib.sha256(np.ascontiguousarray(self.counts, "<i4").tobytes()).hexdigest()


def _join_activity(parts: Sequence[Activity]) -> Activity:
    active = [part.active_updates for part in parts if part.active_updates is not None]
    return Activity(
        sum(part.samples for part in parts),
        parts[0].steps,
        {name: np.sum([part.spikes[name] for part in parts], axis=0) for name in parts[0].spikes},
        sum(part.synops for part in parts),
        sum(active) if len(active) == len(parts) else None,
    )


def _join_traces(parts: Sequence[Trace]) -> Trace:
    return Trace(*(np.concatenate([getattr(part, key) for part in parts]) for key in ("spikes", "u", "v")))


def count_packets(network: FixedNetwork, sent: Mapping[str, NDArray[np.int32]]) -> dict[str, Counts]:
    """Per input (size,) steps with a payload above 0, over all samples; none where the host loads biases instead.

    Args:
        network: whose inputs they are.
        sent: per input what `encoding.payloads` gives.
    """
    packets = {}
    for source in network.inputs:
        values = sent[source.name]
        repeats = network.steps if values.ndim == 2 else 1
        count = np.count_nonzero(values, axis=tuple(range(values.ndim - 1))).astype(np.int64) * repeats
        packets[source.name] = np.zeros_like(count) if source.encoding == "bias" else count
    return packets


def count_synops(network: FixedNetwork, spikes: Mapping[str, Counts]) -> int:
    """Synaptic operations on the chip: each spike times the length of its fan-out list."""
    return sum(int(q.synapses.fan_out @ spikes[q.source]) for q in network.projections if not q.host)
