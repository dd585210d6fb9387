"""Data sets by name, as raw integers: what training, calibration and evaluation have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .data_formats import cifar, dvs_gesture, events, idx, nmnist, shd
from .data_formats.folder import Published, locate

CLASSES = 10
FASHION_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts its files."""


@dataclass(frozen=True, eq=False)
class DataSet:
    """Samples and labels, split once and for all.

    Attributes:
        train_samples, test_samples: (samples, …) uint8, 0 … `max_value`; images are (samples, channels, rows, columns),
            events (samples, T, …).
        train_labels, test_labels: (samples,) int64, 0 … `classes` - 1.
        note: a warning about the files, empty where they are the published ones.
        steps: T where the samples bring their own steps (events), else None.
    """

    name: str
    train_samples: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_samples: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    max_value: int
    classes: int
    note: str = ""
    steps: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample, or of one step of it."""
        return tuple(self.train_samples.shape[1 if self.steps is None else 2 :])


def _digits(_: Path | None) -> DataSet:
    """1797 images of 8 × 8 pixels, 0 … 16; every fifth (index % 5 == 0) is kept for the test: 360."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    samples = bunch.data.astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    test = np.arange(len(samples)) % 5 == 0
    return DataSet("digits", samples[~test], labels[~test], samples[test], labels[test], max_value=16, classes=10)


def _mnist(folder: Path | None) -> DataSet:
    """60 000 and 10 000 images of handwritten digits, (1, 28, 28)."""
    return _idx(idx.MNIST, folder)


def _fashion_mnist(folder: Path | None) -> DataSet:
    """60 000 and 10 000 images of clothes, (1, 28, 28); without a folder, Debian's."""
    return _idx(idx.FASHION_MNIST, FASHION_FOLDER if folder is None else folder)


def _idx(published: Published, folder: Path | None) -> DataSet:
    published, paths = locate([published], folder)
    train, train_labels, train_md5 = idx.read_pair(paths[idx.TRAIN_IMAGES], paths[idx.TRAIN_LABELS], CLASSES)
    test, test_labels, test_md5 = idx.read_pair(paths[idx.TEST_IMAGES], paths[idx.TEST_LABELS], CLASSES)
    files = (idx.TRAIN_IMAGES, idx.TRAIN_LABELS, idx.TEST_IMAGES, idx.TEST_LABELS)
    note = _note(published, paths, dict(zip(files, train_md5 + test_md5, strict=True)))
    return DataSet(published.name, train, train_labels, test, test_labels, 255, CLASSES, note)


def _cifar10(folder: Path | None) -> DataSet:
    """50 000 and 10 000 colour images, (3, 32, 32); the binary version, or else the Python version."""
    published, paths = locate([cifar.BINARY, cifar.PYTHON], folder)
    images, labels, digests = zip(*(cifar.read(paths[file], CLASSES) for file in published.md5), strict=True)
    note = _note(published, paths, dict(zip(published.md5, digests, strict=True)))
    train, train_labels = np.concatenate(images[:-1]), np.concatenate(labels[:-1])
    return DataSet(published.name, train, train_labels, images[-1].copy(), labels[-1], 255, CLASSES, note)


def _note(published: Published, paths: dict[str, Path], digests: dict[str, str]) -> str:
    """The warning about files that are not the published ones.

    Raises:
        DataError: a file is that of another data set; MNIST and Fashion-MNIST give theirs the same names.
    """
    for other in (idx.MNIST, idx.FASHION_MNIST):
        for file, digest in digests.items():
            if other is not published and digest == other.md5.get(file):
                raise DataError(str(paths[file]), f"is of {other.name}, not of {published.name}", published.advice)
    differing = published.differing(digests)
    if not differing:
        return ""
    return f"{published.name}: not the published content, by checksum: {', '.join(differing)}"


def _events(kind: events.EventSet, read: Callable[[Path], events.Part], folder: Path | None, steps: int) -> DataSet:
    """Recordings of events, binary, in `steps` steps."""
    train, test = map(read, kind.locate(folder))
    counts = len(train.labels), len(test.labels)
    events.check_size(kind, sum(counts), steps)
    samples = [events.frames(kind, part, steps) for part in (train, test)]
    note = kind.note(*counts)
    return DataSet(kind.name, samples[0], train.labels, samples[1], test.labels, 1, kind.classes, note, steps)


DATA_SETS: dict[str, Callable[[Path | None, int], DataSet]] = {
    "digits": lambda folder, _: _digits(folder),
    "mnist": lambda folder, _: _mnist(folder),
    "fashion-mnist": lambda folder, _: _fashion_mnist(folder),
    "cifar10": lambda folder, _: _cifar10(folder),
    "nmnist": lambda folder, steps: _events(nmnist.NMNIST, nmnist.read, folder, steps),
    "dvs-gesture": lambda folder, steps: _events(dvs_gesture.DVS_GESTURE, dvs_gesture.read, folder, steps),
    "shd": lambda folder, steps: _events(shd.SHD, shd.read, folder, steps),
}


def load(name: str, folder: Path | None = None, steps: int = 8) -> DataSet:
    """The data set of that name; nothing is downloaded.

    The training part is all of the published one; whoever wants a validation part takes it from there.

    Args:
        folder: where its files are, or a folder `name` with them; digits needs none.
        steps: T, into which recordings of events are divided; images have none.

    Raises:
        DataError: no data set has this name, its files are missing or damaged, or tonic is (for events).

    >>> digits = load("digits")
    >>> digits.train_samples.shape, digits.test_samples.shape, digits.max_value
    ((1437, 64), (360, 64), 16)
    """
    if name not in DATA_SETS:
        raise DataError(name, "is no data set that is known here", f"use one of: {', '.join(sorted(DATA_SETS))}")
    return DATA_SETS[name](folder, steps)
