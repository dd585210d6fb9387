"""What each weight costs, and how much all connections may cost together: what a density is counted in.

A weight counts as 1, or as the synapses that it becomes (``--count synapses``), or as the bits that it takes in the
chip's tables (``--fit``). Then a connection has to be worth its cost c. What the loss rises by without a weight theta
is about ``theta^2 E[(dL/dw)^2] / 2`` (the diagonal of the Fisher information; Theis et al. 2018), so::

    alive where theta * worth > delta,   worth = sqrt(E[(dL/dw)^2] * mean(c) / c)

and delta is chosen so that the costs of all connections together are within the budget. Where every weight costs the
same, worth is 1 and theta alone decides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .select_kernel import level

SMALLEST = 1e-25
"""The worth of a weight whose gradient has always been 0."""


class Bill:
    """Costs per weight tensor and the budget of their sum.

    Args:
        weights: the tensors.
        costs: int32 of their shapes, less than 1 counts as 1; None: each weight counts as 1.
        density: share of all costs that the connections may have at the end.

    Attributes:
        costs, density: of now.
        priced: whether costs were given, so that worth decides.
        total: costs of all weights.
        budget: what the connections may cost at the end.
        prices: costs in units of their mean, of the type of the weights.
        worths: tensors of the type and the shapes of the weights, or of one element where all weights cost the same;
            they stay as they are until the next `weigh`, so that the delta of now keeps its meaning.
    """

    def __init__(self, weights: Sequence[Tensor], costs: Sequence[Tensor] | None, density: float) -> None:
        self.weights = list(weights)
        self.density = density
        self.priced = costs is not None
        self.costs: list[Tensor] = []
        self.charge(
            [torch.ones(1, dtype=torch.int32, device=w.device) for w in self.weights] if costs is None else costs
        )
        self.worths = [price.rsqrt().contiguous() for price in self.prices]

    def charge(self, costs: Sequence[Tensor]) -> None:
        """Takes other costs; the density stays."""
        self.costs = [cost.clamp(min=1) for cost in costs]
        counts = [weight.numel() // cost.numel() for weight, cost in zip(self.weights, self.costs, strict=True)]
        sums = [int(cost.sum(dtype=torch.int64)) * count for cost, count in zip(self.costs, counts, strict=True)]
        self.total = sum(sums)
        mean = self.total / max(1, sum(weight.numel() for weight in self.weights))
        pairs = zip(self.weights, self.costs, strict=True)
        self.prices = [cost.to(weight.dtype) / mean for weight, cost in pairs]
        self.aim(self.density)

    def weigh(self, squares: Sequence[Tensor]) -> None:
        """Takes the mean squares of the gradients into the worths; a weight without any comes last, but it comes."""
        pairs = zip(squares, self.prices, strict=True)
        self.worths = [(square / price).sqrt_().clamp_(min=SMALLEST) for square, price in pairs]

    def aim(self, density: float) -> None:
        """Takes another density, of 1 at most."""
        self.density = min(1.0, density)
        self.budget = max(1, round(self.density * self.total))

    def within(self, share: float) -> int:
        """The costs that are allowed while `share` of all is wanted; never below the budget."""
        return max(self.budget, round(share * self.total))

    def paid(self, masks: Sequence[Tensor]) -> int:
        """The costs of the connections in boolean masks."""
        return sum(int((mask * cost).sum(dtype=torch.int64)) for mask, cost in zip(masks, self.costs, strict=True))

    def level(self, strengths: Sequence[Tensor], allowed: int) -> float:
        """The smallest delta for which the costs where ``strength * worth > delta`` are `allowed` at most; -inf: any.

        >>> weights = [torch.tensor([1.0, 4.0]), torch.tensor([3.0, 2.0])]
        >>> Bill(weights, None, 0.5).level(weights, 2)
        2.0
        """
        if all(s.device.type == "cpu" and s.dtype == torch.float32 for s in strengths):
            parts = (strengths, self.worths, self.costs)
            flat = [[tensor.detach().flatten().numpy() for tensor in tensors] for tensors in parts]
            return level(flat[0], flat[1], flat[2], allowed)
        values = torch.cat([(s * w).flatten() for s, w in zip(strengths, self.worths, strict=True)])
        costs = torch.cat([c.expand(s.shape).flatten() for s, c in zip(strengths, self.costs, strict=True)])
        order = values.argsort(descending=True)
        over = torch.searchsorted(costs[order].cumsum(0, dtype=torch.int64), allowed, right=True)
        return -math.inf if over >= len(values) else float(values[order[over]])
