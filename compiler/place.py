"""`place`: cores to the tiles of the chips, chips to the board, so that packets make few hops.

First the cores are spread over the chips so that few packets cross the links between chips, then over the tiles of
each chip, then all at once. These are swaps of cores with exact gains; see `swaps` and `anneal`. The result is never
worse than the order of the cores.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ..errors import LimitError, UnsupportedError
from ..hw_targets.chip import Chip
from .anneal import anneal
from .netlist import Ints
from .slices import CoreSlices
from .swaps import Graph, Sites, swap
from .traffic import Floats, Place, Traffic

ROUNDS = 200


@dataclass(frozen=True, eq=False)
class Placement:
    """Slices with the place of each core.

    Attributes:
        slices: which neurons stand on which core.
        board: of the target, by name.
        positions: per core (chip, x, y): the number of the chip on the board, the tile of its mesh.
        method: "by traffic" or "in order".
        chips: how many are in use.
    """

    slices: CoreSlices
    board: str
    positions: tuple[Place, ...]
    method: str = "in order"

    @property
    def chips(self) -> int:
        return len(np.unique(self.chip_of()))

    def chip_of(self) -> Ints:
        """(cores,) the chip of each core."""
        return np.array([chip for chip, _, _ in self.positions])

    def dump(self) -> str:
        """A short stable text for tests and people."""
        return "\n".join(f"core {i}: chip {c} x {x} y {y}" for i, (c, x, y) in enumerate(self.positions))


def place(slices: CoreSlices, chip: Chip, board: str | None = None, traffic: Traffic | None = None) -> Placement:
    """Puts the cores where their packets make few hops; never more than in order.

    Args:
        slices: of the network.
        chip: the target.
        board: one of the target's; the smallest that has enough chips where it is not given.
        traffic: between the slices; without it they are placed in order, chip after chip.

    Raises:
        UnsupportedError: the target has no such board.
        LimitError: the network needs more chips than the board has, or a core more output axons to other chips.
    """
    cores = len(slices.neurons)
    needed = -(-cores // chip.cores_per_chip)
    board = _board(chip, board, cores, needed)
    ordered = Placement(slices, board, tuple(chip.position(core) for core in range(cores)))
    if traffic is None:
        return ordered
    best, hops = ordered, traffic.hops(ordered.positions, chip, board).spike_hops
    limit = chip.limits.out_axons_per_core[0]
    fits = bool((traffic.output_entries(ordered.chip_of()) <= limit).all())
    for positions in _candidates(traffic, chip, board, needed) if hops > 0 or not fits else ():
        found = Placement(slices, board, positions, "by traffic")
        if (traffic.output_entries(found.chip_of()) > limit).any():
            continue
        its_hops = traffic.hops(positions, chip, board).spike_hops
        if its_hops < hops or not fits:
            best, hops, fits = found, its_hops, True
    if not fits:
        raise _too_many_entries(best, traffic, chip)
    return best


def _board(chip: Chip, board: str | None, cores: int, needed: int) -> str:
    """The board that was asked for, or the smallest with enough chips."""
    by_size = sorted(chip.boards, key=lambda name: (chip.boards[name].chips[0], name))
    if board is not None and board not in chip.boards:
        raise UnsupportedError(board, f"is no board of {chip.name}", f"choose one of {', '.join(sorted(by_size))}")
    enough = [name for name in by_size if chip.boards[name].chips[0] >= needed]
    chosen = board or (enough or by_size[-1:])[0]
    available = chip.boards[chosen].chips[0]
    if needed <= available:
        return chosen
    way_out = f"prune more: no board of {chip.name} has {needed} chips"
    if enough:
        way_out = f"prune more, or choose the board {enough[0]}, which has {chip.boards[enough[0]].chips[0]}"
    raise LimitError(
        "network",
        f"needs {cores} cores on {needed} chips, the board {chosen} has {available} of {chip.cores_per_chip} cores",
        way_out,
        value=needed,
        limit=available,
    )


def _too_many_entries(placement: Placement, traffic: Traffic, chip: Chip) -> LimitError:
    entries, limit = traffic.output_entries(placement.chip_of()), chip.limits.out_axons_per_core[0]
    core, needed = int(entries.argmax()), int(entries.max())
    return LimitError(
        f"core {core}",
        f"needs {needed} output axons with its targets where they stand, one {chip.name} core has {limit}",
        "prune more",
        value=needed,
        limit=limit,
    )


def _candidates(traffic: Traffic, chip: Chip, board: str, needed: int) -> Iterator[tuple[Place, ...]]:
    """Positions on each block of chips, from the start that leaves fewest packets on the links."""
    limit, per_chip = chip.limits.out_axons_per_core[0], chip.cores_per_chip
    graph = Graph.of(traffic, limit)
    first = _neighbourhood(graph, [])
    second = _neighbourhood(graph, [first])
    columns, size = chip.boards[board].columns[0], (chip.limits.mesh_columns[0], chip.limits.mesh_rows[0])
    tile = np.array([chip.position(site)[1:] for site in range(per_chip)] * needed)
    for chips in _blocks(chip, board, needed):
        x, y = chips % columns - (chips % columns).min(), chips // columns - (chips // columns).min()
        starts = [np.arange(len(traffic.host))]
        starts += [_in_strips(first, second, strip, per_chip) for strip in (np.arange(needed), x, y)]
        x, y, number = (np.repeat(values, per_chip) for values in (x, y, chips))
        links = Sites(x, y, per_chip)
        tiles = Sites(x * size[0] + tile[:, 0], y * size[1] + tile[:, 1], per_chip)

        def burden(site: Ints, number: Ints = number, links: Sites = links) -> tuple[bool, float]:
            return bool((traffic.output_entries(number[site]) > limit).any()), graph.cost(links, site)

        if needed > 1:
            starts = [min((swap(graph, links, start) for start in starts), key=burden)]
        for start in (*starts, *(anneal(graph, tiles, start) for start in starts)):
            site = swap(graph, tiles, start)
            yield tuple(map(tuple, np.column_stack([number, tile])[site].tolist()))


def _blocks(chip: Chip, board: str, needed: int) -> list[Ints]:
    """(needed,) numbers of the chips in use, row by row, there and back: the most compact block and the narrowest."""
    columns, chips = chip.boards[board].columns[0], chip.boards[board].chips[0]
    number = np.arange(needed)

    def block(width: int) -> Ints:
        row, step = np.divmod(number, width)
        return np.asarray(row * columns + np.where(row % 2, width - 1 - step, step))

    def extent(width: int) -> tuple[int, int]:
        rows = -(-needed // width)
        return width * chip.limits.mesh_columns[0] + rows * chip.limits.mesh_rows[0], width + rows

    widths = [width for width in range(1, columns + 1) if block(width).max() < chips]
    return [block(width) for width in sorted({min(widths), min(widths, key=extent)})]


def _neighbourhood(graph: Graph, known: list[Floats]) -> Floats:
    """(cores,) a coordinate that cores which talk to each other have in common.

    An eigenvector of the random walk over the traffic, the second after those that are `known`, by power iteration.
    """
    cores = len(graph.room)
    weight = sp.csr_array((graph.weight, graph.other, graph.indptr), (cores, cores))
    degree = np.asarray(weight @ np.ones(cores)) + 1e-9 * max(graph.load, 1e-300)
    others = [np.ones(cores), *known]
    vector = np.cos(np.pi * (np.arange(cores) + 0.5) * len(others) / cores)
    for _ in range(ROUNDS):
        vector = (vector + np.asarray(weight @ vector) / degree) / 2
        for other in others:
            vector -= other * ((vector * degree * other).sum() / (degree * other * other).sum())
        vector /= max(float(np.abs(vector).max()), 1e-300)
    return np.asarray(vector)


def _in_strips(first: Floats, second: Floats, strip: Ints, per_chip: int) -> Ints:
    """(cores,) sites, as many cores on each chip: along the first coordinate from strip to strip, in one by the second.

    Args:
        first, second: (cores,) coordinates.
        strip: (chips,) of each chip.
        per_chip: sites of a chip.
    """
    cores, chips = len(first), np.argsort(strip, kind="stable")
    share = np.arange(len(chips) + 1) * cores // len(chips)
    turn = np.searchsorted(share, np.arange(cores), side="right") - 1
    order = np.argsort(first, kind="stable")
    order = order[np.lexsort((second[order], strip[chips][turn]))]
    site = np.empty(cores, np.int64)
    site[order] = chips[turn] * per_chip + np.arange(cores) - share[turn]
    return site
