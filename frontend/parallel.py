"""The gradients of one batch, its parts on two threads or in several processes.

The batch is always cut the same way and the parts are added in the same order, so that the result does not depend on
the number of cores, nor on whether one process or two compute it.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

from .model import SpikingNetwork
from .part import Exchange, Part, cut
from .processes import World

PARTS = 2
LEAST = 32
"""Samples in a part, at least; smaller batches are not cut."""

ALONE = World()


@contextmanager
def gradient_pool() -> Iterator[ThreadPoolExecutor]:
    """Threads for `backward`; PyTorch's own operations take one thread each meanwhile.

    Each thread is told so itself: a new one would multiply its first matrices on all cores, and round otherwise.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(PARTS, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)


def backward(
    model: SpikingNetwork,
    samples: Tensor,
    wanted: Tensor,
    pool: ThreadPoolExecutor | None = None,
    world: World = ALONE,
    seed: int = 0,
) -> Tensor:
    """Sets `grad` of all parameters for the mean squared error of the firing rates; returns the loss.

    Args:
        model: in training mode.
        samples: raw samples (batch, …), the whole batch in every process.
        wanted: firing rates (batch, outputs).
        pool: from `gradient_pool`; None: threads for this call alone.
        world: several processes take one part each; all of them get the sums.
        seed: decides dropout's masks.

    Raises:
        KeyboardInterrupt, ProcessError: as in `World.add`.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    parts = cut(len(samples), _number(len(samples), world), seed)

    def work(part: Part) -> list[Tensor]:
        mine = slice(part.begin, part.end)
        with part.active():
            loss = F.mse_loss(model(samples[mine]), wanted[mine]) * ((part.end - part.begin) / part.total)
        return [loss.detach(), *torch.autograd.grad(loss, parameters)]

    if len(parts) == 1:
        loss, *gradients = work(parts[0])
    elif world.size > 1:
        parts[world.rank].sum = world.sum
        loss, *gradients = world.add(work(parts[world.rank]))
    elif pool is None:
        with gradient_pool() as own:
            loss, *gradients = _on_threads(work, parts, own)
    else:
        loss, *gradients = _on_threads(work, parts, pool)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    return loss


def _number(total: int, world: World) -> int:
    """Into how many parts a batch is cut; what is too small for that is computed whole, by every process."""
    parts = world.size if world.size > 1 or world.device != "cpu" else PARTS
    return parts if total >= parts * LEAST else 1


def _on_threads(work: Callable[[Part], list[Tensor]], parts: Sequence[Part], pool: ThreadPoolExecutor) -> list[Tensor]:
    """The sum of what `work` gives for each part, all at once; the first error of a part is raised."""
    exchange = Exchange(len(parts))

    def guarded(part: Part) -> list[Tensor]:
        try:
            return work(part)
        except BaseException:
            exchange.abort()
            raise

    for part in parts:
        part.sum, part.records = functools.partial(exchange.sum, part.index), part.index == 0
    try:
        futures = [pool.submit(guarded, part) for part in parts]
        wait(futures)
    except BaseException:  # ^C: no thread waits for a part that was not begun
        exchange.abort()
        raise
    errors = [error for future in futures if (error := future.exception()) is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
        raise error
    return [functools.reduce(Tensor.add_, tensors) for tensors in zip(*(f.result() for f in futures), strict=True)]
