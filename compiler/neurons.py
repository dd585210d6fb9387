"""Which neurons a chip has."""

from __future__ import annotations

from ..errors import LimitError, UnsupportedError
from ..hw_targets.chip import Chip


def check_neuron(name: str, chip: Chip, soft_reset: bool, refractory: int, payload_bits: int = 0) -> None:
    """Refuses what the neurons of a chip cannot do.

    Args:
        name: of the population, for the message.
        chip: the target.
        soft_reset: whether a spike subtracts the threshold.
        refractory: steps after a spike in which v rests.
        payload_bits: of the spikes, without the sign; 0 for binary ones.

    Raises:
        UnsupportedError: the chip's neurons reset to 0 only, or send binary spikes only.
        LimitError: a longer pause, or larger payloads, than the chip has.
    """
    if soft_reset and not chip.limits.soft_reset[0]:
        problem = f"does not reset to 0 at a spike (soft reset or none), neurons on {chip.name} do"
        raise UnsupportedError(name, problem, "train with a hard reset, or choose a target with soft ones")
    limit = chip.limits.refractory_max[0]
    if refractory > limit:
        problem = f"rests for {refractory} steps after a spike, {chip.name} has {limit}"
        raise LimitError(name, problem, "shorten the pause", value=refractory, limit=limit)
    if not payload_bits:
        return
    if not chip.graded:
        problem = f"sends spikes with payloads, {chip.name} has binary spikes"
        raise UnsupportedError(name, problem, "choose a target with graded ones")
    limit = chip.limits.graded_payload_bits[0] - 1
    if payload_bits > limit:
        problem = f"sends payloads of {payload_bits} bits and a sign, {chip.name} has {limit}"
        raise LimitError(name, problem, "scale the population down", value=payload_bits, limit=limit)
