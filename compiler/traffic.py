"""`Traffic`: packets between cores, and the one definition of hops that placement, report and energy share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numba import njit
from numpy.typing import NDArray

from ..hw_targets.chip import Chip
from .netlist import CoreLists, Ints, Netlist
from .slices import CoreSlices

Floats = NDArray[np.float64]
Place = tuple[int, int, int]


@dataclass(frozen=True)
class Hops:
    """Packets times hops: between tiles of one chip, east-west and north-south, and over links between chips."""

    east_west: float
    north_south: float
    links: float

    @property
    def spike_hops(self) -> float:
        """All of them; a link counts as one hop."""
        return self.east_west + self.north_south + self.links


@dataclass(frozen=True, eq=False)
class Traffic:
    """What the cores of a network send each other in a mean sample.

    Attributes:
        packets: (cores, cores) packets from a core (row) to a core: one per spike and core that it reaches.
        axons: (cores, cores) output axons of a core (row) to a core: one per source with a target there, or one for all
            that address the same population axon.
        entries: (cores, cores) entries that they take: one each, two for a population axon, with its base.
        host: (cores,) packets from the host. It has no place on the mesh, so they make no hops.
    """

    packets: sp.csr_array[Any]
    axons: sp.csr_array[Any]
    entries: sp.csr_array[Any]
    host: Floats

    def __post_init__(self) -> None:
        for other in (self.axons, self.entries):
            same = np.array_equal(self.packets.indptr, other.indptr)
            assert same and np.array_equal(self.packets.indices, other.indices), "packets need an output axon"

    @classmethod
    def of(cls, netlist: Netlist, slices: CoreSlices, spikes: Mapping[str, NDArray[Any]]) -> Traffic:
        """Counts what the slices send.

        Args:
            netlist: of the network.
            slices: which neuron stands on which core.
            spikes: per population and input, (size,) spikes of each source in a mean sample.
        """
        rates = np.concatenate([np.asarray(spikes[name], np.float64) for name in netlist.names])
        core, cores = slices.core_of(), len(slices.neurons)
        seen = np.full(len(rates), -1, np.int32)
        host = np.zeros(cores)
        found = []
        for number, (neurons, shared) in enumerate(zip(slices.neurons, slices.is_shared(), strict=True)):
            packets, axons = np.zeros(cores), np.zeros(cores, np.int64)
            host[number] = _receive(number, neurons, netlist.indptr, netlist.source, core, rates, seen, packets, axons)
            entries = axons
            if shared:
                axons, entries = _shared_axons(netlist.lists_of(neurons, shared), core, cores)
            senders = np.flatnonzero(axons)
            found.append((senders, np.full(len(senders), number), packets[senders], axons[senders], entries[senders]))
        row, column, *values = (np.concatenate(part) for part in zip(*found, strict=True))
        matrices: list[sp.csr_array[Any]] = [sp.csr_array((v, (row, column)), shape=(cores, cores)) for v in values]
        return cls(matrices[0], matrices[1], matrices[2], host)

    def output_entries(self, chips: Ints) -> Ints:
        """(cores,) output-axon entries where core i stands on chip `chips[i]`: one more per axon to another chip.

        >>> axons = sp.csr_array(np.array([[0, 3], [2, 1]]))
        >>> traffic = Traffic(axons.astype(float), axons, axons, np.zeros(2))
        >>> traffic.output_entries(np.array([0, 0])).tolist(), traffic.output_entries(np.array([0, 1])).tolist()
        ([3, 3], [6, 5])
        """
        sent = self.axons.tocoo()
        cost = self.entries.data + sent.data * (chips[sent.row] != chips[sent.col])
        return np.bincount(sent.row, cost, len(chips)).astype(np.int64)

    def hops(self, places: Sequence[Place], chip: Chip, board: str) -> Hops:
        """Hops of all packets between cores that stand at (chip, x, y), along rows and columns of the mesh.

        The mesh goes on across chips: the way to the next chip leads over a link in place of a hop.
        """
        return count_hops(self.packets, places, chip, board)


def count_hops(packets: sp.csr_array[Any], places: Sequence[Place], chip: Chip, board: str) -> Hops:
    """See `Traffic.hops`; `packets`: (cores, cores) from a core (row) to a core."""
    sent = packets.tocoo()
    at = np.array(places)
    columns = chip.boards[board].columns[0]
    found = []
    for number, tile, size in (
        (at[:, 0] % columns, at[:, 1], chip.limits.mesh_columns[0]),
        (at[:, 0] // columns, at[:, 2], chip.limits.mesh_rows[0]),
    ):
        way = number * size + tile
        crossed = np.abs(number[sent.row] - number[sent.col])
        gone = np.abs(way[sent.row] - way[sent.col]) - crossed
        found.append((float((sent.data * gone).sum()), float((sent.data * crossed).sum())))
    return Hops(found[0][0], found[1][0], found[0][1] + found[1][1])


def _shared_axons(lists: CoreLists, core: NDArray[np.int32], cores: int) -> tuple[Ints, Ints]:
    """(axons, entries) per sending core of a core whose lists are shared; see `Traffic`."""
    own = lists.sources < len(core)
    pairs = np.unique(core[lists.sources[own]].astype(np.int64) * len(lists.list_of) + lists.axon[own])
    sender, axon = np.divmod(pairs, len(lists.list_of))
    axons = np.bincount(sender, minlength=cores)
    entries: Ints = axons + np.bincount(sender, lists.population[axon], cores).astype(np.int64)
    return axons, entries


@njit(cache=True, nogil=True)
def _receive(
    number: int,
    neurons: Any,
    indptr: Any,
    source: Any,
    core: Any,
    rates: Any,
    seen: Any,
    packets: Any,
    entries: Any,
) -> float:  # pragma: no cover – compiled
    """Adds what core `number` receives to packets and entries per sending core; returns the packets of the host."""
    host = 0.0
    for neuron in neurons:
        for synapse in range(indptr[neuron], indptr[neuron + 1]):
            s = source[synapse]
            if seen[s] == number:
                continue
            seen[s] = number
            if s < len(core):
                packets[core[s]] += rates[s]
                entries[core[s]] += 1
            else:
                host += rates[s]
    return host
