"""`Synapses`: who reaches whom, with which weight and delay, sorted by source and then target."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .nodes import frozen_array

Index = NDArray[np.int64]
SYNAPSES_MAX = 2**27
"""Of a whole network; a small file, or a few words of shared lists, could stand for any number of them."""


@dataclass(frozen=True, eq=False)
class Synapses:
    """The fan-out lists of `n_source` neurons onto `n_target` neurons.

    Attributes:
        indptr: (n_source + 1,) int64; the list of source i is the range indptr[i] … indptr[i + 1].
        targets: (synapses,) int32, strictly rising within a list.
        weights: (synapses,) float64 before and int16 after quantisation; never zero.
        delays: (synapses,) uint8, extra steps 0 … 62.

    Raises:
        ValueError: they contradict each other.

    >>> s = Synapses.from_dense([[0.0, 2.0], [3.0, 0.0]])     # (targets, sources), as PyTorch has it
    >>> s.targets.tolist(), s.weights.tolist()
    ([1, 0], [3.0, 2.0])
    """

    n_source: int
    n_target: int
    indptr: Index
    targets: NDArray[np.int32]
    weights: NDArray[Any]
    delays: NDArray[np.uint8]

    def __post_init__(self) -> None:
        for name, dtype in (("indptr", np.int64), ("targets", np.int32), ("weights", None), ("delays", np.uint8)):
            object.__setattr__(self, name, frozen_array(getattr(self, name), dtype))
        if not self._is_whole():
            raise ValueError("synapses contradict each other: starts, targets or weights")

    def _is_whole(self) -> bool:
        """Starts that rise from 0 to the number of synapses, targets that are there and rise in each list, no zeros."""
        if self.indptr.shape != (self.n_source + 1,) or self.indptr[0] != 0 or bool((np.diff(self.indptr) < 0).any()):
            return False
        count = int(self.indptr[-1])
        if not self.targets.shape == self.weights.shape == self.delays.shape == (count,):
            return False
        if not count:
            return True
        if self.targets.min() < 0 or self.targets.max() >= self.n_target:
            return False
        rising = np.diff(self.targets) > 0
        starts = self.indptr[1:-1]
        rising[starts[(starts > 0) & (starts < count)] - 1] = True
        return bool(rising.all()) and bool((self.weights != 0).all())

    def __len__(self) -> int:
        return len(self.targets)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Synapses):
            return NotImplemented
        mine, theirs = self._parts(), other._parts()
        return self.n_target == other.n_target and all(map(np.array_equal, mine, theirs))

    __hash__ = None  # type: ignore[assignment]

    def _parts(self) -> tuple[NDArray[Any], ...]:
        return self.indptr, self.targets, self.weights, self.delays

    @classmethod
    def from_triples(
        cls,
        n_source: int,
        n_target: int,
        sources: NDArray[Any],
        targets: NDArray[Any],
        weights: NDArray[Any],
        delays: NDArray[Any] | None = None,
    ) -> Synapses:
        """Sorts synapses that come in any order; zero weights are left out, a pair may occur only once."""
        keep = np.flatnonzero(weights)
        order = keep[np.lexsort((targets[keep], sources[keep]))]
        indptr = np.zeros(n_source + 1, np.int64)
        np.cumsum(np.bincount(sources[order], minlength=n_source), out=indptr[1:])
        chosen = np.zeros(len(order), np.uint8) if delays is None else delays[order]
        return cls(n_source, n_target, indptr, targets[order], weights[order], chosen)

    @classmethod
    def from_dense(cls, matrix: Any, delays: Any = None) -> Synapses:
        """From a (targets, sources) matrix as `torch.nn.Linear` stores it; zeros are no synapses."""
        matrix = np.asarray(matrix)
        sources, targets = np.nonzero(matrix.T)
        chosen = None if delays is None else np.asarray(delays)[targets, sources]
        return cls.from_triples(matrix.shape[1], matrix.shape[0], sources, targets, matrix[targets, sources], chosen)

    @cached_property
    def sources(self) -> NDArray[np.int32]:
        """(synapses,) int32: the source of each synapse."""
        return np.repeat(np.arange(self.n_source, dtype=np.int32), np.diff(self.indptr))

    @property
    def fan_out(self) -> Index:
        """(n_source,) int64."""
        return np.diff(self.indptr)

    @property
    def max_delay(self) -> int:
        return int(self.delays.max(initial=0))

    def matrix(self) -> sp.csr_matrix:
        """(n_target, n_source) in float64 or int64; delays are not in it."""
        dtype = np.float64 if self.weights.dtype.kind == "f" else np.int64
        return sp.csr_matrix((self.weights.astype(dtype), (self.targets, self.sources)), (self.n_target, self.n_source))

    def select(self, sources: NDArray[np.bool_], targets: NDArray[np.bool_]) -> Synapses:
        """Only the neurons where the two masks hold, renumbered in the same order."""
        keep = sources[self.sources] & targets[self.targets]
        new_source = np.cumsum(sources) - 1
        new_target = np.cumsum(targets) - 1
        kept = self.sources[keep]
        return Synapses.from_triples(
            int(sources.sum()),
            int(targets.sum()),
            new_source[kept],
            new_target[self.targets[keep]],
            self.weights[keep],
            self.delays[keep],
        )

    def with_weights(self, weights: NDArray[Any]) -> Synapses:
        """Other weights on the same pairs; the pairs whose weight becomes zero are left out."""
        keep = np.flatnonzero(weights)
        if len(keep) == len(self):
            return replace(self, weights=weights)
        indptr = np.searchsorted(keep, self.indptr)
        return Synapses(self.n_source, self.n_target, indptr, self.targets[keep], weights[keep], self.delays[keep])

    def bound(self, payload: int, signed: bool = False) -> tuple[Index, Index]:
        """(n_target,) largest and smallest sum that can reach a neuron in one step, int64.

        Each source sends 0 … `payload` at most once per step, so positive and negative weights count apart; a
        `signed` one -`payload` … `payload`.
        """
        weights = self.weights.astype(np.float64) * payload
        if signed:
            both = np.bincount(self.targets, np.abs(weights), self.n_target).astype(np.int64)
            return both, -both
        high = np.bincount(self.targets, np.maximum(weights, 0), self.n_target)
        low = np.bincount(self.targets, np.minimum(weights, 0), self.n_target)
        return high.astype(np.int64), low.astype(np.int64)
