"""`Counters`: what each core has to do, step by step, on the chip's clock, with samples following each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numba import njit
from numpy.typing import NDArray

from ..compiler.traffic import count_hops
from ..hw_targets import chip as chips
from .result import CoreCounts
from .tables import Tables

Ints = NDArray[np.int64]
SYNOPS, PACKETS, ACTIVE, TIME = range(4)
"""Rows of `Counters.peaks`; the first three are the columns of the kernel's loads."""


class Counters:
    """Adds up the loads of a run, batch after batch.

    Time and hops are counted where the tables are those of a program, so that there is a chip.
    """

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        cores = tables.cores
        self.sizes = np.diff(tables.core_first)
        self.price = np.zeros(4, np.int64)
        if tables.mesh is not None:
            time = chips.load(tables.mesh.target).time
            quantities = (
                time.synaptic_operation_ns, time.spike_within_tile_ns, time.neuron_update_active_ns,
                time.neuron_update_inactive_ns,
            )  # fmt: skip
            self.price = np.array([round(1000 * ns) for ns, _ in quantities])
        self.carry = np.zeros((tables.span + 1, cores, 3), np.int64)
        self.peaks = np.zeros((4, cores), np.int64)
        self.busiest = np.zeros(cores, np.int64)
        self.active = np.zeros(cores, np.int64)
        self.steps = self.busy_ps = 0

    def add(self, load: NDArray[np.int32], leading: bool) -> None:
        """Loads of consecutive samples, (samples, steps + span + 1, cores, 3); leading ones leave only their carry."""
        final = len(load) * self.tables.steps
        carry = np.zeros_like(self.carry)
        results = [self.peaks, self.busiest, self.active]
        if leading:
            results = [np.zeros_like(array) for array in results]
        busy = _overlay(load, self.carry, self.tables.steps, self.sizes, self.price, final, carry, *results)
        self.carry = carry
        if not leading:
            self.steps, self.busy_ps = self.steps + final, self.busy_ps + busy

    def drain(self) -> None:
        """The steps after the last sample has entered, until the last layer is done with it."""
        rows = self.tables.span + int(self.carry[-1, :, SYNOPS].any())
        none = np.zeros((0, self.tables.steps + self.tables.span + 1, self.tables.cores, 3), np.int32)
        self.busy_ps += _overlay(
            none,
            self.carry,
            self.tables.steps,
            self.sizes,
            self.price,
            rows,
            self.carry[:0],
            self.peaks,
            self.busiest,
            self.active,
        )
        self.steps += rows

    def totals(self, samples: int, spikes: Ints) -> CoreCounts:
        """Everything, of so many samples.

        Args:
            samples: that were counted.
            spikes: (sources,) packets sent off by each of the engine's sources, over the run.
        """
        tables, flat = self.tables, self.tables.flat
        per_source = np.diff(flat.out_start)
        sender = np.repeat(np.arange(len(per_source)), per_source)
        goal = flat.list_core[flat.out_list]
        fired = spikes[sender].astype(np.float64)  # exact below 2^53
        length = np.diff(flat.list_start)[flat.out_list]
        own = sender < tables.neurons
        home = np.repeat(np.arange(tables.cores), self.sizes)
        shape = (tables.cores, tables.cores)
        between: sp.csr_array[Any] = sp.coo_array((fired[own], (home[sender[own]], goal[own])), shape=shape).tocsr()
        hops = None
        if tables.mesh is not None:
            hops = count_hops(between, tables.mesh.places, chips.load(tables.mesh.target), tables.mesh.board)

        def by_core(core: NDArray[Any], weight: NDArray[Any]) -> Ints:
            return np.bincount(core, weight, tables.cores).astype(np.int64)

        return CoreCounts(
            neurons=self.sizes,
            spikes=by_core(home, spikes[: tables.neurons]),
            synops=by_core(goal, fired * length),
            active_updates=self.active,
            inactive_updates=samples * tables.steps * self.sizes - self.active,
            packets=by_core(home[sender[own]], fired[own]),
            received=by_core(goal, fired),
            peak_synops=self.peaks[SYNOPS],
            peak_packets=self.peaks[PACKETS],
            peak_active=self.peaks[ACTIVE],
            peak_ps=self.peaks[TIME],
            busiest=self.busiest,
            steps=self.steps,
            busy_ps=self.busy_ps,
            hops=hops,
        )


@njit(cache=True, nogil=True)
def _overlay(
    load: Any,
    carry: Any,
    steps: int,
    sizes: Any,
    price: Any,
    final: int,
    left: Any,
    peaks: Any,
    busiest: Any,
    active: Any,
) -> int:  # pragma: no cover – compiled
    """Sums of the samples that overlap in a step: the first `final` steps are measured, those after them go to `left`.

    Returns the sum over steps of the largest load of a core, in picoseconds.
    """
    samples, rows, cores = load.shape[0], load.shape[1], len(sizes)
    busy: Any = 0
    row = np.zeros((cores, 3), np.int64)
    for step in range(final + len(left)):
        for core in range(cores):
            for kind in range(3):
                row[core, kind] = carry[step, core, kind] if step < len(carry) else 0
                for sample in range(max(0, (step - rows) // steps + 1), min(samples, step // steps + 1)):
                    row[core, kind] += load[sample, step - sample * steps, core, kind]
                if step >= final:
                    left[step - final, core, kind] = row[core, kind]
        if step >= final:
            continue
        most: Any = -1
        worst = 0
        for core in range(cores):
            idle = sizes[core] - row[core, ACTIVE]
            active[core] += row[core, ACTIVE]
            time = (
                row[core, SYNOPS] * price[0] + row[core, PACKETS] * price[1] + row[core, ACTIVE] * price[2]
                + idle * price[3]
            )  # fmt: skip
            for kind in range(3):
                peaks[kind, core] = max(peaks[kind, core], row[core, kind])
            peaks[TIME, core] = max(peaks[TIME, core], time)
            if time > most:
                most, worst = time, core
        busiest[worst] += 1
        busy += most
    return int(busy)
