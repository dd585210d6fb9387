"""`tables_of`: the engine's tables of a program, all of it checked, or of a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..compiler.decode import populations_of
from ..compiler.deliveries import Deliveries, Layout, read_deliveries, require
from ..compiler.fixed import FixedInput, FixedNetwork, FixedPopulation
from ..compiler.program import Program
from ..compiler.synapses import Synapses
from ..compiler.threads import each
from .survey import Survey
from .tables import Flat, Ints, Mesh, Tables

NONE: Ints = np.zeros(0, np.int64)


class Host(NamedTuple):
    """A projection that the host computes; see `fixed`."""

    source: str
    target: str
    shift: int
    synapses: Synapses


@dataclass(frozen=True)
class Head:
    """What a program and a network say alike."""

    inputs: tuple[FixedInput, ...]
    populations: tuple[FixedPopulation, ...]
    outputs: tuple[str, ...]
    projections: tuple[tuple[str, str], ...]
    hosts: tuple[Host, ...]
    steps: int
    votes: int
    mesh: Mesh | None = None

    @property
    def members(self) -> tuple[FixedPopulation | FixedInput, ...]:
        return (*self.populations, *self.inputs)

    @property
    def names(self) -> list[str]:
        return [p.name for p in self.members]


def tables_of(source: Program | FixedNetwork) -> Tables:
    """The tables of a program, or of a network on one core without limits.

    Raises:
        ProgramFileError: the program's tables contradict each other, or a sum could leave its register.
    """
    if isinstance(source, FixedNetwork):
        head, cores = _of_network(source)
    else:
        head, cores = _of_program(source)
    draft = _Draft(head, cores)
    survey = Survey.of(draft)
    if isinstance(source, Program):
        survey.check(draft)
    return draft.finish(survey)


def _of_program(program: Program) -> tuple[Head, list[Deliveries]]:
    layout = Layout(program)
    inputs = tuple(entry.source for entry in program.inputs)
    populations = populations_of(program, layout)
    for name in program.outputs:
        require(layout.index[name] < len(populations), f"its output {name!r} is no population")
    outputs = sum(layout.size[name] for name in program.outputs)
    require(program.votes >= 1 and outputs % program.votes == 0, f"{program.votes} votes do not fit {outputs} outputs")
    require(outputs > 0 and len(set(program.outputs)) == len(program.outputs), "it has no outputs, or one twice")
    require(len(set(program.projections)) == len(program.projections), "a projection stands twice in it")
    cores = list(each(lambda core: read_deliveries(program, layout, core), range(len(program.cores))))
    total = sum(int(core.count.sum()) for core in cores)
    require(total <= layout.most, f"it has more than {layout.most} synapses")
    hosts = tuple(Host(h.source, h.target, h.shift, h.synapses) for h in program.hosts)
    mesh = Mesh(program.target, program.board, tuple(core.place for core in program.cores))
    head = Head(inputs, populations, program.outputs, program.projections, hosts, program.steps, program.votes, mesh)
    return head, cores


def _of_network(network: FixedNetwork) -> tuple[Head, list[Deliveries]]:
    hosts = tuple(Host(q.source, q.target, -q.exponent, q.synapses) for q in network.projections if q.host)
    pairs = tuple((q.source, q.target) for q in network.projections)
    head = Head(
        network.inputs, network.populations, network.outputs, pairs, hosts, network.steps, network.votes
    )  # fmt: skip
    base = dict(zip(head.names, _bounds(head).tolist(), strict=False))
    parts = []
    count = entries = 0
    for q in network.projections:
        if q.host:
            continue
        s = q.synapses
        sending = np.flatnonzero(s.fan_out)
        parts.append(
            (
                s.indptr[sending + 1] + entries,
                s.targets.astype(np.int64) + base[q.target],
                s.weights,
                s.delays,
                np.full(len(s), q.exponent, np.int8),
                sending + base[q.source],
                np.arange(len(sending)) + count,
            )
        )
        count, entries = count + len(sending), entries + len(s)
    joined = [np.concatenate([NONE, *c]) for c in zip(*parts, strict=True)] if parts else [NONE] * 7
    first, compartment, weight, delay, exponent, source, lists = joined
    neurons = np.arange(sum(p.size for p in network.populations))
    packets = (source.astype(np.int32), lists, np.zeros(count, np.int64))
    return head, [Deliveries(neurons, np.append(0, first), compartment, weight, delay, exponent, *packets)]


def _bounds(head: Head) -> Ints:
    return np.concatenate([[0], np.cumsum([p.size for p in head.members])]).astype(np.int64)


class _Core(NamedTuple):
    """One core's part of the tables; lists count from 0, cells from the core's first one."""

    lanes: Ints
    """(lanes,) exponent of each: 0, or how far the sum is shifted right, negative."""
    length: Ints
    cells: Ints
    weights: NDArray[np.int16]
    delays: NDArray[np.uint8]
    exponents: NDArray[np.int8]
    source: Ints
    lists: Ints
    base: Ints


def _lay_out(core: Deliveries, row: Ints, rows: int) -> _Core:
    """Lanes and cells of a core; `row`: of the population or input that sends each packet."""
    variant, its_variant = np.unique(core.lists * rows + row, return_inverse=True)
    its_list, its_row = np.divmod(variant, rows)
    length = np.diff(core.first)[its_list]
    columns = (core.compartment, core.weight, core.delay, core.exponent)
    if not np.array_equal(its_list, np.arange(len(core.first) - 1)):  # two populations share a list
        pick = np.repeat(core.first[its_list] - np.cumsum(length) + length, length) + np.arange(int(length.sum()))
        columns = tuple(column[pick] for column in columns)
    compartment, weight, delay, exponent = columns
    right = exponent < 0
    lane = np.zeros(len(compartment), np.int64)
    lanes = [0] if not bool(right.all()) or not len(right) else []
    if bool(right.any()):
        key = (np.repeat(its_row, length) * 64 + delay) * 16 - exponent
        keys, number = np.unique(key[right], return_inverse=True)
        lane[right] = number + len(lanes)
        lanes += (-(keys % 16)).tolist()
    shifted = np.where(right, weight, np.asarray(weight, np.int64) << np.maximum(exponent, 0))
    return _Core(
        np.array(lanes, np.int64),
        length,
        lane * len(core.neurons) + compartment,
        shifted.astype(np.int16),
        delay.astype(np.uint8),
        exponent.astype(np.int8),
        core.source.astype(np.int64),
        its_variant,
        core.base,
    )


class _Draft:
    """Tables before it is known which lanes a segment needs."""

    def __init__(self, head: Head, cores: Sequence[Deliveries]) -> None:
        self.head = head
        self.bounds = _bounds(head)
        rows, populations = len(head.members), len(head.populations)
        neurons = int(self.bounds[populations])
        self.number = np.concatenate([core.neurons for core in cores])
        self.core_first = np.concatenate([[0], np.cumsum([len(core.neurons) for core in cores])]).astype(np.int64)
        at = np.arange(int(self.bounds[-1]))
        at[self.number] = np.arange(neurons)
        self.at = at
        self.row = np.repeat(np.arange(rows), np.diff(self.bounds))
        """(sources,) population or input, in the network's numbering"""
        parts = [_lay_out(core, self.row[core.source], rows) for core in cores]
        sizes = np.array([len(part.lanes) for part in parts]) * np.diff(self.core_first)
        self.cell_first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self.lanes = [part.lanes for part in parts]
        lists = np.concatenate([[0], np.cumsum([len(part.length) for part in parts])])
        source, out_list, out_cell = (
            np.concatenate([NONE, *column])
            for column in (
                [at[part.source] for part in parts],
                [part.lists + first for part, first in zip(parts, lists.tolist(), strict=False)],
                [part.base + first for part, first in zip(parts, self.cell_first.tolist(), strict=False)],
            )
        )
        order = np.argsort(source, kind="stable")
        widest = max((int(part.cells.max(initial=0)) for part in parts), default=0)
        narrow = np.uint16 if widest < 2**16 else np.int32
        delays = np.concatenate([np.zeros(0, np.uint8), *(part.delays for part in parts)])
        self.out_start = np.searchsorted(source[order], np.arange(len(at) + 1)).astype(np.int64)
        self.out_list, self.out_cell = out_list[order], out_cell[order]
        self.list_start = np.append(0, np.cumsum(np.concatenate([part.length for part in parts]))).astype(np.int64)
        self.list_core = np.repeat(np.arange(len(parts)), np.diff(lists))
        self.cells = np.concatenate([np.zeros(0, narrow), *(part.cells.astype(narrow) for part in parts)])
        self.weights = np.concatenate([np.zeros(0, np.int16), *(part.weights for part in parts)])
        self.exponents = np.concatenate([np.zeros(0, np.int8), *(part.exponents for part in parts)])
        self.delays = delays if delays.any() else delays[:0]
        ends = np.concatenate([[0], np.cumsum(np.diff(self.list_start)[self.out_list])])
        self.fan_out = np.diff(ends[self.out_start])
        self.segments = self._segments()

    def _segments(self) -> Ints:
        row = self.row[self.number]
        core = np.repeat(np.arange(len(self.core_first) - 1), np.diff(self.core_first))
        first = np.flatnonzero((np.diff(row, prepend=-1) != 0) | (np.diff(core, prepend=-1) != 0))
        last = np.append(first[1:], len(row))
        constants = np.array(
            [
                (p.offset, 4095 - p.du, 4096 - p.dv, p.vth, p.profile[3], p.refractory, p.state_exp)
                for p in self.head.populations
            ]
        ).reshape(-1, 7)
        goals = [
            self.list_core[self.out_list[slice(*self.out_start[[a, b]])]] for a, b in zip(first, last, strict=True)
        ]
        goal = [int(g[0]) if len(g) and bool((g == g[0]).all()) else -1 for g in goals]
        return np.column_stack([first, last, core[first], row[first], goal, constants[row[first]]]).astype(np.int64)

    def spans(self) -> list[tuple[int, int, int, int]]:
        """(segment, first cell, neurons, right shift) of every lane of every segment."""
        found = []
        for i, (first, last, core) in enumerate(self.segments[:, :3].tolist()):
            size = int(self.core_first[core + 1] - self.core_first[core])
            begin = int(self.cell_first[core]) + first - int(self.core_first[core])
            for lane, exponent in enumerate(self.lanes[core].tolist()):
                found.append((i, begin + lane * size, last - first, -exponent))
        return found

    def finish(self, survey: Survey) -> Tables:
        """The tables, with those lanes that something reaches."""
        used = survey.used(self)
        lanes = np.array([(begin, shift) for _, begin, _, shift in used], np.int64).reshape(-1, 2)
        lane_start = np.searchsorted([span[0] for span in used], np.arange(len(self.segments) + 1))
        head = self.head
        mant, exp = (
            np.concatenate([getattr(p, key) for p in head.populations]).astype(np.int32)[self.number]
            for key in ("bias_mant", "bias_exp")
        )
        flat = Flat(
            self.segments,
            lane_start.astype(np.int64),
            lanes,
            mant,
            exp,
            self.out_start,
            self.out_list.astype(np.int32),
            self.out_cell,
            self.list_start.astype(np.int64),
            self.list_core.astype(np.int32),
            np.diff(self.out_start).astype(np.int32),
            self.fan_out.astype(np.int32),
            np.zeros(len(self.fan_out), np.int32),
            self.cells,
            self.weights,
            self.delays,
            *self._hosts(),
        )
        slots = 2 + int(self.delays.max(initial=0))
        steady = tuple((survey.lag[len(head.populations) :] == 0).tolist())
        return Tables(
            head.inputs, head.populations, head.outputs, head.steps, head.votes, flat, self.number, self.core_first,
            int(self.cell_first[-1]), slots, steady, head.mesh,
        )  # fmt: skip

    def _hosts(self) -> tuple[Any, ...]:
        names, neurons = self.head.names, len(self.number)
        rows, starts, targets, weights = [], [NONE], [np.zeros(0, np.int32)], [np.zeros(0, np.int16)]
        begin = count = 0
        for host in self.head.hosts:
            source, target = names.index(host.source), names.index(host.target)
            s = host.synapses
            rows.append((int(self.bounds[source]) - neurons, s.n_source, begin, target, host.shift))
            starts.append(s.indptr + count)
            targets.append(self.at[s.targets + self.bounds[target]].astype(np.int32))
            weights.append(s.weights.astype(np.int16))
            begin, count = begin + s.n_source + 1, count + len(s)
        return (np.array(rows, np.int64).reshape(-1, 5), *(np.concatenate(x) for x in (starts, targets, weights)))
