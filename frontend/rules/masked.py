"""Masks with a constant number of connections, drawn at random: where `deep-r`, `rigl` and `set` begin.

Every tensor has the same density, rounded so that the total is exact; the Erdős-Rényi rule of SET and RigL, which gives
small layers more, is not here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def shares(sizes: Sequence[int], total: int) -> list[int]:
    """`total` spread over tensors in proportion to their sizes; what rounding leaves goes to the largest remainders.

    >>> shares([100, 10], 11), shares([3, 3, 3], 2)
    ([10, 1], [1, 1, 0])
    """
    exact = [total * size / sum(sizes) for size in sizes]
    counts = [int(value) for value in exact]
    order = sorted(range(len(sizes)), key=lambda i: counts[i] - exact[i])
    for i in order[: total - sum(counts)]:
        counts[i] += 1
    return counts


def pick(candidates: Tensor, count: int, random: torch.Generator) -> Tensor:
    """The flat indices of `count` true places of a mask (or of all, if there are fewer), drawn without repetition.

    >>> pick(torch.tensor([False, True, False, True]), 5, torch.Generator()).sort().values.tolist()
    [1, 3]
    """
    free = candidates.flatten()
    if 4 * count < int(torch.count_nonzero(free)) and 2 * int(torch.count_nonzero(free)) > len(free):
        return _by_rejection(free, count, random)
    places = free.nonzero().flatten()
    order = torch.randperm(len(places), generator=random)[:count]
    return places[order.to(places.device)]


def _by_rejection(free: Tensor, count: int, random: torch.Generator) -> Tensor:
    """Where most places are free: draws any, and again for those that were not; all sets are equally likely."""
    chosen = torch.zeros_like(free)
    while missing := count - int(torch.count_nonzero(chosen)):
        drawn = torch.randint(len(free), (missing,), generator=random).to(free.device)
        chosen[drawn[free[drawn]]] = True
    return chosen.nonzero().flatten()


def random_masks(weights: Sequence[Tensor], total: int, random: torch.Generator) -> list[Tensor]:
    """Boolean masks with `total` true places together."""
    masks = []
    for weight, count in zip(weights, shares([w.numel() for w in weights], total), strict=True):
        mask = torch.zeros(weight.numel(), dtype=torch.bool, device=weight.device)
        mask[pick(~mask, count, random)] = True
        masks.append(mask.reshape(weight.shape))
    return masks
