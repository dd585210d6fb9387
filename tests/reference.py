"""The plain reference: dense NumPy, one step of chip time after the other, written from the equations alone.

It runs on the chip's clock (not in local steps, as the engine does): step t of the clock is local step t - offset.
"""

from __future__ import annotations

import numpy as np
from snn_compile.compiler.fixed import FixedNetwork
from snn_compile.runtime.encoding import payloads


def tz(x, bits):
    return np.sign(x) * (np.abs(x) >> bits)


def shift(x, exponent):
    return x << exponent if exponent >= 0 else x >> -exponent


def simulate(network: FixedNetwork, samples) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Per population (spikes, u, v), each (samples, steps, size)."""
    (source,) = network.inputs
    values = payloads(np.asarray(samples), source, network.steps).astype(np.int64)
    runs = [_one(network, source, value) for value in values]
    return {p.name: tuple(np.stack([run[p.name][k] for run in runs]) for k in range(3)) for p in network.populations}


def _one(network, source, value):
    steps = network.steps
    state = {p.name: [np.zeros(p.size, np.int64) for _ in range(2)] for p in network.populations}
    record = {p.name: [np.zeros((steps, p.size), np.int64) for _ in range(3)] for p in network.populations}
    sent = {source.name: np.broadcast_to(value, (steps, source.size)) if value.ndim == 1 else value}
    sent |= {p.name: record[p.name][0] for p in network.populations}
    offsets = {source.name: -1} | {p.name: p.offset for p in network.populations}
    bias = {p.name: p.bias_mant.astype(np.int64) for p in network.populations}
    matrices = {}
    for q in network.projections:
        s = q.synapses
        if q.host:
            dense = np.zeros((s.n_target, s.n_source), np.int64)
            dense[s.targets, s.sources] = s.weights
            bias[q.target] = bias[q.target] + (dense @ value >> -q.exponent)
        for delay in np.unique(s.delays):
            dense = np.zeros((s.n_target, s.n_source), np.int64)
            here = s.delays == delay
            dense[s.targets[here], s.sources[here]] = s.weights[here]
            matrices[q.source, q.target, int(delay)] = (dense, q)
    for t in range(steps + max(offsets.values())):
        for p in network.populations:
            j = t - p.offset
            if not 0 <= j < steps:
                continue
            a = np.zeros(p.size, np.int64)
            for (name, target, delay), (dense, q) in matrices.items():
                emitted = t - 1 - delay - offsets[name]
                if target == p.name and not q.host and 0 <= emitted < steps:
                    a += shift(dense @ sent[name][emitted], q.exponent)
            u, v = state[p.name]
            u = tz(u * (4095 - p.du), 12) + (a << 6)
            v = tz(v * (4096 - p.dv), 12) + u + (bias[p.name] << p.bias_exp)
            v = np.clip(v, -(2**23 - 1), 2**23 - 1)
            s = v > (p.vth << 6)
            v = np.where(s, 0, v)
            state[p.name] = [u, v]
            for k, array in enumerate((s, u, v)):
                record[p.name][k][j] = array
    return record
