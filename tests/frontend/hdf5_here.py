"""HDF5 files read in this process: only for valid files, and those on which the library is known to come back."""

from __future__ import annotations

from snn_compile.errors import ModelFileError
from snn_compile.frontend.readers.hdf5 import tree as hdf5_tree
from snn_compile.frontend.readers.regular import open_file


def tree_here(path):
    open_file(path).close()
    try:
        return hdf5_tree.read(str(path))
    except hdf5_tree.RefusedError as error:
        raise ModelFileError(str(path), error.problem, error.way_out) from error
