"""Builds zips as `torch.save` writes them, without torch, so that tests can put anything into them."""

import io
import zipfile
from typing import ClassVar

import numpy as np

ORDERED_DICT = b"ccollections\nOrderedDict\n"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"


def text(value):
    raw = value.encode()
    return b"X" + len(raw).to_bytes(4, "little") + raw


def number(value):
    raw = value.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def sequence(values):
    return b"(" + b"".join(map(number, values)) + b"t"


class Tensor:
    """A tensor for `save`: an array, or a layout on a storage of the given kind."""

    kinds: ClassVar = {
        **{"f8": "Double", "f4": "Float", "f2": "Half", "i8": "Long", "i4": "Int", "i2": "Short"},
        **{"i1": "Char", "u1": "Byte", "b1": "Bool"},
    }

    def __init__(self, array, kind=None, size=None, stride=None, offset=0, elements=None, key=None):
        array = np.asarray(array)
        code = array.dtype.str[1:]
        self.kind = kind or self.kinds[code]
        self.raw = array.tobytes(order="A")
        self.size = array.shape if size is None else size
        self.stride = tuple(s // array.itemsize for s in array.strides) if stride is None else stride
        self.offset, self.key = offset, key
        self.elements = array.size if elements is None else elements


class Pickler:
    """Plain values and `Tensor`s as protocol 2, as torch.save orders them; bytes are copied as they are."""

    def __init__(self):
        self.storages = {}

    def dumps(self, value):
        return b"\x80\x02" + self.value(value) + b"."

    def value(self, value):
        if isinstance(value, bytes):
            return value
        if isinstance(value, Tensor):
            return self.tensor(value)
        if isinstance(value, dict):
            return b"}(" + b"".join(self.value(k) + self.value(v) for k, v in value.items()) + b"u"
        if isinstance(value, (list, tuple)):
            items = b"".join(map(self.value, value))
            return b"](" + items + b"e" if isinstance(value, list) else b"(" + items + b"t"
        if value is None or isinstance(value, bool):
            return {None: b"N", True: b"\x88", False: b"\x89"}[value]
        if isinstance(value, int):
            return number(value)
        if isinstance(value, float):
            return b"G" + np.array(value, ">f8").tobytes()
        return text(value)

    def tensor(self, t):
        key = t.key or str(len(self.storages))
        self.storages[key] = t.raw
        storage = b"(" + text("storage") + f"ctorch\n{t.kind}Storage\n".encode() + text(key) + text("cpu")
        storage += number(t.elements) + b"tQ"
        layout = number(t.offset) + sequence(t.size) + sequence(t.stride)
        return REBUILD + b"(" + storage + layout + b"\x89" + ORDERED_DICT + b")RtR"


def save(path, content, *, pickle=None, extra=(), compression=zipfile.ZIP_STORED, byteorder=b"little", prefix="a"):
    """Writes a zip with the pickle of `content` (or `pickle` as it is) to `path`; returns the path."""
    pickler = Pickler()
    data = pickler.dumps(content) if pickle is None else pickle
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        file.writestr(f"{prefix}/data.pkl", data)
        if byteorder is not None:
            file.writestr(f"{prefix}/byteorder", byteorder)
        for key, raw in pickler.storages.items():
            file.writestr(f"{prefix}/data/{key}", raw)
        for name, raw in extra:
            file.writestr(name, raw)
    path.write_bytes(buffer.getvalue())
    return path


def checkpoint(**changes):
    """A small valid checkpoint as plain values; `changes` replace its parts."""
    content = {
        "format": "snn-compile checkpoint",
        "version": 1,
        "architecture": {
            "nodes": [
                {"kind": "Input", "name": "x", "shape": [3], "max_value": 16, "encoding": "graded"},
                {"kind": "Linear", "name": "fc"},
                {"kind": "LIF", "name": "y", "tau": 2.0, "threshold": 1.0},
            ],
            "edges": [["x", "fc"], ["fc", "y"]],
            "steps": 4,
        },
        "state_dict": {"fc.weight": Tensor(np.arange(6, dtype=np.float32).reshape(2, 3))},
        "rates": {"y": Tensor(np.array([0.5, 0.25], np.float32))},
        "calibration": Tensor(np.array([[0, 8, 16]], np.uint8)),
        "facts": {"data": "none", "test_accuracy": 0.5, "density": None},
    }
    return {**content, **changes}
