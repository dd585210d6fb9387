"""The program file `.snnc`: HDF5 with a JSON manifest and one group per core; every value is checked on reading."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import msgspec
import numpy as np
from numpy.typing import NDArray

from ..atomic import whole_file
from ..errors import ProgramFileError
from ..hw_targets import chip as chips
from .fixed import Encoding, FixedInput
from .program import (
    CORE_ARRAYS,
    FORMAT_VERSION,
    CoreTables,
    HostTables,
    InputTables,
    PopulationHeader,
    Program,
)
from .stored import StoredArrays
from .synapses import Synapses

MAGIC = "snn-compile program"
INPUT_ARRAYS: dict[str, tuple[type, int]] = {
    key: CORE_ARRAYS[key] for key in ("out_start", "out_core", "out_axon", "out_base")
}
HOST_ARRAYS: dict[str, tuple[type, int]] = {"indptr": (np.int64, 1), "targets": (np.int32, 1), "weights": (np.int16, 1)}
MAX_CORES = 2**14


class _Input(msgspec.Struct, frozen=True):
    name: str
    shape: tuple[int, ...]
    encoding: Encoding
    max_value: int
    levels: int


class _Population(msgspec.Struct, frozen=True):
    name: str
    shape: tuple[int, ...]
    size: int
    offset: int


class _Host(msgspec.Struct, frozen=True):
    source: str
    target: str
    shift: int


class _Manifest(msgspec.Struct, frozen=True):
    format: str
    version: int
    target: str
    board: str
    steps: int
    inputs: tuple[_Input, ...]
    populations: tuple[_Population, ...]
    outputs: tuple[str, ...]
    projections: tuple[tuple[str, str], ...]
    hosts: tuple[_Host, ...]
    places: tuple[tuple[int, int, int], ...]
    facts: dict[str, Any]
    votes: int


def save(program: Program, path: str | os.PathLike[str]) -> None:
    """Writes the program, whole or not at all; same program, same bytes."""
    manifest = _Manifest(
        MAGIC,
        FORMAT_VERSION,
        program.target,
        program.board,
        program.steps,
        tuple(_Input(t.source.name, t.source.shape, t.source.encoding, t.source.max_value, t.source.levels)
              for t in program.inputs),
        tuple(_Population(p.name, p.shape, p.size, p.offset) for p in program.populations),
        program.outputs,
        program.projections,
        tuple(_Host(h.source, h.target, h.shift) for h in program.hosts),
        tuple(core.place for core in program.cores),
        dict(program.manifest),
        program.votes,
    )  # fmt: skip
    with whole_file(path) as draft, h5py.File(draft, "w") as file:
        file.create_dataset("manifest", data=np.frombuffer(msgspec.json.encode(manifest), np.uint8))
        for i, entry in enumerate(program.inputs):
            _write(file, f"inputs/{i}", {key: getattr(entry, key) for key in INPUT_ARRAYS})
        for i, population in enumerate(program.populations):
            _write(file, f"populations/{i}", {"origin": population.origin})
        for i, host in enumerate(program.hosts):
            _write(file, f"hosts/{i}", {key: getattr(host.synapses, key) for key in HOST_ARRAYS})
        for i, core in enumerate(program.cores):
            _write(file, f"cores/{i}", {key: getattr(core, key) for key in CORE_ARRAYS})


def _write(file: h5py.File, group: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    for key, array in arrays.items():
        file.create_dataset(f"{group}/{key}", data=array)


def load(path: str | os.PathLike[str]) -> Program:
    """Reads a program.

    Raises:
        ProgramFileError: the file is missing, broken, of another version, or its parts contradict each other.
    """
    path = Path(path)
    if not path.is_file():
        raise ProgramFileError(str(path), "is not there" if not path.exists() else "is no file", "check the path")
    try:
        with h5py.File(path, "r") as file:
            return _Reader(file, str(path), path.stat().st_size).program()
    except (OSError, LookupError, RuntimeError, ArithmeticError, ValueError, TypeError, AttributeError) as error:
        raise ProgramFileError(
            str(path), "is no program file, or a broken one", "give a .snnc file that snn-compile wrote"
        ) from error


def _is_shape(shape: tuple[int, ...]) -> bool:
    return 1 <= len(shape) <= 8 and all(n >= 1 for n in shape) and math.prod(shape) < 2**31


class _Reader(StoredArrays):
    """Reads a program part by part and checks each."""

    def fault(self, problem: str, way_out: str = "compile the model again") -> ProgramFileError:
        return ProgramFileError(self.path, problem, way_out)

    def arrays(self, group: str, spec: Mapping[str, tuple[type, int]]) -> dict[str, NDArray[Any]]:
        return {key: self.array(f"{group}/{key}", *form) for key, form in spec.items()}

    def manifest(self) -> _Manifest:
        text = self.array("manifest", np.uint8, 1).tobytes()
        try:
            head = msgspec.json.decode(text, type=dict[str, Any])
            if head.get("format") != MAGIC:
                raise self.fault("is no program of snn-compile", "give a .snnc file that snn-compile wrote")
            if head.get("version") != FORMAT_VERSION:
                raise self.fault(f"has format version {head.get('version')}, this release reads {FORMAT_VERSION}")
            return msgspec.json.decode(text, type=_Manifest)
        except (msgspec.DecodeError, RecursionError) as error:
            raise self.fault("has a broken manifest") from error

    def program(self) -> Program:
        head = self.manifest()
        if head.target not in chips.names():
            raise self.fault(f"is for the target {head.target!r}, which this release does not know")
        if not (1 <= head.steps <= 2**16 and 1 <= len(head.places) <= MAX_CORES and head.populations):
            raise self.fault("has no steps, no cores or no population")
        for p in head.populations:
            if not (1 <= p.size < 2**31 and 0 <= p.offset <= 2**16 and _is_shape(p.shape)):
                raise self.fault(f"the population {p.name} has impossible numbers")
        chip = chips.load(head.target)
        if head.board not in chip.boards:
            raise self.fault(f"is for the board {head.board!r}, which {head.target} does not have")
        cores = tuple(self.core(i, place, chip) for i, place in enumerate(head.places))
        if (wrong := chip.misplaced(head.places, head.board)) is not None:
            raise self.fault(f"core {wrong} stands at {head.places[wrong]}, outside the mesh or on a full tile")
        inputs = tuple(
            InputTables(self.source(entry), **self.arrays(f"inputs/{i}", INPUT_ARRAYS))
            for i, entry in enumerate(head.inputs)
        )
        populations = tuple(
            PopulationHeader(p.name, p.shape, p.size, p.offset, self.array(f"populations/{i}/origin", np.int32, 1))
            for i, p in enumerate(head.populations)
        )
        sizes = {p.name: p.size for p in head.populations} | {e.source.name: e.source.size for e in inputs}
        hosts = tuple(self.host(i, entry, sizes) for i, entry in enumerate(head.hosts))
        program = Program(
            head.target,
            head.board,
            head.steps,
            inputs,
            populations,
            head.outputs,
            head.projections,
            hosts,
            cores,
            head.facts,
            head.votes,
        )
        entries, limit = program.output_entries(), chip.limits.out_axons_per_core[0]
        if entries.max() > limit:
            core = int(entries.argmax())
            raise self.fault(f"core {core} needs {entries[core]} output axons, {chip.name} has {limit}")
        return program

    def source(self, entry: _Input) -> FixedInput:
        if not (_is_shape(entry.shape) and 1 <= entry.max_value < 2**16 and 1 <= entry.levels < 2**16):
            raise self.fault(f"the input {entry.name} has impossible numbers")
        return FixedInput(entry.name, entry.shape, entry.encoding, entry.max_value, entry.levels)

    def core(self, number: int, place: tuple[int, int, int], chip: chips.Chip) -> CoreTables:
        arrays = self.arrays(f"cores/{number}", CORE_ARRAYS)
        exponents = chip.limits.weight_exponent_min[0], chip.limits.weight_exponent_max[0]
        if arrays["formats"].shape[1:] != (6,):
            raise self.fault(f"core {number} has formats of the wrong shape")
        if not all(exponents[0] <= exponent <= exponents[1] for exponent in arrays["formats"][:, 5].tolist()):
            raise self.fault(f"core {number} has an exponent outside {exponents[0]} to {exponents[1]}")
        limits = {
            "neurons": chip.neurons_per_core,
            "words": chip.synapse_words,
            "axon_start": chip.limits.in_axons_per_core[0],
            "formats": chip.limits.formats_per_core[0],
        }
        for key, limit in limits.items():
            if len(arrays[key]) > limit:
                raise self.fault(f"core {number} has {len(arrays[key])} {key}, {chip.name} has {limit}")
        if not len(arrays["neurons"]):
            raise self.fault(f"core {number} has no neurons")
        longest = int(arrays["axon_words"].max(initial=0))
        memory = chip.words_needed(len(arrays["words"]), len(arrays["neurons"]))
        if longest > chip.limits.words_per_list[0] or memory > chip.memory_words:
            raise self.fault(f"core {number} has a list of {longest} or {memory} words, more than {chip.name} has")
        return CoreTables(place, **arrays)

    def host(self, number: int, entry: _Host, sizes: Mapping[str, int]) -> HostTables:
        arrays = self.arrays(f"hosts/{number}", HOST_ARRAYS)
        if entry.source not in sizes or entry.target not in sizes or not 0 <= entry.shift < 64:
            raise self.fault(f"the host's projection {entry.source} -> {entry.target} is broken")
        try:
            synapses = Synapses(
                sizes[entry.source], sizes[entry.target], **arrays, delays=np.zeros(len(arrays["targets"]), np.uint8)
            )
        except (ValueError, IndexError) as error:
            raise self.fault(f"the host's projection {entry.source} -> {entry.target} is broken") from error
        return HostTables(entry.source, entry.target, entry.shift, synapses)
