"""The parameters of one NIR node, checked for their types and shapes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....compiler.node import Shape
from ....errors import NetworkError
from .file import RawNode

LARGEST_SIZE = 2**26
"""Values of a layer, and elements of a kernel."""


def array(node: RawNode, name: str, key: str, ndim: int | None = None) -> NDArray[Any]:
    """A parameter.

    Raises:
        NetworkError: it is not there, no number, empty, or of other dimensions.
    """
    value = node.values.get(key)
    if not isinstance(value, np.ndarray) or value.size == 0:
        problem = f"a {node.kind} without {key}" if value is None else f"{key} holds no numbers"
        raise NetworkError(name, problem, "correct the graph")
    if ndim is not None and value.ndim != ndim:
        raise NetworkError(name, f"{key} has {value.ndim} dimensions, {ndim} are needed", "correct the graph")
    return value


def per_neuron(node: RawNode, name: str, key: str, shape: Shape | None) -> NDArray[np.float64]:
    """A parameter of neurons in `shape` as () where all have the same, else flat with one for each."""
    values = array(node, name, key)
    if values.size > 1 and shape is not None and values.shape != shape:
        raise NetworkError(name, f"{key} has the shape {values.shape}, its input has {shape}", "correct the graph")
    flat = values.astype(np.float64).ravel()
    return flat[0].reshape(()) if bool((flat == flat[0]).all()) else flat


def neuron_shape(node: RawNode) -> Shape | None:
    """What the parameters say of the shape; None: one number for all, or contradictions that are found later."""
    for value in node.values.values():
        if isinstance(value, np.ndarray) and value.size > 1:
            return value.shape
    return None


def whole(node: RawNode, name: str, key: str, least: int, count: int) -> tuple[int, ...]:
    """`count` whole numbers, given as one for all or as an array."""
    values = array(node, name, key)
    right = values.dtype.kind in "iu" or bool((values == np.round(values)).all())
    if not right or values.size not in (1, count) or int(values.min()) < least or int(values.max()) >= 2**31:
        problem = f"{key} is {shown(values)}, {count} whole numbers of at least {least} are needed"
        raise NetworkError(name, problem, "correct the graph")
    found = [int(value) for value in values.ravel()]
    return tuple(found * count if len(found) == 1 else found)


def shape_of(node: RawNode, name: str, key: str) -> Shape:
    """A shape of one to three positive sizes."""
    values = array(node, name, key)
    if values.ndim > 1 or values.size > 3:
        problem = f"has the shape {shown(values)}, (n), (channels, length) or (channels, rows, columns) is possible"
        raise NetworkError(name, problem, "leave batch and time out")
    shape = whole(node, name, key, 1, values.size)
    check_size(name, shape)
    return shape


def check_size(name: str, shape: Shape, what: str = "its shape") -> None:
    if math.prod(shape) > LARGEST_SIZE:
        raise NetworkError(name, f"{what} is {shape}, {LARGEST_SIZE} values are possible", "make it smaller")


def shown(values: NDArray[Any]) -> str:
    """A few numbers as text.

    >>> shown(np.array([1, 2])), shown(np.zeros(100))
    ('[1, 2]', '100 numbers from 0 to 0')
    """
    if values.size <= 8:
        return str(values.tolist())
    return f"{values.size} numbers from {values.min():g} to {values.max():g}"
