"""Networks and samples of `engine.py`, and the one place that starts the engine."""

from __future__ import annotations

import inspect
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from snn_compile.compiler.fixed import FixedInput, FixedNetwork, FixedPopulation, FixedProjection
from snn_compile.compiler.overflow import check_overflow
from snn_compile.compiler.pipeline import compile_network
from snn_compile.compiler.synapses import Synapses
from snn_compile.frontend.data import load
from snn_compile.frontend.readers import read_model
from snn_compile.hw_targets import chip
from snn_compile.runtime.build import tables_of
from snn_compile.runtime.engine import run_engine
from snn_compile.runtime.result import RunResult
from snn_compile.runtime.tables import Tables

STEPS, DENSITY, RATE = 8, 0.05, 0.1
"""Steps per sample, share of the pairs that are synapses, spikes per neuron and step that are aimed at."""

WEIGHT_SQUARE = 256**2 / 3
"""Mean square of weights that are even and uniform from -256 to 254."""


TABLES: dict[int, tuple[FixedNetwork, Tables]] = {}


def simulate(
    network: FixedNetwork, samples: Any, threads: int | None = None, traces: Sequence[str] = (), **switches: Any
) -> tuple[RunResult, float]:
    """The engine's result, and the seconds of the whole call, encoding too; tables are made once, as in loading."""
    if id(network) not in TABLES:
        TABLES[id(network)] = (network, tables_of(network))
    begin = time.perf_counter()
    result = run_engine(TABLES[id(network)][1], samples, threads=threads, traces=traces, **switches)
    return result, time.perf_counter() - begin


def has_switch(name: str) -> bool:
    """Whether the engine takes an argument of that name."""
    return name in inspect.signature(run_engine).parameters


def random_synapses(rng: np.random.Generator, sources: int, targets: int, density: float) -> Synapses:
    """Random pairs and weights; the gaps between pairs are drawn, so that ten million take a second."""
    pairs = sources * targets
    gaps = rng.geometric(density, int(pairs * density + 6 * (pairs * density) ** 0.5 + 10))
    place = np.cumsum(gaps) - 1
    place = place[place < pairs]
    weights = (2 * rng.integers(-128, 128, len(place))).astype(np.int16)
    weights[weights == 0] = 2
    indptr = np.searchsorted(place, np.arange(sources + 1) * targets).astype(np.int64)
    none = np.zeros(len(place), np.uint8)
    return Synapses(sources, targets, indptr, (place % targets).astype(np.int32), weights, none)


def population(name: str, size: int, vth: float, offset: int) -> FixedPopulation:
    """LIF neurons without memory of the current, half of the voltage kept, no biases."""
    zeros = np.zeros(size, int)
    return FixedPopulation(name, (size,), np.arange(size), 4095, 2048, int(vth), zeros, zeros, offset)


def event_chain(size: int, density: float = DENSITY, seed: int = 0) -> FixedNetwork:
    """`size`-`size`-`size`, spikes as input; thresholds for about `RATE`, from the variance of what arrives."""
    rng = np.random.default_rng(seed)
    deviation = (size * density * RATE * WEIGHT_SQUARE) ** 0.5
    names = ["in", "hidden", "out"]
    network = FixedNetwork(
        (FixedInput("in", (size,), "spikes", 1, 1),),
        tuple(population(name, size, 1.4 * deviation, i) for i, name in enumerate(names[1:])),
        tuple(FixedProjection(a, b, random_synapses(rng, size, size, density), 0) for a, b in pairwise(names)),
        ("out",),
        STEPS,
    )
    check_overflow(network)
    return network


def event_samples(size: int, count: int, seed: int = 1) -> Any:
    """(count, STEPS, size) binary spikes at `RATE`."""
    return (np.random.default_rng(seed).random((count, STEPS, size), np.float32) < RATE).astype(np.uint8)


def mnist_network(model: Path | None) -> FixedNetwork:
    """A trained model compiled for loihi2, or 784-800-10 with random weights; graded inputs either way."""
    if model is not None:
        return compile_network(read_model(model), chip.load("loihi2")).network
    rng = np.random.default_rng(0)
    current = (784 * DENSITY * 0.19 * WEIGHT_SQUARE * 255**2 / 3) ** 0.5 / 32
    network = FixedNetwork(
        (FixedInput("input", (784,), "graded", 255, 255),),
        (population("hidden", 800, 1.6 * current, 0), population("out", 10, 700, 1)),
        (
            FixedProjection("input", "hidden", random_synapses(rng, 784, 800, DENSITY), -5),
            FixedProjection("hidden", "out", random_synapses(rng, 800, 10, DENSITY), 0),
        ),
        ("out",),
        STEPS,
    )
    check_overflow(network)
    return network


def mnist_samples(folder: Path | None, count: int) -> tuple[Any, Any]:
    """Test images and labels, or random pixels (19 % not zero, as in MNIST) and None."""
    if folder is not None:
        data = load("mnist", folder)
        repeats = -(-count // len(data.test_samples))
        images = np.tile(data.test_samples.reshape(-1, 784), (repeats, 1))[:count]
        return images, np.tile(data.test_labels, repeats)[:count]
    rng = np.random.default_rng(2)
    return (rng.integers(1, 256, (count, 784)) * (rng.random((count, 784)) < 0.19)).astype(np.uint8), None


def event_coded(network: FixedNetwork) -> FixedNetwork:
    """The same weights behind binary spikes at a rate: a spike counts as the payload 256 did."""
    (source,) = network.inputs
    assert source.encoding == "graded" and source.levels == 255
    projections = tuple(
        replace(q, exponent=q.exponent + 8) if q.source == source.name else q for q in network.projections
    )
    inputs = (FixedInput(source.name, source.shape, "rate", source.max_value, 1),)
    events = replace(network, inputs=inputs, projections=projections)
    check_overflow(events)
    return events
