"""The scale of a population: chosen by the error that it causes in the currents, within what the chip can hold.

A population has one scale S (units of `a` per unit of the float membrane, ``vth = S threshold``), each projection an
integer exponent e and so a weight scale ``Q = S / 2^e``. All scales lie on the lattice 2^(j/16): S and Q then differ by
whole octaves where their j are equal modulo 16.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .nodes import FloatArray
from .synapses import Synapses

STEPS_PER_OCTAVE = 16
WEIGHT_MAX, WEIGHT_MIN = 254, -256
"""Mixed-sign 8-bit weights: even numbers."""

SAMPLE = 1_000_000
"""Synapses that the search looks at; larger projections are sampled by whole target neurons."""


def to_weights(values: FloatArray, scale: float) -> NDArray[np.int64]:
    """``2 round(values * scale / 2)``, clipped to -256 … 254.

    >>> to_weights(np.array([0.1, -0.5, 1.1]), 256.0).tolist()
    [26, -128, 254]
    """
    half = np.clip(np.rint(values * (scale / 2)), WEIGHT_MIN // 2, WEIGHT_MAX // 2)
    doubled: NDArray[np.int64] = 2 * half.astype(np.int64)
    return doubled


@dataclass(frozen=True, eq=False)
class Incoming:
    """One projection as the search sees it; it remembers the errors that it has computed.

    Attributes:
        synapses: weights per unit of payload, in units of the float membrane.
        mean, variance: of the payload of each source, per step, (n_source,).
        payload_error: variance of the float value that the payload's rounding causes, per source, in payload units.
    """

    synapses: Synapses
    mean: FloatArray
    variance: FloatArray
    payload_error: float = 0.0
    known: dict[int, float] = field(default_factory=dict, repr=False)

    def lattice(self) -> range:
        """The j that are worth a look: from an octave below the first scale without clipping to 1.5 above."""
        largest = float(np.abs(self.synapses.weights).max())
        top = int(np.floor(np.log2(WEIGHT_MAX / largest) * STEPS_PER_OCTAVE))
        return range(top - STEPS_PER_OCTAVE + 1, top + STEPS_PER_OCTAVE * 3 // 2 + 1)

    def error(self, j: int) -> float:
        """Sum over target neurons of the expected squared error of their current at the scale 2^(j / 16)."""
        if j not in self.known:
            weights, targets, mean, variance, every = self._sampled
            scale = 2 ** (j / STEPS_PER_OCTAVE)
            delta = to_weights(weights, scale) / scale - weights
            bias = np.bincount(targets, delta * mean)
            rounding = float((weights**2).sum()) * self.payload_error
            self.known[j] = every * (float((bias**2).sum() + (delta**2 * variance).sum()) + rounding)
        return self.known[j]

    @cached_property
    def _sampled(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, int]:
        """Weights, targets, mean and variance of the synapses looked at, and how many times more there are."""
        s = self.synapses
        every = max(1, len(s) // SAMPLE)
        chosen = np.flatnonzero(s.targets % every == 0)
        sources = s.sources[chosen]
        return s.weights[chosen], s.targets[chosen], self.mean[sources], self.variance[sources], every

    def best(self, index: int, exponents: tuple[int, int]) -> tuple[float, int]:
        """(error, exponent) at the population's scale 2^(index / 16), within the chip's exponents.

        Where no exponent leads into the lattice, the nearest one that there is serves.
        """
        lattice = self.lattice()
        options = [
            exponent
            for exponent in range(exponents[0], exponents[1] + 1)
            if index - STEPS_PER_OCTAVE * exponent in lattice
        ]
        if not options:
            options = [exponents[0] if index < lattice.start + STEPS_PER_OCTAVE * exponents[0] else exponents[1]]
        floor = 0.25 * self.synapses.n_target / 4 ** (index / STEPS_PER_OCTAVE)
        return min(
            (self.error(index - STEPS_PER_OCTAVE * exponent) + (floor if exponent < 0 else 0.0), exponent)
            for exponent in options
        )


@dataclass(frozen=True)
class Choice:
    """A scale on the lattice: S = 2^(index / 16), the exponent of each projection, and the error of its currents."""

    index: int
    exponents: tuple[int, ...]
    error: float

    @property
    def scale(self) -> float:
        return float(2 ** (self.index / STEPS_PER_OCTAVE))


def choose(incoming: list[Incoming], largest: float, neurons: int, exponents: tuple[int, int]) -> list[Choice]:
    """Scales in the order of their error, the best first.

    Args:
        incoming: the projections that go through synapse memory.
        largest: no S above this one can hold (sums, threshold and biases together).
        neurons: size of the population.
        exponents: smallest and largest exponent of the chip.
    """
    top = int(np.floor(np.log2(largest) * STEPS_PER_OCTAVE))
    choices = []
    for index in range(top - 8 * STEPS_PER_OCTAVE, top + 1):
        truncation = neurons * (0.5 / 64 / 2 ** (index / STEPS_PER_OCTAVE)) ** 2
        found = [projection.best(index, exponents) for projection in incoming]
        error = truncation + sum(cost for cost, _ in found)
        choices.append(Choice(index, tuple(exponent for _, exponent in found), error))
    return sorted(choices, key=lambda choice: (choice.error, -choice.index))
