"""Neurons that cannot matter, found and removed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..errors import NetworkError
from .nodes import FixedNeurons, FloatArray
from .sparse import SparseNetwork, SparsePopulation

Mask = NDArray[np.bool_]


def remove_dead(network: SparseNetwork) -> SparseNetwork:
    """Without the neurons that can never fire, or that no output hears, transitively in both directions."""
    can_fire = _can_fire(network)
    heard = _heard(network, can_fire)
    live = {p.name: can_fire[p.name] & heard[p.name] for p in network.populations}
    dead = [p for p in network.populations if not live[p.name].any()]
    if any(p.name in network.outputs for p in dead):
        silent = next((p for p in network.populations if not can_fire[p.name].any()), dead[-1])
        problem = f"none of its {silent.size} neurons can fire, whatever the input is"
        way_out = "prune less, or look at its weights, threshold, gain and time constants"
        raise NetworkError(silent.name, problem, way_out)
    _check_readouts(network, can_fire)
    kept = {name: np.ones_like(mask) if name in network.outputs else mask for name, mask in live.items()}
    gone = {p.name for p in dead}
    populations = tuple(p.select(kept[p.name]) for p in network.populations if p.name not in gone)
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


def _check_readouts(network: SparseNetwork, can_fire: dict[str, Mask]) -> None:
    """Raises where a readout hears nobody who could ever fire, and has no bias."""
    for p in network.populations:
        incoming = [q for q in network.projections if q.target == p.name]
        heard = any(can_fire[q.source][q.synapses.sources].any() for q in incoming)
        if p.node.readout and not heard and not p.bias.any():
            problem = "is read out, and nothing could ever reach it"
            raise NetworkError(p.name, problem, "prune less, or look at the layers before it")


def _can_fire(network: SparseNetwork) -> dict[str, Mask]:
    """Per population, whether the largest possible input reaches the threshold within one window.

    Readouts never spike and count as if they did; nothing is said of neurons in integers.
    """
    alive = {name: np.ones(p.size, bool) for name, p in network.by_name.items()}
    changed = True
    while changed:
        changed = False
        for p in network.populations:
            if isinstance(p.node, FixedNeurons) or p.node.readout:
                continue
            reach = np.zeros(p.size)
            for q in network.projections:
                if q.target == p.name:
                    positive = np.maximum(q.synapses.weights, 0) * alive[q.source][q.synapses.sources]
                    reach += np.bincount(q.synapses.targets, positive, p.size)
            now = alive[p.name] & (_highest(p, reach, network.steps) >= p.threshold * (1 - 1e-5))
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


def _highest(p: SparsePopulation, drive: FloatArray, steps: int) -> FloatArray:
    """(size,) the most that v can reach in `steps` steps with the input `drive` in each."""
    direct = step_response(p.keep, 0 * p.keep, steps)
    if not p.keep_syn.any():
        together: FloatArray = (drive + p.bias) * direct
        return together
    against = np.minimum(p.bias, 0)  # of a bias that pulls down, the first step's share is certain
    slow: FloatArray = drive * step_response(p.keep, p.keep_syn, steps) + np.maximum(p.bias, 0) * direct + against
    return slow


def step_response(keep: FloatArray, keep_syn: FloatArray, steps: int) -> FloatArray:
    """(size,) v after so many steps of an input of 1 in each, v and u from 0.

    >>> step_response(np.array([0.5]), np.array([0.0]), 3).tolist()
    [1.75]
    """
    pairs, where = np.unique(np.stack([keep, keep_syn]), axis=1, return_inverse=True)
    u, v = np.zeros((2, pairs.shape[1]))
    for _ in range(steps):
        u = pairs[1] * u + 1
        v = pairs[0] * v + u
    response: FloatArray = v[where.reshape(-1)]
    return response
