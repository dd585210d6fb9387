"""No pruning: plain Adam, ``w <- w - lr * direction`` (Kingma and Ba: Adam, ICLR 2015)."""

from __future__ import annotations

from torch import Tensor

from .rule import Rule


class Dense(Rule):
    """All weights stay connections.

    >>> import torch
    >>> from .rule import Settings
    >>> weight = torch.tensor([1.0, -1.0], requires_grad=True)
    >>> rule = Dense([weight], Settings())
    >>> weight.grad = torch.tensor([3.0, 0.0])
    >>> rule.before_step(0, lr=0.5); rule.step()
    >>> [round(w, 4) for w in weight.tolist()], rule.connectivity(), rule.settled
    ([0.5, -1.0], 1.0, True)
    """

    def move(self, index: int, gradient: Tensor) -> None:
        self.weights[index].sub_(self.direction(index, gradient), alpha=self.lr)

    def active(self) -> list[Tensor]:
        return [weight.detach() == weight.detach() for weight in self.weights]

    @property
    def settled(self) -> bool:
        return True
