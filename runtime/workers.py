"""Evaluation in several processes, here or on a cluster: ranges of samples, computed apart and joined in order.

No sample sees another one, and all sums are of integers: the result is the same for any number of ranges and workers.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, CancelledError
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendError, SnnCompileError
from .cluster import Cluster, connected
from .engine import Sink, batch_size, run_engine
from .result import RunResult
from .tables import Tables

RANGES_PER_WORKER = 4
"""So that progress is seen, and a lost worker costs little."""
SMALLEST_RANGE, LARGEST_RANGE = 16, 1024


@dataclass(frozen=True, eq=False)
class Slice:
    """The samples of one range; Dask keeps them in the task that needs them, and sends them again after a loss.

    Attributes:
        samples: (lead + samples, …)
        lead: those before the range, which only fill the cores' pipeline.
        last: whether it ends with the last sample of all.
    """

    samples: NDArray[Any]
    lead: int = 0
    last: bool = True


class Work(Protocol):
    """What computes a range. It travels to the workers, so it is no lambda and no inner function."""

    @property
    def lead(self) -> int:
        """Samples before each range that are computed again, to know what they leave behind in the cores."""

    @property
    def largest(self) -> int:
        """Samples of a range, at most."""

    def __call__(self, part: Slice, threads: int) -> RunResult:
        """The result of a range."""


@dataclass(frozen=True, eq=False)
class EngineWork:
    """Runs samples in the engine; what `run_parts` brings to the workers."""

    tables: Tables
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of `run_engine`."""

    @property
    def lead(self) -> int:
        """None where nobody asks for the loads of cores."""
        return self.tables.lead if self.settings.get("counters", True) else 0

    @property
    def largest(self) -> int:
        """What the engine takes as a batch: the traces of a range travel as a whole."""
        return batch_size(self.tables, self.settings.get("traces", ()), self.settings.get("counters", True))

    def __call__(self, part: Slice, threads: int) -> RunResult:
        settings = {"lead": part.lead, "last": part.last, "threads": threads, **self.settings}
        return run_engine(self.tables, part.samples, **settings)


def ranges(count: int, workers: int, size: int | None = None, largest: int = LARGEST_RANGE) -> list[tuple[int, int]]:
    """(low, high) of contiguous ranges that cover `count` samples; one empty range where there are none.

    >>> ranges(100, 2)
    [(0, 16), (16, 32), (32, 48), (48, 64), (64, 80), (80, 96), (96, 100)]
    >>> ranges(5, 2, size=2)
    [(0, 2), (2, 4), (4, 5)]
    """
    even = -(-count // (RANGES_PER_WORKER * workers))
    step = size or min(max(even, SMALLEST_RANGE), LARGEST_RANGE, largest)
    return [(low, min(low + step, count)) for low in range(0, max(count, 1), step)]


def run_parts(
    work: Work,
    samples: NDArray[Any],
    *,
    workers: int | None = None,
    cluster: str | None = None,
    size: int | None = None,
    sink: Sink | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RunResult:
    """Runs samples range by range on workers, and joins the results in order.

    Args:
        work: what computes a range; it travels once per worker.
        samples: (samples, …); only the slice of its range travels to a worker.
        workers: ranges at a time; None: as many as the cluster has room for, one on this machine.
        cluster: see `cluster.connected`; None: processes of this machine.
        size: samples per range; chosen where it is not given.
        sink: called with (first sample, traces, counts) of each range, in order; then the result has no traces.
        progress: called with (samples done, samples in all).

    Returns:
        the same as ``work(Slice(samples), 1)``; `seconds` is the wall time, with the start of the workers.

    Raises:
        BackendError: the cluster cannot be reached, is another version's, or has lost its workers.
    """
    begin = time.perf_counter()
    samples = np.asarray(samples)
    if cluster is None:
        workers = min(workers or 1, len(ranges(len(samples), workers or 1, size, work.largest)))
    with connected(cluster, workers) as place:
        parts = []
        chosen = ranges(len(samples), place.slots, size, work.largest)
        for (low, high), part in zip(chosen, _results(place, work, samples, chosen), strict=True):
            if sink is not None:
                sink(low, part.traces, part.counts)
                part = replace(part, traces={})
            parts.append(part)
            if progress is not None:
                progress(high, len(samples))
    return RunResult.join(parts, time.perf_counter() - begin)


def _results(place: Cluster, work: Work, samples: NDArray[Any], chosen: list[tuple[int, int]]) -> Iterator[RunResult]:
    """The result of each range, in order; whatever a library raises becomes a sentence."""
    import joblib

    try:
        with joblib.parallel_config(**place.settings):
            parallel = joblib.Parallel(
                n_jobs=place.slots,
                return_as="generator" if place.streams else "list",
                batch_size=1,
                pre_dispatch=place.in_flight,
            )
            shared = place.share(work)
            tasks = (
                joblib.delayed(_compute)(shared, _cut(samples, low, high, work.lead), place.threads, release())
                for low, high in chosen
            )
            results = parallel(tasks)
            with contextlib.closing(results) if place.streams else contextlib.nullcontext():
                yield from results
    except (SnnCompileError, MemoryError):
        raise
    except BrokenExecutor as error:
        raise BackendError(
            place.name, "one of them was killed, most likely for want of memory", "use fewer workers", value=place.slots
        ) from error
    except Exception as error:
        raise _failed(place, error) from error


def _cut(samples: NDArray[Any], low: int, high: int, lead: int) -> Slice:
    before = min(lead, low)
    return Slice(samples[low - before : high], before, high == len(samples))


def _failed(place: Cluster, error: BaseException) -> BackendError:
    if isinstance(error, CancelledError) and not place.problem():
        return BackendError(place.name, "was lost in the middle", "check that it runs, then run again")
    if place.problem():
        return BackendError(place.name, str(place.problem()), "check its workers, then run again")
    first = (str(error).strip().splitlines() or [""])[0][:200]
    text = f"{type(error).__name__}: {first}"
    if isinstance(error, (ImportError, AttributeError)):
        return BackendError(place.name, f"a worker cannot load the work ({text})", _SAME_VERSION)
    return BackendError(place.name, f"a worker failed ({text})", "run without workers to see whether it is theirs")


_SAME_VERSION = "install the same version of snn-compile and its libraries on every worker"


def _compute(work: Work, part: Slice, threads: int, version: str) -> RunResult:
    """One range, in the worker."""
    if version != release():
        raise BackendError(
            f"worker on {socket.gethostname()}",
            f"has snn-compile {release()}, this one is {version}",
            _SAME_VERSION,
            value=release(),
            limit=version,
        )
    return work(part, threads)


@functools.cache
def release() -> str:
    """The version of this package and a digest of the files that decide what it computes."""
    try:
        version = importlib.metadata.version("snn-compile")
    except importlib.metadata.PackageNotFoundError:
        version = "uninstalled"
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    folders = [(root / "compiler", "*.py"), (root / "runtime", "*.py"), (root / "hw_targets", "**/*.*")]
    for path in sorted(p for folder, kind in folders for p in folder.glob(kind) if p.suffix in (".py", ".toml")):
        digest.update(f"{path.relative_to(root).as_posix()}\n".encode() + path.read_bytes())
    return f"{version} ({digest.hexdigest()[:8]})"
