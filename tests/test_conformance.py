"""The contract: reference, engine, decoded tables, PyTorch and Lava agree on every spike, u and v. No tolerance."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import msgspec
import numpy as np
import pytest
from networks import FLAVOURS, random_network, small_chip
from reference import simulate
from snn_compile.compiler.balance import balance
from snn_compile.compiler.decode import decode
from snn_compile.compiler.encode import encode
from snn_compile.compiler.fold import fold
from snn_compile.compiler.lower import lower
from snn_compile.compiler.partition import partition
from snn_compile.compiler.place import place
from snn_compile.compiler.quantise import quantise
from snn_compile.compiler.tiles import fill_tiles
from snn_compile.frontend.data import load
from snn_compile.frontend.readers import read_model
from snn_compile.hw_targets import chip as chips
from snn_compile.runtime import run
from snn_compile.runtime.engine import run_engine
from snn_compile.runtime.lava import run_lava


def by_engine(network, samples):
    return run_engine(network, samples, traces=[p.name for p in network.populations])


def by_decoded_tables(network, samples):
    """Through the chip's bits, on a chip so small that the network needs several cores."""
    chip = small_chip(neurons_per_core=9)
    program = encode(network, place(partition(network, chip), chip), chip)
    assert decode(program) == network
    return run(program, samples, traces=[p.name for p in network.populations])


def by_torch(network, samples):
    pytest.importorskip("torch")
    from snn_compile.frontend.chip_exact import forward

    return forward(network, samples, traces=True)


def by_lava(network, samples):
    if importlib.util.find_spec("lava") is None:
        pytest.skip("lava-nc is not installed")
    return run_lava(network, samples, traces=[p.name for p in network.populations])


def assert_equal_to_reference(way, network, samples):
    expected = simulate(network, samples)
    result = way(network, samples)
    for population in network.populations:
        trace = result.traces[population.name]
        for name, theirs in zip(("spikes", "u", "v"), expected[population.name], strict=True):
            assert np.array_equal(getattr(trace, name), theirs), f"{name} of {population.name}"
        spikes = expected[population.name][0] != 0
        assert np.array_equal(result.activity.spikes[population.name], spikes.sum(axis=(0, 1)))
    assert all((result.activity.spikes[i.name] == 0).all() for i in network.inputs if i.encoding == "bias")
    outputs = np.concatenate([expected[name][0].sum(axis=1) for name in network.outputs], axis=1)
    assert np.array_equal(result.counts, outputs)
    return sum(int((expected[p.name][0] != 0).sum()) for p in network.populations)


@pytest.mark.parametrize("flavour", sorted(FLAVOURS))
@pytest.mark.parametrize("way", [by_engine, by_decoded_tables, by_torch], ids=lambda way: way.__name__)
def test_agrees_with_the_reference(way, flavour):
    spikes = 0
    for seed in range(60):
        network, samples = random_network(seed, **FLAVOURS[flavour])
        spikes += assert_equal_to_reference(way, network, samples)
    assert spikes > 500, "the networks must be lively, or the test says nothing"


LAVA_HAS = [name for name, has in sorted(FLAVOURS.items()) if not {"soft", "refractory", "drop"} & set(has)]
"""Lava's integers have neither a soft reset nor a refractory period."""


@pytest.mark.parametrize("flavour", LAVA_HAS)
def test_lava_agrees_with_the_reference(flavour):
    for seed in (1, 2):
        network, samples = random_network(seed, **FLAVOURS[flavour])
        assert_equal_to_reference(by_lava, network, samples)


@pytest.mark.slow
@pytest.mark.parametrize("flavour", LAVA_HAS)
def test_lava_agrees_with_the_reference_on_many(flavour):
    for seed in range(100, 120):
        network, samples = random_network(seed, **FLAVOURS[flavour])
        assert_equal_to_reference(by_lava, network, samples)


def test_results_do_not_depend_on_the_number_of_threads():
    network, samples = random_network(3)
    samples = np.repeat(samples, 20, axis=0)
    one, three = (run_engine(network, samples, threads=n) for n in (1, 3))
    assert np.array_equal(one.counts, three.counts)
    assert one.activity.synops == three.activity.synops
    assert one.activity.active_updates == three.activity.active_updates


CONVOLUTIONAL = Path(__file__).parents[1] / "examples" / "digits-conv.pt"


@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
def test_the_convolutional_example_is_the_same_everywhere(target):
    """From tables with shared lists on several cores: engine, PyTorch, the reference and Lava."""
    chip = chips.load(target)
    network = quantise(balance(lower(fold(read_model(CONVOLUTIONAL))), chip), chip)
    few = msgspec.structs.replace(chip.limits, neurons_per_core=(400, "test"))
    small = msgspec.structs.replace(chip, limits=few)
    slices = fill_tiles(network, small)
    assert len(slices.neurons) > 3 and any(slices.shared)
    decoded = decode(encode(network, place(slices, small), small))
    assert decoded == network
    samples = load("digits").test_samples[:4]
    for way in (by_engine, by_torch):
        assert assert_equal_to_reference(way, decoded, samples) > 500
    assert_equal_to_reference(by_lava, decoded, samples[:1])
