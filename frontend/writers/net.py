"""lava-dl's `.net` from a compiled network, so that NetX, as it is, computes the same spikes.

The file has no field for exponents: NetX's neurons get ``sum of w s`` itself, and biases shifted by 6. So weights are
written with their exponent in them. Where NetX's dense synapses would clip or round them, a layer is written as a
convolution over its whole input, whose weights NetX takes as they are.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...compiler.fixed import FRACTION_BITS, U_LIMIT, FixedInput, FixedNetwork, FixedPopulation, FixedProjection
from ...errors import UnsupportedError
from .netx import keeps_weights

Ints = NDArray[np.int64]
NEVER = 2**18 - 1
"""The threshold that lava-dl writes for neurons that are only read."""
THRESHOLD_MAX = 2**17 - 1
WEIGHT_MAX = 2**24
ELEMENTS_MAX = 2**27
"""Of one layer's matrix, 1 GiB."""
ONE = 2**FRACTION_BITS


def to_net(network: FixedNetwork) -> bytes:
    """The `.net` with which NetX sends what the compiled network sends, bit for bit.

    Load it with ``Network(file, reset_interval=steps, reset_offset=1)`` and with ``input_message_bits`` where the input
    has payloads. The spikes of layer k (from 0) in a sample's step t leave NetX in step t + k + 1. Neurons that were
    removed are not in it; inputs and outputs are complete, in their order. A readout is its last layer's v.

    Raises:
        UnsupportedError: what NetX cannot compute exactly, or does not have.
    """
    layers = _chain(network)
    convolved = [i for i, layer in enumerate(layers) if not keeps_weights(layer.weight)]
    first_dense = max(convolved, default=-1) + 1
    return _write(network, layers, first_dense)


@dataclass(frozen=True)
class _Layer:
    """weight (out, in) with its exponent in it, bias in units of 64, threshold; all times the same power of two."""

    population: FixedPopulation
    weight: Ints
    bias: Ints
    vth: int


def _chain(network: FixedNetwork) -> list[_Layer]:
    """The layers from the input to the output; NetX has no other way through a network."""
    (source,) = network.inputs
    if source.encoding in ("bias", "delta"):
        problem = "is loaded into biases" if source.encoding == "bias" else "sends changes"
        raise UnsupportedError(source.name, f"{problem}, which no .net can say", "compile with --encoding rate")
    before: FixedInput | FixedPopulation = source
    layers = []
    heard = {q.target for q in network.projections}
    for population in network.populations:
        if population.name not in heard:
            problem = "has a bias that goes through a synaptic current, NetX adds biases to the membrane"
            target = next((q.target for q in network.projections if q.source == population.name), population.name)
            raise UnsupportedError(target, problem, "train without biases, or without the synaptic current")
        incoming = [q for q in network.projections if q.target == population.name]
        _check_path(network, population, before, incoming)
        layers.append(_layer(network, population, before, incoming))
        before = population
    if network.outputs != (before.name,):
        problem = f"has the outputs {', '.join(network.outputs)}, NetX has its last layer"
        raise UnsupportedError("network", problem, "end the network with one layer of neurons")
    return layers


def _check_path(
    network: FixedNetwork,
    population: FixedPopulation,
    before: FixedInput | FixedPopulation,
    incoming: list[FixedProjection],
) -> None:
    others = [q.source for q in incoming if q.source != before.name]
    way_out = "emit a chain of layers"
    if population.size * before.size > ELEMENTS_MAX:
        problem = f"would be a matrix of {population.size} x {before.size}, {ELEMENTS_MAX} weights are possible"
        raise UnsupportedError(population.name, problem, "emit another format")
    if population.name in others:
        problem = "is recurrent, and NetX lets the last spikes of a sample reach the next one"
        raise UnsupportedError(population.name, problem, way_out)
    if others:
        raise UnsupportedError(population.name, f"hears {others[0]}, NetX knows the layer before only", way_out)
    if any(network.lags(q).any() for q in incoming):
        problem = "hears delayed spikes, and NetX lets those that are on their way reach the next sample"
        raise UnsupportedError(population.name, problem, way_out)
    if population.model == "sigma-delta":
        problem = "has sigma-delta neurons, which NetX does not reset between samples"
        raise UnsupportedError(population.name, problem, way_out)
    if population.reset == "subtract" or population.refractory:
        problem = "does not reset to 0 at a spike" if population.reset == "subtract" else "rests after a spike"
        raise UnsupportedError(population.name, f"{problem}, NetX's neurons do not", "train with a plain hard reset")
    for key in ("du", "dv"):
        values = np.unique(getattr(population, key))
        if len(values) > 1:
            problem = f"has {key} {values[0]} to {values[-1]}, NetX has one for a layer"
            raise UnsupportedError(population.name, problem, "train with one time constant per layer")


def _layer(
    network: FixedNetwork,
    population: FixedPopulation,
    before: FixedInput | FixedPopulation,
    incoming: list[FixedProjection],
) -> _Layer:
    weight = np.zeros((population.size, before.size), np.int64)
    for q in incoming:
        synapses = q.synapses
        values = synapses.weights.astype(np.int64)
        if q.exponent < 0 and (values & ((1 << -q.exponent) - 1)).any():
            problem = f"has weights shifted right by {-q.exponent}, and NetX does not round sums"
            raise UnsupportedError(f"{q.source} -> {q.target}", problem, "compile with --encoding rate")
        values = values << q.exponent if q.exponent >= 0 else values >> -q.exponent
        weight[synapses.targets, synapses.sources] = values
    return _scaled(network, population, weight, before.payload)


def _scaled(network: FixedNetwork, population: FixedPopulation, weight: Ints, payload: int) -> _Layer:
    """Where a bias is no multiple of 64, all is multiplied by a power of two; neurons without leak do not notice."""
    spare = population.bias % ONE
    power = FRACTION_BITS - _trailing_zeros(spare) if spare.any() else 0
    reach = (np.abs(weight).sum(axis=1) * payload * ONE + np.abs(population.bias)).max(initial=0)
    if power:
        leaks = bool((population.dv != 0).any()) or not set(population.du.tolist()) <= {4095}
        room = int(reach) * network.steps << power < U_LIMIT and population.vth << power <= THRESHOLD_MAX
        if leaks or not room or population.model == "integrator":
            problem = "has biases that are no multiples of 64, NetX shifts biases by 6 bits"
            raise UnsupportedError(population.name, problem, "train without biases")
    if int(np.abs(weight).max(initial=0)) << power >= WEIGHT_MAX:
        raise UnsupportedError(population.name, "has weights beyond 24 bits", "emit another format")
    return _Layer(population, weight << power, (population.bias << power) // ONE, population.vth << power)


def _trailing_zeros(values: Ints) -> int:
    union = int(np.bitwise_or.reduce(values))
    return (union & -union).bit_length() - 1


def _write(network: FixedNetwork, layers: list[_Layer], first_dense: int) -> bytes:
    import h5py

    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        (source,) = network.inputs
        image = _image(source.shape)
        shape = image if first_dense else (source.size,)
        groups: list[dict[str, Any]] = [{"type": "input", "shape": shape}]
        for i, layer in enumerate(layers):
            if i == first_dense and i > 0:
                groups.append({"type": "flatten", "shape": (layer.weight.shape[1],)})
            if i < first_dense:
                groups.append(_convolution(layer, shape))
                shape = (layer.population.size, 1, 1)
            else:
                groups.append(_dense(layer))
            groups[-1] |= _neuron(layer)
        for i, fields in enumerate(groups):
            group = file.create_group(f"layer/{i}")
            for key, value in fields.items():
                group[key] = np.array([value.encode()]) if key == "type" else np.asarray(value)
        file["simulation/Ts"], file["simulation/tSample"] = 1, network.steps
    return content.getvalue()


def _image(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(channels, rows, columns) with the values in the same order."""
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    return 1, math.prod(shape[:-1]), shape[-1]


def _dense(layer: _Layer) -> dict[str, Any]:
    out, inside = layer.weight.shape
    return {
        "type": "dense", "shape": (out,), "inFeatures": inside, "outFeatures": out,
        "weight": layer.weight.astype(np.float32),
    }  # fmt: skip


def _convolution(layer: _Layer, shape: tuple[int, ...]) -> dict[str, Any]:
    """A kernel as large as the image, so that it has one place."""
    out = len(layer.weight)
    return {
        "type": "conv", "shape": (out, 1, 1), "inChannels": shape[0], "outChannels": out,
        "kernelSize": shape[1:], "stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1,
        "weight": layer.weight.reshape(out, *shape).astype(np.float32),
    }  # fmt: skip


def _neuron(layer: _Layer) -> dict[str, Any]:
    population = layer.population
    fields: dict[str, Any] = {"bias": layer.bias.astype(np.float32)} if layer.bias.any() else {}
    constants = {
        "type": np.bytes_("CUBA"), "iDecay": int(population.du[0]) + 1, "vDecay": int(population.dv[0]),
        "vThMant": NEVER if population.model == "integrator" else layer.vth, "refDelay": 1, "gradedSpike": False,
    }  # fmt: skip
    return fields | {f"neuron/{key}": value for key, value in constants.items()}
