"""Steering Grad R's alpha so that the connectivity that was asked for is reached.

The published rule pulls every theta down by ``alpha * step`` per step; alpha and the number of steps together decide
how many connections survive. Here the wanted connectivity falls geometrically from 1 to the target over the first
part of the run::

    wanted(t) = target ^ min(1, t / (share * total))

and at every control point alpha is chosen so that, gradients apart, just the right quantile of theta arrives at zero
`horizon` steps later::

    alpha = max(0, quantile(theta, 1 - wanted(t + horizon)) / (sum of the next steps' lr / (1 - beta1^t)) + push)

Gradients move the result away from that; the next control point sees it and answers. `push` stands for their drift
(Adam's largest regular step is 1 in units of alpha): it grows by 0.1 at each control point where too many connections
are alive, and falls by as much, down to 0, where there are few enough. Once the target is reached and the first part
is over, the pull ends and the connectivity is frozen, so that the strong weights recover.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from .gradr import GradR

MARGIN = 0.98
"""The controller aims a little below what is wanted."""

PUSH = 0.1
"""By how much `push` changes at a control point."""


@dataclass
class DensityController:
    """Call `control` before every step of the optimiser.

    Attributes:
        target: the largest share of weights that may survive.
        total: steps of the whole run.
        share: part of the run in which the connectivity falls.
        horizon: steps between two control points; 0: a hundredth of the run, 1 to 10.
        frozen: whether the target is reached and the pull has ended.
    """

    optimiser: GradR
    target: float
    total: int
    share: float = 0.6
    horizon: int = 0
    frozen: bool = field(default=False, init=False)
    push: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        if self.horizon == 0:
            self.horizon = max(1, min(10, self.total // 100))

    def wanted(self, step: int) -> float:
        """The connectivity that is wanted in a step, from 1 down to the target."""
        return float(self.target ** min(1.0, step / max(1.0, self.share * self.total)))

    def control(self, step: int, lr: float) -> None:
        """Sets alpha for the steps from `step` (from 0) on, with the learning rate `lr`; freezes when it is time."""
        if self.frozen or step % self.horizon != 0:
            return
        alive = self.optimiser.connectivity()
        if step >= self.share * self.total and alive <= self.target:
            self.optimiser.set_alpha(0.0)
            self.optimiser.freeze()
            self.frozen = True
            return
        self.push = max(0.0, self.push + (PUSH if alive > self.wanted(step) else -PUSH))
        pull = self._level(step + self.horizon) / self._reach(step, lr)
        self.optimiser.set_alpha(max(0.0, pull + self.push))

    def _level(self, step: int) -> float:
        """The theta below which connections must go for the connectivity that is wanted in `step`."""
        theta = torch.cat([tensor.flatten() for tensor in self.optimiser.thetas()])
        survivors = int(MARGIN * self.wanted(step) * len(theta))
        return float(theta.topk(survivors + 1).values[-1])

    def _reach(self, step: int, lr: float) -> float:
        """How far alpha = 1 pulls theta within the horizon."""
        beta1: float = self.optimiser.param_groups[0]["betas"][0]
        step_sizes = (max(lr, 1e-12) / (1 - beta1 ** (step + ahead)) for ahead in range(1, self.horizon + 1))
        return float(sum(step_sizes))
