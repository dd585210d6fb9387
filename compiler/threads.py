"""Work on cores in parallel: compiled code and NumPy leave the interpreter to the other threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""Threads that work at once; what comes out does not depend on it."""


def each(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """What `work` gives for each item, in their order.

    >>> list(each(abs, [-2, 1]))
    [2, 1]
    """
    with pool() as threads:
        yield from threads.map(work, items)


@contextmanager
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads; what waits is given up where one fails or the user ends it."""
    threads = ThreadPoolExecutor(THREADS)
    try:
        yield threads
    finally:
        threads.shutdown(cancel_futures=True)
