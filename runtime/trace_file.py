"""`TraceFile`: a trace from disk, one sample of one population at a time; every value is checked on reading.

The file may come from a stranger. Chunks are read as they lie in the file and decompressed here, so that no more comes
out of one than a chunk holds, whatever the file says.
"""

from __future__ import annotations

import contextlib
import math
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import msgspec
import numpy as np
from numpy.typing import NDArray

from ..compiler.stored import StoredArrays
from ..errors import TraceFileError
from .result import Trace
from .trace_chunks import DEFLATE_RATIO, read_block
from .trace_format import (
    FORMAT_VERSION,
    KINDS,
    MAGIC,
    MAX_POPULATIONS,
    MAX_SAMPLE_VALUES,
    MAX_STEPS,
    SPIKE_TYPES,
    Manifest,
    PopulationEntry,
    TracedPopulation,
    TraceFacts,
    chunk_shape,
)

BROKEN = (
    OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError, IndexError, OverflowError, zlib.error
)  # fmt: skip
"""What h5py and zlib raise where a file is damaged."""
VTH_LIMIT = 2**24


def read_trace(path: str | os.PathLike[str]) -> TraceFile:
    """Opens a trace; its arrays stay on disk until they are asked for.

    Returns:
        a file to be closed, or used in a ``with`` block; an example is at `trace.TraceWriter.create`.

    Raises:
        TraceFileError: the file is missing, broken, of another version, or its parts contradict each other.
    """
    return TraceFile(path)


class TraceFile:
    """An open trace file.

    Attributes:
        path: as it was given.
        facts: program, backend and data set.
        steps, samples: how many.
        populations: in the order of the file.
        predictions, labels: (samples,) int64, or None where the file has none.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = str(path)
        if not Path(path).is_file():
            problem = "is no file" if Path(path).exists() else "is not there"
            raise TraceFileError(self.path, problem, "check the path")
        self._stack = contextlib.ExitStack()
        with _sentences(self.path), contextlib.ExitStack() as stack:
            file = stack.enter_context(h5py.File(path, "r"))
            self._reader = _Reader(file, self.path, Path(path).stat().st_size)
            head = self._reader.manifest()
            self.facts = TraceFacts(head.program, head.program_sha256, head.backend, head.data)
            self.steps, self.samples = head.steps, head.samples
            self.populations = tuple(self._reader.population(i, entry) for i, entry in enumerate(head.populations))
            self._data = {p.name: self._reader.columns(i, p, head) for i, p in enumerate(self.populations)}
            self.predictions = self._reader.notes(head.predictions, head)
            self.labels = self._reader.notes(head.labels, head)
            self._stack = stack.pop_all()
        self._blocks: dict[tuple[str, str], tuple[int, NDArray[Any]]] = {}

    def __enter__(self) -> TraceFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nothing can be read afterwards; closing twice does no harm."""
        self._stack.close()

    def population(self, name: str) -> TracedPopulation:
        """The population of that name.

        Raises:
            TraceFileError: the file has none.
        """
        for population in self.populations:
            if population.name == name:
                return population
        names = ", ".join(plain(p.name) for p in self.populations)
        raise TraceFileError(self.path, f"has no trace of {plain(name)}", f"choose among {names}")

    def array(self, name: str, kind: str, sample: int) -> NDArray[Any]:
        """(steps, size) of one sample, read-only.

        Args:
            name: of the population.
            kind: ``spikes`` (uint8, or int32 payloads), ``u`` or ``v`` (int32, in 1/64 of a unit of vth).
            sample: from 0.

        Raises:
            TraceFileError: there is no such population or sample, or the file is broken.
        """
        population = self.population(name)
        if not 0 <= sample < self.samples:
            if not self.samples:
                raise TraceFileError(self.path, "has no samples", "trace a run with some")
            raise TraceFileError(
                self.path, f"has no sample {sample}", f"choose one from 0 to {self.samples - 1}", value=sample
            )
        dataset = self._data[name][KINDS.index(kind)]
        block, row = divmod(sample, dataset.chunks[0])
        known = self._blocks.get((name, kind))
        if known is None or known[0] != block:
            with _sentences(self.path):
                known = block, read_block(dataset, block, self.steps, population.size)
            self._blocks[name, kind] = known
        found: NDArray[Any] = known[1][row]
        if known[1].size > 2**16:
            del self._blocks[name, kind]  # a large sample is not kept
        return found

    def trace(self, name: str, sample: int) -> Trace:
        """All arrays of one sample of one population, each (1, steps, size); errors as for `array`."""
        return Trace(*(self.array(name, kind, sample)[None] for kind in KINDS))


def plain(name: str) -> str:
    """A name without characters that would steer a terminal.

    >>> plain("hidden\\x1b[2J")
    'hidden\ufffd[2J'
    """
    return "".join(c if c.isprintable() else "\ufffd" for c in name)


@contextlib.contextmanager
def _sentences(path: str) -> Iterator[None]:
    try:
        yield
    except BROKEN as error:
        raise TraceFileError(
            path, "is no trace file, or a broken one", "give a file that snn-run --trace wrote"
        ) from error


class _Reader(StoredArrays):
    """Reads a trace part by part and checks each."""

    def fault(self, problem: str, way_out: str = "trace the run again") -> TraceFileError:
        return TraceFileError(self.path, problem, way_out)

    def manifest(self) -> Manifest:
        text = self.array("manifest", np.uint8, 1).tobytes()
        try:
            head = msgspec.json.decode(text, type=dict[str, Any])
            if head.get("format") != MAGIC:
                raise self.fault("is no trace of snn-run", "give a file that snn-run --trace wrote")
            if head.get("version") != FORMAT_VERSION:
                raise self.fault(f"has format version {head.get('version')!r}, this release reads {FORMAT_VERSION}")
            manifest = msgspec.json.decode(text, type=Manifest)
        except (msgspec.DecodeError, RecursionError) as error:
            raise self.fault("has a broken manifest") from error
        if not (1 <= manifest.steps <= MAX_STEPS and 0 <= manifest.samples < 2**31):
            raise self.fault(f"has {manifest.steps} steps of {manifest.samples} samples, which cannot be")
        if not 1 <= len(manifest.populations) <= MAX_POPULATIONS:
            raise self.fault(f"has {len(manifest.populations)} populations, 1 to {MAX_POPULATIONS} are possible")
        if len({p.name for p in manifest.populations}) != len(manifest.populations):
            raise self.fault("has a population twice")
        return manifest

    def population(self, number: int, entry: PopulationEntry) -> TracedPopulation:
        shape = 1 <= len(entry.shape) <= 8 and all(n >= 1 for n in entry.shape) and math.prod(entry.shape) < 2**31
        if not (shape and entry.size >= 1 and (entry.vth is None or 0 <= entry.vth < VTH_LIMIT)):
            raise self.fault(f"the population {plain(entry.name)} has impossible numbers")
        origin = self.array(f"populations/{number}/origin", np.int32, 1)
        if len(origin) != entry.size or origin.min() < 0 or origin.max() >= math.prod(entry.shape):
            raise self.fault(f"{plain(entry.name)} does not name the origin of each neuron")
        return TracedPopulation(entry.name, entry.shape, origin, entry.vth)

    def columns(self, number: int, population: TracedPopulation, head: Manifest) -> tuple[h5py.Dataset, ...]:
        """spikes, u and v: of the shape and the chunks that the manifest asks for, with our filters only."""
        if population.size * head.steps > MAX_SAMPLE_VALUES:
            raise self.fault(
                f"{plain(population.name)} has {head.steps} steps of {population.size} neurons, "
                f"{MAX_SAMPLE_VALUES} values per sample are possible"
            )
        return tuple(self.column(f"populations/{number}/{kind}", population.size, head) for kind in KINDS)

    def column(self, name: str, size: int, head: Manifest) -> h5py.Dataset:
        found = self.dataset(name, SPIKE_TYPES if name.endswith("spikes") else (np.int32,), 3)
        if found.shape != (head.samples, head.steps, size):
            raise self.fault(f"{name} has the shape {found.shape}, not {(head.samples, head.steps, size)}")
        properties = found.id.get_create_plist()
        filters = [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
        wanted = [h5py.h5z.FILTER_SHUFFLE] * (found.dtype.itemsize > 1) + [h5py.h5z.FILTER_DEFLATE]
        if found.chunks != chunk_shape(head.steps, size) or filters != wanted:
            raise self.fault(f"{name} has other chunks or filters than those of format version {FORMAT_VERSION}")
        self.left -= -(-found.nbytes // DEFLATE_RATIO)
        if self.left < 0:
            raise self.fault(f"{name} claims more than the file holds")
        return found

    def notes(self, values: tuple[int, ...] | None, head: Manifest) -> NDArray[np.int64] | None:
        if values is None:
            return None
        if len(values) != head.samples:
            raise self.fault(f"has {len(values)} predictions or labels for {head.samples} samples")
        return np.array(values, np.int64)
