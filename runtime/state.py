"""The state of the samples that a thread has in its lanes: what goes into it, and what is written out of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from .compiled import inner
from .tables import DROP, FIRST, GRADED, KEEP_U, KEEP_V, LAST, MODEL, OFFSET, REFRACTORY, SIGMA_DELTA, VARIED, Flat

SYNOPS, PACKETS, ACTIVE = range(3)
"""Kinds of a core's load in a step: synaptic operations, packets sent, neurons with something to do."""


BLOCK = 16
"""Inputs that are brought into the lanes at a time."""


class State(NamedTuple):
    """One thread's state of the samples that it has in its lanes; every array is of so many numbers times lanes.

    Attributes:
        sums: (slots * cells) what arrives, by step.
        constant: what steady inputs send in every step.
        current: a.
        bias: as it is added to v.
        u, v: or sigma and act.
        rest: steps that v still rests, or the residue.
        error: of sigma-delta neurons.
        sent: payloads of this step.
        values: those of the inputs.
        spikes: of each neuron.
        paid: sums of payloads of sigma-delta neurons and integrators.
        load: (2, kinds * cores) of this step and the next.
        steady: (kinds * cores) of steady inputs.
        total: spikes of each source over all samples of a call, inputs too.
        keep_u, keep_v, drop: those of the tables in every lane, where a segment's neurons differ in them.
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
    values: Any
    spikes: Any
    paid: Any
    load: Any
    steady: Any
    total: Any
    keep_u: Any
    keep_v: Any
    drop: Any


@inner
def clear(array: Any) -> None:
    for n in range(len(array)):
        array[n] = 0


@inner
def _varied(width: int, net: Flat, column: int, keep: Any) -> Any:
    """A constant of each neuron in every lane, or nothing where all segments are uniform in it."""
    needed = False
    for segment in net.segments:
        needed |= segment[column] == VARIED
    lanes = np.zeros(len(keep) * width if needed else 0, np.int32)
    for n in range(len(lanes)):
        lanes[n] = keep[n // width]
    return lanes


@njit(cache=True, nogil=True)
def new_state(lanes: Any, net: Flat, inputs: int, cells: int, slots: int, cores: int) -> State:
    """All zero but the constants; arrays that no neuron needs are empty. `cores`: 0 where loads are not counted."""
    width, neurons = len(lanes), len(net.bias_mant)
    graded = resting = sigma_delta = 0
    for segment in net.segments:
        graded = max(graded, segment[MODEL] & GRADED)
        sigma_delta = max(sigma_delta, segment[MODEL] & SIGMA_DELTA)
        resting = max(resting, segment[REFRACTORY], segment[MODEL] & SIGMA_DELTA)
    rest, error, paid = neurons if resting else 0, neurons if sigma_delta else 0, neurons if graded else 0
    keep_u, keep_v = _varied(width, net, KEEP_U, net.keep_u), _varied(width, net, KEEP_V, net.keep_v)
    sizes = (
        slots * cells, neurons, neurons, neurons, neurons, neurons, rest, error, neurons, inputs, neurons, paid,
        6 * cores, 3 * cores, neurons + inputs,
    )  # fmt: skip
    return State(
        np.zeros(sizes[0] * width, np.int32), np.zeros(sizes[1] * width, np.int32),
        np.zeros(sizes[2] * width, np.int32), np.zeros(sizes[3] * width, np.int32),
        np.zeros(sizes[4] * width, np.int32), np.zeros(sizes[5] * width, np.int32),
        np.zeros(sizes[6] * width, np.int32), np.zeros(sizes[7] * width, np.int32),
        np.zeros(sizes[8] * width, np.int32), np.zeros(sizes[9] * width, np.int32),
        np.zeros(sizes[10] * width, np.int32), np.zeros(sizes[11] * width, np.int32),
        np.zeros(sizes[12] * width, np.int32), np.zeros(sizes[13] * width, np.int32),
        np.zeros(sizes[14] * width, np.int32), keep_u, keep_v, _varied(width, net, DROP, net.drop),
    )  # fmt: skip


@inner
def load_values(lanes: Any, values: Any, low: int, used: int, step: int, into: Any) -> None:
    """The inputs of the samples from `low` on into the lanes; unused lanes are 0."""
    width = len(lanes)
    if used < width:
        clear(into)
    inputs = values.shape[2]
    for begin in range(0, inputs, BLOCK):  # a block of lanes stays in the cache until it is full
        end = min(begin + BLOCK, inputs)
        for lane in range(used):
            row = values[low + lane, step]
            for i in range(begin, end):
                into[i * width + lane] = row[i]


@inner
def write_load(lanes: Any, step: int, cores: int, state: State, used: int, low: int, load: Any) -> None:
    """A step's load of each core and sample, and zero for the step after the next."""
    width = len(lanes)
    size = 3 * cores * width
    now = state.load[(step & 1) * size : (step & 1) * size + size]
    for core in range(cores):
        for kind in range(3):
            at = (kind * cores + core) * width
            for lane in range(used):
                load[low + lane, step, core, kind] = now[at + lane]
    clear(now)


@inner
def write_trace(
    lanes: Any, net: Flat, step: int, steps: int, state: State, used: int, low: int, columns: Any, trace: Any
) -> None:
    width = len(lanes)
    for row in range(len(net.segments)):
        local = step - net.segments[row, OFFSET]
        if columns[row] < 0 or local < 0 or local >= steps:
            continue
        first, last = net.segments[row, FIRST], net.segments[row, LAST]
        for n in range(first, last):
            at = columns[row] + n - first
            for lane in range(used):
                trace[0, low + lane, local, at] = state.sent[n * width + lane]
                trace[1, low + lane, local, at] = state.u[n * width + lane]
                trace[2, low + lane, local, at] = state.v[n * width + lane]


@inner
def write_counts(lanes: Any, used: int, low: int, state: State, outputs: Any, graded: Any, counts: Any) -> None:
    """What the output neurons of the samples have sent; the spikes of all neurons go into the total."""
    width = len(lanes)
    for lane in range(used):
        for i in range(len(outputs)):
            at = outputs[i] * width + lane
            counts[low + lane, i] = state.paid[at] if graded[i] else state.spikes[at]
    spikes, total = state.spikes, state.total
    for n in range(used, len(spikes) if used < width else 0, width):
        for lane in range(width - used):
            spikes[n + lane] = 0
    for n in range(len(spikes)):
        total[n] += spikes[n]


@inner
def write_total(lanes: Any, state: State, spikes: Any) -> None:
    """Adds the total of all lanes to `spikes`, (sources,)."""
    width = len(lanes)
    for source in range(len(spikes)):
        for lane in range(width):
            spikes[source] += state.total[source * width + lane]
