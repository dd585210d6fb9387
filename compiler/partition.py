"""`partition`: neurons to cores, every limit of the chip at the exact packed size, few axons between cores.

Neurons of any populations may share a core. Index order fills the cores with neurons in the order of their
populations; it is the baseline. `fast` grows cores (see `grow`), or cuts maps into tiles that share lists (see `tiles`)
or into regions (see `regions`); `best` makes cores from the blocks of a multilevel partitioner (see `multilevel`) as
well. Neurons then change cores where that takes axons off (see `exchange`). What is best of all is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

import numpy as np

from ..hw_targets.chip import Chip
from .dissolve import dissolve
from .exchange import exchange
from .fill import Core, empty_core
from .fixed import FixedNetwork
from .grow import grow_all, grow_from
from .limits import measure, synapse_words
from .multilevel import blocks
from .netlist import Ints
from .nodes import FloatArray
from .order import ordered
from .regions import fill_regions, has_maps
from .settle import Progress, fill_all, settle
from .slices import CoreSlices, Crossing, Reach
from .threads import each, pool
from .tiles import fill_tiles

Effort = Literal["fast", "best"]
LOOKS = 24
"""Times that growing may look at each synapse, in the mean."""
GROW_BESIDE_MAPS = 300_000
"""Synapses up to which cores are grown as well where populations stand on maps."""


def partition(
    network: FixedNetwork,
    chip: Chip,
    progress: Progress | None = None,
    *,
    effort: Effort = "fast",
    sharing: bool = True,
    rates: FloatArray | None = None,
) -> CoreSlices:
    """The slices with the fewest cores, and among those with the least traffic between cores.

    Args:
        network: integers only.
        chip: whose limits hold.
        progress: called with (neurons done, neurons in all).
        effort: how hard to search.
        sharing: whether populations on maps may be cut into tiles whose lists are shared.
        rates: (sources of the netlist,) packets per step of each; all alike where they are not given.

    Raises:
        LimitError: one neuron alone breaks a limit, with the neuron, the value and the limit.
    """
    if any(p.model == "sigma-delta" for p in network.populations):
        chip = chip.with_sigma_delta()
    if rates is None:
        rates = np.ones(int(network.netlist.base[-1]))
    maps = has_maps(network)
    _ = network.netlist.exponents  # made once, before threads ask for them
    with pool() as threads:
        tiles = threads.submit(fill_tiles, network, chip) if maps and sharing else None
        baseline = index_order(network, chip, progress)
        found = [baseline]
        if tiles is not None:
            found.append(tiles.result())
        small = len(network.netlist.source) <= GROW_BESIDE_MAPS
        if len(baseline.neurons) > 1:
            weight = axon_weights(network, baseline, rates)
            if maps and (small or not any(found[-1].is_shared())):
                found.append(CoreSlices(tuple(exchange(network, _regions(network, chip), weight, chip)), "fast"))
            if not maps or small:
                found.append(_grown(network, chip, weight, len(baseline.neurons), progress))
            if effort == "best":
                start = min((slices for slices in found if slices.neurons and not slices.shared), key=_cores)
                found.append(_best(network, chip, weight, start))
    found = [slices for slices in found if slices.neurons]
    crossing = [Crossing.of(network.netlist, slices, rates) for slices in found]
    best = min(range(len(found)), key=lambda i: (len(found[i].neurons), crossing[i].packets, crossing[i].axons))
    if len(found[best].neurons) == 1:
        single = [i for i in range(len(found)) if len(found[i].neurons) == 1]
        best = min(single, key=lambda i: _words(network, found[i], chip))
    neurons = found[best].neurons
    if best == 0:
        neurons = _ordered(network, neurons, chip)
    return replace(found[best], neurons=neurons, crossing=crossing[best], baseline=crossing[0])


def _words(network: FixedNetwork, slices: CoreSlices, chip: Chip) -> int:
    """Of all lists, in the best order where they are unrolled."""
    neurons = slices.neurons if slices.shared else _ordered(network, slices.neurons, chip)
    cores = zip(neurons, slices.is_shared(), strict=True)
    return sum(measure(network, own, chip, shared)[1] for own, shared in cores)


def index_order(network: FixedNetwork, chip: Chip, progress: Progress | None = None) -> CoreSlices:
    """Cores filled one after the other, in the order of the populations; the baseline of every other way."""
    core, order = empty_core(network, chip), np.arange(network.netlist.neurons)

    def fill() -> list[Ints]:
        return fill_all(network, core, order, chip, progress)

    return CoreSlices(tuple(settle(network, core, chip, fill, refills=3)))


def _regions(network: FixedNetwork, chip: Chip) -> list[Ints]:
    core = empty_core(network, chip)
    slices = settle(network, core, chip, lambda: fill_regions(network, core, chip))
    return list(_ordered(network, dissolve(network, core, slices, chip), chip))


def _ordered(network: FixedNetwork, slices: Iterable[Ints], chip: Chip) -> tuple[Ints, ...]:
    return tuple(each(lambda neurons: ordered(network, neurons, chip), slices))


def _grown(
    network: FixedNetwork, chip: Chip, weight: FloatArray, at_most: int, progress: Progress | None
) -> CoreSlices:
    core = empty_core(network, chip)
    slices = settle(network, core, chip, lambda: grow_all(network, core, weight, chip, progress), at_most)
    return _improved(network, core, chip, weight, slices, "fast")


def _best(network: FixedNetwork, chip: Chip, weight: FloatArray, start: CoreSlices) -> CoreSlices:
    core = empty_core(network, chip)
    words = sum(synapse_words(network, neurons, chip) for neurons in start.neurons)
    found = blocks(network, start, weight, words, chip)
    slices = settle(network, core, chip, lambda: grow_from(network, core, weight, chip, list(found)), _cores(start))
    return _improved(network, core, chip, weight, slices, "best")


def _improved(
    network: FixedNetwork, core: Core, chip: Chip, weight: FloatArray, slices: list[Ints], method: str
) -> CoreSlices:
    if slices:
        slices = exchange(network, dissolve(network, core, slices, chip), weight, chip)
    return CoreSlices(tuple(slices), method)


def _cores(slices: CoreSlices) -> int:
    return len(slices.neurons)


def axon_weights(network: FixedNetwork, baseline: CoreSlices, rates: FloatArray) -> FloatArray:
    """(sources,) what an axon more costs: its rate over the mean, and a tenth of the mean, for it also takes a list.

    0 where it has so many targets on so many cores that looking at them all would take too long.
    """
    netlist = network.netlist
    fan = np.bincount(netlist.source, minlength=len(rates))
    by_fan = np.argsort(fan, kind="stable")
    looks = np.cumsum((fan * Reach.of(netlist, baseline, len(baseline.neurons)).cores)[by_fan])
    weights: FloatArray = rates / max(float(rates.mean()), 1e-12) + 0.1
    weights[by_fan[looks > LOOKS * len(netlist.source)]] = 0
    return weights
