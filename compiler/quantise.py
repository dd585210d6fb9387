"""`quantise`: a `SparseNetwork` in float becomes a `FixedNetwork` in the chip's integers.

The threshold test ``v >= S θ`` of training becomes the chip's ``v > 64 vth`` with ``64 S θ = 64 vth + 1``: v is an
integer there, so the threshold itself is exact. Where float weights add up to just θ, their rounding decides.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import LimitError, UnsupportedError
from ..hw_targets.chip import Chip
from .adopt import adopt, adopt_input
from .balance import window_offsets
from .dead import step_response
from .fixed import FRACTION_BITS, U_LIMIT, FixedInput, FixedNetwork, FixedPopulation, FixedProjection
from .neurons import check_neuron
from .nodes import LIF, FixedNeurons, FloatArray, frozen_array
from .overflow import check_overflow
from .scale import Choice, Incoming, choose, to_weights
from .sparse import SparseInput, SparseNetwork, SparsePopulation, SparseProjection

THRESHOLD_MAX = 2**17 - 1
BIAS_MAX, BIAS_EXPONENT_MAX = 4095, 7
HOST_WEIGHT_MAX, HOST_SHIFT_MAX = 32767, 40
READOUT_BITS = 25
"""Payload of what a readout sends, without its sign."""
SMALLEST = 1e-30
"""Weights below this are none."""
ONE = 2**FRACTION_BITS
ASSUMED_RATE = 0.2
"""Spikes per neuron and step where the model brings no measured rates."""


def quantise(network: SparseNetwork, chip: Chip) -> FixedNetwork:
    """Weights, exponents, thresholds, decays, biases and payloads as integers that the chip has.

    What is in integers already is adopted as it is.

    Per population the scale with the least expected error of the currents is taken among those for which no sum can
    overflow; see `scale.choose` and `overflow.check_overflow`.

    Raises:
        UnsupportedError: a neuron that the chip has not.
        LimitError: a population that no scale fits.
    """
    inputs = tuple(_input(network, p, chip) for p in network.inputs)
    offsets = window_offsets(network)
    populations: list[FixedPopulation] = []
    projections: list[FixedProjection] = []
    for population in network.populations:
        offset = offsets[population.name]
        if isinstance(population.node, FixedNeurons):
            known: dict[str, FixedInput | FixedPopulation] = {p.name: p for p in inputs}
            known |= {p.name: p for p in populations}
            arriving = [q for q in network.projections if q.target == population.name]
            made, incoming = adopt(population, arriving, chip, offset, known, network.steps)
        else:
            inputs, made, incoming = _quantise_population(network, population, inputs, chip, offset)
        populations.append(made)
        projections += [q for q in incoming if len(q.synapses)]
    order = {(q.source, q.target): i for i, q in enumerate(network.projections)}
    projections.sort(key=lambda q: order[q.source, q.target])
    fixed = FixedNetwork(inputs, tuple(populations), tuple(projections), network.outputs, network.steps, network.votes)
    check_overflow(fixed)
    return fixed


def _input(network: SparseNetwork, source: SparseInput, chip: Chip) -> FixedInput:
    targets = [network.by_name[q.target].node for q in network.projections if q.source == source.name]
    fixed = [node for node in targets if isinstance(node, FixedNeurons)]
    if len(fixed) == len(targets):
        return adopt_input(source.node, fixed, chip)
    return _encode_input(source, chip)


def check_encoding(source: SparseInput, chip: Chip) -> None:
    """Raises `UnsupportedError` where the chip cannot carry the input's spikes."""
    if source.node.encoding == "spikes" and source.node.max_value > 1 and not chip.graded:
        raise UnsupportedError(
            source.name,
            f"sends spikes with payloads up to {source.node.max_value}, {chip.name} has binary spikes",
            "train with binary spikes, or choose a target with graded ones",
        )


def check_population(population: SparsePopulation, chip: Chip) -> None:
    """Raises `UnsupportedError` or `LimitError` where the chip has no such neuron."""
    node = population.node
    subtracts = node.reset != ("zero" if isinstance(node, FixedNeurons) else "hard") and not node.readout
    check_neuron(population.name, chip, subtracts, population.refractory, READOUT_BITS * node.readout)


def _encode_input(source: SparseInput, chip: Chip) -> FixedInput:
    node = source.node
    check_encoding(source, chip)
    if node.encoding == "rate":
        return FixedInput(node.name, node.shape, "rate", node.max_value, 1)
    if node.encoding == "spikes":
        return FixedInput(node.name, node.shape, "spikes", node.max_value, node.max_value)
    if not chip.graded:
        return FixedInput(node.name, node.shape, "bias", node.max_value, node.max_value)
    levels = min(node.max_value, 2 ** chip.limits.graded_payload_bits[0] - 1)
    return FixedInput(node.name, node.shape, "graded", node.max_value, levels)


@dataclass(frozen=True)
class _Drive:
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


def _quantise_population(
    network: SparseNetwork, population: SparsePopulation, inputs: tuple[FixedInput, ...], chip: Chip, offset: int
) -> tuple[tuple[FixedInput, ...], FixedPopulation, list[FixedProjection]]:
    """The population, its incoming projections, and the inputs with the payload bits that serve it best."""
    check_population(population, chip)
    lowest = chip.limits.weight_exponent_min[0]
    best: tuple[float, tuple[FixedInput, ...], FixedPopulation, list[FixedProjection]] | None = None
    for candidate in _payload_choices(network, population, inputs):
        drives = [_drive(network, q, candidate) for q in network.projections if q.target == population.name]
        drives = [d for d in drives if len(d.incoming.synapses)]
        result = _best_scale(population, drives, chip, offset, network.steps)
        if result is not None and (best is None or result[0] < best[0]):
            best = (result[0], candidate, result[1], result[2])
        if result is not None and min((q.exponent for q in result[2] if not q.host), default=0) > lowest:
            break  # no exponent is at its limit, so fewer payload bits gain nothing
    if best is None:
        raise LimitError(
            population.name,
            f"no scale of its weights fits the sums of {chip.name} (17 bits and a sign)",
            "prune more, or train with smaller weights",
        )
    return best[1], best[2], best[3]


def _payload_choices(
    network: SparseNetwork, population: SparsePopulation, inputs: tuple[FixedInput, ...]
) -> list[tuple[FixedInput, ...]]:
    """The inputs as they are, and with fewer payload bits where they reach this population as graded spikes."""
    names = {q.source for q in network.projections if q.target == population.name}
    taken = {
        q.source
        for p in network.populations[: network.populations.index(population)]
        for q in network.projections
        if q.target == p.name
    }
    choices = [inputs]
    for bits in range(8, 1, -1):
        levels = 2**bits - 1
        changed = tuple(
            replace(p, levels=levels) if p.encoding == "graded" and p.name in names - taken and levels < p.levels else p
            for p in inputs
        )
        if changed != inputs:
            choices.append(changed)
    return choices


def _drive(network: SparseNetwork, q: SparseProjection, inputs: tuple[FixedInput, ...]) -> _Drive:
    weights = np.where(np.abs(q.synapses.weights) < SMALLEST, 0.0, q.synapses.weights)
    source = network.by_name[q.source]
    if isinstance(source, SparsePopulation):
        rate = np.full(source.size, ASSUMED_RATE) if source.rate is None else source.rate
        synapses = q.synapses.with_weights(weights)
        return _Drive(q, Incoming(synapses, rate, rate * (1 - rate)), 1, False)
    fixed = next(p for p in inputs if p.name == q.source)
    levels = fixed.levels if fixed.encoding != "rate" else 1
    mean, variance = (
        source.moments if source.moments is not None else (np.full(source.size, 0.5), np.full(source.size, 1 / 12))
    )
    rounding = 1 / 12 if fixed.encoding == "graded" and fixed.levels < fixed.max_value else 0.0
    synapses = q.synapses.with_weights(weights / levels)
    incoming = Incoming(synapses, mean * levels, variance * levels**2, rounding)
    return _Drive(q, incoming, fixed.payload, fixed.encoding == "bias")


def _best_scale(
    population: SparsePopulation, drives: list[_Drive], chip: Chip, offset: int, steps: int
) -> tuple[float, FixedPopulation, list[FixedProjection]] | None:
    bias = population.bias
    largest = _largest_scale(population, drives, bias, steps)
    on_chip = [d for d in drives if not d.host]
    _check_hosts(population, [d for d in drives if d.host])
    limits = (chip.limits.weight_exponent_min[0], chip.limits.weight_exponent_max[0])
    for choice in choose([d.incoming for d in on_chip], largest, population.size, limits):
        with contextlib.suppress(LimitError):  # rounding can pass a limit that the search met: the next scale, then
            made = _apply(population, drives, on_chip, choice, offset, chip.limits.bias_exponent_min[0])
            left = made is not None and (bool(bias.any()) or any(len(q.synapses) for q in made[1]))
            if made is not None and left and _fits(made, drives, steps):
                return choice.error, *made
    return None


def _largest_scale(population: SparsePopulation, drives: list[_Drive], bias: FloatArray, steps: int) -> float:
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
    return min(float(room / needed) for room, needed in rooms if needed > 0)


def _check_hosts(population: SparsePopulation, hosts: list[_Drive]) -> None:
    """The host adds to the membrane, once per sample; it can stand for no synaptic current and no delay."""
    for drive in hosts:
        way_out = "use a target with graded spikes, or --encoding rate"
        if population.keep_syn.any():
            problem = "has a synaptic current, and its analogue input can only be loaded as a bias of the membrane"
            raise UnsupportedError(population.name, problem, way_out)
        if drive.projection.synapses.max_delay:
            problem = "has a delayed analogue input, which can only be loaded as a bias"
            raise UnsupportedError(population.name, problem, way_out)


def _apply(
    population: SparsePopulation,
    drives: list[_Drive],
    on_chip: list[_Drive],
    choice: Choice,
    offset: int,
    least: int,
) -> tuple[FixedPopulation, list[FixedProjection]] | None:
    """The population and its projections in integers at this scale, or None where the threshold vanishes.

    `least` is the smallest exponent of a bias.
    """
    node, bias = population.node, population.bias
    assert isinstance(node, LIF)
    over = 1 if node.fires == ">=" else 0
    vth, scale = 0, choice.scale
    if not node.readout:
        vth = round((choice.scale * population.threshold * ONE - over) / ONE)
        if not 1 <= vth <= THRESHOLD_MAX:
            return None
        scale = (vth * ONE + over) / (ONE * population.threshold)
    projections = []
    for drive, exponent in zip(on_chip, choice.exponents, strict=True):
        weights = to_weights(drive.incoming.synapses.weights, scale / 2**exponent)
        synapses = drive.incoming.synapses.with_weights(weights.astype(np.int16))
        projections.append(FixedProjection(drive.projection.source, node.name, synapses, exponent))
    hosts = [d for d in drives if d.host]
    if hosts:
        exponent, hosted = _apply_hosts(hosts, bias, scale)
        projections += hosted
        exponents = np.full(population.size, exponent, np.uint8)
    else:
        exponents = np.maximum(_bias_exponents(bias * scale * ONE), np.uint8(least))
    floored = 0.5 if hosts else 0.0  # the host's sum loses half a unit of the mantissa in the mean
    mantissa = np.rint(bias * scale * ONE / 2.0**exponents + floored)
    made = FixedPopulation(
        node.name,
        population.shape,
        population.origin,
        4095 - np.minimum(4096, np.rint(4096 * population.keep_syn)).astype(np.int64),
        np.minimum(4095, np.rint(4096 * (1 - population.keep))).astype(np.int64),
        vth,
        frozen_array(mantissa.astype(np.int16)),
        exponents,
        offset,
        model="integrator" if node.readout else "lif",
        reset="zero" if node.reset == "hard" or node.readout else "subtract",
        refractory=population.refractory,
        drop=np.rint(population.drop * scale * ONE).astype(np.int64),
    )
    return made, projections


def _bias_exponents(values: FloatArray) -> NDArray[np.uint8]:
    """(n,) smallest exponents with which the mantissas fit 13 bits."""
    size = np.maximum(np.abs(values) / BIAS_MAX, 1e-300)
    exponents: NDArray[np.uint8] = np.clip(np.ceil(np.log2(size)), 0, BIAS_EXPONENT_MAX).astype(np.uint8)
    return exponents


def _apply_hosts(hosts: list[_Drive], bias: FloatArray, scale: float) -> tuple[int, list[FixedProjection]]:
    """The bias exponent, and projections whose sum >> k is a bias mantissa: ``64 S w = W 2^(exponent - k)``."""
    high = bias + sum(d.extremes()[0] for d in hosts)
    low = bias + sum(d.extremes()[1] for d in hosts)
    reach = np.maximum(np.abs(high), np.abs(low)) * scale * ONE
    exponent = int(_bias_exponents(np.array([reach.max() + 2**BIAS_EXPONENT_MAX]))[0])
    projections = []
    for drive in hosts:
        synapses = drive.incoming.synapses
        room = HOST_WEIGHT_MAX / float(np.abs(synapses.weights).max())
        shift = int(np.clip(np.floor(np.log2(room * 2**exponent / (ONE * scale))), 0, HOST_SHIFT_MAX))
        while (
            float(max(drive.extremes()[0].max(), -drive.extremes()[1].min())) * ONE * scale * 2.0 ** (shift - exponent)
            >= 2**30
        ):
            shift -= 1
        weights = np.rint(synapses.weights * (ONE * scale * 2.0 ** (shift - exponent)))
        weights = np.clip(weights, -HOST_WEIGHT_MAX, HOST_WEIGHT_MAX).astype(np.int16)
        made = FixedProjection(
            drive.projection.source, drive.projection.target, synapses.with_weights(weights), -shift, host=True
        )
        projections.append(made)
    return exponent, projections


def _fits(made: tuple[FixedPopulation, list[FixedProjection]], drives: list[_Drive], steps: int) -> bool:
    """Whether the exact integers pass the proof; the search worked with floats."""
    population, projections = made[0], [q for q in made[1] if len(q.synapses)]
    payloads = {d.projection.source: d.payload for d in drives}
    sources = tuple(
        FixedInput(
            q.source, (q.synapses.n_source,), "bias" if q.host else "spikes", payloads[q.source], payloads[q.source]
        )
        for q in projections
        if q.source != population.name
    )
    alone = FixedNetwork(sources, (replace(population, offset=0),), tuple(projections), (population.name,), steps)
    try:
        check_overflow(alone)
    except LimitError:
        return False
    return True
