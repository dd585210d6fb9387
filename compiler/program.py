"""`Program`: per-core tables as the chip's bits, the routing between them, and what the host needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .fixed import FixedInput
from .synapses import Synapses

FORMAT_VERSION = 4

CORE_ARRAYS: dict[str, tuple[type, int]] = {
    "neurons": (np.uint32, 1),
    "configuration": (np.uint32, 1),
    "profiles": (np.int32, 2),
    "formats": (np.int16, 2),
    "words": (np.uint64, 1),
    "axon_start": (np.uint32, 1),
    "axon_words": (np.uint16, 1),
    "out_start": (np.uint32, 1),
    "out_core": (np.uint16, 1),
    "out_axon": (np.uint16, 1),
    "out_base": (np.uint16, 1),
}
"""dtype and dimensions of each array of `CoreTables`."""


@dataclass(frozen=True, eq=False)
class CoreTables:
    """One core.

    Attributes:
        place: (chip, x, y).
        neurons: (compartments,) number of each compartment's neuron, population by population.
        configuration: (compartments,) bias mantissa (13 bits, two's complement), bias exponent (3), profile (16).
        profiles: (profiles, 8) what compartments have in common; the columns are `fixed.PROFILE`.
        formats: (formats, 6) kind, weight bits, delay bits, index bits, skip bits, exponent.
        words: (words,) the synapse memory.
        axon_start, axon_words: (input axons,) first word and length of each list.
        out_start: (compartments + 1,) the packets of each compartment's spike.
        out_core, out_axon, out_base: (packets,) the core and the input axon that each one reaches, and what is added
            to each compartment of its list there; 0 but for population axons.
    """

    place: tuple[int, int, int]
    neurons: NDArray[np.uint32]
    configuration: NDArray[np.uint32]
    profiles: NDArray[np.int32]
    formats: NDArray[np.int16]
    words: NDArray[np.uint64]
    axon_start: NDArray[np.uint32]
    axon_words: NDArray[np.uint16]
    out_start: NDArray[np.uint32]
    out_core: NDArray[np.uint16]
    out_axon: NDArray[np.uint16]
    out_base: NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class InputTables:
    """An input and where the host sends its values: (size + 1,) starts, then core, axon and base of each packet."""

    source: FixedInput
    out_start: NDArray[np.uint32]
    out_core: NDArray[np.uint16]
    out_axon: NDArray[np.uint16]
    out_base: NDArray[np.uint16]


@dataclass(frozen=True)
class PopulationHeader:
    """What the host knows of a population: how to name its neurons and when its window begins."""

    name: str
    shape: tuple[int, ...]
    size: int
    offset: int
    origin: NDArray[np.int32] = field(compare=False)


@dataclass(frozen=True, eq=False)
class HostTables:
    """A projection that the host computes once per sample; see `fixed`."""

    source: str
    target: str
    shift: int
    synapses: Synapses


@dataclass(frozen=True, eq=False)
class Program:
    """What a chip is loaded with, and what a host needs to talk to it.

    Attributes:
        target: name of the chip.
        board: of that chip, by name; its chips are numbered as in `CoreTables.place`.
        steps: T.
        populations, inputs, outputs: in order.
        projections: (source, target) of each projection, those of the host too, in order.
        hosts: projections of the host.
        cores: tables per core.
        manifest: plain values: source of the model, options, report.
        votes: output neurons per class.
    """

    target: str
    board: str
    steps: int
    inputs: tuple[InputTables, ...]
    populations: tuple[PopulationHeader, ...]
    outputs: tuple[str, ...]
    projections: tuple[tuple[str, str], ...]
    hosts: tuple[HostTables, ...]
    cores: tuple[CoreTables, ...]
    manifest: Mapping[str, Any] = field(default_factory=dict)
    votes: int = 1

    def output_entries(self) -> NDArray[np.int64]:
        """(cores,) output-axon entries: one per axon, two where several sources address it, one more to another chip.

        All neurons of a core that address the same input axon share the entry.
        """
        tables: list[CoreTables | InputTables] = [*self.cores, *self.inputs]
        axons = [t.out_core.astype(np.int64) << 16 | t.out_axon for t in tables]
        different, count = np.unique(np.concatenate(axons), return_counts=True)
        chip = np.array([core.place[0] for core in self.cores])
        entries = np.zeros(len(self.cores), np.int64)
        for number in range(len(self.cores)):
            own = np.unique(axons[number])
            several = count[np.searchsorted(different, own)] > 1
            to = np.minimum(own >> 16, len(chip) - 1)  # `decode` refuses cores that are not there
            entries[number] = len(own) + several.sum() + (chip[to] != chip[number]).sum()
        return entries
