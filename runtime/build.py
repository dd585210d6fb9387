"""`tables_of`: the engine's tables of a program, all of it checked, or of a network."""

from __future__ import annotations

import numpy as np

from ..compiler.decode import populations_of
from ..compiler.deliveries import Deliveries, Layout, fault, read_deliveries, require
from ..compiler.fixed import FixedNetwork
from ..compiler.netlist import NONE
from ..compiler.overflow import check_overflow
from ..compiler.program import Program
from ..compiler.threads import each
from ..errors import LimitError
from .draft import Draft, Head, Host
from .survey import Survey
from .tables import Mesh, Tables

DELIVERIES_MAX = 2**31
"""Synapses that the packets of all sources together reach on one core, so that a step's count fits 32 bits."""


def tables_of(source: Program | FixedNetwork) -> Tables:
    """The tables of a program, or of a network on one core without limits; checked, so that the kernel may run them.

    Raises:
        ProgramFileError: the program's tables contradict each other, or a sum could leave its register.
        LimitError: the same of a network, or the engine has no room for it.
    """
    if isinstance(source, FixedNetwork):
        check_overflow(source)
        draft = Draft(*_of_network(source))
        return draft.finish(Survey.of(draft))
    try:
        draft = Draft(*_of_program(source))
        survey = Survey.of(draft)
        survey.check(draft)
        return draft.finish(survey)
    except LimitError as error:
        raise fault(f"{error.subject}: {error.problem}" if error.subject != "program" else error.problem) from error


def _of_program(program: Program) -> tuple[Head, list[Deliveries]]:
    layout = Layout(program)
    inputs = tuple(entry.source for entry in program.inputs)
    populations = populations_of(program, layout)
    cores = list(each(lambda core: read_deliveries(program, layout, core), range(len(program.cores))))
    reached = [int(core.count.sum()) for core in cores]
    require(sum(reached) <= layout.most, f"it has more than {layout.most} synapses")
    most = max(reached)
    require(most < DELIVERIES_MAX, f"its packets reach {most} synapses of one core, {DELIVERIES_MAX} are possible")
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
    base = dict(zip(head.names, head.bounds.tolist(), strict=False))
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
    packets = (source.astype(np.int32), lists.astype(np.int32), np.zeros(count, np.int32))
    return head, [Deliveries(neurons, np.append(0, first), compartment, weight, delay, exponent, *packets)]
