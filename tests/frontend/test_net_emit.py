"""What `to_net` writes: NetX, as it is, sends the same spikes; the reader gives the same integers back."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import simulate
from snn_compile.compiler.adopt import adopt, adopt_input
from snn_compile.compiler.fixed import FixedInput, FixedNetwork, FixedPopulation, FixedProjection
from snn_compile.compiler.fold import fold
from snn_compile.compiler.lower import lower
from snn_compile.compiler.synapses import Synapses
from snn_compile.errors import UnsupportedError
from snn_compile.frontend.readers.net.network import read_net
from snn_compile.frontend.readers.options import ReadOptions
from snn_compile.frontend.writers.net import to_net
from snn_compile.frontend.writers.netx import keeps_weights
from snn_compile.hw_targets.chip import load

HERE = Path(__file__).parent
needs_netx = pytest.mark.skipif(importlib.util.find_spec("lava") is None, reason="lava-dl is not installed")


def chain(seed, sizes, exponents, shape=None, dv=300, bias_exp=6, most=3, steps=12) -> FixedNetwork:
    rng = np.random.default_rng(seed)
    source = FixedInput("x", shape or (sizes[0],), "spikes", most, most)
    populations, projections, before = [], [], "x"
    for i, (size, exponent) in enumerate(zip(sizes[1:], exponents, strict=True)):
        name = f"p{i}"
        weights = 2 * rng.integers(-120, 127, (size, sizes[i]))
        weights[rng.random(weights.shape) < 0.3] = 0
        weights[0, 0] = 2
        bias = rng.integers(-20, 40, size)
        vth = 300 << max(0, exponent)
        populations.append(
            FixedPopulation(name, (size,), np.arange(size), 4095, dv, vth, bias, np.full(size, bias_exp), i)
        )
        synapses = Synapses.from_dense(weights.astype(np.int16))
        projections.append(FixedProjection(before, name, synapses, exponent))
        before = name
    return FixedNetwork((source,), tuple(populations), tuple(projections), (before,), steps)


def run_netx(folder: Path, network: FixedNetwork, samples, sparse=False):
    """(samples, steps, size): what the last layer of NetX sends, in a child that is killed with all of its own."""
    (folder / "network.net").write_bytes(to_net(network))
    shape = network.inputs[0].shape
    sent = samples.reshape(*samples.shape[:2], *shape)
    if len(shape) == 3:
        sent = sent.transpose(0, 1, 4, 3, 2)  # columns, rows, channels
    bits = network.inputs[0].payload_bits
    np.savez(folder / "job.npz", sent=sent, message_bits=bits, sparse=sparse)
    with (folder / "log").open("w") as log:
        command = [sys.executable, str(HERE / "netx_child.py"), str(folder)]
        child = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            child.wait(200)
        finally:
            os.killpg(child.pid, signal.SIGKILL)
    assert child.returncode == 0, (folder / "log").read_text()[-2000:]
    return np.load(folder / "result.npz")["spikes"]


CASES = {
    "dense": chain(1, (10, 8, 5), (0, 0)),
    "weights beyond 8 bits": chain(2, (10, 8, 5), (2, 3)),
    "an image first": chain(3, (12, 8, 5), (1, 0), shape=(2, 2, 3)),
    "biases of 3 bits": chain(4, (6, 5), (0,), dv=0, bias_exp=3, most=1),
}


@needs_netx
@pytest.mark.parametrize("name", CASES)
def test_netx_sends_the_same(name, tmp_path) -> None:
    network = CASES[name]
    rng = np.random.default_rng(7)
    (source,) = network.inputs
    samples = rng.integers(0, source.max_value + 1, (3, network.steps, source.size))
    want = simulate(network, samples)[network.outputs[0]][0]
    assert 0 < want.mean() < 1
    assert np.array_equal(run_netx(tmp_path, network, samples), want)


def adopted(path: Path) -> FixedNetwork:
    """A `.net` read, lowered and adopted for Loihi 2."""
    network = lower(fold(read_net(path, ReadOptions(max_value=3))))
    chip = load("loihi2")
    source = adopt_input(network.inputs[0].node, [network.populations[0].node], chip)
    populations, projections = [], []
    for i, population in enumerate(network.populations):
        incoming = [q for q in network.projections if q.target == population.name]
        made, through = adopt(population, incoming, chip, i)
        populations.append(made)
        projections += through
    return FixedNetwork((source,), tuple(populations), tuple(projections), network.outputs, network.steps)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=4),
    exponent=st.integers(0, 3),
    image=st.booleans(),
)
def test_round_trip(tmp_path_factory, seed, sizes, exponent, image) -> None:
    """Written and read again the network sends the same, whatever its synapses have become."""
    shape = (1, 1, sizes[0]) if image else None
    network = chain(seed, sizes, [exponent] * (len(sizes) - 1), shape)
    path = tmp_path_factory.mktemp("net") / "network.net"
    path.write_bytes(to_net(network))
    again = adopted(path)
    samples = np.random.default_rng(seed).integers(0, 4, (2, network.steps, sizes[0]))
    want, got = simulate(network, samples), simulate(again, samples)
    assert np.array_equal(got[again.outputs[0]][0], want[network.outputs[0]][0])


def refusals():
    plain = chain(5, (4, 3, 2), (0, 0))
    first, second = plain.populations

    def changed(**fields):
        return replace(plain, populations=(first, replace(second, **fields)))

    odd = replace(plain.projections[1], exponent=-2)
    loop = FixedProjection("p1", "p1", Synapses.from_dense(np.array([[0, 2], [2, 0]], np.int16)), 0)
    late = replace(plain.projections[1].synapses, delays=np.ones(len(plain.projections[1].synapses), np.uint8))
    return [
        (changed(reset="subtract"), "p1: does not reset to 0 at a spike, NetX's neurons do not"),
        (changed(refractory=2), "p1: rests after a spike, NetX's neurons do not"),
        (changed(dv=np.array([1, 2])), "p1: has dv 1 to 2, NetX has one for a layer"),
        (changed(bias_exp=np.zeros(2)), "p1: has biases that are no multiples of 64"),
        (replace(plain, projections=(plain.projections[0], odd)), "p0 -> p1: has weights shifted right by 2"),
        (replace(plain, projections=(*plain.projections, loop)), "p1: is recurrent, and NetX lets"),
        (
            replace(plain, projections=(plain.projections[0], replace(plain.projections[1], synapses=late))),
            "p1: hears delayed spikes",
        ),
        (replace(plain, outputs=("p0", "p1")), "network: has the outputs p0, p1, NetX has its last layer"),
    ]


@pytest.mark.parametrize("network, sentence", refusals())
def test_what_netx_has_not_is_refused(network, sentence) -> None:
    with pytest.raises(UnsupportedError, match=f"^{sentence}"):
        to_net(network)


def by_path(name):
    """A module of Lava alone: its package would set how this process starts others."""
    (root,) = importlib.util.find_spec("lava").submodule_search_locations
    path = Path(root) / name
    if not path.exists():
        pytest.skip("lava-dl is not installed")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[path.stem]
    return module


@needs_netx
@settings(max_examples=200, deadline=None)
@given(low=st.integers(-300, 0), high=st.integers(-20, 300), power=st.integers(0, 3), seed=st.integers(0, 10**6))
def test_which_weights_netx_keeps(low, high, power, seed) -> None:
    """The rule against lava-dl's own scaling and lava-nc's own clipping, for weights of either sign or both."""
    weightutils, netx = by_path("utils/weightutils.py"), by_path("lib/dl/netx/utils.py")
    values = np.random.default_rng(seed).integers(min(low, high), max(low, high) + 1, (4, 5)) << power
    if not values.any():
        assert not keeps_weights(values)
        return
    with np.errstate(divide="ignore"):
        scaled, bits, exponent, _ = netx.optimize_weight_bits(values)
    mode = weightutils.determine_sign_mode(scaled)
    kept = weightutils.truncate_weights(weightutils.clip_weights(scaled, mode, 8), mode, bits)
    same = exponent <= 0 and np.array_equal(kept, values << int(-exponent))
    assert keeps_weights(values) == same
