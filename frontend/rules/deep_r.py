"""Deep R: a constant number of connections that take a random walk along the gradient.

    w = s * theta where active, else 0;   s = the sign of the initial weight, random, fixed for the run
    active:    theta <- theta - lr * (s * direction + L1) + sqrt(2 * lr * TEMPERATURE) * N(0, 1)
    theta < 0: dormant;   as many dormant ones, drawn at random over all tensors, begin again with theta = `REVIVED`

Dormant connections have no theta, no gradient and no noise; moments begin at 0 again with each revival. The run begins
with the wanted number of connections, the same share of every tensor, and keeps it in every step.

The authors' gradient step is plain (`lr * dL/dtheta`); here it is Adam's, as for all rules.

Source: Bellec, Kappel, Maass, Legenstein: Deep Rewiring: Training very sparse deep networks, ICLR 2018.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from .masked import pick, random_masks
from .rule import Rule

L1 = 0.03
"""The pull of the L1 penalty, in units of Adam's direction (whose largest regular value is 1)."""

TEMPERATURE = 1e-6
"""T of the noise."""

REVIVED = 1e-12
"""theta of a connection that begins again: not 0, so that it can be told from a dormant one by its weight."""


class DeepR(Rule):
    """Deep R, see above. A weight that is 0 at the start gets a random sign.

    >>> from .rule import Settings
    >>> weight = torch.full((10,), 0.5, requires_grad=True)
    >>> rule = DeepR([weight], Settings(density=0.4))
    >>> [rule.connectivity(), rule.settled, int((weight != 0).sum())]
    [0.4, True, 4]
    """

    state: ClassVar[tuple[str, ...]] = ("masks", "theta", "sign")

    def start(self) -> None:
        self.masks = random_masks(self.weights, self.bill.budget, self.random)
        self.theta, self.sign = [], []
        for weight, mask in zip(self.weights, self.masks, strict=True):
            w0 = weight.detach()
            coin = 1 - 2 * torch.randint(2, w0.shape, generator=self.random).to(w0)
            self.sign.append(torch.where(w0 == 0, coin, torch.sign(w0)))
            self.theta.append(w0.abs().clamp(min=REVIVED) * mask)
        self._write()

    def active(self) -> list[Tensor]:
        return [mask.clone() for mask in self.masks]

    def move(self, index: int, gradient: Tensor) -> None:
        mask, theta = self.masks[index], self.theta[index]
        change = self.direction(index, gradient * mask).mul_(self.sign[index]).add_(L1).mul_(-self.lr)
        places = mask.flatten().nonzero().flatten()
        noise = torch.randn(len(places), generator=self.random, dtype=theta.dtype).to(theta.device)
        change.view(-1)[places] += math.sqrt(2 * self.lr * TEMPERATURE) * noise
        theta.add_(change.mul_(mask))

    def after_step(self) -> None:
        lost = [(theta < 0).flatten().nonzero().flatten() for theta in self.theta]
        number = sum(len(places) for places in lost)
        if number:
            for index, places in enumerate(lost):
                self._reset(index, places, 0.0)
            dormant = torch.cat([~mask.flatten() for mask in self.masks])
            revived, begin = pick(dormant, number, self.random), 0
            for index, mask in enumerate(self.masks):
                here = (revived >= begin) & (revived < begin + mask.numel())
                self._reset(index, revived[here] - begin, REVIVED)
                begin += mask.numel()
        self._write()

    def _reset(self, index: int, places: Tensor, theta: float) -> None:
        """Makes connections at flat indices dormant (theta 0) or active again."""
        self.masks[index].view(-1)[places] = theta > 0
        for tensor, value in ((self.theta, theta), (self.first, 0.0), (self.second, 0.0)):
            tensor[index].view(-1)[places] = value

    def _write(self) -> None:
        for weight, theta, sign in zip(self.weights, self.theta, self.sign, strict=True):
            torch.mul(sign, theta, out=weight)
