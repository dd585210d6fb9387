"""The engine's inner loops, compiled by numba; see `compiler.fixed` for the arithmetic."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from .tables import EXPONENT, FIRST_SOURCE, FIRST_TARGET, HOST, POINTER, RING, SLOTS, SOURCES, TARGETS, Flat


class State(NamedTuple):
    """One thread's state of one sample.

    ring: sums that have not arrived yet; constant: what a steady input sends in every step; current: a.
    """

    ring: Any
    constant: Any
    current: Any
    bias: Any
    u: Any
    v: Any
    spikes: Any


@njit(cache=True, nogil=True)
def _decay(value: Any, keep: Any) -> Any:
    product = value * keep
    return product >> 12 if product >= 0 else -((-product) >> 12)


@njit(cache=True, nogil=True)
def _send(net: Flat, row: Any, source: int, payload: int, step: int, ring: Any) -> None:
    """A spike walks the fan-out list of its source."""
    at = row[POINTER] + source - row[FIRST_SOURCE]
    slots, start, size = row[SLOTS], row[RING], row[TARGETS]
    if slots == 1:
        for k in range(net.indptr[at], net.indptr[at + 1]):
            ring[start + net.targets[k]] += np.int64(net.weights[k]) * payload
    else:
        for k in range(net.indptr[at], net.indptr[at + 1]):
            ring[start + (step + net.lags[k]) % slots * size + net.targets[k]] += np.int64(net.weights[k]) * payload


@njit(cache=True, nogil=True)
def _collect(row: Any, step: int, ring: Any, into: Any) -> None:
    """The sum that arrives in this step, shifted once, and the slot empty again."""
    exponent = row[EXPONENT]
    start = row[RING] + step % row[SLOTS] * row[TARGETS]
    for n in range(row[TARGETS]):
        value = ring[start + n]
        if value:
            into[row[FIRST_TARGET] + n] += value << exponent if exponent >= 0 else value >> -exponent
            ring[start + n] = 0


@njit(cache=True, nogil=True)
def _is_constant(net: Flat, row: Any, static: bool) -> bool:
    """Whether a row sends the same sum in every step of a sample."""
    return static and row[SLOTS] == 1 and row[FIRST_SOURCE] >= len(net.bias_mant)


@njit(cache=True, nogil=True)
def _send_inputs(net: Flat, values: Any, step: int, static: bool, constant: bool, ring: Any) -> None:
    """The values of all inputs along their constant rows, or along the others."""
    neurons = len(net.bias_mant)
    for p in range(len(net.constants), len(net.first) - 1):
        for r in net.leaving[net.leaving_start[p] : net.leaving_start[p + 1]]:
            if _is_constant(net, net.rows[r], static) == constant:
                for source in range(net.first[p], net.first[p + 1]):
                    payload = values[source - neurons]
                    if payload:
                        _send(net, net.rows[r], source, payload, step, ring)


@njit(cache=True, nogil=True)
def _begin(net: Flat, values: Any, static: bool, state: State) -> None:
    """Zero state, the biases with the host's part, and the sums of a steady input."""
    for array in (state.ring, state.constant, state.bias, state.u, state.v):
        array[:] = 0
    state.spikes[:] = 0
    neurons = len(net.bias_mant)
    for row in net.rows:
        if row[HOST]:
            state.current[:] = 0
            for i in range(row[SOURCES]):
                payload = values[row[FIRST_SOURCE] - neurons + i]
                if payload:
                    for k in range(net.indptr[row[POINTER] + i], net.indptr[row[POINTER] + i + 1]):
                        state.current[row[FIRST_TARGET] + net.targets[k]] += np.int64(net.weights[k]) * payload
            for n in range(row[FIRST_TARGET], row[FIRST_TARGET] + row[TARGETS]):
                state.bias[n] += state.current[n] >> -row[EXPONENT]
    for n in range(neurons):
        state.bias[n] = (state.bias[n] + net.bias_mant[n]) << net.bias_exp[n]
    _send_inputs(net, values, 0, static, True, state.ring)
    for row in net.rows:
        if not row[HOST] and _is_constant(net, row, static):
            _collect(row, 0, state.ring, state.constant)


@njit(cache=True, nogil=True)
def _update(net: Flat, p: int, step: int, state: State, active: Any) -> None:
    """One step of one population; `state.current` holds what arrives."""
    keep_u, keep_v, threshold = 4095 - net.constants[p, 0], 4096 - net.constants[p, 1], net.constants[p, 2] << 6
    leaving = net.leaving[net.leaving_start[p] : net.leaving_start[p + 1]]
    limit = (1 << 23) - 1
    for n in range(net.first[p], net.first[p + 1]):
        if state.current[n] | state.u[n] | state.v[n] | state.bias[n]:
            active[n] += 1
        u = _decay(state.u[n], keep_u) + (state.current[n] << 6)
        v = min(max(_decay(state.v[n], keep_v) + u + state.bias[n], -limit), limit)
        if v > threshold:
            v = 0
            state.spikes[n] += 1
            for r in leaving:
                _send(net, net.rows[r], n, 1, step, state.ring)
        state.u[n] = u
        state.v[n] = v


@njit(cache=True, nogil=True)
def run_samples(
    net: Flat,
    values: Any,
    low: int,
    high: int,
    steps: int,
    ring_size: int,
    outputs: Any,
    counts: Any,
    total: Any,
    trace: Any,
) -> None:
    """Samples low … high - 1.

    Args:
        net: the network.
        values: (samples, steps or 1, inputs) payloads; 1 step: the same in each.
        outputs: the neurons whose spikes are counted into `counts` (samples, outputs).
        total: (2, neurons) spikes and active updates are added here.
        trace: (3, samples, steps, neurons) spikes, u and v are written here, unless it has no samples.
    """
    neurons = len(net.bias_mant)
    static = values.shape[1] == 1
    state = State(
        np.zeros(ring_size, np.int64), np.zeros(neurons, np.int64), np.zeros(neurons, np.int64),
        np.zeros(neurons, np.int64), np.zeros(neurons, np.int64), np.zeros(neurons, np.int64),
        np.zeros(neurons, np.int32),
    )  # fmt: skip
    before = np.zeros(neurons, np.int32)
    for sample in range(low, high):
        _begin(net, values[sample, 0], static, state)
        for step in range(steps):
            row = values[sample, 0 if static else step]
            _send_inputs(net, row, step, static, False, state.ring)
            before[:] = state.spikes
            for p in range(len(net.constants)):
                for n in range(net.first[p], net.first[p + 1]):
                    state.current[n] = state.constant[n]
                for r in net.arriving[net.arriving_start[p] : net.arriving_start[p + 1]]:
                    if not _is_constant(net, net.rows[r], static):
                        _collect(net.rows[r], step, state.ring, state.current)
                _update(net, p, step, state, total[1])
            if trace.shape[1]:
                trace[0, sample, step] = state.spikes - before
                trace[1, sample, step] = state.u
                trace[2, sample, step] = state.v
        for i in range(len(outputs)):
            counts[sample, i] = state.spikes[outputs[i]]
        for n in range(neurons):
            total[0, n] += state.spikes[n]
