"""`decode`: the tables of a `Program` back into the `FixedNetwork` that they were made from, following the routing."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import LimitError, NetworkError, ProgramFileError
from ..hw_targets import codec
from .fixed import FixedNetwork, FixedPopulation, FixedProjection
from .overflow import check_overflow
from .program import CoreTables, Program
from .synapses import Synapses
from .threads import each

WAY_OUT = "compile the model again"
SYNAPSES_MAX = 2**27
"""Synapses of a program; a few words of shared lists could stand for any number of them."""


def decode(program: Program) -> FixedNetwork:
    """The network that the tables describe, whatever compiled them.

    Raises:
        ProgramFileError: tables that contradict each other.
    """
    layout = _Layout(program)
    columns = list(each(lambda core: _read_core(program, layout, core), range(len(program.cores))))
    source, target, weight, delay, exponent = (np.concatenate(column) for column in zip(*columns, strict=True))
    columns.clear()
    populations = _populations(program, layout)
    projections = []
    try:
        row = layout.row(source) * len(layout.names) + layout.row(target)
        pairs = {(layout.index[s], layout.index[t]) for s, t in program.projections}
        for pair in np.unique(row).tolist():
            _require(divmod(pair, len(layout.names)) in pairs, "its lists connect populations that no projection joins")
        hosts = {(h.source, h.target): h for h in program.hosts}
        for s, t in program.projections:
            if (s, t) in hosts:
                host = hosts[s, t]
                projections.append(FixedProjection(s, t, host.synapses, -host.shift, host=True))
                continue
            mine = np.flatnonzero(row == layout.index[s] * len(layout.names) + layout.index[t])
            _require(len(mine) > 0, f"the projection {s} -> {t} has no synapse in its tables")
            scale = np.unique(exponent[mine])
            _require(len(scale) == 1, f"the projection {s} -> {t} has {len(scale)} exponents in its tables")
            synapses = Synapses.from_triples(
                layout.size[s],
                layout.size[t],
                source[mine] - layout.base[s],
                target[mine] - layout.base[t],
                weight[mine],
                delay[mine],
            )
            projections.append(FixedProjection(s, t, synapses, int(scale[0])))
        inputs = tuple(tables.source for tables in program.inputs)
        network = FixedNetwork(inputs, populations, tuple(projections), program.outputs, program.steps, program.votes)
        check_overflow(network)
        return network
    except AssertionError as error:
        raise _fault("its synapses contradict each other") from error
    except (LimitError, NetworkError) as error:
        raise _fault(f"{error.subject}: {error.problem}") from error


def _fault(problem: str) -> ProgramFileError:
    return ProgramFileError("program", problem, WAY_OUT)


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise _fault(problem)


class _Layout:
    """Numbers of neurons and inputs, and the packets that each core receives."""

    def __init__(self, program: Program) -> None:
        sizes = [p.size for p in program.populations] + [t.source.size for t in program.inputs]
        self.names = [p.name for p in program.populations] + [t.source.name for t in program.inputs]
        _require(len(set(self.names)) == len(self.names), "two populations have the same name")
        self.bounds = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self.index = {name: i for i, name in enumerate(self.names)}
        self.base = dict(zip(self.names, self.bounds.tolist(), strict=False))
        self.size = dict(zip(self.names, sizes, strict=True))
        self.neurons = sum(p.size for p in program.populations)
        for name in (*program.outputs, *(n for pair in program.projections for n in pair)):
            _require(name in self.index, f"it names a population {name!r} that is not there")
        standing = np.concatenate([core.neurons for core in program.cores]).astype(np.int64)
        _require(
            len(standing) == self.neurons and bool((np.sort(standing) == np.arange(self.neurons)).all()),
            "its neurons do not stand on exactly one core each",
        )
        self.routes = self._routes(program)
        self.synapses, self.lock = 0, threading.Lock()
        hosts = {(h.source, h.target) for h in program.hosts}
        pairs = sum(self.size[s] * self.size[t] for s, t in program.projections if (s, t) not in hosts)
        self.most = min(SYNAPSES_MAX, pairs)

    def count(self, synapses: int) -> None:
        """Counts the synapses of a core before there is memory for them."""
        with self.lock:
            self.synapses += synapses
        _require(self.synapses <= self.most, f"it has more than {self.most} synapses")

    def row(self, sources: NDArray[np.int32]) -> NDArray[np.int32]:
        """(n,) the population or input of each."""
        of_source = np.repeat(np.arange(len(self.names), dtype=np.int32), np.diff(self.bounds))
        return np.asarray(of_source[sources])

    def _routes(self, program: Program) -> NDArray[np.int32]:
        """(4, packets) source, core, input axon, base, sorted by core and axon."""
        parts = []
        tables = [(c.neurons, c.out_start, c.out_core, c.out_axon, c.out_base) for c in program.cores]
        for entry in program.inputs:
            _require(len(entry.out_start) == entry.source.size + 1, f"{entry.source.name} has broken starts")
            numbers = np.arange(entry.source.size) + self.base[entry.source.name]
            tables.append((numbers.astype(np.uint32), entry.out_start, entry.out_core, entry.out_axon, entry.out_base))
        for numbers, start, core, axon, base in tables:
            count = np.diff(start.astype(np.int64))
            whole = len(count) == len(numbers) and (count >= 0).all() and int(start[0]) == 0
            _require(
                bool(whole) and int(start[-1]) == len(core) == len(axon) == len(base),
                "its output axons have broken starts",
            )
            parts.append(
                np.stack(
                    [np.repeat(numbers.astype(np.int32), count), *(a.astype(np.int32) for a in (core, axon, base))]
                )
            )
        routes: NDArray[np.int32] = np.concatenate(parts, axis=1)
        lists = np.array([len(core.axon_start) for core in program.cores])
        inside = routes[1] < len(lists)
        _require(bool(inside.all()), "an output axon leads to a core that is not there")
        _require(bool((routes[2] < lists[routes[1]]).all()), "an output axon leads to an input axon that is not there")
        ordered: NDArray[np.int32] = routes[:, np.lexsort((routes[0], routes[2], routes[1]))]
        return ordered


def _read_core(program: Program, layout: _Layout, number: int) -> tuple[NDArray[Any], ...]:
    """(source, target, weight, delay, exponent) of all synapses of a core: each packet delivers its axon's list."""
    core = program.cores[number]
    start, length = core.axon_start.astype(np.int64), core.axon_words.astype(np.int64)
    lists, first = np.unique(start, return_index=True)  # axons that start at the same word share a list
    whole = np.array_equal(np.append(lists, len(core.words)), np.concatenate([[0], np.cumsum(length[first])]))
    shared = np.array_equal(length, length[first][np.searchsorted(lists, start)])
    _require(whole and shared, f"core {number}: its synapse lists do not stand one after the other")
    try:
        starts, lengths = lists.astype(np.uint32), length[first].astype(np.uint16)
        entries = codec.read(core.words, starts, lengths, core.formats, len(core.neurons))
    except ValueError as error:
        raise _fault(f"core {number}: {error}") from error
    begin, end = np.searchsorted(layout.routes[1], [number, number + 1])
    source, _, axon, base = layout.routes[:, begin:end]
    first = np.searchsorted(entries.axon, np.arange(len(lists) + 1))
    its_list = np.searchsorted(lists, start)[axon]
    count = np.diff(first)[its_list]
    _require(len(np.unique(axon)) == len(core.axon_start), f"core {number}: an input axon has no source")
    again = (np.diff(axon) == 0) & (np.diff(source) == 0)
    _require(not bool(again.any()), f"core {number}: a source reaches an input axon twice")
    layout.count(int(count.sum()))
    rows = np.repeat(first[its_list] - np.cumsum(count) + count, count) + np.arange(int(count.sum()))
    compartment = entries.compartment[rows] + np.repeat(base, count)
    _require(bool((compartment < len(core.neurons)).all()), f"core {number}: a base leads to no compartment")
    return (
        np.repeat(source, count),
        core.neurons.astype(np.int32)[compartment],
        entries.weight[rows].astype(np.int16),
        entries.delay[rows].astype(np.uint8),
        entries.exponent[rows].astype(np.int8),
    )


def _populations(program: Program, layout: _Layout) -> tuple[FixedPopulation, ...]:
    constants = np.full((layout.neurons, 5), -2, np.int64)
    for core in program.cores:
        constants[core.neurons] = _configuration(core)
    populations = []
    for header in program.populations:
        begin = layout.base[header.name]
        own = constants[begin : begin + header.size]
        _require(
            bool((own[:, :3] == own[0, :3]).all()),
            f"the neurons of {header.name} differ in their decays or threshold",
        )
        du, dv, vth = own[0, :3].tolist()
        named = len(header.origin) == header.size and 0 <= int(header.origin.min()) <= int(header.origin.max())
        _require(
            named and int(header.origin.max()) < math.prod(header.shape),
            f"{header.name} does not name the origin of each neuron",
        )
        try:
            population = FixedPopulation(
                header.name, header.shape, header.origin, du, dv, vth, own[:, 3], own[:, 4], header.offset
            )
        except LimitError as error:
            raise _fault(f"{error.subject}: {error.problem}") from error
        populations.append(population)
    return tuple(populations)


def _configuration(core: CoreTables) -> NDArray[np.int64]:
    """(compartments, 5): du, dv, vth, bias mantissa, bias exponent."""
    packed = core.configuration.astype(np.int64)
    profile = packed >> 16
    whole = len(packed) == len(core.neurons) and bool((profile < len(core.profiles)).all())
    _require(whole and core.profiles.shape[1:] == (3,), "a compartment names a profile that is not there")
    mantissa = packed & 0x1FFF
    mantissa = np.where(mantissa >= 0x1000, mantissa - 0x2000, mantissa)
    return np.column_stack([core.profiles[profile], mantissa, packed >> 13 & 7]).astype(np.int64)
