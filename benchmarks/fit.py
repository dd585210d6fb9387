"""What the compiler's bill buys: test accuracy at the same synapse words, against Grad R that counts weights.

    python benchmarks/fit.py --data-dir FOLDER [--epochs 20] [--seeds 0,1,2] [--out FILE.jsonl] [--only-report]

Trains two networks on MNIST towards one core of loihi2 with less memory than the real one, so that pruning hurts, in
three ways that end at the same words: `plain`, Grad R with one threshold for all theta; `synapses`, where a weight has
to be worth the synapses that it becomes (``--count synapses``); `bill`, where it has to be worth the bits that it takes
in the tables (``--fit``). In all three the density is what fills the core.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from snn_compile.compiler.cost import cost
from snn_compile.compiler.network import Network
from snn_compile.frontend import fit
from snn_compile.frontend.bill import Bill
from snn_compile.frontend.data import DataSet, load
from snn_compile.frontend.options import TrainOptions
from snn_compile.frontend.parallel import gradient_pool
from snn_compile.frontend.run import Run, accuracy
from snn_compile.hw_targets import chip as chips
from snn_compile.hw_targets.chip import Chip

NETWORKS = {
    "conv8-conv16-fc10": "conv8k5p2s2,lif,conv16k5p2s2,lif,fc10,lif",
    "784-800-10": "mnist-2fc",
}
WORDS = (2000, 4000)
WAYS = ("plain", "synapses", "bill")

by_bill = fit.weight_costs


def ones(network: Network, prices: Mapping[str, Any] | None = None) -> list[torch.Tensor]:
    """Every weight costs the same."""
    return [torch.ones_like(costs) for costs in by_bill(network)]


def by_synapses(network: Network, prices: Mapping[str, Any] | None = None) -> list[torch.Tensor]:
    """Every weight costs its synapses, whatever the compiler charges."""
    return by_bill(network)


COSTS = {"plain": ones, "synapses": by_synapses, "bill": by_bill}


def one_core_of(words: int) -> Chip:
    """loihi2 with so many synapse words in a core."""
    chip = chips.load("loihi2")
    return msgspec.structs.replace(
        chip, limits=msgspec.structs.replace(chip.limits, synapse_words_per_core=(words, "a smaller core"))
    )


def carry_out(data: DataSet, name: str, words: int, way: str, seed: int, epochs: int) -> dict[str, Any]:
    """Trains one network and measures what is kept."""
    fit.weight_costs = COSTS[way]
    options = TrainOptions(
        data="mnist", network=NETWORKS[name], epochs=epochs, seed=seed, batch=128, lr=1e-3, fit="loihi2", cores=1
    )
    chip = one_core_of(words)
    with gradient_pool() as pool:
        run = Run(options, data, pool)
        run.fit = fit.Fit(chip, 1)
        run.fit.guess(run.rule.bill)
        if way == "plain":
            run.rule.bill = Bill(run.rule.weights, None, run.rule.bill.density)
        while run.done < epochs:
            run.epoch()
        run.model.load_state_dict(run.best_weights)
        hits = accuracy(run.model, torch.from_numpy(data.test_samples), torch.from_numpy(data.test_labels))
    bill, (weights, synapses) = cost(run.network(), chip), run.shares()
    return {
        "network": name, "words": words, "way": way, "seed": seed, "accuracy": hits, "validation": run.best[0],
        "used_words": bill.words, "synapses": bill.synapses, "weights": weights, "synapse_share": synapses,
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """Means over seeds, the smallest and largest accuracy in brackets."""
    groups = defaultdict(list)
    for row in rows:
        groups[row["network"], row["words"], row["way"]].append(row)
    lines = ["| network | words of the core | way | words used | synapses | of the weights | accuracy |"]
    lines.append("|---|---|---|---|---|---|---|")
    for name in NETWORKS:
        for words in WORDS:
            for way in WAYS:
                if group := groups[name, words, way]:
                    used, synapses, weights, hits = (
                        [row[key] for row in group] for key in ("used_words", "synapses", "weights", "accuracy")
                    )
                    lines.append(
                        f"| {name} | {words} | {way} | {statistics.fmean(used):.0f} | {statistics.fmean(synapses):.0f} "
                        f"| {statistics.fmean(weights):.2%} "
                        f"| {statistics.fmean(hits):.2%} ({min(hits):.2%} … {max(hits):.2%}) |"
                    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Accuracy at the same synapse words.")
    parser.add_argument("--data-dir", type=Path, required=True, help="the folder of MNIST's four files")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--out", type=Path, default=Path("fit.jsonl"), help="a line per run; runs in it are skipped")
    parser.add_argument("--only-report", action="store_true", help="train nothing, show what is there")
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in arguments.out.read_text().splitlines()] if arguments.out.exists() else []
    done = {(row["network"], row["words"], row["way"], row["seed"]) for row in rows}
    data = load("mnist", arguments.data_dir)
    for seed in [] if arguments.only_report else map(int, arguments.seeds.split(",")):
        for name in NETWORKS:
            for words in WORDS:
                for way in WAYS:
                    if (name, words, way, seed) not in done:
                        rows.append(carry_out(data, name, words, way, seed, arguments.epochs))
                        with arguments.out.open("a") as file:
                            file.write(json.dumps(rows[-1]) + "\n")
                        print(json.dumps(rows[-1]), flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
