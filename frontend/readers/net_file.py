"""The HDF5 of a lava-dl `.net`, opened without trust: plain datasets only, every size checked before it is read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelFileError
from .hdf5_check import check_hdf5

MAX_LAYERS = 250
MAX_FIELDS = 64
MAX_ELEMENTS = 2**26
"""Numbers in the whole file."""
MAX_TEXT = 200
FILTERS = {1, 2, 3, 32000}
"""deflate, shuffle, fletcher32 and LZF: what h5py has without plug-ins."""
HDF5_ERRORS = (
    OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, IndexError, MemoryError, OverflowError,
    NotImplementedError,
)  # fmt: skip
"""What h5py raises for a damaged file."""
EXPORT = "export it again with lava-dl's export_hdf5"

Value = NDArray[Any] | str


@dataclass(frozen=True)
class Layer:
    """One group of `/layer`: its type, and its fields by name; those of its neuron as ``neuron/<key>``."""

    index: int
    kind: str
    fields: dict[str, Value]

    @property
    def name(self) -> str:
        return f"{self.kind}{self.index}"


def read_layers(path: Path) -> tuple[list[Layer], int | None]:
    """The layers of a `.net` in their order, and the steps of a sample where the file says them.

    Raises:
        ModelFileError: the file is missing, damaged, too large, holds links, or is no `.net`.
    """
    import h5py

    check_hdf5(path)
    try:
        with h5py.File(path, "r") as file:
            return _Tree(path, h5py).layers(file)
    except ModelFileError:
        raise
    except (
        OSError,
        RuntimeError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        MemoryError,
        OverflowError,
    ) as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise ModelFileError(str(path), f"cannot be read as HDF5 ({reason})", EXPORT) from error


class _Tree:
    """One walk through a file; counts what it has read."""

    def __init__(self, path: Path, h5py: Any) -> None:
        self.path, self.h5py, self.left = path, h5py, MAX_ELEMENTS

    def _error(self, problem: str, way_out: str = EXPORT) -> ModelFileError:
        return ModelFileError(str(self.path), problem, way_out)

    def layers(self, file: Any) -> tuple[list[Layer], int | None]:
        root = self._child(file, "layer")
        if not isinstance(root, self.h5py.Group):
            raise self._error("has no group /layer, so it is no lava-dl network")
        count = len(root)
        if not 1 <= count <= MAX_LAYERS:
            raise self._error(f"has {count} layers, 1 to {MAX_LAYERS} are possible")
        layers = []
        for index in range(count):
            group = self._child(root, str(index))
            if not isinstance(group, self.h5py.Group):
                raise self._error(f"has {count} layers, yet no /layer/{index}")
            fields = self._fields(group)
            kind = fields.pop("type", None)
            if not isinstance(kind, str) or not kind.isidentifier():
                raise self._error(f"its /layer/{index}/type is no word")
            layers.append(Layer(index, kind, fields))
        return layers, self._steps(file)

    def _steps(self, file: Any) -> int | None:
        group = self._child(file, "simulation")
        data = self._child(group, "tSample") if isinstance(group, self.h5py.Group) else None
        if not isinstance(data, self.h5py.Dataset):
            return None
        value = self._value(data)
        whole = not isinstance(value, str) and value.size == 1 and float(value.item()).is_integer()
        if isinstance(value, str) or not whole or not 1 <= value.item() <= 2**16:
            raise self._error("its simulation/tSample is no number of steps, 1 to 65536 is possible")
        return int(value.item())

    def _child(self, group: Any, key: str) -> Any:
        """The member, or None; links that lead elsewhere are refused unseen."""
        link = group.get(key, getlink=True)
        if link is None:
            return None
        if not isinstance(link, self.h5py.HardLink):
            raise self._error(f"{group.name}/{key} is a link")
        return group[key]

    def _fields(self, group: Any, prefix: str = "", depth: int = 0) -> dict[str, Value]:
        """All datasets of a layer, of its neuron, and of complex weights."""
        keys = list(group)
        if len(keys) > MAX_FIELDS:
            raise self._error(f"{group.name} has {len(keys)} fields, {MAX_FIELDS} are possible")
        fields: dict[str, Value] = {}
        for key in keys:
            if len(key) > MAX_TEXT:
                raise self._error(f"{group.name} has a field whose name has {len(key)} letters")
            member = self._child(group, key)
            if isinstance(member, self.h5py.Dataset):
                fields[prefix + key] = self._value(member)
            elif isinstance(member, self.h5py.Group) and depth == 0:
                fields |= self._fields(member, f"{key}/", 1)
            else:
                raise self._error(f"{group.name}/{key} is neither a dataset nor a group of them")
        return fields

    def _value(self, data: Any) -> Value:
        """A dataset as numbers or as text, once its size, type and storage are seen to be harmless."""
        layout = data.id.get_create_plist()
        used = {layout.get_filter(i)[0] for i in range(layout.get_nfilters())}
        if data.is_virtual or layout.get_external_count() or used - FILTERS:
            raise self._error(f"{data.name} lies in another file, or needs a plug-in to be read")
        if data.shape is None:
            raise self._error(f"{data.name} is empty")
        size = math.prod(data.shape)
        chunk = math.prod(data.chunks or (1,))
        self.left -= size
        if self.left < 0 or len(data.shape) > 8 or chunk > MAX_ELEMENTS or data.dtype.itemsize > MAX_TEXT:
            problem = f"{data.name} has the shape {data.shape}, a network may have {MAX_ELEMENTS} numbers in all"
            raise self._error(problem, "make the network smaller")
        text = self.h5py.check_string_dtype(data.dtype) is not None
        if text and size == 1:
            return self._text(data)
        if text or data.dtype.kind not in "fiub":
            raise self._error(f"{data.name} holds {data.dtype}, numbers are needed")
        array = np.asarray(data[()])
        if array.dtype.kind == "f" and not bool(np.isfinite(array).all()):
            raise self._error(f"{data.name} holds NaN or infinity")
        return array.astype(np.int64) if array.dtype.kind == "b" else array

    def _text(self, data: Any) -> str:
        """One word, as a scalar or in a list of one."""
        value = np.asarray(data[()]).ravel()[0]
        word = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
        if len(word) > MAX_TEXT:
            raise self._error(f"{data.name} is a text of {len(word)} letters, {MAX_TEXT} are possible")
        return word
