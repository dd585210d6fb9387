"""One step of a segment's neurons in all lanes, compiled by numba; the arithmetic of `compiler.fixed` in int32.

Loops read and write at most three arrays each, so that LLVM can tell them apart and compute eight numbers at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import inlined, inner
from .tables import DROP, FIRST, KEEP_U, KEEP_V, LAST, MODEL, REFRACTORY, STATE_EXP, VARIED, VTH

i4 = np.int32
LIMIT = np.int32((1 << 23) - 1)


@inlined
def _decay(value: Any, keep: Any) -> Any:
    """``tz(value * keep, 12)``, the product never formed: |value| < 2^23 and keep <= 2^12 stay within 32 bits."""
    size = i4(abs(value))
    kept = i4(i4(i4(size >> 12) * keep) + i4(i4(i4(size & i4(4095)) * keep) >> 12))
    return kept if value >= 0 else i4(-kept)


@inlined
def _step_u(keep: Any, current: Any, u: Any) -> None:
    for n in range(len(u)):
        u[n] = i4(_decay(u[n], keep) + i4(current[n] << 6))


@inlined
def _step_v(keep: Any, u: Any, bias: Any, v: Any) -> None:
    for n in range(len(v)):
        v[n] = min(max(i4(i4(_decay(v[n], keep) + u[n]) + bias[n]), i4(-LIMIT)), LIMIT)


@inlined
def _decay_each(keep: Any, values: Any) -> None:
    for n in range(len(values)):
        values[n] = _decay(values[n], keep[n])


@inlined
def _add_to_u(current: Any, u: Any) -> None:
    for n in range(len(u)):
        u[n] = i4(u[n] + i4(current[n] << 6))


@inlined
def _add_to_v(u: Any, bias: Any, v: Any) -> None:
    for n in range(len(v)):
        v[n] = min(max(i4(i4(v[n] + u[n]) + bias[n]), i4(-LIMIT)), LIMIT)


@inlined
def _fire(threshold: Any, subtract: Any, drop: Any, v: Any, sent: Any) -> None:
    for n in range(len(v)):
        value = v[n]
        spike = value > threshold
        sent[n] = i4(spike)
        v[n] = i4(i4(value - drop) * subtract) if spike else value


@inlined
def _fire_each(threshold: Any, drop: Any, v: Any, sent: Any) -> None:
    for n in range(len(v)):
        spike = v[n] > threshold
        sent[n] = i4(spike)
        v[n] = i4(v[n] - drop[n]) if spike else v[n]


@inner
def _advance_u(first: int, last: int, segment: Any, state: Any) -> None:
    current, u = state.current[first:last], state.u[first:last]
    if segment[KEEP_U] == VARIED:
        _decay_each(state.keep_u[first:last], u)
        _add_to_u(current, u)
    else:
        _step_u(i4(segment[KEEP_U]), current, u)


@inner
def _advance_v(first: int, last: int, segment: Any, state: Any) -> None:
    u, v, bias = state.u[first:last], state.v[first:last], state.bias[first:last]
    if segment[KEEP_V] == VARIED:
        _decay_each(state.keep_v[first:last], v)
        _add_to_v(u, bias, v)
    else:
        _step_v(i4(segment[KEEP_V]), u, bias, v)


@inner
def integrate(width: int, segment: Any, state: Any) -> None:
    """LIF."""
    first, last = segment[FIRST] * width, segment[LAST] * width
    u, v, sent, bias = state.u[first:last], state.v[first:last], state.sent[first:last], state.bias[first:last]
    _advance_u(first, last, segment, state)
    keep, threshold = i4(segment[KEEP_V]), i4(segment[VTH] << 6)
    subtract, drop = i4(segment[MODEL] >> 1 & 1), i4(segment[DROP])
    if segment[REFRACTORY] == 0:
        _advance_v(first, last, segment, state)
        if segment[DROP] == VARIED:
            _fire_each(threshold, state.drop[first:last], v, sent)
        else:
            _fire(threshold, subtract, drop, v, sent)
        return
    rest, varied = state.rest[first:last], segment[KEEP_V] == VARIED
    for n in range(len(v)):
        if rest[n] > 0:
            rest[n] -= 1
            sent[n] = 0
            continue
        own = state.keep_v[first + n] if varied else keep
        value = min(max(i4(i4(_decay(v[n], own) + u[n]) + bias[n]), i4(-LIMIT)), LIMIT)
        spike = value > threshold
        sent[n] = i4(spike)
        taken = state.drop[first + n] if segment[DROP] == VARIED else drop
        v[n] = i4(i4(value - taken) * subtract) if spike else value
        if spike:
            rest[n] = segment[REFRACTORY]


@inner
def integrator(width: int, segment: Any, state: Any) -> None:
    """LIF without a spike, which sends how much v has changed."""
    first, last = segment[FIRST] * width, segment[LAST] * width
    v, sent, shift = state.v[first:last], state.sent[first:last], i4(segment[STATE_EXP])
    for n in range(len(v)):
        sent[n] = i4(v[n] >> shift)
    _advance_u(first, last, segment, state)
    _advance_v(first, last, segment, state)
    for n in range(len(v)):
        sent[n] = i4(i4(v[n] >> shift) - sent[n])


@inner
def sigma_delta(width: int, segment: Any, state: Any) -> None:
    """Sigma-delta; u, v and rest hold sigma, act and the residue."""
    threshold, shift, code = i4(segment[VTH]), segment[STATE_EXP], segment[MODEL]
    for n in range(segment[FIRST] * width, segment[LAST] * width):
        sigma = i4(state.u[n] + state.current[n])
        act = i4(sigma + state.bias[n])
        if code & 2 == 0:
            act = max(act, i4(0))
        delta = i4(i4(act - state.v[n]) + state.rest[n])
        error = i4(state.error[n] + delta) if code & 4 else delta
        sent = delta if abs(error) >= threshold else i4(0)
        state.u[n] = sigma
        state.v[n] = act
        state.rest[n] = i4(delta - sent)
        state.error[n] = i4(0) if sent != 0 else error
        state.sent[n] = i4(sent >> shift)
