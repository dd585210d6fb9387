"""`TraceWriter`: every step of chosen populations goes to disk, batch by batch."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import h5py
import msgspec
import numpy as np
from numpy.typing import NDArray

from ..atomic import whole_file
from ..compiler.stored import Disk, created
from ..errors import NetworkError
from .result import Trace
from .trace_format import (
    FORMAT_VERSION,
    GZIP_LEVEL,
    KINDS,
    MAGIC,
    SPIKE_TYPES,
    Manifest,
    PopulationEntry,
    TracedPopulation,
    TraceFacts,
    check_limits,
    chunk_shape,
)


class TraceWriter:
    """Appends batches of samples to a trace file; made by `create`."""

    def __init__(self, file: h5py.File, disk: Disk, populations: Sequence[TracedPopulation], steps: int) -> None:
        self._file, self._disk, self._populations, self._steps = file, disk, tuple(populations), steps
        self._columns: dict[str, tuple[_Column, ...]] = {}
        self._notes: dict[str, list[int]] = {"predictions": [], "labels": []}
        self.samples = 0

    @classmethod
    @contextlib.contextmanager
    def create(
        cls,
        path: str | os.PathLike[str],
        populations: Sequence[TracedPopulation],
        steps: int,
        facts: TraceFacts | None = None,
    ) -> Iterator[TraceWriter]:
        """A writer for the block; the file is there after the block, whole or not at all.

        The same samples give the same bytes, however they are cut into batches. Memory: the batch and one chunk per
        array.

        Args:
            populations: see `TracedPopulation.of`.
            steps: T, steps per sample.
            facts: where the trace comes from.

        Raises:
            OutputError: the file cannot be written there.
            NetworkError, LimitError: a file cannot hold that; see `trace_format.check_limits`.

        >>> import tempfile
        >>> from pathlib import Path
        >>> from snn_compile.runtime.trace_file import read_trace
        >>> zeros = np.zeros((1, 3, 2), np.int32)
        >>> hidden = TracedPopulation("hidden", (2,), np.arange(2, dtype=np.int32), vth=100)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with TraceWriter.create(Path(folder, "trace.h5"), [hidden], steps=3) as writer:
        ...         writer.append({"hidden": Trace(np.ones((1, 3, 2), np.uint8), zeros, zeros)})
        ...     with read_trace(Path(folder, "trace.h5")) as file:
        ...         file.samples, file.array("hidden", "spikes", sample=0).tolist()
        (1, [[1, 1], [1, 1], [1, 1]])
        """
        check_limits(populations, steps)
        with whole_file(path) as draft, created(draft) as (file, disk):
            writer = cls(file, disk, populations, steps)
            yield writer
            writer._finish(facts or TraceFacts())

    def append(
        self,
        traces: Mapping[str, Trace],
        predictions: NDArray[Any] | None = None,
        labels: NDArray[Any] | None = None,
    ) -> None:
        """Adds the next samples.

        Args:
            traces: per population (samples, steps, size); others than those of the file are left out.
            predictions, labels: (samples,) integers; in every batch or in none.

        Raises:
            NetworkError: a trace is missing, has another shape or type, or predictions or labels do not fit.
            OSError: the disk is full; an `OutputError` outside the block of `create`.
        """
        count = len(next(iter(traces.values())).spikes) if traces else 0
        arrays = [self._arrays(p, traces, count) for p in self._populations]
        for key, values in (("predictions", predictions), ("labels", labels)):
            self._notes[key] += [] if values is None else [int(value) for value in values]
            if len(self._notes[key]) not in (0, self.samples + count):
                raise NetworkError(key, "do not name each sample once", "give them with every batch or with none")
        for i in range(count):
            for population, kinds in zip(self._populations, arrays, strict=True):
                for column, array in zip(self._columns[population.name], kinds, strict=True):
                    column.push(array[i])
        self.samples += count
        self._disk.check()

    def _arrays(
        self, population: TracedPopulation, traces: Mapping[str, Trace], count: int
    ) -> tuple[NDArray[Any], ...]:
        """spikes, u and v of a population, checked; the first batch decides the type of the spikes."""
        if population.name not in traces:
            raise NetworkError(population.name, "has no trace in this batch", "trace it with the others")
        trace = traces[population.name]
        arrays: tuple[NDArray[Any], ...] = (trace.spikes, trace.u, trace.v)
        spikes = trace.spikes.dtype if trace.spikes.dtype in SPIKE_TYPES else np.uint8
        columns = self._columns.get(population.name) or self._create(population, spikes)
        want = (count, self._steps, population.size)
        for column, array in zip(columns, arrays, strict=True):
            if array.shape != want or array.dtype != column.dtype:
                raise NetworkError(
                    population.name,
                    f"has a trace of {array.shape} {array.dtype}, the file takes {want} {column.dtype}",
                    "append traces of the same run",
                )
        return arrays

    def _create(self, population: TracedPopulation, spikes: Any) -> tuple[_Column, ...]:
        group = f"populations/{self._populations.index(population)}"
        types = (np.dtype(spikes), np.dtype("<i4"), np.dtype("<i4"))
        columns = tuple(
            _Column(self._file, f"{group}/{kind}", dtype, self._steps, population.size)
            for kind, dtype in zip(KINDS, types, strict=True)
        )
        self._columns[population.name] = columns
        return columns

    def _finish(self, facts: TraceFacts) -> None:
        """What is left of the last chunks, then what is known at the end only."""
        for i, population in enumerate(self._populations):
            for column in self._columns.get(population.name) or self._create(population, np.uint8):
                column.flush()
            self._file.create_dataset(f"populations/{i}/origin", data=np.asarray(population.origin, "<i4"))
        manifest = Manifest(
            MAGIC, FORMAT_VERSION, facts.program, facts.program_sha256, facts.backend, facts.data,
            self._steps, self.samples,
            tuple(PopulationEntry(p.name, p.shape, p.size, p.vth) for p in self._populations),
            tuple(self._notes["predictions"]) or None,
            tuple(self._notes["labels"]) or None,
        )  # fmt: skip
        self._file.create_dataset("manifest", data=np.frombuffer(msgspec.json.encode(manifest), np.uint8))


class _Column:
    """One array on disk; a chunk is written once it is full, so that each is compressed once."""

    def __init__(self, file: h5py.File, name: str, dtype: np.dtype[Any], steps: int, size: int) -> None:
        chunk = chunk_shape(steps, size)
        self.dtype = dtype
        self._data = file.create_dataset(
            name, (0, steps, size), dtype, maxshape=(None, steps, size), chunks=chunk,
            compression="gzip", compression_opts=GZIP_LEVEL, shuffle=dtype.itemsize > 1,
        )  # fmt: skip
        self._block = np.zeros((chunk[0], steps, size), dtype)
        self._filled = 0

    def push(self, sample: NDArray[Any]) -> None:
        self._block[self._filled] = sample
        self._filled += 1
        if self._filled == len(self._block):
            self.flush()

    def flush(self) -> None:
        done = len(self._data)
        self._data.resize(done + self._filled, axis=0)
        self._data[done:] = self._block[: self._filled]
        self._filled = 0
