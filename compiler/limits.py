"""What a core with given neurons takes, at the exact packed size, and the first limit that it breaks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import LimitError
from ..hw_targets.chip import Chip
from ..hw_targets.formats import index_bits, pack
from .fixed import FixedNetwork
from .netlist import Ints


@dataclass(frozen=True)
class Excess:
    """A limit that a core breaks: what, how much of it is needed, how much there is."""

    what: str
    value: int
    limit: int
    way_out: str = "prune more"

    def error(self, label: str, chip: Chip) -> LimitError:
        """The sentence for a neuron that breaks it alone."""
        problem = f"needs {self.value} {self.what}, one {chip.name} core has {self.limit}"
        return LimitError(label, problem, self.way_out, value=self.value, limit=self.limit)


def excess(network: FixedNetwork, neurons: Ints, chip: Chip, shared: bool = False) -> Excess | None:
    """The first limit that a core with these neurons breaks, or None where it fits; output axons depend on the rest."""
    return measure(network, neurons, chip, shared)[0]


def measure(network: FixedNetwork, neurons: Ints, chip: Chip, shared: bool = False) -> tuple[Excess | None, int]:
    """(excess, words of all lists) of a core with these neurons, in this order; `shared` as in `Netlist.lists_of`."""
    limits = chip.limits
    core = network.netlist.lists_of(neurons, shared)
    packing = pack(core.parts, len(neurons), limits.formats_per_core[0])
    words = int(packing.words.sum())
    profiles = _profiles(network, neurons)
    more, other = "split the layer or prune more", "give more layers the same tau and threshold"
    for what, value, limit, way_out in (
        ("neurons", len(neurons), chip.neurons_per_core, "prune more"),
        ("index bits", index_bits(len(neurons)), limits.index_bits_max[0], "prune more"),
        ("compartment profiles", profiles[0], limits.compartment_profiles_per_core[0] or profiles[0], other),
        ("threshold profiles", profiles[1], limits.threshold_profiles_per_core[0] or profiles[1], other),
        ("input axons", len(core.list_of), limits.in_axons_per_core[0], more),
        ("synapse formats", len(packing.formats), limits.formats_per_core[0], "use fewer exponents"),
        ("words in one synapse list", int(packing.words.max(initial=0)), limits.words_per_list[0], "prune more"),
        ("synapse words", words, chip.synapse_words, "prune more"),
        ("words of memory", chip.words_needed(words, len(neurons)), chip.memory_words, "prune more"),
    ):
        if value > limit:
            return Excess(what, value, limit, way_out), words
    return None, words


def synapse_words(network: FixedNetwork, neurons: Ints, chip: Chip) -> int:
    """Words of all lists of a core with these neurons."""
    return measure(network, neurons, chip)[1]


def _profiles(network: FixedNetwork, neurons: Ints) -> tuple[int, int]:
    """How many decays and thresholds these neurons have."""
    decays, thresholds = network.profile_numbers
    return len(np.unique(decays[neurons])), len(np.unique(thresholds[neurons]))
