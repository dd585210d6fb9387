"""Out of the compiler: the engine, Lava, counters, traces, evaluation over a data set.

>>> from snn_compile.runtime import run
>>> run.__name__
'run'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazily

if TYPE_CHECKING:
    from .backends import run as run
    from .result import Activity as Activity
    from .result import CoreCounts as CoreCounts
    from .result import RunResult as RunResult
    from .result import Trace as Trace

__getattr__ = lazily(
    __name__, {"run": ".backends"} | dict.fromkeys(("RunResult", "Activity", "CoreCounts", "Trace"), ".result")
)
