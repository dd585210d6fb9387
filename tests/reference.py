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
    state = {p.name: [np.zeros(p.size, np.int64) for _ in range(4)] for p in network.populations}
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
            step = {"sigma-delta": sigma_delta, "integrator": integrator, "lif": lif}[p.model]
            s, state[p.name] = step(p, a, bias[p.name] << p.bias_exp, *state[p.name])
            for k, array in enumerate((s, *state[p.name][:2])):
                record[p.name][k][j] = array
    return record


def decayed(p, a, bias, u, v):
    u = tz(u * (4095 - p.du.astype(np.int64)), 12) + (a << 6)
    return u, np.clip(tz(v * (4096 - p.dv.astype(np.int64)), 12) + u + bias, -(2**23 - 1), 2**23 - 1)


def integrator(p, a, bias, u, v, *_):
    u, new = decayed(p, a, bias, u, v)
    return (new >> p.state_exp) - (v >> p.state_exp), [u, new, *_]


def lif(p, a, bias, u, v, rest, _):
    u, new = decayed(p, a, bias, u, v)
    s = (new > (p.vth << 6)) & (rest == 0)
    after = new - p.drop if p.reset == "subtract" else np.zeros_like(new)
    v = np.where(rest > 0, v, np.where(s, after, new))
    rest = np.where(s, p.refractory, np.maximum(rest - 1, 0))
    return s, [u, v, rest, _]


def sigma_delta(p, a, bias, sigma, act, residue, error):
    sigma = sigma + a
    new = sigma + bias if p.activation == "identity" else np.maximum(sigma + bias, 0)
    delta = new - act + residue
    error = error + delta if p.cumulative else delta
    sent = np.where(np.abs(error) >= p.vth, delta, 0)
    error = np.where(sent != 0, 0, error)
    return sent >> p.state_exp, [sigma, new, delta - sent, error]
