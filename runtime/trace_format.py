"""What a trace file holds: the manifest, the shape of its chunks, and its limits.

HDF5; per population ``spikes``, ``u`` and ``v`` of (samples, steps, size). docs/reference/trace-file.md is the format,
`trace` writes it, `trace_file` reads it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..compiler.fixed import FixedPopulation
from ..errors import LimitError, NetworkError

MAGIC = "snn-compile trace"
FORMAT_VERSION = 1
KINDS = ("spikes", "u", "v")
SPIKE_TYPES = (np.uint8, np.int32)
"""uint8: binary spikes; int32: payloads, below 0 too, 0 where there is no spike."""

CHUNK_VALUES = 2**16
CHUNK_SAMPLES = 64
MAX_SAMPLE_VALUES = 2**26
"""Steps × neurons of one population."""
MAX_STEPS = 2**16
MAX_POPULATIONS = 256
GZIP_LEVEL = 4


class PopulationEntry(msgspec.Struct, frozen=True):
    """A population in the manifest; `shape` is that of the trained layer, `vth` may be unknown."""

    name: str
    shape: tuple[int, ...]
    size: int
    vth: int | None


class Manifest(msgspec.Struct, frozen=True):
    """What a trace file says of itself; the arrays lie beside it."""

    format: str
    version: int
    program: str
    program_sha256: str
    backend: str
    data: str
    steps: int
    samples: int
    populations: tuple[PopulationEntry, ...]
    predictions: tuple[int, ...] | None
    labels: tuple[int, ...] | None


@dataclass(frozen=True)
class TraceFacts:
    """Where a trace comes from, in words: the program's file name and SHA-256, the backend, the data set."""

    program: str = ""
    program_sha256: str = ""
    backend: str = ""
    data: str = ""


@dataclass(frozen=True, eq=False)
class TracedPopulation:
    """A population whose steps are kept.

    Attributes:
        shape: of the trained layer.
        origin: (size,) int32, index of each neuron in the trained layer, C order.
        vth: threshold; v reaches it at ``vth << 6``. None where it is not known.
    """

    name: str
    shape: tuple[int, ...]
    origin: NDArray[np.int32] = field(repr=False)
    vth: int | None = None

    @property
    def size(self) -> int:
        return len(self.origin)

    @classmethod
    def of(cls, populations: Sequence[FixedPopulation], names: Sequence[str]) -> tuple[TracedPopulation, ...]:
        """Those of a network's or program's populations that have these names, in the order given.

        Raises:
            NetworkError: there is no population of that name.
        """
        known = {p.name: p for p in populations}
        for name in names:
            if name not in known:
                raise NetworkError(name, "is no population, so it cannot be traced", f"choose among {', '.join(known)}")
        return tuple(cls(p.name, p.shape, p.origin, None if p.graded else p.vth) for p in map(known.__getitem__, names))


def chunk_shape(steps: int, size: int) -> tuple[int, int, int]:
    """Samples, steps and neurons of a chunk: at most 2^16 values, of several samples where one is small.

    >>> chunk_shape(8, 96), chunk_shape(8, 10_000), chunk_shape(8, 200_000)
    ((64, 8, 96), (1, 6, 10000), (1, 1, 65536))
    """
    neurons = min(size, CHUNK_VALUES)
    rows = min(steps, CHUNK_VALUES // neurons)
    fit = min(CHUNK_SAMPLES, CHUNK_VALUES // (rows * neurons))
    return 1 << (fit.bit_length() - 1), rows, neurons


def check_limits(populations: Sequence[TracedPopulation], steps: int) -> None:
    """Before the work: a file can hold a trace of these populations.

    Raises:
        NetworkError: there is no population, one is empty, or one is there twice.
        LimitError: more populations, steps or values per sample than a trace file can hold.
    """
    names = [p.name for p in populations]
    if not names or len(set(names)) != len(names):
        raise NetworkError("trace", "has no population, or one twice", "name each population once")
    for p in populations:
        if not p.size or math.prod(p.shape) < p.size:
            raise NetworkError(p.name, f"has {p.size} neurons of a layer of the shape {p.shape}", "trace another one")
        if steps * p.size > MAX_SAMPLE_VALUES:
            raise LimitError(
                p.name,
                f"has {steps} steps of {p.size} neurons, a trace file holds {MAX_SAMPLE_VALUES} values per sample",
                "trace a smaller population or fewer steps",
                value=steps * p.size,
                limit=MAX_SAMPLE_VALUES,
            )
    for what, value, limit in (("steps", steps, MAX_STEPS), ("populations", len(names), MAX_POPULATIONS)):
        if not 1 <= value <= limit:
            raise LimitError(
                "trace", f"has {value} {what}, a trace file holds 1 to {limit}", "trace fewer", value=value, limit=limit
            )
