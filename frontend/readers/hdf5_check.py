"""`check_hdf5`: whether the HDF5 library comes back from a file, before this process opens it."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

from ...errors import ModelFileError
from .archive import open_file

SECONDS = 30.0
MAX_FILE = 2**31
GUARD = Path(__file__).with_name("hdf5_guard.py")
START = (
    "import json, runpy, sys; sys.path[:] = json.loads(sys.argv[1]); guard = sys.argv[2]; "
    "sys.argv[1:] = sys.argv[3:]; runpy.run_path(guard, run_name='__main__')"
)
"""The child finds the same packages, and nothing in the folder it is started in."""


def check_hdf5(path: Path) -> None:
    """Lets a child read all of an HDF5 file; the answer is kept while the file stays as it is.

    Raises:
        ModelFileError: the file is missing, or too large, or the library hangs or crashes on it.
    """
    open_file(path).close()
    status = path.stat()
    if status.st_size > MAX_FILE:
        raise ModelFileError(str(path), f"has {status.st_size} bytes, {MAX_FILE} are possible", "make it smaller")
    if not _survives(str(path.resolve()), status.st_mtime_ns, status.st_size):
        problem = f"is a damaged HDF5 file: the HDF5 library crashes on it, or is not done with it in {SECONDS:g} s"
        raise ModelFileError(str(path), problem, "copy or export it again")


@lru_cache(maxsize=32)
def _survives(path: str, changed: int, size: int) -> bool:
    command = [sys.executable, "-I", "-c", START, json.dumps(sys.path), str(GUARD), path]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
