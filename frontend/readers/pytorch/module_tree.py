"""A tree of pickled modules as values: class, settings, arrays and children, each checked for its type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import ModelFileError
from .module_pickle import Stub
from .pickle import printable

MAX_MODULES = 2000
MAX_DEPTH = 32
MAX_NAME = 200
MAX_ENTRIES = 2**18
"""Attributes, tensors and children of all modules of a tree, each as often as it is reached."""
MAX_WEIGHTS = 2**28
"""Of all layers of a network together."""
HOOKS = ("_forward_hooks", "_forward_pre_hooks")
HOOK_FLAGS = ("_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs", "_forward_hooks_always_called")
METHODS = ("__call__", "_call_impl", "_wrapped_call_impl", "_compiled_call_impl", "_slow_forward")
"""Set on an object they replace what its class computes, like everything whose name ends in ``forward``."""
PRUNING = "torch.nn.utils.prune."
SCALARS = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
CORRECT = "save the state dict of the model and give --architecture"


@dataclass(frozen=True, eq=False)
class Module:
    """One module of a pickled tree.

    Attributes:
        path: its name in the tree, ``net.0``; empty for the root.
        stub: what the pickle holds.
        attributes: of the object, without parameters, buffers and children.
        arrays: parameters and buffers that are there.
        children: by name, in the order of the file.
    """

    path: str
    stub: Stub
    attributes: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]
    children: Mapping[str, Module]

    @property
    def cls(self) -> str:
        """The dotted path of its class."""
        return self.stub.name

    @property
    def kind(self) -> str:
        """The last part of its class path."""
        return self.cls.rpartition(".")[2]

    @property
    def label(self) -> str:
        return self.path or self.kind

    @property
    def changes(self) -> list[str]:
        """What changes what its class computes: hooks (those of pruning are in its arrays already) and own methods."""
        hooks = [key for key in HOOKS if not _only_pruning(self.attributes.get(key))]
        hooks += [key for key in HOOK_FLAGS if not _is_empty(self.attributes.get(key))]
        own = [key for key in self.attributes if key.endswith("forward") or key.startswith("neuronal_")]
        own += [key for key in METHODS if self.attributes.get(key) is not None]
        return [key.strip("_").replace("_", " ") for key in hooks] + [f"its own {printable(key[:60])}" for key in own]

    def walk(self) -> Iterator[Module]:
        """It and everything below it."""
        yield self
        for child in self.children.values():
            yield from child.walk()


def _only_pruning(hooks: Any) -> bool:
    values = list(hooks.values()) if isinstance(hooks, dict) else [] if _is_empty(hooks) else [hooks]
    return all(isinstance(hook, Stub) and hook.name.startswith(PRUNING) for hook in values)


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, (dict, list, tuple)) and not value)


def module_tree(subject: str, root: Stub) -> Module:
    """The modules below `root`.

    Raises:
        ModelFileError: it is no module, or its tree is too large, too deep or holds itself.
    """
    return _Reader(subject).module("", root, 0)


def is_name(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_NAME and value.isprintable()


def unmask(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Tensors by name, those that `torch.nn.utils.prune` masks multiplied with their mask, as its hook does.

    >>> unmask({"weight_orig": np.array([2.0, 3.0]), "weight_mask": np.array([0.0, 1.0])})
    {'weight': array([0., 3.])}
    """
    plain = dict(arrays)
    for key in arrays:
        name = key.removesuffix("_orig")
        mask = arrays.get(f"{name}_mask")
        if name != key and mask is not None and mask.shape == arrays[key].shape:
            with np.errstate(all="ignore"):  # the layer says that it holds NaN
                plain[name] = plain.pop(key) * mask
            del plain[f"{name}_mask"]
    return plain


def is_module(value: Any) -> bool:
    return isinstance(value, Stub) and isinstance(value.state, dict) and "_modules" in value.state


class _Reader:
    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.count = 0
        self.entries = 0
        self.masked = 0

    def _error(self, problem: str) -> ModelFileError:
        return ModelFileError(self.subject, problem, CORRECT)

    def module(self, path: str, stub: Stub, depth: int) -> Module:
        self.count += 1
        if self.count > MAX_MODULES or depth > MAX_DEPTH:
            limit = f"{MAX_MODULES} modules" if depth <= MAX_DEPTH else f"{MAX_DEPTH} levels"
            raise self._error(f"has a tree of more than {limit}")
        if not is_module(stub):
            raise self._error(f"its module {path or stub.name!r} has no submodules and parameters as torch writes them")
        state = stub.state
        self._count(state)
        arrays = {**self._arrays(path, state, "_parameters"), **self._arrays(path, state, "_buffers")}
        self.masked += sum(array.size for key, array in arrays.items() if key.endswith("_orig"))
        if self.masked > MAX_WEIGHTS:
            raise self._error(f"has more than {MAX_WEIGHTS} masked weights")
        children = {}
        for name, child in self._table(path, state, "_modules").items():
            if isinstance(child, Stub):
                children[name] = self.module(f"{path}.{name}" if path else name, child, depth + 1)
            elif child is not None:
                raise self._error(f"its module {path or stub.name!r} has a child {name!r} that is no module")
        own = {key: value for key, value in state.items() if isinstance(key, str)}
        return Module(path, stub, own, unmask(arrays), children)

    def _table(self, path: str, state: Mapping[Any, Any], key: str) -> dict[str, Any]:
        table = state.get(key, {})
        if not isinstance(table, dict) or not all(map(is_name, table)):
            raise self._error(f"its module {path!r} has {key} that are no dict of names")
        self._count(table)
        return table

    def _count(self, entries: Mapping[Any, Any]) -> None:
        self.entries += len(entries)
        if self.entries > MAX_ENTRIES:
            raise self._error(f"has a tree with more than {MAX_ENTRIES} attributes and tensors")

    def _arrays(self, path: str, state: Mapping[Any, Any], key: str) -> dict[str, NDArray[Any]]:
        table = self._table(path, state, key)
        for name, array in table.items():
            if array is not None and not isinstance(array, np.ndarray):
                raise self._error(f"its module {path!r} has in {key} {name!r}, which is no tensor")
        return {name: array for name, array in table.items() if array is not None}


def number(value: Any) -> Any:
    """A number that may be a pickled NumPy scalar or a tensor of one element; anything else as it is."""
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "fiub":
        return value.item()
    if isinstance(value, Stub) and value.name in SCALARS and isinstance(value.args, tuple) and len(value.args) == 2:
        dtype, raw = value.args
        if isinstance(raw, Stub) and raw.name == "_codecs.encode" and len(raw.args) == 2:
            text = raw.args[0]
            raw = text.encode("latin1", "replace") if isinstance(text, str) and len(text) <= 16 else None
        code = dtype.args[0] if isinstance(dtype, Stub) and dtype.name == "numpy.dtype" and dtype.args else None
        order = dtype.state[1] if isinstance(dtype, Stub) and isinstance(dtype.state, tuple) and dtype.state[1:] else ""
        known = code in ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u1", "b1") and order in ("<", "|")
        if known and isinstance(code, str) and isinstance(raw, bytes) and len(raw) == int(code[1:]):
            return np.frombuffer(raw, code.replace("b1", "?")).item()
    return value
