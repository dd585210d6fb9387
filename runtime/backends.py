"""`run`: a program on any backend; what notebooks and `snn-run` call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..compiler.decode import decode
from ..compiler.program import Program
from ..errors import BackendError, DataError
from .build import tables_of
from .engine import Progress, Samples, Sink, run_engine
from .lava import run_lava
from .result import RunResult
from .tables import Tables
from .workers import EngineWork, run_parts

Backend = Literal["engine", "lava"]


def run(
    program: Program,
    samples: Samples,
    backend: Backend = "engine",
    *,
    traces: Sequence[str] = (),
    sink: Sink | None = None,
    threads: int | None = None,
    batch: int | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    counters: bool = True,
    progress: Progress | None = None,
    tables: Tables | None = None,
) -> RunResult:
    """Runs samples through a compiled program.

    Args:
        program: of `snn_compile.compiler.load`, or a compilation's.
        samples: (samples, *shape) integers as the network was trained on, or one array per input name; see
            `encoding.payloads`.
        backend: ``engine``, ours, or ``lava``, Intel's simulator in a process of its own; both give the same integers.
        traces: populations whose spikes, u and v are kept for every step, in `RunResult.traces`.
        sink: called with (first sample, traces, counts) batch by batch; then the result has none.
        threads: of the engine; as many as there are cores where it is not given.
        batch: samples that the engine encodes and holds at a time.
        workers, cluster: processes on this machine or on a Dask or Ray cluster; see `workers.run_parts`.
        counters: whether the engine counts the load of each core in each step.
        progress: called with (samples done, samples in all).
        tables: of this program, where `build.tables_of` has made them before.

    Returns:
        Spike counts (samples, outputs), predictions and activity. Equal for any backend, threads, batch and workers.

    Raises:
        DataError: the samples do not match the input, or two arguments do not go together.
        NetworkError: `traces` names no population.
        ProgramFileError: the program's tables contradict each other.
        BackendError: the backend is not installed, or failed.

    >>> import snn_compile
    >>> from pathlib import Path
    >>> from snn_compile.compiler import compile_network
    >>> from snn_compile.frontend.readers import read_model
    >>> from snn_compile.hw_targets.chip import load
    >>> model = read_model(Path(snn_compile.__path__[0], "examples", "digits.pt"))
    >>> program = compile_network(model, load("loihi2")).program
    >>> run(program, np.zeros((2, 64), int)).counts.shape
    (2, 10)
    """
    given = {"threads": threads, "batch": batch, "workers": workers, "cluster": cluster}
    _check(backend, {name: value for name, value in given.items() if value is not None})
    if backend == "lava":
        result = run_lava(decode(program), _single(samples), traces=traces, progress=progress)
        if sink is not None:
            sink(0, result.traces, result.counts)
            result = replace(result, traces={})
        return result
    tables = tables or tables_of(program)
    if workers is not None or cluster is not None:
        work = EngineWork(tables, {"traces": tuple(traces), "batch": batch, "counters": counters})
        return run_parts(work, _single(samples), workers=workers, cluster=cluster, sink=sink, progress=progress)
    return run_engine(
        tables, samples, traces=traces, sink=sink, threads=threads, batch=batch, counters=counters, progress=progress
    )


def _check(backend: str, given: Mapping[str, Any]) -> None:
    """Refuses a backend that there is not, and arguments that do not go together."""
    if backend not in ("engine", "lava"):
        raise BackendError(backend, "is no backend", "use engine or lava")
    if backend == "lava" and given:
        raise BackendError("lava", f"has no {next(iter(given))}", "use the engine, or leave it away")
    for name, value in given.items():
        if name != "cluster" and value < 1:
            raise DataError(name, f"is {value}, at least 1 is needed", "leave it away or give a positive number")
    if "threads" in given and ("workers" in given or "cluster" in given):
        raise DataError("threads", "go without workers, which share the cores out", "leave one of them away")


def _single(samples: Samples) -> NDArray[Any]:
    if isinstance(samples, Mapping):
        if len(samples) != 1:
            raise DataError("samples", f"are {len(samples)} arrays, this way takes one", "use the engine, no workers")
        return np.asarray(next(iter(samples.values())))
    return np.asarray(samples)
