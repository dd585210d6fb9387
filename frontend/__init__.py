"""Into the compiler: readers of trained networks, training, and Grad R for other people's training loops.

>>> from snn_compile.frontend import GradR  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazily

if TYPE_CHECKING:
    from .optimiser import GradR as GradR

__getattr__ = lazily(__name__, {"GradR": ".optimiser"})
