"""What a run gives back, whatever backend computed it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiler.fixed import FixedNetwork
from ..compiler.traffic import Hops

Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Trace:
    """Every step of one population, in the local steps of its window.

    Attributes:
        spikes: (samples, steps, size) uint8; of sigma-delta neurons and integrators int32, the payloads sent.
        u, v: (samples, steps, size) int32, after the step's update; of sigma-delta neurons sigma and act.
    """

    spikes: NDArray[np.uint8] | NDArray[np.int32]
    u: NDArray[np.int32]
    v: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class CoreCounts:
    """Events per core over a run, exact; arrays are (cores,) int64.

    Samples follow each other in a pipeline: while one layer computes a sample, the next still computes the one before
    it, and a core with both does both. A step's load is what a core does in it: synaptic operations of the packets that
    arrive, packets sent, neuron updates.

    Attributes:
        neurons: compartments.
        spikes: of the core's neurons.
        synops: synaptic operations: synapses that arriving packets reach.
        active_updates: neuron updates in which u, v, bias or input was not zero.
        inactive_updates: all others; every neuron is updated in every step of a sample.
        packets: sent off, one per spike and core that it reaches.
        received: packets, those of the host too.
        peak_synops, peak_packets, peak_active, peak_ps: the most of one step; ps with the chip's times.
        busiest: steps in which the core took the longest of all; the lowest number of equals.
        steps: chip steps of the run: T per sample, and those until the last layer is done.
        busy_ps: sum over steps of the time of the busiest core, in picoseconds, without barriers; 0 without a chip.
        hops: of all packets between cores; None without a chip.
    """

    neurons: Counts
    spikes: Counts
    synops: Counts
    active_updates: Counts
    inactive_updates: Counts
    packets: Counts
    received: Counts
    peak_synops: Counts
    peak_packets: Counts
    peak_active: Counts
    peak_ps: Counts
    busiest: Counts
    steps: int
    busy_ps: int
    hops: Hops | None

    @classmethod
    def join(cls, parts: Sequence[CoreCounts]) -> CoreCounts:
        """Those of consecutive samples as one; each part but the first began with the end of the one before it."""
        joined: dict[str, Any] = {}
        for spec in fields(cls):
            values = [getattr(part, spec.name) for part in parts]
            if spec.name == "neurons":
                joined[spec.name] = values[0]
            elif spec.name == "hops":
                every = [astuple(hops) for hops in values if hops is not None]
                joined[spec.name] = Hops(*map(sum, zip(*every, strict=True))) if len(every) == len(parts) else None
            elif spec.name.startswith("peak"):
                joined[spec.name] = np.max(values, axis=0)
            else:
                joined[spec.name] = sum(values[1:], values[0])
        return cls(**joined)


@dataclass(frozen=True, eq=False)
class Activity:
    """Events of a whole run, summed over samples and steps.

    Attributes:
        samples, steps: how many, steps per sample.
        spikes: per population and input, (size,) int64 spikes sent (for an input: steps with a payload other than 0).
        synops: synaptic operations: one per synapse on the chip that a spike reaches.
        active_updates: neuron updates in which u, v, bias or input was not zero; None where it is not counted.
        cores: the same per core, and more; None where it is not counted.
    """

    samples: int
    steps: int
    spikes: Mapping[str, Counts]
    synops: int
    active_updates: int | None = None
    cores: CoreCounts | None = None


@dataclass(frozen=True, eq=False)
class RunResult:
    """Spike counts of the output neurons, predictions, activity, and traces where they were asked for.

    Attributes:
        counts: (samples, outputs) int32 spikes, or sums of payloads of graded neurons, the output populations one
            after the other.
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
            join_traces([part.traces for part in parts]),
            first.votes,
        )

    @property
    def predictions(self) -> NDArray[np.int64]:
        """(samples,) the class whose output neurons spike most; the first of equals."""
        return predict(self.counts, self.votes)

    def accuracy(self, labels: NDArray[Any]) -> float:
        """Share of the samples whose prediction is their label; `labels`: (samples,). Of none: nan."""
        return float((self.predictions == labels).mean()) if len(labels) else math.nan

    @property
    def output_spikes_sha256(self) -> str:
        """Over the int32 counts, samples × outputs, C order, little-endian."""
        return hashlib.sha256(np.ascontiguousarray(self.counts, "<i4").tobytes()).hexdigest()


def predict(counts: NDArray[np.int32], votes: int) -> NDArray[np.int64]:
    """(samples,) the class whose output neurons, `votes` of them, count most; the first of equals.

    >>> predict(np.array([[1, 2, 2, 2]]), votes=2).tolist()
    [1]
    """
    classes = counts.shape[1] // votes
    best: NDArray[np.int64] = counts.reshape(len(counts), classes, votes).sum(axis=2).argmax(axis=1)
    return best


def join_traces(parts: Sequence[Mapping[str, Trace]]) -> dict[str, Trace]:
    """Traces of consecutive samples as one; of none as none."""
    names = parts[0] if parts else ()
    return {
        name: Trace(*(np.concatenate([getattr(part[name], key) for part in parts]) for key in ("spikes", "u", "v")))
        for name in names
    }


def _join_activity(parts: Sequence[Activity]) -> Activity:
    active = [part.active_updates for part in parts if part.active_updates is not None]
    cores = [part.cores for part in parts if part.cores is not None]
    return Activity(
        sum(part.samples for part in parts),
        parts[0].steps,
        {name: np.sum([part.spikes[name] for part in parts], axis=0) for name in parts[0].spikes},
        sum(part.synops for part in parts),
        sum(active) if len(active) == len(parts) else None,
        CoreCounts.join(cores) if len(cores) == len(parts) else None,
    )


def count_packets(network: FixedNetwork, sent: Mapping[str, NDArray[np.int32]]) -> dict[str, Counts]:
    """Per input (size,) steps with a payload other than 0, over all samples; none where the host loads biases instead.

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
