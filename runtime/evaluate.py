"""Evaluation over samples: one backend, checked against the engine, with the energy of what was counted."""

from __future__ import annotations

from dataclasses import astuple, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiler.energy import KINDS, Energy, price
from ..compiler.program import Program
from ..errors import BackendError
from ..hw_targets import chip as chips
from .backends import run
from .result import CoreCounts, RunResult


def evaluate(program: Program, samples: NDArray[Any], backend: str, **settings: Any) -> tuple[RunResult, bool]:
    """The backend's result, and whether the engine was run beside it and gave the same spikes.

    The engine counts what each core does in each step; where another backend ran, those counts come from the engine.

    Args:
        program: what runs.
        samples: as `backends.run` takes them.
        backend: as there.
        settings: further arguments of `backends.run`.

    Raises:
        BackendError: the backend failed, or differs from the engine.
    """
    if backend == "engine":
        return run(program, samples, **settings), False
    result = run(program, samples, "lava", **settings)
    tables = settings.get("tables")
    engine = run(program, samples, tables=tables)
    differs = np.flatnonzero((result.counts != engine.counts).any(axis=1)).tolist()
    where = [f"output spikes of sample {differs[0]}"] if differs else []
    ours, theirs = result.activity.spikes, engine.activity.spikes
    where += [f"spikes of {name}" for name in ours if not np.array_equal(ours[name], theirs[name])]
    if where:
        raise BackendError(backend, f"differs from the engine in the {where[0]}", "report this as a bug, please")
    counted = engine.activity
    activity = replace(result.activity, active_updates=counted.active_updates, cores=counted.cores)
    return replace(result, activity=activity), True


def counted_energy(program: Program, result: RunResult) -> Energy:
    """The energy of a mean sample from the events that a run counted; a result with `Activity.cores` is needed."""
    activity = result.activity
    cores, chip = activity.cores, chips.load(program.target)
    assert cores is not None and cores.hops is not None
    samples = max(1, activity.samples)
    from_host = int(cores.received.sum() - cores.packets.sum())
    found = (
        int(cores.synops.sum()), int(cores.active_updates.sum()), int(cores.inactive_updates.sum()),
        int(cores.packets.sum()) + from_host, cores.hops.east_west, cores.hops.north_south,
    )  # fmt: skip
    counts = {kind: count / samples for kind, count in zip(KINDS, found, strict=True)}
    seconds = (cores.busy_ps * 1e-12 + cores.steps * chip.time.barrier_ns[0] * 1e-9) / samples
    used = len({core.place[0] for core in program.cores})
    return price(chip, used, counts, seconds, f"counted over {activity.samples} samples in {result.backend}")


def summary(result: RunResult, labels: NDArray[Any] | None, energy: Energy) -> dict[str, Any]:
    """What `snn-run --json` writes."""
    cores = result.activity.cores
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
        "chip_steps": None if cores is None else cores.steps,
        "hops": None if cores is None or cores.hops is None else dict(zip(HOPS, astuple(cores.hops), strict=True)),
        "cores": [] if cores is None else core_rows(cores),
    }


HOPS = ("east_west", "north_south", "links")
PER_CORE = (
    "neurons", "spikes", "synops", "active_updates", "inactive_updates", "packets", "received", "peak_synops",
    "peak_packets", "peak_active", "busiest",
)  # fmt: skip


def core_rows(cores: CoreCounts) -> list[dict[str, int | float]]:
    """Per core: its number, the counts of `CoreCounts`, and `peak_ns`, the longest step."""
    columns = {key: getattr(cores, key).tolist() for key in PER_CORE}
    columns["peak_ns"] = (cores.peak_ps / 1000).tolist()
    return [
        {"core": number} | {key: column[number] for key, column in columns.items()}
        for number in range(len(cores.neurons))
    ]
