"""All steps of a LIF population in one pass, forward and backward, compiled by numba; no PyTorch here.

    h_t = v_{t-1} + (x_t - v_{t-1}) / tau     (decay_input), or  v_{t-1} (1 - 1 / tau) + x_t
    s_t = h_t >= threshold                    (or >)
    v_t = h_t (1 - s_t)                       (hard reset), or  h_t - threshold s_t; no gradient flows through s_t here

Backward, with the arctangent surrogate ``sigma'(y) = 1 / (1 + (pi y)^2)``::

    dL/dh_t = dL/ds_t sigma'(h_t - threshold) + dL/dv_t (1 - s_t)    (soft reset: dL/dv_t)
    dL/dv_{t-1} = dL/dh_t (1 - 1 / tau);    dL/dx_t = dL/dh_t / tau  (decay_input), or  dL/dh_t
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

PI = np.float32(math.pi)
ONE = np.float32(1.0)
ZERO = np.float32(0.0)


@njit(cache=True, nogil=True, error_model="numpy")
def lif_forward(
    x: Any, spikes: Any, slope: Any, tau: Any, threshold: Any, decay_input: bool, strict: bool, hard: bool
) -> None:
    """Fills `spikes` and `slope` (the surrogate's sigma'), both (T, n), from currents `x` (T, n) or (1, n); float32."""
    steps, size = spikes.shape
    keep = ONE - ONE / tau
    v = np.zeros(size, np.float32)
    for t in range(steps):
        row = x[t if len(x) > 1 else 0]
        slope_row, s_row = slope[t], spikes[t]
        for i in range(size):
            h = v[i] + (row[i] - v[i]) / tau if decay_input else v[i] * keep + row[i]
            over = h - threshold
            fired = ONE if (over > ZERO if strict else over >= ZERO) else ZERO
            v[i] = h * (ONE - fired) if hard else h - threshold * fired
            slope_row[i] = over
            s_row[i] = fired
        for i in range(size):  # a loop of its own, or neither becomes SIMD code
            y = PI * slope_row[i]
            slope_row[i] = ONE / (ONE + y * y)


@njit(cache=True, nogil=True, error_model="numpy")
def lif_backward(grad: Any, spikes: Any, slope: Any, grad_x: Any, tau: Any, decay_input: bool, hard: bool) -> None:
    """Fills `grad_x` (T, n), or its sum over the steps (1, n), with dL/dx from `grad` = dL/ds (T, n)."""
    steps, size = spikes.shape
    keep = ONE - ONE / tau
    share = ONE / tau if decay_input else ONE
    constant = len(grad_x) < steps
    grad_v = np.zeros(size, np.float32)
    total = np.zeros(size, np.float32)
    for back in range(steps):
        t = steps - 1 - back
        g_row, s_row, slope_row = grad[t], spikes[t], slope[t]
        if hard:
            for i in range(size):
                grad_v[i] = g_row[i] * slope_row[i] + grad_v[i] * (ONE - s_row[i])
        else:
            for i in range(size):
                grad_v[i] = g_row[i] * slope_row[i] + grad_v[i]
        if constant:
            for i in range(size):
                total[i] += grad_v[i] * share
                grad_v[i] *= keep
        else:
            for i in range(size):
                grad_x[t, i] = grad_v[i] * share
                grad_v[i] *= keep
    if constant:
        grad_x[0] = total
