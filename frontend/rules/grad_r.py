"""Gradient rewiring (Grad R): pruning and regrowth are one process with learning.

    w = s * theta * [theta > delta],   s = sign(w0) for ever,   theta0 = |w0|
    step = lr / (1 - beta1^t);   m, v  the moments of dL/dw;   v_hat = v / (1 - beta2^t)
    theta <- theta - step * s * m / (sqrt(v_hat) + eps) - alpha * step * sign(theta - mu)

The gradient of a dormant theta is redefined as s * dL/dw, so it goes on learning and may come back, with the same sign.

**As published** (with alpha): delta = 0. The prior is Laplace(mu, 1 / alpha); P(theta > 0) = p, p <= 1/2, gives
mu = ln(2 p) / alpha. Alpha and the number of steps decide the density.

**With a density** (no alpha): our controller, not the paper's. There is no pull; delta is chosen so that just the
wanted number survives (`controller`). The pull of the published rule shrinks the strong weights as well, and a
threshold does not. With costs, ``theta * worth > delta`` decides (`bill`). Where fewer theta are positive than wanted
(fixed signs leave about two thirds), those nearest to 0 are given back with the weight `REVIVED`. Connections may
change places to the end: letting only the survivors learn from 75 % or 90 % of the run on was no better (digits, 6
seeds: at 6 % of the weights 96.9 and 96.8 % against 96.7 %; at 2.5 % 93.4 and 93.3 % against 94.1 %), and it would be
one rule more.

Source: Chen, Yu, Fang, Huang, Tian: Pruning of Deep Spiking Neural Networks through Gradient Rewiring, IJCAI 2021.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ..controller import is_control_point, wanted
from ..step_kernel import alive_weights, grad_r_step, in_halves
from .rule import Rule, flat, fused

REVIVED = 1e-12
"""theta of a connection that is given back."""

AWAKE = 0.1
"""Share of a tensor's weights that must have had a gradient before costs decide."""


def prior_centre(alpha: float, density: float) -> float:
    """mu = ln(2 p) / alpha; with alpha = 0 there is no prior, and -inf stands for "no finite centre".

    >>> round(prior_centre(1e-3, 0.05))
    -2303
    """
    if alpha == 0:
        return -math.inf
    return math.log(2 * min(0.5, density)) / alpha


class GradR(Rule):
    """Grad R, see above. A weight that is zero at the start gets the sign + at an even and - at an odd index.

    >>> from .rule import Settings
    >>> weight = torch.tensor([0.5, -0.25], requires_grad=True)
    >>> rule = GradR([weight], Settings(density=0.05, alpha=0.1))
    >>> weight.grad = torch.tensor([1.0, 0.0])
    >>> rule.before_step(0, lr=0.1)
    >>> rule.step()                      # step = 0.1 / (1 - 0.9) = 1: 0.5 - 0.1 - 0.1 and 0.25 - 0 - 0.1
    >>> [round(w, 4) for w in weight.tolist()]
    [0.3, -0.15]
    """

    state: ClassVar[tuple[str, ...]] = ("theta", "sign", "delta")

    def start(self) -> None:
        self.theta = [weight.detach().abs() for weight in self.weights]
        self.sign = [_signs(weight.detach()) for weight in self.weights]
        self.delta = 0.0

    @property
    def settled(self) -> bool:
        return self.settings.alpha is not None or super().settled

    def move(self, index: int, gradient: Tensor) -> None:
        theta, sign, worth = self.theta[index], self.sign[index], self.bill.worths[index]
        if self.settings.alpha is None and fused(theta, self.weights[index]):
            tensors = (gradient, self.first[index], self.second[index], theta, sign, self.weights[index], worth)
            constants = (*self.constants(), np.float32(self.lr), np.float32(self.delta))
            in_halves(grad_r_step, [flat(tensor) for tensor in tensors], constants, self.pool)
            return
        change = self.direction(index, gradient).mul_(sign)
        if self.settings.alpha:
            price, centre = self.bill.prices[index], prior_centre(self.settings.alpha, self.settings.density)
            pull = torch.sign(theta - centre / price).mul_(price)
            change.add_(pull, alpha=self.settings.alpha / (1 - self.settings.betas[0] ** self.count))
        theta.sub_(change, alpha=self.lr)
        self._write(index)

    def after_step(self) -> None:
        done = self.at + 1
        if self.settings.alpha is None and is_control_point(done, self.settings.steps):
            self._control(done)
            for index in range(len(self.weights)):
                self._write(index)

    def _write(self, index: int) -> None:
        theta, sign, worth = self.theta[index], self.sign[index], self.bill.worths[index]
        if fused(theta, self.weights[index]):
            tensors = (theta, sign, self.weights[index], worth)
            in_halves(alive_weights, [flat(tensor) for tensor in tensors], (np.float32(self.delta),), self.pool)
        else:
            torch.mul(sign, torch.where(theta * worth > self.delta, theta, 0.0), out=self.weights[index])

    def _control(self, done: int) -> None:
        """Chooses delta for what is allowed after `done` steps."""
        share = wanted(self.bill.density, done, self.settings.steps)
        if self.bill.priced:
            if share > self.bill.density and not all(map(_is_awake, self.second)):
                return
            self.bill.weigh(self.second)
        lowest = self.bill.level(self.theta, self.bill.within(share))
        self.delta = max(0.0, lowest)
        if lowest < 0 and share == self.bill.density:
            for theta, worth in zip(self.theta, self.bill.worths, strict=True):
                theta.masked_fill_((theta * worth > lowest) & (theta <= 0), REVIVED)


def _is_awake(squares: Tensor) -> bool:
    """Whether enough gradients have come to tell what a layer's weights are worth: not before its neurons spike."""
    return int(torch.count_nonzero(squares)) >= AWAKE * squares.numel()


def _signs(w0: Tensor) -> Tensor:
    index = torch.arange(w0.numel(), device=w0.device).reshape(w0.shape)
    return torch.where(w0 == 0, 1 - 2 * (index % 2).to(w0.dtype), torch.sign(w0))
