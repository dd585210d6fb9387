"""Tiles: populations of a map are cut into blocks of channels × rows × columns, whose lists are shared.

Inside a block, sources at different places have the same fan-out but for a shift, so a core holds each weight of a
convolution once for all places (and once for each way in which a border cuts it). Then neurons fill a core, not words.
The shape of the blocks is searched per population at their exact size; each core then takes what costs it less, shared
or unrolled lists.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import NamedTuple

import numpy as np

from ..hw_targets.chip import Chip
from .fixed import FixedNetwork, FixedPopulation
from .limits import excess, measure
from .netlist import NONE, Ints
from .regions import on_a_map
from .slices import CoreSlices
from .threads import each

ROUNDS = 8
"""Times that cores with too many output axons are relieved before tiles are given up."""
ROOM = 0.95
"""Share of the output axons that is filled, as needs grow a little where others are cut."""
TRIES = 4
"""Cores that a small tile is offered to."""


class Tile(NamedTuple):
    """Neurons in the order of their compartments (channel, row, column), and whether their lists are shared."""

    neurons: Ints
    shared: bool


def fill_tiles(network: FixedNetwork, chip: Chip) -> CoreSlices:
    """Cores of tiles, and of the populations without a map. No cores where output axons are in the way.

    Raises:
        LimitError: one neuron alone breaks a limit, with the neuron, the value and the limit.
    """
    tiles: list[Tile] = []
    flat: list[Ints] = []
    for row, population in enumerate(network.populations):
        first = int(network.netlist.base[row])
        if on_a_map(population):
            tiles += _tiles(network, population, first, chip)
        else:
            flat.append(np.arange(first, first + population.size))
    tiles += _filled(network, np.concatenate(flat), chip) if flat else []
    tiles = _joined(network, tiles, chip)
    for _ in range(ROUNDS):
        routes = _Routes(network, tiles, chip)
        over = [i for i, tile in enumerate(tiles) if routes.entries(tile.neurons, i) > routes.limit]
        if not over:
            shared = tuple(tile.shared for tile in tiles)
            return CoreSlices(tuple(t.neurons for t in tiles), "tiles", shared=shared if any(shared) else ())
        tiles = _spread(network, tiles, over, routes, chip)
    return CoreSlices((), "tiles")


class _Routes:
    """The output axons of any neurons, by the lists of all cores, which stand in order, chip after chip."""

    def __init__(self, network: FixedNetwork, tiles: list[Tile], chip: Chip) -> None:
        self.limit, self.per_chip = chip.limits.out_axons_per_core[0], chip.cores_per_chip
        neurons = network.netlist.neurons
        found = []
        for number, lists in enumerate(each(lambda tile: network.netlist.lists_of(*tile), tiles)):
            own = lists.sources < neurons
            axon = lists.axon[own]
            found.append((lists.sources[own], np.int64(number << 32) + 2 * axon + lists.population[axon]))
        source, axon = (np.concatenate(column) for column in zip(*found, strict=True))
        order = np.argsort(source, kind="stable")
        self.axon = axon[order]
        self.start = np.searchsorted(source[order], np.arange(neurons + 1))

    def entries(self, neurons: Ints, core: int) -> int:
        """How many output-axon entries these neurons take on one core."""
        count = self.start[neurons + 1] - self.start[neurons]
        rows = np.repeat(self.start[neurons] - np.cumsum(count) + count, count) + np.arange(int(count.sum()))
        axons = np.unique(self.axon[rows])
        remote = (axons >> 32) // self.per_chip != core // self.per_chip
        return int((1 + (axons & 1) + remote).sum())

    def most(self, neurons: Ints, beside: Ints, core: int) -> int:
        """How many of these neurons can stand beside others on a core, the first before the last."""

        def holds(count: int) -> bool:
            return self.entries(np.concatenate([beside, neurons[:count]]), core) <= ROOM * self.limit

        return _largest(len(neurons), holds)


def _largest(most: int, holds: Callable[[int], bool]) -> int:
    """The largest number for which it holds, to within a 64th; it holds for 0, and for no larger one than it fails."""
    fits, breaks = 0, most + 1
    while breaks - fits > max(1, fits // 64):
        middle = (fits + breaks) // 2
        fits, breaks = (middle, breaks) if holds(middle) else (fits, middle)
    return fits


def _spread(network: FixedNetwork, tiles: list[Tile], over: list[int], routes: _Routes, chip: Chip) -> list[Tile]:
    """Neurons of cores with too many output axons go to cores that have most of theirs left, then to new ones.

    The cores that take them give neurons in return, which need hardly any output axons and fill new cores.
    """
    found = list(tiles)
    more: list[Tile] = []
    homeless: list[Ints] = []
    spare = np.array([routes.limit - routes.entries(tile.neurons, i) for i, tile in enumerate(tiles)])
    hosts = [i for i in np.argsort(-spare, kind="stable").tolist() if spare[i] > routes.limit // 2]
    for i in over:
        fits = max(1, routes.most(tiles[i].neurons, NONE, i))
        found[i], *others = _fitting(network, tiles[i].neurons[:fits], chip)
        more += others
        rest = tiles[i].neurons[fits:]
        while len(rest) and hosts:
            k = hosts.pop(0)
            own = found[k].neurons
            size = routes.most(rest[: chip.neurons_per_core // 2], own, k)
            stay = min(len(own), chip.neurons_per_core - size)
            both = np.concatenate([own[:stay], rest[:size]])
            shared = found[k].shared or found[i].shared
            if size and measure(network, both, chip, shared)[0] is None:
                homeless.append(own[stay:])
                found[k], rest = Tile(both, shared), rest[size:]
        while len(rest):
            size = max(1, routes.most(rest, NONE, i))
            more += _fitting(network, rest[:size], chip)
            rest = rest[size:]
    return _joined(network, found + more + _filled(network, np.concatenate([NONE, *homeless]), chip), chip)


def _filled(network: FixedNetwork, neurons: Ints, chip: Chip) -> list[Tile]:
    """Cores filled one after the other, as far as the exact size allows; lists of one synapse share well."""
    found: list[Tile] = []

    def holds(count: int) -> bool:
        return any(excess(network, neurons[:count], chip, shared) is None for shared in (True, False))

    while len(neurons):
        size = max(1, _largest(min(len(neurons), chip.neurons_per_core), holds))
        found += _fitting(network, neurons[:size], chip)
        neurons = neurons[size:]
    return found


def _tiles(network: FixedNetwork, population: FixedPopulation, first: int, chip: Chip) -> list[Tile]:
    channel, row, column = np.unravel_index(population.origin, population.shape)
    planes, plane = np.unique(channel, return_inverse=True)
    places = np.column_stack([plane.reshape(-1), row, column])
    sizes = (len(planes), *population.shape[1:])
    shape = _shape(network, places, first, sizes, chip)
    number = _block_numbers(places, sizes, shape)
    order = np.argsort(number, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(number[order])) + 1)
    return [tile for found in each(lambda part: _fitting(network, first + part, chip), parts) for tile in found]


def _block_numbers(places: Ints, sizes: tuple[int, ...], shape: tuple[int, ...]) -> Ints:
    """(n,) the block of each place."""
    counts = [ceil(size / step) for size, step in zip(sizes, shape, strict=True)]
    return np.asarray(np.ravel_multi_index(tuple((places // shape).T), counts))


def _shape(network: FixedNetwork, places: Ints, first: int, sizes: tuple[int, ...], chip: Chip) -> tuple[int, ...]:
    """Channels, rows and columns of the blocks that need the fewest cores, and among those the fewest axons."""
    channels, height, width = sizes
    candidates = []
    rows, columns = height, width
    while True:
        candidates.append((rows, columns))
        if rows * columns == 1:
            break
        rows, columns = (ceil(rows / 2), columns) if rows >= columns else (rows, ceil(columns / 2))

    def cost(area: tuple[int, int]) -> tuple[int, int, tuple[int, ...]]:
        step = min(channels, chip.neurons_per_core // (area[0] * area[1]))
        while step:
            shape = (step, *area)
            number = _block_numbers(places, sizes, shape)
            counts = np.bincount(number)
            inside = np.flatnonzero(counts == counts.max())
            neurons = first + np.flatnonzero(number == inside[len(inside) // 2])
            cores = int((counts > 0).sum())
            if measure(network, neurons, chip, shared=True)[0] is None:
                return cores, cores * len(network.netlist.lists_of(neurons, True).list_of), shape
            if measure(network, neurons, chip)[0] is None:
                return cores, cores * len(network.netlist.lists_of(neurons).list_of), shape
            step //= 2
        return len(places), len(places), (1, *area)

    return min(each(cost, candidates))[2]


def _fitting(network: FixedNetwork, neurons: Ints, chip: Chip) -> list[Tile]:
    """One tile, with the lists that take fewer words, or halves of it that fit."""
    found = []
    for shared in (True, False):
        problem, words = measure(network, neurons, chip, shared)
        if problem is None:
            found.append((words, not shared, Tile(neurons, shared)))
    if found:
        return [min(found)[2]]
    if len(neurons) == 1:
        assert problem is not None
        raise problem.error(network.netlist.label(int(neurons[0])), chip)
    return [tile for half in np.array_split(neurons, 2) for tile in _fitting(network, half, chip)]


def _joined(network: FixedNetwork, tiles: list[Tile], chip: Chip) -> list[Tile]:
    """Tiles that fill less than half a core stand on one with others, where they fit with their output axons."""
    routes = _Routes(network, tiles, chip)
    sent = np.array([routes.entries(tile.neurons, i) for i, tile in enumerate(tiles)])
    found: list[Tile | None] = list(tiles)
    size = np.array([len(tile.neurons) for tile in tiles])
    for i in np.argsort(size, kind="stable").tolist():
        if 2 * len(tiles[i].neurons) > chip.neurons_per_core:
            break
        room = (size + size[i] <= chip.neurons_per_core) & (sent + sent[i] <= routes.limit)
        room[i] = False
        guest = found[i]
        assert guest is not None
        for k in sorted(np.flatnonzero(room).tolist(), key=lambda k: (-sent[k], -size[k]))[:TRIES]:
            host = found[k]
            assert host is not None
            both = Tile(np.concatenate([host.neurons, guest.neurons]), host.shared or guest.shared)
            if measure(network, both.neurons, chip, both.shared)[0] is None:
                found[k], found[i] = both, None
                size[k] += size[i]
                sent[k] += sent[i]
                size[i] = sent[i] = 2**40
                break
    return [tile for tile in found if tile is not None]
