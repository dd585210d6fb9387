"""A `Network` of integer neurons, one local step after the other, written from the text of `compiler.fixed` alone."""

from __future__ import annotations

import math

import numpy as np
from snn_compile.compiler.nodes import Conv2d, Delay, FixedNeurons, Input, Linear
from snn_compile.compiler.unroll import unroll


def tz(x, bits):
    return np.sign(x) * (np.abs(x) >> bits)


def simulate(network, values, given=None, want=None):
    """Per population (steps, size): what it sends; `values` (steps, …) is what the input sends.

    `given`: the spikes of some populations, (steps, …), which then do not compute; `values` may be None with it.
    `want`: the populations to compute; all where it is not given.
    """
    given = {
        name: np.asarray(spikes).reshape(len(spikes), -1).astype(np.int64) for name, spikes in (given or {}).items()
    }
    steps = len(values) if values is not None else len(next(iter(given.values())))
    run = _Run(network, steps, values, given)
    names = want or [node.name for node in network.nodes if isinstance(node, FixedNeurons)]
    return {name: run.sent(name) for name in names}


class _Run:
    def __init__(self, network, steps, values, given):
        self.network, self.steps = network, steps
        self.done = dict(given)
        for node in network.nodes:
            if isinstance(node, Input) and values is not None:
                self.done[node.name] = np.asarray(values).reshape(steps, -1).astype(np.int64)

    def sent(self, name):
        if name not in self.done:
            self.done[name] = self.compute(self.network.by_name[name])
        return self.done[name]

    def layer(self, node, x, shape):
        """(steps, size) behind a layer without neurons."""
        if isinstance(node, (Linear, Conv2d)):
            out = (unroll(node, shape).matrix() @ x.T).T
            assert (out == np.rint(out)).all()
            return out.astype(np.int64)
        if isinstance(node, Delay):
            late = np.broadcast_to(np.asarray(node.steps).ravel(), x.shape[1])
            moved = np.zeros_like(x)
            for i, d in enumerate(late):
                moved[d:, i] = x[: len(x) - d, i]
            return moved
        return x

    def value(self, name):
        if name in self.done:
            return self.done[name]
        node = self.network.by_name[name]
        if isinstance(node, FixedNeurons):
            return self.sent(name)
        (before,) = (s for s, t in self.network.edges if t == name)
        return self.layer(node, self.value(before), self.network.shapes[before])

    def bias(self, node):
        total = np.zeros(math.prod(self.network.shapes[node.name]), np.int64)
        for name in (s for s, t in self.network.edges if t == node.name):
            bias = getattr(self.network.by_name[name], "bias", None)
            if bias is not None:
                total += np.repeat(bias, total.size // bias.size).astype(np.int64)
        return total << node.bias_exp

    def compute(self, node):
        size = math.prod(self.network.shapes[node.name])
        before = [s for s, t in self.network.edges if t == node.name]
        loops = [s for s in before if (node.name, s) in self.network.edges]
        a = sum((self.value(s) for s in before if s not in loops), np.zeros((self.steps, size), np.int64))
        loop = [self.network.by_name[s].weight.astype(np.int64) for s in loops]
        state = [np.zeros(size, np.int64) for _ in range(3)]
        sent, bias = np.zeros((self.steps, size), np.int64), self.bias(node)
        for j in range(self.steps):
            drive = a[j] + sum(w @ sent[j - 1] for w in loop) if j else a[j]
            step = {"lif": lif, "sigma-delta": sigma_delta, "integrator": integrator}[node.model]
            sent[j], state = step(node, drive, bias, *state)
        return sent


def lif(p, a, bias, u, v, rest):
    u = tz(u * (4095 - p.du), 12) + (a << 6)
    new = np.clip(tz(v * (4096 - p.dv), 12) + u + bias, -(2**23 - 1), 2**23 - 1)
    s = (new > (p.vth << 6)) & (rest == 0)
    v = np.where(rest > 0, v, np.where(s, 0, new))
    return s, [u, v, np.where(s, p.refractory, np.maximum(rest - 1, 0))]


def integrator(p, a, bias, u, v, _):
    u = tz(u * (4095 - p.du), 12) + (a << 6)
    new = np.clip(tz(v * (4096 - p.dv), 12) + u + bias, -(2**23 - 1), 2**23 - 1)
    return (new >> p.state_exp) - (v >> p.state_exp), [u, new, _]


def sigma_delta(p, a, bias, sigma, act, residue):
    sigma = sigma + a
    new = sigma + bias if p.activation == "identity" else np.maximum(sigma + bias, 0)
    delta = new - act + residue
    sent = np.where(np.abs(delta) >= p.vth, delta, 0)
    return sent >> p.state_exp, [sigma, new, delta - sent]
