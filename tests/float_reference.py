"""A trained `Network` in float64, one step after the other, written from the text of the nodes alone.

All layers compute in the same step, as frameworks do; what closes a loop is heard one step later.
"""

from __future__ import annotations

import math

import numpy as np
from snn_compile.compiler import nodes as ir
from snn_compile.compiler.balance import window_offsets
from snn_compile.compiler.unroll import unroll


def simulate(network, inputs, order=None):
    """Per population (steps, size): spikes, or the membrane of a readout; `inputs` is (steps, …) of the only input.

    `order`: names of the populations in which they compute in one step; as the nodes stand where it is not given.
    """
    (source,) = (node for node in network.nodes if isinstance(node, ir.Input))
    populations = [node for node in network.nodes if isinstance(node, ir.Population)]
    if order is not None:
        populations = [network.by_name[name] for name in order]
    run = _Run(network, source, np.asarray(inputs, float).reshape(len(inputs), -1))
    run.all_steps(populations)
    return {p.name: np.array(run.sent[p.name]) for p in populations}


class _Run:
    def __init__(self, network, source, inputs):
        self.network, self.source, self.inputs = network, source, inputs
        self.sent = {node.name: [] for node in network.nodes}
        self.state = {}
        self.matrices = {}

    def all_steps(self, populations):
        for step in range(len(self.inputs)):
            for p in populations:
                x = sum(self.value(s, step) for s, t in self.network.edges if t == p.name)
                self.sent[p.name].append(self.neurons(p, x))

    def value(self, name, step):
        """(size,) what leaves a node in a step; of a population that has not computed yet, what it sent last."""
        node = self.network.by_name[name]
        if isinstance(node, ir.Input):
            return self.inputs[step]
        if isinstance(node, ir.Population):
            before = self.sent[name]
            return before[-1] if before else np.zeros(math.prod(self.network.shapes[name]))
        (before,) = (s for s, t in self.network.edges if t == name)
        if len(self.sent[name]) <= step:
            self.sent[name].append(self.layer(node, self.value(before, step), self.network.shapes[before], step))
        return self.sent[name][step]

    def layer(self, node, x, shape, step):
        if isinstance(node, (ir.Linear, ir.Conv2d)):
            if node.name not in self.matrices:
                self.matrices[node.name] = unroll(node, shape).matrix()
            out = self.matrices[node.name] @ x
            if node.bias is None:
                return out
            bias = node.bias if node.bias.size == out.size else np.repeat(node.bias, out.size // node.bias.size)
            return out + bias.ravel()
        if isinstance(node, (ir.BatchNorm, ir.Normalise, ir.Scale)):
            gain, shift = (np.repeat(a, x.size // len(a)) for a in node.affine())
            return gain * x + shift
        if isinstance(node, (ir.AvgPool2d, ir.MaxPool2d)):
            image, (_, rows, columns) = x.reshape(shape), node.output_shape(shape)
            how = np.mean if isinstance(node, ir.AvgPool2d) else np.max
            (ky, kx), (sy, sx) = node.kernel, node.stride
            return np.stack(
                [how(image[:, sy * r : sy * r + ky, sx * c : sx * c + kx], axis=(1, 2))
                 for r in range(rows) for c in range(columns)], axis=1
            ).ravel()  # fmt: skip
        if isinstance(node, ir.Delay):
            past = self.state.setdefault(node.name, [])
            past.append(x)
            late = np.broadcast_to(np.asarray(node.steps).ravel(), x.shape)
            return np.array([past[step - d][i] if d <= step else 0.0 for i, d in enumerate(late)])
        assert isinstance(node, (ir.Dropout, ir.Flatten))
        return x

    def neurons(self, p, x):
        def constant(key):
            return np.asarray(getattr(p, key), float).ravel()

        start = 0.0, np.zeros(x.size), np.zeros(x.size, int), np.zeros(x.size, bool)
        i, v, rest, fired = self.state.get(p.name, start)
        i = i * (1 - 1 / constant("tau_syn")) + x
        drive = constant("gain") * i + constant("bias")
        tau, threshold = constant("tau"), constant("threshold")
        new = v + (drive - v) / tau if p.decay_input else v * (1 - 1 / tau) + drive
        if p.reset_delay:
            new = np.where(fired, {"hard": 0.0, "soft": new - threshold, "none": new}[p.reset], new)
        if p.readout:
            self.state[p.name] = i, new, rest, fired
            return new
        new = np.where(rest > 0, v, new)
        fired = ((new >= threshold) if p.fires == ">=" else (new > threshold)) & (rest == 0)
        if not p.reset_delay:
            new = np.where(fired, {"hard": 0.0, "soft": new - threshold, "none": new}[p.reset], new)
        rest = np.where(fired, p.refractory, np.maximum(rest - 1, 0))
        self.state[p.name] = i, new, rest, fired
        return fired.astype(float)


def simulate_sparse(sparse, inputs):
    """The same of a balanced `SparseNetwork`, in local steps: a spike arrives as its delay and the windows say."""
    offsets = window_offsets(sparse)
    steps, (source,) = len(inputs), sparse.inputs
    sent = {source.name: list(np.asarray(inputs, float).reshape(steps, -1))}
    sent |= {p.name: [] for p in sparse.populations}
    zero = {p.name: np.zeros(p.size) for p in sparse.populations}
    u, v, rest = dict(zero), dict(zero), dict(zero)
    for clock in range(steps + max(offsets.values())):
        for p in sparse.populations:
            local = clock - offsets[p.name]
            if not 0 <= local < steps:
                continue
            a = np.zeros(p.size)
            for q in sparse.projections:
                lags = offsets[q.source] + 1 + q.synapses.delays.astype(int) - offsets[p.name]
                for lag in np.unique(lags) if q.target == p.name else ():
                    if local >= lag:
                        here = lags == lag
                        values = q.synapses.weights[here] * sent[q.source][local - lag][q.synapses.sources[here]]
                        a += np.bincount(q.synapses.targets[here], values, p.size)
            u[p.name] = p.keep_syn * u[p.name] + a
            new = p.keep * v[p.name] + u[p.name] + p.bias
            if p.node.readout:
                v[p.name] = new
                sent[p.name].append(new)
                continue
            new = np.where(rest[p.name] > 0, v[p.name], new)
            fired = ((new >= p.threshold) if p.node.fires == ">=" else (new > p.threshold)) & (rest[p.name] == 0)
            v[p.name] = np.where(fired, 0.0 if p.node.reset == "hard" else new - p.drop, new)
            rest[p.name] = np.where(fired, p.refractory, np.maximum(rest[p.name] - 1, 0))
            sent[p.name].append(fired.astype(float))
    return {p.name: np.array(sent[p.name]) for p in sparse.populations}
