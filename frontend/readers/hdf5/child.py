"""An HDF5 file read in a process of its own: the HDF5 library crashes on some damaged files, never ends on others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ....errors import ModelFileError
from ..regular import open_file

if TYPE_CHECKING:
    from .tree import Tree

SECONDS = 30.0
BYTES_PER_SECOND = 5e6
"""Time limit of the child: `SECONDS`, and more by the size of the file; 1 GiB out of 120 MB takes about 20 s."""
AGAIN = "write it again with nir.write or lava-dl's export_hdf5"
SCRIPT = Path(__file__).with_name("tree.py")
KEPT = ("HDF5_USE_FILE_LOCKING",)
"""Some network file systems need it."""
START = """
import sys
script, sys.path[:] = sys.argv.pop(1), sys.argv[2:]
import runpy
runpy.run_path(script, run_name="__main__")
"""
"""Finds h5py where this process does, and never in the folder of the script or of the file."""


def read_tree(path: Path) -> Tree:
    """The groups of a model file as dicts of groups, arrays and texts, whatever the file does to the library.

    Raises:
        ModelFileError: the file is missing, damaged, too large, points out of itself, or is a compiled program.
    """
    open_file(path).close()
    seconds = SECONDS + path.stat().st_size / BYTES_PER_SECOND
    places = [str(Path(place).absolute()) for place in sys.path]
    command = [sys.executable, "-I", "-S", "-c", START, str(SCRIPT), str(path), *places]
    try:
        run = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, env=_environment()
        )
    except subprocess.TimeoutExpired as error:
        problem = f"is damaged: the HDF5 library reads it for more than {seconds:.0f} s"
        raise ModelFileError(str(path), problem, AGAIN) from error
    if run.returncode != 0:
        last = run.stderr.decode("ascii", "replace").splitlines()[-1:]
        problem = f"is damaged: the HDF5 library ends with the code {run.returncode} on it"
        raise ModelFileError(str(path), problem + "".join(f" ({line[:200]})" for line in last), AGAIN)
    head, _, content = run.stdout.partition(b"\n")
    told = json.loads(head)
    if "problem" in told:
        raise ModelFileError(str(path), told["problem"], told["way_out"])
    return _unpack(told["tree"], memoryview(content))


def _environment() -> dict[str, str]:
    """This process's, in which HDF5 is told nothing but whether to lock files, and to load no plugins."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HDF5_") or key in KEPT}
    return kept | {"HDF5_PLUGIN_PRELOAD": "::"}


def _unpack(told: dict[str, Any], content: memoryview) -> Tree:
    place = 0

    def unpack(told: dict[str, Any]) -> Tree:
        nonlocal place
        tree: Tree = {}
        for name, value in told.items():
            if isinstance(value, list):
                dtype, shape = np.dtype(value[0]), tuple(value[1])
                count = int(np.prod(shape, dtype=np.int64))
                value = np.frombuffer(content, dtype, count, place).reshape(shape) if count else np.empty(shape, dtype)
                place += count * dtype.itemsize
            tree[name] = unpack(value) if isinstance(value, dict) else value
        return tree

    return unpack(told)
