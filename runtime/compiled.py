"""How the engine's functions are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., Any])
_SETTINGS: Any = {"cache": True, "nogil": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def inner(function: F) -> F:
    """A function that only compiled ones call: without the way in from Python, which takes as long to compile."""
    return njit(function, **_SETTINGS)  # type: ignore[no-any-return]


def inlined(function: F) -> F:
    """The same, its body copied to where it is called: a call with many arrays costs more than a short list."""
    return njit(function, inline="always", **_SETTINGS)  # type: ignore[no-any-return]


def instruction(function: Callable[..., Any]) -> Any:
    """A function that writes down LLVM's instructions itself."""
    return intrinsic(function)
