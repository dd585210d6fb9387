"""What this machine can gather: ``sum[target[k]] += weight[k]`` over the fan-out lists of the engine's own spikes."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from engine_networks import simulate
from numba import njit
from snn_compile.compiler.fixed import FixedNetwork
from snn_compile.runtime.encoding import payloads

WIDTHS = {"narrow": (np.uint16, np.int16), "wide": (np.uint32, np.int32)}
"""Types of target and weight: the least that holds them, and the 32 bits that many simulators take."""


@njit(nogil=True)
def gather(pointer: Any, targets: Any, weights: Any, events: Any, low: int, high: int, sums: Any) -> None:
    for event in events[low:high]:
        for k in range(pointer[event], pointer[event + 1]):
            sums[targets[k]] += weights[k]


def event_lists(network: FixedNetwork, samples: Any) -> tuple[Any, Any]:
    """(events,) the fan-out list that each spike walks, sample by sample and step by step; where samples begin."""
    names = [p.name for p in network.populations]
    result, _ = simulate(network, samples, traces=names)
    (source,) = network.inputs
    spikes = {name: result.traces[name].spikes for name in names}
    spikes[source.name] = payloads(samples, source, network.steps)
    rows = np.concatenate([spikes[q.source] != 0 for q in network.projections], axis=2)
    sample, _, events = np.nonzero(rows)
    assert len(events) and int(lengths(network)[events].sum()) == result.activity.synops
    return events.astype(np.uint32), np.searchsorted(sample, np.arange(len(samples) + 1))


def lengths(network: FixedNetwork) -> Any:
    """(lists,) synapses of each list, projection by projection."""
    return np.concatenate([q.synapses.fan_out for q in network.projections])


def gather_seconds(network: FixedNetwork, lists: tuple[Any, Any], threads: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of each round for each of `WIDTHS`; samples are shared out among the threads as in the engine."""
    sizes = [p.size for p in network.by_name.values()]
    first = dict(zip(network.by_name, np.cumsum([0, *sizes[:-1]]), strict=True))
    pointer = np.concatenate([[0], np.cumsum(lengths(network))]).astype(np.uint64)
    targets = np.concatenate([q.synapses.targets + first[q.target] for q in network.projections])
    weights = np.concatenate([q.synapses.weights for q in network.projections])
    events, starts = lists
    cuts = starts[np.linspace(0, len(starts) - 1, 4 * threads + 1).astype(int)]
    seconds: dict[str, list[float]] = {}
    for name, (index, value) in WIDTHS.items():
        if targets.max() > np.iinfo(index).max:
            continue
        arrays = (pointer, targets.astype(index), weights.astype(value), events)

        def work(part: int, arrays: Any = arrays) -> None:
            gather(*arrays, cuts[part], cuts[part + 1], np.zeros(sum(sizes), np.int32))

        gather(*arrays, 0, 0, np.zeros(sum(sizes), np.int32))  # compiles it
        with ThreadPoolExecutor(threads) as pool:
            for _ in range(rounds):
                begin = time.perf_counter()
                list(pool.map(work, range(len(cuts) - 1)))
                seconds.setdefault(name, []).append(time.perf_counter() - begin)
    return seconds
