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
from .netlist import Ints, Netlist
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
        entries: (cores, cores) sources of a core (row) with a target on a core; each is an output-axon entry.
        host: (cores,) packets from the host. It has no place on the mesh, so they make no hops.
    """

    packets: sp.csr_array[Any]
    entries: sp.csr_array[Any]
    host: Floats

    def __post_init__(self) -> None:
        same = np.array_equal(self.packets.indptr, self.entries.indptr)
        assert same and np.array_equal(self.packets.indices, self.entries.indices), "packets need an output axon"

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
        for number, neurons in enumerate(slices.neurons):
            packets, entries = np.zeros(cores), np.zeros(cores, np.int64)
            host[number] = _receive(
                number, neurons, netlist.indptr, netlist.source, core, rates, seen, packets, entries
            )
            senders = np.flatnonzero(entries)
            found.append((senders, np.full(len(senders), number), packets[senders], entries[senders]))
        row, column, packets, entries = (np.concatenate(part) for part in zip(*found, strict=True))
        shape = (cores, cores)
        return cls(sp.csr_array((packets, (row, column)), shape), sp.csr_array((entries, (row, column)), shape), host)

    def output_entries(self, chips: Ints) -> Ints:
        """(cores,) output-axon entries where core i stands on chip `chips[i]`: one more per entry to another chip.

        >>> entries = sp.csr_array(np.array([[0, 3], [2, 1]]))
        >>> traffic = Traffic(entries.astype(float), entries, np.zeros(2))
        >>> traffic.output_entries(np.array([0, 0])).tolist(), traffic.output_entries(np.array([0, 1])).tolist()
        ([3, 3], [6, 5])
        """
        sent = self.entries.tocoo()
        cost = sent.data * (1 + (chips[sent.row] != chips[sent.col]))
        return np.bincount(sent.row, cost, len(chips)).astype(np.int64)

    def hops(self, places: Sequence[Place], chip: Chip, board: str) -> Hops:
        """Hops of all packets between cores that stand at (chip, x, y), along rows and columns of the mesh.

        The mesh goes on across chips: the way to the next chip leads over a link in place of a hop.
        """
        sent = self.packets.tocoo()
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
