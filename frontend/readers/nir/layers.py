"""Layers of NIR without a state of neurons, as nodes of a `Network`.

Shapes are those of NIR, without batch: (n), (channels, length) or (channels, rows, columns). In the network
(channels, length) is an image with one row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ....compiler.node import BaseNode, FloatArray, Shape
from ....compiler.nodes import AvgPool2d, Conv2d, Delay, Flatten, Linear, Node, Scale
from ....errors import NetworkError
from ..options import ReadOptions
from .file import RawNode
from .notes import Notes
from .values import array, check_size, per_neuron, whole


@dataclass(frozen=True, eq=False)
class ElementScale(BaseNode):
    """A factor per element of an image: no node of a network, `nir_repair.place_scales` finds a place for it."""

    factor: FloatArray = field(default_factory=lambda: np.ones(1))
    arrays: ClassVar[tuple[str, ...]] = ("factor",)


Layer = Node | ElementScale


@dataclass(frozen=True)
class Place:
    """Where a layer stands: its name, the shape that enters it, what the user said, and what is noted."""

    name: str
    shape: Shape
    options: ReadOptions
    notes: Notes

    def refuse(self, text: str, way_out: str) -> None:
        self.notes.unsupported(self.name, text, way_out)

    def image(self, kind: str) -> tuple[int, int, int]:
        if len(self.shape) != 3:
            problem = f"a {kind} needs (channels, rows, columns), gets {self.shape}"
            raise NetworkError(self.name, problem, "correct the graph")
        return self.shape[0], self.shape[1], self.shape[2]


Made = tuple[list[Layer], Shape] | None
"""The layers and the shape that leaves them; None where it is not supported."""


def as_image(shape: Shape) -> Shape:
    """The shape in the network."""
    return (shape[0], 1, shape[1]) if len(shape) == 2 else shape


def _linear(node: RawNode, at: Place) -> Made:
    weight = array(node, at.name, "weight")
    if weight.ndim != 2 or len(at.shape) != 1:
        at.refuse(
            f"weights of {weight.ndim} dimensions for an input of the shape {at.shape}, 2 and 1 are possible",
            "flatten its input",
        )
        return None
    bias = array(node, at.name, "bias").reshape(-1) if node.kind == "Affine" else None
    at.notes.add(at.name, "exact", f"{node.kind}, {weight.shape[1]} to {weight.shape[0]}")
    layer = Linear(at.name, weight=weight, bias=bias if bias is not None and bias.any() else None)
    return [layer], layer.output_shape(at.shape)


def _conv(node: RawNode, at: Place) -> Made:
    axes = 1 if node.kind == "Conv1d" else 2
    weight = array(node, at.name, "weight", axes + 2)
    if len(at.shape) != axes + 1:
        raise NetworkError(at.name, f"a {node.kind} gets the shape {at.shape}", "correct the graph")
    if "input_shape" in node.values and whole(node, at.name, "input_shape", 1, axes) != at.shape[1:]:
        raise NetworkError(at.name, f"its input_shape is not that of its input, {at.shape[1:]}", "correct the graph")
    row = [1] * (2 - axes)
    weight = weight.reshape(*weight.shape[:2], *row, *weight.shape[2:])
    stride, dilation = (tuple(row) + whole(node, at.name, key, 1, axes) for key in ("stride", "dilation"))
    padding = node.values.get("padding")
    pad: tuple[int, ...]
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise NetworkError(at.name, f"its padding is {padding[:20]!r}, same or valid is possible", "correct it")
        if padding == "same" and max(stride) > 1:
            at.refuse(f"padding same with the stride {stride}: nobody says what it is", "give the padding in numbers")
            return None
        weight, dilation, pad = _same(weight, dilation, at) if padding == "same" else (weight, dilation, (0, 0))
    else:
        pad = (0,) * len(row) + whole(node, at.name, "padding", 0, axes)
    bias = array(node, at.name, "bias").reshape(-1) if "bias" in node.values else np.zeros(1)
    (groups,) = whole(node, at.name, "groups", 1, 1)
    settings: dict[str, Any] = {"stride": stride, "padding": pad, "dilation": dilation, "groups": groups}
    layer = Conv2d(at.name, weight=weight, bias=bias if bias.any() else None, **settings)
    shape = layer.output_shape(as_image(at.shape))
    at.notes.add(at.name, "exact", f"{node.kind}, {at.shape} to {shape}")
    return [layer], shape if axes == 2 else (shape[0], shape[2])


def _same(weight: NDArray[Any], dilation: Any, at: Place) -> tuple[NDArray[Any], Any, tuple[int, int]]:
    """(weight, dilation, padding) with an output as large as the input; an odd pad more lies behind, as in PyTorch.

    A kernel that needs one is written out, with a zero in front of it.
    """
    extents = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    if all(extent % 2 == 0 for extent in extents):
        return weight, dilation, (extents[0] // 2, extents[1] // 2)
    front = [extent % 2 for extent in extents]
    size = [extent + 1 + extra for extent, extra in zip(extents, front, strict=True)]
    at.notes.budget.take(at.name, (*weight.shape[:2], *size), "its kernel with its dilation")
    large = np.zeros((*weight.shape[:2], *size), weight.dtype)
    large[:, :, front[0] :: dilation[0], front[1] :: dilation[1]] = weight
    return large, (1, 1), ((extents[0] + 1) // 2, (extents[1] + 1) // 2)


def _pool(node: RawNode, at: Place) -> Made:
    """Without padding an average (and its factor); with padding a convolution of each channel."""
    channels, rows, columns = at.image(node.kind)
    settings = [
        whole(node, at.name, key, least, 2) for key, least in (("kernel_size", 1), ("stride", 1), ("padding", 0))
    ]
    (ky, kx), (sy, sx), (py, px) = settings
    if ky > rows + 2 * py or kx > columns + 2 * px:
        raise NetworkError(at.name, f"its window {(ky, kx)} is larger than its input {at.shape}", "correct the graph")
    layers: list[Layer] = [AvgPool2d(at.name, kernel=(ky, kx), stride=(sy, sx))]
    if (py, px) != (0, 0):
        at.notes.budget.take(at.name, (channels, ky, kx), "its kernel for all channels")
        share = 1.0 if node.kind == "SumPool2d" else 1 / (ky * kx)
        weight = np.full((channels, 1, ky, kx), share)
        layers = [Conv2d(at.name, weight=weight, stride=(sy, sx), padding=(py, px), groups=channels)]
        if node.kind == "AvgPool2d":
            at.notes.add(at.name, "assumed", "its padding counts as zeros in the average")
    elif node.kind == "SumPool2d":
        layers.append(Scale(f"{at.name}-sum", factor=np.array([float(ky * kx)])))
    shape = layers[0].output_shape(at.shape)
    at.notes.add(at.name, "exact", f"{node.kind}, {at.shape} to {shape}")
    return layers, shape


def _flatten(node: RawNode, at: Place) -> Made:
    ends = []
    for key, usual in (("start_dim", 1), ("end_dim", -1)):
        (end,) = whole(node, at.name, key, -8, 1) if key in node.values else (usual,)
        ends.append(end + len(at.shape) if end < 0 else end)
    start, end = ends
    if not 0 <= start <= end < len(at.shape):
        # a start behind the last dimension of a flat input changes nothing
        if len(at.shape) == 1 and start == 1:
            at.notes.add(at.name, "exact", "Flatten of a flat input")
            return [], at.shape
        raise NetworkError(at.name, f"flattens the dimensions {start} to {end} of {at.shape}", "correct the graph")
    shape = (*at.shape[:start], math.prod(at.shape[start : end + 1]), *at.shape[end + 1 :])
    if shape != at.shape and len(shape) > 1:
        at.refuse(f"flattens a part: {at.shape} to {shape}", "flatten all dimensions, from start_dim 0 on")
        return None
    at.notes.add(at.name, "exact", f"Flatten, {at.shape} to {shape}")
    return ([] if shape == at.shape else [Flatten(at.name)]), shape


def _scale(node: RawNode, at: Place) -> Made:
    factor = per_neuron(node, at.name, "scale", at.shape)
    at.notes.add(at.name, "exact", "Scale")
    if factor.size == 1 or len(at.shape) == 1:
        return [Scale(at.name, factor=factor.reshape(-1))], at.shape
    by_channel = factor.reshape(at.shape[0], -1)
    if bool((by_channel == by_channel[:, :1]).all()):
        return [Scale(at.name, factor=by_channel[:, 0])], at.shape
    return [ElementScale(at.name, factor=factor)], at.shape


def _delay(node: RawNode, at: Place) -> Made:
    exact = per_neuron(node, at.name, "delay", at.shape) / at.options.dt
    if bool((exact < 0).any()) or bool((exact >= 2**16).any()):
        raise NetworkError(at.name, f"its delay is not within 0 and {2**16} steps of dt", "give another --dt")
    steps = np.round(exact).astype(np.int64)
    off = np.abs(exact - steps)
    if bool((off > 1e-6 * (1 + exact)).any()):
        text = f"its delays are moved to whole steps of {at.options.dt:g} s, by up to {off.max():.2g} steps"
        at.notes.add(at.name, "approximated", text, "give a --dt that divides them")
    else:
        at.notes.add(at.name, "exact", f"Delay, {steps.min()} to {steps.max()} steps")
    return [Delay(at.name, steps=steps.item() if steps.ndim == 0 else steps)], at.shape


LAYERS: dict[str, Callable[[RawNode, Place], Made]] = {
    "Linear": _linear,
    "Affine": _linear,
    "Conv1d": _conv,
    "Conv2d": _conv,
    "SumPool2d": _pool,
    "AvgPool2d": _pool,
    "Flatten": _flatten,
    "Scale": _scale,
    "Delay": _delay,
}


def read_layer(node: RawNode, name: str, shape: Shape, options: ReadOptions, notes: Notes) -> Made:
    """The layers for any of `LAYERS`, which are named `name` or begin with it.

    Raises:
        NetworkError: a parameter is missing or does not fit the shape that enters.
    """
    made = LAYERS[node.kind](node, Place(name, shape, options, notes))
    if made is not None:
        check_size(name, made[1])
    return made
