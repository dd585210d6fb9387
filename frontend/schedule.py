"""The learning rate over a run: what `snn-train` and the optimiser for other loops have in common."""

from __future__ import annotations

import math


def cosine(lr: float, step: int, steps: int) -> float:
    """The learning rate of the step `step` of `steps`: from `lr` along a cosine to 0.

    >>> [round(cosine(0.01, step, 100), 5) for step in (0, 50, 99)]
    [0.01, 0.005, 0.0]
    """
    return lr * (1 + math.cos(math.pi * step / steps)) / 2
