"""Biases in mantissas and exponents, and projections that the host computes into them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .drives import BIAS_EXPONENT_MAX, BIAS_MAX, ONE, Drive
from .fixed import FixedProjection
from .nodes import FloatArray

HOST_WEIGHT_MAX, HOST_SHIFT_MAX = 32767, 40


def bias_exponents(values: FloatArray) -> NDArray[np.uint8]:
    """(n,) smallest exponents with which the mantissas fit 13 bits."""
    size = np.maximum(np.abs(values) / BIAS_MAX, 1e-300)
    exponents: NDArray[np.uint8] = np.clip(np.ceil(np.log2(size)), 0, BIAS_EXPONENT_MAX).astype(np.uint8)
    return exponents


def apply_hosts(hosts: list[Drive], bias: FloatArray, scale: float) -> tuple[int, list[FixedProjection]]:
    """The bias exponent, and projections whose sum >> k is a bias mantissa: ``64 S w = W 2^(exponent - k)``."""
    high = bias + sum(d.extremes()[0] for d in hosts)
    low = bias + sum(d.extremes()[1] for d in hosts)
    reach = np.maximum(np.abs(high), np.abs(low)) * scale * ONE
    exponent = int(bias_exponents(np.array([reach.max() + 2**BIAS_EXPONENT_MAX]))[0])
    projections = []
    for drive in hosts:
        synapses = drive.incoming.synapses
        room = HOST_WEIGHT_MAX / float(np.abs(synapses.weights).max())
        shift = int(np.clip(np.floor(np.log2(room * 2**exponent / (ONE * scale))), 0, HOST_SHIFT_MAX))
        while (
            float(max(drive.extremes()[0].max(), -drive.extremes()[1].min())) * ONE * scale * 2.0 ** (shift - exponent)
            >= 2**30
        ):
            shift -= 1
        weights = np.rint(synapses.weights * (ONE * scale * 2.0 ** (shift - exponent)))
        weights = np.clip(weights, -HOST_WEIGHT_MAX, HOST_WEIGHT_MAX).astype(np.int16)
        made = FixedProjection(
            drive.projection.source, drive.projection.target, synapses.with_weights(weights), -shift, host=True
        )
        projections.append(made)
    return exponent, projections
