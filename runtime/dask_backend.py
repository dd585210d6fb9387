"""joblib's Dask backend without its two gaps: lost tasks that nobody hears of, and one worker that is never asked."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from joblib._dask import DaskDistributedBackend


class DaskBackend(DaskDistributedBackend):
    """For `joblib.parallel_config(backend=DaskBackend(client=client))`.

    joblib 1.6 does not report a task that Dask gave up (its worker was killed again and again), so that
    `joblib.Parallel` waits for ever; and where there is one worker it computes in its own process.
    """

    def effective_n_jobs(self, n_jobs: int) -> int:
        """At least 2: joblib takes 1 for a reason to stay in this process."""
        return max(2, int(super().effective_n_jobs(n_jobs)))

    def submit(self, func: Any, callback: Any = None) -> Any:
        """As joblib's; the callback hears of errors too."""
        future = super().submit(func, callback)

        def tell(done: Future[Any]) -> None:
            error = done.exception()
            if error is not None and callback is not None:
                callback(error)

        future.add_done_callback(tell)
        return future

    def retrieve_result_callback(self, out: Any) -> Any:
        """The results of a task, or what Dask says instead of them, raised."""
        if isinstance(out, BaseException):
            raise out
        return super().retrieve_result_callback(out)
