"""The proof that no sum leaves its register: worst cases of every neuron, positive and negative inputs apart.

Two ways lead to it: `check_overflow` for a network, and `Worst` for anything that knows the largest and smallest sums
of each neuron, such as the tables that the engine walks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import LimitError
from .fixed import FRACTION_BITS, U_LIMIT, FixedInput, FixedNetwork, FixedPopulation, FixedProjection

Ints = NDArray[np.int64]
Bounds = tuple[Ints, Ints]
ACCUMULATOR_LIMIT = 2**31


@dataclass(frozen=True)
class Worst:
    """The worst that can happen to the neurons of one population.

    Attributes:
        high, low: (size,) largest and smallest `a` of one step.
        total: (size,) the largest |sum of a| over all steps of a sample; only sigma-delta neurons need it.
        bias_high, bias_low: (size,) what the host can make of bias_mant.
    """

    high: Ints
    low: Ints
    total: Ints
    bias_high: Ints
    bias_low: Ints

    def check(self, population: FixedPopulation, steps: int) -> None:
        """Raises `LimitError`, with the population, the worst case and the limit, where a register would not do."""
        if not population.size:
            return
        if self.bias_high.max() > 4095 or self.bias_low.min() < -4096:
            worst = max(int(self.bias_high.max()), -int(self.bias_low.min()))
            raise LimitError(
                population.name,
                f"its bias can reach {worst}, 13 bits hold 4095",
                "scale the population down",
                value=worst,
                limit=4095,
            )
        if population.model == "sigma-delta":
            self._check_sigma(population, steps)
        else:
            self._check_u(population, steps)

    def _check_u(self, population: FixedPopulation, steps: int) -> None:
        keep = (4095 - population.du.astype(np.int64)) / 4096
        lost = np.where(keep == 1, 1.0, 1 - keep)
        memory = np.where(keep == 1, float(steps), (1 - keep**steps) / lost)
        worst = np.maximum(self.high, -self.low) * memory * 2**FRACTION_BITS
        neuron = int(worst.argmax())
        reach = float(worst[neuron])
        if reach >= U_LIMIT:
            raise LimitError(
                population.name,
                f"the current of neuron {neuron} can reach {reach:.0f}, u holds less than {U_LIMIT}",
                "lower the exponent or the weights",
                value=int(reach),
                limit=U_LIMIT,
            )

    def _check_sigma(self, population: FixedPopulation, steps: int) -> None:
        """|sum of sent| = |act - residue|, and |residue| < 2 vth, so `payload` bounds one payload and their sum."""
        bias = np.maximum(np.abs(self.bias_high), np.abs(self.bias_low)) << population.bias_exp
        reach = int((self.total + bias).max())
        if reach >= U_LIMIT:
            raise LimitError(
                population.name,
                f"the activation of neuron {int((self.total + bias).argmax())} can reach {reach}, it holds less than "
                f"{U_LIMIT}",
                "lower the exponent or the weights",
                value=reach,
                limit=U_LIMIT,
            )
        needed = needed_payload(population, reach, steps)
        if needed > population.payload:
            raise LimitError(
                population.name,
                f"a spike can carry {needed}, its payload is {population.payload}",
                "allow a larger payload",
                value=needed,
                limit=population.payload,
            )


def needed_payload(population: FixedPopulation, reach: int, steps: int) -> int:
    """The payload that a sigma-delta population needs whose activations stay within ± `reach`."""
    swing = reach if population.activation == "relu" else 2 * reach
    return ((swing + 2 * population.vth) >> population.state_exp) + steps + 1


def check_overflow(network: FixedNetwork) -> None:
    """Proves that u, sigma, every accumulator and every bias fit, whatever the inputs are.

    |u| and |activation| < 2^23, accumulators below 2^31, biases within 13 bits, payloads as large as they say.

    Raises:
        LimitError: names the population, the worst case and the limit.
    """
    for population in network.populations:
        high, low, total = np.zeros((3, population.size), np.int64)
        mantissa = population.bias_mant.astype(np.int64)
        mantissa_high, mantissa_low = mantissa, mantissa
        for projection in network.projections:
            if projection.target != population.name:
                continue
            up, down = projection_bounds(network, projection)
            if projection.host:
                mantissa_high, mantissa_low = mantissa_high + up, mantissa_low + down
            else:
                high, low = high + up, low + down
                if population.model == "sigma-delta":
                    total = total + _total(network, projection)
        Worst(high, low, total, mantissa_high, mantissa_low).check(population, network.steps)


def projection_bounds(network: FixedNetwork, projection: FixedProjection) -> Bounds:
    """(n_target,) largest and smallest sum after the exponent's shift."""
    source = network.by_name[projection.source]
    high, low = projection.synapses.bound(source.payload, source.signed)
    check_accumulator(f"{projection.source} -> {projection.target}", high, low)
    if projection.exponent >= 0:
        return high << projection.exponent, low << projection.exponent
    groups = len(np.unique(projection.synapses.delays))
    return high >> -projection.exponent, (low >> -projection.exponent) - max(0, groups - 1)


def check_accumulator(label: str, high: Ints, low: Ints) -> None:
    """Raises `LimitError` where a sum before its shift leaves 32 bits."""
    worst = max(int(high.max(initial=0)), -int(low.min(initial=0)))
    if worst >= ACCUMULATOR_LIMIT:
        raise LimitError(
            label,
            f"a sum can reach {worst}, the limit is {ACCUMULATOR_LIMIT}",
            "use fewer payload bits",
            value=worst,
            limit=ACCUMULATOR_LIMIT,
        )


def payload_total(source: FixedInput | FixedPopulation, steps: int) -> int:
    """What the payloads of one source can sum up to at most in a sample, up or down."""
    return source.payload * steps if source.total is None else source.total


def _total(network: FixedNetwork, projection: FixedProjection) -> Ints:
    """(n_target,) the largest |sum| over all steps of what arrives; a shift right floors once per step and delay."""
    all_steps = payload_total(network.by_name[projection.source], network.steps)
    sums, _ = projection.synapses.bound(all_steps, signed=True)
    if projection.exponent >= 0:
        return sums << projection.exponent
    return (sums >> -projection.exponent) + network.steps * len(np.unique(projection.synapses.delays))
