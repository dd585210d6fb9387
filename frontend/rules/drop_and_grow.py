"""Fixed density with drop and grow: RigL and SET.

Every `interval` steps, instead of a gradient step, until 75 % of the run, per tensor with k connections::

    n = round(k * f),   f = 0.3 / 2 * (1 + cos(pi t / (0.75 steps)))
    drop the n connections with the smallest |w|
    grow n of those that were dormant:  RigL: the largest |dL/dw|;  SET: at random

A grown connection begins with the weight 0 and moments 0, and counts as one. Where no gradient arrives (the neuron is
silent, the pixel is always black) it stays 0, so that the weights in the file may be fewer than the connections. In all
other steps the connections, and only they, take Adam's step. The interval is a 50th of the run, 5 to 100 steps (RigL's
authors: 100). Every tensor has the same density.

Sources: Evci, Gale, Menick, Castro, Elsen: Rigging the Lottery: Making All Tickets Winners, ICML 2020 (also for SET in
this form, with grown weights at 0); Mocanu, Mocanu, Stone, Nguyen, Gibescu, Liotta: Scalable training of artificial
neural networks with adaptive sparse connectivity inspired by network science, Nature Communications 9, 2018.
"""

from __future__ import annotations

import abc
import math
from typing import ClassVar

import torch
from torch import Tensor

from .masked import pick, random_masks
from .rule import Rule

FRACTION = 0.3
"""Share of the connections that is replaced at first."""

LAST = 0.75
"""Part of the run after which the connections stay."""


def fraction(step: int, steps: int) -> float:
    """f, the share of a tensor's connections that is replaced in a step.

    >>> [round(fraction(step, 1000), 3) for step in (0, 375, 750, 900)]
    [0.3, 0.15, 0.0, 0.0]
    """
    return FRACTION / 2 * (1 + math.cos(math.pi * min(1.0, step / (LAST * steps))))


class DropAndGrow(Rule):
    """What RigL and SET share; a subclass says where connections grow."""

    state: ClassVar[tuple[str, ...]] = ("masks",)

    def start(self) -> None:
        self.masks = random_masks(self.weights, self.bill.budget, self.random)
        for weight, mask in zip(self.weights, self.masks, strict=True):
            weight.mul_(mask)
        self.interval = max(5, min(100, self.settings.steps // 50))

    def active(self) -> list[Tensor]:
        return [mask.clone() for mask in self.masks]

    def move(self, index: int, gradient: Tensor) -> None:
        if self.at > 0 and self.at % self.interval == 0 and self.at < LAST * self.settings.steps:
            self.rewire(index, gradient)
        else:
            mask, weight = self.masks[index], self.weights[index]
            weight.sub_(self.direction(index, gradient * mask), alpha=self.lr).mul_(mask)

    def rewire(self, index: int, gradient: Tensor) -> None:
        """Drops and grows in one tensor."""
        weight, mask = self.weights[index], self.masks[index]
        dormant = ~mask
        connections = int(mask.sum())
        number = min(round(connections * fraction(self.at, self.settings.steps)), mask.numel() - connections)
        if number == 0:
            return
        strength = torch.where(mask, weight.abs(), math.inf).flatten()
        dropped = strength.topk(number, largest=False).indices
        grown = self.grow(dormant, gradient, number)
        for places, value in ((dropped, False), (grown, True)):
            mask.view(-1)[places] = value
            for tensor in (weight, self.first[index], self.second[index]):
                tensor.view(-1)[places] = 0

    @abc.abstractmethod
    def grow(self, dormant: Tensor, gradient: Tensor, number: int) -> Tensor:
        """The flat indices of `number` dormant places that become connections."""


class RigL(DropAndGrow):
    """RigL: connections grow where the gradient is largest.

    >>> from .rule import Settings
    >>> weight = torch.full((10,), 0.5, requires_grad=True)
    >>> rule = RigL([weight], Settings(density=0.5, steps=100))
    >>> [rule.connectivity(), rule.settled, int((weight != 0).sum())]
    [0.5, True, 5]
    """

    def grow(self, dormant: Tensor, gradient: Tensor, number: int) -> Tensor:
        return torch.where(dormant, gradient.abs(), -1.0).flatten().topk(number).indices


class Set(DropAndGrow):
    """SET: connections grow at random.

    >>> from .rule import Settings
    >>> weight = torch.full((10,), 0.5, requires_grad=True)
    >>> Set([weight], Settings(density=0.3, steps=100)).connectivity()
    0.3
    """

    def grow(self, dormant: Tensor, gradient: Tensor, number: int) -> Tensor:
        return pick(dormant, number, self.random)
