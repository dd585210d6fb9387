"""`lower`: a folded network becomes populations and sparse projections; neurons without effect are removed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import LimitError, NetworkError, UnsupportedError
from .dead import remove_dead
from .fold import free_name, path
from .network import Network
from .nodes import LIF, Conv2d, Delay, FixedNeurons, FloatArray, Input, Linear, Node, Population, Shape
from .sparse import Census, SparseInput, SparseNetwork, SparsePopulation, SparseProjection
from .synapses import SYNAPSES_MAX, Synapses
from .unroll import possible_synapses, surviving_synapses, unroll

DELAY_MAX = 255
"""Steps; a chip has less."""


def lower(network: Network) -> SparseNetwork:
    """Unrolls each layer into synapses and removes the neurons that cannot matter.

    Weights and biases take up what is constant in their neurons: gain, 1 / tau where the input decays, and 1 /
    threshold where thresholds differ. Where the bias of a layer is delayed, or goes through a synaptic current, it
    becomes a synapse from a neuron that fires in every step.

    Removed are neurons that can never fire (the largest input that they can get stays below the threshold for a
    whole window) and neurons that nobody hears, each as often as it finds more. Inputs and outputs keep their size.

    Raises:
        NetworkError: an output can never fire.
        UnsupportedError: the network has several inputs, or a reset that no neuron can make.
    """
    inputs = tuple(_input(network, node) for node in network.nodes if isinstance(node, Input))
    if len(inputs) > 1:
        raise UnsupportedError("network", f"has {len(inputs)} inputs, one is possible", "join them into one")
    _check_outputs(network)
    _check_size(network)
    clock = free_name("constant", {node.name for node in network.nodes})
    populations, census = [], []
    projections: dict[tuple[str, str], SparseProjection] = {}
    drives: dict[str, list[_Drive]] = {}
    for node in network.nodes:
        if not isinstance(node, Population):
            continue
        shape = network.shapes[node.name]
        size = math.prod(shape)
        scaled = _Scaled.of(node, shape, _rate(network, node.name, size))
        steady, late = np.zeros(size), []
        for layer_name in (s for s, t in network.edges if t == node.name):
            made, drive, count = _project(network, node.name, layer_name)
            made = replace(made, synapses=_rescaled(made.synapses, scaled.gain))
            steady += np.where(drive.delays == 0, drive.bias, 0)
            late.append(_Drive(np.where(drive.delays == 0, 0, drive.bias), drive.delays))
            if (made.source, node.name) in projections:
                made = _sum(projections[made.source, node.name], made)
            projections[made.source, node.name] = made
            census.append(count)
        population, slow = scaled.split(steady)
        rows = [_Drive(row.bias * scaled.gain, row.delays) for row in late if row.bias.any()]
        rows += [_Drive(slow, np.zeros(size, np.int64))] if slow.any() else []
        if rows:
            drives[node.name] = rows
        populations.append(population)
    if drives:
        projections |= {(clock, target): _clocked(clock, target, drives) for target in drives}
        populations.insert(0, _clock(clock, max(map(len, drives.values()))))
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


def _check_outputs(network: Network) -> None:
    """Spikes and membranes, or membranes of different scales, make no common answer."""
    for name in network.outputs:
        node = network.by_name[name]
        if isinstance(node, Population) and node.readout and len(network.outputs) > 1:
            problem = f"is read out beside {len(network.outputs) - 1} other outputs, whose answers have another unit"
            raise UnsupportedError(name, problem, "join the outputs in one layer, or keep one of them")


def _check_size(network: Network) -> None:
    """Before there is memory for them: synapses of all layers together."""
    count = 0
    for node in network.nodes:
        if isinstance(node, (Linear, Conv2d)):
            before = next(s for s, t in network.edges if t == node.name)
            own = surviving_synapses(node, network.shapes[before])
            count += own
            if count > SYNAPSES_MAX:
                problem = f"brings the network to {count} synapses ({own} of its own), {SYNAPSES_MAX} are possible"
                raise LimitError(
                    node.name, problem, "prune more, or use a larger stride", value=count, limit=SYNAPSES_MAX
                )


@dataclass(frozen=True)
class _Scaled:
    """A population with all its neurons, its bias that of the neurons alone, and what its inputs are multiplied by."""

    population: SparsePopulation
    gain: FloatArray

    @classmethod
    def of(cls, node: LIF | FixedNeurons, shape: Shape, rate: FloatArray | None) -> _Scaled:
        size = math.prod(shape)
        origin, none = np.arange(size, dtype=np.int32), np.zeros(size)
        if isinstance(node, FixedNeurons):
            as_it_is = SparsePopulation(node, shape, origin, none, none, none, none, 1.0, node.refractory, rate)
            return cls(as_it_is, np.ones(size))
        constant = {key: np.asarray(getattr(node, key), np.float64).ravel() for key in node.constants}
        tau, threshold = constant["tau"], constant["threshold"]
        if node.readout:
            threshold = np.ones(1)
        unit = 1.0 if len(threshold) == 1 else 1 / threshold
        share = (1 / tau if node.decay_input else 1.0) * unit
        keep, keep_syn = 1 - 1 / tau, 1 - 1 / constant["tau_syn"]
        whole = float(threshold[0]) if len(threshold) == 1 else 1.0
        drop = _drop(node, keep, whole)
        late = node.reset_delay and node.reset == "hard"
        rest = 0 if node.readout else node.refractory + late
        if not keep.any():
            node = replace(node, reset="hard")  # nothing is left of v, whatever the reset is
        bias = constant["bias"] * share
        population = SparsePopulation(node, shape, origin, bias, keep, keep_syn, drop, whole, rest, rate)
        return cls(population, np.broadcast_to(constant["gain"] * share, size))

    def split(self, steady: FloatArray) -> tuple[SparsePopulation, FloatArray]:
        """The population with the biases of the layers before, and what of them takes a constant source."""
        scaled, slow = steady * self.gain, self.population.keep_syn != 0
        direct = self.population.bias + np.where(slow, 0, scaled)
        return replace(self.population, bias=direct), np.where(slow, scaled, 0)


def _drop(node: LIF, keep: FloatArray, threshold: float) -> FloatArray:
    """What a spike takes from v.

    A reset one step late takes the threshold after the decay, so at once it takes ``threshold / keep``; a late hard
    reset empties v and the next step's input: a hard reset, and one step of rest.
    """
    if node.reset_delay and node.refractory:
        raise UnsupportedError(node.name, "resets one step late and then rests", "leave one of the two out")
    if node.reset != "soft" or node.readout:
        return np.zeros(1)
    if not node.reset_delay:
        return np.full(1, threshold)
    if (keep <= 0).any():
        problem = "subtracts its threshold one step late, and keeps nothing of its membrane until then"
        raise UnsupportedError(node.name, problem, "reset in the same step, or keep a part of the membrane (beta > 0)")
    return threshold / keep


@dataclass(frozen=True)
class _Drive:
    """(size,) constant inputs of a population, and the steps that each comes late."""

    bias: FloatArray
    delays: NDArray[np.int64]


def _clock(name: str, size: int) -> SparsePopulation:
    """Neurons that fire in every step."""
    none = np.zeros(size)
    node = LIF(name, tau=1.0)
    return SparsePopulation(node, (size,), np.arange(size), none + 2, none, none, none, 1.0, 0, none + 1)


def _clocked(clock: str, target: str, drives: Mapping[str, list[_Drive]]) -> SparseProjection:
    """Synapses from neurons that fire in every step, one for each of the drives of a population."""
    rows = max(map(len, drives.values()))
    weights, delays = np.zeros((2, len(drives[target][0].bias), rows))
    for row, drive in enumerate(drives[target]):
        weights[:, row], delays[:, row] = drive.bias, drive.delays
    synapses = Synapses.from_dense(weights, delays.astype(np.uint8))
    return SparseProjection(f"{target} bias", clock, target, synapses)


def _project(network: Network, target: str, last: str) -> tuple[SparseProjection, _Drive, Census]:
    """(synapses, biases, census) of the path that ends with the node `last` before the population `target`."""
    source, chain = path(network, last)
    (place,) = (i for i, step in enumerate(chain) if isinstance(step, (Linear, Conv2d)))
    layer = chain[place]
    assert isinstance(layer, (Linear, Conv2d))
    synapses = unroll(layer, network.shapes[source])
    possible = possible_synapses(layer, network.shapes[source])
    count = Census(layer.name, source, target, possible, len(synapses))
    before, behind = _delays(chain[:place], synapses.n_source), _delays(chain[place:], synapses.n_target)
    longest = int(before.max(initial=0) + behind.max(initial=0))
    if longest > DELAY_MAX:
        problem = f"needs a delay of {longest} steps, {DELAY_MAX} are possible"
        raise LimitError(f"{source} -> {target}", problem, "shorten it", value=longest, limit=DELAY_MAX)
    if longest:
        early, late = (delays.astype(np.uint8) for delays in (before, behind))
        synapses = replace(synapses, delays=early[synapses.sources] + late[synapses.targets])
    drive = _Drive(_bias(layer, network.shapes[layer.name]), behind)
    return SparseProjection(layer.name, source, target, synapses), drive, count


def _delays(chain: Sequence[Node], size: int) -> NDArray[np.int64]:
    """(size,) the sum of all delays among the nodes."""
    total = np.zeros(size, np.int64)
    for node in chain:
        if isinstance(node, Delay):
            total = total + np.asarray(node.steps).ravel()
    return total


def _rescaled(synapses: Synapses, gain: FloatArray) -> Synapses:
    """With the weights into each neuron multiplied by its gain."""
    if bool((gain == 1).all()):
        return synapses
    return synapses.with_weights(synapses.weights * gain[synapses.targets])


def _bias(layer: Linear | Conv2d, shape: Shape) -> FloatArray:
    if layer.bias is None:
        return np.zeros(math.prod(shape))
    bias = layer.bias.astype(np.float64)
    if bias.ndim == 1:
        bias = bias.reshape(-1, *[1] * (len(shape) - 1))
    return np.broadcast_to(bias, shape).ravel()


def _sum(first: SparseProjection, second: SparseProjection) -> SparseProjection:
    """Two layers between the same populations as one projection."""
    layer, size = f"{first.layer} + {second.layer}", first.synapses.n_target
    every = [(q.sources, q.targets, q.weights, q.delays) for q in (first.synapses, second.synapses)]
    sources, targets, weights, delays = (np.concatenate(column) for column in zip(*every, strict=True))
    key = (sources.astype(np.int64) * size + targets) * (DELAY_MAX + 1) + delays
    different, where = np.unique(key, return_inverse=True)
    pair, delay = np.divmod(different, DELAY_MAX + 1)
    if bool((np.diff(pair) == 0).any()):
        problem = "join the same neurons with different delays"
        raise UnsupportedError(layer, problem, "give them the same delay, or a layer of neurons of its own")
    total = np.bincount(where.reshape(-1), weights, len(different))
    rows, columns = np.divmod(pair, size)
    merged = Synapses.from_triples(first.synapses.n_source, size, rows, columns, total, delay)
    return replace(first, layer=layer, synapses=merged)


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
