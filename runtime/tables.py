"""`Tables`: a network flat in arrays, as the engine's kernel walks it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..compiler.fixed import FixedNetwork, FixedProjection
from ..compiler.synapses import Synapses

Ints = NDArray[np.int64]

FIRST_SOURCE, SOURCES, FIRST_TARGET, TARGETS, SLOTS, RING, EXPONENT, HOST, POINTER = range(9)
"""Columns of `Flat.rows`."""


class Flat(NamedTuple):
    """What the kernel gets. Sources are the neurons of all populations in the order of their offsets, then the inputs.

    A row is a projection (one per delay where a negative exponent makes each delay shift for itself): first source,
    sources, first target, targets, ring slots, ring start, exponent (minus the shift on the host), host, and where its
    starts begin in `indptr`.
    """

    first: Any
    """(populations + inputs + 1,) first source of each."""
    constants: Any
    """(populations, 3) du, dv, vth."""
    bias_mant: Any
    bias_exp: Any
    rows: Any
    leaving_start: Any
    """(populations + inputs + 1,) the rows on the chip that leave each population or input, in `leaving`."""
    leaving: Any
    arriving_start: Any
    """(populations + 1,) the rows on the chip that arrive at each population, in `arriving`."""
    arriving: Any
    indptr: Any
    targets: Any
    weights: Any
    lags: Any
    """(synapses,) local steps until a spike arrives."""


@dataclass(frozen=True, eq=False)
class Tables:
    """A network for the kernel, and the names to find its parts by."""

    names: tuple[str, ...]
    flat: Flat
    ring_size: int

    @classmethod
    def of(cls, network: FixedNetwork) -> Tables:
        populations = sorted(network.populations, key=lambda p: p.offset)
        names = (*(p.name for p in populations), *(p.name for p in network.inputs))
        sizes = [network.by_name[name].size for name in names]
        first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        base = dict(zip(names, first.tolist(), strict=False))
        rows, pointers, targets, weights, lags = [], [np.zeros(0, np.int64)], [], [], []
        ring = pointer = count = 0
        parts = _split(network)
        for q, synapses, lag in parts:
            slots = 1 + int(lag.max(initial=0))
            rows.append(
                (base[q.source], synapses.n_source, base[q.target], synapses.n_target, slots, ring, q.exponent, q.host)
                + (pointer,)
            )
            ring += 0 if q.host else slots * synapses.n_target
            pointers.append(synapses.indptr + count)
            pointer, count = pointer + synapses.n_source + 1, count + len(synapses)
            targets.append(synapses.targets)
            weights.append(synapses.weights.astype(np.int32))
            lags.append(lag.astype(np.int32))
        on_chip = [(i, q) for i, (q, _, _) in enumerate(parts) if not q.host]
        flat = Flat(
            first,
            np.array([(p.du, p.dv, p.vth) for p in populations], np.int64),
            np.concatenate([p.bias_mant for p in populations]).astype(np.int64),
            np.concatenate([p.bias_exp for p in populations]).astype(np.int64),
            np.array(rows, np.int64).reshape(-1, 9),
            *_grouped([[i for i, q in on_chip if q.source == name] for name in names]),
            *_grouped([[i for i, q in on_chip if q.target == p.name] for p in populations]),
            np.concatenate(pointers),
            *(np.concatenate([np.zeros(0, np.int32), *arrays]) for arrays in (targets, weights, lags)),
        )
        return cls(names, flat, ring)

    @property
    def neurons(self) -> int:
        return len(self.flat.bias_mant)

    @property
    def sources(self) -> int:
        return int(self.flat.first[-1])

    def range(self, name: str) -> slice:
        """The sources of a population or input."""
        row = self.names.index(name)
        return slice(int(self.flat.first[row]), int(self.flat.first[row + 1]))


def _grouped(groups: list[list[int]]) -> tuple[Ints, Ints]:
    start = np.concatenate([[0], np.cumsum([len(group) for group in groups])]).astype(np.int64)
    return start, np.array([i for group in groups for i in group], np.int64)


def _split(network: FixedNetwork) -> list[tuple[FixedProjection, Synapses, Ints]]:
    """(projection, its synapses, lags); one per delay where each delay's sum shifts for itself."""
    parts = []
    for q in network.projections:
        delays = np.unique(q.synapses.delays)
        lags = np.zeros(len(q.synapses), np.int64) if q.host else network.lags(q)
        if q.exponent >= 0 or len(delays) < 2:
            parts.append((q, q.synapses, lags))
            continue
        for delay in delays.tolist():
            chosen = q.synapses.delays == delay
            only = q.synapses.with_weights(np.where(chosen, q.synapses.weights, 0))
            parts.append((q, only, lags[chosen]))
    return parts
