"""Spike-hops of the placement against placing in order and at random, over one compilation's cores.

    python benchmarks/placement.py [--quick] [--model FILE …] [--json FILE]

Checkpoints are cut for cores of few neurons, so that a small network fills many; random masks and traffic made by hand
do the rest. `random` is the mean over ten permutations of all sites of the chips that are needed. A link between chips
counts as one hop. The last line has the ratios.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import scipy.sparse as sp
from snn_compile.compiler.fold import fold
from snn_compile.compiler.lower import lower
from snn_compile.compiler.network import Network
from snn_compile.compiler.nodes import LIF, Input, Linear
from snn_compile.compiler.partition import partition
from snn_compile.compiler.place import place
from snn_compile.compiler.quantise import quantise
from snn_compile.compiler.report import expected_events
from snn_compile.compiler.slices import CoreSlices
from snn_compile.compiler.traffic import Traffic
from snn_compile.frontend.readers import read_model
from snn_compile.hw_targets import chip as chips

DIGITS = Path(__file__).parents[1] / "examples" / "digits.pt"
SEEDS = 10

Case = tuple[str, CoreSlices, Traffic, chips.Chip]


def spike_hops(slices: CoreSlices, traffic: Traffic, chip: chips.Chip, board: str | None = None) -> dict[str, float]:
    """Spike-hops per sample by method: `order`, `random`, `ours`."""
    ordered, ours = place(slices, chip, board), place(slices, chip, board, traffic)
    sites = ordered.chips * chip.cores_per_chip
    found = []
    for seed in range(SEEDS):
        drawn = np.random.default_rng(seed).permutation(sites)[: len(slices.neurons)].tolist()
        found.append(traffic.hops([chip.position(site) for site in drawn], chip, ordered.board).spike_hops)
    return {
        "order": traffic.hops(ordered.positions, chip, ordered.board).spike_hops,
        "random": float(np.mean(found)),
        "ours": traffic.hops(ours.positions, chip, ours.board).spike_hops,
    }


def small(neurons: int) -> chips.Chip:
    """loihi2 with so few neurons per core, on loihi1's Nahuku."""
    chip = chips.load("loihi2")
    limits = msgspec.structs.replace(chip.limits, neurons_per_core=(neurons, "benchmark"))
    return msgspec.structs.replace(chip, limits=limits, boards=chips.load("loihi1").boards)


def compiled(name: str, trained: Network, neurons: int) -> Case:
    chip = small(neurons)
    sparse = lower(fold(trained))
    network = quantise(sparse, chip)
    slices = partition(network, chip)
    return name, slices, Traffic.of(network.netlist, slices, expected_events(sparse, network).spikes), chip


def random_masks(density: float, width: int, depth: int) -> Network:
    """Layers of equal width with random weights and rates; a share `density` of the weights is there."""
    random = np.random.default_rng(0)
    nodes: list[Any] = [Input("x", shape=(width,), max_value=16)]
    rates = {}
    for layer in range(depth):
        weight = random.normal(0.1, 1, (width, width)) * (random.random((width, width)) < density)
        nodes += [Linear(f"fc{layer}", weight=weight), LIF(f"h{layer}")]
        rates[f"h{layer}"] = random.beta(1, 4, width)
    edges = tuple((a.name, b.name) for a, b in zip(nodes, nodes[1:], strict=False))
    return Network(tuple(nodes), edges, steps=8, rates=rates)


def by_hand(name: str, matrix: sp.csr_array) -> Case:
    """Traffic between cores of loihi1 that nobody compiled."""
    entries = sp.csr_array((np.ones(len(matrix.data), np.int64), matrix.indices, matrix.indptr), matrix.shape)
    slices = CoreSlices(tuple(np.array([core]) for core in range(matrix.shape[0])))
    return name, slices, Traffic(matrix, entries, entries, np.zeros(matrix.shape[0])), chips.load("loihi1")


def layered(layers: int, width: int, reach: int) -> sp.csr_array:
    """Each core sends to those of the next layer that stand at most so far away, as in a convolution."""
    random = np.random.default_rng(0)
    layer, source, step = np.meshgrid(np.arange(layers - 1), np.arange(width), np.arange(-reach, reach + 1))
    target = source + step
    inside = (target >= 0) & (target < width)
    row, column = (layer * width + source)[inside], ((layer + 1) * width + target)[inside]
    return sp.csr_array((random.gamma(2, 10, len(row)), (row, column)), (layers * width, layers * width))


def cases(models: list[Path], quick: bool) -> Iterator[Case]:
    yield compiled("digits, 4 neurons per core", read_model(DIGITS), 4)
    for path in models:
        for neurons in (32, 8, 2):
            yield compiled(f"{path.stem}, {neurons} neurons per core", read_model(path), neurons)
    for density in (0.1, 0.02) if quick else (0.1, 0.05, 0.02, 0.01):
        yield compiled(f"4 x 512, {density:.0%} of the weights", random_masks(density, 512, 4), 8)
    yield by_hand("layers, 128 cores", layered(8, 16, 3))
    yield by_hand("layers, 512 cores", layered(16, 32, 3))
    if not quick:
        yield by_hand("layers, 2000 cores", layered(20, 100, 8))
        for name, density in (("sparse", 0.02), ("dense", 0.5)):
            random = sp.random_array((2000, 2000), density=density, rng=np.random.default_rng(0))
            yield by_hand(f"{name}, 2000 cores", sp.csr_array(random))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer and smaller networks")
    parser.add_argument("--model", type=Path, action="append", default=[], help="a checkpoint; may be given again")
    parser.add_argument("--json", type=Path, help="write the figures")
    options = parser.parse_args()
    place(CoreSlices((np.arange(1),) * 5), small(1), None, by_hand("", layered(5, 1, 0))[2])  # compiles the kernels
    rows = []
    print(f"{'network':42}{'cores':>6}{'chips':>6}{'order':>12}{'random':>12}{'ours':>12}{'/ order':>9}{'CPU s':>7}")
    for name, slices, traffic, chip in cases(options.model, options.quick):
        begin = time.process_time()
        ours = place(slices, chip, traffic=traffic)
        seconds = time.process_time() - begin
        hops = spike_hops(slices, traffic, chip)
        rows.append({"network": name, "cores": len(slices.neurons), "spike_hops": hops, "cpu_seconds": seconds})
        shown = "".join(f"{value:12.0f}" for value in hops.values())
        ratio = hops["ours"] / hops["order"]
        print(f"{name:42}{len(slices.neurons):6}{ours.chips:6}{shown}{ratio:9.3f}{seconds:7.2f}", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=2))
    for other in ("order", "random"):
        ratios = [row["spike_hops"]["ours"] / row["spike_hops"][other] for row in rows]  # type: ignore[index]
        mean = float(np.exp(np.mean(np.log(ratios))))
        print(f"spike-hops of ours / {other}: {mean:.2f} in the geometric mean, {max(ratios):.2f} at most")


if __name__ == "__main__":
    main()
