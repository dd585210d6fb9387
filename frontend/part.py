"""A part of a batch, and what its layers must know of the whole batch: sums over all parts, dropout's mask.

The parts run at once, on threads of one process or in several processes, and come to the same sums in the same order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


def _same(tensor: Tensor) -> Tensor:
    return tensor


@dataclass
class Part:
    """The samples `begin` to `end` of a batch of `total`.

    Attributes:
        index: which part it is, from 0.
        random: draws for the whole batch, so every part of a batch has one in the same state.
        sum: the sum of a tensor over all parts; every part must call it, in the same order.
        records: whether it writes the running statistics: one part in each process does.
    """

    index: int
    begin: int
    end: int
    total: int
    random: torch.Generator = field(default_factory=torch.Generator)
    sum: Callable[[Tensor], Tensor] = _same
    records: bool = True

    @contextmanager
    def active(self) -> Iterator[None]:
        """Layers that this thread calls meanwhile see this part in `current`."""
        token = _CURRENT.set(self)
        try:
            yield
        finally:
            _CURRENT.reset(token)


_CURRENT: ContextVar[Part | None] = ContextVar("part", default=None)


def current() -> Part | None:
    """The part that this thread works on; None: no part, a batch is all there is."""
    return _CURRENT.get()


def cut(total: int, parts: int, seed: int = 0) -> list[Part]:
    """A batch of `total` samples in parts of almost equal size, the larger ones first.

    >>> [(part.begin, part.end) for part in cut(101, 2)]
    [(0, 51), (51, 101)]
    """
    size, rest = divmod(total, parts)
    ends = [size * (index + 1) + min(rest, index + 1) for index in range(parts)]
    begins = [0, *ends[:-1]]
    return [Part(i, begins[i], ends[i], total, torch.Generator().manual_seed(seed)) for i in range(parts)]


class Exchange:
    """Sums over threads: `sum` gives each of them the sum of what all of them brought, added by index.

    Raises (`sum`):
        threading.BrokenBarrierError: `abort` was called, because a thread will not come.
    """

    def __init__(self, threads: int) -> None:
        self._barrier = threading.Barrier(threads)
        self._brought: list[Tensor] = [torch.empty(0)] * threads
        self.abort = self._barrier.abort

    def sum(self, index: int, tensor: Tensor) -> Tensor:
        """Waits for the other threads."""
        self._brought[index] = tensor
        self._barrier.wait()
        total = self._brought[0]
        for more in self._brought[1:]:
            total = total + more
        self._barrier.wait()  # nobody brings anything new before all have added
        return total


class WholeBatchNorm(torch.autograd.Function):
    """Batch norm by the mean and variance of all parts: ``apply(x, weight, bias, eps, part)``, x (n, channels, …).

    Gives (y, mean, var), var the biased one. With N the values per channel in all parts, g = dL/dy and
    z = (x - mean) / sqrt(var + eps)::

        y = weight z + bias;   dL/dx = weight / sqrt(var + eps) (g - sum(g) / N - z sum(g z) / N)

    sums over all parts; dL/dweight = sum(g z) and dL/dbias = sum(g) over this part, for all gradients are summed later
    (Ioffe and Szegedy 2015).

    >>> x, ones = torch.tensor([[1.0], [3.0]]), torch.ones(1)
    >>> [t.flatten().tolist() for t in WholeBatchNorm.apply(x, ones, ones, 0.0, Part(0, 0, 2, 2))]
    [[0.0, 2.0], [2.0], [1.0]]
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, part: Part
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.dims, ctx.wide = [0, *range(2, x.ndim)], [1, -1] + [1] * (x.ndim - 2)
        ctx.number, ctx.part = values(x, part), part
        mean = part.sum(x.sum(ctx.dims)) / ctx.number
        centred = x - mean.view(ctx.wide)
        var = part.sum(centred.square().sum(ctx.dims)) / ctx.number
        gain = (var + eps).rsqrt()
        z = centred.mul_(gain.view(ctx.wide))
        ctx.save_for_backward(z, weight * gain)
        ctx.mark_non_differentiable(mean, var)
        return torch.addcmul(bias.view(ctx.wide), z, weight.view(ctx.wide)), mean, var

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, Tensor, Tensor, None, None]:
        z, gain = ctx.saved_tensors
        g = grads[0]
        own = torch.stack([g.sum(ctx.dims), (g * z).sum(ctx.dims)])
        mean_g, mean_gz = (ctx.part.sum(own) / ctx.number).unbind()
        inner = g - mean_g.view(ctx.wide) - z * mean_gz.view(ctx.wide)
        return inner * gain.view(ctx.wide), own[1], own[0], None, None


def batch_norm(
    x: Tensor, running_mean: Tensor, running_var: Tensor, weight: Tensor, bias: Tensor, eps: float, part: Part
) -> Tensor:
    """`WholeBatchNorm` of x (n, channels, …); the running statistics take in a tenth, of the variance the unbiased.

    >>> mean, var, ones = torch.zeros(1), torch.ones(1), torch.ones(1)
    >>> batch_norm(torch.tensor([[1.0], [3.0]]), mean, var, ones, ones, 0.0, Part(0, 0, 2, 2)).flatten().tolist()
    [0.0, 2.0]
    >>> round(float(mean), 4), round(float(var), 4)
    (0.2, 1.1)
    """
    normed: Tensor
    normed, now, spread = WholeBatchNorm.apply(x, weight, bias, eps, part)  # type: ignore[no-untyped-call]
    if part.records:
        number = values(x, part)
        running_mean.lerp_(now, 0.1)
        running_var.lerp_(spread * (number / max(1, number - 1)), 0.1)
    return normed


def values(x: Tensor, part: Part) -> int:
    """Values per channel in all parts, from this part's activations (steps × samples, channels, …).

    >>> values(torch.zeros(6, 4, 5, 5), Part(0, 0, 3, 8))
    400
    """
    return x.numel() // x.shape[1] // (part.end - part.begin) * part.total


def dropout(x: Tensor, p: float, part: Part) -> Tensor:
    """Dropout with one mask for all steps of a sample, drawn for the whole batch; x (steps, samples, …).

    >>> dropout(torch.ones(2, 3, 1), 0.0, Part(0, 0, 3, 3)).shape
    torch.Size([2, 3, 1])
    """
    drawn = torch.rand((part.total, *x.shape[2:]), generator=part.random)
    kept = (drawn[part.begin : part.end] >= p).to(x.device, x.dtype)
    return x * (kept / ((1 - p) or 1.0))
