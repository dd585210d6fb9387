"""What a network would take of a chip, exactly, without writing its tables: what training towards a chip asks for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..hw_targets.chip import Chip
from ..hw_targets.formats import pack
from .balance import balance
from .fixed import FixedNetwork
from .fold import fold
from .lower import lower
from .netlist import Netlist
from .network import Network
from .nodes import FloatArray
from .partition import partition
from .quantise import quantise
from .rates import packet_rates


@dataclass(frozen=True, eq=False)
class Cost:
    """The chip's bill for one network.

    Attributes:
        cores: cores that the partition takes.
        filled: the same with the last core counted by its fullest limit, such as 1.25 for two cores.
        synapses: in the tables.
        words: 64-bit words of synapse lists, over all cores.
        bits_per_synapse: per population or input, as it was trained (C order), the bits of each source's lists /
            their synapses, those of a shared list in equal parts; a source without a list gets the word that a first
            synapse would take, one whose synapses the host computes 0.
    """

    cores: int
    filled: float
    synapses: int
    words: int
    bits_per_synapse: Mapping[str, FloatArray]


def cost(trained: Network, chip: Chip) -> Cost:
    """Compiles a network as far as the sizes of its tables.

    Raises:
        SnnCompileError: one of its kinds, where the network or a limit is at fault.
    """
    sparse = balance(lower(fold(trained)), chip)
    network = quantise(sparse, chip)
    slices, netlist = partition(network, chip, rates=packet_rates(sparse, network)), network.netlist
    words = np.zeros(int(netlist.base[-1]))
    total, filled = 0, 0.0
    for neurons, shared in zip(slices.neurons, slices.is_shared(), strict=True):
        core = netlist.lists_of(neurons, shared)
        packing = pack(core.parts, len(neurons), chip.limits.formats_per_core[0])
        words[core.sources] += (packing.words / np.bincount(core.lists, minlength=len(packing.words)))[core.lists]
        own = int(packing.words.sum())
        total += own
        filled = max(
            len(neurons) / chip.neurons_per_core,
            len(core.list_of) / chip.limits.in_axons_per_core[0],
            own / chip.synapse_words,
            chip.words_needed(own, len(neurons)) / chip.memory_words,
        )
    return Cost(
        len(slices.neurons),
        len(slices.neurons) - 1 + filled,
        len(netlist.source),
        total,
        _bits_per_synapse(network, netlist, words),
    )


def _bits_per_synapse(network: FixedNetwork, netlist: Netlist, words: FloatArray) -> dict[str, FloatArray]:
    """Per population and input, for each neuron that was trained."""
    synapses = np.bincount(netlist.source, minlength=len(words))
    price = 64 * np.where(synapses > 0, words / np.maximum(synapses, 1), 1.0)
    prices = {}
    for row, name in enumerate(netlist.names):
        member = network.by_name[name]
        own = price[netlist.base[row] : netlist.base[row + 1]]
        origin = getattr(member, "origin", np.arange(member.size))
        at_host = row >= len(network.populations) and all(q.host for q in network.projections if q.source == name)
        prices[name] = np.full(math.prod(member.shape), 0.0 if at_host else 64.0)
        prices[name][origin] = 0.0 if at_host else own
    return prices
