"""The engine beside Lava, lava-dl's NetX, PyTorch and two Loihi emulators, and beside what the memory can gather.

    python benchmarks/engine.py [--quick] [--json FILE] [--model M.pt] [--data-dir FOLDER]
                                [--nengo-python PATH] [--brian-python PATH]

Everything is measured in one run. First samples per second on an MNIST network of 784-800-10 at 5 % density, T = 8:
``--model`` names a trained one and ``--data-dir`` MNIST's files, else weights and pixels are random. A ratio is the
other's time per sample over the engine's, both threads used, start-up left out; output spike counts must be equal,
except those of PyTorch's floats. nengo-loihi and brian2-loihi run in environments of their own, on the same weights
behind binary spikes and without biases. Then networks of 10^4 to 10^7 synapses in which every input is a spike: the
engine's synaptic operations per second over those of a kernel that adds the same weights at the same indices and does
nothing else (``roofline_fraction`` is the lowest of MNIST's, 10^6 and 10^7).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from engine_networks import event_chain, event_coded, event_samples, has_switch, mnist_network, mnist_samples, simulate
from engine_peers import lava_seconds, run_child, torch_seconds
from engine_roofline import event_lists, gather_seconds
from snn_compile.compiler.fixed import FixedNetwork

THREADS = 2
SIZES = {"1e4": 316, "1e5": 1000, "1e6": 3162, "1e7": 10_000}
"""Synapses in all: neurons in each of three layers."""

COUNTERS = "counters"
"""The engine's switch for its counters, where it has one."""

EMULATED = {"nengo": 50, "brian": 1000}
"""Samples: enough that what a run costs by itself does not count (Brian's takes a tenth of a second)."""

Figures = dict[str, Any]
Seconds = Callable[..., float]


def engine_seconds(network: FixedNetwork, samples: Any, rounds: int, threads: int = THREADS, **switches: Any) -> float:
    """Least seconds per sample of the whole call, tables and encoding of the samples included."""
    simulate(network, samples[:2], threads)
    return min(simulate(network, samples, threads, **switches)[1] for _ in range(rounds)) / len(samples)


def beside(key: str, ours: Seconds, theirs: Seconds) -> Figures:
    """Ours is measured before theirs and after, so that a machine that others use slows both."""
    before, seconds, after = ours(), theirs(), ours()
    return {f"us_per_sample_{key}": 1e6 * seconds, f"ratio_{key}": 2 * seconds / (before + after)}


def beside_torch(network: FixedNetwork, samples: Any, counts: Any, ours: Seconds) -> Figures:
    """Floats: no rounding of decays and shifted sums, so some neurons near the threshold spike otherwise."""
    figures: Figures = {}

    def seconds(key: str, once: bool) -> float:
        found, least, batch, threads = torch_seconds(network, samples, once, THREADS)
        figures.update({f"batch_{key}": batch, f"threads_{key}": threads})
        figures["torch_samples_with_equal_counts"] = float((found == counts).all(axis=1).mean())
        return least

    for key, once in (("torch", True), ("torch_each_step", False)):
        figures |= beside(key, ours, partial(seconds, key, once))
    return figures


def beside_lava(network: FixedNetwork, samples: Any, counts: Any, ours: Seconds) -> Figures:
    """Lava as the backend runs it, and NetX with dense and with sparse matrices: all of them equal."""
    figures: Figures = {}

    def lava() -> float:
        result, seconds, figures["start_s_lava"] = lava_seconds(network, samples)
        assert np.array_equal(result.counts, counts)
        return seconds

    def netx(sparse: bool) -> float:
        found, seconds = run_child("engine_netx.py", network, samples, sparse=sparse)
        assert np.array_equal(found, counts)
        return seconds

    if not importlib.util.find_spec("lava"):
        print("Lava and NetX left out: lava-nc is not installed here")
        return {}
    figures |= beside("lava", ours, lava)
    if not importlib.util.find_spec("lava.lib"):
        print("NetX left out: lava-dl is not installed here")
        return figures
    figures |= beside("netx_dense", ours, partial(netx, False)) | beside("netx_sparse", ours, partial(netx, True))
    figures["ratio_netx"] = min(figures["ratio_netx_dense"], figures["ratio_netx_sparse"])
    return figures


def beside_emulators(network: FixedNetwork, samples: Any, rounds: int, pythons: dict[str, Path | None]) -> Figures:
    """Emulators of the first Loihi: no graded spikes; brian2-loihi has no biases."""
    plain = tuple(replace(p, bias_mant=np.zeros_like(p.bias_mant)) for p in network.populations)
    network = replace(event_coded(network), populations=plain)
    counts = simulate(network, samples, THREADS)[0].counts
    ours = partial(engine_seconds, network, samples, rounds)
    figures: Figures = {"us_per_sample_events": 1e6 * ours()}

    def theirs(name: str, python: Path) -> float:
        found, seconds = run_child(f"engine_{name}.py", network, samples[: EMULATED[name]], str(python))
        assert np.array_equal(found, counts[: EMULATED[name]])
        return seconds

    for name, python in pythons.items():
        if python is None:
            print(f"{name}-loihi left out: no --{name}-python was given")
        else:
            figures |= beside(name, ours, partial(theirs, name, python))
    return figures


def mnist(arguments: argparse.Namespace) -> Figures:
    """Samples per second on the MNIST network beside all the others."""
    count, few, rounds = (2048, 50, 2) if arguments.quick else (10_000, 200, 3)
    network = mnist_network(arguments.model)
    samples, labels = mnist_samples(arguments.data_dir, count)
    result, _ = simulate(network, samples, THREADS)
    ours = partial(engine_seconds, network, samples, rounds)
    seconds = ours()
    figures: Figures = {"synapses": network.synapse_count(), "synops_per_sample": result.activity.synops / count}
    figures |= {"us_per_sample": 1e6 * seconds, "samples_per_s": 1 / seconds}
    figures["us_per_sample_one_thread"] = 1e6 * ours(threads=1)
    if labels is not None:
        figures["accuracy"] = result.accuracy(labels)
    figures |= price_of_counters(ours)
    figures |= beside_torch(network, samples, result.counts, ours)
    figures |= beside_lava(network, samples[:few], result.counts[:few], ours)
    pythons = {"nengo": arguments.nengo_python, "brian": arguments.brian_python}
    return figures | beside_emulators(network, samples, rounds, pythons)


def price_of_counters(seconds: Seconds) -> Figures:
    """Time with the counters over time without them."""
    if not has_switch(COUNTERS):
        print("price of the counters left out: the engine has no switch for them")
        return {}
    return {"ratio_counters": seconds(**{COUNTERS: True}) / seconds(**{COUNTERS: False})}


def events(name: str, network: FixedNetwork, samples: Any, rounds: int) -> Figures:
    """Cost per sample and per synaptic operation over the threads, and the share of what the memory gathers."""
    row: Figures = {"network": name, "synapses": network.synapse_count(), "samples": len(samples)}
    lists = event_lists(network, samples)
    times: dict[int, list[float]] = {1: [], THREADS: []}
    kernel: dict[str, list[float]] = {}
    for _ in range(rounds):  # in turns, so that a busy machine slows all alike
        for threads, taken in times.items():
            result, _ = simulate(network, samples, threads)
            taken.append(result.seconds)
        for width, taken in gather_seconds(network, lists, THREADS, 1).items():
            kernel.setdefault(width, []).append(taken[0])
    synops, fastest = result.activity.synops, min(times[THREADS])
    row["rate"] = statistics.mean(result.activity.spikes[p.name].mean() for p in network.populations)
    row["rate"] /= len(samples) * network.steps
    row["synops_per_sample"] = synops / len(samples)
    for threads, taken in times.items():
        row[f"us_per_sample_{threads}"] = 1e6 * min(taken) / len(samples)
        row[f"ns_per_synop_{threads}"] = 1e9 * min(taken) / synops
    row |= {f"gather_ns_per_synop_{width}": 1e9 * min(taken) / synops for width, taken in kernel.items()}
    row["msynops_per_s"] = 1e-6 * synops / fastest
    row["roofline_fraction"] = min(map(min, kernel.values())) / fastest
    return row


def event_rows(arguments: argparse.Namespace) -> list[Figures]:
    """MNIST's network behind binary spikes, and the sizes; each run has about as many synaptic operations."""
    target, rounds = (3e7, 3) if arguments.quick else (2e8, 5)
    network = event_coded(mnist_network(arguments.model))
    rows = [events("mnist", network, mnist_samples(arguments.data_dir, int(target / 3e4))[0], rounds)]
    for name, size in SIZES.items():
        network = event_chain(size)
        count = int(np.clip(target / (0.7 * network.synapse_count()), 8, 4096))
        rows.append(events(name, network, event_samples(size, count), rounds))
    return rows


def show(rows: list[Figures]) -> None:
    columns = ["network", "synapses", "rate", "us_per_sample_1", "us_per_sample_2", "ns_per_synop_1", "ns_per_synop_2"]
    columns += ["gather_ns_per_synop_narrow", "gather_ns_per_synop_wide", "roofline_fraction"]
    print("\n" + " | ".join(columns))
    for row in rows:
        print(" | ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in (row.get(c, "") for c in columns)))


def main() -> None:
    parser = argparse.ArgumentParser(description="The engine beside the others, and beside the memory.")
    parser.add_argument("--quick", action="store_true", help="fewer samples and rounds, under a minute")
    parser.add_argument("--model", type=Path, help="a trained network for MNIST with graded inputs")
    parser.add_argument("--data-dir", type=Path, help="the folder of MNIST's four files")
    parser.add_argument("--nengo-python", type=Path, help="the Python of an environment with nengo-loihi")
    parser.add_argument("--brian-python", type=Path, help="the Python of an environment with brian2-loihi")
    parser.add_argument("--json", type=Path, help="write the figures there")
    arguments = parser.parse_args()
    figures = {"threads": THREADS, **mnist(arguments)}
    rows = event_rows(arguments)
    for row in rows:
        for key in ("roofline_fraction", "msynops_per_s"):
            figures[f"{key}_{row['network']}"] = row[key]
    figures["roofline_fraction"] = min(
        row["roofline_fraction"] for row in rows if row["network"] in ("mnist", "1e6", "1e7")
    )
    show(rows)
    print()
    for name, value in figures.items():
        print(f"{name:34} {value:.4g}")
    if arguments.json:
        arguments.json.write_text(json.dumps({**figures, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
