"""Gradient rewiring (Grad R): an optimiser that prunes and regrows connections while it trains.

    w = s * max(theta, 0),   s = sign(w0) for ever,   theta0 = |w0|
    m, v  the moments of dL/dw (Adam);   step = lr / (1 - beta1^t);   v_hat = v / (1 - beta2^t)
    theta <- theta - step * s * m / (sqrt(v_hat) + eps) - alpha * step * sign(theta - mu)

The gradient of a dormant theta (theta <= 0) is redefined as s * dL/dw, so it goes on learning and may come back, with
the same sign. The prior is Laplace(mu, 1 / alpha); P(theta > 0) = p gives mu = ln(2 p) / alpha for p <= 1/2.

Source: Chen, Yu, Fang, Huang, Tian: Pruning of Deep Spiking Neural Networks through Gradient Rewiring, IJCAI 2021.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


def prior_centre(alpha: float, density: float) -> float:
    """mu = ln(2 p) / alpha; with alpha = 0 there is no prior, and -inf stands for "no finite centre".

    >>> round(prior_centre(1e-3, 0.05))
    -2303
    """
    if alpha == 0:
        return -math.inf
    return math.log(2 * density) / alpha


def connectivity(weights: Iterable[Tensor]) -> float:
    """Non-zero weights / weights, over all tensors together (a convolution's weights count once).

    >>> connectivity([torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.0])])
    0.5
    """
    tensors = list(weights)
    alive = sum(int(torch.count_nonzero(tensor)) for tensor in tensors)
    return alive / max(1, sum(tensor.numel() for tensor in tensors))


class GradR(torch.optim.Optimizer):
    """Grad R over the weights of linear layers and convolutions; everything else belongs to a plain Adam.

    Args:
        lr, betas, eps: as in Adam.
        alpha: strength of the prior, an option of each group that may be changed between steps.
        density: p, the share of connections that the prior wants alive; with a small alpha it has no effect, since
            mu then lies far outside of what theta reaches.

    The weights are written in place. `theta`, `sign` and the moments are in the state dict. A weight that is zero
    at the start gets the sign + at an even and - at an odd index.

    >>> weight = torch.nn.Parameter(torch.tensor([0.5, -0.25]))
    >>> optimiser = GradR([weight], lr=0.1, alpha=0.1)
    >>> weight.grad = torch.tensor([1.0, 0.0])
    >>> optimiser.step()                    # step = 0.1 / (1 - 0.9) = 1: 0.5 - 0.1 - 0.1 and 0.25 - 0 - 0.1
    >>> [round(w, 4) for w in weight.tolist()]
    [0.3, -0.15]
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        alpha: float = 1e-3,
        density: float = 0.05,
    ) -> None:
        if not 0 < density <= 0.5:
            raise ValueError(f"density: is {density}, above 0 and at most 0.5 is possible; P(theta > 0) = p needs it")
        if lr < 0 or eps < 0 or alpha < 0 or not (0 <= betas[0] < 1 and 0 <= betas[1] < 1):
            raise ValueError(f"grad-r: lr {lr}, betas {betas}, eps {eps} or alpha {alpha} is out of range; see Adam")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "alpha": alpha, "density": density})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        for weight in self.param_groups[-1]["params"]:
            w0 = weight.detach()
            index = torch.arange(w0.numel(), device=w0.device).reshape(w0.shape)
            alternate = 1 - 2 * (index % 2).to(w0.dtype)
            self.state[weight].update(
                step=0,
                theta=w0.abs(),
                sign=torch.where(w0 == 0, alternate, torch.sign(w0)),
                first_moment=torch.zeros_like(w0),
                second_moment=torch.zeros_like(w0),
            )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of the rule in the module's text; `closure`, if given, computes the loss anew."""
        loss = None
        if closure is not None:
            enable_grad: Any = torch.enable_grad
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, group, self.state[weight])
        return loss

    def _update(self, weight: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        state["step"] += 1
        beta1, beta2 = group["betas"]
        m, v, theta, sign = (state[key] for key in ("first_moment", "second_moment", "theta", "sign"))
        gradient: Any = weight.grad
        m.lerp_(gradient, 1 - beta1)
        v.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        step = group["lr"] / (1 - beta1 ** state["step"])
        v_hat = v / (1 - beta2 ** state["step"])
        change = sign * m / (v_hat.sqrt() + group["eps"])
        if group["alpha"] != 0:
            change += group["alpha"] * torch.sign(theta - prior_centre(group["alpha"], group["density"]))
        if "kept" in state:
            change *= state["kept"]
        theta.sub_(change, alpha=step)
        torch.mul(sign, theta.clamp(min=0), out=weight)

    def freeze(self) -> None:
        """From now on only the connections that are alive learn; a dormant one stays dormant.

        An alive one may still go dormant and come back. The published rule has no such end.
        """
        for state in self.state.values():
            state["kept"] = (state["theta"] > 0).to(state["theta"].dtype)

    def set_alpha(self, alpha: float) -> None:
        """Sets the strength of the prior in all groups."""
        for group in self.param_groups:
            group["alpha"] = alpha

    def thetas(self) -> list[Tensor]:
        """theta of every weight tensor, in the order of the groups."""
        return [self.state[weight]["theta"] for group in self.param_groups for weight in group["params"]]

    def connectivity(self) -> float:
        """Surviving weights / weights over all groups together."""
        return connectivity(weight.detach() for group in self.param_groups for weight in group["params"])
