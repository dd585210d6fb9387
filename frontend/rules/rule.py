"""What a pruning rule is: an optimiser over weight tensors that also decides which of them are connections.

A loop calls, in every step of the run::

    rule.zero_grad(); loss.backward()          # gradients of the weights as they are, dormant ones included
    rule.before_step(step, lr)                 # the schedule: step from 0, lr the learning rate of this step
    rule.step()

All rules build on Adam (Kingma and Ba 2015) with m, v the moments of a gradient g::

    m <- beta1 m + (1 - beta1) g;   v <- beta2 v + (1 - beta2) g^2
    direction = m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)
"""

from __future__ import annotations

import abc
import copy
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..bill import Bill
from ..step_kernel import adam_direction, in_halves

TOLERANCE = 0.05
"""How far, relative to it, the costs of all connections may be from the budget."""


@dataclass(frozen=True)
class Settings:
    """What a rule is told at the start.

    Attributes:
        density: share of the weights (of their costs) that shall be connections at the end, above 0 and up to 1.
        steps: steps of the whole run, 1 or more.
        alpha: strength of the prior (``grad-r`` as published); None: `density` is what counts.
        seed: decides the rule's own random draws.
        costs: what each weight counts as, int32 tensors of their shapes (`bill`); None: 1.
        betas, eps: as in Adam.
    """

    density: float = 0.1
    steps: int = 1
    alpha: float | None = None
    seed: int = 0
    costs: Sequence[Tensor] | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8


def connectivity(weights: Iterable[Tensor]) -> float:
    """Non-zero weights / weights, over all tensors together (a convolution's weights count once).

    >>> connectivity([torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.0])])
    0.5
    """
    tensors = list(weights)
    alive = sum(int(torch.count_nonzero(tensor)) for tensor in tensors)
    return alive / max(1, sum(tensor.numel() for tensor in tensors))


class Rule(abc.ABC):
    """The base of all rules. A new one gives `move`, and `start`, `after_step`, `active` where it needs them.

    Args:
        weights: of linear layers and convolutions; written in place, never replaced.
        settings: see `Settings`.

    `state` names the attributes that `state_dict` holds besides those of this class: numbers, tensors and lists of
    tensors. The weights themselves belong to the model's state dict.

    Attributes:
        bill: what weights cost, and the budget of all connections together.
        pool: threads that may help; None: there are none.
    """

    state: ClassVar[tuple[str, ...]] = ()
    _own: ClassVar[tuple[str, ...]] = ("at", "lr", "count", "first", "second", "seen")

    def __init__(self, weights: Iterable[Tensor], settings: Settings) -> None:
        self.weights = list(weights)
        self.settings = settings
        self.random = torch.Generator().manual_seed(settings.seed)
        self.pool: ThreadPoolExecutor | None = None
        self.bill = Bill(self.weights, settings.costs, settings.density)
        self.at, self.lr, self.count = 0, 0.0, 0
        self.first = [torch.zeros_like(weight, requires_grad=False) for weight in self.weights]
        self.second = [torch.zeros_like(weight, requires_grad=False) for weight in self.weights]
        with torch.no_grad():
            self.start()
        self.seen = self.active()

    def start(self) -> None:  # noqa: B027  (most rules begin with the weights as they are)
        """Once, at the end of the construction: the rule's own state, and the weights that it begins with."""

    @abc.abstractmethod
    def move(self, index: int, gradient: Tensor) -> None:
        """One step of the tensor `weights[index]`."""

    def after_step(self) -> None:  # noqa: B027  (not every rule has something to do)
        """After all tensors moved: what has to look at all of them together."""

    def active(self) -> list[Tensor]:
        """A boolean mask of the connections per weight tensor; a connection may have the weight 0."""
        return [weight.detach() != 0 for weight in self.weights]

    def before_step(self, step: int, lr: float) -> None:
        """Sets what the schedule says for the step `step`, from 0 to `settings.steps` - 1."""
        self.at, self.lr = step, lr

    @torch.no_grad()
    def step(self) -> None:
        """One step of all weights that have a gradient."""
        self.count += 1
        for index, weight in enumerate(self.weights):
            if weight.grad is not None:
                self.move(index, weight.grad)
        self.after_step()

    def zero_grad(self) -> None:
        """Forgets the gradients."""
        for weight in self.weights:
            weight.grad = None

    def direction(self, index: int, gradient: Tensor) -> Tensor:
        """Adam's direction (see above); the moments take `gradient` in."""
        m, v, (beta1, beta2) = self.first[index], self.second[index], self.settings.betas
        if fused(m):
            out = torch.empty_like(m)
            in_halves(adam_direction, [flat(t) for t in (gradient, m, v, out)], self.constants(), self.pool)
            return out
        m.lerp_(gradient, 1 - beta1)
        v.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        denominator = (v / (1 - beta2**self.count)).sqrt_().add_(self.settings.eps)
        return torch.div(m, denominator, out=denominator).div_(1 - beta1**self.count)

    def constants(self) -> tuple[np.float32, ...]:
        """beta1, beta2, 1 - beta1^t, 1 - beta2^t and eps, for `step_kernel`."""
        beta1, beta2 = self.settings.betas
        numbers = (beta1, beta2, 1 - beta1**self.count, 1 - beta2**self.count, self.settings.eps)
        return tuple(np.float32(number) for number in numbers)

    @property
    def settled(self) -> bool:
        """Whether the density that was asked for is reached, so that the weights of now may be kept."""
        return abs(self.bill.paid(self.active()) - self.bill.budget) <= TOLERANCE * self.bill.budget

    def connectivity(self) -> float:
        """Connections / weights, over all tensors together."""
        masks = self.active()
        return sum(int(mask.sum()) for mask in masks) / max(1, sum(mask.numel() for mask in masks))

    def densities(self) -> list[float]:
        """Connections / weights of each tensor."""
        return [int(mask.sum()) / max(1, mask.numel()) for mask in self.active()]

    def changes(self) -> tuple[int, int]:
        """How many connections are gone and how many are new since the last call (or the start)."""
        now = self.active()
        pairs = list(zip(self.seen, now, strict=True))
        self.seen = now
        return sum(int((old & ~new).sum()) for old, new in pairs), sum(int((new & ~old).sum()) for old, new in pairs)

    def state_dict(self) -> dict[str, Any]:
        """A copy of all that the next steps depend on, besides the weights: plain numbers and tensors."""
        state = {name: copy.deepcopy(getattr(self, name)) for name in (*self._own, *self.state)}
        bill = {key: copy.deepcopy(getattr(self.bill, key)) for key in ("costs", "worths", "density")}
        return {**state, **bill, "random": self.random.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over what `state_dict` gave; its tensors are copied to where this rule has them.

        Raises:
            KeyError, ValueError: it is the state of another rule or of other tensors.
        """
        for name in (*self._own, *self.state):
            mine, given = getattr(self, name), state[name]
            if _layout(mine) != _layout(given):
                raise ValueError(f"{name}: is not of the kind and size that this rule has")
            setattr(self, name, _placed(given, mine))
        for name in ("costs", "worths"):
            if _layout(state[name]) != _layout(getattr(self.bill, name)):
                raise ValueError(f"{name}: are not those of this rule's weights")
        self.bill.aim(float(state["density"]))
        self.bill.charge(_placed(state["costs"], self.bill.costs))
        self.bill.worths = _placed(state["worths"], self.bill.worths)
        self.random.set_state(state["random"].cpu())


def fused(*tensors: Tensor) -> bool:
    """Whether the kernels of `step_kernel` can write into all of them."""
    return all(t.device.type == "cpu" and t.dtype == torch.float32 and t.is_contiguous() for t in tensors)


def flat(tensor: Tensor) -> Any:
    """(n,) NumPy array on the memory of a contiguous tensor (else on a copy); PyTorch is told that it may change."""
    torch.autograd.graph.increment_version(tensor)  # type: ignore[no-untyped-call]
    return tensor.detach().contiguous().view(-1).numpy()


def _layout(value: Any) -> Any:
    """Kind, shape and type of a part of the state."""
    if isinstance(value, list):
        return [_layout(item) for item in value]
    return (value.shape, value.dtype) if isinstance(value, Tensor) else type(value)


def _placed(value: Any, like: Any) -> Any:
    """A copy of a part of the state, its tensors on the devices and in the memory layout of those in `like`."""
    if isinstance(value, list):
        return [_placed(item, other) for item, other in zip(value, like, strict=True)]
    return torch.empty_like(like).copy_(value) if isinstance(value, Tensor) else copy.deepcopy(value)
