"""The errors that reach people: one sentence with the object, the value, the limit and a way out."""

from __future__ import annotations

from functools import partial
from typing import Any


class SnnCompileError(Exception):
    """An input or a network is at fault; the command line prints the sentence and exits with 1.

    Args:
        subject: the object at fault, as the user knows it (a file, a layer, a population).
        problem: what is wrong, with the value and the limit.
        way_out: what the user can do about it.
        value: the offending value, for programs.
        limit: the limit that it breaks, for programs.

    >>> print(LimitError("hidden", "needs 5120 input axons, one loihi1 core has 4096", "prune more"))
    hidden: needs 5120 input axons, one loihi1 core has 4096; prune more
    """

    def __init__(
        self,
        subject: str,
        problem: str,
        way_out: str,
        *,
        value: object = None,
        limit: object = None,
    ) -> None:
        self.subject = subject
        self.problem = problem
        self.way_out = way_out
        self.value = value
        self.limit = limit
        super().__init__(f"{subject}: {problem}; {way_out}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors travel between processes with their fields."""
        again = partial(type(self), value=self.value, limit=self.limit)
        return again, (self.subject, self.problem, self.way_out)


class ModelFileError(SnnCompileError):
    """A model file is missing, broken, or holds something that is not data."""


class NetworkError(SnnCompileError):
    """A network contradicts itself: shapes, edges or parameters that cannot be."""


class UnsupportedError(SnnCompileError):
    """A layer, neuron or option that this compiler or this target cannot carry."""


class LimitError(SnnCompileError):
    """A limit of the chip is exceeded."""


class ProgramFileError(SnnCompileError):
    """A program file is missing, broken or from another format version."""


class TraceFileError(SnnCompileError):
    """A trace file is missing, broken, of another format version, or not to be compared with another one."""


class DataError(SnnCompileError):
    """A data set is missing, broken or does not match the network's input."""


class OutputError(SnnCompileError):
    """A result cannot be written where it is wanted."""


class ProcessError(SnnCompileError):
    """The processes of one training run do not find each other, lose one, or disagree."""


class BackendError(SnnCompileError):
    """A backend is not installed, failed or ran out of time."""
