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


def excess(network: FixedNetwork, neurons: Ints, chip: Chip) -> Excess | None:
    """The first limit that a core with these neurons breaks, or None where it fits; output axons depend on the rest."""
    limits = chip.limits
    if len(neurons) > chip.neurons_per_core:
        return Excess("neurons", len(neurons), chip.neurons_per_core)
    if index_bits(len(neurons)) > limits.index_bits_max[0]:
        return Excess("index bits", index_bits(len(neurons)), limits.index_bits_max[0])
    for what, value, limit in _profiles(network, neurons, chip):
        if limit and value > limit:
            return Excess(what, value, limit, "give more layers the same tau and threshold")
    sources, _, parts = network.netlist.lists_of(neurons)
    if len(sources) > limits.in_axons_per_core[0]:
        return Excess("input axons", len(sources), limits.in_axons_per_core[0], "split the layer or prune more")
    packing = pack(parts, len(neurons), limits.formats_per_core[0])
    if len(packing.formats) > limits.formats_per_core[0]:
        return Excess("synapse formats", len(packing.formats), limits.formats_per_core[0], "use fewer exponents")
    words = int(packing.words.sum())
    memory = chip.words_needed(words, len(neurons))
    for what, value, limit in (
        ("words in one synapse list", int(packing.words.max(initial=0)), limits.words_per_list[0]),
        ("synapse words", words, chip.synapse_words),
        ("words of memory", memory, chip.memory_words),
    ):
        if value > limit:
            return Excess(what, value, limit)
    return None


def synapse_words(network: FixedNetwork, neurons: Ints, chip: Chip) -> int:
    """Words of all lists of a core with these neurons."""
    _, _, parts = network.netlist.lists_of(neurons)
    return int(pack(parts, len(neurons), chip.limits.formats_per_core[0]).words.sum())


def _profiles(network: FixedNetwork, neurons: Ints, chip: Chip) -> list[tuple[str, int, int]]:
    rows = np.unique(network.netlist.population_of(neurons))
    populations = [network.populations[row] for row in rows.tolist()]
    return [
        (
            "compartment profiles",
            len({(p.du, p.dv) for p in populations}),
            chip.limits.compartment_profiles_per_core[0],
        ),
        ("threshold profiles", len({p.vth for p in populations}), chip.limits.threshold_profiles_per_core[0]),
    ]
