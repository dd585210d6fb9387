"""`lower`: a folded network becomes populations and sparse projections; neurons without effect are removed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..errors import NetworkError, UnsupportedError
from .fold import path
from .network import Network
from .nodes import LIF, Conv2d, FloatArray, Input, Linear, Shape
from .sparse import Census, SparseInput, SparseNetwork, SparsePopulation, SparseProjection
from .synapses import Synapses

Mask = NDArray[np.bool_]


def lower(network: Network) -> SparseNetwork:
    """Unrolls each layer into synapses and removes the neurons that cannot matter.

    Removed are neurons that can never fire (the largest input that they can get stays below the threshold for a
    whole window) and neurons that nobody hears, each as often as it finds more. Inputs and outputs keep their size.

    Raises:
        NetworkError: an output can never fire.
        UnsupportedError: the network has several inputs.
    """
    inputs = tuple(_input(network, node) for node in network.nodes if isinstance(node, Input))
    if len(inputs) > 1:
        raise UnsupportedError("network", f"has {len(inputs)} inputs, one is possible", "join them into one")
    populations, census = [], []
    projections: dict[tuple[str, str], SparseProjection] = {}
    for node in network.nodes:
        if not isinstance(node, LIF):
            continue
        shape = network.shapes[node.name]
        size = math.prod(shape)
        bias = np.zeros(size)
        for layer_name in (s for s, t in network.edges if t == node.name):
            source, chain = path(network, layer_name)
            (layer,) = (step for step in chain if isinstance(step, (Linear, Conv2d)))
            synapses = unroll(layer, network.shapes[source])
            possible = possible_synapses(layer, network.shapes[source])
            bias += _bias(layer, network.shapes[layer.name])
            made, count = SparseProjection(layer.name, source, node.name, synapses), len(synapses)
            if (source, node.name) in projections:
                made = _sum(projections[source, node.name], made)
            projections[source, node.name] = made
            census.append(Census(layer.name, source, node.name, possible, count))
        populations.append(
            SparsePopulation(node, shape, np.arange(size, dtype=np.int32), bias, _rate(network, node.name, size))
        )
    whole = SparseNetwork(
        inputs,
        tuple(populations),
        tuple(projections.values()),
        network.outputs,
        network.steps,
        tuple(census),
        network.votes,
    )
    return remove_dead(whole)


def _inside(layer: Conv2d, axis: int, tap: int, size: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows (or columns) of the result that a tap of the kernel reaches from inside the image, and from where."""
    place = np.arange(count) * layer.stride[axis] - layer.padding[axis] + tap * layer.dilation[axis]
    rows = np.flatnonzero((place >= 0) & (place < size))
    return rows, place[rows]


def tap_prices(layer: Linear | Conv2d, shape: Shape, price: FloatArray | None = None) -> FloatArray:
    """What each weight of a layer costs in unrolled synapses, or at a price per synapse of its source.

    Args:
        shape: of the input.
        price: of this shape; None: 1.

    Returns:
        An array that broadcasts to the shape of the weight.

    >>> tap_prices(Conv2d("c", weight=np.ones((8, 4, 3, 3)), padding=(1, 1)), (4, 32, 32))[0, 0].astype(int).tolist()
    [[961, 992, 961], [992, 1024, 992], [961, 992, 961]]
    """
    price = np.ones(shape) if price is None else price.reshape(shape)
    if isinstance(layer, Linear):
        return price.reshape(1, -1)
    out, inside, kernel_rows, kernel_columns = layer.weight.shape
    _, height, width = shape
    _, rows, columns = layer.output_shape(shape)
    sums = np.empty((shape[0], kernel_rows, kernel_columns))
    for ky, kx in np.ndindex(kernel_rows, kernel_columns):
        (_, y), (_, x) = _inside(layer, 0, ky, height, rows), _inside(layer, 1, kx, width, columns)
        sums[:, ky, kx] = price[:, y[:, None], x].sum(axis=(1, 2))
    group = np.arange(out) // (out // layer.groups)
    channels: FloatArray = group[:, None] * inside + np.arange(inside)
    return sums[channels]


def possible_synapses(layer: Linear | Conv2d, shape: Shape) -> int:
    """Unrolled synapses of a layer without pruning, for an input of `shape`.

    >>> possible_synapses(Conv2d("c", weight=np.ones((8, 4, 3, 3)), padding=(1, 1)), (4, 32, 32))
    282752
    """
    prices = tap_prices(layer, shape)
    return int(prices.sum()) * (layer.weight.size // prices.size)


def unroll(layer: Linear | Conv2d, shape: Shape) -> Synapses:
    """The synapses of a layer that sees an input of `shape`.

    >>> conv = Conv2d("c", weight=np.ones((1, 1, 3, 3)), padding=(1, 1))
    >>> len(unroll(conv, (1, 2, 2)))          # a border drops what falls outside the image
    16
    """
    if isinstance(layer, Linear):
        return Synapses.from_dense(layer.weight.astype(np.float64))
    _, height, width = shape
    out, inside, kernel_rows, kernel_columns = layer.weight.shape
    _, rows, columns = layer.output_shape(shape)
    group = np.arange(out) // (out // layer.groups)
    parts = []
    for ky, kx in np.ndindex(kernel_rows, kernel_columns):
        (r, y), (c, x) = _inside(layer, 0, ky, height, rows), _inside(layer, 1, kx, width, columns)
        o, i = np.nonzero(layer.weight[:, :, ky, kx])
        place_in = (y[:, None] * width + x).ravel()
        place_out = (r[:, None] * columns + c).ravel()
        sources = (group[o] * inside + i)[:, None] * (height * width) + place_in
        targets = o[:, None] * (rows * columns) + place_out
        weights = np.repeat(layer.weight[o, i, ky, kx].astype(np.float64), len(place_in))
        parts.append((sources.ravel(), targets.ravel(), weights))
    sources, targets, weights = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Synapses.from_triples(math.prod(shape), out * rows * columns, sources, targets, weights)


def _bias(layer: Linear | Conv2d, shape: Shape) -> FloatArray:
    if layer.bias is None:
        return np.zeros(math.prod(shape))
    bias = layer.bias.astype(np.float64)
    if bias.ndim == 1:
        bias = bias.reshape(-1, *[1] * (len(shape) - 1))
    return np.broadcast_to(bias, shape).ravel()


def _sum(first: SparseProjection, second: SparseProjection) -> SparseProjection:
    """Two layers between the same populations as one projection."""
    total = (first.synapses.matrix() + second.synapses.matrix()).tocoo()
    sizes = first.synapses.n_source, first.synapses.n_target
    synapses = Synapses.from_triples(*sizes, total.col, total.row, total.data)
    return replace(first, layer=f"{first.layer} + {second.layer}", synapses=synapses)


def _input(network: Network, node: Input) -> SparseInput:
    samples = network.calibration
    if samples is None:
        return SparseInput(node)
    values = samples.reshape(-1, math.prod(node.shape)).astype(np.float64) / node.max_value
    mean = values.mean(axis=0)
    if node.encoding == "rate":
        return SparseInput(node, np.stack([mean, mean * (1 - mean)]), mean)
    return SparseInput(node, np.stack([mean, values.var(axis=0)]), (values > 0).mean(axis=0))


def _rate(network: Network, name: str, size: int) -> FloatArray | None:
    rate = network.rates.get(name)
    if rate is None:
        return None
    rate = np.asarray(rate, np.float64).ravel()
    if len(rate) != size or not np.isfinite(rate).all() or rate.min(initial=0) < 0 or rate.max(initial=0) > 1:
        raise NetworkError(name, f"its {len(rate)} firing rates do not fit {size} neurons", "measure them again")
    return rate


def remove_dead(network: SparseNetwork) -> SparseNetwork:
    """Without the neurons that can never fire, or that no output hears, transitively in both directions."""
    can_fire = _can_fire(network)
    heard = _heard(network, can_fire)
    live = {p.name: can_fire[p.name] & heard[p.name] for p in network.populations}
    dead = [p for p in network.populations if not live[p.name].any()]
    if any(p.name in network.outputs for p in dead):
        problem = f"none of its {dead[0].size} neurons can fire and is heard by an output"
        raise NetworkError(dead[0].name, problem, "prune less or train longer")
    kept = {name: np.ones_like(mask) if name in network.outputs else mask for name, mask in live.items()}
    gone = {p.name for p in dead}
    populations = tuple(_select(p, kept[p.name]) for p in network.populations if p.name not in gone)
    projections = []
    for q in network.projections:
        if gone & {q.source, q.target}:
            continue
        synapses = q.synapses
        useful = can_fire[q.target][synapses.targets] & can_fire[q.source][synapses.sources]
        synapses = synapses.with_weights(np.where(useful, synapses.weights, 0))
        sources = kept.get(q.source, np.ones(synapses.n_source, bool))
        projections.append(replace(q, synapses=synapses.select(sources, kept[q.target])))
    return replace(network, populations=populations, projections=tuple(projections))


def _select(population: SparsePopulation, keep: Mask) -> SparsePopulation:
    rate = None if population.rate is None else population.rate[keep]
    return replace(population, origin=population.origin[keep], bias=population.bias[keep], rate=rate)


def _can_fire(network: SparseNetwork) -> dict[str, Mask]:
    """Per population, whether the largest possible input reaches the threshold within one window."""
    alive = {name: np.ones(p.size, bool) for name, p in network.by_name.items()}
    changed = True
    while changed:
        changed = False
        for p in network.populations:
            drive = p.bias.copy()
            for q in network.projections:
                if q.target == p.name:
                    positive = np.maximum(q.synapses.weights, 0) * alive[q.source][q.synapses.sources]
                    drive += np.bincount(q.synapses.targets, positive, p.size)
            keep = 1 - 1 / p.node.tau
            gain = (1 / p.node.tau if p.node.decay_input else 1.0) * sum(keep**i for i in range(network.steps))
            now = alive[p.name] & (drive * gain >= p.node.threshold * (1 - 1e-5))
            changed |= bool((now != alive[p.name]).any())
            alive[p.name] = now
    return alive


def _heard(network: SparseNetwork, can_fire: dict[str, Mask]) -> dict[str, Mask]:
    """Per population, whether a path of synapses leads to an output neuron that can fire."""
    heard = {name: np.full(p.size, name in network.outputs) for name, p in network.by_name.items()}
    changed = True
    while changed:
        changed = False
        for q in network.projections:
            listening = heard[q.target] & can_fire[q.target]
            reaches = np.zeros(q.synapses.n_source, bool)
            reaches[q.synapses.sources[listening[q.synapses.targets]]] = True
            now = heard[q.source] | reaches
            changed |= bool((now != heard[q.source]).any())
            heard[q.source] = now
    return heard
