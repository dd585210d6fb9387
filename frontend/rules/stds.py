"""STDS: soft thresholding of synaptic weights under a threshold that rises along a sine.

    w    = sign(v) * max(|v| - d, 0);   dL/dv := dL/dw      (backward the identity)
    v   <- v - lr * direction                                (plain Adam)
    d(t) = D * c(t),   c(t) = (1 + sin(pi (t / T - 1/2))) / 2

Source: Chen, Yu, Fang, Ma, Huang, Tian: State Transition of Dendritic Spines Improves Learning of Sparse Spiking Neural
Networks, ICML 2022.

The published D is a constant, T is the whole run, and the density that comes out depends on the data and the number of
steps. Here D is chosen anew at each control point: the (1 - density) quantile of |v| over all tensors. So d(t) keeps
its course from 0 up, and at t = T, where c = 1, just the wanted number survives. T is the first 60 % of the run
(`controller.SHARE`); the rest, with c = 1, is for the survivors to learn in: the learning rate goes to 0 at the end.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from ..controller import SHARE, is_control_point
from .rule import Rule


def course(progress: float) -> float:
    """c(t), from 0 at t / T = 0 to 1 at t / T = 1.

    >>> [round(course(progress), 3) for progress in (0, 0.25, 0.5, 1)]
    [0.0, 0.146, 0.5, 1.0]
    """
    return (1 + math.sin(math.pi * (progress - 0.5))) / 2


class Stds(Rule):
    """STDS, see above; a connection's sign may change, which Grad R's cannot.

    >>> from .rule import Settings
    >>> weight = torch.tensor([0.5, -0.25], requires_grad=True)
    >>> rule = Stds([weight], Settings(density=0.5, steps=1))
    >>> weight.grad = torch.tensor([-1.0, 0.0])
    >>> rule.before_step(0, lr=0.1)
    >>> rule.step()                      # v = 0.6, -0.25; d = 0.25
    >>> [round(w, 4) for w in weight.tolist()]
    [0.35, 0.0]
    """

    state: ClassVar[tuple[str, ...]] = ("latent", "d")

    def start(self) -> None:
        self.latent = [weight.detach().clone() for weight in self.weights]
        self.d = 0.0

    def move(self, index: int, gradient: Tensor) -> None:
        self.latent[index].sub_(self.direction(index, gradient), alpha=self.lr)

    def after_step(self) -> None:
        done, steps = self.at + 1, self.settings.steps
        if is_control_point(done, steps):
            highest = self.bill.level([v.abs() for v in self.latent], self.bill.budget)
            self.d = max(0.0, highest) * course(min(1.0, done / (SHARE * steps)))
        for weight, v in zip(self.weights, self.latent, strict=True):
            torch.sub(v, v.clamp(-self.d, self.d), out=weight)
