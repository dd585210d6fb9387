"""`CoreSlices`: which neurons stand on which core, and what crosses from core to core because of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..hw_targets.chip import Chip
from .netlist import Ints, Netlist
from .nodes import FloatArray


@dataclass(frozen=True, eq=False)
class CoreSlices:
    """Which neurons stand on which core; each neuron in exactly one slice.

    Attributes:
        neurons: per core (compartments,) int64 numbers of a `Netlist`, in the order of the compartments.
        method: how they were found.
        shared: per core, whether fan-out that is equal but for a shift shares a list; see `Netlist.lists_of`. Empty:
            no core does.
        crossing, baseline: of these slices, and of those in index order, where `partition` made them.
    """

    neurons: tuple[Ints, ...]
    method: str = "index order"
    shared: tuple[bool, ...] = ()
    crossing: Crossing | None = None
    baseline: Crossing | None = None

    def core_of(self) -> NDArray[np.int32]:
        """(neurons,) the core of each neuron.

        >>> CoreSlices((np.array([0, 2]), np.array([1]))).core_of().tolist()
        [0, 1, 0]
        """
        everything = np.concatenate(self.neurons)
        core = np.full(len(everything), -1, np.int32)
        core[everything] = np.repeat(np.arange(len(self.neurons), dtype=np.int32), [len(n) for n in self.neurons])
        assert bool((core >= 0).all()), "each neuron stands in exactly one slice"
        return core

    def is_shared(self) -> tuple[bool, ...]:
        """Per core; see `shared`."""
        return self.shared or (False,) * len(self.neurons)

    def dump(self) -> str:
        """A short stable text for tests and people."""
        return "\n".join(f"core {i}: {len(n)} neurons {n[0]}..{n[-1]}" for i, n in enumerate(self.neurons))


@dataclass(frozen=True)
class Crossing:
    """What crosses from core to core.

    Attributes:
        cores: that are in use.
        axons: km1, the sum of `Reach.crossings`.
        packets: km1 weighted with rates: per step, packets that reach another core than the neuron's own, and copies
            of an input's packets.
    """

    cores: int
    axons: int
    packets: float

    @classmethod
    def of(cls, netlist: Netlist, slices: CoreSlices, rates: FloatArray) -> Crossing:
        crossings = Reach.of(netlist, slices, len(slices.neurons)).crossings
        return cls(len(slices.neurons), int(crossings.sum()), float(crossings @ rates))


@dataclass(frozen=True, eq=False)
class Reach:
    """Where the spikes of each source go.

    Attributes:
        cores: (sources,) cores that it has targets on.
        remote: (sources,) those on another chip than its own; 0 for inputs.
        crossings: (sources,) connectivity minus one: the cores of a neuron and its targets, or of an input's targets,
            less one. Their sum is km1; weighted with rates, it is packets between cores.
    """

    cores: Ints
    remote: Ints
    crossings: Ints

    @classmethod
    def of(cls, netlist: Netlist, slices: CoreSlices, cores_per_chip: int) -> Reach:
        home = np.full(int(netlist.base[-1]), -1, np.int64)
        home[: netlist.neurons] = slices.core_of()
        bounds = np.concatenate([[0], np.cumsum([len(n) for n in slices.neurons])]).astype(np.int64)
        everything = np.concatenate(slices.neurons).astype(np.int64)
        chip = np.arange(len(slices.neurons)) // cores_per_chip
        chip_of = np.where(home < 0, -1, chip[home])
        cores, remote, own = _reach(netlist.indptr, netlist.source, everything, bounds, home, chip, chip_of)
        crossings = np.where(home < 0, np.maximum(cores - 1, 0), cores - own)
        return cls(cores, remote, crossings)


def neuron_entries(netlist: Netlist, slices: CoreSlices, chip: Chip) -> Ints:
    """(neurons,) output-axon entries of each: one per target core, one more where that core is on another chip.

    Cores are taken to stand in order, chip after chip; `Traffic.output_entries` counts where they really stand.
    """
    reach = Reach.of(netlist, slices, chip.cores_per_chip)
    entries: Ints = (reach.cores + reach.remote)[: netlist.neurons]
    return entries


def entries_to(netlist: Netlist, cores: list[Ints], chips: Ints, neurons: Ints, own: Ints) -> Ints:
    """(n,) output-axon entries of `neurons`, which stand on chips `own` but on no core yet, to `cores` on `chips`."""
    if not cores:
        return np.zeros(len(neurons), np.int64)
    home = np.full(int(netlist.base[-1]), -1, np.int64)
    chip_of = home.copy()
    chip_of[neurons] = own
    bounds = np.concatenate([[0], np.cumsum([len(n) for n in cores])]).astype(np.int64)
    reach = _reach(netlist.indptr, netlist.source, np.concatenate(cores), bounds, home, chips, chip_of)
    entries: Ints = (reach[0] + reach[1])[neurons]
    return entries


@njit(cache=True, nogil=True)
def _reach(
    indptr: Any, source: Any, neurons: Any, bounds: Any, home: Any, chip: Any, chip_of: Any
) -> Any:  # pragma: no cover – compiled
    """(cores, remote, own) of each source; `chip`: of each core, `chip_of`: of each source, -1 of inputs."""
    seen = np.full(len(home), -1, np.int64)
    cores, remote, own = np.zeros((3, len(home)), np.int64)
    for core in range(len(bounds) - 1):
        for i in range(bounds[core], bounds[core + 1]):
            for j in range(indptr[neurons[i]], indptr[neurons[i] + 1]):
                s = source[j]
                if seen[s] == core:
                    continue
                seen[s] = core
                cores[s] += 1
                own[s] += home[s] == core
                remote[s] += chip_of[s] >= 0 and chip_of[s] != chip[core]
    return cores, remote, own
