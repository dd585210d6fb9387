"""Which kind of HDF5 file a model is."""

from __future__ import annotations

from pathlib import Path

from ....compiler.network import Network
from ....errors import ModelFileError
from ..net.network import network_from_net_tree
from ..nir.graph import network_from_nir_tree
from ..options import ReadOptions
from .child import read_tree

WAY_OUT = "give a NIR graph, a lava-dl .net, a PyTorch file or a checkpoint of snn-train"


def read_hdf5(path: Path, options: ReadOptions) -> Network:
    """The network in a NIR graph or a lava-dl `.net`.

    Raises:
        ModelFileError: the file is damaged, compiled already, or neither of the two.
        NetworkError, UnsupportedError: what the readers of the two raise.
    """
    tree = read_tree(path)
    if "node" in tree:
        options.refuse_others(path, "a NIR graph", ("dt", "steps", "encoding", "max_value", "reset"))
        return network_from_nir_tree(path, tree, options)
    if "layer" in tree:
        options.refuse_others(path, "a .net of lava-dl", ("steps", "encoding", "max_value", "input_shape"))
        return network_from_net_tree(path, tree, options)
    raise ModelFileError(str(path), "is an HDF5 file, but no model that is read", WAY_OUT)
