"""`Deliveries`: what a core does with the packets that reach it, read from its tables and checked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ProgramFileError
from ..hw_targets import codec
from .program import Program

Index = NDArray[np.int64]
WAY_OUT = "compile the model again"


def fault(problem: str) -> ProgramFileError:
    return ProgramFileError("program", problem, WAY_OUT)


def require(condition: bool, problem: str) -> None:
    if not condition:
        raise fault(problem)


class Layout:
    """Numbers of neurons and inputs, and the packets that each core receives."""

    def __init__(self, program: Program) -> None:
        sizes = [p.size for p in program.populations] + [t.source.size for t in program.inputs]
        self.names = [p.name for p in program.populations] + [t.source.name for t in program.inputs]
        require(len(set(self.names)) == len(self.names), "two populations have the same name")
        self.bounds = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self.index = {name: i for i, name in enumerate(self.names)}
        self.base = dict(zip(self.names, self.bounds.tolist(), strict=False))
        self.size = dict(zip(self.names, sizes, strict=True))
        self.neurons = sum(p.size for p in program.populations)
        for name in (*program.outputs, *(n for pair in program.projections for n in pair)):
            require(name in self.index, f"it names a population {name!r} that is not there")
        standing = np.concatenate([core.neurons for core in program.cores]).astype(np.int64)
        require(
            len(standing) == self.neurons and bool((np.sort(standing) == np.arange(self.neurons)).all()),
            "its neurons do not stand on exactly one core each",
        )
        self.routes = self._routes(program)
        self._check_head(program)
        hosts = {(h.source, h.target) for h in program.hosts}
        self.most = sum(self.size[s] * self.size[t] for s, t in program.projections if (s, t) not in hosts)
        """No more synapses than pairs of neurons that a projection joins."""

    def _check_head(self, program: Program) -> None:
        """What has to hold whatever the tables say."""
        populations = {p.name for p in program.populations}
        require(len(program.inputs) > 0, "it has no input")
        require(program.steps >= 1 and len(populations) > 0, "it has no step or no population")
        for name in program.outputs:
            require(name in populations, f"its output {name!r} is no population")
        outputs = sum(self.size[name] for name in program.outputs)
        distinct = len(set(program.outputs)) == len(program.outputs)
        require(outputs > 0 and distinct, "it has no outputs, or one twice")
        votes = program.votes
        require(votes >= 1 and outputs % votes == 0, f"{votes} votes do not fit {outputs} outputs")
        require(len(set(program.projections)) == len(program.projections), "a projection stands twice in it")
        hosts = [(h.source, h.target) for h in program.hosts]
        require(len(set(hosts)) == len(hosts), "a projection of the host stands twice in it")
        require(set(hosts) <= set(program.projections), "a projection of the host is none of its projections")
        for host in program.hosts:
            require(len(host.synapses) > 0, f"the host's projection {host.source} -> {host.target} has no synapse")

    def row(self, sources: NDArray[np.int32]) -> NDArray[np.int32]:
        """(n,) the population or input of each."""
        of_source = np.repeat(np.arange(len(self.names), dtype=np.int32), np.diff(self.bounds))
        return np.asarray(of_source[sources])

    def _routes(self, program: Program) -> NDArray[np.int32]:
        """(4, packets) source, core, input axon, base, sorted by core and axon."""
        parts = []
        tables = [(c.neurons, c.out_start, c.out_core, c.out_axon, c.out_base) for c in program.cores]
        for entry in program.inputs:
            require(len(entry.out_start) == entry.source.size + 1, f"{entry.source.name} has broken starts")
            numbers = np.arange(entry.source.size) + self.base[entry.source.name]
            tables.append((numbers.astype(np.uint32), entry.out_start, entry.out_core, entry.out_axon, entry.out_base))
        for numbers, start, core, axon, base in tables:
            count = np.diff(start.astype(np.int64))
            whole = len(count) == len(numbers) and (count >= 0).all() and int(start[0]) == 0
            require(
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
        require(bool(inside.all()), "an output axon leads to a core that is not there")
        require(bool((routes[2] < lists[routes[1]]).all()), "an output axon leads to an input axon that is not there")
        ordered: NDArray[np.int32] = routes[:, np.lexsort((routes[0], routes[2], routes[1]))]
        return ordered


@dataclass(frozen=True, eq=False)
class Deliveries:
    """The synapse lists of a core, and the packets that each delivers one of them.

    Attributes:
        neurons: (compartments,) the number of each compartment's neuron.
        first: (lists + 1,) the first synapse of each list.
        compartment, weight, delay, exponent: (synapses,) of the lists.
        source, lists, base: (packets,) who sends it, the list that it delivers, and what is added to each compartment
            of the list; sorted by list.
    """

    neurons: Index
    first: Index
    compartment: Index
    weight: Index
    delay: Index
    exponent: Index
    source: NDArray[np.int32]
    lists: NDArray[np.int32]
    base: NDArray[np.int32]

    @cached_property
    def count(self) -> Index:
        """(packets,) synapses that each packet delivers to."""
        return np.asarray(np.diff(self.first)[self.lists])

    def unrolled(self) -> tuple[NDArray[Any], ...]:
        """(source, target, weight, delay, exponent) of every synapse that they stand for."""
        count = self.count
        rows = np.repeat(self.first[self.lists] - np.cumsum(count) + count, count) + np.arange(int(count.sum()))
        compartment = self.compartment[rows] + np.repeat(self.base, count)
        return (
            np.repeat(self.source, count),
            self.neurons.astype(np.int32)[compartment],
            self.weight[rows].astype(np.int16),
            self.delay[rows].astype(np.uint8),
            self.exponent[rows].astype(np.int8),
        )


def read_deliveries(program: Program, layout: Layout, number: int) -> Deliveries:
    """Those of one core.

    Raises:
        ProgramFileError: its tables contradict each other, or name a compartment that the core has not.
    """
    core = program.cores[number]
    start, length = core.axon_start.astype(np.int64), core.axon_words.astype(np.int64)
    require(len(start) == len(length), f"core {number}: {len(start)} input axons have {len(length)} lengths")
    lists, first = np.unique(start, return_index=True)  # axons that start at the same word share a list
    whole = np.array_equal(np.append(lists, len(core.words)), np.concatenate([[0], np.cumsum(length[first])]))
    shared = np.array_equal(length, length[first][np.searchsorted(lists, start)])
    require(whole and shared, f"core {number}: its synapse lists do not stand one after the other")
    try:
        starts, lengths = lists.astype(np.uint32), length[first].astype(np.uint16)
        entries = codec.read(core.words, starts, lengths, core.formats, len(core.neurons))
    except ValueError as error:
        raise fault(f"core {number}: {error}") from error
    begin, end = np.searchsorted(layout.routes[1], [number, number + 1])
    source, _, axon, base = layout.routes[:, begin:end]
    require(len(np.unique(axon)) == len(core.axon_start), f"core {number}: an input axon has no source")
    again = (np.diff(axon) == 0) & (np.diff(source) == 0)
    require(not bool(again.any()), f"core {number}: a source reaches an input axon twice")
    bounds = np.searchsorted(entries.axon, np.arange(len(lists) + 1)).astype(np.int64)
    its_list = np.searchsorted(lists, start)[axon]
    last = np.full(len(lists), -1)
    np.maximum.at(last, entries.axon, entries.compartment)
    inside = last[its_list] + base < len(core.neurons)
    require(bool(inside.all()), f"core {number}: a base leads to no compartment")
    return Deliveries(
        core.neurons.astype(np.int64),
        bounds,
        entries.compartment,
        entries.weight,
        entries.delay,
        entries.exponent,
        source,
        its_list.astype(np.int32),
        base,
    )
