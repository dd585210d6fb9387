"""A PyTorch file of another framework: a pickled module, or a state dict with a description of its layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ....compiler.network import Network
from ....errors import ModelFileError
from ..options import ReadOptions
from .architecture import network_from_architecture
from .archive import TorchArchive
from .checkpoint import FORMAT, read_checkpoint
from .module_pickle import ModuleUnpickler
from .module_tree import MAX_WEIGHTS, Module, is_module, module_tree, unmask
from .modules import network_from_module
from .pickle import MAX_PICKLE
from .state_dict import find_model, no_model
from .tensors import Storages

SAVE = "save the model, or its state dict and give --architecture"


def read_torch(path: str | Path, options: ReadOptions | None = None) -> Network:
    """The network in a file of `torch.save`; nothing in it is executed, and torch is not needed.

    A module is read where it is made of Sequentials; with `options.architecture` only its tensors are used. A
    checkpoint of `snn-train` is read as `read_checkpoint` does.

    Raises:
        ModelFileError: the file is missing, damaged, of another kind, or does not say what nobody else says.
        UnsupportedModelError: a layer cannot be carried.
        NetworkError, UnsupportedError: the layers do not fit each other or the tensors.

    >>> read_torch("missing.pt")
    Traceback (most recent call last):
    snn_compile.errors.ModelFileError: missing.pt: does not exist; check the path
    """
    path, options = Path(path), options or ReadOptions()
    with TorchArchive(path) as archive:
        storages = Storages(archive)
        unpickler = ModuleUnpickler(str(path), storages.storage, storages.tensor, storages.tensor_of_type)
        content = unpickler.load(archive.read("data.pkl", MAX_PICKLE))
    if isinstance(content, dict) and content.get("format") == FORMAT:
        options.refuse_others(path, "a checkpoint of snn-train", ())
        return read_checkpoint(path)
    options.refuse_others(path, "a PyTorch file", ("steps", "encoding", "max_value", "input_shape", "architecture"))
    found = find_model(content)
    if found is None:
        raise ModelFileError(str(path), no_model(content), SAVE)
    if is_module(found):
        root = module_tree(str(path), found)
        if options.architecture is None:
            return network_from_module(str(path), root, options)
        found = _state_dict(root)
    if options.architecture is None:
        problem = f"is a state dict of {len(found)} tensors, which does not say how they are connected"
        raise ModelFileError(str(path), problem, "give --architecture with its layers")
    if sum(array.size for key, array in found.items() if key.endswith("_orig")) > MAX_WEIGHTS:
        raise ModelFileError(str(path), f"has more than {MAX_WEIGHTS} masked weights", "make the masks permanent")
    return network_from_architecture(str(path), unmask(found), options.architecture, options)


def _state_dict(root: Module) -> dict[str, NDArray[Any]]:
    return {
        f"{module.path}.{name}" if module.path else name: array
        for module in root.walk()
        for name, array in module.arrays.items()
    }
