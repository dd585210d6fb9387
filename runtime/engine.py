"""The engine: the integers of `compiler.fixed`, event-driven over the decoded tables, samples in parallel on threads.

Only spikes cost: a spike walks the synapse lists that its packets deliver. Memory is the tables, and per thread the
state of the samples that it runs side by side; samples are encoded, and traces written down, a batch at a time.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiler.fixed import FixedNetwork
from ..compiler.program import Program
from ..compiler.threads import THREADS
from ..errors import DataError, LimitError, NetworkError
from .build import tables_of
from .counters import Counters
from .encoding import payloads
from .kernel import run_samples
from .result import Activity, RunResult, Trace, join_traces
from .state import new_state
from .tables import POPULATION, Tables

Samples = NDArray[Any] | Mapping[str, NDArray[Any]]
Progress = Callable[[int, int], None]
Sink = Callable[[int, Mapping[str, Trace], NDArray[np.int32]], None]
"""(first sample, traces, counts) of a batch."""

BATCH = 1024
"""Samples that are encoded at a time, at most."""
LANES = ((32, 3 * 2**20), (8, 2**26))
"""Samples that a thread runs side by side, where their state takes so many bytes at most; else one at a time."""
BATCH_BYTES = 2**27
"""About what a batch may take beside them: payloads, loads of cores, traces. Two are held at a time."""
QUICK = 2**31
"""Synapses times steps times samples of a batch, about, so that progress is seen and the user can stop it."""
LARGEST_LOAD = 2**28
"""What the loads of one sample may take."""


def run_engine(
    source: Program | FixedNetwork | Tables,
    samples: Samples,
    *,
    traces: Sequence[str] = (),
    sink: Sink | None = None,
    threads: int | None = None,
    batch: int | None = None,
    lead: int = 0,
    last: bool = True,
    counters: bool = True,
    progress: Progress | None = None,
) -> RunResult:
    """Runs samples through a program, from its tables, or through a network.

    Args:
        source: what runs; `build.tables_of` makes `Tables` of it, which can be kept for several runs.
        samples: raw samples of the one input, (samples, *shape) integers, or one array per input name; see
            `encoding.payloads`.
        traces: populations whose spikes, u and v are kept for every step.
        sink: called with (first sample, traces, counts) after each batch; then the result has no traces.
        threads: as many as there are cores where it is not given.
        batch: samples that are encoded and held at a time; what fits some 100 MB where it is not given.
        lead: so many samples at the start only fill the pipeline for the loads of cores; the result is without them.
        last: whether the pipeline runs empty at the end, or another run goes on with these samples as its `lead`.
        counters: whether loads per core and step are counted; see `counters.Counters`.
        progress: called with (samples done, samples in all).

    Returns:
        spike counts and activity; equal for any number of threads and any batch.

    Raises:
        DataError: the samples do not match the input.
        NetworkError: `traces` names no population.
        LimitError: the loads of one sample take too much memory.
        ProgramFileError: the program's tables contradict each other.
    """
    for name, value in (("threads", threads), ("batch", batch)):
        if value is not None and value < 1:
            raise DataError(name, f"is {value}, at least 1 is needed", "leave it away or give a positive number")
    tables = source if isinstance(source, Tables) else tables_of(source)
    arrays, count = _by_input(tables, samples)
    run = _Run(tables, tuple(traces), threads or THREADS, counters, count)
    size = batch or batch_size(tables, traces, counters)
    counts, found = [], []
    with _stopping(run.pool):
        none = run.finish(run.start({name: array[:0] for name, array in arrays.items()}, False))
        counts.append(none[0])  # of no samples: the kernel is compiled before the time begins
        found.append(none[1])
        begin = time.perf_counter()
        for low, high, part, traced in run.batches(arrays, _batches(count, size, lead), lead):
            if low >= lead:
                counts.append(part)
                found.append(traced)
                if sink is not None:
                    sink(low - lead, found.pop(), part)
            if progress is not None:
                progress(max(0, high - lead), count - lead)
        if run.counters is not None and last:
            run.counters.drain()
    seconds = time.perf_counter() - begin
    traced = {} if sink is not None else join_traces(found)
    return RunResult("engine", np.concatenate(counts), run.activity(count - lead), seconds, traced, tables.votes)


@contextlib.contextmanager
def _stopping(pool: ThreadPoolExecutor) -> Iterator[None]:
    """What waits is given up where a batch fails or the user ends it."""
    try:
        yield
    finally:
        pool.shutdown(cancel_futures=True)


def batch_size(tables: Tables, traces: Sequence[str] = (), counters: bool = True) -> int:
    """Samples of which payloads, loads and traces take about `BATCH_BYTES`, and a few seconds; at most `BATCH`.

    Raises:
        LimitError: the loads of one sample alone take much more.
    """
    each = sum(i.size * (tables.steps if i.encoding in ("rate", "spikes", "delta") else 1) for i in tables.inputs)
    each += 3 * sum(p.size for p in tables.populations if p.name in traces) * tables.steps
    if counters:
        load = 3 * tables.cores * (tables.steps + tables.span + 1)
        if 4 * load > LARGEST_LOAD:
            raise LimitError(
                "program",
                f"has {tables.cores} cores in {tables.steps + tables.span} steps, whose loads take {4 * load} bytes",
                "use fewer steps, or call the engine without counters",
                value=4 * load,
                limit=LARGEST_LOAD,
            )
        each += load
    quick = QUICK // max(1, int(tables.flat.fan_out.sum()) * tables.steps)
    return max(1, min(BATCH, BATCH_BYTES // (4 * each), max(8, quick)))


def _by_input(tables: Tables, samples: Samples) -> tuple[dict[str, NDArray[Any]], int]:
    if not isinstance(samples, Mapping):
        if len(tables.inputs) != 1:
            raise DataError("samples", f"are one array for {len(tables.inputs)} inputs", "give one array per input")
        samples = {tables.inputs[0].name: samples}
    arrays = {}
    unknown = sorted(set(samples) - {source.name for source in tables.inputs})
    if unknown:
        known = ", ".join(source.name for source in tables.inputs)
        raise DataError(unknown[0], "is no input, so it takes no samples", f"name {known}")
    for source in tables.inputs:
        if source.name not in samples:
            raise DataError(source.name, "is an input without samples", "give one array per input")
        arrays[source.name] = np.asarray(samples[source.name])
    if len({len(array) for array in arrays.values()}) > 1:
        raise DataError("samples", "differ in number between the inputs", "give every input as many")
    return arrays, len(next(iter(arrays.values()))) if arrays else 0


def _batches(count: int, size: int, lead: int) -> Iterator[tuple[int, int]]:
    for low in range(0, lead, size):
        yield low, min(low + size, lead)
    for low in range(lead, count, size):
        yield low, min(low + size, count)


@dataclass(frozen=True, eq=False)
class _Batch:
    """Samples on their way: the arrays that the kernel fills, and the spikes of each part when it is done."""

    leading: bool
    counts: NDArray[np.int32]
    trace: NDArray[np.int32]
    load: NDArray[np.int32]
    parts: list[Future[NDArray[np.int64]]]


class _Run:
    """What the batches of one run share."""

    def __init__(self, tables: Tables, traces: tuple[str, ...], threads: int, counting: bool, count: int) -> None:
        self.tables, self.traces, self.threads = tables, traces, threads
        names = [p.name for p in tables.populations]
        for name in traces:
            if name not in names:
                raise NetworkError(name, "is no population, so it cannot be traced", f"name one of {', '.join(names)}")
        each = 4 * (tables.slots * tables.cells + 11 * tables.neurons)
        width = next((lanes for lanes, most in LANES if count >= lanes and lanes * each <= most), 1)
        self.lanes = (0,) * width
        self.pool, self.local = ThreadPoolExecutor(threads), threading.local()
        self.outputs = np.concatenate([tables.where(name) for name in tables.outputs])
        self.counters = Counters(tables) if counting else None
        self.spikes = np.zeros(tables.neurons + sum(i.size for i in tables.inputs), np.int64)
        self.graded = np.concatenate(
            [np.full(p.size, p.graded) for n in tables.outputs for p in tables.populations if p.name == n]
        )
        wanted = [names.index(name) for name in traces]
        size = tables.flat.segments[:, 1] - tables.flat.segments[:, 0]
        chosen = np.isin(tables.flat.segments[:, POPULATION], wanted)
        begin = np.cumsum(np.where(chosen, size, 0)) - size
        self.columns = np.where(chosen, begin, -1)
        self.traced = int(size[chosen].sum())

    def batches(
        self, arrays: Mapping[str, NDArray[Any]], bounds: Iterable[tuple[int, int]], lead: int
    ) -> Iterator[tuple[int, int, NDArray[np.int32], dict[str, Trace]]]:
        """(low, high, counts, traces) of each batch, in order; while one is computed the next one is encoded."""
        waiting: list[tuple[int, int, _Batch]] = []
        for low, high in bounds:
            waiting.append(
                (low, high, self.start({name: array[low:high] for name, array in arrays.items()}, low < lead))
            )
            if len(waiting) > 1:
                first, last, batch = waiting.pop(0)
                yield first, last, *self.finish(batch)
        for first, last, batch in waiting:
            yield first, last, *self.finish(batch)

    def start(self, arrays: Mapping[str, NDArray[Any]], leading: bool) -> _Batch:
        """Encodes some samples, and gives them to the threads."""
        tables, steps = self.tables, self.tables.steps
        sent = {i.name: payloads(arrays[i.name], i, steps) for i in tables.inputs}
        values, steady = _values(tables, sent)
        count = len(values)
        counts = np.zeros((count, len(self.outputs)), np.int32)
        trace = np.zeros((3, count if self.traced and not leading else 0, steps, self.traced), np.int32)
        rows = count if self.counters is not None else 0
        load = np.zeros((rows, steps + tables.span + 1, tables.cores, 3), np.int32)
        columns = self.columns if len(trace[0]) else np.full_like(self.columns, -1)

        def work(low: int, high: int) -> NDArray[np.int64]:
            spikes = np.zeros_like(self.spikes)
            state = self._state(len(steady))
            run_samples(
                self.lanes, tables.flat, state, steps, tables.span, tables.cells, tables.slots, tables.cores, values,
                steady, low, high, self.outputs, self.graded, counts, spikes, load, columns, trace,
            )  # fmt: skip
            return spikes

        chunk = len(self.lanes) * max(1, -(-count // (4 * self.threads * len(self.lanes))))
        starts = range(0, max(count, 1), chunk)
        parts = [self.pool.submit(work, low, min(low + chunk, count)) for low in starts]
        return _Batch(leading, counts, trace, load, parts)

    def finish(self, batch: _Batch) -> tuple[NDArray[np.int32], dict[str, Trace]]:
        """(counts, traces); leading samples are counted nowhere but in the load that they leave behind."""
        parts = [part.result() for part in batch.parts]
        if self.counters is not None:
            self.counters.add(batch.load, batch.leading)
        if batch.leading:
            return batch.counts, {}
        self.spikes += sum(parts)
        for source in self.tables.inputs:
            if source.encoding == "bias":
                self.spikes[self.tables.where(source.name)] = 0  # the host loads biases, it sends no packets
        return batch.counts, {name: self._trace(batch.trace, name) for name in self.traces}

    def _state(self, inputs: int) -> Any:
        """This thread's state, made once: fresh memory costs more than a short run."""
        if not hasattr(self.local, "state"):
            tables, cores = self.tables, 0 if self.counters is None else self.tables.cores
            self.local.state = new_state(self.lanes, tables.flat, inputs, tables.cells, tables.slots, cores)
        return self.local.state

    def _trace(self, trace: NDArray[np.int32], name: str) -> Trace:
        tables = self.tables
        row = next(i for i, p in enumerate(tables.populations) if p.name == name)
        column = np.full(tables.neurons, -1)
        for segment, begin in zip(tables.flat.segments.tolist(), self.columns.tolist(), strict=True):
            if begin >= 0:
                column[segment[0] : segment[1]] = np.arange(segment[1] - segment[0]) + begin
        own = column[tables.where(name)]
        return Trace(
            trace[0][:, :, own].astype(tables.populations[row].spike_dtype), *(trace[k][:, :, own] for k in (1, 2))
        )

    def activity(self, samples: int) -> Activity:
        """What all batches counted."""
        tables = self.tables
        names = [*(p.name for p in tables.populations), *(i.name for i in tables.inputs)]
        spikes = {name: self.spikes[tables.where(name)] for name in names}
        synops = int(tables.flat.fan_out.astype(np.int64) @ self.spikes)
        if self.counters is None:
            return Activity(samples, tables.steps, spikes, synops)
        cores = self.counters.totals(samples, self.spikes)
        return Activity(samples, tables.steps, spikes, synops, int(cores.active_updates.sum()), cores)


def _values(tables: Tables, sent: Mapping[str, NDArray[np.int32]]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """(samples, steps or 1, inputs) payloads of all inputs, and which of their sources are steady."""
    static = [sent[i.name].ndim == 2 for i in tables.inputs]
    steps = 1 if all(static) else tables.steps
    parts = [
        np.broadcast_to(array[:, None], (len(array), steps, array.shape[1])) if array.ndim == 2 else array
        for array in (sent[i.name] for i in tables.inputs)
    ]
    sizes = [i.size for i in tables.inputs]
    steady = np.repeat([s and t for s, t in zip(static, tables.steady, strict=True)], sizes)
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2), np.asarray(steady, np.bool_)
