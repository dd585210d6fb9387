"""`Netlist`: all neurons of a network in one numbering, all synapses of the chip sorted by target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..hw_targets.formats import Parts
from .fixed import FixedNetwork

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Netlist:
    """Neurons are numbered population by population; sources are the neurons, then the inputs.

    Attributes:
        names: of the populations, then of the inputs.
        base: (populations + inputs + 1,) first source of each.
        neurons: how many neurons there are; a source below this number is a neuron.
        indptr: (neurons + 1,) the synapses of each target neuron.
        source, weight, delay, exponent: (synapses,), sorted by target.
    """

    names: tuple[str, ...]
    base: Ints
    neurons: int
    indptr: Ints
    source: NDArray[np.int32]
    weight: NDArray[np.int16]
    delay: NDArray[np.uint8]
    exponent: NDArray[np.int8]

    @classmethod
    def of(cls, network: FixedNetwork) -> Netlist:
        names = (*(p.name for p in network.populations), *(p.name for p in network.inputs))
        sizes = [network.by_name[name].size for name in names]
        base = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        neurons = sum(p.size for p in network.populations)
        first = dict(zip(names, base.tolist(), strict=False))
        on_chip = [q for q in network.projections if not q.host]
        target = _join([q.synapses.targets + np.int32(first[q.target]) for q in on_chip], np.int32)
        order = np.argsort(target, kind="stable")
        indptr = np.zeros(neurons + 1, np.int64)
        np.cumsum(np.bincount(target, minlength=neurons), out=indptr[1:])
        return cls(
            names,
            base,
            neurons,
            indptr,
            _join([q.synapses.sources + np.int32(first[q.source]) for q in on_chip], np.int32)[order],
            _join([q.synapses.weights for q in on_chip], np.int16)[order],
            _join([q.synapses.delays for q in on_chip], np.uint8)[order],
            _join([np.full(len(q.synapses), q.exponent, np.int8) for q in on_chip], np.int8)[order],
        )

    def population_of(self, source: Ints) -> Ints:
        """(n,) row in `names` of each source."""
        return np.asarray(np.searchsorted(self.base, source, side="right") - 1)

    def label(self, source: int) -> str:
        """How people know a source: population and index.

        >>> from .fixed import FixedInput, FixedPopulation
        >>> n = np.zeros(3, np.int16)
        >>> one = FixedPopulation("hidden", (3,), np.arange(3), 4095, 2048, 100, n, n, 0)
        >>> Netlist.of(FixedNetwork((FixedInput("x", (2,), "rate", 1, 1),), (one,), (), ("hidden",), 4)).label(2)
        'hidden[2]'
        """
        row = int(self.population_of(np.array([source]))[0])
        return f"{self.names[row]}[{source - int(self.base[row])}]"

    def synapses_of(self, neurons: Ints) -> tuple[Ints, Ints]:
        """(rows, compartment): the synapses that end at these neurons and where each neuron stands among them."""
        count = self.indptr[neurons + 1] - self.indptr[neurons]
        compartment = np.repeat(np.arange(len(neurons)), count)
        begin = np.repeat(self.indptr[neurons] - np.cumsum(count) + count, count)
        return begin + np.arange(len(compartment)), compartment

    def parts_of(self, neurons: Ints) -> tuple[Ints, Parts]:
        """(sources, parts): the input axons that a core with these neurons needs, and its synapses by axon."""
        rows, compartment = self.synapses_of(neurons)
        sources, axon = np.unique(self.source[rows], return_inverse=True)
        parts = Parts.of(
            axon.astype(np.int64),
            compartment,
            self.weight[rows].astype(np.int64),
            self.delay[rows].astype(np.int64),
            self.exponent[rows].astype(np.int64),
        )
        return sources.astype(np.int64), parts


def _join(parts: list[NDArray[Any]], dtype: type) -> NDArray[Any]:
    joined: NDArray[Any] = np.concatenate([np.zeros(0, dtype), *parts])
    return joined.astype(dtype, copy=False)
