"""`adopt`: populations whose constants are the chip's integers already, and their weights, without a second rounding.

A chip's weights are even, -256 … 254, so ``(sum of w s) << e`` is written as ``(sum of W s) << E`` with ``W = w 2^k``
and ``E = e - k``: the sum of W s is a multiple of 2^k, so a shift right by k loses nothing, and where e is negative
already both floor the same number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import LimitError, NetworkError, UnsupportedError
from ..hw_targets.chip import Chip
from .fixed import FRACTION_BITS, U_LIMIT, FixedInput, FixedPopulation, FixedProjection
from .neurons import check_neuron
from .nodes import FixedNeurons, Input
from .overflow import needed_payload, payload_total
from .scale import WEIGHT_MAX, WEIGHT_MIN
from .sparse import SparsePopulation, SparseProjection

Ints = NDArray[np.int64]
Sources = Mapping[str, FixedInput | FixedPopulation]
BIAS_EXPONENT_MAX = 7
HOST_WEIGHT_MAX = 2**15 - 1


def adopt(
    population: SparsePopulation,
    incoming: list[SparseProjection],
    chip: Chip,
    offset: int,
    sources: Sources | None = None,
    steps: int = 1,
) -> tuple[FixedPopulation, list[FixedProjection]]:
    """A population of `FixedNeurons` and its projections in the chip's form; every number stays what it was.

    Args:
        population: its `bias` are mantissas.
        incoming: all projections onto it; their weights are whole numbers.
        chip: whose exponents count.
        offset: of the population's window.
        sources: what the projections come from, as far as it is in integers already. Where one is missing, sigma-delta
            neurons get the largest payload that there is.
        steps: per sample; with `sources` they bound the payload of sigma-delta neurons.

    Raises:
        LimitError: weights, biases, decays or the threshold that the chip cannot hold exactly.
        UnsupportedError: neurons that the chip has not, or an analogue input that its biases cannot stand for.

    >>> from ..hw_targets.chip import load
    >>> from .synapses import Synapses
    >>> cells = FixedNeurons("y", vth=3, du=4095, dv=512)
    >>> group = SparsePopulation(cells, (1,), np.arange(1), np.zeros(1), 0, 0, 0, 1.0, 0)
    >>> odd = SparseProjection("fc", "x", "y", Synapses.from_dense([[3.0, -100.0]]))
    >>> made, (projection,) = adopt(group, [odd], load("loihi1"), offset=0)
    >>> made.vth, projection.synapses.weights.tolist(), projection.exponent
    (3, [6, -200], -1)
    """
    node = population.node
    assert isinstance(node, FixedNeurons)
    known = sources or {}
    mantissas, exponents = _biases(population, node)
    projections = []
    for q in incoming:
        source = known.get(q.source)
        if isinstance(source, FixedInput) and source.encoding == "bias":
            projections.append(_hosted(q, population, node, offset))
        else:
            projections.append(_adopted(q, node, chip))
    du, dv = (_per_neuron(population, key) for key in ("du", "dv"))
    made = FixedPopulation(
        node.name, population.shape, population.origin, du, dv, node.vth, mantissas, exponents, offset,
        model=node.model, reset=node.reset, refractory=node.refractory, activation=node.activation,
        cumulative=node.cumulative, state_exp=node.state_exp,
        payload=1 if node.model == "lif" else _payload(node, projections, mantissas << exponents, known, steps),
    )  # fmt: skip
    check_neuron(node.name, chip, node.reset == "subtract", node.refractory, made.payload_bits)
    return made, projections


def adopt_input(node: Input, targets: Sequence[FixedNeurons], chip: Chip) -> FixedInput:
    """An input that sends raw values to integer neurons: as they are, or their changes to sigma-delta neurons.

    Raises:
        UnsupportedError: sigma-delta neurons and others share it, or the chip cannot carry its payloads.
        LimitError: its values need more payload bits than the chip has.

    >>> from ..hw_targets.chip import load
    >>> changes = FixedNeurons("y", model="sigma-delta")
    >>> adopt_input(Input("x", shape=(2,), max_value=9), [changes], load("loihi2")).encoding
    'delta'
    """
    changes = {target.model == "sigma-delta" for target in targets}
    if len(changes) > 1:
        problem = "feeds sigma-delta neurons, which take changes, and others, which take values"
        raise UnsupportedError(node.name, problem, "give each kind its own input")
    if node.encoding == "rate":
        return FixedInput(node.name, node.shape, "rate", node.max_value, 1)
    plain = node.max_value == 1 and node.encoding == "spikes"
    if not plain and not chip.graded:
        if node.encoding == "graded" and changes == {False}:
            return FixedInput(node.name, node.shape, "bias", node.max_value, node.max_value)
        problem = f"sends payloads up to {node.max_value}, {chip.name} has binary spikes"
        raise UnsupportedError(node.name, problem, "choose a target with graded ones")
    limit = 2 ** (chip.limits.graded_payload_bits[0] - (changes == {True})) - 1
    if not plain and node.max_value > limit:
        problem = f"sends values up to {node.max_value}, {chip.name} carries {limit}"
        raise LimitError(node.name, problem, "scale the input down", value=node.max_value, limit=limit)
    encoding = "delta" if changes == {True} and node.encoding == "graded" else node.encoding
    return FixedInput(node.name, node.shape, encoding, node.max_value, node.max_value)


def _whole(name: str, values: NDArray[np.float64]) -> Ints:
    """Floats that hold integers, as integers."""
    rounded = np.rint(values)
    if (rounded != values).any():
        problem = f"is in integers, yet has the weight or bias {values[rounded != values][0]:g}"
        raise NetworkError(name, problem, "quantise it before, or train it in float")
    whole: Ints = rounded.astype(np.int64)
    return whole


def _per_neuron(population: SparsePopulation, key: str) -> Ints:
    """du or dv of the neurons that are left."""
    values = np.broadcast_to(np.asarray(getattr(population.node, key)).ravel(), int(np.prod(population.shape)))
    chosen: Ints = values[population.origin].astype(np.int64)
    return chosen


def _biases(population: SparsePopulation, node: FixedNeurons) -> tuple[Ints, Ints]:
    """(mantissas, exponents): even mantissas beyond 13 bits move into the exponent."""
    mantissas = _whole(node.name, population.bias)
    exponents = np.full(population.size, node.bias_exp, np.int64)
    for _ in range(BIAS_EXPONENT_MAX - node.bias_exp):
        moved = (np.abs(mantissas + 0.5) > 4096) & (mantissas % 2 == 0) & (exponents < BIAS_EXPONENT_MAX)
        mantissas, exponents = np.where(moved, mantissas >> 1, mantissas), exponents + moved
    beyond = np.flatnonzero(np.abs(mantissas + 0.5) > 4096)
    if beyond.size:
        worst = int(mantissas[beyond[0]]) << int(exponents[beyond[0]])
        problem = f"its neuron {beyond[0]} has the bias {worst}, 13 bits << 7 cannot hold it"
        raise LimitError(node.name, problem, "lower it", value=worst, limit=4095 << BIAS_EXPONENT_MAX)
    return mantissas, exponents


def _adopted(q: SparseProjection, node: FixedNeurons, chip: Chip) -> FixedProjection:
    weights = _whole(q.layer, q.synapses.weights.astype(np.float64))
    common = _common_power(weights)
    odd, exponent = weights >> common, node.exponent + common
    limits = chip.limits
    spare = max(1, exponent - limits.weight_exponent_max[0])
    chosen = odd << min(spare, 32)
    low, high = int(chosen.min(initial=0)), int(chosen.max(initial=0))
    if spare > 1 and (low < WEIGHT_MIN or high > WEIGHT_MAX):
        most = limits.weight_exponent_max[0]
        problem = f"needs the weight exponent {exponent - 1}, {chip.name} has {most}"
        raise LimitError(q.layer, problem, "scale it down", value=exponent - 1, limit=most)
    if low < WEIGHT_MIN or high > WEIGHT_MAX:
        worst = int(weights.min()) if low < WEIGHT_MIN else int(weights.max())
        bound = ((WEIGHT_MIN if worst < 0 else WEIGHT_MAX) >> spare) << common
        problem = f"has the weight {worst} beside others that are no multiple of {2 << common}, which allows {bound}"
        raise LimitError(q.layer, problem, "quantise its weights to 8 bits", value=worst, limit=bound)
    if exponent - spare < limits.weight_exponent_min[0]:
        problem = f"needs the weight exponent {exponent - spare}, {chip.name} has {limits.weight_exponent_min[0]}"
        raise LimitError(q.layer, problem, "scale it up", value=exponent - spare, limit=limits.weight_exponent_min[0])
    synapses = q.synapses.with_weights(chosen.astype(np.int16))
    return FixedProjection(q.source, q.target, synapses, exponent - spare)


def _common_power(weights: Ints) -> int:
    """The largest k for which all are multiples of 2^k.

    >>> _common_power(np.array([12, -8]))
    2
    """
    union = int(np.bitwise_or.reduce(np.abs(weights), initial=0))
    return (union & -union).bit_length() - 1 if union else 0


def _hosted(q: SparseProjection, population: SparsePopulation, node: FixedNeurons, offset: int) -> FixedProjection:
    """Values that the host adds to v in every step: the same as an `a` of every step where u keeps nothing."""
    way_out = "use a target with graded spikes, or --encoding rate"
    if (_per_neuron(population, "du") != 4095).any() or q.synapses.max_delay > offset:
        problem = "has a synaptic current or a delay, and its analogue input can only be loaded as a bias"
        raise UnsupportedError(node.name, problem, way_out)
    shift = node.exponent + FRACTION_BITS - node.bias_exp
    weights = _whole(q.layer, q.synapses.weights.astype(np.float64))
    if shift > 0:
        weights <<= min(shift, 32)
    worst = int(np.abs(weights).max(initial=0))
    if worst > HOST_WEIGHT_MAX:
        problem = f"has the weight {worst} on the host, {HOST_WEIGHT_MAX} is possible"
        raise LimitError(q.layer, problem, way_out, value=worst, limit=HOST_WEIGHT_MAX)
    return FixedProjection(q.source, q.target, q.synapses.with_weights(weights.astype(np.int16)), min(shift, 0), True)


def _payload(
    node: FixedNeurons, projections: Sequence[FixedProjection], bias: Ints, sources: Sources, steps: int
) -> int:
    """What a sigma-delta neuron's spike carries at most."""
    total = np.abs(bias)
    for q in projections:
        source = sources.get(q.source)
        if source is None:
            total = total + U_LIMIT
            continue
        sums, _ = q.synapses.bound(payload_total(source, steps), signed=True)
        groups = len(np.unique(q.synapses.delays))
        total = total + (sums << q.exponent if q.exponent >= 0 else (sums >> -q.exponent) + steps * groups)
    reach = min(int(total.max(initial=0)), U_LIMIT - 1)
    one = FixedPopulation(
        node.name, (1,), np.zeros(1), -1, 0, node.vth, np.zeros(1), np.zeros(1), 0,
        model="sigma-delta", activation=node.activation, cumulative=node.cumulative, state_exp=node.state_exp,
    )  # fmt: skip
    return min(max(1, needed_payload(one, reach, steps)), 2 * U_LIMIT)
