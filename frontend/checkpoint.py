"""Our checkpoint, written: `torch.save` of plain values and tensors, the same bytes for the same network."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from typing import Any

import torch

from ..compiler.network import Network, node_to_plain
from ..errors import ModelFileError
from .readers.checkpoint import FORMAT, VERSION


def plain_checkpoint(network: Network) -> dict[str, Any]:
    """The checkpoint as a dict: format, version, architecture, state_dict, rates, calibration, facts."""
    nodes, state = [], {}
    for node in network.nodes:
        plain, arrays = node_to_plain(node)
        nodes.append(plain)
        state.update({key: _tensor(array) for key, array in arrays.items()})
    return {
        "format": FORMAT,
        "version": VERSION,
        "architecture": {
            "nodes": nodes,
            "edges": [list(edge) for edge in network.edges],
            "steps": network.steps,
        },
        "state_dict": state,
        "rates": {name: _tensor(array) for name, array in network.rates.items()},
        "calibration": None if network.calibration is None else _tensor(network.calibration),
        "facts": dict(network.facts),
    }


def _tensor(array: Any) -> torch.Tensor:
    return torch.from_numpy(array.copy())


def write_checkpoint(network: Network, path: str | Path) -> None:
    """Writes `network` to `path`: a temporary file beside it, then a rename.

    Raises:
        ModelFileError: the file cannot be written there.
    """
    path = Path(path)
    buffer = io.BytesIO()
    torch.save(plain_checkpoint(network), buffer)
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(buffer.getvalue())
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)  # noqa: PTH105
    except OSError as error:
        raise ModelFileError(str(path), f"cannot be written ({error.strerror})", "choose another --out") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def check_writable(path: str | Path) -> None:
    """Before the work: a file can be written at `path`.

    Raises:
        ModelFileError: its folder does not exist or is closed, or `path` is a folder.
    """
    path = Path(path)
    for condition, problem in (
        (not path.is_dir(), "is a directory"),
        (path.parent.is_dir(), f"cannot be written: there is no folder {path.parent}"),
        (os.access(path.parent, os.W_OK), f"cannot be written: the folder {path.parent} is read-only"),
    ):
        if not condition:
            raise ModelFileError(str(path), problem, "choose another --out")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
