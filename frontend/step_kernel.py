"""A step of Adam or Grad R in one pass through the memory, compiled by numba; no PyTorch here.

All arrays are flat float32 of one size n; `worth` alone may have the size 1. A connection is alive where
``theta * worth > delta``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numba import njit

ONE = np.float32(1.0)
ZERO = np.float32(0.0)
BLOCK = 2048
"""Elements that stay in the cache from one loop to the next."""
LEAST = 1 << 16
"""Elements for which a second thread is worth its start."""


@njit(cache=True, nogil=True, error_model="numpy")
def _moments(gradient: Any, m: Any, v: Any, beta1: Any, beta2: Any) -> None:
    for i in range(len(m)):
        m[i] += (ONE - beta1) * (gradient[i] - m[i])
    for i in range(len(m)):  # a loop of its own, or neither becomes SIMD code; so below
        v[i] = beta2 * v[i] + (ONE - beta2) * gradient[i] * gradient[i]


@njit(cache=True, nogil=True, error_model="numpy")
def adam_direction(
    gradient: Any, m: Any, v: Any, out: Any, beta1: Any, beta2: Any, norm1: Any, norm2: Any, eps: Any
) -> None:
    """Takes the gradient into m and v, and fills `out` with ``m / norm1 / (sqrt(v / norm2) + eps)``."""
    for begin in range(0, len(m), BLOCK):
        part = slice(begin, begin + BLOCK)
        mp, vp, op = m[part], v[part], out[part]
        _moments(gradient[part], mp, vp, beta1, beta2)
        for i in range(len(mp)):
            op[i] = mp[i] / norm1 / (np.sqrt(vp[i] / norm2) + eps)


@njit(cache=True, nogil=True, error_model="numpy")
def alive_weights(theta: Any, sign: Any, weight: Any, worth: Any, delta: Any) -> None:
    """Fills `weight` with ``sign * theta`` where alive, else 0."""
    if len(worth) == 1:
        for i in range(len(theta)):
            weight[i] = sign[i] * theta[i] if theta[i] * worth[0] > delta else ZERO
    else:
        for i in range(len(theta)):
            weight[i] = sign[i] * theta[i] if theta[i] * worth[i] > delta else ZERO


@njit(cache=True, nogil=True, error_model="numpy")
def grad_r_step(
    gradient: Any,
    m: Any,
    v: Any,
    theta: Any,
    sign: Any,
    weight: Any,
    worth: Any,
    beta1: Any,
    beta2: Any,
    norm1: Any,
    norm2: Any,
    eps: Any,
    lr: Any,
    delta: Any,
) -> None:
    """The step of `adam_direction`, the change of theta, and the new weight."""
    for begin in range(0, len(m), BLOCK):
        part = slice(begin, begin + BLOCK)
        mp, vp, tp, sp, wp = m[part], v[part], theta[part], sign[part], weight[part]
        _moments(gradient[part], mp, vp, beta1, beta2)
        for i in range(len(mp)):
            tp[i] -= lr * sp[i] * (mp[i] / norm1 / (np.sqrt(vp[i] / norm2) + eps))
        alive_weights(tp, sp, wp, worth if len(worth) == 1 else worth[part], delta)


def in_halves(
    kernel: Callable[..., None],
    arrays: Sequence[Any],
    constants: Sequence[Any],
    pool: ThreadPoolExecutor | None = None,
) -> None:
    """Runs a kernel on both halves of its arrays at once; element by element it computes the same."""
    size = max(map(len, arrays))
    if pool is None or size < LEAST:
        kernel(*arrays, *constants)
        return
    halves = slice(0, size // 2), slice(size // 2, size)
    list(pool.map(lambda half: kernel(*(a[half] if len(a) > 1 else a for a in arrays), *constants), halves))
