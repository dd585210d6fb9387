"""The layers of a lava-dl `.net`, as they stand in it.

Layout: ``layer/<number>/…`` with a ``type`` and one data set per field, those of its neuron in ``neuron/``, and
``simulation/tSample``, the steps of a sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ....errors import ModelFileError

if TYPE_CHECKING:
    from ..hdf5.tree import Tree, Value

MAX_LAYERS = 250
EXPORT = "export it again with lava-dl's export_hdf5"


@dataclass(frozen=True)
class Layer:
    """One group of `/layer`: its type, and its fields by name; those of its neuron as ``neuron/<key>``."""

    index: int
    kind: str
    fields: dict[str, Value]

    @property
    def name(self) -> str:
        return f"{self.kind}{self.index}"


def layers_of(path: Path, tree: Tree) -> tuple[list[Layer], int | None]:
    """The layers of a `.net` in their order, and the steps of a sample where the file says them.

    Args:
        path: of the file, for the sentences.
        tree: what `read_tree` gives of it.

    Raises:
        ModelFileError: it is no `.net`, has too many layers, or fields that are no numbers.
    """
    root = tree.get("layer")
    if not isinstance(root, dict):
        raise ModelFileError(str(path), "has no group /layer, so it is no lava-dl network", EXPORT)
    count = len(root)
    if not 1 <= count <= MAX_LAYERS:
        raise ModelFileError(str(path), f"has {count} layers, 1 to {MAX_LAYERS} are possible", EXPORT)
    layers = []
    for index in range(count):
        group = root.get(str(index))
        if not isinstance(group, dict):
            raise ModelFileError(str(path), f"has {count} layers, yet no /layer/{index}", EXPORT)
        fields = dict(_fields(path, group, f"/layer/{index}/"))
        kind = fields.pop("type", None)
        if not isinstance(kind, str) or not kind.isidentifier():
            raise ModelFileError(str(path), f"its /layer/{index}/type is no word", EXPORT)
        layers.append(Layer(index, kind, fields))
    return layers, _steps(path, tree.get("simulation"))


def _steps(path: Path, group: Tree | Value | None) -> int | None:
    value = group.get("tSample") if isinstance(group, dict) else None
    if value is None:
        return None
    steps = float(value.item()) if isinstance(value, np.ndarray) and value.dtype.kind != "U" and value.size == 1 else 0
    if not 1 <= steps <= 2**16 or steps != int(steps):
        problem = "its simulation/tSample is no number of steps, 1 to 65536 is possible"
        raise ModelFileError(str(path), problem, EXPORT)
    return int(steps)


def _fields(path: Path, group: Tree, where: str, prefix: str = "") -> Iterator[tuple[str, Value]]:
    """All data sets of a layer, of its neuron, and of complex weights; texts and names on one line."""
    for name, value in group.items():
        key = _on_one_line(name)
        if isinstance(value, dict):
            if prefix:
                raise ModelFileError(str(path), f"{where}{key} is a group in a group of fields", EXPORT)
            yield from _fields(path, value, f"{where}{key}/", f"{key}/")
        elif isinstance(value, str):
            yield prefix + key, _on_one_line(value)
        elif value.dtype.kind == "U":
            raise ModelFileError(str(path), f"{where}{key} holds {value.size} texts, numbers are needed", EXPORT)
        else:
            yield prefix + key, value.astype(np.int64) if value.dtype.kind == "b" else value


def _on_one_line(text: str) -> str:
    return text if text.isprintable() else ascii(text)[1:-1]
