"""What a trace shows of one sample, in numbers: spikes, rates, silent and busy neurons; rasters in bins."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from .trace_file import TraceFile


class Busiest(msgspec.Struct, frozen=True):
    """A neuron (index in the population, and in the trained layer) and its spikes."""

    neuron: int
    origin: int
    spikes: int


class PopulationActivity(msgspec.Struct, frozen=True):
    """One population in one sample.

    Attributes:
        vth: threshold, or None where the file does not say.
        spikes: payloads other than 0 count as one.
        rate: spikes per neuron and step, 0 to 1.
        silent: neurons without a spike.
        busiest: the first of those with most spikes; None where there is no spike.
        spikes_per_step: (steps,) in local steps.
    """

    name: str
    neurons: int
    vth: int | None
    spikes: int
    rate: float
    silent: int
    busiest: Busiest | None
    spikes_per_step: tuple[int, ...]


class SampleActivity(msgspec.Struct, frozen=True):
    """One sample of a trace, as `snn-report --trace --json` writes it; label and prediction may be unknown."""

    program: str
    program_sha256: str
    backend: str
    data: str
    samples: int
    steps: int
    sample: int
    label: int | None
    prediction: int | None
    populations: tuple[PopulationActivity, ...]


def activity(file: TraceFile, sample: int) -> SampleActivity:
    """The activity of one sample, population by population.

    Raises:
        TraceFileError: the file has no such sample, or is broken.
    """
    rows = tuple(_population(file, name, sample) for name in [p.name for p in file.populations])
    return SampleActivity(
        file.facts.program,
        file.facts.program_sha256,
        file.facts.backend,
        file.facts.data,
        file.samples,
        file.steps,
        sample,
        None if file.labels is None else int(file.labels[sample]),
        None if file.predictions is None else int(file.predictions[sample]),
        rows,
    )


def _population(file: TraceFile, name: str, sample: int) -> PopulationActivity:
    population = file.population(name)
    fired = file.array(name, "spikes", sample) != 0
    counts = fired.sum(axis=0)
    best = int(counts.argmax())
    busiest = Busiest(best, int(population.origin[best]), int(counts[best])) if counts[best] else None
    return PopulationActivity(
        name,
        population.size,
        population.vth,
        int(counts.sum()),
        float(counts.sum() / fired.size),
        int((counts == 0).sum()),
        busiest,
        tuple(fired.sum(axis=1).tolist()),
    )


def binned(fired: NDArray[Any], columns: int, rows: int) -> NDArray[np.float64]:
    """(rows, columns) share of spikes in each bin, 0 to 1; neurons go down, steps to the right.

    Args:
        fired: (steps, neurons) bool.
        columns, rows: at most; no bin is smaller than one neuron in one step.

    >>> binned(np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 0, 1]], bool), columns=2, rows=9).tolist()
    [[1.0, 1.0], [0.5, 0.0], [0.0, 0.5]]
    """
    steps, neurons = fired.shape
    across, down = edges(steps, columns), edges(neurons, rows)
    sums = np.add.reduceat(np.add.reduceat(fired.T, down[:-1], axis=0, dtype=np.int64), across[:-1], axis=1)
    shares: NDArray[np.float64] = sums / np.outer(np.diff(down), np.diff(across))
    return shares


def edges(count: int, bins: int) -> NDArray[np.int64]:
    """(bins + 1,) where the bins of `count` things begin and end; no more bins than things.

    >>> edges(10, 4).tolist(), edges(2, 4).tolist()
    ([0, 2, 5, 7, 10], [0, 1, 2])
    """
    bins = min(bins, count)
    return np.arange(bins + 1, dtype=np.int64) * count // bins


def levels(shares: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Shades 0 to `count`: 0 for no spike at all, `count` for the densest bin."""
    most = shares.max(initial=0.0)
    return np.ceil(shares * (count / most) - 1e-9).astype(np.int64) if most else np.zeros(shares.shape, np.int64)
