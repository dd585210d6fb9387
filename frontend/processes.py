"""Several processes that train one network, started by `torchrun`; one process, where nothing says otherwise.

Every process draws the same order, samples and weights, computes its part of each batch, and all add their gradients.
The sums have the same bits everywhere, so weights, masks and thresholds stay equal without being sent. What goes wrong
in one process ends all of them, and the first one says it.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import ProcessError, SnnCompileError, UnsupportedError

if TYPE_CHECKING:  # torch is slow to import, and the command line reads `rank`
    from torch import Tensor

T = TypeVar("T")


def rank() -> int:
    """This process among those that `torchrun` started, from 0."""
    return int(os.environ["RANK"]) if _size() > 1 else 0


def _size() -> int:
    known = all(os.environ.get(name, "").isdigit() for name in ("RANK", "WORLD_SIZE"))
    return max(1, int(os.environ["WORLD_SIZE"])) if known else 1


def speaks() -> bool:
    """Whether this process reports errors: of those that have joined, the first one does for all."""
    return rank() == 0 or not joined()


def joined() -> bool:
    """Whether this process has found the others of its run."""
    return bool(_join.cache_info().currsize)


class World:
    """The processes of a run, seen from one of them; `world` makes it.

    Attributes:
        rank, size: which process this is, from 0, of how many.
        device: where its tensors are: ``cpu``, ``cuda:0`` …
        interrupted: this process was told to stop; the others hear it at the next `add`.

    >>> World().first, World().count(3)
    (True, 3)
    """

    def __init__(self, rank: int = 0, size: int = 1, device: str = "cpu", store: Any = None) -> None:
        self.rank, self.size, self.device = rank, size, device
        self.interrupted = False
        self._store = store

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, the same bits in each.

        Raises:
            ProcessError: another process has ended.
        """
        return self._reduced(tensor.clone(), "SUM") if self.size > 1 else tensor

    def add(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The sum of each tensor over all processes, in one message.

        Raises:
            KeyboardInterrupt: a process was told to stop; in all processes at the same call.
            ProcessError: another process has ended.
        """
        import torch

        flag = torch.tensor([float(self.interrupted)], device=self.device)
        flat = self.sum(torch.cat([*(tensor.flatten() for tensor in tensors), flag]))
        if flat[-1] > 0:
            raise KeyboardInterrupt
        pieces = torch.split(flat[:-1], [tensor.numel() for tensor in tensors])
        return [piece.reshape(tensor.shape) for piece, tensor in zip(pieces, tensors, strict=True)]

    def count(self, number: int) -> int:
        """The sum of a whole number over all processes."""
        if self.size == 1:
            return number
        import torch

        return int(self.sum(torch.tensor([number], device=self.device)))

    def together(self, action: Callable[[], T]) -> T:
        """What `action` gives here, if it succeeds in every process; it must not talk to the others itself.

        Raises:
            SnnCompileError, OSError, MemoryError: what it raised here.
            ProcessError: what it raised in another process.
        """
        if self.size == 1:
            return action()
        try:
            result = action()
        except (SnnCompileError, OSError, MemoryError) as error:
            self.tell(error)
            self.count(1)
            raise
        if self.count(0):
            raise self._lost()
        return result

    def check_same(self, tensors: Sequence[Tensor], epoch: int) -> None:
        """Compares a checksum of the tensors between the processes.

        Raises:
            KeyboardInterrupt: a process was told to stop; in all processes.
            ProcessError: they differ; in all processes.
        """
        if self.size == 1:
            return
        import torch

        if self.count(int(self.interrupted)):
            raise KeyboardInterrupt

        checksum = 0
        for tensor in tensors:
            checksum = zlib.crc32(tensor.detach().cpu().contiguous().numpy().tobytes(), checksum)
        ends = self._reduced(torch.tensor([checksum, -checksum], device=self.device), "MAX")
        if int(ends[0]) != -int(ends[1]):
            problem = f"the weights differ between the {self.size} processes after epoch {epoch}"
            raise ProcessError("training", problem, "use machines of one kind with the same PyTorch, or one process")

    def tell(self, error: BaseException) -> None:
        """Leaves word for the first process of why this one ends."""
        if self.size > 1 and not isinstance(error, ProcessError):
            text = " ".join(f"failed ({type(error).__name__}: {error})".split())
            parts = ["training", text, "see its output"]
            if isinstance(error, SnnCompileError):
                parts = [error.subject, error.problem, error.way_out]
            with contextlib.suppress(RuntimeError):
                self._store.set("error", json.dumps([f"process {self.rank}: {parts[0]}", *parts[1:]]))

    def _reduced(self, tensor: Tensor, operation: str) -> Tensor:
        import torch.distributed as dist

        try:
            dist.all_reduce(tensor, getattr(dist.ReduceOp, operation))
        except RuntimeError as error:  # gloo: the other end has closed the connection
            raise self._lost() from error
        return tensor

    def _lost(self) -> ProcessError:
        """Why another process has ended, as far as it has left word."""
        with contextlib.suppress(RuntimeError):
            if self._store.check(["error"]):
                return ProcessError(*json.loads(self._store.get("error")))
        return ProcessError("training", "another process of the run has ended", "see its output, then start all again")


@contextlib.contextmanager
def world(device: str = "cpu") -> Iterator[World]:
    """The processes that `torchrun` started, joined; without it, this one alone.

    With several, SIGINT and SIGTERM no longer stop a process at once: all stop together, in `World.add`. After an error
    the signals stay held, for `torchrun` sends them to the processes that are about to end; and this one must end, for
    that is how the others notice.

    Args:
        device: ``cpu`` or ``cuda``: the GPU of this process on its machine.

    Raises:
        UnsupportedError: there is no GPU for this process.
        ProcessError: the processes do not find each other.
    """
    place = _place(device)
    if _size() == 1:
        yield World(device=place)
        return
    joined = _join(place)
    handlers = _held(joined)
    try:
        yield joined
    except BaseException as error:
        joined.tell(error)
        raise
    for number, handler in handlers.items():
        signal.signal(number, handler)


@functools.cache
def _join(place: str) -> World:
    """Once in a process; its end is the end of the connections, because gloo hangs at times when it closes them."""
    import torch.distributed as dist
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    for name in ("MASTER_ADDR", "MASTER_PORT"):
        if name not in os.environ:
            raise ProcessError("WORLD_SIZE", f"is {_size()}, {name} is not set", "start the command with torchrun")
    try:
        store, number, size = next(rendezvous("env://"))
        backend = "gloo" if place == "cpu" else "nccl"
        dist.init_process_group(backend, store=PrefixStore("training", store), rank=number, world_size=size)
    except (RuntimeError, ValueError) as error:
        problem = f"do not find each other ({' '.join(str(error).split())})"
        raise ProcessError("processes", problem, "start the command with torchrun") from error
    return World(number, size, place, PrefixStore("snn-compile", store))


def _held(joined: World) -> dict[int, Any]:
    """From now on signals are only noted in `interrupted`; returns what was there before."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {
        n: signal.signal(n, lambda *_: setattr(joined, "interrupted", True)) for n in (signal.SIGINT, signal.SIGTERM)
    }


def _place(device: str) -> str:
    """The device of this process; one GPU each."""
    if device == "cpu":
        return device
    import torch

    gpus, local = torch.cuda.device_count() if torch.cuda.is_available() else 0, int(os.environ.get("LOCAL_RANK", "0"))
    needed = max(local + 1, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))) if _size() > 1 else 1
    if gpus == 0:
        problem, way_out = "is cuda, PyTorch finds no GPU", "leave it out, or install a PyTorch that knows your GPU"
        raise UnsupportedError("--device", problem, way_out)
    if needed > gpus:
        problem = f"is cuda for {needed} processes, this machine has {gpus} GPUs"
        raise UnsupportedError("--device", problem, "start one process per GPU", value=needed, limit=gpus)
    place = f"cuda:{local if _size() > 1 else 0}"
    torch.cuda.set_device(place)
    return place
