"""Spiking Heidelberg Digits: spoken digits through a model of the inner ear, 700 channels, up to 1.4 s.

`shd_train.h5` and `shd_test.h5`, plain or in gzip, are HDF5 with ``spikes/times`` (s) and ``spikes/units`` (channel),
both one list per recording, and ``labels``, 0 … 19: the digits in English, then in German (Cramer, Stradmann, Schemmel,
Zenke: "The Heidelberg Spiking Data Sets for the Systematic Evaluation of Spiking Neural Networks", 2022, and its page).
"""

from __future__ import annotations

import contextlib
import gzip
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from .events import Events, EventSet, Part, structured
from .folder import AGAIN, MAX_SAMPLES, open_data

SHD = EventSet(
    "shd",
    classes=20,
    sensor=(1, 1, 700),
    pool=1,
    shape=(700,),
    duration=1_400_000,
    recordings=(8156, 2264),
    places=("shd", "", "SHD"),
    parts=(("shd_train.h5", "shd_train.h5.gz"), ("shd_test.h5", "shd_test.h5.gz")),
    advice="download shd_train.h5 and shd_test.h5 (as .gz or unpacked) from the page of the Heidelberg spiking data "
    "sets (Zenke Lab) and give their folder with --data-dir",
)

GZIP = b"\x1f\x8b"
CHUNK = 2**20
MAX_UNPACKED = 2**31
"""Bytes; the published files have less than a quarter of it."""
ROWS = 256
"""Recordings that are read at a time."""
HDF5 = (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError)
"""What h5py raises for files that are damaged, or that hold something else."""


def read(path: Path) -> Part:
    """The recordings of a part.

    Raises:
        DataError: the file is damaged; while its recordings are gone through also: one is damaged.
    """
    with _open(path) as file:
        labels = _labels(path, file)
    return Part(labels, _recordings(path, len(labels)))


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Any]:
    """The HDF5 file, unpacked first where it is in gzip; its errors become a sentence."""
    with contextlib.ExitStack() as stack:
        plain: IO[bytes] = stack.enter_context(open_data(path))
        if plain.read(2) == GZIP:
            plain = stack.enter_context(_unpacked(path, plain))
        plain.seek(0)
        try:
            yield stack.enter_context(h5py.File(plain, "r"))
        except HDF5 as error:
            problem = f"is damaged or is not the HDF5 of SHD ({' '.join(str(error).split())})"
            raise DataError(str(path), problem, AGAIN) from error


def _unpacked(path: Path, packed: IO[bytes]) -> IO[bytes]:
    packed.seek(0)
    plain = tempfile.TemporaryFile()  # noqa: SIM115 – the caller closes it
    try:
        with gzip.GzipFile(fileobj=packed) as stream:
            while chunk := stream.read(CHUNK):
                plain.write(chunk)
                if plain.tell() > MAX_UNPACKED:
                    raise DataError(str(path), f"unpacks to more than {MAX_UNPACKED} bytes", AGAIN, limit=MAX_UNPACKED)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        plain.close()
        raise DataError(str(path), "is damaged or cut off (its gzip stream does not end well)", AGAIN) from error
    except BaseException:
        plain.close()
        raise
    return plain


def _labels(path: Path, file: Any) -> NDArray[np.int64]:
    labels, times, units = file["labels"], file["spikes/times"], file["spikes/units"]
    count = len(labels)
    if not 1 <= count <= MAX_SAMPLES or times.shape != (count,) or units.shape != (count,):
        problem = f"has {count} labels, {len(times)} lists of times and {len(units)} of units"
        raise DataError(str(path), problem, AGAIN, value=count)
    values = np.asarray(labels[:])
    if values.shape != (count,) or values.dtype.kind not in "iu":
        raise DataError(str(path), "has labels that are no integers", AGAIN)
    wrong = np.flatnonzero((values < 0) | (values >= SHD.classes))
    if len(wrong):
        problem = f"label {wrong[0]} is {values[wrong[0]]}, {SHD.classes - 1} is the largest"
        raise DataError(str(path), problem, AGAIN, value=int(values[wrong[0]]), limit=SHD.classes - 1)
    return values.astype(np.int64)


def _recordings(path: Path, count: int) -> Iterator[tuple[str, Events]]:
    with _open(path) as file:
        for start in range(0, count, ROWS):
            rows = slice(start, start + ROWS)
            times, units = file["spikes/times"][rows], file["spikes/units"][rows]
            for number, (time, unit) in enumerate(zip(times, units, strict=True), start):
                source = f"{path}, recording {number}"
                yield source, _events(source, np.asarray(time), np.asarray(unit))


def _events(source: str, times: NDArray[Any], units: NDArray[Any]) -> Events:
    if times.ndim != 1 or times.dtype.kind != "f" or units.dtype.kind not in "iu" or times.shape != units.shape:
        problem = f"has {times.size} times of the type {times.dtype}, {units.size} units of the type {units.dtype}"
        raise DataError(source, problem, AGAIN)
    seconds = times.astype(np.float64)
    if not bool((np.abs(seconds) < 1e6).all()):
        raise DataError(source, "has a time that is no number of seconds", AGAIN)
    return structured(units, 0, np.rint(seconds * 1e6).astype(np.int64), 0)
