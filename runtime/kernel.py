"""The engine's inner loops, compiled by numba; see `compiler.fixed` for the arithmetic.

Several samples run side by side, one per lane (see `lanes`), on the chip's clock: what is sent in step t arrives in
step t + 1 + delay. A source is silent, and costs nothing, where it sends in none of the lanes. All state is int32: the
proof in `compiler.overflow` says that it fits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from .compiled import inlined, inner
from .lanes import add_busy, add_scaled, add_totals, add_where, any_lane
from .neurons_kernel import integrate, integrator, sigma_delta
from .state import ACTIVE, PACKETS, State, clear, load_values, write_counts, write_load, write_total, write_trace
from .tables import (
    ALWAYS,
    CORE,
    FIRST,
    GOAL,
    GRADED,
    INTEGRATOR,
    LAST,
    MODEL,
    OFFSET,
    POPULATION,
    SIGMA_DELTA,
    Flat,
)


@inlined
def _send(
    lanes: Any, source: int, sent: Any, start: int, step: int, cells: int, slots: int, sums: Any, load: Any,
    counting: bool, out_start: Any, out_list: Any, out_cell: Any, list_start: Any, list_core: Any, into: Any,
    weights: Any, delays: Any,
) -> None:  # fmt: skip
    """Every packet of a source delivers its list to what arrives in `step`, or as much later as each synapse says.

    Callers take the arrays out of `Flat` once: to pass them all in a tuple costs more than to deliver a short list.
    """
    width = len(lanes)
    for packet in range(out_start[source], out_start[source + 1]):
        row = out_list[packet]
        first, last = list_start[row], list_start[row + 1]
        if counting:
            add_where(lanes, load, list_core[row] * width, np.int32(last - first), sent, start)
        if len(delays):
            for k in range(first, last):
                cell = (step + delays[k]) % slots * cells + out_cell[packet] + into[k]
                add_scaled(lanes, sums, cell * width, np.int32(weights[k]), sent, start)
        else:
            base = step % slots * cells + out_cell[packet]
            for k in range(first, last):
                add_scaled(lanes, sums, (base + into[k]) * width, np.int32(weights[k]), sent, start)


@inner
def _send_inputs(
    lanes: Any, net: Flat, values: Any, steady: Any, which: bool, step: int, cells: int, slots: int, sums: Any,
    load: Any, counting: bool,
) -> bool:  # fmt: skip
    """Sends the payloads of those inputs that are steady, or of those that are not; returns whether there were any."""
    out_start, out_list, out_cell, list_start = net.out_start, net.out_list, net.out_cell, net.list_start
    list_core, into, weights, delays = net.list_core, net.cells, net.weights, net.delays
    width, neurons, found = len(lanes), len(net.bias_mant), False
    for i in range(len(steady)):
        if steady[i] == which and any_lane(lanes, values, i * width):
            found = True
            _send(
                lanes, neurons + i, values, i * width, step, cells, slots, sums, load, counting, out_start, out_list,
                out_cell, list_start, list_core, into, weights, delays,
            )  # fmt: skip
    return found


@inner
def _emit(
    lanes: Any, net: Flat, segment: Any, step: int, cells: int, slots: int, state: State, load: Any, counting: bool
) -> None:
    """Sends what a segment's neurons send in this step; `load`: of the next one, when it arrives."""
    out_start, out_list, out_cell, list_start = net.out_start, net.out_list, net.out_cell, net.list_start
    list_core, into, weights, delays = net.list_core, net.cells, net.weights, net.delays
    sent, spikes, paid, sums = state.sent, state.spikes, state.paid, state.sums
    width, graded, each = len(lanes), segment[MODEL] & GRADED, counting
    if counting:
        cores = len(state.steady) // (3 * width)
        packets = ((step & 1) * 3 * cores + PACKETS * cores + segment[CORE]) * width
        each = segment[GOAL] < 0
        goal, synops = (segment[CORE], net.nothing) if each else (segment[GOAL], net.fan_out)
        add_totals(
            lanes, state.load, packets, net.packets, load, goal * width, synops, sent, segment[FIRST], segment[LAST]
        )  # fmt: skip
    for n in range(segment[FIRST], segment[LAST]):
        start = n * width
        if any_lane(lanes, sent, start):
            add_where(lanes, spikes, start, np.int32(1), sent, start)
            if graded:
                add_scaled(lanes, paid, start, np.int32(1), sent, start)
            _send(
                lanes, n, sent, start, step + 1, cells, slots, sums, load, each, out_start, out_list, out_cell,
                list_start, list_core, into, weights, delays,
            )  # fmt: skip


@inner
def _collect(lanes: Any, net: Flat, row: int, arrived: Any, constant: Any, current: Any) -> None:
    """What a segment receives in this step: steady sums, and what has arrived, shifted; `arrived` is empty after it."""
    width = len(lanes)
    first, last = net.segments[row, FIRST] * width, net.segments[row, LAST] * width
    into, steady = current[first:last], constant[first:last]
    for n in range(len(into)):
        into[n] = steady[n]
    for lane in range(net.lane_start[row], net.lane_start[row + 1]):
        begin, shift = net.lanes[lane]
        sums = arrived[begin * width : begin * width + last - first]
        for n in range(len(into)):
            into[n] += sums[n] >> shift
        clear(sums)


@inner
def _hosts(lanes: Any, net: Flat, state: State) -> None:
    """Adds what the host computes to the biases' mantissas."""
    width = len(lanes)
    for host in net.hosts:
        first, size, start, population, shift = host
        clear(state.current)
        for i in range(size):
            if any_lane(lanes, state.values, (first + i) * width):
                for k in range(net.host_start[start + i], net.host_start[start + i + 1]):
                    goal = net.host_target[k] * width
                    add_scaled(
                        lanes, state.current, goal, np.int32(net.host_weight[k]), state.values, (first + i) * width
                    )
        for segment in net.segments:
            if segment[POPULATION] == population:
                for n in range(segment[FIRST] * width, segment[LAST] * width):
                    state.bias[n] += state.current[n] >> shift


@inner
def _bias(lanes: Any, net: Flat, state: State) -> None:
    """The biases, with what the host adds to them."""
    width = len(lanes)
    clear(state.bias)
    _hosts(lanes, net, state)
    for n in range(len(net.bias_mant)):
        for lane in range(n * width, n * width + width):
            state.bias[lane] = (state.bias[lane] + net.bias_mant[n]) << net.bias_exp[n]


@inner
def _begin(
    lanes: Any, net: Flat, steady: Any, cells: int, slots: int, state: State, counting: bool, first: bool
) -> None:
    """Zero state, the biases with the host's part, and the sums of steady inputs; `first`: of a thread's samples."""
    for array in (
        state.sums, state.constant, state.u, state.v, state.rest, state.error, state.spikes, state.paid,
        state.load, state.steady,
    ):  # fmt: skip
        clear(array)
    if first or len(net.hosts):
        _bias(lanes, net, state)
    if _send_inputs(lanes, net, state.values, steady, True, 0, cells, slots, state.sums, state.steady, counting):
        for row in range(len(net.segments)):
            _collect(lanes, net, row, state.sums, state.constant, state.current)
        for n in range(len(state.current)):
            state.constant[n] = state.current[n]


@inner
def _step(
    lanes: Any, net: Flat, step: int, steps: int, cells: int, slots: int, cores: int, state: State, counting: bool
) -> None:
    """One step of every population whose window it lies in."""
    width = len(lanes)
    arrived = state.sums[step % slots * cells * width : (step % slots + 1) * cells * width]
    size = 3 * cores * width
    now = state.load[(step & 1) * size : (step & 1) * size + size]
    later = state.load[(~step & 1) * size : (~step & 1) * size + size]
    for row in range(len(net.segments)):
        segment = net.segments[row]
        local = step - segment[OFFSET]
        if local < 0 or local >= steps:
            continue
        _collect(lanes, net, row, arrived, state.constant, state.current)
        if counting:
            core = (ACTIVE * cores + segment[CORE]) * width
            if segment[ALWAYS]:
                for lane in range(width):
                    now[core + lane] += segment[LAST] - segment[FIRST]
            else:
                add_busy(
                    lanes, now, core, state.current, state.u, state.v, state.bias, segment[FIRST], segment[LAST]
                )  # fmt: skip
        if segment[MODEL] & SIGMA_DELTA:
            sigma_delta(width, segment, state)
        elif segment[MODEL] & INTEGRATOR:
            integrator(width, segment, state)
        else:
            integrate(width, segment, state)
        _emit(lanes, net, segment, step, cells, slots, state, later, counting)


@njit(cache=True, nogil=True)
def run_samples(
    lanes: Any, net: Flat, state: State, steps: int, span: int, cells: int, slots: int, cores: int, values: Any,
    steady: Any, low: int, high: int, outputs: Any, graded: Any, counts: Any, spikes: Any, load: Any, columns: Any,
    trace: Any,
) -> None:  # pragma: no cover – compiled  # fmt: skip
    """Samples low … high - 1.

    Args:
        lanes: a tuple; so many samples run side by side.
        net: the tables.
        state: of `new_state`; what it holds does not matter.
        steps, span: T, and the largest offset.
        cells, slots, cores: as in `Tables`.
        values: (samples, steps or 1, inputs) payloads; 1 step: the same in each.
        steady: (inputs,) whether a source's payload is the same in every step, and arrives without a lag.
        outputs: the neurons that are counted into `counts` (samples, outputs); where they are `graded`, their payloads.
        spikes: (sources,) packets sent off are added here, those of inputs too.
        load: (samples, steps + span + 1, cores, kinds) of each chip step, from the first window's begin; or no samples.
        columns: (segments,) where a segment stands in `trace`, or -1.
        trace: (3, samples, steps, columns) payloads, u and v, or no samples.
    """
    width, counting, dynamic, static = len(lanes), load.shape[0] > 0, not steady.all(), values.shape[1] == 1
    neurons, inputs = len(net.bias_mant), len(steady)
    cores = cores if counting else 0
    clear(state.total)
    for first in range(low, high, width):
        used = min(width, high - first)
        load_values(lanes, values, first, used, 0, state.values)
        _begin(lanes, net, steady, cells, slots, state, counting, first == low)
        for step in range(steps + span):
            size = 3 * cores * width
            now = state.load[(step & 1) * size : (step & 1) * size + size]
            if step < steps:
                if not static and step > 0:
                    load_values(lanes, values, first, used, step, state.values)
                if dynamic:
                    _send_inputs(lanes, net, state.values, steady, False, step, cells, slots, state.sums, now, counting)
                for n in range(len(now)):
                    now[n] += state.steady[n]
                for i in range(inputs if not static or step == 0 else 0):
                    times = np.int32(steps if static else 1)
                    add_where(lanes, state.total, (neurons + i) * width, times, state.values, i * width)
            _step(lanes, net, step, steps, cells, slots, cores, state, counting)
            if counting:
                write_load(lanes, step, cores, state, used, first, load)
            if trace.shape[1]:
                write_trace(lanes, net, step, steps, state, used, first, columns, trace)
        if counting:
            write_load(lanes, steps + span, cores, state, used, first, load)
        write_counts(lanes, used, first, state, outputs, graded, counts)
    write_total(lanes, state, spikes)
