"""From a trained network to a program: the passes, the types between them, the program file, the report.

>>> from snn_compile.compiler import load
>>> load.__name__
'load'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .file import load as load
    from .file import save as save
    from .pipeline import compile_network as compile_network
    from .program import Program as Program

_PUBLIC = {"load": ".file", "save": ".file", "compile_network": ".pipeline", "Program": ".program"}


def __getattr__(name: str) -> Any:
    """Imports on first use: a pass needs only its neighbours."""
    import importlib

    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name], __name__), name)
    globals()[name] = value
    return value
