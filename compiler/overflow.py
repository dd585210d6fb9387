"""The proof that no sum leaves its register: worst cases of every neuron, positive and negative inputs apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import LimitError
from .fixed import FRACTION_BITS, U_LIMIT, FixedNetwork, FixedPopulation, FixedProjection

Bounds = tuple[NDArray[np.int64], NDArray[np.int64]]
ACCUMULATOR_LIMIT = 2**31


def check_overflow(network: FixedNetwork) -> None:
    """Proves |u| < 2^23, every accumulator below 2^31 and every bias within 13 bits, whatever the inputs are.

    Raises:
        LimitError: names the population, the worst case and the limit.
    """
    for population in network.populations:
        high, low = np.zeros(population.size, np.int64), np.zeros(population.size, np.int64)
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
        _check_u(population, high, low, network.steps)
        if population.size and (mantissa_high.max() > 4095 or mantissa_low.min() < -4096):
            worst = max(int(mantissa_high.max()), -int(mantissa_low.min()))
            raise LimitError(
                population.name,
                f"its bias can reach {worst}, 13 bits hold 4095",
                "scale the population down",
                value=worst,
                limit=4095,
            )


def projection_bounds(network: FixedNetwork, projection: FixedProjection) -> Bounds:
    """(n_target,) largest and smallest sum after the exponent's shift."""
    high, low = projection.synapses.bound(network.by_name[projection.source].payload)
    worst = max(int(high.max(initial=0)), -int(low.min(initial=0)))
    if worst >= ACCUMULATOR_LIMIT:
        raise LimitError(
            f"{projection.source} -> {projection.target}",
            f"a sum can reach {worst}, the limit is {ACCUMULATOR_LIMIT}",
            "use fewer payload bits",
            value=worst,
            limit=ACCUMULATOR_LIMIT,
        )
    if projection.exponent >= 0:
        return high << projection.exponent, low << projection.exponent
    groups = len(np.unique(projection.synapses.delays))
    return high >> -projection.exponent, (low >> -projection.exponent) - max(0, groups - 1)


def _check_u(population: FixedPopulation, high: NDArray[np.int64], low: NDArray[np.int64], steps: int) -> None:
    worst = max(int(high.max(initial=0)), -int(low.min(initial=0)))
    keep = (4095 - population.du) / 4096
    memory = float(steps) if keep == 1 else (1 - keep**steps) / (1 - keep)
    reach = worst * memory * 2**FRACTION_BITS
    if reach >= U_LIMIT:
        neuron = int(np.argmax(np.maximum(high, -low)))
        raise LimitError(
            population.name,
            f"the current of neuron {neuron} can reach {reach:.0f}, u holds less than {U_LIMIT}",
            "lower the exponent or the weights",
            value=int(reach),
            limit=U_LIMIT,
        )
