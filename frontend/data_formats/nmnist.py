"""N-MNIST: the digits of MNIST before a moving event camera, three saccades of 105 ms.

`Train` and `Test` have a folder per digit, `Train/5/00001.bin`, the number that of the image in MNIST; as folders or as
the archives `Train.zip` and `Test.zip`. A file is a row of events of 5 bytes: x, y, then polarity (1 bit) and time in
µs (23 bits), big-endian (Orchard, Jayawant, Cohen, Thakor: "Converting Static Image Datasets to Spiking Neuromorphic
Datasets Using Saccades", 2015, and its page). tonic reads the events.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...errors import DataError
from .events import EVENT, Events, EventSet, Part, tonic
from .folder import AGAIN, MAX_SAMPLES, open_data

NMNIST = EventSet(
    "nmnist",
    classes=10,
    sensor=(2, 34, 34),
    pool=1,
    shape=(2, 34, 34),
    duration=315_000,
    recordings=(60_000, 10_000),
    places=("nmnist", "", "NMNIST", "N-MNIST"),
    parts=(("Train", "Train.zip", "train.zip"), ("Test", "Test.zip", "test.zip")),
    advice="download Train.zip and Test.zip from the N-MNIST page (Garrick Orchard) and give their folder, packed or "
    "unpacked, with --data-dir",
)

RECORD = 5
MAX_FILE = 2**18
"""Bytes; the published files have less than a fifth of it."""
FILE = re.compile(r"(?:.*/)?([0-9])/([0-9]+)\.bin")
CONTENT = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
"""What zipfile raises for archives that are damaged, encrypted, or packed in another way."""


def read(path: Path) -> Part:
    """The recordings of a part, folder or archive, in the order of MNIST.

    Raises:
        DataError: it holds none; while its recordings are gone through also: one is damaged.
    """
    names = _zip_names(path) if path.is_file() else [file.relative_to(path).as_posix() for file in path.glob("?/*.bin")]
    found = [(match[2], int(match[1]), name) for name in names if (match := FILE.fullmatch(name))]
    if not 1 <= len(found) <= MAX_SAMPLES:
        raise DataError(str(path), f"has {len(found)} recordings such as 5/00001.bin", NMNIST.advice)
    found.sort()
    labels = np.array([label for _, label, _ in found], np.int64)
    return Part(labels, _recordings(path, [name for _, _, name in found]))


def _recordings(path: Path, names: list[str]) -> Iterator[tuple[str, Events]]:
    for name, content in (_unzipped if path.is_file() else _files)(path, names):
        yield f"{path}/{name}", _events(f"{path}/{name}", content)


def _events(source: str, content: bytes) -> Events:
    if len(content) % RECORD or not 0 < len(content) <= MAX_FILE:
        problem = f"has {len(content)} bytes, 1 to {MAX_FILE // RECORD} whole events of {RECORD} are needed"
        raise DataError(source, problem, AGAIN, value=len(content), limit=MAX_FILE)
    events: Events = tonic(NMNIST.name).io.read_mnist_file(io.BytesIO(content), EVENT, is_stream=True)
    return events


def _files(path: Path, names: list[str]) -> Iterator[tuple[str, bytes]]:
    for name in names:
        with open_data(path / name) as file:
            yield name, file.read(MAX_FILE + 1)


def _zip_names(path: Path) -> list[str]:
    with open_data(path) as file:
        try:
            return zipfile.ZipFile(file).namelist()
        except CONTENT as error:
            raise _damaged(path, error) from error


def _unzipped(path: Path, names: list[str]) -> Iterator[tuple[str, bytes]]:
    with open_data(path) as file, zipfile.ZipFile(file) as archive:
        for name in names:
            try:
                with archive.open(name) as packed:
                    content = packed.read(MAX_FILE + 1)
            except CONTENT as error:
                raise _damaged(path, error) from error
            yield name, content


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(str(path), f"is no archive that can be read ({error})", AGAIN)
