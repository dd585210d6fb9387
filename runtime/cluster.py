"""Where ranges of samples are computed: processes of this machine, or a cluster of Dask or Ray, as joblib sees them."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ..errors import BackendError

REACH_S = 5.0
"""A scheduler has to answer within so many seconds."""
PATIENCE_S = 10.0
"""A cluster may be without any worker for so long; killed workers that a nanny restarts are back by then."""

RAY_ACTORS = {"scheduling_strategy": "SPREAD", "max_restarts": 3, "max_task_retries": 3}
"""Workers on all machines; one that is lost is started again, and computes its range again."""


@dataclass(frozen=True)
class Cluster:
    """What `workers.run_parts` needs to know of the place where it computes.

    Attributes:
        name: as the user knows it.
        slots: ranges that are computed at the same time.
        threads: threads that the engine may start for one range.
        settings: of `joblib.parallel_config`.
        in_flight: ranges that are on their way or computed at the same time.
        streams: whether results come one by one; joblib's Ray backend gives all of them at the end.
        share: brings a value there once; its result stands for the value in the arguments of a task.
        problem: why the cluster cannot go on; None while it can.
    """

    name: str
    slots: int
    threads: int
    settings: Mapping[str, Any]
    in_flight: int
    streams: bool = True
    share: Callable[[Any], Any] = field(default=lambda value: value)
    problem: Callable[[], str | None] = field(default=lambda: None)


@contextlib.contextmanager
def connected(address: str | None, workers: int | None) -> Iterator[Cluster]:
    """The cluster at an address; left again at the end, whatever happened.

    Args:
        address: None: processes of this machine; ``tcp://HOST:PORT`` or ``dask:ADDRESS``: the Dask scheduler there;
            ``ray``: the Ray that runs on this machine; ``ray://HOST:PORT``: a Ray Client server.
        workers: ranges at a time; None: as many as the cluster has room for, one on this machine.

    Raises:
        BackendError: it cannot be reached, has no workers, or its library is not installed.

    >>> with connected(None, 2) as cluster:
    ...     cluster.name, cluster.slots
    ('workers', 2)
    """
    if address is None:
        import joblib

        count = workers or 1
        threads = max(1, joblib.cpu_count() // count)
        settings = {"backend": "loky", "inner_max_num_threads": threads, "initializer": _ignore_interrupts}
        yield Cluster("workers", count, threads, settings if count > 1 else {"backend": "sequential"}, 2 * count)
    elif address == "ray" or address.startswith("ray://"):
        with _ray(address, workers) as cluster:
            yield cluster
    else:
        with _dask(address.removeprefix("dask:"), workers) as cluster:
            yield cluster


def _ignore_interrupts() -> None:
    """Ctrl-C reaches all processes of a terminal; the first one ends the others."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _need(library: str, name: str) -> None:
    if importlib.util.find_spec(library) is None:
        raise BackendError(
            name, f"needs {library}, which is not installed", 'install the extra: pip install "snn-compile[cluster]"'
        )


def _reach(address: str, schemes: tuple[str, ...]) -> None:
    """Refuses an address that is none, or where nobody listens.

    A Dask scheduler speaks first, 8 bytes with the length of its greeting; its client waits for that for ever.
    """
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if host is None or port is None or parts.scheme not in schemes:
        raise BackendError(address, "is no address of a cluster", "give tcp://HOST:PORT, ray or ray://HOST:PORT")
    try:
        with socket.create_connection((host, port), timeout=REACH_S) as connection:
            greeting = connection.recv(8, socket.MSG_WAITALL) if parts.scheme == "tcp" else b""
    except OSError as error:
        raise _unreachable(address, error.strerror or str(error)) from error
    if parts.scheme == "tcp" and not 0 < int.from_bytes(greeting, "little") < 2**20:
        raise BackendError(address, "is no Dask scheduler", "give the address that `dask scheduler` prints")


def _unreachable(address: str, why: str) -> BackendError:
    return BackendError(
        address,
        f"does not answer within {REACH_S:g} s ({' '.join(why.split())[:200]})",
        "check the address and that it runs",
        limit=REACH_S,
    )


def _none_left(address: str) -> BackendError:
    return BackendError(
        address, f"has had no worker for {PATIENCE_S:g} s", "start workers there, then run again", limit=PATIENCE_S
    )


@contextlib.contextmanager
def _dask(address: str, workers: int | None) -> Iterator[Cluster]:
    _need("distributed", address)
    _reach(address, ("tcp", "tls"))
    import dask
    import distributed

    from .dask_backend import DaskBackend, carrier

    quiet = {"distributed.admin.large-graph-warning-threshold": "1TB"}  # ranges of samples are large
    with _silent("distributed"), dask.config.set(quiet):
        try:
            client = distributed.Client(address, timeout=REACH_S, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise _unreachable(address, str(error)) from error
        try:
            slots = _wait_for_workers(client, address)
            backend = DaskBackend(client, workers or slots)
            with _watched(client, backend.abort_everything) as problem, carrier(client) as share:
                flight = workers or 2 * slots
                yield Cluster(address, workers or slots, 1, {"backend": backend}, flight, share=share, problem=problem)
        finally:
            with contextlib.suppress(Exception):  # the scheduler may be gone, and what went wrong is being told
                client.close(timeout=REACH_S)


def _wait_for_workers(client: Any, address: str) -> int:
    """The threads of all workers, at least one."""
    deadline = time.monotonic() + PATIENCE_S
    while not (slots := sum(map(int, client.nthreads().values()))):
        if time.monotonic() > deadline:
            raise _none_left(address)
        time.sleep(0.2)
    return slots


@contextlib.contextmanager
def _watched(client: Any, cancel: Callable[[], None]) -> Iterator[Callable[[], str | None]]:
    """Cancels what waits for a worker when there has been none for too long; Dask itself would wait for ever."""
    over, found = threading.Event(), threading.Event()

    def watch() -> None:
        seen = time.monotonic()
        while not over.wait(0.5):
            with contextlib.suppress(Exception):  # a lost scheduler cancels everything without our help
                seen = time.monotonic() if client.nthreads() else seen
                if time.monotonic() - seen > PATIENCE_S:
                    found.set()
                    cancel()

    thread = threading.Thread(target=watch, name="snn-compile-watch", daemon=True)
    thread.start()
    try:
        yield lambda: f"has had no worker for {PATIENCE_S:g} s" if found.is_set() else None
    finally:
        over.set()
        thread.join(REACH_S)


def _here() -> str:
    """The address of the Ray that runs on this machine; one that has died may still stand in its notes."""
    from ray._private.services import canonicalize_bootstrap_address

    found = str(canonicalize_bootstrap_address("auto"))
    try:
        _reach(f"ray://{found}", ("ray",))
    except BackendError as error:
        raise ConnectionError(str(error)) from error
    return found


@dataclass(frozen=True, eq=False)
class InRay:
    """Work that lies in Ray's store, once per machine; called like the work itself."""

    reference: Any

    def __call__(self, *arguments: Any) -> Any:
        import ray

        return ray.get(self.reference)(*arguments)


@contextlib.contextmanager
def _ray(address: str, workers: int | None) -> Iterator[Cluster]:
    _need("ray", address)
    if address != "ray":
        _reach(address, ("ray",))
    import ray
    from ray.util.joblib import register_ray

    if ray.is_initialized():
        raise BackendError(address, "this process is connected to a Ray already", "call ray.shutdown() first")
    with _silent("ray"):
        try:
            where = _here() if address == "ray" else address
            ray.init(address=where, logging_level=logging.CRITICAL, log_to_driver=False)
        except Exception as error:  # Ray's own are many: another version, a server that has not started yet
            if address == "ray" and isinstance(error, ConnectionError):
                raise BackendError(address, "does not run on this machine", "start it: ray start --head") from error
            why = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            way_out = "check that it runs the same versions of Python and Ray, then try again"
            raise BackendError(address, f"cannot be joined ({why})", way_out) from error
        try:
            slots = int(ray.cluster_resources().get("CPU", 0))
            if not slots:
                raise BackendError(address, "has no CPU to compute on", "start a Ray node with CPUs", value=0)
            register_ray()
            count = max(2, min(workers or slots, slots))  # joblib computes for one worker in this process
            settings = {"backend": "ray", "ray_remote_args": RAY_ACTORS}
            yield Cluster(address, count, 1, settings, 2 * count, streams=False, share=lambda v: InRay(ray.put(v)))
        finally:
            ray.shutdown()


@contextlib.contextmanager
def _silent(logger: str) -> Iterator[None]:
    """What a library logs is told in one sentence by us, or is of no interest."""
    before = {name: logging.getLogger(name).level for name in [logger, *logging.root.manager.loggerDict]}
    mine = [name for name in before if name == logger or name.startswith(f"{logger}.")]
    for name in mine:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for name in mine:
            logging.getLogger(name).setLevel(before[name])
