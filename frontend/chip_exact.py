"""The chip's integer arithmetic in PyTorch, to evaluate with while training: the text of `compiler.fixed`.

All tensors are int64, many samples at once; nothing is rounded except where the contract shifts. Within a local step
the populations are computed in the order of their offsets: a spike that arrives in the local step of its origin (lag 0)
comes from a population with a smaller offset.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..compiler.fixed import FRACTION_BITS, U_LIMIT, FixedNetwork, FixedPopulation, FixedProjection
from ..errors import DataError
from ..runtime.encoding import payloads
from ..runtime.result import Activity, RunResult, Trace, count_synops

Samples = NDArray[Any]
CHUNK = 2**22
"""Samples × synapses that are computed at once."""


def _shift_toward_zero(x: Tensor, bits: int) -> Tensor:
    """``sign(x) (|x| >> bits)``."""
    return torch.sign(x) * (x.abs() >> bits)


def _shift(x: Tensor, exponent: int) -> Tensor:
    """``x << exponent``, or the floor ``x >> -exponent``."""
    return x << exponent if exponent >= 0 else x >> -exponent


@dataclass(frozen=True)
class _Bundle:
    """The synapses of one projection that have one lag: what is shifted together (a host projection: all)."""

    lag: int
    sources: Tensor
    targets: Tensor
    weights: Tensor


def _bundles(network: FixedNetwork, projection: FixedProjection) -> list[_Bundle]:
    synapses = projection.synapses
    lags = np.zeros(len(synapses), np.int64) if projection.host else network.lags(projection)
    result = []
    for lag in np.unique(lags):
        chosen = lags == lag
        parts = (synapses.sources[chosen], synapses.targets[chosen], synapses.weights[chosen])
        result.append(_Bundle(int(lag), *(torch.from_numpy(part.astype(np.int64)) for part in parts)))
    return result


def _send(bundle: _Bundle, spikes: Tensor, size: int) -> Tensor:
    """(batch, size) sums of weight * payload from (batch, sources) payloads."""
    total = torch.zeros(len(spikes), size, dtype=torch.int64)
    return total.index_add_(1, bundle.targets, spikes[:, bundle.sources] * bundle.weights)


def _decayed(p: FixedPopulation, a: Tensor, bias: Tensor, state: list[Tensor]) -> tuple[Tensor, Tensor]:
    """(u, v) after a step of a LIF neuron or integrator, before a spike."""
    keep_u, keep_v = (torch.from_numpy(full - x.astype(np.int64)) for full, x in ((4095, p.du), (4096, p.dv)))
    u = _shift_toward_zero(state[0] * keep_u, 12) + (a << FRACTION_BITS)
    return u, (_shift_toward_zero(state[1] * keep_v, 12) + u + bias).clamp(1 - U_LIMIT, U_LIMIT - 1)


def _lif(p: FixedPopulation, a: Tensor, bias: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """(spikes, state) of one step; the state is u, v, steps that v still rests, unused."""
    _, v, rest, unused = state
    u, new = _decayed(p, a, bias, state)
    awake = rest == 0
    spikes = (new > p.vth << FRACTION_BITS) & awake
    after = new - p.drop if p.reset == "subtract" else torch.zeros_like(new)
    v = torch.where(awake, torch.where(spikes, after, new), v)
    rest = torch.where(spikes, p.refractory, (rest - 1).clamp(min=0))
    return spikes.to(torch.int64), [u, v, rest, unused]


def _integrator(p: FixedPopulation, a: Tensor, bias: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """(payloads, state) of one step; the state is u, v, unused, unused."""
    u, v = _decayed(p, a, bias, state)
    return (v >> p.state_exp) - (state[1] >> p.state_exp), [u, v, *state[2:]]


def _sigma_delta(p: FixedPopulation, a: Tensor, bias: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """(payloads, state) of one step; the state is sigma, act, residue, error."""
    sigma, act, residue, error = state
    sigma = sigma + a
    new = sigma + bias if p.activation == "identity" else (sigma + bias).clamp(min=0)
    delta = new - act + residue
    error = error + delta if p.cumulative else delta
    sent = torch.where(error.abs() >= p.vth, delta, 0)
    error = torch.where(sent != 0, 0, error)
    return sent >> p.state_exp, [sigma, new, delta - sent, error]


_STEPS = {"lif": _lif, "integrator": _integrator, "sigma-delta": _sigma_delta}


class _Chunk:
    """Some samples on their way through the network; `sent` holds what each population sent in each local step."""

    def __init__(self, network: FixedNetwork, inputs: Mapping[str, Tensor], bundles: list[list[_Bundle]]) -> None:
        self.network, self.bundles = network, bundles
        self.batch = len(next(iter(inputs.values())))
        self.sent: dict[str, list[Tensor]] = {}
        for source in network.inputs:
            x = inputs[source.name]
            self.sent[source.name] = [x if x.ndim == 2 else x[:, step] for step in range(network.steps)]
        self.u: dict[str, list[Tensor]] = {p.name: [] for p in network.populations}
        self.v: dict[str, list[Tensor]] = {p.name: [] for p in network.populations}
        self.state = {p.name: [self._zeros(p) for _ in range(4)] for p in network.populations}
        self.sent.update({p.name: [] for p in network.populations})
        self.bias = {p.name: self._bias(p) for p in network.populations}

    def _zeros(self, population: FixedPopulation) -> Tensor:
        return torch.zeros(self.batch, population.size, dtype=torch.int64)

    def _arriving(self, population: FixedPopulation, step: int, host: bool) -> Tensor:
        """(batch, size) ``a`` of a local step, or what the host adds to bias_mant."""
        total = self._zeros(population)
        for projection, bundles in zip(self.network.projections, self.bundles, strict=True):
            if projection.target == population.name and projection.host == host:
                for bundle in bundles:
                    if step >= bundle.lag:
                        sums = _send(bundle, self.sent[projection.source][step - bundle.lag], population.size)
                        total += _shift(sums, projection.exponent)
        return total

    def _bias(self, population: FixedPopulation) -> Tensor:
        mantissa = torch.from_numpy(population.bias_mant.astype(np.int64))
        mantissa = mantissa + self._arriving(population, 0, host=True)
        return mantissa << torch.from_numpy(population.bias_exp.astype(np.int64))

    def advance(self, population: FixedPopulation, step: int) -> None:
        """One local step of one population."""
        name = population.name
        a = self._arriving(population, step, host=False)
        spikes, self.state[name] = _STEPS[population.model](population, a, self.bias[name], self.state[name])
        self.u[name].append(self.state[name][0])
        self.v[name].append(self.state[name][1])
        self.sent[name].append(spikes)


def forward(network: FixedNetwork, samples: Samples | Mapping[str, Samples], traces: bool = False) -> RunResult:
    """Spike counts, activity and, if wanted, every step of every population, from raw samples.

    Args:
        samples: raw integers as `runtime.encoding.payloads` takes them, of the only input, or one array per input name.
        traces: keep u, v and spikes of all steps, (samples, steps, size) per population.

    Raises:
        DataError: samples are missing for an input, or do not match it.

    >>> from snn_compile.compiler import fixed
    >>> from snn_compile.compiler.synapses import Synapses
    >>> one = dict(shape=(1,), origin=[0], bias_mant=[0], bias_exp=[0])
    >>> net = fixed.FixedNetwork(
    ...     (fixed.FixedInput("x", (1,), "graded", 16, 16),),
    ...     (fixed.FixedPopulation("y", du=4095, dv=0, vth=100, offset=0, **one),),
    ...     (fixed.FixedProjection("x", "y", Synapses.from_dense(np.array([[4]], np.int16)), 0),), ("y",), steps=8)
    >>> forward(net, np.array([[16], [8]], np.uint8)).counts.tolist()   # 64 per step, 2 steps; 32 per step, 4 steps
    [[4], [2]]
    """
    started = time.perf_counter()
    named = samples if isinstance(samples, Mapping) else {network.inputs[0].name: samples}
    for source in network.inputs:
        if source.name not in named:
            raise DataError(source.name, "is an input without samples", "give one array per input")
    inputs = {
        s.name: torch.from_numpy(payloads(named[s.name], s, network.steps)).to(torch.int64) for s in network.inputs
    }
    if len({len(x) for x in inputs.values()}) > 1:
        raise DataError("samples", "differ in number between the inputs", "give every input as many")
    bundles = [_bundles(network, projection) for projection in network.projections]
    widest = max((len(p.synapses) for p in network.projections), default=1)
    size = max(1, CHUNK // max(1, widest))
    order = sorted(network.populations, key=lambda population: population.offset)
    chunks = []
    for start in range(0, len(next(iter(inputs.values()))), size):
        chunk = _Chunk(network, {name: x[start : start + size] for name, x in inputs.items()}, bundles)
        for step in range(network.steps):
            for population in order:
                chunk.advance(population, step)
        chunks.append(_results(chunk, traces))
    return _join(network, chunks, time.perf_counter() - started)


@dataclass(frozen=True)
class _Part:
    counts: NDArray[np.int32]
    spikes: dict[str, NDArray[np.int64]]
    traces: dict[str, tuple[NDArray[Any], ...]]


def _results(chunk: _Chunk, traces: bool) -> _Part:
    stacked = {name: torch.stack(steps, 1) for name, steps in chunk.sent.items()}
    counts = torch.cat([stacked[name].sum(1) for name in chunk.network.outputs], 1)
    spikes = {name: (sent != 0).sum((0, 1)).numpy() for name, sent in stacked.items()}
    kept: dict[str, tuple[NDArray[Any], ...]] = {}
    if traces:
        for p in chunk.network.populations:
            name = p.name
            u, v = (torch.stack(steps, 1).to(torch.int32).numpy() for steps in (chunk.u[name], chunk.v[name]))
            kept[name] = (stacked[name].numpy().astype(p.spike_dtype), u, v)
    return _Part(counts.to(torch.int32).numpy(), spikes, kept)


def _join(network: FixedNetwork, parts: list[_Part], seconds: float) -> RunResult:
    outputs = sum(network.by_name[name].size for name in network.outputs)
    counts = np.concatenate([np.zeros((0, outputs), np.int32), *(part.counts for part in parts)])
    spikes = {name: np.zeros(p.size, np.int64) for name, p in network.by_name.items()}
    for part in parts:
        for name in spikes:
            spikes[name] += part.spikes[name]
    for source in network.inputs:
        if source.encoding == "bias":
            spikes[source.name][:] = 0  # the host loads biases, it sends no packets
    names = parts[0].traces if parts else {}
    traces = {
        name: Trace(*(np.concatenate([part.traces[name][field] for part in parts]) for field in range(3)))
        for name in names
    }
    activity = Activity(len(counts), network.steps, spikes, count_synops(network, spikes))
    return RunResult("chip-exact", counts, activity, seconds, traces, network.votes)
