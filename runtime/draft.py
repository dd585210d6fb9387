"""`Draft`: lists, lanes and constants laid out for the kernel, before it is known which lanes something reaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..compiler.deliveries import Deliveries
from ..compiler.fixed import FixedInput, FixedPopulation
from ..compiler.netlist import NONE
from ..compiler.synapses import SYNAPSES_MAX, Synapses
from ..errors import LimitError
from .tables import CORE, VARIED, Flat, Ints, Mesh, Tables

if TYPE_CHECKING:
    from .survey import Survey

SUMS_MAX = 2**28
"""Sums that wait in the engine, in all steps; the tables of a small file could ask for any number of them."""
SPANS_MAX = 2**20
"""Lanes of segments."""
MEMBERS_MAX = 2**12
"""Populations and inputs."""


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

    @cached_property
    def bounds(self) -> Ints:
        """(members + 1,) the first source of each."""
        return np.concatenate([[0], np.cumsum([p.size for p in self.members])]).astype(np.int64)

    @property
    def names(self) -> list[str]:
        return [p.name for p in self.members]


class _Core(NamedTuple):
    """One core's part of the tables; lists count from 0, cells from the core's first one."""

    lanes: Ints
    """(lanes,) exponent of each: 0, or how far the sum is shifted right, negative."""
    length: Ints
    cells: Ints
    weights: NDArray[np.int16]
    delays: NDArray[np.uint8]
    exponents: NDArray[np.int8]
    source: NDArray[np.int32]
    lists: NDArray[np.int32]
    base: NDArray[np.int32]


def _limit(what: str, count: int, limit: int) -> None:
    if count > limit:
        problem = f"has {count} {what}, {limit} are possible"
        raise LimitError("program", problem, "compile it in parts, or for another target", value=count, limit=limit)


def _lay_out(core: Deliveries, row: Ints, rows: int, room: int) -> _Core:
    """Lanes and cells of a core; `row`: of the population or input that sends each packet; `room`: for synapses."""
    variant, its_variant = np.unique(core.lists.astype(np.int64) * rows + row, return_inverse=True)
    its_list, its_row = np.divmod(variant, rows)
    length = np.diff(core.first)[its_list]
    _limit("synapses in lists", int(length.sum()), room)
    columns = (core.compartment, core.weight, core.delay, core.exponent)
    if not np.array_equal(its_list, np.arange(len(core.first) - 1)):  # two populations share a list
        pick = np.repeat(core.first[its_list] - np.cumsum(length) + length, length) + np.arange(int(length.sum()))
        columns = tuple(column[pick] for column in columns)
    compartment, weight, delay, exponent = columns
    right = exponent < 0
    lane = np.zeros(len(compartment), np.int64)
    lanes = [0] if not bool(right.all()) or not len(right) else []
    if bool(right.any()):
        key = (np.repeat(its_row, length) * 256 + delay) * 64 - exponent
        keys, number = np.unique(key[right], return_inverse=True)
        lane[right] = number + len(lanes)
        lanes += (-(keys % 64)).tolist()
    shifted = np.where(right, weight, np.asarray(weight, np.int64) << np.maximum(exponent, 0))
    if len(shifted) and (shifted.min() < -(2**15) or shifted.max() >= 2**15):
        worst = int(shifted[np.abs(shifted).argmax()])
        raise LimitError("network", f"has the weight {worst} after its exponent, 16 bits are possible", "scale it down")
    return _Core(
        np.array(lanes, np.int64),
        length,
        (lane * len(core.neurons) + compartment).astype(np.int32),
        shifted.astype(np.int16),
        delay.astype(np.uint8),
        exponent.astype(np.int8),
        core.source,
        its_variant.astype(np.int32),
        core.base,
    )


class Draft:
    """Tables before it is known which lanes a segment needs."""

    def __init__(self, head: Head, cores: Sequence[Deliveries]) -> None:
        self.head = head
        self.bounds = head.bounds
        rows, populations = len(head.members), len(head.populations)
        neurons = int(self.bounds[populations])
        self.number = np.concatenate([core.neurons for core in cores])
        self.core_first = np.concatenate([[0], np.cumsum([len(core.neurons) for core in cores])]).astype(np.int64)
        at = np.arange(int(self.bounds[-1]))
        at[self.number] = np.arange(neurons)
        self.at = at
        self.row = np.repeat(np.arange(rows), np.diff(self.bounds))
        """(sources,) population or input, in the network's numbering"""
        _limit("populations and inputs", rows, MEMBERS_MAX)
        parts, stored = [], 0
        for core in cores:
            parts.append(_lay_out(core, self.row[core.source], rows, SYNAPSES_MAX - stored))
            stored += len(parts[-1].cells)
        sizes = np.array([len(part.lanes) for part in parts]) * np.diff(self.core_first)
        self.slots = 2 + max((int(part.delays.max(initial=0)) for part in parts), default=0)
        _limit("sums that wait in the engine", int(sizes.sum()) * self.slots, SUMS_MAX)
        self.cell_first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self.lanes = [part.lanes for part in parts]
        lists = np.concatenate([[0], np.cumsum([len(part.length) for part in parts])])
        short = at.astype(np.int32)
        source, out_list, out_cell = (
            np.concatenate([np.zeros(0, np.int32), *column])
            for column in (
                [short[part.source] for part in parts],
                [part.lists + first for part, first in zip(parts, lists.tolist(), strict=False)],
                [part.base + first for part, first in zip(parts, self.cell_first.tolist(), strict=False)],
            )
        )
        order = np.argsort(source, kind="stable")
        widest = max((int(part.cells.max(initial=0)) for part in parts), default=0)
        narrow = np.uint16 if widest < 2**16 else np.int32
        delays = np.concatenate([np.zeros(0, np.uint8), *(part.delays for part in parts)])
        packets = np.bincount(source, minlength=len(at))
        self.out_start = np.append(0, np.cumsum(packets)).astype(np.int64)
        self.out_list, self.out_cell = out_list[order], out_cell[order]
        self.list_start = np.append(0, np.cumsum(np.concatenate([part.length for part in parts]))).astype(np.int64)
        self.list_core = np.repeat(np.arange(len(parts)), np.diff(lists))
        self.cells = np.concatenate([np.zeros(0, narrow), *(part.cells.astype(narrow) for part in parts)])
        self.weights = np.concatenate([np.zeros(0, np.int16), *(part.weights for part in parts)])
        self.exponents = np.concatenate([np.zeros(0, np.int8), *(part.exponents for part in parts)])
        self.delays = delays if delays.any() else delays[:0]
        fan_out = np.bincount(source, np.diff(self.list_start)[out_list], len(at))  # exact below 2^53
        self.fan_out = fan_out.astype(np.int64)
        self.segments = self._segments()
        lanes = np.array([len(part.lanes) for part in parts])
        _limit("lanes of populations", int(lanes[self.segments[:, CORE]].sum()), SPANS_MAX)

    def _segments(self) -> Ints:
        row = self.row[self.number]
        core = np.repeat(np.arange(len(self.core_first) - 1), np.diff(self.core_first))
        profiles = np.concatenate([p.profiles for p in self.head.populations])[self.number].astype(np.int64)
        du, dv, drop, vth, model, refractory, state_exp, _ = profiles.T
        different = [np.diff(column, prepend=-1) != 0 for column in (row, core)]
        first = np.flatnonzero(np.any(different, axis=0))
        last = np.append(first[1:], len(row))
        keep_u, keep_v, taken = (
            np.where(np.minimum.reduceat(own, first) == np.maximum.reduceat(own, first), own[first], VARIED)
            for own in (4095 - du, 4096 - dv, drop)
        )
        offset = np.array([p.offset for p in self.head.populations])[row[first]]
        common = (column[first] for column in (vth, model, refractory, state_exp))
        constants = (offset, keep_u, keep_v, *common, taken)
        goals = [
            self.list_core[self.out_list[slice(*self.out_start[[a, b]])]] for a, b in zip(first, last, strict=True)
        ]
        goal = [int(g[0]) if len(g) and bool((g == g[0]).all()) else -1 for g in goals]
        has_bias = np.concatenate([[0], np.cumsum(self._neurons("bias_mant") != 0)])
        by_host = [self.head.names.index(host.target) for host in self.head.hosts]
        always = (has_bias[last] - has_bias[first] == last - first) & ~np.isin(row[first], by_host)
        columns = [first, last, core[first], row[first], goal, *constants, always]
        return np.column_stack(columns).astype(np.int64)

    def _neurons(self, key: str) -> NDArray[np.int32]:
        """(neurons,) of the engine."""
        values = np.concatenate([getattr(p, key) for p in self.head.populations])
        return np.asarray(values[self.number], np.int32)

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
        used = survey.used(self.spans())
        lanes = np.array([(begin, shift) for _, begin, _, shift in used], np.int64).reshape(-1, 2)
        lane_start = np.searchsorted([span[0] for span in used], np.arange(len(self.segments) + 1))
        head = self.head
        mant, exp = self._neurons("bias_mant"), self._neurons("bias_exp")
        flat = Flat(
            self.segments,
            lane_start.astype(np.int64),
            lanes,
            mant,
            exp,
            4095 - self._neurons("du"),
            4096 - self._neurons("dv"),
            self._neurons("drop"),
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
        late = np.maximum(survey.lag, survey.delay)[len(head.populations) :]
        steady = tuple((late == 0).tolist())
        return Tables(
            head.inputs, head.populations, head.outputs, head.steps, head.votes, flat, self.number, self.core_first,
            int(self.cell_first[-1]), self.slots, steady, head.mesh,
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
