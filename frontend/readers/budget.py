"""How many numbers a reader may make beyond those that stand in a file: a few bytes there can ask for many here."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ...errors import NetworkError

MOST = 2**26
"""Of all layers together: 512 MiB."""


class Budget:
    """Counts what is made for one file, before it is made.

    >>> budget = Budget()
    >>> budget.take("pool", (3, 2, 2), "its kernel")
    >>> budget.taken
    12
    """

    def __init__(self) -> None:
        self.taken = 0

    def take(self, layer: str, shape: Iterable[int], what: str) -> None:
        """Room for an array of the `shape`, whose sizes are plain ints.

        Raises:
            NetworkError: it would be beyond `MOST` with all that was made before.
        """
        sizes = tuple(shape)
        self.taken += math.prod(sizes)
        if self.taken > MOST:
            problem = f"{what} is {sizes}, with it the layers have more than {MOST} numbers that are not in the file"
            raise NetworkError(layer, problem, "make it smaller")
