"""Out of the compiler: the engine, Lava, counters, traces, evaluation over a data set.

>>> from snn_compile.runtime import run
>>> run.__name__
'run'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .backends import run as run
    from .result import Activity as Activity
    from .result import CoreCounts as CoreCounts
    from .result import RunResult as RunResult
    from .result import Trace as Trace

_PUBLIC = dict.fromkeys(("RunResult", "Activity", "CoreCounts", "Trace"), ".result") | {"run": ".backends"}


def __getattr__(name: str) -> Any:
    """Imports on first use: numba takes a second, and most modules here need only their neighbour."""
    import importlib

    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name], __name__), name)
    globals()[name] = value
    return value
