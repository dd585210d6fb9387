"""Traces by hand and from random networks, and their files."""

from __future__ import annotations

import numpy as np
from snn_compile.runtime.result import Trace
from snn_compile.runtime.trace import TraceWriter
from snn_compile.runtime.trace_format import TracedPopulation, TraceFacts

FACTS = TraceFacts("model.snnc", "ab" * 32, "engine", "digits")


def population(name, size, vth=100):
    """Every second neuron of the trained layer is left."""
    return TracedPopulation(name, (2 * size,), np.arange(0, 2 * size, 2, dtype=np.int32), vth)


def random_trace(seed, samples, steps, size, dtype=np.uint8):
    """Spikes of a third of the neurons; u and v of any int32."""
    rng = np.random.default_rng(seed)
    shape, edge = (samples, steps, size), np.iinfo(np.int32)
    payloads = np.ones(shape) if dtype == np.uint8 else rng.integers(edge.min, edge.max, shape)
    spikes = np.where(rng.random(shape) < 0.3, payloads, 0).astype(dtype)
    u, v = (rng.integers(edge.min, edge.max, shape, np.int32, endpoint=True) for _ in "uv")
    return Trace(spikes, u, v)


def part_of(trace, low, high):
    return Trace(trace.spikes[low:high], trace.u[low:high], trace.v[low:high])


def write(path, populations, traces, cuts=(), facts=FACTS, predictions=None, labels=None):
    """One file; `cuts` are the samples at which a new batch begins."""
    count, steps = next(iter(traces.values())).spikes.shape[:2]
    with TraceWriter.create(path, populations, steps, facts) as writer:
        edges = [0, *sorted(cuts), count]
        for low, high in zip(edges[:-1], edges[1:], strict=True):
            batch = {name: part_of(trace, low, high) for name, trace in traces.items()}
            notes = [None if values is None else values[low:high] for values in (predictions, labels)]
            writer.append(batch, *notes)
    return path
