"""What arrives at a population that is being quantised, and the largest scale at which it fits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import UnsupportedError
from .dead import step_response
from .fixed import FRACTION_BITS, U_LIMIT, FixedInput
from .nodes import FloatArray
from .scale import Incoming
from .sparse import SparseNetwork, SparsePopulation, SparseProjection

THRESHOLD_MAX = 2**17 - 1
BIAS_MAX, BIAS_EXPONENT_MAX = 4095, 7
SMALLEST = 1e-30
"""Weights below this are none."""
ONE = 2**FRACTION_BITS
ASSUMED_RATE = 0.2
"""Spikes per neuron and step where the model brings no measured rates."""


@dataclass(frozen=True)
class Drive:
    """One projection while its population is quantised: weights per payload unit, in units of the float membrane."""

    projection: SparseProjection
    incoming: Incoming
    payload: int
    host: bool

    def extremes(self) -> tuple[FloatArray, FloatArray]:
        """(n_target,) largest and smallest sum in one step."""
        s = self.incoming.synapses
        high = np.bincount(s.targets, np.maximum(s.weights, 0), s.n_target) * self.payload
        low = np.bincount(s.targets, np.minimum(s.weights, 0), s.n_target) * self.payload
        return high, low


def drive_of(network: SparseNetwork, q: SparseProjection, inputs: tuple[FixedInput, ...]) -> Drive:
    weights = np.where(np.abs(q.synapses.weights) < SMALLEST, 0.0, q.synapses.weights)
    source = network.by_name[q.source]
    if isinstance(source, SparsePopulation):
        rate = np.full(source.size, ASSUMED_RATE) if source.rate is None else source.rate
        synapses = q.synapses.with_weights(weights)
        return Drive(q, Incoming(synapses, rate, rate * (1 - rate)), 1, False)
    fixed = next(p for p in inputs if p.name == q.source)
    levels = fixed.levels if fixed.encoding != "rate" else 1
    mean, variance = (
        source.moments if source.moments is not None else (np.full(source.size, 0.5), np.full(source.size, 1 / 12))
    )
    rounding = 1 / 12 if fixed.encoding == "graded" and fixed.levels < fixed.max_value else 0.0
    synapses = q.synapses.with_weights(weights / levels)
    incoming = Incoming(synapses, mean * levels, variance * levels**2, rounding)
    return Drive(q, incoming, fixed.payload, fixed.encoding == "bias")


def largest_scale(population: SparsePopulation, drives: list[Drive], bias: FloatArray, steps: int) -> float:
    """The largest S for which sums (17 bits), threshold, biases and the deepest membrane (24 bits) fit."""
    high, low = np.zeros(population.size), np.zeros(population.size)
    host_high, host_low = bias.copy(), bias.copy()
    for drive in drives:
        up, down = drive.extremes()
        if drive.host:
            host_high, host_low = host_high + up, host_low + down
        else:
            high, low = high + up, low + down
    readout = population.node.readout
    shown = steps if readout else min(steps, 64)
    direct, slow = (step_response(population.keep, k, shown) for k in (0 * population.keep, population.keep_syn))
    held = step_response(population.keep_syn, 0 * population.keep_syn, steps)
    reach = np.maximum(-(low * slow + np.minimum(host_low, 0) * direct), 0)
    if readout:
        reach = np.maximum(reach, high * slow + np.maximum(host_high, 0) * direct)
    sums = max(float((high * held).max(initial=0)), float((-low * held).max(initial=0)))
    biases = max(float(np.abs(host_high).max(initial=0)), float(np.abs(host_low).max(initial=0)))
    rooms = [
        (2**17 - 2, sums),
        (2**17 - 2, float(reach.max(initial=0))),
        ((BIAS_MAX - 1) * 2**BIAS_EXPONENT_MAX / ONE, biases),
        ((U_LIMIT - 1) / ONE, float(population.drop.max(initial=0))),
        (THRESHOLD_MAX - 1, 0 if readout else population.threshold),
    ]
    return min((float(room / needed) for room, needed in rooms if needed > 0), default=1.0)


def check_hosts(population: SparsePopulation, hosts: list[Drive], offset: int) -> None:
    """The host adds to the membrane, once per sample; it can stand for no synaptic current and no delay."""
    for drive in hosts:
        way_out = "use a target with graded spikes, or --encoding rate"
        if population.keep_syn.any():
            problem = "has a synaptic current, and its analogue input can only be loaded as a bias of the membrane"
            raise UnsupportedError(population.name, problem, way_out)
        if drive.projection.synapses.max_delay > offset:  # more than what `balance` adds to a path that skips layers
            problem = "has a delayed analogue input, which can only be loaded as a bias"
            raise UnsupportedError(population.name, problem, way_out)
