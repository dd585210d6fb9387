"""joblib on Dask, with every loss heard of.

joblib's own Dask backend (1.6) waits for ever where Dask gives a task up, and where a worker dies between the end of a
task and the fetching of its result; and where the cluster has one worker it computes in its own process.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import Any

from distributed import Client, WorkerPlugin, get_worker
from joblib.parallel import ParallelBackendBase

FETCHES = 20
"""Attempts to fetch a result whose worker is lost; Dask computes it again elsewhere in the meantime."""
FETCH_PAUSE_S = 0.25

Items = list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]]


def compute(items: Items) -> list[Any]:
    """The calls of one batch, in the worker.

    >>> compute([(pow, (2, 3), {})])
    [8]
    """
    return [function(*arguments, **options) for function, arguments, options in items]


class Carried(WorkerPlugin):
    """Work that lies in every worker process, also in those that start later.

    As the result of a task it would be copied from worker to worker, and Dask (2026.8) stands still now and then where
    a worker is lost while another one copies from it.
    """

    def __init__(self, name: str, work: Any) -> None:
        self.name = name
        self.work = work


@dataclass(frozen=True, eq=False)
class InDask:
    """Work that `Carried` has brought; called like the work itself."""

    name: str

    def __call__(self, *arguments: Any) -> Any:
        return get_worker().plugins[self.name].work(*arguments)


@contextlib.contextmanager
def carrier(client: Client) -> Iterator[Callable[[Any], InDask]]:
    """A function that brings work to all workers once; it is taken away at the end."""
    name = f"snn-compile-{uuid.uuid4().hex}"

    def carry(work: Any) -> InDask:
        client.register_plugin(Carried(name, work))
        return InDask(name)

    try:
        yield carry
    finally:
        with contextlib.suppress(Exception):  # the scheduler may be gone, or nothing was brought
            client.unregister_worker_plugin(name)


class DaskBackend(ParallelBackendBase):
    """For `joblib.parallel_config(backend=DaskBackend(client, slots))`; results come one by one."""

    supports_retrieve_callback = True

    def __init__(self, client: Client, slots: int) -> None:
        super().__init__()
        self._client = client
        self._slots = slots
        self._pending: set[Any] = set()

    def effective_n_jobs(self, n_jobs: int) -> int:
        """At least 2: joblib takes 1 for a reason to stay in this process."""
        return max(2, self._slots)

    def submit(self, func: Any, callback: Callable[[Any], None]) -> Any:
        """Sends a batch; the callback gets its results, or the error instead of them."""
        outcome: Future[Any] = Future()

        async def follow() -> None:
            try:
                out = await self._computed(func.items)
            except (Exception, CancelledError) as error:
                out = error
            outcome.set_result(out)
            callback(out)

        self._client.loop.add_callback(follow)
        return outcome

    async def _computed(self, items: Items) -> Any:
        future = self._client.submit(compute, items, key=f"snn-compile-range-{uuid.uuid4().hex}", pure=False)
        self._pending.add(future)
        try:
            for attempt in range(FETCHES):
                error = await future.exception()
                if error is not None:
                    return error
                try:
                    return (await self._client.gather([future]))[0]
                except OSError:
                    if attempt + 1 == FETCHES:
                        raise
                await asyncio.sleep(FETCH_PAUSE_S)
        finally:
            self._pending.discard(future)

    def retrieve_result_callback(self, out: Any) -> Any:
        """The results of a batch, or what came instead of them, raised."""
        if isinstance(out, BaseException):
            raise out
        return out

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Takes back what has not been computed; also for those who see that no worker is left."""
        self._client.cancel(list(self._pending))
