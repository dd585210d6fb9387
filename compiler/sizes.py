"""Where the bits of the tables go, what the partition came to, and how few cores could do: rows of the report."""

from __future__ import annotations

from math import ceil

import msgspec
import numpy as np

from ..hw_targets.chip import Chip
from ..hw_targets.formats import HEADER_BITS, pack
from .fixed import FixedNetwork
from .slices import CoreSlices


class BitsRow(msgspec.Struct, frozen=True):
    """All bits of synapse memory: weights with their delays, indices (skips, first compartments and zeros written in,
    too), headers of entries, and what rounding to words and the end of each list leave empty."""

    weights: int
    indices: int
    headers: int
    rounding: int


class PartitionRow(msgspec.Struct, frozen=True):
    """How the neurons were spread, beside index order.

    Attributes:
        method: that the slices come from.
        shared_cores: whose lists are shared between sources with a base each; see `tiles`.
        cores_bound: no partition with so many words takes fewer cores; see `cores_bound`.
        axons, packets: between cores, as `Crossing` counts them.
        index_order_cores, index_order_axons, index_order_packets: the same in index order.
    """

    method: str
    shared_cores: int
    cores_bound: int
    axons: int
    packets: float
    index_order_cores: int
    index_order_axons: int
    index_order_packets: float


def bits_row(network: FixedNetwork, slices: CoreSlices, chip: Chip) -> BitsRow:
    """The four sums over all cores; together they are the synapse memory in use."""
    weights = total = headers = words = 0
    for neurons, shared in zip(slices.neurons, slices.is_shared(), strict=True):
        parts = network.netlist.lists_of(neurons, shared).parts
        packing = pack(parts, len(neurons), chip.limits.formats_per_core[0])
        weight = np.array([shape.weight_bits + shape.delay_bits for shape in packing.formats], np.int64)
        weights += int((weight[packing.choice] * parts.count).sum())
        headers += HEADER_BITS * int(packing.entries.sum())
        total += int(packing.bits.sum())
        words += int(packing.words.sum())
    return BitsRow(weights, total - weights - headers, headers, 64 * words - total)


def partition_row(network: FixedNetwork, slices: CoreSlices, words: int, chip: Chip) -> PartitionRow:
    """Args: slices of `partition`; `words` of all lists."""
    own, baseline = slices.crossing, slices.baseline
    assert own is not None and baseline is not None, "partition measures what it gives"
    return PartitionRow(
        slices.method,
        sum(slices.is_shared()),
        cores_bound(network, words, chip, any(slices.is_shared())),
        own.axons,
        own.packets,
        baseline.cores,
        baseline.axons,
        baseline.packets,
    )


def cores_bound(network: FixedNetwork, words: int, chip: Chip, shared: bool = False) -> int:
    """The cores that hold so many words of lists, all neurons, and one axon per source with a target.

    With shared lists a population axon serves any number of sources, so axons do not count.

    >>> from ..hw_targets.chip import load
    >>> from .fixed import FixedInput, FixedPopulation
    >>> n = np.zeros(9000, np.int16)
    >>> one = FixedPopulation("hidden", (9000,), np.arange(9000), 4095, 2048, 100, n, n, 0)
    >>> cores_bound(FixedNetwork((FixedInput("x", (2,), "rate", 1, 1),), (one,), (), ("hidden",), 4), 0, load("loihi2"))
    2
    """
    netlist, limits = network.netlist, chip.limits
    sends = np.bincount(netlist.source, minlength=int(netlist.base[-1])) > 0
    return max(
        ceil(netlist.neurons / chip.neurons_per_core),
        ceil(words / chip.synapse_words),
        ceil(chip.words_needed(words, netlist.neurons) / chip.memory_words),
        0 if shared else ceil(int(sends.sum()) / limits.in_axons_per_core[0]),
        0 if shared else ceil(int(sends[: netlist.neurons].sum()) / limits.out_axons_per_core[0]),
    )
