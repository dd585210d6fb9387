"""Training speed on `mnist-2fc` (784-800-10, T = 8, batch 128), SpikingJelly and slayer beside it.

    python benchmarks/train.py [--quick] [--data-dir FOLDER] [--json FILE]

Prints seconds per epoch of 60 000 samples, and ratios of the time of a training step (forward, backward, Adam) on the
same batches in turns, so that a busy machine slows all alike. The gradients of the first layer are compared with
SpikingJelly's. Without ``--data-dir`` the samples are random, a fifth of the pixels lit, as in MNIST.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from snn_compile.compiler import nodes as ir
from snn_compile.frontend import sparse_linear
from snn_compile.frontend.data import DataSet, load
from snn_compile.frontend.model import SpikingNetwork
from snn_compile.frontend.networks import build
from snn_compile.frontend.options import TrainOptions
from snn_compile.frontend.parallel import backward, gradient_pool
from snn_compile.frontend.run import Run
from torch import Tensor
from torch.nn import functional as F

STEPS, BATCH, SAMPLES = 8, 128, 60_000

Step = Callable[[Tensor, Tensor], None]


def data_set(folder: Path | None) -> DataSet:
    if folder is not None:
        return load("mnist", folder)
    random = np.random.default_rng(0)
    samples = random.integers(0, 256, (SAMPLES, 1, 28, 28)) * (random.random((SAMPLES, 1, 28, 28)) < 0.2)
    labels = random.integers(0, 10, SAMPLES)
    return DataSet("mnist", samples.astype(np.uint8), labels, samples[:128].astype(np.uint8), labels[:128], 255, 10)


def epoch_seconds(data: DataSet, method: str, share: int) -> float:
    """A pass over the training part with augmentation, scaled to 60 000 samples; `share`: one in so many of them."""
    cut = slice(0, SAMPLES // share)
    part = DataSet(
        "mnist", data.train_samples[cut], data.train_labels[cut], data.test_samples, data.test_labels, 255, data.classes
    )
    options = TrainOptions(data="mnist", network="mnist-2fc", method=method, batch=BATCH, epochs=2, augment=True)
    with gradient_pool() as pool:
        small = Run(options, DataSet("mnist", *(a[:256] for a in arrays_of(part)), 255, data.classes), pool)
        small.one_pass()  # compiles the kernels
        run = Run(options, part, pool)
        begin = time.perf_counter()
        run.one_pass()
        return (time.perf_counter() - begin) * SAMPLES / len(run.samples)


def arrays_of(data: DataSet) -> tuple[Any, ...]:
    return data.train_samples, data.train_labels, data.test_samples, data.test_labels


def our_step(pool: Any) -> tuple[SpikingNetwork, Step]:
    source = ir.Input("input", shape=(1, 28, 28), max_value=255)
    model = SpikingNetwork(build("mnist-2fc", source, ir.LIF("y"), STEPS))
    torch.manual_seed(0)
    model.reset_parameters()
    adam = torch.optim.Adam(model.parameters(), 1e-3)

    def step(samples: Tensor, wanted: Tensor) -> None:
        backward(model, samples, wanted, pool)
        adam.step()

    return model, step


def spikingjelly_step(ours: SpikingNetwork) -> tuple[Any, Step]:
    from spikingjelly.activation_based import functional, layer, neuron, surrogate

    def lif() -> Any:
        return neuron.LIFNode(2.0, True, 1.0, 0.0, surrogate.ATan(2.0), detach_reset=True, step_mode="m")

    net = torch.nn.Sequential(
        layer.Linear(784, 800, bias=False), lif(), layer.Linear(800, 10, bias=False), lif()
    )  # fmt: skip
    functional.set_step_mode(net, "m")
    with torch.no_grad():
        for mine, theirs in zip((net[0], net[2]), ours.pruned_weights(), strict=True):
            mine.weight.copy_(theirs)
    adam = torch.optim.Adam(net.parameters(), 1e-3)

    def step(samples: Tensor, wanted: Tensor) -> None:
        adam.zero_grad()
        functional.reset_net(net)
        x = (samples.flatten(1) / 255).expand(STEPS, -1, -1)
        F.mse_loss(net(x).mean(0), wanted).backward()
        adam.step()

    return net, step


def slayer_step() -> Step:
    """The nearest that slayer has: CUBA neurons without current memory, voltage decay 1/2, its own surrogate."""
    from lava.lib.dl import slayer

    settings = {"threshold": 1.0, "current_decay": 1.0, "voltage_decay": 0.5, "requires_grad": False}
    blocks = torch.nn.Sequential(
        slayer.block.cuba.Dense(settings, 784, 800, weight_norm=False, delay=False),
        slayer.block.cuba.Dense(settings, 800, 10, weight_norm=False, delay=False),
    )
    adam = torch.optim.Adam(blocks.parameters(), 1e-3)

    def step(samples: Tensor, wanted: Tensor) -> None:
        adam.zero_grad()
        x = (samples.flatten(1) / 255).unsqueeze(-1).expand(-1, -1, STEPS).contiguous()
        F.mse_loss(blocks(x).mean(-1), wanted).backward()
        adam.step()

    return step


def compare_gradients(ours: SpikingNetwork, theirs: Any, samples: Tensor, wanted: Tensor, pool: Any) -> float:
    """Largest difference of the first layer's gradients, relative to the largest gradient, from equal weights."""
    from spikingjelly.activation_based import functional

    backward(ours, samples, wanted, pool)
    functional.reset_net(theirs)
    theirs.zero_grad()
    x = (samples.flatten(1).to(torch.float32) / 255).expand(STEPS, -1, -1)
    F.mse_loss(theirs(x).mean(0), wanted).backward()
    mine, other = ours.pruned_weights()[0].grad, theirs[0].weight.grad
    assert mine is not None
    return float((mine - other).abs().max() / other.abs().max())


def sparse_ratio(samples: Tensor, wanted: Tensor, rounds: int, pool: Any) -> float:
    """How much faster a step of 784-800-800-10 at 2.5 % is where the zeros of the hidden layers are left out."""
    source = ir.Input("input", shape=(1, 28, 28), max_value=255)
    model = SpikingNetwork(build("fc800,lif,fc800,lif,fc10,lif", source, ir.LIF("y"), STEPS))
    torch.manual_seed(0)
    model.reset_parameters()
    with torch.no_grad():
        for weight in model.pruned_weights():
            weight.mul_((torch.rand_like(weight) < 0.025) * 6)
    times: dict[float, list[float]] = {0.06: [], 0.0: []}
    for _ in range(rounds + 1):
        for densest, taken in times.items():
            sparse_linear.DENSEST = densest
            begin = time.perf_counter()
            backward(model, samples, wanted, pool)
            taken.append(time.perf_counter() - begin)
    return statistics.median(times[0.0][1:]) / statistics.median(times[0.06][1:])


def race(steps: dict[str, Step], samples: Tensor, wanted: Tensor, rounds: int, threads: int) -> dict[str, float]:
    """Median seconds of a step of each, in turns on the same batch; each may use `threads` in its own way."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds + 2):
        for name, step in steps.items():
            torch.set_num_threads(1 if name == "ours" else threads)
            begin = time.perf_counter()
            step(samples, wanted)
            times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values[2:]) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Training speed beside SpikingJelly and slayer.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the samples and rounds")
    parser.add_argument("--data-dir", type=Path, help="the folder of MNIST's four files")
    parser.add_argument("--json", type=Path, help="write the figures there")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    data = data_set(arguments.data_dir)
    share, rounds = (10, 5) if arguments.quick else (1, 30)
    figures: dict[str, Any] = {"threads": torch.get_num_threads()}
    for method in ("dense", "grad-r"):
        figures[f"epoch_seconds_{method}"] = epoch_seconds(data, method, share)
    figures["epoch_seconds"] = figures["epoch_seconds_grad-r"]
    samples = torch.from_numpy(data.train_samples[:BATCH])
    wanted = F.one_hot(torch.from_numpy(data.train_labels[:BATCH]), 10).to(torch.float32)
    with gradient_pool() as pool:
        ours, step = our_step(pool)
        steps = {"ours": step}
        if importlib.util.find_spec("spikingjelly"):
            theirs, steps["spikingjelly"] = spikingjelly_step(ours)
            figures["gradient_difference_spikingjelly"] = compare_gradients(ours, theirs, samples, wanted, pool)
        if importlib.util.find_spec("lava.lib"):
            steps["slayer"] = slayer_step()
        figures["ratio_sparse"] = sparse_ratio(samples, wanted, rounds, pool)
        seconds = race(steps, samples, wanted, rounds, figures["threads"])
    for name, value in seconds.items():
        figures[f"step_ms_{name}"] = 1000 * value
        if name != "ours":
            figures[f"ratio_{name}"] = value / seconds["ours"]
    for name, value in figures.items():
        print(f"{name:34} {value:.4g}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
