"""The nodes of a `Network`: layers as trained, which check themselves on creation.

Every node is a frozen dataclass. Its array fields are named as PyTorch names them, so that the plain form of a
network (what a checkpoint holds) is the scalars of each node plus a state dict with keys ``<node>.<field>``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Union

import numpy as np
from numpy.typing import NDArray

from ..errors import NetworkError, UnsupportedError
from .neuron_nodes import LIF, FixedNeurons, Population
from .node import BaseNode, FloatArray, Shape, check, frozen_array

__all__ = [
    "LIF",
    "NODE_CLASSES",
    "AvgPool2d",
    "BatchNorm",
    "Conv2d",
    "Delay",
    "Dropout",
    "FixedNeurons",
    "Flatten",
    "FloatArray",
    "Input",
    "Linear",
    "MaxPool2d",
    "Node",
    "Normalise",
    "Population",
    "Scale",
    "Shape",
    "check",
    "frozen_array",
    "node_from_plain",
    "node_to_plain",
]


@dataclass(frozen=True, eq=False)
class Input(BaseNode):
    """Where samples enter: unsigned integers 0 … `max_value`; the float network sees value / max_value.

    `encoding` is the one that the network was trained with: ``graded`` (the value at every step), ``rate``
    (binary spikes, ``floor((i + 1) x) - floor(i x)`` in step i), ``spikes`` (samples bring their own steps).
    """

    shape: Shape = ()
    max_value: int = 1
    encoding: Literal["graded", "rate", "spikes"] = "graded"

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            len(self.shape) > 0 and all(isinstance(n, int) and n > 0 for n in self.shape),
            self.name,
            f"has the shape {self.shape}, positive sizes are needed",
        )
        check(
            isinstance(self.max_value, int) and 1 <= self.max_value < 2**16,
            self.name,
            f"max_value is {self.max_value}, a whole number 1 to 65535 is possible",
        )
        check(self.encoding in ("graded", "rate", "spikes"), self.name, f"has the encoding {self.encoding!r}")


@dataclass(frozen=True, eq=False)
class Normalise(BaseNode):
    """``(x - mean) / std`` per channel (or one value for all)."""

    mean: FloatArray = field(default_factory=lambda: np.zeros(1))
    std: FloatArray = field(default_factory=lambda: np.ones(1))
    arrays: ClassVar[tuple[str, ...]] = ("mean", "std")

    def __post_init__(self) -> None:
        super().__post_init__()
        check(bool((self.std > 0).all()), self.name, "std is not positive everywhere")
        check(len(self.mean) == len(self.std), self.name, f"has {len(self.mean)} means, {len(self.std)} deviations")

    def affine(self) -> tuple[FloatArray, FloatArray]:
        return 1.0 / self.std.astype(float), -self.mean.astype(float) / self.std.astype(float)


@dataclass(frozen=True, eq=False)
class Scale(BaseNode):
    """``factor * x`` per channel (or one value for all)."""

    factor: FloatArray = field(default_factory=lambda: np.ones(1))
    arrays: ClassVar[tuple[str, ...]] = ("factor",)

    def affine(self) -> tuple[FloatArray, FloatArray]:
        return self.factor.astype(float), np.zeros(len(self.factor))


@dataclass(frozen=True, eq=False)
class BatchNorm(BaseNode):
    """Batch normalisation at inference: ``(x - running_mean) / sqrt(running_var + eps) * weight + bias``."""

    weight: FloatArray = field(default_factory=lambda: np.ones(1))
    bias: FloatArray = field(default_factory=lambda: np.zeros(1))
    running_mean: FloatArray = field(default_factory=lambda: np.zeros(1))
    running_var: FloatArray = field(default_factory=lambda: np.ones(1))
    eps: float = 1e-5
    arrays: ClassVar[tuple[str, ...]] = ("weight", "bias", "running_mean", "running_var")

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = {len(getattr(self, key)) for key in self.arrays}
        check(len(sizes) == 1, self.name, f"its four arrays have the lengths {sorted(sizes)}")
        check(
            bool((self.running_var + self.eps > 0).all()),
            self.name,
            f"running_var + eps is not positive everywhere (eps {self.eps})",
        )

    def affine(self) -> tuple[FloatArray, FloatArray]:
        gain = self.weight.astype(float) / np.sqrt(self.running_var.astype(float) + self.eps)
        return gain, self.bias.astype(float) - self.running_mean.astype(float) * gain


@dataclass(frozen=True, eq=False)
class Dropout(BaseNode):
    """Dropout: the identity at inference."""

    p: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 <= self.p <= 1, self.name, f"p is {self.p}, 0 to 1 is possible")


@dataclass(frozen=True, eq=False)
class Flatten(BaseNode):
    """All dimensions into one, C order."""

    def output_shape(self, shape: Shape) -> Shape:
        return (math.prod(shape),)


@dataclass(frozen=True, eq=False)
class Linear(BaseNode):
    """``weight @ x + bias``, weight (out, in); bias (out,) or absent."""

    weight: FloatArray = field(default_factory=lambda: np.zeros((1, 1)))
    bias: FloatArray | None = None
    arrays: ClassVar[tuple[str, ...]] = ("weight", "bias")
    ndim: ClassVar[dict[str, tuple[int, ...]]] = {"weight": (2,)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bias is not None:
            check(
                len(self.bias) == len(self.weight),
                self.name,
                f"bias has {len(self.bias)} values for {len(self.weight)} outputs",
            )

    def output_shape(self, shape: Shape) -> Shape:
        check(
            shape == (self.weight.shape[1],),
            self.name,
            f"takes {self.weight.shape[1]} inputs, gets the shape {shape}",
            "flatten its input or correct its size",
        )
        return (self.weight.shape[0],)


@dataclass(frozen=True, eq=False)
class Conv2d(BaseNode):
    """2-d cross-correlation.

    weight (out, in / groups, rows, columns), bias (out,), or (out, rows, columns) after folding.
    """

    weight: FloatArray = field(default_factory=lambda: np.zeros((1, 1, 1, 1)))
    bias: FloatArray | None = None
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    arrays: ClassVar[tuple[str, ...]] = ("weight", "bias")
    ndim: ClassVar[dict[str, tuple[int, ...]]] = {"weight": (4,), "bias": (1, 3)}

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, least in (("stride", 1), ("padding", 0), ("dilation", 1)):
            pair = getattr(self, key)
            check(
                len(pair) == 2 and all(isinstance(n, int) and n >= least for n in pair),
                self.name,
                f"{key} is {pair}, two integers of at least {least} are needed",
            )
        out = self.weight.shape[0]
        check(self.groups >= 1 and out % self.groups == 0, self.name, f"{out} channels in {self.groups} groups")
        if self.bias is not None:
            check(len(self.bias) == out, self.name, f"bias has {len(self.bias)} values for {out} channels")

    def output_shape(self, shape: Shape) -> Shape:
        channels, *size = self._image(shape)
        needed = self.weight.shape[1] * self.groups
        check(channels == needed, self.name, f"takes {needed} channels, gets {channels}")
        result = [self.weight.shape[0]]
        for axis in range(2):
            extent = self.dilation[axis] * (self.weight.shape[2 + axis] - 1) + 1
            span = size[axis] + 2 * self.padding[axis] - extent
            check(span >= 0, self.name, f"its kernel of {extent} is larger than its padded input {shape}")
            result.append(span // self.stride[axis] + 1)
        return tuple(result)


@dataclass(frozen=True, eq=False)
class _Pool2d(BaseNode):
    kernel: tuple[int, int] = (2, 2)
    stride: tuple[int, int] = (2, 2)

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            len(self.kernel) == 2
            and len(self.stride) == 2
            and all(isinstance(n, int) and n >= 1 for n in (*self.kernel, *self.stride)),
            self.name,
            f"kernel {self.kernel} and stride {self.stride} must be two positive integers each",
        )

    def output_shape(self, shape: Shape) -> Shape:
        channels, *size = self._image(shape)
        spans = [n - k for n, k in zip(size, self.kernel, strict=True)]
        check(min(spans) >= 0, self.name, f"its window {self.kernel} is larger than its input {shape}")
        return (channels, *(span // s + 1 for span, s in zip(spans, self.stride, strict=True)))


@dataclass(frozen=True, eq=False)
class AvgPool2d(_Pool2d):
    """Average pooling without padding."""


@dataclass(frozen=True, eq=False)
class MaxPool2d(_Pool2d):
    """Max pooling of spikes without padding: 1 where any neuron of the window spikes."""


@dataclass(frozen=True, eq=False)
class Delay(BaseNode):
    """Values that arrive `steps` steps later: one number for all, or an array with one per value."""

    steps: Any = 1
    constants: ClassVar[tuple[str, ...]] = ("steps",)

    def __post_init__(self) -> None:
        super().__post_init__()
        steps = np.asarray(self.steps)
        whole = steps.dtype.kind in "iu" and bool((steps >= 0).all()) and bool((steps < 2**16).all())
        check(whole, self.name, "its delay is no whole number of steps from 0 on")


Node = Union[
    Input, Normalise, Scale, BatchNorm, Dropout, Flatten, Linear, Conv2d, AvgPool2d, MaxPool2d, Delay, LIF, FixedNeurons
]
NODE_CLASSES: tuple[type[BaseNode], ...] = (
    Input,
    Normalise,
    Scale,
    BatchNorm,
    Dropout,
    Flatten,
    Linear,
    Conv2d,
    AvgPool2d,
    MaxPool2d,
    Delay,
    LIF,
    FixedNeurons,
)


def node_to_plain(node: Node) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """A node as plain values and as arrays with state-dict keys.

    >>> node_to_plain(LIF("hidden", tau=2.0))[0]["kind"]
    'LIF'
    """
    plain: dict[str, Any] = {"kind": type(node).__name__}
    arrays = {}
    for spec in dataclasses.fields(node):
        value = getattr(node, spec.name)
        if spec.name in node.arrays + node.per_neuron:
            if value is not None:
                arrays[f"{node.name}.{spec.name}"] = value
        else:
            plain[spec.name] = list(value) if isinstance(value, tuple) else value
    return plain, arrays


def node_from_plain(plain: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Node:
    """The inverse of `node_to_plain`; raises `UnsupportedError` for a kind that the compiler does not know."""
    kind = plain.get("kind")
    classes = {cls.__name__: cls for cls in NODE_CLASSES}
    name = plain.get("name", "?")
    if kind not in classes:
        raise UnsupportedError(str(name), f"is a layer of kind {kind!r}", f"use one of {', '.join(sorted(classes))}")
    cls = classes[kind]
    scalars = {key: value for key, value in plain.items() if key != "kind"}
    known = {spec.name for spec in dataclasses.fields(cls)}
    for key in scalars:
        check(key in known and key not in cls.arrays, str(name), f"a {kind} has no setting {key!r}")
    for key in cls.constants:
        if f"{name}.{key}" in arrays:
            scalars[key] = arrays[f"{name}.{key}"]
    for key in cls.arrays:
        if f"{name}.{key}" in arrays:
            scalars[key] = arrays[f"{name}.{key}"]
        else:
            check(key == "bias" and cls is not BatchNorm, str(name), f"the array {name}.{key} is missing")
    try:
        node: Any = cls(**scalars)
    except (TypeError, ValueError) as error:
        raise NetworkError(str(name), f"its settings cannot be read ({error})", "correct the model") from error
    result: Node = node
    return result
