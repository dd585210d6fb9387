"""`Survey`: one walk over all packets of the engine's tables: what each sum can reach, and whether they may run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from ..compiler.deliveries import require
from ..compiler.overflow import Worst, check_accumulator, payload_total
from .tables import POPULATION, Ints

if TYPE_CHECKING:
    from .draft import Draft

Spans = list[tuple[int, int, int, int]]
UNSET = 127
TWICE, EXPONENTS, EARLY = 1, 2, 3


@dataclass(frozen=True, eq=False)
class Survey:
    """What a walk found.

    Attributes:
        high, low, total: (cells,) worst sums of one step, and of |all steps|, before they are shifted right.
        reached: (cells,) whether a synapse ends there.
        exponent: (members, members) of each pair of populations or inputs; UNSET where nothing joins them.
        lag, delay: (members,) the largest local lag, and the largest delay, of what each sends.
        problem: (code, source's member, target's member); code 0: none.
    """

    high: Ints
    low: Ints
    total: Ints
    reached: Any
    exponent: Any
    lag: Ints
    delay: Ints
    problem: tuple[int, int, int]

    @classmethod
    def of(cls, draft: Draft) -> Survey:
        members, neurons = draft.head.members, len(draft.number)
        cells = int(draft.cell_first[-1])
        neuron = np.empty(cells, np.int32)
        for core, lanes in enumerate(draft.lanes):
            own = np.arange(draft.core_first[core], draft.core_first[core + 1])
            neuron[draft.cell_first[core] : draft.cell_first[core + 1]] = np.tile(own, len(lanes))
        offset = [p.offset for p in draft.head.populations] + [-1] * len(draft.head.inputs)
        facts = np.array(
            [(p.payload, p.signed, payload_total(p, draft.head.steps), o) for p, o in zip(members, offset, strict=True)]
        ).reshape(-1, 4)
        row = draft.row.copy()
        row[:neurons] = draft.row[draft.number]
        sums = np.zeros((3, cells), np.int64)
        reached = np.zeros(cells, np.bool_)
        exponent = np.full((len(members), len(members)), UNSET, np.int8)
        late = np.zeros((2, len(members)), np.int64)
        problem = _walk(
            draft.out_start, draft.out_list, draft.out_cell, draft.list_start, draft.cells, draft.weights,
            draft.delays, draft.exponents, neuron, row, facts.astype(np.int64), sums, reached, exponent, late,
            np.full(neurons, -1, np.int32),
        )  # fmt: skip
        high, low, total = sums
        return cls(high, low, total, reached, exponent, late[0], late[1], problem)

    def used(self, spans: Spans) -> Spans:
        """Those of `Draft.spans` that a synapse reaches."""
        return [span for span in spans if self.reached[span[1] : span[1] + span[2]].any()]

    def check(self, draft: Draft) -> None:
        """Raises `ProgramFileError` where tables contradict each other, `LimitError` where a register is too small."""
        code, *pair = self.problem
        names = draft.head.names
        label = " -> ".join(names[row] for row in pair)
        require(code != TWICE, "its synapses contradict each other")
        require(code != EXPONENTS, f"the projection {label} has two exponents in its tables")
        require(code != EARLY, f"{label}: would arrive before its target's window begins")
        hosts = {(h.source, h.target) for h in draft.head.hosts}
        by_host = {i.name for i in draft.head.inputs if i.encoding == "bias"}
        index = {name: i for i, name in enumerate(names)}
        joined = np.zeros(self.exponent.shape, np.bool_)
        for s, t in draft.head.projections:
            require(index[t] < len(draft.head.populations), f"the projection {s} -> {t} ends at an input")
            host = (s, t) in hosts
            require(host == (s in by_host), f"{s} -> {t}: goes with the host if and only if its input has a bias")
            joined[index[s], index[t]] = not host
        found = self.exponent != UNSET
        require(not bool((found & ~joined).any()), "its lists connect populations that no projection joins")
        empty = np.argwhere(joined & ~found).tolist()
        for s, t in empty[:1]:
            require(False, f"the projection {names[s]} -> {names[t]} has no synapse in its tables")
        self._check_sums(draft)

    def _check_sums(self, draft: Draft) -> None:
        neurons, steps = len(draft.number), draft.head.steps
        high, low, total = np.zeros((3, neurons), np.int64)
        first = draft.segments[:, 0]
        for segment, begin, size, shift in self.used(draft.spans()):
            name = draft.head.names[int(draft.segments[segment, POPULATION])]
            cells = slice(begin, begin + size)
            check_accumulator(name, self.high[cells], self.low[cells])
            own = slice(int(first[segment]), int(first[segment]) + size)
            high[own] += self.high[cells] >> shift
            low[own] += self.low[cells] >> shift
            total[own] += (self.total[cells] >> shift) + (steps if shift else 0)
        for row, p in enumerate(draft.head.populations):
            own_at = draft.at[draft.bounds[row] : draft.bounds[row + 1]]
            mantissa = p.bias_mant.astype(np.int64)
            up, down = mantissa, mantissa
            for host in draft.head.hosts:
                if host.target == p.name:
                    payload = next(i.payload for i in draft.head.inputs if i.name == host.source)
                    most, least = host.synapses.bound(payload)
                    check_accumulator(f"{host.source} -> {p.name}", most, least)
                    up, down = up + (most >> host.shift), down + (least >> host.shift)
            Worst(high[own_at], low[own_at], total[own_at], up, down).check(p, steps)


@njit(cache=True, nogil=True)
def _walk(
    out_start: Any, out_list: Any, out_cell: Any, list_start: Any, cells: Any, weights: Any, delays: Any,
    exponents: Any, neuron: Any, row: Any, facts: Any, sums: Any, reached: Any, exponent: Any, slow: Any, seen: Any,
) -> Any:  # pragma: no cover – compiled  # fmt: skip
    """Fills sums, reached, exponent and `slow` (lags, delays); returns `Survey.problem`."""
    for s in range(len(out_start) - 1):
        own = row[s]
        payload, signed, total, offset = facts[own, 0], facts[own, 1], facts[own, 2], facts[own, 3]
        for packet in range(out_start[s], out_start[s + 1]):
            for k in range(list_start[out_list[packet]], list_start[out_list[packet] + 1]):
                cell = out_cell[packet] + cells[k]
                n = neuron[cell]
                other = row[n]
                if seen[n] == s:
                    return TWICE, own, other
                seen[n] = s
                if exponent[own, other] == UNSET:
                    exponent[own, other] = exponents[k]
                elif exponent[own, other] != exponents[k]:
                    return EXPONENTS, own, other
                delay = np.int64(delays[k]) if len(delays) else 0
                late = offset + 1 + delay - facts[other, 3]
                if late < 0:
                    return EARLY, own, other
                slow[0, own] = max(slow[0, own], late)
                slow[1, own] = max(slow[1, own], delay)
                reached[cell] = True
                weight = np.int64(weights[k])
                if signed:
                    sums[0, cell] += abs(weight) * payload
                    sums[1, cell] -= abs(weight) * payload
                elif weight > 0:
                    sums[0, cell] += weight * payload
                else:
                    sums[1, cell] += weight * payload
                sums[2, cell] += abs(weight) * total
    return 0, 0, 0
