"""Random networks in integers, as general as the contract, and a chip so small that they need many cores."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
from hypothesis import strategies as st
from snn_compile.compiler.fixed import FixedInput, FixedNetwork, FixedPopulation, FixedProjection
from snn_compile.compiler.overflow import check_overflow
from snn_compile.compiler.slices import neuron_entries
from snn_compile.compiler.synapses import Synapses
from snn_compile.errors import LimitError
from snn_compile.hw_targets import chip as chips


def random_synapses(rng, n_source, n_target, density, max_delay=0, scale=128):
    weights = 2 * rng.integers(-scale, scale, (n_target, n_source))
    weights[rng.random(weights.shape) >= density] = 0
    if not weights.any():
        weights[rng.integers(n_target), rng.integers(n_source)] = 2
    delays = rng.integers(0, max_delay + 1, weights.shape)
    return Synapses.from_dense(weights.astype(np.int16), delays.astype(np.uint8))


def random_network(
    seed,
    *,
    encoding="graded",
    recurrent=False,
    delays=False,
    soft=False,
    refractory=False,
    sigma_delta=False,
    skip=False,
    decays=False,
    drop=None,
    integrator=False,
    max_size=24,
):
    """(network, samples): a chain of one to three populations with biases and decays, and what the flags ask for."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, max_size, int(rng.integers(2, 5))).tolist()
    levels = 1 if encoding == "rate" else int(rng.integers(2, 16 if sigma_delta else 256))
    source = FixedInput("in", (sizes[0],), encoding, 7 if encoding == "rate" else levels, levels)
    names = ["in"] + [f"p{i}" for i in range(len(sizes) - 1)]
    populations, projections = [], []
    for i, (name, size) in enumerate(zip(names[1:], sizes[1:], strict=True)):
        host = encoding == "bias" and i == 0
        density = rng.choice([0.1, 0.5, 1.0])
        delay = int(rng.integers(1, 6)) * (delays and not host)
        synapses = random_synapses(rng, sizes[i], size, density, delay, 2 if sigma_delta else 128)
        graded = i == 0 and levels > 1
        exponent = (
            int(rng.integers(-1 if sigma_delta else -7, 0)) if graded or rng.random() < 0.3 else int(rng.integers(0, 4))
        )
        projections.append(FixedProjection(names[i], name, synapses, -9 if host else exponent, host))
        population = _population(rng, name, size, i, host)
        if soft:
            population = replace(population, reset="subtract", drop=None)
        if decays:
            population = replace(population, du=_decays(rng, size, -1), dv=_decays(rng, size, 0))
        if drop is not None:
            population = replace(population, reset="subtract", drop=drop and rng.choice(DROPS, size))
        if refractory:
            population = replace(population, refractory=int(rng.integers(1, 5)))
        if sigma_delta and (sigma_delta == "all" or i % 2 == 0):
            population = _sigma_delta(rng, population)
        if integrator and i == len(sizes) - 2:
            population = replace(
                population, model="integrator", reset="zero", refractory=0, vth=0, drop=0,
                state_exp=int(rng.integers(0, 8)),
            )  # fmt: skip
        populations.append(population)
    if recurrent:
        for i in range(len(populations) - bool(integrator)):
            j = int(rng.integers(0, i + 1))
            synapses = random_synapses(rng, sizes[i + 1], sizes[j + 1], 0.3, 4 * delays)
            projections.append(FixedProjection(names[i + 1], names[j + 1], synapses, int(rng.integers(-3, 3))))
    for i in range(1, len(populations) if skip else 0):
        synapses = random_synapses(rng, sizes[0], sizes[i + 1], 0.5)
        late = np.full(len(synapses), i + rng.integers(0, 2) * rng.integers(0, 3), np.uint8)
        projections.append(
            FixedProjection("in", names[i + 1], replace(synapses, delays=late), int(rng.integers(-7, 0)))
        )
    network = FixedNetwork((source,), tuple(populations), tuple(projections), (names[-1],), int(rng.integers(1, 12)))
    network = _without_overflow(network)
    return network, random_samples(rng, network)


def _population(rng, name, size, offset, host):
    du = 4095 if rng.random() < 0.5 else int(rng.integers(500, 4095))
    bias = rng.integers(-300, 300, size) * (rng.random(size) < 0.5)
    exponents = np.full(size, rng.integers(4 if host else 0, 8))
    dv, vth = int(rng.integers(0, 4096)), int(rng.integers(1, 200 if host else 4000))
    return FixedPopulation(name, (size,), np.arange(size), du, dv, vth, bias, exponents, offset)


DROPS = [0, 1, 63, 64, 5000, 2**17, 2**22, 2**23 - 1]


def _decays(rng, size, lowest):
    """In runs of equal ones, most of them; some at either end."""
    few = rng.choice([lowest, 0, 1, 2048, 4094, 4095, *rng.integers(lowest, 4096, 3).tolist()], 3)
    runs = np.sort(rng.choice(few, size)) if rng.random() < 0.5 else rng.choice(few, size)
    return np.where(rng.random(size) < 0.2, rng.integers(lowest, 4096, size), runs)


def _sigma_delta(rng, population):
    activation = "identity" if rng.random() < 0.3 else "relu"
    return replace(
        population, model="sigma-delta", du=-1, dv=0, vth=int(rng.choice([0, 1, rng.integers(2, 500)])),
        bias_exp=population.bias_exp % 3, activation=activation, cumulative=bool(rng.random() < 0.5),
        state_exp=int(rng.choice([0, 0, 3])), payload=1,
    )  # fmt: skip


def _without_overflow(network):
    """Larger payloads and lower exponents until the proof passes."""
    try:
        check_overflow(network)
    except LimitError as error:
        if "a spike can carry" in error.problem and error.value < 2**14:
            fits = {error.subject: error.value}
            changed = tuple(replace(p, payload=fits.get(p.name, p.payload)) for p in network.populations)
            return _without_overflow(replace(network, populations=changed))
        lower = tuple(q if q.host else replace(q, exponent=q.exponent - 1) for q in network.projections)
        return _without_overflow(replace(network, projections=lower))
    return network


def random_samples(rng, network, count=3):
    (source,) = network.inputs
    if source.encoding == "spikes":
        values = rng.integers(0, source.payload + 1, (count, network.steps, source.size))
        return values * (rng.random(values.shape) < 0.3)
    if source.encoding == "delta" and rng.random() < 0.5:
        return rng.integers(0, source.max_value + 1, (count, network.steps, source.size))
    return rng.integers(0, source.max_value + 1, (count, source.size))


FLAVOURS = {
    "graded": {},
    "rate": {"encoding": "rate"},
    "bias": {"encoding": "bias"},
    "delays": {"delays": True},
    "recurrent": {"recurrent": True},
    "spikes, delays, recurrent": {"encoding": "spikes", "delays": True, "recurrent": True},
    "skip": {"skip": True},
    "spikes, skip, delays": {"encoding": "spikes", "skip": True, "delays": True},
    "soft": {"soft": True, "encoding": "rate"},
    "refractory": {"refractory": True, "recurrent": True},
    "soft, refractory": {"soft": True, "refractory": True, "encoding": "spikes"},
    "sigma-delta": {"sigma_delta": "all", "encoding": "delta"},
    "sigma-delta, lif": {"sigma_delta": "some", "delays": True},
    "decays": {"decays": True},
    "decays, soft, refractory": {"decays": True, "soft": True, "refractory": True, "encoding": "spikes"},
    "no reset": {"drop": 0},
    "own drop, recurrent": {"drop": True, "recurrent": True},
    "integrator": {"integrator": True},
    "integrator, bias": {"integrator": True, "encoding": "bias"},
    "integrator, decays, recurrent": {"integrator": True, "decays": True, "recurrent": True, "delays": True},
    "integrator, sigma-delta": {"integrator": True, "sigma_delta": "some", "encoding": "delta"},
}
"""What the conformance tests go through."""


def networks(**flags):
    """Strategy of (network, samples)."""
    return st.integers(0, 2**32 - 1).map(lambda seed: random_network(seed, **flags))


def any_network():
    """Strategy of (network, samples) of every flavour."""
    return st.sampled_from(sorted(FLAVOURS)).flatmap(lambda name: networks(**FLAVOURS[name]))


def output_entries(netlist, slices, chip):
    """(cores,) output-axon entries of cores that stand in order."""
    return np.bincount(slices.core_of(), neuron_entries(netlist, slices, chip), len(slices.neurons)).astype(np.int64)


def small_chip(**limits):
    """loihi2 with other limits, for instance ``neurons_per_core=4``."""
    chip = chips.load("loihi2")
    changed = {key: (value, "test") for key, value in limits.items()}
    return msgspec.structs.replace(chip, limits=msgspec.structs.replace(chip.limits, **changed))
