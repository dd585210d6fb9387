"""`encode`: a placed network becomes the chip's bits. `decode` in the module beside it is its inverse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import LimitError
from ..hw_targets.chip import Chip
from ..hw_targets.codec import write
from ..hw_targets.formats import pack
from .fixed import FixedNetwork
from .netlist import Ints, Netlist
from .neurons import check_neuron
from .place import Placement
from .program import CoreTables, HostTables, InputTables, PopulationHeader, Program
from .scale import WEIGHT_MAX, WEIGHT_MIN
from .threads import each

Progress = Callable[[int, int], None]


def encode(
    network: FixedNetwork,
    placement: Placement,
    chip: Chip,
    manifest: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Program:
    """The tables of every core, the routing and the host's part.

    Raises:
        LimitError: a weight or delay that the tables cannot hold.
    """
    _check_values(network, chip)
    netlist = network.netlist
    slices, shared = placement.slices.neurons, placement.slices.is_shared()
    bodies: list[tuple[Any, ...]] = []
    routes = []
    for lists, *body in each(lambda core: _tables(netlist, *core, chip), zip(slices, shared, strict=True)):
        number = np.full(len(lists.sources), len(bodies))
        routes.append(np.stack([lists.sources, number, lists.axon, lists.base]))
        bodies.append(tuple(body))
        if progress is not None:
            progress(len(bodies), len(slices))
    routing = _Routing(np.concatenate(routes, axis=1), int(netlist.base[-1]))
    cores = tuple(
        CoreTables(
            placement.positions[core],
            neurons.astype(np.uint32),
            *_configuration(network, neurons),
            *bodies[core],
            *routing.of(neurons),
        )
        for core, neurons in enumerate(slices)
    )
    inputs = tuple(
        InputTables(source, *routing.of(np.arange(source.size) + netlist.base[netlist.names.index(source.name)]))
        for source in network.inputs
    )
    return Program(
        chip.name,
        placement.board,
        network.steps,
        inputs,
        tuple(PopulationHeader(p.name, p.shape, p.size, p.offset, p.origin) for p in network.populations),
        network.outputs,
        tuple((q.source, q.target) for q in network.projections),
        tuple(HostTables(q.source, q.target, -q.exponent, q.synapses) for q in network.projections if q.host),
        cores,
        dict(manifest or {}),
        network.votes,
    )


def _tables(netlist: Netlist, neurons: Ints, shared: bool, chip: Chip) -> tuple[Any, ...]:
    """(lists, formats, words, axon_start, axon_words) of a core with these neurons; see `CoreTables`."""
    lists = netlist.lists_of(neurons, shared)
    packing = pack(lists.parts, len(neurons), chip.limits.formats_per_core[0])
    words, starts = write(lists.parts, packing)
    formats = np.array([shape.row() for shape in packing.formats], np.int16).reshape(-1, 6)
    return lists, formats, words, starts[lists.list_of], packing.words[lists.list_of].astype(np.uint16)


def _check_values(network: FixedNetwork, chip: Chip) -> None:
    for p in network.populations:
        check_neuron(p.name, chip, p.reset == "subtract", p.refractory, p.payload_bits)
    for q in network.projections:
        label = f"{q.source} -> {q.target}"
        if q.host:
            continue
        weights = q.synapses.weights
        low, high = int(weights.min()), int(weights.max())
        if low < WEIGHT_MIN or high > WEIGHT_MAX or bool((weights % 2).any()):
            raise LimitError(
                label,
                f"has weights {low} to {high}, mixed 8-bit weights are even, {WEIGHT_MIN} to {WEIGHT_MAX}",
                "quantise it again",
                value=high,
                limit=WEIGHT_MAX,
            )
        limit = chip.limits.delay_max[0]
        if q.synapses.max_delay > limit:
            raise LimitError(
                label,
                f"has a delay of {q.synapses.max_delay} steps, {chip.name} has {limit}",
                "shorten it",
                value=q.synapses.max_delay,
                limit=limit,
            )


class _Routing:
    """The packets of every source: (4, packets) source, core, input axon, base."""

    def __init__(self, routes: Ints, sources: int) -> None:
        self.routes = routes[:, np.lexsort((routes[1], routes[0]))]
        self.start = np.searchsorted(self.routes[0], np.arange(sources + 1))

    def of(self, sources: Ints) -> tuple[Any, ...]:
        """(start, core, axon, base) as `InputTables` has them."""
        count = self.start[sources + 1] - self.start[sources]
        start = np.concatenate([[0], np.cumsum(count)])
        rows = np.repeat(self.start[sources] - start[:-1], count) + np.arange(start[-1])
        return (start.astype(np.uint32), *(self.routes[row][rows].astype(np.uint16) for row in (1, 2, 3)))


def _configuration(network: FixedNetwork, neurons: Ints) -> tuple[NDArray[np.uint32], NDArray[np.int32]]:
    """(configuration, profiles) of a core's compartments; see `CoreTables`."""
    profiles, profile = np.unique(network.profiles[neurons], axis=0, return_inverse=True)
    mantissa = np.concatenate([p.bias_mant for p in network.populations])[neurons].astype(np.int64)
    exponent = np.concatenate([p.bias_exp for p in network.populations])[neurons].astype(np.int64)
    packed = (mantissa & 0x1FFF) | exponent << 13 | profile.reshape(-1) << 16
    return packed.astype(np.uint32), profiles
