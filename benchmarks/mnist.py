"""Test accuracy on MNIST over connectivity, rule by rule, and the same networks compiled for loihi2.

    python benchmarks/mnist.py --data-dir FOLDER --out FOLDER [--epochs 20] [--seeds 0,1,2]

Trains `mnist-2fc` with every rule, skips the runs whose checkpoint is there already, and adds a line to
``FOLDER/results.jsonl`` after each: accuracy in float and in the engine on all test images, connectivity, synapse
words, cores, energy per image. The rows that matter most come first, so a run may be ended at any time.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from snn_compile.compiler.pipeline import compile_network
from snn_compile.frontend.data import DataSet, load
from snn_compile.frontend.options import TrainOptions
from snn_compile.frontend.readers import read_model
from snn_compile.frontend.trainer import train
from snn_compile.hw_targets import chip
from snn_compile.runtime.engine import run_engine

DENSITIES = (0.257, 0.179, 0.056, 0.025)
"""Three of the paper's table, and the one of the goal beyond it."""

RIVALS = ("rigl", "stds", "deep-r", "set")


def plan(seeds: list[int]) -> list[tuple[str, float, int]]:
    """(method, density, seed), the most important first."""
    first = [("dense", 1.0, seeds[0]), *(("grad-r", d, seeds[0]) for d in reversed(DENSITIES))]
    rivals = [(method, d, seeds[0]) for d in (0.025, 0.056) for method in RIVALS]
    again = [(method, d, s) for s in seeds[1:] for method, d in (("grad-r", 0.025), ("grad-r", 0.056), ("dense", 1.0))]
    rest = [("grad-r", d, s) for s in seeds[1:] for d in (0.257, 0.179)]
    half = len(RIVALS)
    return [*first, *rivals[:half], *again, *rivals[half:], *rest]


def measure(path: Path, data: DataSet) -> dict[str, Any]:
    """What the checkpoint says of its training, and what its program does with all test images."""
    network = read_model(path)
    compiled = compile_network(network, chip.load("loihi2"))
    result = run_engine(compiled.network, data.test_samples)
    report = compiled.report
    return {
        "accuracy_float": network.facts["test_accuracy"],
        "accuracy_engine": float((result.predictions == data.test_labels).mean()),
        "connectivity": report.connectivity,
        "synapses": report.synapses,
        "synapse_words": report.synapse_bits // 64,
        "cores": report.cores_used,
        "energy_per_image_j": report.energy.per_sample_j,
    }


def table(path: Path) -> str:
    """The results as a Markdown table, best accuracy first within a density."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows.sort(key=lambda row: (-row["density"], row["method"], row["seed"]))
    lines = ["| rule | asked | of the weights | seed | float | engine | synapses | words | cores | energy |"]
    lines.append("|---|---|---|---|---|---|---|---|---|---|")
    lines += [
        f"| {r['method']} | {r['density']:.1%} | {r['connectivity']:.2%} | {r['seed']} | {r['accuracy_float']:.2%} "
        f"| {r['accuracy_engine']:.2%} | {r['synapses']} | {r['synapse_words']} | {r['cores']} "
        f"| {r['energy_per_image_j'] * 1e6:.2f} µJ |"
        for r in rows
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="MNIST: accuracy over connectivity, rule by rule.")
    parser.add_argument("--data-dir", type=Path, required=True, help="the folder of MNIST's four files")
    parser.add_argument("--out", type=Path, required=True, help="where checkpoints and results go")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", default="0,1,2")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    data = load("mnist", arguments.data_dir)
    for method, density, seed in plan([int(seed) for seed in arguments.seeds.split(",")]):
        path = arguments.out / f"{method}-{density}-{seed}.pt"
        if path.exists():
            continue
        options = TrainOptions(
            data="mnist", method=method, density=density, epochs=arguments.epochs, seed=seed, network="mnist-2fc",
            batch=128, lr=1e-3, augment=True, data_dir=arguments.data_dir, out=path,
        )  # fmt: skip
        begin = time.perf_counter()
        train(options)
        row = {"method": method, "density": density, "seed": seed, "epochs": arguments.epochs}
        row |= measure(path, data) | {"seconds": time.perf_counter() - begin, "command": options.command}
        with (arguments.out / "results.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)
    print(table(arguments.out / "results.jsonl"))


if __name__ == "__main__":
    main()
