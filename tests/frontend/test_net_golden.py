"""lava-dl's own networks and what they send: layer by layer, every spike."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from snn_compile.compiler.pipeline import compile_network
from snn_compile.compiler.unroll import unroll
from snn_compile.frontend.readers.net.network import read_net
from snn_compile.frontend.readers.options import ReadOptions
from snn_compile.hw_targets.chip import load
from snn_compile.runtime.engine import run_engine

sys.path.insert(0, str(Path(__file__).parent))
from net_files import dense, goldens, write_layers
from net_simulation import simulate


def flat(array):
    """(steps, neurons) in the order channels, rows, columns from NetX's (columns, rows, channels, steps)."""
    return np.ascontiguousarray(array.T).reshape(array.shape[-1], -1).astype(np.int64)


def test_tiny_convolutions() -> None:
    folder = goldens()
    net = read_net(folder / "tiny.net", ReadOptions())
    sent = [np.load(folder / "gts" / "tinynet" / f"{name}.npy")[0][..., 1:] for name in ("input", "layer1", "output")]
    first, second, third = (np.moveaxis(array, -1, 0).reshape(array.shape[-1], -1) for array in sent)
    made = simulate(net, None, {"neurons0": first}, ["neurons1", "neurons2"])
    assert second.any() and third.any()
    assert np.array_equal(made["neurons1"], second)
    assert np.array_equal(made["neurons2"], third)


def test_neurons_of_the_input() -> None:
    """NetX puts weight * value + bias into their bias; here it is a synapse and a bias."""
    folder = goldens()
    net = read_net(folder / "tiny.net", ReadOptions())
    (encode,) = (node for node in net.nodes if node.name == "input0-encode")
    assert (encode.weight == 36).all() and (encode.bias == 34).all()
    drive = np.load(folder / "gts" / "tinynet" / "input_bias.npy")
    sent = np.moveaxis(np.load(folder / "gts" / "tinynet" / "input.npy")[0][..., 1:], -1, 0)
    values = np.repeat((drive.T.reshape(1, -1) - 34), len(sent), axis=0)
    whole = replace(encode, weight=np.ones_like(encode.weight))
    net = replace(net, nodes=tuple(whole if node is encode else node for node in net.nodes))
    assert np.array_equal(simulate(net, values, want=["neurons0"])["neurons0"], sent.reshape(len(sent), -1))


def test_pilotnet_layer_by_layer() -> None:
    """NetX resets layer k in step k of the chip, so there its window begins."""
    folder = goldens() / "gts" / "pilotnet_lif"
    net = read_net(folder / "network.net", ReadOptions())
    names = ["input", *(f"conv-{i}" for i in range(5)), *(f"fc-{i}" for i in range(3))]
    golden = [flat(np.load(folder / f"{name}.npy")) for name in names]
    populations = [f"neurons{i}" for i in (0, 1, 2, 3, 4, 5, 7, 8, 9)]
    for k in range(1, len(golden)):
        before = golden[k - 1][k - 1 : k + 15]
        made = simulate(net, None, {populations[k - 1]: before}, [populations[k]])
        assert np.array_equal(made[populations[k]], golden[k][k : k + 16]), names[k]
    assert golden[-1][8:].any()


def test_pilotnet_sigma_delta() -> None:
    """Nine layers of NetX without windows: each hears what the one before sent in the step before."""
    folder = goldens() / "gts" / "pilotnet_sdnn"
    net = read_net(folder / "network.net", ReadOptions(steps=9))
    (want,) = np.load(folder / "output.npy")
    values = np.repeat(flat(np.load(folder / "input.npy")), len(want), axis=0)
    sent = simulate(net, np.diff(values, axis=0, prepend=0), want=["neurons0"])["neurons0"]
    previous = "neurons0"
    for name in [f"neurons{i}" for i in (1, 2, 3, 4, 6, 7, 8, 9)]:
        late = np.vstack([np.zeros_like(sent[:1]), sent[:-1]])
        sent, previous = simulate(net, None, {previous: late}, [name])[name], name
    assert np.array_equal(np.cumsum(sent[:, 0]), want)


def test_axonal_delays_over_3000_steps() -> None:
    folder = goldens() / "gts" / "ntidigits"
    net = read_net(folder / "ntidigits.net", ReadOptions())
    assert (net.steps, net.votes) == (3000, 22)
    made = simulate(net, np.load(folder / "input.npy").T)["neurons4"]
    want = np.load(folder / "output.npy").T
    assert made.sum() == want.sum() > 20000
    assert np.array_equal(made[:-4], want[4:])  # a step per layer, and one of NetX's own


@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
def test_compiled_for_a_chip_it_sends_the_same(target) -> None:
    """The whole way: reader, passes, tables, engine; 3000 steps of 242 neurons."""
    folder = goldens() / "gts" / "ntidigits"
    compiled = compile_network(read_net(folder / "ntidigits.net", ReadOptions()), load(target))
    samples = np.load(folder / "input.npy").T[None].astype(np.int64)
    (output,) = compiled.network.outputs
    sent = run_engine(compiled.program, samples, traces=[output]).traces[output].spikes[0]
    assert np.array_equal(sent[:-4], np.load(folder / "output.npy").T[4:])


def test_dense_layer_of_2000_steps(tmp_path) -> None:
    folder = goldens() / "gts" / "dense"
    neuron = {"type": b"LOIHI", "iDecay": 4096, "vDecay": 415, "vThMant": 6}
    path = write_layers(tmp_path / "dense.net", [dense(np.load(folder / "weight.npy"), neuron)], steps=2000)
    made = simulate(read_net(path, ReadOptions()), np.load(folder / "in.npy").T)["neurons0"]
    want = np.load(folder / "out.npy").T
    assert want.any() and np.array_equal(made[:-1], want[1:])


POOLS = """
import numpy as np, torch
from lava.lib.dl.slayer.synapse.layer import Pool
torch.manual_seed(1)
for kernel, rows, columns in ((2, 6, 8), (2, 5, 7), (3, 6, 8), (4, 6, 8)):
    x = torch.randint(0, 4, (1, 3, rows, columns, 1)).float()
    y = Pool(kernel, weight_scale=5)(x)
    np.savez(f"pool-{kernel}-{rows}-{columns}.npz", x=x.numpy()[0, ..., 0], y=y.numpy()[0, ..., 0])
"""


@pytest.mark.skipif(importlib.util.find_spec("lava") is None, reason="lava-dl is not installed")
def test_pooling_is_that_of_slayer(tmp_path) -> None:
    """Also where the window leaves a remainder, which slayer pads below and to the right."""
    goldens()
    subprocess.run([sys.executable, "-c", POOLS], cwd=tmp_path, check=True, timeout=200, capture_output=True)
    for file in sorted(tmp_path.glob("*.npz")):
        kernel = int(file.name.split("-")[1])
        x, y = np.load(file)["x"], np.load(file)["y"]
        pool = {
            "type": "pool", "shape": y.shape, "weight": np.full((1, 1, kernel, kernel), 5.0, np.float32),
            "stride": [kernel, kernel], "padding": [0, 0], "dilation": [1, 1],
            "neuron": {"type": b"CUBA", "iDecay": 4096, "vDecay": 0, "vThMant": 9},
        }  # fmt: skip
        path = write_layers(tmp_path / "pool.net", [{"type": "input", "shape": x.shape}, pool])
        net = read_net(path, ReadOptions())
        made = unroll(net.by_name["pool1"], x.shape).matrix() @ x.ravel()
        assert np.array_equal(made.reshape(y.shape), y), file.name
