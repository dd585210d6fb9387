"""Where the files of a data set lie, and whether they are the published ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError

MAX_SAMPLES = 10_000_000
"""What one file may hold; the largest set of this kind (infinite MNIST as published) has 8.1 million."""

AGAIN = "download it again"


@dataclass(frozen=True)
class Published:
    """The files of a data set as its authors publish them.

    Attributes:
        places: folders below the one that is given, in the order in which they are looked at.
        md5: file -> checksum of its unpacked content; against accidents, not against forgery.
        suffixes: what may follow the name of a file.
        advice: the way out where files are missing.
    """

    name: str
    places: tuple[str, ...]
    md5: Mapping[str, str]
    suffixes: tuple[str, ...]
    advice: str

    def find(self, folder: Path) -> dict[str, Path]:
        """The files that are there, from the first place that has any; of two suffixes the first wins."""
        for place in self.places:
            paths = [(file, folder / place / (file + suffix)) for file in self.md5 for suffix in self.suffixes[::-1]]
            found = {file: path for file, path in paths if path.is_file()}
            if found:
                return found
        return {}

    def differing(self, digests: Mapping[str, str]) -> list[str]:
        """The files whose content is not the published one."""
        return [file for file, digest in digests.items() if digest != self.md5[file]]


def locate(kinds: Iterable[Published], folder: Path | None) -> tuple[Published, dict[str, Path]]:
    """The first kind of which every file is there, and the paths of its files.

    Raises:
        DataError: no folder, or files are missing; those of the kind that is nearest to complete are named.
    """
    kinds = list(kinds)
    name, advice = kinds[0].name, kinds[0].advice
    folder = existing(name, folder, advice)
    found = [(kind, kind.find(folder)) for kind in kinds]
    best, paths = max(found, key=lambda pair: len(pair[1]) / len(pair[0].md5))
    missing = [file for file in best.md5 if file not in paths]
    if missing:
        place = next(iter(paths.values())).parent if paths else folder
        lacks = f"lacks {', '.join(missing)}" if paths else "has none of its files"
        raise DataError(name, f"{place} {lacks}", advice, value=missing)
    return best, paths


def existing(name: str, folder: Path | None, advice: str) -> Path:
    """The folder that is given for the data set `name`.

    Raises:
        DataError: there is none.
    """
    if folder is None:
        raise DataError(name, "its files are needed and no folder is given", advice)
    if not folder.is_dir():
        raise DataError(name, f"its folder {folder} does not exist", advice, value=str(folder))
    return folder


def open_data(path: Path) -> BinaryIO:
    """The file, open for reading.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return path.open("rb")
    except OSError as error:
        raise DataError(str(path), f"cannot be read ({error.strerror})", "check its permissions") from error


def md5(*parts: bytes | memoryview) -> str:
    """The checksum of the parts, one after the other.

    >>> md5(b"a", b"bc") == md5(b"abc")
    True
    """
    digest = hashlib.md5(usedforsecurity=False)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def checked_labels(path: Path, labels: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """The labels as integers.

    Raises:
        DataError: one is not below `classes`.
    """
    if labels.max() >= classes:
        at = int(labels.argmax())
        raise DataError(
            str(path),
            f"label {at} is {labels[at]}, {classes - 1} is the largest",
            AGAIN,
            value=int(labels[at]),
            limit=classes - 1,
        )
    return labels.astype(np.int64)
