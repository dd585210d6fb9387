"""Synaptic layers of lava-dl's `.net` as `Linear` and `Conv2d`, one for each source."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....compiler.neuron_nodes import FixedNeurons
from ....compiler.nodes import Conv2d, Linear, Node, Shape
from .fields import AGAIN, Findings, integers, whole
from .file import Layer
from .neurons import SPIKE_EXP, STATE_EXP, bias_mantissas

Source = tuple[str, Shape]
MAX_SIDE = 4096
"""Values of an input without channels that neurons encode one by one."""
INPUT_WEIGHT = 64
"""Of LIF neurons, where the file has none, as in NetX."""
CLIP = (-256, 254)


def make_input_layer(
    layer: Layer, source: Source, neurons: FixedNeurons | None, findings: Findings
) -> Linear | Conv2d | None:
    """One synapse per value into the neurons that encode it: weight * value + bias, each one whole number.

    Sigma-delta neurons see the changes of the value, shifted as NetX's Delta shifts them.
    """
    bias = integers(layer, "bias", findings)
    lif = neurons is None or neurons.model == "lif"
    weight = whole(layer, "weight", INPUT_WEIGHT if lif else 1, findings, -(2**15), 2**15 - 1)
    _, shape = source
    if len(shape) == 1 and shape[0] > MAX_SIDE:
        findings.refuse(layer.name, f"encodes {shape[0]} values, {MAX_SIDE} are possible", "give it channels")
    if neurons is None or findings.refused(layer.name):
        return None
    bias = np.zeros(1) if bias is None else bias.ravel()
    if bias.size not in (1, shape[0]):
        findings.refuse(layer.name, f"has {bias.size} biases for {shape[0]} channels", AGAIN)
        return None
    unit = 1 if lif else 2 ** (STATE_EXP + SPIKE_EXP)
    mantissas = np.broadcast_to(bias_mantissas(neurons, bias), shape[0])
    offset = mantissas if mantissas.any() else None
    if lif and neurons.du != 4095:
        findings.assume(layer.name, "its values go through the current (iDecay), as slayer trains it; NetX adds to v")
    if len(shape) == 1:
        return Linear(f"{layer.name}-encode", weight=np.eye(shape[0]) * weight * unit, bias=offset)
    kernel = np.full((shape[0], 1, 1, 1), weight * unit)
    return Conv2d(f"{layer.name}-encode", weight=kernel, bias=offset, groups=shape[0])


def make_dense(layer: Layer, sources: list[Source], bias: NDArray[Any] | None, findings: Findings) -> list[Node]:
    """A weight (out, in), or all in one row; taken apart where several sources are joined."""
    weight = _weight(layer, findings)
    if weight is None:
        return []
    inside = sum(math.prod(shape) for _, shape in sources)
    out = weight.size // inside
    if weight.size != out * inside or out < 1 or (weight.ndim == 2 and weight.shape[1] != inside) or weight.ndim > 2:
        findings.refuse(layer.name, f"has weights of the shape {weight.shape} for {inside} inputs", AGAIN)
        return []
    if not _check_bias(layer, bias, out, findings):
        return []
    weight = weight.reshape(out, inside)
    low, high = int(weight.min()), int(weight.max())
    if (high > CLIP[1] and low < 0) or (low < CLIP[0] and high > 0):
        findings.assume(layer.name, f"has weights {low} to {high}, as they are; NetX clips them to -256 to 254")
    ends = np.cumsum([math.prod(shape) for _, shape in sources])
    parts = np.split(weight, ends[:-1], axis=1)
    return [Linear(_part(layer, i, parts), weight=part, bias=bias if i == 0 else None) for i, part in enumerate(parts)]


def make_convolution(layer: Layer, sources: list[Source], bias: NDArray[Any] | None, findings: Findings) -> list[Node]:
    """A kernel (out, in / groups, rows, columns), as PyTorch has it."""
    weight = _weight(layer, findings)
    settings = {key: _pair(layer, key, 0 if key == "padding" else 1, findings) for key in _SETTINGS}
    groups = whole(layer, "groups", 1, findings, 1, 2**16)
    if weight is None or findings.refused(layer.name):
        return []
    kernel = _kernel(layer, weight, findings)
    if kernel is None or not _check_images(layer, sources, findings):
        return []
    channels = [shape[0] for _, shape in sources]
    if kernel.shape[1] * groups != sum(channels) or len(kernel) % groups or (groups > 1 and len(sources) > 1):
        problem = f"has a kernel {kernel.shape} in {groups} groups for {sum(channels)} channels"
        findings.refuse(layer.name, problem, AGAIN)
        return []
    if not _check_bias(layer, bias, len(kernel), findings):
        return []
    parts = np.split(kernel, np.cumsum(channels)[:-1], axis=1)
    return [
        Conv2d(_part(layer, i, parts), weight=part, bias=bias if i == 0 else None, groups=groups, **settings)
        for i, part in enumerate(parts)
    ]


def make_pool(layer: Layer, sources: list[Source], bias: NDArray[Any] | None, findings: Findings) -> list[Node]:
    """slayer's pooling: the weighted sum of a window, in each channel alone.

    It pads an image below and to the right with n % kernel zeros; here the kernel is padded instead. Where its rows
    do not tile the padded image, slayer mixes channels; that is refused.
    """
    weight = _weight(layer, findings)
    settings = {key: _pair(layer, key, 0 if key == "padding" else 1, findings) for key in _SETTINGS}
    if weight is None or findings.refused(layer.name):
        return []
    kernel = _kernel(layer, weight, findings)
    if kernel is None or not _check_images(layer, sources, findings):
        return []
    if kernel.shape[:2] != (1, 1) or len(sources) > 1 or bias is not None:
        findings.refuse(layer.name, f"has a window {kernel.shape}, several sources or a bias", AGAIN)
        return []
    channels, *size = sources[0][1]
    spare = [n % k for n, k in zip(size, kernel.shape[2:], strict=True)]
    tiles = settings["stride"][0] == kernel.shape[2] and (size[0] + spare[0]) % kernel.shape[2] == 0
    if not tiles or settings["padding"][0] or settings["dilation"][0] != 1:
        problem = f"does not tile its {size[0]} rows with windows of {kernel.shape[2]}, so slayer mixes channels"
        findings.refuse(layer.name, problem, "pool without remainder, padding and dilation")
        return []
    if spare[1] and (settings["padding"][1] or settings["dilation"][1] != 1):
        findings.refuse(layer.name, "pads and dilates a window that leaves a remainder", "pool without remainder")
        return []
    reach = settings["dilation"][1] * (kernel.shape[3] - 1) + 1
    if reach > size[1] + spare[1] + 2 * settings["padding"][1]:
        problem = f"has a window {kernel.shape[2:]} that is larger than its image {tuple(size)}"
        findings.refuse(layer.name, problem, "make the window smaller")
        return []
    shape = (channels, 1, *(k + p for k, p in zip(kernel.shape[2:], spare, strict=True)))
    findings.budget.take(layer.name, shape, "its kernel for all channels")
    large = np.zeros(shape)
    large[:, :, spare[0] :, spare[1] :] = kernel
    padding = (spare[0], spare[1] or settings["padding"][1])
    return [
        Conv2d(
            layer.name, weight=large, stride=settings["stride"], padding=padding, dilation=settings["dilation"],
            groups=channels,
        )
    ]  # fmt: skip


_SETTINGS = ("stride", "padding", "dilation")


def _part(layer: Layer, index: int, parts: list[NDArray[Any]]) -> str:
    return layer.name if len(parts) == 1 else f"{layer.name}-{index}"


def _weight(layer: Layer, findings: Findings) -> NDArray[Any] | None:
    if any(key.startswith("weight/") for key in layer.fields):
        findings.refuse(layer.name, "has complex weights", "use real ones")
        return None
    weight = integers(layer, "weight", findings)
    if (weight is None or not weight.size) and not findings.refused(layer.name):
        findings.refuse(layer.name, "has no weights", AGAIN)
        return None
    return weight


def _kernel(layer: Layer, weight: NDArray[Any], findings: Findings) -> NDArray[Any] | None:
    """Four dimensions; lava-dl sometimes keeps a fifth, for time, of size 1."""
    if weight.ndim == 5 and weight.shape[4] == 1:
        weight = weight[..., 0]
    if weight.ndim == 4:
        return weight
    findings.refuse(layer.name, f"has a kernel of the shape {weight.shape}, four dimensions are needed", AGAIN)
    return None


def _check_images(layer: Layer, sources: list[Source], findings: Findings) -> bool:
    flat = [name for name, shape in sources if len(shape) != 3]
    if flat:
        problem = f"gets {flat[0]}, which has no (channels, rows, columns)"
        findings.refuse(layer.name, problem, "give --input-shape, or put it before the dense layers")
    return not flat


def _check_bias(layer: Layer, bias: NDArray[Any] | None, out: int, findings: Findings) -> bool:
    fits = bias is None or bias.shape == (out,)
    if not fits and bias is not None:
        findings.refuse(layer.name, f"has biases of the shape {bias.shape} for {out} outputs", AGAIN)
    return fits


def _pair(layer: Layer, key: str, least: int, findings: Findings) -> tuple[int, int]:
    """One number for rows and columns, or two; `least` where the file has none."""
    if key not in layer.fields:
        return least, least
    value = integers(layer, key, findings)
    if value is None or value.size not in (1, 2) or value.min() < least or value.max() > 2**12:
        findings.refuse(layer.name, f"its {key} is not one or two numbers from {least} to 4096", AGAIN)
        return least, least
    first, *rest = (int(n) for n in value.ravel())
    return first, rest[0] if rest else first
