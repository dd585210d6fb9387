"""Readers of model files: a file in, a `Network` out. Nothing in a file is ever executed, and torch is not needed."""

from __future__ import annotations

from pathlib import Path

from ...compiler.network import Network
from .options import ReadOptions
from .pytorch.checkpoint import read_checkpoint
from .regular import open_file

HDF5 = b"\x89HDF\r\n\x1a\n"


def read_model(path: str | Path, options: ReadOptions | None = None) -> Network:
    """The network in a model file, whose format is recognised by its content and not by its name.

    Args:
        path: a NIR graph or lava-dl `.net` (HDF5), a file of `torch.save`, or a checkpoint of snn-train.
        options: what the file does not say; `Network.findings` has what was assumed and approximated.

    Raises:
        ModelFileError: the file is missing, broken, holds code, or is in a format that is not read.
        NetworkError, UnsupportedError: the network in it contradicts itself, or has a layer that nobody knows here.

    >>> read_model("missing.pt")
    Traceback (most recent call last):
    snn_compile.errors.ModelFileError: missing.pt: does not exist; check the path
    """
    path = Path(path)
    with open_file(path) as file:
        start = file.read(len(HDF5))
    given = options or ReadOptions()
    if start == HDF5:
        from .hdf5.read import read_hdf5

        return read_hdf5(path, given)
    from .pytorch.file import read_torch

    return read_torch(path, given)


__all__ = ["ReadOptions", "read_checkpoint", "read_model"]
