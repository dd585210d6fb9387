"""`quantise`: a `SparseNetwork` in float becomes a `FixedNetwork` in the chip's integers.

The threshold test ``v >= S θ`` of training becomes the chip's ``v > 64 vth`` with ``64 S θ = 64 vth + 1``: v is an
integer there, so the threshold itself is exact. Where float weights add up to just θ, their rounding decides.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np

from ..errors import LimitError
from ..hw_targets.chip import Chip
from .adopt import adopt
from .balance import window_offsets
from .biases import apply_hosts, bias_exponents
from .drives import ONE, THRESHOLD_MAX, Drive, check_hosts, drive_of, largest_scale
from .fixed import FixedInput, FixedNetwork, FixedPopulation, FixedProjection
from .inputs import fixed_input
from .neurons import check_neuron
from .nodes import LIF, FixedNeurons, frozen_array
from .overflow import check_overflow
from .scale import Choice, choose, to_weights
from .sparse import SparseNetwork, SparsePopulation

READOUT_BITS = 25
"""Payload of what a readout sends, without its sign."""


def quantise(network: SparseNetwork, chip: Chip) -> FixedNetwork:
    """Weights, exponents, thresholds, decays, biases and payloads as integers that the chip has.

    What is in integers already is adopted as it is.

    Per population the scale with the least expected error of the currents is taken among those for which no sum can
    overflow; see `scale.choose` and `overflow.check_overflow`.

    Raises:
        UnsupportedError: a neuron that the chip has not.
        LimitError: a population that no scale fits.
    """
    inputs = tuple(fixed_input(network, p, chip) for p in network.inputs)
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


def check_population(population: SparsePopulation, chip: Chip) -> None:
    """Raises `UnsupportedError` or `LimitError` where the chip has no such neuron."""
    node = population.node
    subtracts = node.reset != ("zero" if isinstance(node, FixedNeurons) else "hard") and not node.readout
    check_neuron(population.name, chip, subtracts, population.refractory, READOUT_BITS * node.readout)


def _quantise_population(
    network: SparseNetwork, population: SparsePopulation, inputs: tuple[FixedInput, ...], chip: Chip, offset: int
) -> tuple[tuple[FixedInput, ...], FixedPopulation, list[FixedProjection]]:
    """The population, its incoming projections, and the inputs with the payload bits that serve it best."""
    check_population(population, chip)
    lowest = chip.limits.weight_exponent_min[0]
    best: tuple[float, tuple[FixedInput, ...], FixedPopulation, list[FixedProjection]] | None = None
    for candidate in _payload_choices(network, population, inputs):
        drives = [drive_of(network, q, candidate) for q in network.projections if q.target == population.name]
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


def _best_scale(
    population: SparsePopulation, drives: list[Drive], chip: Chip, offset: int, steps: int
) -> tuple[float, FixedPopulation, list[FixedProjection]] | None:
    bias = population.bias
    largest = largest_scale(population, drives, bias, steps)
    on_chip = [d for d in drives if not d.host]
    check_hosts(population, [d for d in drives if d.host], offset)
    limits = (chip.limits.weight_exponent_min[0], chip.limits.weight_exponent_max[0])
    for choice in choose([d.incoming for d in on_chip], largest, population.size, limits):
        with contextlib.suppress(LimitError):  # rounding can pass a limit that the search met: the next scale, then
            made = _apply(population, drives, on_chip, choice, offset, chip.limits.bias_exponent_min[0])
            left = made is not None and (bool(bias.any()) or any(len(q.synapses) for q in made[1]))
            if made is not None and left and _fits(made, drives, steps):
                return choice.error, *made
    return None


def _apply(
    population: SparsePopulation,
    drives: list[Drive],
    on_chip: list[Drive],
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
        exponent, hosted = apply_hosts(hosts, bias, scale)
        projections += hosted
        exponents = np.full(population.size, exponent, np.uint8)
    else:
        exponents = np.maximum(bias_exponents(bias * scale * ONE), np.uint8(least))
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


def _fits(made: tuple[FixedPopulation, list[FixedProjection]], drives: list[Drive], steps: int) -> bool:
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
