"""`partition`: neurons to cores, every limit of the chip at the exact packed size.

Index order: cores are filled one after the other with neurons in the order of their populations, each as far as its
limits allow. Populations may share a core.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import LimitError
from ..hw_targets.chip import Chip
from ..hw_targets.formats import index_bits, pack
from .fixed import FixedNetwork
from .netlist import Ints, Netlist

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class CoreSlices:
    """Which neurons stand on which core; each neuron in exactly one slice.

    Attributes:
        neurons: per core (compartments,) int64 numbers of a `Netlist`, in the order of the compartments.
    """

    neurons: tuple[Ints, ...]

    def core_of(self) -> NDArray[np.int32]:
        """(neurons,) the core of each neuron.

        >>> CoreSlices((np.array([0, 2]), np.array([1]))).core_of().tolist()
        [0, 1, 0]
        """
        everything = np.concatenate(self.neurons)
        core = np.full(len(everything), -1, np.int32)
        core[everything] = np.repeat(np.arange(len(self.neurons), dtype=np.int32), [len(n) for n in self.neurons])
        assert bool((core >= 0).all()), "each neuron stands in exactly one slice"
        return core

    def dump(self) -> str:
        """A short stable text for tests and people."""
        return "\n".join(f"core {i}: {len(n)} neurons {n[0]}..{n[-1]}" for i, n in enumerate(self.neurons))


@dataclass(frozen=True)
class Excess:
    """A limit that a core breaks: what, how much of it is needed, how much there is."""

    what: str
    value: int
    limit: int
    way_out: str = "prune more"


def excess(network: FixedNetwork, netlist: Netlist, neurons: Ints, chip: Chip) -> Excess | None:
    """The first limit that a core with these neurons breaks, or None where it fits."""
    limits = chip.limits
    if len(neurons) > chip.neurons_per_core:
        return Excess("neurons", len(neurons), chip.neurons_per_core)
    if index_bits(len(neurons)) > limits.index_bits_max[0]:
        return Excess("index bits", index_bits(len(neurons)), limits.index_bits_max[0])
    for what, value, limit in _profiles(network, netlist, neurons, chip):
        if limit and value > limit:
            return Excess(what, value, limit, "give more layers the same tau and threshold")
    sources, parts = netlist.parts_of(neurons)
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


def _profiles(network: FixedNetwork, netlist: Netlist, neurons: Ints, chip: Chip) -> list[tuple[str, int, int]]:
    rows = np.unique(netlist.population_of(neurons))
    populations = [network.populations[row] for row in rows.tolist()]
    return [
        (
            "compartment profiles",
            len({(p.du, p.dv) for p in populations}),
            chip.limits.compartment_profiles_per_core[0],
        ),
        ("threshold profiles", len({p.vth for p in populations}), chip.limits.threshold_profiles_per_core[0]),
    ]


def partition(network: FixedNetwork, chip: Chip, progress: Progress | None = None) -> CoreSlices:
    """Fills the cores in index order.

    Args:
        network: integers only.
        chip: whose limits hold.
        progress: called with (neurons done, neurons in all).

    Raises:
        LimitError: one neuron alone breaks a limit, with the neuron, the value and the limit.
    """
    netlist = Netlist.of(network)
    slices: list[Ints] = []
    start, guess = 0, chip.neurons_per_core
    while start < netlist.neurons:
        size = _largest(network, netlist, chip, start, guess)
        slices.append(np.arange(start, start + size))
        start, guess = start + size, size
        if progress is not None:
            progress(start, netlist.neurons)
    return CoreSlices(_within_output_axons(netlist, slices, chip))


def _largest(network: FixedNetwork, netlist: Netlist, chip: Chip, start: int, guess: int) -> int:
    """The most neurons from `start` on that one core holds: a search that begins at the size of the core before."""

    def broken(size: int) -> Excess | None:
        return excess(network, netlist, np.arange(start, start + size), chip)

    most = min(netlist.neurons - start, chip.neurons_per_core)
    fits, breaks = 0, most + 1
    size, step = min(guess, most), max(1, guess // 16)
    while breaks - fits > 1:
        if broken(size) is None:
            fits = size
            size = min(size + step, most) if breaks == most + 1 else (fits + breaks) // 2
        else:
            breaks = size
            size = max(size - step, 1) if fits == 0 else (fits + breaks) // 2
        step *= 2
    if fits == 0:
        problem = broken(1)
        assert problem is not None
        raise _limit_error(netlist.label(start), problem, chip)
    return fits


def _limit_error(label: str, problem: Excess, chip: Chip) -> LimitError:
    return LimitError(
        label,
        f"needs {problem.value} {problem.what}, one {chip.name} core has {problem.limit}",
        problem.way_out,
        value=problem.value,
        limit=problem.limit,
    )


def _within_output_axons(netlist: Netlist, slices: list[Ints], chip: Chip) -> tuple[Ints, ...]:
    """Halves the slices with too many output-axon entries until none is left."""
    limit = chip.limits.out_axons_per_core[0]
    while True:
        entries = output_entries(netlist, CoreSlices(tuple(slices)), chip)
        over = np.flatnonzero(entries > limit).tolist()
        if not over:
            return tuple(slices)
        for core in over:
            if len(slices[core]) == 1:
                problem = Excess("output axons", int(entries[core]), limit)
                raise _limit_error(netlist.label(int(slices[core][0])), problem, chip)
        for core in reversed(over):
            neurons = slices[core]
            middle = len(neurons) // 2
            slices[core : core + 1] = [neurons[:middle], neurons[middle:]]


def output_entries(netlist: Netlist, slices: CoreSlices, chip: Chip) -> Ints:
    """(cores,) output-axon entries: one per neuron and target core, one more where that core is on another chip."""
    core = slices.core_of()
    target = np.repeat(core, np.diff(netlist.indptr))
    own = netlist.source < netlist.neurons
    pairs = np.unique(netlist.source[own].astype(np.int64) * len(slices.neurons) + target[own])
    source, goal = core[pairs // len(slices.neurons)], pairs % len(slices.neurons)
    cost = 1 + (source // chip.cores_per_chip != goal // chip.cores_per_chip)
    return np.bincount(source, cost, len(slices.neurons)).astype(np.int64)
