"""The paper's CIFAR-10 network on Loihi 1 and Loihi 2, with the sharing of its convolutions and without.

    python benchmarks/cifar10.py [--quick] [--denser FACTOR …] [--targets loihi1,loihi2] [--json FILE]

6 convolutions and 2 linear layers with random masks (see `tables.cifar`), two max-pooling layers of OR neurons. Each is
compiled in a process of its own: chips, cores, words, input axons, seconds and peak memory of the whole compilation.
``--denser 7`` takes seven times as many weights, ``--quick`` a network of a fraction of the size. Loihi 2's limits on
axons (4096 in, 4096 out), its words per list and its population axons are assumed to be Loihi 1's: they are not
published.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from snn_compile.compiler.pipeline import compile_network
from snn_compile.errors import SnnCompileError
from snn_compile.hw_targets import chip as chips
from tables import cifar

Row = dict[str, Any]
WAYS = ("shared", "unrolled")


def measure(target: str, sharing: bool, quick: bool, denser: float) -> Row:
    """One compilation, or why there is none."""
    network = cifar(32, 16, 8.0 * denser) if quick else cifar(denser=denser)
    begin = time.perf_counter()
    try:
        compiled = compile_network(network, chips.load(target), sharing=sharing)
    except SnnCompileError as error:
        return {"error": str(error), "seconds": time.perf_counter() - begin}
    seconds = time.perf_counter() - begin
    report = compiled.report
    return {
        "chips": report.chips_used,
        "cores": report.cores_used,
        "words": sum(len(core.words) for core in compiled.program.cores),
        "in_axons": sum(len(core.axon_start) for core in compiled.program.cores),
        "seconds": seconds,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "synapses": report.synapses,
        "neurons": report.neurons,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a network of a fraction of the size")
    parser.add_argument("--denser", type=float, nargs="+", default=[1.0], help="how many times as many weights")
    parser.add_argument("--targets", default="loihi2,loihi1", help="with commas between them")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--only", choices=WAYS, help="one of the two ways alone")
    options = parser.parse_args()
    rows: dict[str, dict[str, Row]] = {}
    for denser in options.denser:
        for target in options.targets.split(","):
            key = target if denser == 1 else f"{target}, {denser:g} times the weights"
            for name in [options.only] if options.only else WAYS:
                with ProcessPoolExecutor(1, get_context("spawn")) as alone:
                    row = alone.submit(measure, target, name == "shared", options.quick, denser).result()
                rows.setdefault(key, {})[name] = row
                shown = ", ".join(f"{k} {v:.1f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())
                print(f"{key:32} {name:9} {shown}", flush=True)
    print()
    for key, row in rows.items():
        if all("cores" in row.get(name, {}) for name in WAYS):
            ratios = {k: row["unrolled"][k] / row["shared"][k] for k in ("cores", "words", "in_axons", "seconds")}
            print(f"{key:32} unrolled / shared: " + ", ".join(f"{k} {v:.2f}" for k, v in ratios.items()))
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
