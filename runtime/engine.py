"""The engine: the integers of `compiler.fixed`, event-driven, samples in parallel on threads.

Only spikes cost: a spike walks the fan-out list of its neuron. Each sample is computed in the local steps of the
windows, so no sample sees another one, and populations follow each other in the order of their offsets.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiler.fixed import FixedNetwork
from ..errors import DataError
from .encoding import payloads
from .kernel import run_samples
from .result import Activity, Counts, RunResult, Trace, count_packets, count_synops
from .tables import Tables

LARGEST_CHUNK = 256
"""Samples that a thread takes at a time, at most."""


def run_engine(
    network: FixedNetwork,
    samples: NDArray[Any],
    *,
    traces: Sequence[str] = (),
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RunResult:
    """Runs samples through a network.

    Args:
        network: decoded from a program's tables.
        samples: raw samples of the one input, (samples, *shape) integers; see `encoding.payloads`.
        traces: populations whose spikes, u and v are kept for every step.
        threads: as many as there are cores where it is not given.
        progress: called with (samples done, samples in all).

    Returns:
        spike counts and activity; equal for any number of threads.

    Raises:
        DataError: the samples do not match the network's input.
    """
    if len(network.inputs) != 1:
        raise DataError("network", f"has {len(network.inputs)} inputs, one is needed", "merge them")
    source = network.inputs[0]
    sent = payloads(samples, source, network.steps)
    values = sent[:, None] if sent.ndim == 2 else sent
    tables = Tables.of(network)
    outputs = np.concatenate([np.arange(tables.sources)[tables.range(name)] for name in network.outputs])
    count = len(values)
    counts = np.zeros((count, len(outputs)), np.int32)
    trace = np.zeros((3, count if traces else 0, network.steps, tables.neurons), np.int32)
    workers = threads or _cores()
    chunk = max(1, min(LARGEST_CHUNK, -(-count // (4 * workers))))

    def work(low: int, high: int) -> Counts:
        total = np.zeros((2, tables.neurons), np.int64)
        run_samples(tables.flat, values, low, high, network.steps, tables.ring_size, outputs, counts, total, trace)
        return total

    work(0, 0)  # compiles the kernel, so that the time below is the run's alone
    begin = time.perf_counter()
    total = np.zeros((2, tables.neurons), np.int64)
    with ThreadPoolExecutor(workers) as pool:
        starts = range(0, count, chunk)
        for start, part in zip(starts, pool.map(lambda i: work(i, min(i + chunk, count)), starts), strict=True):
            total += part
            if progress is not None:
                progress(min(start + chunk, count), count)
    seconds = time.perf_counter() - begin
    spikes = {p.name: total[0][tables.range(p.name)] for p in network.populations}
    spikes |= count_packets(network, {source.name: sent})
    activity = Activity(count, network.steps, spikes, count_synops(network, spikes), int(total[1].sum()))
    found = {name: _trace(trace[:, :, :, tables.range(name)]) for name in traces}
    return RunResult("engine", counts, activity, seconds, found, network.votes)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _trace(part: NDArray[np.int32]) -> Trace:
    return Trace(part[0].astype(np.uint8), part[1], part[2])
