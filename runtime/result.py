"""What a run gives back, whatever backend computed it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
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
