"""The engine's inner loops, compiled by numba; see `compiler.fixed` for the arithmetic.

A sample runs on the chip's clock: what is sent in step t arrives in step t + 1 + delay. All state is int32: the proof
in `compiler.overflow` says that it fits. Loops over neurons read and write at most three arrays each, so that the
compiler can tell them apart and compute eight neurons at a time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from .neurons_kernel import integrate, sigma_delta
from .tables import CORE, FIRST, LAST, MODEL, OFFSET, POPULATION, Flat

SYNOPS, PACKETS, ACTIVE = range(3)
"""Columns of the load of a core in a step: synaptic operations, packets sent, neurons with something to do."""


class State(NamedTuple):
    """One thread's state of one sample.

    sums: (slots * cells,) what arrives, by step; constant: what steady inputs send in every step; current: a; u, v: or
    sigma and act; rest: steps that v still rests, or the residue; error: of sigma-delta neurons; sent: payloads of this
    step; fired: whether there is one, in words of eight neurons; output: payloads of the sample, per neuron.
    """

    sums: Any
    constant: Any
    current: Any
    bias: Any
    u: Any
    v: Any
    rest: Any
    error: Any
    sent: Any
    fired: Any
    output: Any


@njit(cache=True, nogil=True)
def new_state(neurons: int, cells: int, slots: int) -> State:
    """All zero."""
    padded = (neurons + 7) // 8 * 8
    return State(
        np.zeros(slots * cells, np.int32), np.zeros(neurons, np.int32), np.zeros(neurons, np.int32),
        np.zeros(neurons, np.int32), np.zeros(neurons, np.int32), np.zeros(neurons, np.int32),
        np.zeros(neurons, np.int32), np.zeros(neurons, np.int32), np.zeros(neurons, np.int32),
        np.zeros(padded, np.uint8), np.zeros(neurons, np.int32),
    )  # fmt: skip


@njit(cache=True, nogil=True)
def _deliver(sums: Any, cells: Any, weights: Any, payload: Any) -> None:
    if payload == 1:
        for k in range(len(cells)):
            sums[cells[k]] += weights[k]
    else:
        for k in range(len(cells)):
            sums[cells[k]] += weights[k] * payload


@njit(cache=True, nogil=True)
def _send(net: Flat, source: int, payload: Any, step: int, cells: int, slots: int, sums: Any, load: Any) -> None:
    """Every packet of a source delivers its list to what arrives in `step`, or as much later as each synapse says."""
    for packet in range(net.out_start[source], net.out_start[source + 1]):
        row = net.out_list[packet]
        first, last = net.list_start[row], net.list_start[row + 1]
        if len(load):
            load[net.list_core[row], SYNOPS] += last - first
        if len(net.delays) == 0:
            into = sums[step % slots * cells + net.out_cell[packet] :]
            _deliver(into, net.cells[first:last], net.weights[first:last], payload)
        else:
            for k in range(first, last):
                slot = (step + net.delays[k]) % slots
                sums[slot * cells + net.out_cell[packet] + net.cells[k]] += net.weights[k] * payload


@njit(cache=True, nogil=True)
def _collect(net: Flat, segment: int, sums: Any, into: Any) -> None:
    """Adds what has arrived at a segment, shifted, and empties its sums."""
    first, last = net.segments[segment, FIRST], net.segments[segment, LAST]
    current = into[first:last]
    for lane in range(net.lane_start[segment], net.lane_start[segment + 1]):
        begin, shift = net.lanes[lane]
        arrived = sums[begin : begin + last - first]
        for n in range(len(current)):
            current[n] += arrived[n] >> shift
        arrived[:] = 0


@njit(cache=True, nogil=True)
def _begin(net: Flat, values: Any, steady: Any, cells: int, slots: int, state: State, constant_load: Any) -> None:
    """Zero state, the biases with the host's part, and the sums of steady inputs."""
    for array in (state.sums, state.constant, state.bias, state.u, state.v, state.rest, state.error, state.output):
        array[:] = 0
    constant_load[:] = 0
    neurons = len(net.bias_mant)
    for row in net.hosts:
        first, size, start, population, shift = row
        wide = np.zeros(neurons, np.int64)
        for i in range(size):
            payload = values[first + i]
            if payload:
                for k in range(net.host_start[start + i], net.host_start[start + i + 1]):
                    wide[net.host_target[k]] += np.int64(net.host_weight[k]) * payload
        for segment in net.segments:
            if segment[POPULATION] == population:
                for n in range(segment[FIRST], segment[LAST]):
                    state.bias[n] += wide[n] >> shift
    for n in range(neurons):
        state.bias[n] = (state.bias[n] + net.bias_mant[n]) << net.bias_exp[n]
    any_steady = False
    for i in range(len(values)):
        if steady[i] and values[i]:
            any_steady = True
            _send(net, neurons + i, values[i], 0, cells, slots, state.sums, constant_load)
    if any_steady:
        for segment in range(len(net.segments)):
            _collect(net, segment, state.sums[:cells], state.constant)


@njit(cache=True, nogil=True)
def _emit(
    net: Flat, step: int, cells: int, slots: int, core_first: Any, state: State, load: Any, next_load: Any, spikes: Any
) -> None:
    """Sends what this step's spikes carry, and forgets them."""
    words = state.fired.view(np.uint64)
    core = 0
    for word in range(len(words)):
        if words[word] == 0:
            continue
        for n in range(8 * word, 8 * word + 8):
            if state.fired[n]:
                payload = state.sent[n]
                spikes[n] += 1
                state.output[n] += payload
                if len(load):
                    while n >= core_first[core + 1]:
                        core += 1
                    load[core, PACKETS] += net.out_start[n + 1] - net.out_start[n]
                _send(net, n, payload, step + 1, cells, slots, state.sums, next_load)
        words[word] = 0


@njit(cache=True, nogil=True)
def run_samples(
    net: Flat,
    steps: int,
    span: int,
    cells: int,
    slots: int,
    core_first: Any,
    values: Any,
    steady: Any,
    low: int,
    high: int,
    outputs: Any,
    counts: Any,
    spikes: Any,
    active: Any,
    load: Any,
    columns: Any,
    trace: Any,
) -> None:  # pragma: no cover – compiled
    """Samples low … high - 1.

    Args:
        net: the tables.
        steps, span: T, and the largest offset.
        cells, slots, core_first: as in `Tables`.
        values: (samples, steps or 1, inputs) payloads; 1 step: the same in each.
        steady: (inputs,) whether a source's payload is the same in every step, and arrives without a lag.
        outputs: the neurons whose payloads are summed into `counts` (samples, outputs).
        spikes, active: (neurons,) spikes and (cores,) updates with something to do are added here.
        load: (samples, steps + span + 1, cores, 3) of each chip step, from the first window's begin; or no samples.
        columns: (segments,) where a segment stands in `trace`, or -1.
        trace: (3, samples, steps, columns) payloads, u and v, or no samples.
    """
    neurons = len(net.bias_mant)
    state = new_state(neurons, cells, slots)
    cores = len(core_first) - 1
    counting = load.shape[0] > 0
    constant_load = np.zeros((cores if counting else 0, 3), np.int32)
    nothing = constant_load[:0]
    dynamic = not steady.all()
    state.sent[:] = 1
    for sample in range(low, high):
        _begin(net, values[sample, 0], steady, cells, slots, state, constant_load)
        for step in range(steps + span):
            now = load[sample, step] if counting else nothing
            later = load[sample, step + 1] if counting else nothing
            if step < steps:
                row = values[sample, min(step, values.shape[1] - 1)]
                for i in range(len(row) if dynamic else 0):
                    if row[i] and not steady[i]:
                        _send(net, neurons + i, row[i], step, cells, slots, state.sums, now)
                now += constant_load
            arrived = state.sums[step % slots * cells : (step % slots + 1) * cells]
            for segment in range(len(net.segments)):
                first, last = net.segments[segment, FIRST], net.segments[segment, LAST]
                local = step - net.segments[segment, OFFSET]
                if local < 0 or local >= steps:
                    continue
                state.current[first:last] = state.constant[first:last]
                _collect(net, segment, arrived, state.current)
                if net.segments[segment, MODEL] & 1:
                    busy = sigma_delta(net.segments[segment], state)
                else:
                    busy = integrate(net.segments[segment], state)
                active[net.segments[segment, CORE]] += busy
                if counting:
                    now[net.segments[segment, CORE], ACTIVE] += busy
                if columns[segment] >= 0:
                    at = columns[segment]
                    for n in range(first, last):
                        trace[0, sample, local, at + n - first] = state.sent[n] if state.fired[n] else 0
                        trace[1, sample, local, at + n - first] = state.u[n]
                        trace[2, sample, local, at + n - first] = state.v[n]
            _emit(net, step, cells, slots, core_first, state, now, later, spikes)
        for i in range(len(outputs)):
            counts[sample, i] = state.output[outputs[i]]
