"""Readers of model files: a file in, a `Network` out. Nothing in a file is ever executed, and torch is not needed."""

from __future__ import annotations

from pathlib import Path

from ...compiler.network import Network
from ...errors import ModelFileError
from .checkpoint import read_checkpoint

HDF5 = b"\x89HDF\r\n\x1a\n"


def read_model(path: str | Path) -> Network:
    """The network in a model file, whose format is recognised by its content and not by its name.

    Raises:
        ModelFileError: the file is missing, broken, holds code, or is in a format that is not read.
        NetworkError, UnsupportedError: the network in it contradicts itself, or has a layer that nobody knows here.

    >>> read_model("missing.pt")
    Traceback (most recent call last):
    snn_compile.errors.ModelFileError: missing.pt: does not exist; check the path
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(len(HDF5))
    except OSError:
        start = b""  # the reader below says what is wrong
    if start == HDF5:
        raise ModelFileError(
            str(path), "is an HDF5 file, whose networks are not read", "give a checkpoint that snn-train wrote"
        )
    return read_checkpoint(path)


__all__ = ["read_checkpoint", "read_model"]
