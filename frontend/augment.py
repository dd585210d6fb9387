"""Samples as training sees them: moved a little at random, so that a network learns shapes and not pixels."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from .data import DataSet

DEGREES, SHIFT, SCALES = 30.0, 0.15, (0.85, 1.11)
"""Of the affine map: up to this angle and share of the size either way, and between these scales."""
MARGIN = 4
"""Zeros around a colour image before it is cut out again."""

Augmentation = Callable[[Tensor, torch.Generator], Tensor]
"""(raw samples (n, …) uint8, random numbers) -> samples of the same shape, float32 in the same units."""


def augmentation(data: DataSet) -> Augmentation | None:
    """What training does to the samples of this data set, as in "Pruning of Deep Spiking Neural Networks through
    Gradient Rewiring" (Chen et al., 2021): an affine map for MNIST and its like, a crop and a flip for CIFAR-10.

    The same generator state gives the same samples, on one device. None: the samples are taken as they are.

    >>> from .data import load
    >>> augmentation(load("digits")) is None
    True
    """
    return {"mnist": random_affine, "fashion-mnist": random_affine, "cifar10": crop_and_flip}.get(data.name)


def random_affine(batch: Tensor, random: torch.Generator) -> Tensor:
    """Each image turned by ±30°, scaled by 0.85 … 1.11 and shifted by ±15 % of its size, all uniform.

    The published code takes the nearest pixel and shifts by whole ones; here pixels are interpolated.

    Args:
        batch: (n, channels, rows, columns) uint8.
    """
    maps = random_maps(len(batch), batch.shape[2], batch.shape[3], random)
    return affine(batch, maps) if batch.device.type == "cpu" else affine_on_device(batch, maps.to(batch.device))


def random_maps(count: int, rows: int, columns: int, random: torch.Generator) -> Tensor:
    """Maps from output to input, (count, 6) float32 as `affine.warp` takes them.

    A pixel at p, counted from the centre, shows the input at R(angle) (p - shift) / scale.
    """
    turn, scale, right, down = torch.rand((4, count), generator=random, device=random.device)
    angle = (2 * turn - 1) * math.radians(DEGREES)
    scale = SCALES[0] + (SCALES[1] - SCALES[0]) * scale
    shift_x, shift_y = (2 * right - 1) * SHIFT * columns, (2 * down - 1) * SHIFT * rows
    a, b = angle.cos() / scale, angle.sin() / scale
    return torch.stack([a, b, -(a * shift_x + b * shift_y), -b, a, b * shift_x - a * shift_y], dim=1)


def affine(batch: Tensor, maps: Tensor) -> Tensor:
    """The images under their maps, zeros outside; on the CPU, one thread.

    >>> image = torch.tensor([[[[1, 2], [3, 4]]]], dtype=torch.uint8)
    >>> affine(image, torch.tensor([[1.0, 0, 1, 0, 1, 0]])).tolist()  # one pixel to the left
    [[[[2.0, 0.0], [4.0, 0.0]]]]
    """
    from .affine import warp  # numba, which is slow to import

    channels, rows, columns = batch.shape[1:]
    images = batch.contiguous().view(-1, rows, columns)
    out = torch.empty(images.shape)
    warp(images.numpy(), maps.repeat_interleave(channels, dim=0).cpu().numpy(), out.numpy())
    return out.view(batch.shape)


def affine_on_device(batch: Tensor, maps: Tensor) -> Tensor:
    """The same as `affine` up to rounding, by PyTorch, on any device."""
    rows, columns = batch.shape[2:]
    a, b, c, d, e, f = maps.unbind(1)
    across = torch.stack([a, b * rows / columns, 2 * c / columns], dim=1)
    along = torch.stack([d * columns / rows, e, 2 * f / rows], dim=1)
    grid = F.affine_grid(torch.stack([across, along], dim=1), list(batch.shape), align_corners=False)
    return F.grid_sample(batch.to(torch.float32), grid, align_corners=False)


def crop_and_flip(batch: Tensor, random: torch.Generator) -> Tensor:
    """Each image shifted by -4 … 4 pixels in both directions, zeros outside, and mirrored with probability 1/2.

    Args:
        batch: (n, channels, rows, columns) uint8.
    """
    count, (rows, columns) = len(batch), batch.shape[2:]
    down, right = torch.randint(0, 2 * MARGIN + 1, (2, count), generator=random, device=random.device).to(batch.device)
    mirrored = torch.randint(0, 2, (count,), generator=random, device=random.device).to(batch.device)
    windows = F.pad(batch, (MARGIN,) * 4).unfold(2, rows, 1).unfold(3, columns, 1)
    cut = windows[torch.arange(count, device=batch.device), :, down, right]
    return torch.where(mirrored.to(torch.bool)[:, None, None, None], cut.flip(3), cut).to(torch.float32)
