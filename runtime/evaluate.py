"""Evaluation over samples: one backend, checked against the engine, with the energy of what was counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiler.energy import Energy, Events, bill
from ..compiler.fixed import FixedNetwork
from ..compiler.program import Program
from ..errors import BackendError
from ..hw_targets import chip as chips
from .engine import run_engine
from .lava import run_lava
from .result import RunResult
from .workers import EngineWork, run_parts

Progress = Callable[[int, int], None]


def evaluate(
    network: FixedNetwork,
    samples: NDArray[Any],
    backend: str,
    progress: Progress | None = None,
    *,
    workers: int | None = None,
    cluster: str | None = None,
) -> tuple[RunResult, bool]:
    """The backend's result, and whether the engine was run beside it and gave the same spikes.

    `workers` and `cluster` are those of `workers.run_parts`, for the engine only.

    The engine also counts which neuron updates were active; that count goes into the result.

    Raises:
        BackendError: the backend failed, or differs from the engine.
    """
    if backend == "engine" and (workers or cluster):
        parts = run_parts(EngineWork(network), samples, workers=workers, cluster=cluster, progress=progress)
        return parts, False
    if backend == "engine":
        return run_engine(network, samples, progress=progress), False
    result = run_lava(network, samples, progress=progress)
    engine = run_engine(network, samples)
    differs = np.flatnonzero((result.counts != engine.counts).any(axis=1)).tolist()
    where = [f"output spikes of sample {differs[0]}"] if differs else []
    ours, theirs = result.activity.spikes, engine.activity.spikes
    where += [f"spikes of {name}" for name in ours if not np.array_equal(ours[name], theirs[name])]
    if where:
        raise BackendError(backend, f"differs from the engine in the {where[0]}", "report this as a bug, please")
    return replace(result, activity=replace(result.activity, active_updates=engine.activity.active_updates)), True


def counted_events(program: Program, network: FixedNetwork, result: RunResult) -> Energy:
    """The energy of a mean sample from the events that a run counted."""
    activity = result.activity
    spikes = {name: counts / activity.samples for name, counts in activity.spikes.items()}
    active = None if activity.active_updates is None else activity.active_updates / activity.samples
    note = f"counted over {activity.samples} samples in {result.backend}"
    if active is None:
        note += ", every neuron update taken as active"
    return bill(program, network, chips.load(program.target), Events(spikes, active, note))


def summary(result: RunResult, labels: NDArray[Any] | None, energy: Energy) -> dict[str, Any]:
    """What `snn-run --json` writes."""
    return {
        "backend": result.backend,
        "samples": len(result.counts),
        "accuracy": None if labels is None else result.accuracy(labels),
        "steps_per_sample": result.activity.steps,
        "output_spikes_sha256": result.output_spikes_sha256,
        "predictions": result.predictions.tolist(),
        "synops": result.activity.synops,
        "spikes": int(sum(int(counts.sum()) for counts in result.activity.spikes.values())),
        "seconds": result.seconds,
        "energy": energy,
    }
