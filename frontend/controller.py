"""Thresholds that leave a wanted number of connections: the controllers of `grad-r` and `stds`.

The wanted share of the weights falls geometrically from 1 to the density p over the first part of the run::

    wanted(t) = p ^ min(1, t / (SHARE * steps))

and a threshold delta is chosen over all tensors together, so that just as many lie above it (`bill`).

This is ours. The published rules have a constant strength instead, and what density comes out depends on the number
of steps, the learning rate and the data.
"""

from __future__ import annotations

SHARE = 0.6
"""Part of the run in which the wanted connectivity falls."""

LONGEST_INTERVAL = 10
"""Steps between two control points, at most: a delta that changes in every step lets the weakest connections come and
go, which costs accuracy."""


def wanted(density: float, step: int, steps: int) -> float:
    """The share of connections that is wanted after `step` of `steps` steps.

    >>> [round(wanted(0.01, step, steps=100), 3) for step in (0, 30, 60, 100)]
    [1.0, 0.1, 0.01, 0.01]
    """
    return float(density ** min(1.0, step / (SHARE * steps)))


def interval(steps: int) -> int:
    """Steps between two control points: a hundredth of the run, 1 to 10.

    >>> interval(1), interval(450), interval(30000)
    (1, 4, 10)
    """
    return max(1, min(LONGEST_INTERVAL, steps // 100))


def is_control_point(done: int, steps: int) -> bool:
    """Whether a threshold is chosen after `done` steps; always after the last one."""
    return done % interval(steps) == 0 or done >= steps
