"""A NIR file read in a process of its own: the HDF5 library crashes on some damaged files and never ends on others.

The child sends one line of JSON, the graph with the place of each array, and then the bytes of the arrays; or the
sentence of what is wrong with the file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ModelFileError
from .archive import open_file
from .nir_file import EXPORT, MAX_BYTES, RawNode, read_graph

SECONDS = 120.0
"""Time limit of the child; 1 GiB of packed weights takes about 10."""
MEMORY = 8 * MAX_BYTES
"""Address space of the child, where the system has a limit for it."""


def read_graph_apart(path: Path) -> RawNode:
    """As `read_graph`, whatever the file does to the library.

    Raises:
        ModelFileError: the file is missing, damaged, no NIR file, too large, or points out of itself.
    """
    open_file(path).close()
    paths = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    command = [sys.executable, "-c", "from snn_compile.frontend.readers.nir_child import child; child()", str(path)]
    env = {**os.environ, "PYTHONPATH": paths}
    try:
        run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, env=env)
    except subprocess.TimeoutExpired as error:
        problem = f"is damaged: the HDF5 library reads it for more than {SECONDS:g} s"
        raise ModelFileError(str(path), problem, EXPORT) from error
    if run.returncode != 0:
        problem = f"is damaged: the HDF5 library ends with the code {run.returncode} on it"
        raise ModelFileError(str(path), problem, EXPORT)
    head, _, content = run.stdout.partition(b"\n")
    told = json.loads(head)
    if "problem" in told:
        raise ModelFileError(str(path), told["problem"], told["way_out"])
    return _unpack(told, memoryview(content))


def child() -> None:
    """Reads the file that is the only argument, and writes what it holds."""
    _limit_memory()
    arrays: list[bytes] = []
    try:
        told = _pack(read_graph(Path(sys.argv[1])), arrays)
    except ModelFileError as error:
        told = {"problem": error.problem, "way_out": error.way_out}
    sys.stdout.buffer.write(json.dumps(told).encode() + b"\n")
    for content in arrays:
        sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:
        return
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    limit = MEMORY if most == resource.RLIM_INFINITY else min(MEMORY, most)
    resource.setrlimit(resource.RLIMIT_AS, (limit, most))


def _pack(node: RawNode, arrays: list[bytes]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in node.values.items():
        if isinstance(value, np.ndarray):
            plain = value.astype(value.dtype.newbyteorder("<"))
            arrays.append(plain.tobytes())
            values[key] = [plain.dtype.str, list(plain.shape)]
        else:
            values[key] = value
    nodes = {name: _pack(inner, arrays) for name, inner in node.nodes.items()}
    return {"kind": node.kind, "values": values, "nodes": nodes, "edges": node.edges}


def _unpack(told: dict[str, Any], content: memoryview) -> RawNode:
    place = 0

    def unpack(told: dict[str, Any]) -> RawNode:
        nonlocal place
        node = RawNode(told["kind"], edges=[(source, target) for source, target in told["edges"]])
        for key, value in told["values"].items():
            if isinstance(value, list):
                dtype, shape = np.dtype(value[0]), tuple(value[1])
                count = int(np.prod(shape, dtype=np.int64))
                value = np.frombuffer(content, dtype, count, place).reshape(shape) if count else np.empty(shape, dtype)
                place += count * dtype.itemsize
            node.values[key] = value
        node.nodes = {name: unpack(inner) for name, inner in told["nodes"].items()}
        return node

    return unpack(told)
