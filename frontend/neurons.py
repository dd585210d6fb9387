"""Leaky integrate-and-fire neurons in PyTorch, the equation of `compiler.nodes.LIF` with a surrogate gradient."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..compiler.nodes import LIF
from ..errors import UnsupportedError
from .lif_kernel import lif_backward, lif_forward


class ATan(torch.autograd.Function):
    """Heaviside step forward, ``1 / (1 + (pi x)^2)`` backward (arctangent surrogate, alpha 2; Fang et al. 2021).

    ``apply(x, strict)``: 1 where x > 0 (strict) or x >= 0.

    >>> x = torch.tensor([-1.0, 0.0, 1.0], requires_grad=True)
    >>> ATan.apply(x, False).tolist()
    [0.0, 1.0, 1.0]
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, strict: bool) -> Tensor:
        ctx.save_for_backward(x)
        return (x > 0 if strict else x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return grads[0] / (1 + (math.pi * x).square()), None


class FusedLIF(torch.autograd.Function):
    """All steps of a LIF population on the CPU: ``apply(currents, node, steps)``; see `lif_kernel`.

    PyTorch allocates what it returns: a matrix product may round otherwise where numpy's memory is aligned otherwise.
    """

    @staticmethod
    def forward(ctx: Any, currents: Tensor, node: LIF, steps: int) -> Tensor:
        x = currents.detach().contiguous().reshape(len(currents), -1).numpy()
        sent = torch.empty(steps, x.shape[1])
        spikes, slope = sent.numpy(), np.empty(sent.shape, np.float32)
        tau, threshold = np.float32(node.tau), np.float32(node.threshold)
        lif_forward(x, spikes, slope, tau, threshold, node.decay_input, node.fires == ">", node.reset == "hard")
        ctx.node, ctx.slope, ctx.spikes, ctx.shape = node, slope, spikes, currents.shape
        return sent.reshape(steps, *currents.shape[1:])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None, None]:
        node: LIF = ctx.node
        grad = grads[0].contiguous().reshape(ctx.spikes.shape).numpy()
        grad_x, tau = torch.empty(ctx.shape[0], grad.shape[1]), np.float32(node.tau)
        lif_backward(grad, ctx.spikes, ctx.slope, grad_x.numpy(), tau, node.decay_input, node.reset == "hard")
        return grad_x.reshape(ctx.shape), None, None


class LIFLayer(nn.Module):
    """A population of LIF neurons; it begins each call with v = 0.

    Per step: ``v += (x - v) / tau`` (`decay_input`) or ``v = v (1 - 1 / tau) + x``; spike where ``v >= threshold``
    (or >); then v = 0 (hard reset) or v -= threshold (soft). No gradient flows through the reset.

    >>> layer = LIFLayer(LIF("y", tau=2.0, threshold=1.0), steps=4)
    >>> layer(torch.tensor([[[1.5]]])).flatten().tolist()      # v = 0.75, 1.125 -> spike, 0.75, 1.125
    [0.0, 1.0, 0.0, 1.0]
    """

    def __init__(self, node: LIF, steps: int) -> None:
        super().__init__()
        if node.refractory or not node.is_plain:
            problem = "has a pause after a spike, a synaptic current or constants of its own, which is not trained here"
            raise UnsupportedError(node.name, problem, "train it without, or in its own framework")
        self.node = node
        self.steps = steps

    def forward(self, currents: Tensor) -> Tensor:
        """Spikes (T, batch, …) from currents of the same shape, or of (1, batch, …) for the same in every step.

        On the CPU in float32 all steps are one compiled pass (`lif_kernel`), elsewhere a loop over the steps.
        """
        if currents.device.type == "cpu" and currents.dtype == torch.float32:
            spikes: Tensor = FusedLIF.apply(currents, self.node, self.steps)  # type: ignore[no-untyped-call]
            return spikes
        return self.forward_by_steps(currents)

    def forward_by_steps(self, currents: Tensor) -> Tensor:
        """The same as `forward`, step by step in PyTorch's own operations, on any device."""
        node = self.node
        keep = 1 - 1 / node.tau
        v = torch.zeros_like(currents[0])
        spikes = []
        for step in range(self.steps):
            x = currents[step if len(currents) > 1 else 0]
            v = v + (x - v) / node.tau if node.decay_input else v * keep + x
            spike: Any = ATan.apply(v - node.threshold, node.fires == ">")  # type: ignore[no-untyped-call]
            fired = spike.detach()
            v = v * (1 - fired) if node.reset == "hard" else v - node.threshold * fired
            spikes.append(spike)
        return torch.stack(spikes)

    def extra_repr(self) -> str:
        return f"{self.node.name}, {self.steps} steps"
