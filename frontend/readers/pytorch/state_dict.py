"""State dicts as training scripts leave them: beside other things, under any key, behind names of wrappers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .module_pickle import Stub
from .module_tree import is_module
from .pickle import printable

NESTED = ("state_dict", "model_state_dict", "net", "model", "network", "module")
"""Keys under which training scripts put the network beside optimiser and epoch."""
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
"""What `DataParallel`, `torch.compile`, Lightning and classes around a network put before all names."""
AVERAGED = "n_averaged"
"""How many states `AveragedModel` has averaged: the one name that it does not put behind its prefix."""

MAX_WRAPPERS = 8

State = Mapping[str, NDArray[Any]]


def find_model(content: Any) -> Any:
    """The module or the dict of tensors, at the top, under a usual key, or the only one under any; else None."""
    for value in [content, *([content.get(key) for key in NESTED] if isinstance(content, dict) else [])]:
        if is_module(value) or _is_state(value):
            return value
    nested = _nested(content)
    return content[nested[0]] if len(nested) == 1 else None


def no_model(content: Any) -> str:
    """Why `find_model` found none."""
    nested = _nested(content)
    if nested:
        return f"holds {len(nested)} dicts of tensors ({', '.join(map(_key, nested[:3]))})"
    for value in [content, *(content.values() if isinstance(content, dict) else [])]:
        if isinstance(value, Stub):
            return f"names {value.name}, which is code, not data"
    items = list(content.items()) if isinstance(content, dict) else []
    strange = next((item for item in items if not _is_entry(item)), None)
    if strange and any(map(_is_entry, items)):
        return f"holds beside its tensors {_key(strange[0])}, a {type(strange[1]).__name__}"
    return "holds neither a module nor a state dict"


def _nested(content: Any) -> list[Any]:
    return [key for key, value in content.items() if _is_state(value)] if isinstance(content, dict) else []


def _is_state(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(map(_is_entry, value.items()))


def _is_entry(item: tuple[Any, Any]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], np.ndarray)


def _key(key: Any) -> str:
    return printable(str(key)[:60]) if isinstance(key, (str, int)) else f"a {type(key).__name__}"


def without_prefix(state: State, layers: Iterable[str], ignored: Iterable[str] = ()) -> tuple[State, str]:
    """The tensors without what stands before the names of all of them, and that; a layer may be called so, too.

    Those that are `ignored`, and the counter of `AveragedModel`, need not have it.

    >>> without_prefix({"module.net.fc.weight": np.ones(1), "n_averaged": np.ones(())}, ["fc"])
    ({'fc.weight': array([1.])}, 'module.net.')
    """
    layers, ignored, left_out = tuple(layers), tuple(ignored), ""
    for _ in range(MAX_WRAPPERS):
        kept = [key for key in state if key != AVERAGED and not is_ignored(key, left_out, ignored)]
        shared = (p for p in PREFIXES if kept and all(key.startswith(p) and key != p for key in kept))
        prefix = next((p for p in shared if not any(f"{name}.".startswith(p) for name in layers)), None)
        if prefix is None:
            break
        state = {key.removeprefix(prefix): array for key, array in state.items() if key.startswith(prefix)}
        left_out += prefix
    return state, left_out


def is_ignored(key: str, prefix: str, ignored: Iterable[str]) -> bool:
    """Whether a tensor, or a part of the network that it belongs to, is named, with or without the prefix."""
    parts = tuple(f"{name}." for name in ignored)
    return f"{key}.".startswith(parts) or f"{prefix}{key}.".startswith(parts)


def names(keys: Iterable[str]) -> str:
    """The first three names of tensors, for a sentence.

    >>> names(["a.weight", "a.bias", "b.weight", "b.bias"])
    'a.weight, a.bias, b.weight, …'
    """
    keys = list(keys)
    return ", ".join([printable(key[:60]) for key in keys[:3]] + ["…"] * (len(keys) > 3))
