"""CIFAR-10 as published: the binary version and the Python version.

Both hold the training part in five batches and the test part in one, 10 000 images each; an image is 3 × 32 × 32 bytes,
red, green, blue, each row by row (Krizhevsky: "Learning Multiple Layers of Features from Tiny Images", and its page).
The binary version is a row of records, <label, 1 byte><image, 3072 bytes>; the Python version is a pickle.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from .cifar_pickle import read_batch
from .folder import AGAIN, MAX_SAMPLES, Published, checked_labels, md5, open_data

IMAGE = (3, 32, 32)
PIXELS = 3 * 32 * 32
RECORD = 1 + PIXELS
MAX_PICKLE = 2**26
"""Bytes; a published batch has 31 million."""

ADVICE = (
    "download the binary version (data_batch_1.bin to data_batch_5.bin, test_batch.bin) or the Python version (the "
    "same without .bin) from the CIFAR-10 page, unpack it and give its folder with --data-dir"
)

BINARY = Published(
    "cifar10",
    places=("cifar10", "", "cifar-10-batches-bin", "cifar10/cifar-10-batches-bin"),
    md5={
        "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
        "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
        "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
        "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
        "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
        "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
    },
    suffixes=("",),
    advice=ADVICE,
)

PYTHON = Published(
    "cifar10",
    places=("cifar10", "", "cifar-10-batches-py", "cifar10/cifar-10-batches-py"),
    md5={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    },
    suffixes=("",),
    advice=ADVICE,
)


def read(path: Path, classes: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], str]:
    """Images (samples, 3, 32, 32) and labels of one batch of either version, and the file's checksum.

    Raises:
        DataError: the file is damaged, or a label is not below `classes`.
    """
    reader = read_binary if path.suffix == ".bin" else read_python
    images, labels, digest = reader(path)
    return images.reshape(-1, *IMAGE), checked_labels(path, labels, classes), digest


def read_binary(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8], str]:
    """Images (samples, 3072), labels and checksum of a batch of the binary version."""
    with open_data(path) as file:
        size = file.seek(0, 2)
        count, rest = divmod(size, RECORD)
        if rest or not 1 <= count <= MAX_SAMPLES:
            problem = f"has {size} bytes, 1 to {MAX_SAMPLES} whole records of {RECORD} are needed (label and image)"
            raise DataError(str(path), problem, AGAIN, value=size, limit=RECORD)
        file.seek(0)
        records = np.fromfile(file, np.uint8).reshape(-1, RECORD)
    return records[:, 1:], records[:, 0], md5(records.data)


def read_python(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8], str]:
    """Images (samples, 3072), labels and checksum of a batch of the Python version."""
    with open_data(path) as file:
        data = file.read(MAX_PICKLE + 1)
    if len(data) > MAX_PICKLE:
        problem = f"has more than {MAX_PICKLE} bytes, a batch as published has 31 million"
        raise DataError(str(path), problem, AGAIN, limit=MAX_PICKLE)
    batch = read_batch(str(path), data)
    images, labels = batch.get("data"), batch.get("labels")
    if not isinstance(images, np.ndarray) or images.ndim != 2 or images.shape[1] != PIXELS or not len(images):
        raise DataError(str(path), f"has no array 'data' of samples × {PIXELS} bytes", AGAIN)
    if not isinstance(labels, list) or not all(type(label) is int and 0 <= label <= 255 for label in labels):
        raise DataError(str(path), "has no list 'labels' of small integers", AGAIN)
    if len(labels) != len(images):
        problem = f"holds {len(labels)} labels and {len(images)} images"
        raise DataError(str(path), problem, AGAIN, value=len(labels), limit=len(images))
    return images, np.array(labels, np.uint8), md5(data)
