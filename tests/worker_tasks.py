"""Work for the tests of workers, in a module that worker processes can import."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, eq=False)
class Killed:
    """Kills its own process in the middle: the first time only, or every time."""

    work: Any
    folder: Path
    always: bool = False

    @property
    def lead(self):
        return self.work.lead

    @property
    def largest(self):
        return self.work.largest

    def __call__(self, part, threads):
        mark = self.folder / "killed"
        if self.always or (len(list(self.folder.iterdir())) > 2 and not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        (self.folder / f"range-{time.monotonic_ns()}").touch()
        return self.work(part, threads)


@dataclass(frozen=True, eq=False)
class Counted:
    """Leaves a file for each time that it is unpickled, and for each range; the files say in which process."""

    work: Any
    folder: Path

    @property
    def lead(self):
        return self.work.lead

    @property
    def largest(self):
        return self.work.largest

    def __call__(self, part, threads):
        samples = part.samples
        assert samples.base is None or samples.base.nbytes <= samples.nbytes, "more than the slice has travelled"
        (self.folder / f"range-{os.getpid()}-{threads}-{time.monotonic_ns()}").touch()
        time.sleep(0.02)
        return self.work(part, threads)

    def __setstate__(self, state):
        self.__dict__.update(state)
        (self.folder / f"load-{os.getpid()}-{time.monotonic_ns()}").touch()


@dataclass(frozen=True, eq=False)
class Slow:
    """Takes a minute, and says that it has begun."""

    folder: Path
    lead: int = 0
    largest: int = 1000

    def __call__(self, part, threads):
        (self.folder / f"begun-{os.getpid()}").touch()
        time.sleep(60)


@dataclass(frozen=True, eq=False)
class Failing:
    """Raises what it is given."""

    error: Exception
    lead: int = 0
    largest: int = 1000

    def __call__(self, part, threads):
        raise self.error
