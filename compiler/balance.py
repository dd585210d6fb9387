"""`balance`: paths of unequal length that meet get delays, so that spikes of one sample's step meet in one step."""

from __future__ import annotations

from dataclasses import replace

import networkx as nx
import numpy as np

from ..errors import LimitError
from ..hw_targets.chip import Chip
from .sparse import SparseNetwork, SparseProjection


def window_offsets(network: SparseNetwork) -> dict[str, int]:
    """Steps from the start of the first layer's window to that of each population; inputs have -1.

    The offset is the longest path from an input. An edge that closes a loop does not count: its spikes arrive in a
    later step of the window.
    """
    graph = nx.DiGraph()
    graph.add_nodes_from(network.by_name)
    graph.add_edges_from((q.source, q.target) for q in network.projections if q.source != q.target)
    distance = nx.multi_source_dijkstra_path_length(graph, {p.name for p in network.inputs})
    order = {name: i for i, name in enumerate(network.by_name)}
    for component in list(nx.strongly_connected_components(graph)):
        if len(component) > 1:
            rank = sorted(component, key=lambda name: (distance.get(name, 0), order[name]))
            place = {name: i for i, name in enumerate(rank)}
            inside = [(s, t) for s, t in graph.edges if s in place and t in place and place[s] > place[t]]
            graph.remove_edges_from(inside)
    offsets = {p.name: -1 for p in network.inputs}
    for name in nx.topological_sort(graph):
        if name not in offsets:
            offsets[name] = max((offsets[s] + 1 for s in graph.predecessors(name)), default=0)
    return offsets


def balance(network: SparseNetwork, chip: Chip) -> SparseNetwork:
    """The same network with a delay on each projection that skips layers, besides the delays that it has.

    Raises:
        LimitError: a delay exceeds the chip's.
    """
    offsets = window_offsets(network)
    limit = chip.limits.delay_max[0]
    projections = []
    for q in network.projections:
        skipped = max(0, offsets[q.target] - offsets[q.source] - 1)
        delay = skipped + q.synapses.max_delay
        if delay > limit:
            raise LimitError(
                f"{q.source} -> {q.target}",
                f"needs a delay of {delay} steps, {chip.name} has {limit}",
                "shorten it, or the path beside it",
                value=delay,
                limit=limit,
            )
        projections.append(_delayed(q, skipped))
    return replace(network, projections=tuple(projections))


def _delayed(projection: SparseProjection, delay: int) -> SparseProjection:
    synapses = projection.synapses
    delays = synapses.delays + np.uint8(delay)
    return replace(projection, synapses=replace(synapses, delays=delays))
