"""Grad R for other people's training loops: the rule of `snn-train` as an optimiser of PyTorch.

optimiser = GradR(net, density=0.05, steps=epochs * len(batches))
for samples, labels in batches:
    optimiser.zero_grad()
    loss(net(samples), labels).backward()
    optimiser.step()
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import UnsupportedError
from .prunable import parameters
from .rules import Settings
from .rules.grad_r import GradR as Rule
from .schedule import cosine


class GradR(torch.optim.Optimizer):
    """Trains and prunes the weights of any module by Grad R, and everything else in it by plain Adam.

    The rule is `rules.grad_r`, that of `snn-train`, with the same numbers in the same order: given the same gradients
    it makes the same weights, to the bit.

    Args:
        model: a module, or a list of parameters (`prunable.parameters` says which of them are pruned).
        density: share of those weights that is left at the end, above 0 and up to 1. The share falls over the first
            60 % of the steps; then it stays, and the survivors go on learning.
        steps: calls of `step` in the whole training, over all epochs.
        lr: learning rate of Adam and of Grad R, as it is at the start.
        schedule: ``cosine``: it falls to 0 over the steps, as in `snn-train`; ``constant``: it stays as the param group
            has it, for a scheduler of your own.
        alpha: strength of the prior, as published; then `density` is only its p, and the density is what comes out.
        exclude: names of layers or parameters, or parameters, that are not pruned.
        betas, eps: as in Adam.

    Attributes:
        done: steps that were made.

    Raises:
        UnsupportedError: a value is out of its range, or the weights cannot be pruned.

    Weights are written in place. A dormant weight is exactly 0; what you write into a pruned weight yourself is
    overwritten in the next step. A batch without gradients for a weight leaves it alone.

    >>> net = nn.Sequential(nn.Linear(40, 50), nn.ReLU(), nn.Linear(50, 2))
    >>> optimiser = GradR(net, density=0.1, steps=20)
    >>> for _ in range(20):
    ...     optimiser.zero_grad()
    ...     net(torch.randn(8, 40)).square().mean().backward()
    ...     optimiser.step()
    >>> optimiser.settled, optimiser.connectivity()
    (True, 0.1)
    """

    def __init__(
        self,
        model: nn.Module | Iterable[Tensor],
        density: float,
        steps: int,
        *,
        lr: float = 1e-2,
        schedule: Literal["cosine", "constant"] = "cosine",
        alpha: float | None = None,
        exclude: Iterable[str | Tensor] = (),
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        _check("density", density, 0 < density <= 1, "choose a share above 0 and up to 1")
        _check("steps", steps, isinstance(steps, int) and steps >= 1, "give the steps of the whole run, 1 or more")
        _check("lr", lr, 0 < lr < math.inf, "choose a positive number")
        _check("alpha", alpha, alpha is None or 0 <= alpha < math.inf, "choose 0 or more")
        _check("schedule", schedule, schedule in ("cosine", "constant"), "use cosine or constant")
        _check("betas", betas, len(betas) == 2 and all(0 <= beta < 1 for beta in betas), "choose 0 or more, below 1")
        _check("eps", eps, 0 < eps < math.inf, "choose a positive number")
        found = parameters(model, exclude)
        self.names = list(found.pruned)
        self.schedule, self.done, self._complete = schedule, 0, False
        pruned, others = list(found.pruned.values()), list(found.others.values())
        super().__init__([{"params": group} for group in (pruned, others) if group], {"lr": lr})
        self._complete = True
        self.rule = Rule(pruned, Settings(density=density, steps=steps, alpha=alpha, betas=betas, eps=eps))
        self.rest = torch.optim.Adam(others, lr, betas=betas, eps=eps) if others else None

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of all parameters that have a gradient; returns what `closure` returns, if there is one.

        After `steps` steps, the learning rate of ``cosine`` is 0: nothing is learned any more, and a warning says so.

        Raises:
            UnsupportedError: a gradient is sparse, or the model was moved to another device.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():  # type: ignore[no-untyped-call]
                loss = closure()
        self._check_tensors()
        steps = self.rule.settings.steps
        if self.done == steps and self.schedule == "cosine":
            text = f"GradR: the {steps} steps of the run are made, so the learning rate is 0; give more steps"
            warnings.warn(text, stacklevel=3)
        rates = [self._rate(group["lr"], steps) for group in self.param_groups]
        self.rule.before_step(min(self.done, steps - 1), rates[0])
        self.rule.step()
        if self.rest is not None:
            self.rest.param_groups[0]["lr"] = rates[1]
            self.rest.step()
        self.done += 1
        return loss

    def _rate(self, lr: float, steps: int) -> float:
        return lr if self.schedule == "constant" else cosine(lr, min(self.done, steps), steps)

    def _check_tensors(self) -> None:
        for name, weight, theta in zip(self.names, self.rule.weights, self.rule.theta, strict=True):
            if weight.device != theta.device:
                problem = f"is on {weight.device}, it was on {theta.device} when the optimiser was made"
                raise UnsupportedError(name, problem, "move the model first")
            if weight.grad is not None and weight.grad.layout != torch.strided:
                raise UnsupportedError(name, "has a sparse gradient", "make it dense, or exclude the layer")

    def connectivity(self) -> float:
        """Weights other than 0 / weights, over all pruned tensors together; a convolution's weights count once."""
        return self.rule.connectivity()

    def densities(self) -> dict[str, float]:
        """The same for each pruned tensor, by its name."""
        return dict(zip(self.names, self.rule.densities(), strict=True))

    @property
    def settled(self) -> bool:
        """Whether the density that was asked for is reached (within 5 % of it); with `alpha` always."""
        return self.rule.settled

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Only for the construction: the density is one over all weights, from the first step on."""
        if self._complete:
            raise UnsupportedError("GradR", "takes no parameters later", "give all of them when it is made")
        super().add_param_group(param_group)

    def _settings(self) -> dict[str, Any]:
        settings = self.rule.settings
        same = {key: getattr(settings, key) for key in ("density", "steps", "alpha", "eps")}
        return {**same, "betas": list(settings.betas), "schedule": self.schedule, "names": list(self.names)}

    def state_dict(self) -> dict[str, Any]:
        """A copy of all that the next steps depend on, besides the model's state dict: numbers, texts and tensors."""
        return {
            "settings": self._settings(),
            "done": self.done,
            "lr": [group["lr"] for group in self.param_groups],
            "rule": self.rule.state_dict(),
            "rest": None if self.rest is None else copy.deepcopy(self.rest.state_dict()),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes over what `state_dict` gave; with the model's state dict, the run goes on to the bit.

        Raises:
            UnsupportedError: it is the state of another optimiser, or of one with other settings.
        """
        subject = "the state of GradR"
        mine, given = self._settings(), state_dict.get("settings")
        if not isinstance(given, dict):
            raise UnsupportedError(subject, "has no settings of GradR", "load what its state_dict gave")
        for key, value in mine.items():
            if given.get(key) != value:
                problem = f"was written with {key} {given.get(key)}, here it is {value}"
                raise UnsupportedError(subject, problem, "make the optimiser as it was", value=given.get(key))
        try:
            if (state_dict["rest"] is None) != (self.rest is None) or len(state_dict["lr"]) != len(self.param_groups):
                raise ValueError("other parameters beside the weights")
            self.rule.load_state_dict(state_dict["rule"])
            if self.rest is not None:
                self.rest.load_state_dict(state_dict["rest"])
            self.done = int(state_dict["done"])
            for group, lr in zip(self.param_groups, state_dict["lr"], strict=True):
                group["lr"] = lr
        except (KeyError, ValueError) as error:
            raise UnsupportedError(subject, f"is of another model ({error})", "load it into the same model") from error

    def __getstate__(self) -> dict[str, Any]:
        raise UnsupportedError("GradR", "cannot be copied or pickled", "save its state_dict")


def _check(name: str, value: object, condition: bool, way_out: str) -> None:
    if not condition:
        raise UnsupportedError(name, f"is {value}", way_out, value=value)
