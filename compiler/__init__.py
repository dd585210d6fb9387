"""From a trained network to a program: the passes, the types between them, the program file, the report.

>>> from snn_compile.compiler import load
>>> load.__name__
'load'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazily

if TYPE_CHECKING:
    from .file import load as load
    from .file import save as save
    from .pipeline import compile_network as compile_network
    from .program import Program as Program

__getattr__ = lazily(
    __name__, {"load": ".file", "save": ".file", "compile_network": ".pipeline", "Program": ".program"}
)
