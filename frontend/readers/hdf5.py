"""Which kind of HDF5 file a model is."""

from __future__ import annotations

from pathlib import Path

from ...compiler.network import Network
from ...errors import ModelFileError
from .hdf5_check import check_hdf5
from .net import read_net
from .nir_graph import read_nir
from .options import ReadOptions

WAY_OUT = "give a NIR graph, a lava-dl .net, a PyTorch file or a checkpoint of snn-train"


def read_hdf5(path: Path, options: ReadOptions) -> Network:
    """The network in a NIR graph or a lava-dl `.net`.

    Raises:
        ModelFileError: the file is damaged, or neither of the two.
        NetworkError, UnsupportedError: what the readers of the two raise.
    """
    import h5py

    check_hdf5(path)
    try:
        with h5py.File(path, "r") as file:
            names = {name for name in ("node", "layer", "manifest", "trace") if name in file}
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise ModelFileError(str(path), "is a damaged HDF5 file", "copy or export it again") from error
    if "node" in names:
        options.refuse_others(path, "a NIR graph", ("dt", "steps", "encoding", "max_value", "reset"))
        return read_nir(path, options)
    if "layer" in names:
        options.refuse_others(path, "a .net of lava-dl", ("steps", "encoding", "max_value", "input_shape"))
        return read_net(path, options)
    if "manifest" in names:
        raise ModelFileError(str(path), "is compiled already (a program or a trace)", "give the model itself")
    raise ModelFileError(str(path), "is an HDF5 file, but no model that is read", WAY_OUT)
