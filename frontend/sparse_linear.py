"""Linear layers whose zeros cost nothing, in training on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .sparse_kernel import compressed, multiply, multiply_back

DENSEST = 0.06
"""Share of weights other than 0 up to which going over them one by one is clearly faster than a dense product."""

ROWS = 256
"""Rows (steps x samples) for which finding these weights pays, at least: an input that is the same in every step has
too few."""


class _Sparse(torch.autograd.Function):
    """``x W^T``; the gradient of W is dense, for dormant weights learn as well."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        parts = compressed(weight.detach().numpy())
        out = torch.empty(len(weight), len(x))
        starts, columns, values = parts
        multiply(starts, columns, values, x.detach().t().contiguous().numpy(), out.numpy())
        ctx.save_for_backward(x)
        ctx.parts, ctx.needs = parts, x.requires_grad
        return out.t().contiguous()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, Tensor]:
        (x,), grad = ctx.saved_tensors, grads[0]
        back = None
        if ctx.needs:
            back = torch.empty(x.shape[1], len(x))
            starts, columns, values = ctx.parts
            multiply_back(starts, columns, values, grad.t().contiguous().numpy(), back.numpy())
            back = back.t().contiguous()
        return back, grad.t() @ x


class SparseLinear(nn.Linear):
    """`torch.nn.Linear`, with sparse products where few weights are left and the tensors are float32 on the CPU.

    Takes (…, in), gives (…, out); equal to the dense product up to rounding.

    >>> layer = SparseLinear(200, 100, bias=False)
    >>> with torch.no_grad(): layer.weight[:, 5:] = 0
    >>> x = torch.rand(8, 64, 200)
    >>> torch.allclose(layer(x), x @ layer.weight.t(), atol=1e-6)
    True
    """

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        plain = weight.device.type == "cpu" and weight.dtype == x.dtype == torch.float32
        many = x.numel() >= ROWS * x.shape[-1]
        if not (plain and many) or torch.count_nonzero(weight) > DENSEST * weight.numel():
            return super().forward(x)
        product: Tensor = _Sparse.apply(x.reshape(-1, x.shape[-1]), weight)  # type: ignore[no-untyped-call]
        product = product.reshape(*x.shape[:-1], len(weight))
        return product if self.bias is None else product + self.bias
