"""Our checkpoint, written: `torch.save` of plain values and tensors, the same bytes for the same network."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from ..atomic import write_whole
from ..compiler.network import Network
from ..compiler.nodes import node_to_plain
from .readers.pytorch.checkpoint import FORMAT, VERSION


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
            "votes": network.votes,
        },
        "state_dict": state,
        "rates": {name: _tensor(array) for name, array in network.rates.items()},
        "calibration": None if network.calibration is None else _tensor(network.calibration),
        "facts": dict(network.facts),
    }


def _tensor(array: Any) -> torch.Tensor:
    return torch.from_numpy(array.copy())


def write_checkpoint(network: Network, path: str | Path) -> None:
    """Writes `network` to `path`, whole or not at all.

    Raises:
        OutputError: the file cannot be written there.
    """
    buffer = io.BytesIO()
    torch.save(plain_checkpoint(network), buffer)
    write_whole(path, buffer.getvalue())
