"""Where two traces part: the first sample, step, population and neuron with another value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import TraceFileError
from .result import Trace
from .trace_file import TraceFile, plain

ORDER = ("u", "v", "spikes")
"""The order in which a step computes them: the first one that differs is the cause of the others."""


@dataclass(frozen=True)
class Part:
    """The first difference of two traces.

    Attributes:
        sample, step: from 0; the step is local to the population's window.
        neuron, origin: index in the population, and in the trained layer.
        kind: ``u``, ``v`` or ``spikes``.
        a, b: the value in each trace.
    """

    sample: int
    step: int
    population: str
    neuron: int
    origin: int
    kind: str
    a: int
    b: int

    def sentence(self, a: str, b: str) -> str:
        """For people; `a` and `b` are the names of the files.

        >>> Part(3, 5, "lif1", 17, 211, "v", 1200, 1188).sentence("a.h5", "b.h5")
        'sample 3, step 5, population lif1, neuron 17 (211 in the trained layer): v is 1200 in a.h5, 1188 in b.h5'
        """
        return (
            f"sample {self.sample}, step {self.step}, population {plain(self.population)}, neuron {self.neuron} "
            f"({self.origin} in the trained layer): {self.kind} is {self.a} in {a}, {self.b} in {b}"
        )


def diff(a: TraceFile, b: TraceFile) -> Part | None:
    """The first difference, or None where all values are equal; reads sample by sample.

    First is what has the lowest sample, then the lowest local step, then the first population in the order of `a`,
    then the lowest neuron, then `ORDER`. Programs, backends and data sets may differ, that is what one compares.

    Raises:
        TraceFileError: the traces have not the same populations, neurons, steps and samples, or a file is broken.
    """
    check_comparable(a, b)
    for sample in range(a.samples):
        first: Part | None = None
        for population in a.populations:
            name = population.name
            found = _first(a.trace(name, sample), b.trace(name, sample))
            if found is not None and (first is None or found[0] < first.step):
                step, neuron, kind = found
                values = [int(file.array(name, kind, sample)[step, neuron]) for file in (a, b)]
                first = Part(sample, step, name, neuron, int(population.origin[neuron]), kind, values[0], values[1])
        if first is not None:
            return first
    return None


def _first(a: Trace, b: Trace) -> tuple[int, int, str] | None:
    """Step, neuron and kind of the first difference."""
    differs = {kind: getattr(a, kind)[0] != getattr(b, kind)[0] for kind in ORDER}
    either = differs["u"] | differs["v"] | differs["spikes"]
    if not either.any():
        return None
    step, neuron = divmod(int(np.argmax(either)), either.shape[1])
    return step, neuron, next(kind for kind in ORDER if differs[kind][step, neuron])


def check_comparable(a: TraceFile, b: TraceFile) -> None:
    """Both have the same populations of the same neurons, steps and samples.

    Raises:
        TraceFileError: they have not.
    """
    for what, ours, theirs in (("steps", a.steps, b.steps), ("samples", a.samples, b.samples)):
        if ours != theirs:
            raise _unlike(a, b, f"has {theirs} {what}, {a.path} has {ours}")
    names = [[p.name for p in file.populations] for file in (a, b)]
    for file, other, mine, others in ((b, a, names[1], names[0]), (a, b, names[0], names[1])):
        if missing := [name for name in others if name not in mine]:
            raise _unlike(a, b, f"{_listed(missing)} is in {other.path}, not in {file.path}")
    for p in a.populations:
        q = b.population(p.name)
        if p.size != q.size:
            raise _unlike(a, b, f"has {q.size} neurons of {plain(p.name)}, {a.path} has {p.size}")
        if p.shape != q.shape or not np.array_equal(p.origin, q.origin):
            raise _unlike(a, b, f"has other neurons of {plain(p.name)} than {a.path}")


def _listed(names: Sequence[str]) -> str:
    return "population " + ", ".join(map(plain, names))


def _unlike(a: TraceFile, b: TraceFile, problem: str) -> TraceFileError:
    return TraceFileError(
        b.path,
        f"cannot be compared: {problem}",
        "trace the same populations of the same network over the same samples",
    )
