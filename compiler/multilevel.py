"""Blocks of a multilevel partitioner, Mt-KaHyPar, for `--effort best`; `grow_from` makes cores of them."""

from __future__ import annotations

import importlib
import os
from functools import cache
from typing import Any

import numpy as np

from ..errors import UnsupportedError
from ..hw_targets.chip import Chip
from .fixed import FixedNetwork
from .grow import fan_out
from .netlist import Ints
from .nodes import FloatArray
from .slices import CoreSlices, neuron_entries

UNIT = 1000
"""Integer weights of a core's share and of an axon's mean cost."""
SLACK = (0.005, 0.1)
"""Smallest and largest imbalance of the blocks."""


def blocks(
    network: FixedNetwork,
    start: CoreSlices,
    weight: FloatArray,
    words: int,
    chip: Chip,
    preset: str = "DETERMINISTIC_QUALITY",
) -> list[Ints]:
    """As many blocks as `start` has slices, with few axons between them; sizes are estimates.

    Args:
        network: integers only.
        start: slices that show how much a neuron takes.
        weight: (sources,) of each axon.
        words: of all lists of `start`.
        chip: whose limits hold.
        preset: of the library; DETERMINISTIC gives the same blocks on any number of threads.

    Raises:
        UnsupportedError: mtkahypar is not installed.
    """
    library, kahypar = _library()
    count = len(start.neurons)
    share = _share(network, start, words, chip)
    context = kahypar.context_from_preset(getattr(library.PresetType, preset))
    slack = float(np.clip(count / max(float(share.sum()), 1e-9) - 1, *SLACK))
    context.set_partitioning_parameters(count, slack, library.Objective.KM1)
    context.logging = False
    library.set_seed(0)
    edges, costs = _hyperedges(network, weight)
    sizes = np.maximum(1, np.rint(share * UNIT * UNIT)).astype(np.int64).tolist()
    graph = kahypar.create_hypergraph(context, len(sizes), len(edges), edges, sizes, costs)
    found = graph.partition(context)
    block = np.array([found.block_id(i) for i in range(len(sizes))])
    return [own for own in (np.flatnonzero(block == i) for i in range(count)) if len(own)]


@cache
def _library() -> tuple[Any, Any]:
    try:
        library = importlib.import_module("mtkahypar")
    except ModuleNotFoundError:
        problem = "needs mtkahypar, which is not installed"
        raise UnsupportedError("--effort best", problem, "install the extra 'partition', or choose fast") from None
    return library, library.initialize(os.cpu_count() or 1)


def _share(network: FixedNetwork, start: CoreSlices, words: int, chip: Chip) -> FloatArray:
    """(neurons,) the share of a core that each neuron takes, of what it takes most of."""
    fan_in = np.diff(network.netlist.indptr)
    own = fan_in * (words / max(1, int(fan_in.sum())))
    entries = neuron_entries(network.netlist, start, chip)
    share: FloatArray = np.max(
        [
            np.full(len(own), 1 / chip.neurons_per_core),
            own / chip.synapse_words,
            (own + chip.limits.words_per_neuron[0]) / chip.memory_words,
            entries / chip.limits.out_axons_per_core[0],
        ],
        axis=0,
    )
    return share


def _hyperedges(network: FixedNetwork, weight: FloatArray) -> tuple[list[list[int]], list[int]]:
    """Pins (the targets of a source, and itself where it is a neuron) and integer costs of all with two and more."""
    start, fan = fan_out(network.netlist)
    neurons = network.netlist.neurons
    edges, costs = [], []
    for source in np.flatnonzero(np.diff(start)).tolist():
        pins = fan[start[source] : start[source + 1]].tolist()
        if source < neurons and source not in pins:
            pins.append(source)
        if len(pins) > 1:
            edges.append(pins)
            costs.append(max(1, round(UNIT * float(weight[source]))))
    return edges, costs
