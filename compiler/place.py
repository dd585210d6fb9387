"""`place`: cores to the mesh of the chips, in the order of the slices."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import LimitError, UnsupportedError
from ..hw_targets.chip import Chip
from .slices import CoreSlices


@dataclass(frozen=True, eq=False)
class Placement:
    """Slices with the place of each core.

    Attributes:
        slices: which neurons stand on which core.
        positions: per core (chip, x, y), the tile of the mesh.
        chips: how many are in use.
    """

    slices: CoreSlices
    positions: tuple[tuple[int, int, int], ...]

    @property
    def chips(self) -> int:
        return 1 + max(chip for chip, _, _ in self.positions)

    def dump(self) -> str:
        """A short stable text for tests and people."""
        return "\n".join(f"core {i}: chip {c} x {x} y {y}" for i, (c, x, y) in enumerate(self.positions))


def place(slices: CoreSlices, chip: Chip, board: str | None = None) -> Placement:
    """Cores in order, chip after chip.

    Args:
        slices: of the network.
        chip: the target.
        board: one of the target's; the largest where it is not given.

    Raises:
        UnsupportedError: the target has no such board.
        LimitError: the network needs more chips than the board has.
    """
    if board is not None and board not in chip.boards:
        raise UnsupportedError(board, f"is no board of {chip.name}", f"choose one of {', '.join(sorted(chip.boards))}")
    chosen = board or max(chip.boards, key=lambda name: chip.boards[name][0])
    available = chip.boards[chosen][0]
    cores = len(slices.neurons)
    needed = -(-cores // chip.cores_per_chip)
    if needed > available:
        raise LimitError(
            "network",
            f"needs {cores} cores on {needed} chips, the board {chosen} has {available} of {chip.cores_per_chip} cores",
            "prune more, or choose a larger board",
            value=needed,
            limit=available,
        )
    return Placement(slices, tuple(chip.position(core) for core in range(cores)))
