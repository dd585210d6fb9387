"""Stateless layers of PyTorch and SpikingJelly as nodes: settings are checked, what has no counterpart is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....compiler import nodes as ir
from ....compiler.findings import Finding
from ....compiler.node import LARGEST
from ....errors import UnsupportedError

Settings = Mapping[str, Any]
Arrays = Mapping[str, NDArray[Any]]
OptionalShape = tuple[int, ...] | None
OTHER_LAYER = "use another layer"


@dataclass(frozen=True)
class Piece:
    """The nodes of one layer: edges among them, the one that others enter and the one that others hear, findings."""

    nodes: tuple[ir.Node, ...]
    entry: str
    exit: str
    edges: tuple[tuple[str, str], ...] = ()
    findings: tuple[Finding, ...] = ()

    @staticmethod
    def of(node: ir.Node) -> Piece:
        return Piece((node,), node.name, node.name)


class NeedsShapeError(UnsupportedError):
    """A layer that cannot be made without the shape that enters it."""


def refuse(name: str, problem: str, way_out: str = OTHER_LAYER) -> UnsupportedError:
    return UnsupportedError(name, problem, way_out)


def pair(name: str, settings: Settings, key: str, default: Any = None) -> tuple[int, int]:
    """A setting of one or two whole numbers.

    >>> pair("conv", {"stride": 2}, "stride")
    (2, 2)
    """
    value = settings.get(key, default)
    values = tuple(value) if isinstance(value, (list, tuple)) and len(value) == 2 else (value, value)
    if not all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 2**31 for n in values):
        raise refuse(name, f"its {key} is {short(value)}, one or two whole numbers are needed", "correct it")
    return values[0], values[1]


def short(value: Any) -> str:
    """A value for a sentence; what could be long by its type."""
    if isinstance(value, int) and value.bit_length() > 64:
        return "a very large number"
    return repr(value)[:60] if isinstance(value, (str, int, float, type(None))) else f"a {type(value).__name__}"


def real(name: str, key: str, value: Any) -> float:
    """A number that is neither infinite nor beyond all measure."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not -LARGEST <= value <= LARGEST:
        raise refuse(name, f"its {key} is {short(value)}, a number is needed", "correct it")
    return float(value)


def needed(name: str, arrays: Arrays, key: str) -> NDArray[Any]:
    if key not in arrays:
        raise refuse(name, f"has no tensor {name}.{key}", "correct the name of the layer or save the model again")
    return arrays[key]


def linear(name: str, _: Settings, arrays: Arrays, __: OptionalShape) -> ir.Node:
    return ir.Linear(name, weight=needed(name, arrays, "weight"), bias=arrays.get("bias"))


def conv2d(name: str, settings: Settings, arrays: Arrays, _: OptionalShape) -> ir.Node:
    mode, groups = settings.get("padding_mode", "zeros"), settings.get("groups", 1)
    if mode != "zeros" or not isinstance(groups, int):
        raise refuse(name, f"pads with {short(mode)} in {short(groups)} groups, only zeros are possible", "pad zeros")
    weight = needed(name, arrays, "weight")
    dilation, stride = pair(name, settings, "dilation", 1), pair(name, settings, "stride", 1)
    padding = settings.get("padding", 0)
    if padding == "valid":
        padding = 0
    elif padding == "same":
        extent = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=False)]
        if any(n % 2 for n in extent) or stride != (1, 1):
            raise refuse(name, "pads to the same size by another number left than right", "use an odd kernel")
        padding = [n // 2 for n in extent]
    return ir.Conv2d(
        name, weight=weight, bias=arrays.get("bias"), stride=stride, dilation=dilation, groups=groups,
        padding=pair(name, {"padding": padding}, "padding"),
    )  # fmt: skip


def batchnorm(name: str, settings: Settings, arrays: Arrays, _: OptionalShape) -> ir.Node:
    if "running_mean" not in arrays or "running_var" not in arrays:
        raise refuse(name, "has no running mean and variance, so its output depends on the batch", "track them")
    mean = arrays["running_mean"]
    ones, zeros = np.ones(mean.shape, np.float32), np.zeros(mean.shape, np.float32)
    return ir.BatchNorm(
        name, weight=arrays.get("weight", ones), bias=arrays.get("bias", zeros), running_mean=mean,
        running_var=arrays["running_var"], eps=real(name, "eps", settings.get("eps", 1e-5)),
    )  # fmt: skip


def _pool(node: type[ir.AvgPool2d] | type[ir.MaxPool2d]) -> Callable[..., ir.Node]:
    def build(name: str, settings: Settings, _: Arrays, __: OptionalShape) -> ir.Node:
        kernel = pair(name, settings, "kernel_size")
        own = settings.get("stride")
        if pair(name, settings, "padding", 0) != (0, 0) or pair(name, settings, "dilation", 1) != (1, 1):
            raise refuse(name, "pads or dilates its windows", "pool without padding and dilation")
        for key, usual in (("ceil_mode", False), ("divisor_override", None), ("return_indices", False)):
            if settings.get(key, usual) is not usual:
                raise refuse(name, f"pools with {key} {short(settings[key])}", f"leave {key} as it is by default")
        return node(name, kernel=kernel, stride=kernel if own is None else pair(name, settings, "stride"))

    return build


def adaptive_pool(name: str, settings: Settings, _: Arrays, shape: OptionalShape) -> ir.Node:
    """The average pool with the same windows, which there is where the output divides the input."""
    out = pair(name, settings, "output_size")
    if shape is None:
        raise NeedsShapeError(name, "pools an input of unknown shape", "use AvgPool2d")
    if len(shape) != 3 or min(out) < 1 or shape[1] % out[0] or shape[2] % out[1]:
        raise refuse(name, f"pools {shape} adaptively to {out}, which is no division into equal windows", "use AvgPool")
    window = (shape[1] // out[0], shape[2] // out[1])
    return ir.AvgPool2d(name, kernel=window, stride=window)


def flatten(name: str, settings: Settings, _: Arrays, __: OptionalShape) -> ir.Node:
    ends = settings.get("start_dim", 1), settings.get("end_dim", -1)
    if ends != (1, -1):
        raise refuse(name, f"flattens the dimensions {short(ends[0])} to {short(ends[1])}", "flatten from 1 to -1")
    return ir.Flatten(name)


def dropout(name: str, settings: Settings, _: Arrays, __: OptionalShape) -> ir.Node:
    return ir.Dropout(name, p=real(name, "p", settings.get("p", 0.5)))


LAYERS: dict[str, Callable[[str, Settings, Arrays, OptionalShape], ir.Node]] = {
    "Linear": linear,
    "Conv2d": conv2d,
    "BatchNorm1d": batchnorm,
    "BatchNorm2d": batchnorm,
    "AvgPool2d": _pool(ir.AvgPool2d),
    "MaxPool2d": _pool(ir.MaxPool2d),
    "AdaptiveAvgPool2d": adaptive_pool,
    "Flatten": flatten,
    "Dropout": dropout,
    "Dropout1d": dropout,
    "Dropout2d": dropout,
}
"""By the name of the class in PyTorch."""
