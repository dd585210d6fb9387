"""The HDF5 library can hang or crash on a damaged file: a child of our own opens it first, under a time limit.

Run as a file of its own (it imports nothing of the package), it visits what a model file may hold and reads it. What is
merely wrong is left to the readers, whose sentences are better; only a child that does not come back condemns the file.
"""

from __future__ import annotations

import math
import sys
from typing import Any

MAX_OBJECTS = 20000
MAX_DEPTH = 12
MAX_ELEMENTS = 2**26
MEMORY = 2**33


def visit(group: Any, h5py: Any, left: list[int], depth: int = 0) -> None:
    """Every hard-linked object, and the content of every dataset that is not too large."""
    for key in list(group):
        left[0] -= 1
        if left[0] < 0 or depth > MAX_DEPTH:
            return
        try:
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                continue
            member = group[key]
            if isinstance(member, h5py.Group):
                visit(member, h5py, left, depth + 1)
            elif isinstance(member, h5py.Dataset):
                read(member)
        except Exception:
            continue


def read(data: Any) -> None:
    plist = data.id.get_create_plist()
    for i in range(plist.get_nfilters()):
        plist.get_filter(i)
    plain = not data.is_virtual and not plist.get_external_count() and data.shape is not None
    if plain and math.prod(data.shape) <= MAX_ELEMENTS and math.prod(data.chunks or (1,)) <= MAX_ELEMENTS:
        data[()]


def main(path: str) -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):
        pass
    try:
        import h5py

        with h5py.File(path, "r") as file:
            visit(file, h5py, [MAX_OBJECTS])
    except Exception:
        return


if __name__ == "__main__":
    main(sys.argv[1])
