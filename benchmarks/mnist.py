"""Test accuracy on MNIST over connectivity, rule by rule, and the same networks compiled for loihi2.

    python benchmarks/mnist.py --data-dir FOLDER --out FOLDER [--augment] [--epochs 20] [--seeds 0,1,2] [--plot F.svg]

Trains `mnist-2fc` with every rule, skips the runs that are in ``FOLDER/results.jsonl`` already, and adds a line there
after each: accuracy in float and in the engine on all test images, connectivity, synapse words, cores, energy per
image. The rows that matter most come first, so a run may be ended at any time, and goes on with the same command.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
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

RIVALS = ("stds", "rigl", "deep-r", "set")
ALPHAS = (0.01, 0.03, 0.06, 0.1)
"""Strengths of the published pull; the density is what comes out."""

Run = dict[str, Any]


def plan(seeds: list[int]) -> list[Run]:
    """Name in the table, settings of `TrainOptions`, seed; the most important first."""

    def rows(name: str, settings: list[Run], some: list[int]) -> list[Run]:
        return [{"name": name, "seed": seed, "settings": s} for seed in some for s in settings]

    densities = [{"density": d} for d in reversed(DENSITIES)]
    first, rest = seeds[:1], seeds[1:]
    aware = [{**d, "quantise_aware": True} for d in densities]
    rivals = [row for d in densities for m in RIVALS for row in rows(m, [{**d, "method": m}], first)]
    return [
        *rows("dense", [{"method": "dense"}], first),
        *rows("grad-r", densities, first),
        *rows("dense", [{"method": "dense"}], rest),
        *rows("grad-r", densities[:1], rest),
        *rows("grad-r, quantise-aware", aware[:1], seeds),
        *rivals[: len(RIVALS)],
        *rows("grad-r, published", [{"alpha": alpha} for alpha in ALPHAS], first),
        *rivals[len(RIVALS) : 2 * len(RIVALS)],
        *rows("grad-r", densities[1:], rest),
        *rows("grad-r, quantise-aware", aware[1:], first),
        *rivals[2 * len(RIVALS) :],
    ]


def measure(path: Path, data: DataSet) -> Run:
    """What the checkpoint says of its training, and what its program does with all test images."""
    network = read_model(path)
    compiled = compile_network(network, chip.load("loihi2"))
    result = run_engine(compiled.network, data.test_samples)
    report = compiled.report
    return {
        "accuracy_float": network.facts["test_accuracy"],
        "accuracy_engine": result.accuracy(data.test_labels),
        "connectivity": report.connectivity,
        "synapses": report.synapses,
        "synapse_words": report.synapse_bits // 64,
        "cores": report.cores_used,
        "energy_per_image_j": report.energy.per_sample_j,
    }


def carry_out(run: Run, arguments: argparse.Namespace) -> Run:
    """Trains and measures one run."""
    key = "-".join(str(value) for value in run["settings"].values())
    path = arguments.out / f"{run['name'].replace(', ', '-')}-{key}-{run['seed']}.pt"
    options = TrainOptions(
        data="mnist", epochs=arguments.epochs, seed=run["seed"], network="mnist-2fc", batch=128, lr=1e-3,
        augment=arguments.augment, data_dir=arguments.data_dir, out=path, **run["settings"],
    )  # fmt: skip
    begin = time.perf_counter()
    train(options)
    figures = measure(path, load("mnist", arguments.data_dir))
    return {**run, **figures, "seconds": time.perf_counter() - begin, "command": options.command}


def read(path: Path) -> list[Run]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def is_in(rows: list[Run], run: Run) -> bool:
    return any(all(row[key] == run[key] for key in ("name", "seed", "settings")) for row in rows)


def groups(rows: list[Run]) -> dict[tuple[str, float], list[Run]]:
    """Rows by name and density, as it was asked for or as it came out."""
    found = defaultdict(list)
    for row in rows:
        asked = row["settings"].get("density", row["connectivity"])
        found[row["name"], round(asked, 4)].append(row)
    return dict(sorted(found.items(), key=lambda item: (-item[0][1], item[0][0])))


def mean(rows: list[Run], key: str) -> float:
    return statistics.fmean(row[key] for row in rows)


def table(rows: list[Run]) -> str:
    """The results as a Markdown table: means over seeds, and the smallest and largest where there are several."""
    dense = mean([row for row in rows if row["name"] == "dense"], "accuracy_float")
    lines = [
        "| rule | of the weights | seeds | float | below dense | engine | engine - float | words | cores | energy |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|---|---|")
    for (name, _), group in groups(rows).items():
        floats = [row["accuracy_float"] for row in group]
        average = statistics.fmean(floats)
        spread = f" ({min(floats):.2%} … {max(floats):.2%})" if len(floats) > 1 else ""
        differences = [100 * (row["accuracy_engine"] - row["accuracy_float"]) for row in group]
        lines.append(
            f"| {name} | {mean(group, 'connectivity'):.2%} | {len(group)} | {average:.2%}{spread} "
            f"| {100 * (dense - average):.2f} | {mean(group, 'accuracy_engine'):.2%} "
            f"| {' '.join(f'{d:+.2f}' for d in differences)} | {mean(group, 'synapse_words'):.0f} "
            f"| {max(row['cores'] for row in group)} | {mean(group, 'energy_per_image_j') * 1e6:.2f} µJ |"
        )
    return "\n".join(lines)


def plot(rows: list[Run], path: Path, title: str) -> None:
    """Accuracy over connectivity: a point per run, a line through the means of each rule."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot
    from matplotlib.ticker import PercentFormatter

    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "mnist", "font.size": 9})
    figure, axes = pyplot.subplots(figsize=(7, 4.2))
    by_name = defaultdict(list)
    for (name, _), group in groups(rows).items():
        by_name[name].append(group)
    for name, found in by_name.items():
        if name == "dense":
            axes.axhline(mean(found[0], "accuracy_float"), color="grey", linestyle="--", label=name)
            continue
        points = [(mean(group, "connectivity"), mean(group, "accuracy_float")) for group in found]
        (line,) = axes.plot(*zip(*points, strict=True), label=name, linewidth=1, marker="o", markersize=3)
        runs = [row for group in found for row in group]
        axes.scatter(
            [r["connectivity"] for r in runs], [r["accuracy_float"] for r in runs], s=10, color=line.get_color()
        )
    axes.set(xscale="log", xlabel="share of the weights", ylabel="test accuracy", title=title)
    axes.xaxis.set_major_formatter(PercentFormatter(1, 1))
    axes.yaxis.set_major_formatter(PercentFormatter(1, 1))
    axes.set_xticks(DENSITIES)
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description="MNIST: accuracy over connectivity, rule by rule.")
    parser.add_argument("--data-dir", type=Path, required=True, help="the folder of MNIST's four files")
    parser.add_argument("--out", type=Path, required=True, help="where checkpoints and results go")
    parser.add_argument("--augment", action="store_true", help="the paper's augmentation")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--workers", type=int, default=1, help="runs at the same time")
    parser.add_argument("--plot", type=Path, help="write the curves there, as SVG")
    parser.add_argument("--only-report", action="store_true", help="train nothing, show what is there")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = arguments.out / "results.jsonl"
    if not arguments.only_report:
        todo = [run for run in plan([int(s) for s in arguments.seeds.split(",")]) if not is_in(read(results), run)]
        with ProcessPoolExecutor(arguments.workers, get_context("spawn")) as pool:
            for done in as_completed([pool.submit(carry_out, run, arguments) for run in todo]):
                with results.open("a") as file:
                    file.write(json.dumps(done.result()) + "\n")
                print(json.dumps(done.result()), flush=True)
    print(table(read(results)))
    if arguments.plot:
        kind = "the paper's augmentation" if arguments.augment else "no augmentation"
        plot(read(results), arguments.plot, f"MNIST, 784-800-10, T = 8, {arguments.epochs} epochs, {kind}")


if __name__ == "__main__":
    main()
