"""IDX, the format of MNIST and Fashion-MNIST, plain or in gzip.

A file of unsigned bytes with d dimensions (LeCun, Cortes, Burges: "The MNIST database of handwritten digits"):

| bytes | content |
|---|---|
| 4 | 0, 0, 8 (unsigned byte), d |
| 4 d | the sizes, big-endian; the first is the number of samples |
| the rest | the values, last index fastest |
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from .folder import AGAIN, MAX_SAMPLES, Published, checked_labels, md5, open_data

IMAGE = (28, 28)
GZIP = b"\x1f\x8b"
MAX_EXPANSION = 1032
"""Deflate cannot expand a byte to more (zlib's "Technical Details", Maximum Expansion Factor)."""
CHUNK = 2**20

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
FOUR = f"({TRAIN_IMAGES}, {TRAIN_LABELS}, {TEST_IMAGES}, {TEST_LABELS}; as .gz or unpacked)"

MNIST = Published(
    "mnist",
    places=("mnist", "", "MNIST/raw"),
    md5={
        TRAIN_IMAGES: "6bbc9ace898e44ae57da46a324031adb",
        TRAIN_LABELS: "a25bea736e30d166cdddb491f175f624",
        TEST_IMAGES: "2646ac647ad5339dbf082846283269ea",
        TEST_LABELS: "27ae3e4e09519cfbb04c329615203637",
    },
    suffixes=("", ".gz"),
    advice=f"download the four MNIST files {FOUR} from the MNIST page and give their folder with --data-dir",
)

FASHION_MNIST = Published(
    "fashion-mnist",
    places=("fashion-mnist", "", "FashionMNIST/raw"),
    md5={
        TRAIN_IMAGES: "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        TRAIN_LABELS: "9018921c3c673c538a1fc5bad174d6f9",
        TEST_IMAGES: "8181f5470baa50b63fa0f6fddb340f0a",
        TEST_LABELS: "15d484375f8d13e6eb1aabb0c3f46965",
    },
    suffixes=("", ".gz"),
    advice="install Debian's package dataset-fashion-mnist, or download the four Fashion-MNIST files "
    f"{FOUR} from the Fashion-MNIST page and give their folder with --data-dir",
)


def read_idx(path: Path, item: tuple[int, ...]) -> tuple[NDArray[np.uint8], str]:
    """The values, (samples, *item), and the checksum of the unpacked file.

    The header decides how much is unpacked: a bomb ends one byte after what it promised.

    Raises:
        DataError: the file is damaged, or holds something other than 1 … `MAX_SAMPLES` items of that shape.
    """
    with open_data(path) as raw:
        packed = raw.read(2) == GZIP
        size = raw.seek(0, 2) * (MAX_EXPANSION if packed else 1)
        raw.seek(0)
        try:
            if packed:
                with gzip.GzipFile(fileobj=raw) as unpacked:
                    return _values(path, unpacked, item, size)
            return _values(path, raw, item, size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(str(path), "is damaged or cut off (its gzip stream does not end well)", AGAIN) from error


def _values(
    path: Path, file: BinaryIO | gzip.GzipFile, item: tuple[int, ...], size: int
) -> tuple[NDArray[np.uint8], str]:
    """Reads header and values from a file that can hold at most `size` bytes."""
    begin = bytes([0, 0, 8, 1 + len(item)])
    header = file.read(4 + 4 * (1 + len(item)))
    if header[:4] != begin:
        raise DataError(str(path), f"begins with {header[:4].hex() or 'nothing'}, {begin.hex()} is needed", AGAIN)
    if len(header) < 4 + 4 * (1 + len(item)):
        raise DataError(str(path), "is cut off in its header", AGAIN)
    count, *sizes = np.frombuffer(header, ">u4", offset=4).tolist()
    if tuple(sizes) != item:
        given, needed = (" × ".join(map(str, shape)) for shape in (sizes, item))
        raise DataError(str(path), f"holds items of {given}, {needed} are needed", AGAIN, value=sizes, limit=item)
    if not 1 <= count <= MAX_SAMPLES:
        problem = f"promises {count} samples, 1 to {MAX_SAMPLES} are possible"
        raise DataError(str(path), problem, AGAIN, value=count, limit=MAX_SAMPLES)
    wanted = count * math.prod(item)
    cut_off = DataError(str(path), f"is cut off: its header promises {count} samples, {wanted} bytes", AGAIN)
    if wanted + len(header) > size:
        raise cut_off
    values, at = np.empty(wanted, np.uint8), 0
    while at < wanted:
        chunk = file.read(min(CHUNK, wanted - at))
        if not chunk:
            raise cut_off
        values[at : at + len(chunk)] = np.frombuffer(chunk, np.uint8)
        at += len(chunk)
    if file.read(1):
        raise DataError(str(path), f"goes on after the {count} samples that its header promises", AGAIN)
    return values.reshape(count, *item), md5(header, values.data)


def read_pair(images: Path, labels: Path, classes: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], tuple[str, str]]:
    """Images (samples, 1, 28, 28), their labels, and the checksums of both files.

    Raises:
        DataError: one is damaged, a label is not below `classes`, or the numbers differ.
    """
    pixels, pixels_md5 = read_idx(images, IMAGE)
    raw, raw_md5 = read_idx(labels, ())
    if len(pixels) != len(raw):
        problem = f"holds {len(raw)} labels, {images.name} has {len(pixels)} images"
        raise DataError(str(labels), problem, "take both from one download", value=len(raw), limit=len(pixels))
    return pixels[:, None], checked_labels(labels, raw, classes), (pixels_md5, raw_md5)
