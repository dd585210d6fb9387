"""The gradients of one batch, its halves on two threads: small layers leave a second core idle otherwise.

The batch is always cut the same way and the parts are added in the same order, so that the result does not depend on
the number of cores.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

from ..compiler.nodes import BatchNorm, Dropout
from .model import SpikingNetwork

PARTS = 2
LEAST = 32
"""Samples in a part, at least; smaller batches are not cut."""


@contextmanager
def gradient_pool() -> Iterator[ThreadPoolExecutor]:
    """Threads for `backward`; PyTorch's own operations take one thread each meanwhile."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(PARTS) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)


def backward(model: SpikingNetwork, samples: Tensor, wanted: Tensor, pool: ThreadPoolExecutor | None = None) -> Tensor:
    """Sets `grad` of all parameters for the mean squared error of the firing rates; returns the loss.

    Args:
        model: in training mode.
        samples: raw samples (batch, …).
        wanted: firing rates (batch, outputs).
        pool: from `gradient_pool`; None: one part after the other.

    Networks with batch norm or dropout are not cut: both look at the batch as a whole.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    whole = any(isinstance(node, (BatchNorm, Dropout)) for node in model.network.nodes)
    parts = 1 if whole or len(samples) < PARTS * LEAST else PARTS

    def work(some: Tensor, goal: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        loss = F.mse_loss(model(some), goal) * (len(some) / len(samples))
        return loss.detach(), torch.autograd.grad(loss, parameters)

    run = map if pool is None else pool.map
    results = list(run(work, samples.chunk(parts), wanted.chunk(parts)))
    for position, parameter in enumerate(parameters):
        gradient = results[0][1][position]
        for _, more in results[1:]:
            gradient.add_(more[position])
        parameter.grad = gradient
    return torch.stack([loss for loss, _ in results]).sum()
