"""What all nodes of a `Network` have in common, and the checks that they make on creation."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import NetworkError

FloatArray = NDArray[Any]
"""Floats of any width."""
Shape = tuple[int, ...]
NAME_MAX = 500
LARGEST = 1e30
"""Of weights, thresholds and time constants."""


def check(condition: bool, name: str, problem: str, way_out: str = "correct the model") -> None:
    if not condition:
        raise NetworkError(name, problem, way_out)


def frozen_array(values: Any, dtype: Any = None) -> NDArray[Any]:
    """A read-only view or copy of `values`, so that no pass changes what it was given.

    >>> frozen_array([1, 2]).flags.writeable
    False
    """
    array = np.asarray(values, dtype=dtype).view()
    array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False)
class BaseNode:
    """A layer with a name.

    Class attributes: `arrays`, the fields that are arrays, of the dimensions `ndim` (1 where nothing is said);
    `constants`, the fields that are one number for all neurons or an array with one per neuron.
    """

    name: str
    arrays: ClassVar[tuple[str, ...]] = ()
    constants: ClassVar[tuple[str, ...]] = ()
    ndim: ClassVar[dict[str, tuple[int, ...]]] = {}

    def __post_init__(self) -> None:
        plain = isinstance(self.name, str) and 0 < len(self.name) <= NAME_MAX and self.name.isprintable()
        check(plain, "node", f"has the name {str(self.name)[:40]!r}, printable text up to {NAME_MAX} letters is needed")
        for spec in dataclasses.fields(self):
            value = getattr(self, spec.name)
            if isinstance(value, list):
                object.__setattr__(self, spec.name, tuple(value))
        for key in self.constants:
            value = np.asarray(getattr(self, key))
            if value.size == 1 and value.dtype.kind in "fiu":
                object.__setattr__(self, key, value.item())
        for key in self.arrays + self.per_neuron:
            value = getattr(self, key)
            if value is None:
                continue
            array = np.asarray(value)
            check(array.dtype.kind in "fiu", self.name, f"{key} has dtype {array.dtype}, numbers are needed")
            dims = self.ndim.get(key, (1,) if key in self.arrays else (1, 2, 3))
            check(array.ndim in dims, self.name, f"{key} has {array.ndim} dimensions, {dims[0]} are needed")
            check(bool(np.isfinite(array).all()), self.name, f"{key} holds NaN or infinity", "train it again")
            largest = float(np.abs(array.astype(np.float64)).max(initial=0))
            check(
                largest <= LARGEST, self.name, f"{key} reaches {largest:g}, {LARGEST:g} is possible", "train it again"
            )
            object.__setattr__(self, key, frozen_array(array))

    @property
    def per_neuron(self) -> tuple[str, ...]:
        """Which of the `constants` are arrays, one value per neuron; the others are one number for all."""
        return tuple(key for key in self.constants if isinstance(getattr(self, key), np.ndarray))

    def output_shape(self, shape: Shape) -> Shape:
        """The shape (without batch and time) that leaves this node when `shape` enters it."""
        return shape

    def _image(self, shape: Shape) -> tuple[int, int, int]:
        check(len(shape) == 3, self.name, f"needs an input of (channels, rows, columns), gets {shape}")
        return shape[0], shape[1], shape[2]
