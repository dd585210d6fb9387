"""Tables and partition: bits per synapse, cores, axons between cores, time and memory, beside their bounds.

    python benchmarks/tables.py [--quick] [--json FILE] [--models FOLDER] [--skip-best]

Per network: bits per synapse of one format alone, of the best format per list in index order and of ours, beside the
information-theoretic bound (log2 of the number of masks, and the weights' bits); cores used beside the bound of total
words, neurons and axons, each source counted once, and beside the total of axons that these slices have; axons between
cores (km1) and packets per step of index order, fast, best and plain mtkahypar; spike-hops of the placement, in order
and at random; seconds and peak memory of the whole compilation, each network in a process of its own. Trained networks
are the digits and, with ``--models``, the checkpoints of a folder. Convolutions are unrolled; `cifar10.py` shares
their lists. The ratios come last.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from placement import spike_hops
from snn_compile.compiler.balance import balance
from snn_compile.compiler.fixed import FixedNetwork
from snn_compile.compiler.fold import fold
from snn_compile.compiler.lower import lower
from snn_compile.compiler.multilevel import blocks
from snn_compile.compiler.network import Network
from snn_compile.compiler.nodes import LIF, Conv2d, Flatten, Input, Linear, MaxPool2d
from snn_compile.compiler.partition import axon_weights, index_order, partition
from snn_compile.compiler.pipeline import compile_network
from snn_compile.compiler.rates import packet_rates
from snn_compile.compiler.report import expected_events
from snn_compile.compiler.sizes import cores_bound
from snn_compile.compiler.slices import CoreSlices, Crossing, Reach, neuron_entries
from snn_compile.compiler.traffic import Traffic
from snn_compile.frontend.readers import read_model
from snn_compile.hw_targets import chip as chips
from snn_compile.hw_targets.chip import Chip
from snn_compile.hw_targets.formats import HEADER_BITS, Kind, candidates, words_of

LOIHI2 = chips.load("loihi2")
EXAMPLE = Path(__file__).parents[1] / "examples" / "digits.pt"
PAPER = (0.12, 0.008, 0.006, 0.006, 0.008, 0.014, 0.004, 0.05)
"""Densities of the paper's CIFAR-10 layers that give about 0.73 % of the weights and 12 million unrolled synapses."""

Row = dict[str, Any]


def layers(sizes: list[int], density: float, seed: int = 0) -> Network:
    """Linear layers with random masks, an input that spikes, rates at random."""
    rng = np.random.default_rng(seed)
    nodes: list[Any] = [Input("input", shape=(sizes[0],), max_value=1, encoding="rate")]
    edges, rates = [], {}
    for i, (before, after) in enumerate(zip(sizes, sizes[1:], strict=False)):
        weight = _masked(rng, (after, before), density)
        nodes += [Linear(f"linear{i}", weight=weight), LIF(f"lif{i}")]
        edges += [(nodes[-3].name, f"linear{i}"), (f"linear{i}", f"lif{i}")]
        rates[f"lif{i}"] = rng.random(after) * 0.3
    return Network(tuple(nodes), tuple(edges), steps=4, rates=rates)


def _masked(rng: np.random.Generator, shape: tuple[int, ...], density: float) -> Any:
    """Random weights, enough of them positive that every neuron can fire."""
    weight = np.zeros(shape, np.float32)
    chosen = rng.random(shape, np.float32) < density
    weight[chosen] = rng.normal(0.5, 0.7, int(chosen.sum()))
    return weight


def cifar(width: int = 256, size: int = 32, denser: float = 1.0) -> Network:
    """The paper's network for CIFAR-10, 6 convolutions and 2 linear layers, random masks, max pooling."""
    rng = np.random.default_rng(0)
    nodes: list[Any] = [Input("input", shape=(3, size, size), max_value=255)]
    names = ["input"]

    def add(node: Any) -> None:
        nodes.append(node)
        names.append(node.name)

    for i in range(6):
        shape = (width, 3 if i == 0 else width, 3, 3)
        add(Conv2d(f"conv{i}", weight=_masked(rng, shape, denser * PAPER[i]), padding=(1, 1)))
        add(LIF(f"lif{i}"))
        if i in (2, 5):
            add(MaxPool2d(f"pool{i}", kernel=(2, 2), stride=(2, 2)))
    flat = width * (size // 4) ** 2
    add(Flatten("flatten"))
    for i, (before, after) in enumerate(((flat, 8 * width), (8 * width, 100))):
        add(Linear(f"linear{i}", weight=_masked(rng, (after, before), denser * PAPER[6 + i])))
        add(LIF(f"lif{6 + i}"))
    return Network(tuple(nodes), tuple(zip(names, names[1:], strict=False)), steps=8, votes=10)


def bits_bound(network: FixedNetwork) -> float:
    """Bits per synapse no code beats on average: log2 of the number of masks, and 8 per weight."""
    total = count = 0.0
    for q in network.projections:
        if not q.host:
            pairs, chosen = q.synapses.n_source * q.synapses.n_target, len(q.synapses)
            masks = math.lgamma(pairs + 1) - math.lgamma(chosen + 1) - math.lgamma(pairs - chosen + 1)
            total += masks / math.log(2) + 8 * chosen
            count += chosen
    return total / max(1.0, count)


def words_by_method(network: FixedNetwork, slices: CoreSlices) -> dict[str, int]:
    """Words of all lists in index order without sharing: one format alone for each, and the best of them per list."""
    names = {Kind.SPARSE: "sparse", Kind.RUN_LENGTH: "run_length", Kind.DENSE: "dense"}
    words = dict.fromkeys((*names.values(), "best_per_list"), 0)
    for neurons in slices.neurons:
        core = network.netlist.lists_of(neurons)
        lists, parts = core.lists, core.parts
        shapes = candidates(len(neurons), parts.delay_bits, 0)
        sizes = parts.sizes(shapes)
        bits = np.stack([
            e * (HEADER_BITS + shape.prefix_bits) + s * shape.slot_bits
            for shape, (e, s) in zip(shapes, sizes.transpose(0, 2, 1), strict=True)
        ])  # fmt: skip
        kinds = np.array([shape.kind for shape in shapes])
        own = parts.lists[parts.start]
        for name, rows in (*((n, kinds == k) for k, n in names.items()), ("best_per_list", kinds >= 0)):
            each = words_of(np.bincount(own, bits[rows].min(axis=0)).astype(np.int64))
            words[name] += int(each[lists].sum())
    return words


def partitions(network: FixedNetwork, chip: Chip, rates: Any, best: bool) -> dict[str, CoreSlices]:
    """Slices by method; plain mtkahypar knows no limit but the estimate of sizes."""
    found = {"index_order": index_order(network, chip), "fast": partition(network, chip, sharing=False, rates=rates)}
    if best and len(found["index_order"].neurons) > 1:
        found["best"] = partition(network, chip, effort="best", sharing=False, rates=rates)
        weight = axon_weights(network, found["index_order"], rates)
        plain = blocks(network, found["fast"], weight, len(network.netlist.source) // 4, chip, "DEFAULT")
        found["mtkahypar"] = CoreSlices(tuple(plain))
    return found


def cores_by_axons(network: FixedNetwork, slices: CoreSlices, chip: Chip) -> int:
    """Cores that the input axons of all slices fill, or their output axons."""
    reach = Reach.of(network.netlist, slices, chip.cores_per_chip)
    sent = neuron_entries(network.netlist, slices, chip).sum()
    limits = chip.limits
    return math.ceil(max(reach.cores.sum() / limits.in_axons_per_core[0], sent / limits.out_axons_per_core[0]))


def measure(name: str, trained: Network, chip: Chip, best: bool) -> Row:
    """All figures of one network; seconds and peak are those of `compile_network` alone."""
    begin, cpu = time.perf_counter(), time.process_time()
    compiled = compile_network(trained, chip, sharing=False)
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    report, network = compiled.report, compiled.network
    sparse = balance(lower(fold(trained)), chip)
    rates = packet_rates(sparse, network)
    slices = partitions(network, chip, rates, best)
    found = {method: Crossing.of(network.netlist, own, rates) for method, own in slices.items()}
    words = words_by_method(network, slices["index_order"])
    traffic = Traffic.of(network.netlist, slices["fast"], expected_events(sparse, network).spikes)
    bound = cores_bound(network, report.synapse_bits // 64, chip)
    synapses = report.synapses
    return {
        "network": name,
        "synapses": synapses,
        "neurons": report.neurons,
        "bits_per_synapse": {**{k: 64 * v / synapses for k, v in words.items()}, "ours": report.bits_per_synapse},
        "bits_bound": bits_bound(network),
        "cores_used": report.cores_used,
        "cores_bound": bound,
        "cores_bound_with_axons": max(bound, cores_by_axons(network, slices["fast"], chip)),
        "km1": {k: v.axons for k, v in found.items()},
        "packets": {k: v.packets for k, v in found.items()},
        "cores": {k: v.cores for k, v in found.items()},
        "spike_hops": spike_hops(slices["fast"], traffic, chip),
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak_mb": peak,
    }


def small(**limits: int) -> Chip:
    """loihi2 with smaller cores, so that small networks need several."""
    import msgspec

    changed = {key: (value, "benchmark") for key, value in limits.items()}
    return msgspec.structs.replace(LOIHI2, limits=msgspec.structs.replace(LOIHI2.limits, **changed))


def trained_networks(models: Path | None) -> dict[str, tuple[Any, ...]]:
    """Name: (what makes the network, its arguments, the chip)."""
    found: dict[str, tuple[Any, ...]] = {
        "digits": (read_model, (EXAMPLE,), LOIHI2),
        "digits, cores of 16 neurons": (read_model, (EXAMPLE,), small(neurons_per_core=16)),
    }
    for path in sorted(models.glob("*.pt")) if models else []:
        found[path.stem] = (read_model, (path,), LOIHI2)
        found[f"{path.stem}, cores of 16 KB"] = (read_model, (path,), small(synapse_words_per_core=2048))
    return found


def networks(quick: bool, models: Path | None) -> dict[str, tuple[Any, ...]]:
    """The trained networks, random masks, growing sizes, and the paper's CIFAR-10 network (a small one if quick)."""
    found = trained_networks(models)
    for density in (0.1, 0.05, 0.02, 0.01):
        found[f"random {density:.0%}"] = (layers, ([784, 2000, 2000, 10], density), LOIHI2)
    for millions in (1,) if quick else (1, 3, 10, 30):
        found[f"{millions} million synapses"] = (layers, ([2000] * (5 * millions + 1), 0.05), LOIHI2)
    found["cifar10, narrow" if quick else "cifar10"] = (cifar, (32, 16, 8.0) if quick else (), LOIHI2)
    return found


def carry_out(name: str, make: Any, arguments: tuple[Any, ...], chip: Chip, best: bool) -> Row:
    return measure(name, make(*arguments), chip, best)


def show(row: Row) -> None:
    print(f"\n{row['network']}: {row['synapses']} synapses, {row['neurons']} neurons")
    bits = ", ".join(f"{k} {v:.2f}" for k, v in row["bits_per_synapse"].items())
    print(f"  bits per synapse  {bits}, bound {row['bits_bound']:.2f}")
    for key in ("km1", "packets", "cores", "spike_hops"):
        if row[key]:
            print(f"  {key:17} " + ", ".join(f"{k} {v:.6g}" for k, v in row[key].items()))
    print(
        f"  compiled          {row['seconds']:.1f} s, {row['cpu_seconds']:.1f} s of CPU, peak {row['peak_mb']:.0f} MB"
    )


def ratios(rows: list[Row]) -> None:
    heads = ("bits/bound", "cores/bound", "with axons", "km1", "packets", "hops", "µs/synapse")
    print(f"\n{'':34} " + " ".join(f"{head:>{max(6, len(head))}}" for head in heads))
    for row in rows:
        shares, hops = [], row["spike_hops"]
        for key in ("km1", "packets"):
            baseline = row[key]["index_order"]
            shares.append(row[key]["fast"] / baseline if baseline else 1.0)
        print(
            f"{row['network']:34} {row['bits_per_synapse']['ours'] / row['bits_bound']:10.2f} "
            f"{row['cores_used'] / row['cores_bound']:11.2f} {row['cores_used'] / row['cores_bound_with_axons']:10.2f} "
            f"{shares[0]:6.2f} {shares[1]:7.2f} {hops['ours'] / hops['order'] if hops['order'] else 1.0:6.2f} "
            f"{1e6 * row['seconds'] / row['synapses']:10.2f}"
        )
    print("km1, packets: fast over index order; hops: by traffic over in order; with axons: the bound of these axons")


def main() -> None:
    parser = argparse.ArgumentParser(description="Bits per synapse, cores and axons between cores.")
    parser.add_argument("--quick", action="store_true", help="small networks only, under a minute")
    parser.add_argument("--models", type=Path, help="the folder of benchmarks/mnist.py's checkpoints")
    parser.add_argument("--skip-best", action="store_true", help="leave mtkahypar out")
    parser.add_argument("--json", type=Path, help="write the figures there")
    arguments = parser.parse_args()
    best = not arguments.skip_best and importlib.util.find_spec("mtkahypar") is not None
    rows = []
    for name, (make, given, chip) in networks(arguments.quick, arguments.models).items():
        with ProcessPoolExecutor(1, get_context("spawn")) as alone:
            large = any(word in name for word in ("million", "cifar"))
            rows.append(alone.submit(carry_out, name, make, given, chip, best and not large).result())
        show(rows[-1])
    ratios(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
