"""Data sets by name, as raw integers: what training, calibration and evaluation have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError


@dataclass(frozen=True, eq=False)
class DataSet:
    """Samples and labels, split once and for all.

    Attributes:
        train_samples, test_samples: (samples, …) uint8, 0 … `max_value`.
        train_labels, test_labels: (samples,) int64, 0 … `classes` - 1.
    """

    name: str
    train_samples: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_samples: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    max_value: int
    classes: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return tuple(self.train_samples.shape[1:])


def _digits() -> DataSet:
    """1797 images of 8 × 8 pixels, 0 … 16; every fifth (index % 5 == 0) is kept for the test: 360."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    samples = bunch.data.astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    test = np.arange(len(samples)) % 5 == 0
    return DataSet("digits", samples[~test], labels[~test], samples[test], labels[test], max_value=16, classes=10)


DATA_SETS: dict[str, Callable[[], DataSet]] = {"digits": _digits}


def load(name: str) -> DataSet:
    """The data set of that name; nothing is downloaded.

    Raises:
        DataError: no data set has this name.

    >>> digits = load("digits")
    >>> digits.train_samples.shape, digits.test_samples.shape, digits.max_value
    ((1437, 64), (360, 64), 16)
    """
    if name not in DATA_SETS:
        raise DataError(name, "is no data set that is known here", f"use one of: {', '.join(sorted(DATA_SETS))}")
    return DATA_SETS[name]()
