"""The pickle of CIFAR-10's Python version, interpreted without calling anything.

A published batch is protocol 2, written by Python 2: a dict of byte strings to a list of labels, an array of bytes, a
list of names and a title. Python 3 writes the same dict with ``_codecs.encode`` around each byte string. Only the
instructions of these two are understood; a global is a name that stands for one fixed step below, any other is refused.
"""

from __future__ import annotations

import io
import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError

ORIGINAL = "take the files of the published archive"
MAX_OPCODES = 2**20
MAX_MARKS = 8
"""Depth of nesting; an array in a dict needs 3."""


@dataclass(frozen=True)
class _Global:
    name: str


@dataclass
class _Array:
    """An array between ``_reconstruct`` and the state that fills it."""

    values: NDArray[np.uint8] | None = None


ENCODE = _Global("_codecs encode")
RECONSTRUCTS = (_Global("numpy.core.multiarray _reconstruct"), _Global("numpy._core.multiarray _reconstruct"))
NDARRAY, DTYPE = _Global("numpy ndarray"), _Global("numpy dtype")
KNOWN = (ENCODE, *RECONSTRUCTS, NDARRAY, DTYPE)
BYTE = object()
"""The data type of unsigned bytes, the only one here."""


def read_batch(subject: str, data: bytes) -> dict[str, Any]:
    """The dict of a batch: arrays of bytes, lists, byte strings, integers. `subject` is named in errors.

    Raises:
        DataError: the pickle is damaged, or holds something that such a batch does not.

    >>> read_batch("demo", b"\\x80\\x02}U\\x06labels](K\\x06K\\x09es.")
    {'labels': [6, 9]}
    >>> read_batch("demo", b"\\x80\\x02cposix\\nsystem\\n.")
    Traceback (most recent call last):
    snn_compile.errors.DataError: demo: names posix.system, which is code, not data; \
take the files of the published archive
    """
    machine = _Machine(subject, len(data))
    instructions = pickletools.genops(io.BytesIO(data))
    for _ in range(MAX_OPCODES):
        try:
            opcode, argument, _position = next(instructions)
        except (ValueError, TypeError, OverflowError, EOFError, IndexError) as error:
            raise machine.damaged("cut off") from error
        if opcode.name == "STOP":
            return machine.result()
        if opcode.name not in HANDLERS:
            problem = f"uses the pickle instruction {opcode.name}, which a batch of CIFAR-10 does not"
            raise DataError(subject, problem, ORIGINAL)
        HANDLERS[opcode.name](machine, argument)
    raise DataError(subject, f"its pickle has more than {MAX_OPCODES} instructions", ORIGINAL)


class _Machine:
    """The stack, the marks (heights of the stack) and the memo of one pickle of `size` bytes."""

    def __init__(self, subject: str, size: int) -> None:
        self.subject = subject
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.may_encode = size

    def damaged(self, detail: str) -> DataError:
        return DataError(self.subject, f"its pickle is damaged ({detail})", ORIGINAL)

    def result(self) -> dict[str, Any]:
        found = self.pop()
        if self.stack or not isinstance(found, dict):
            raise self.damaged("it is not one dict")
        return {key: value.values if isinstance(value, _Array) else value for key, value in found.items()}

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise self.damaged("a value is missing")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        if not self.marks:
            raise self.damaged("a mark is missing")
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def protocol(self, version: int) -> None:
        if version != 2:
            raise DataError(self.subject, f"is a pickle of protocol {version}, 2 is needed", ORIGINAL)

    def mark(self, _: Any) -> None:
        if len(self.marks) >= MAX_MARKS:
            raise self.damaged(f"it nests deeper than {MAX_MARKS}")
        self.marks.append(len(self.stack))

    def put(self, index: int) -> None:
        value = self.pop()
        self.stack.append(value)
        self.memo[index] = value

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise self.damaged(f"memo {index} is missing")
        self.stack.append(self.memo[index])

    def tuple_of(self, count: int) -> None:
        self.stack.append(tuple([self.pop() for _ in range(count)][::-1]))

    def extend(self, values: list[Any]) -> None:
        target = self.pop()
        if not isinstance(target, list):
            raise self.damaged("a list is missing")
        target.extend(values)
        self.stack.append(target)

    def set_items(self, values: list[Any]) -> None:
        target = self.pop()
        if not isinstance(target, dict) or len(values) % 2:
            raise self.damaged("a dict is missing")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not isinstance(key, (bytes, str)):
                raise self.damaged("a dict key is no text")
            target[key.decode("latin-1") if isinstance(key, bytes) else key] = value
        self.stack.append(target)

    def name(self, name: str) -> None:
        if _Global(name) not in KNOWN:
            shown = name.replace(" ", ".")[:160]
            raise DataError(self.subject, f"names {shown}, which is code, not data", ORIGINAL)
        self.stack.append(_Global(name))

    def reduce(self, _: Any) -> None:
        """``encode(text, "latin1")``, ``_reconstruct(ndarray, (0,), "b")`` or ``dtype("u1", …)``."""
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, _Global) or not isinstance(arguments, tuple) or not arguments:
            raise self.damaged("something is built in another way than numpy does")
        first = arguments[0]
        if function == ENCODE and isinstance(first, str) and arguments[1:] == ("latin1",):
            self.stack.append(self.encoded(first))
        elif function in RECONSTRUCTS and first == NDARRAY:
            self.stack.append(_Array())
        elif function == DTYPE and first in ("u1", b"u1"):
            self.stack.append(BYTE)
        else:
            raise self.damaged("its array is not one of unsigned bytes")

    def encoded(self, text: str) -> bytes:
        """A byte string; all of them together are no longer than the pickle, or a text is encoded again and again."""
        self.may_encode -= len(text)
        if self.may_encode < 0:
            raise self.damaged("it repeats a byte string")
        try:
            return text.encode("latin-1")
        except UnicodeEncodeError as error:
            raise self.damaged("a byte string holds other letters than latin-1") from error

    def build(self, _: Any) -> None:
        """The state of an array, (1, shape, type, column by column?, bytes); that of the type says nothing new."""
        state, target = self.pop(), self.pop()
        if isinstance(target, _Array):
            if not isinstance(state, tuple) or len(state) != 5 or state[2] is not BYTE:
                raise self.damaged("its array is not one of unsigned bytes")
            target.values = self.array(state[1], state[4], columns=state[3] is True)
        elif target is not BYTE:
            raise self.damaged("state for something that has none")
        self.stack.append(target)

    def array(self, shape: Any, raw: Any, columns: bool) -> NDArray[np.uint8]:
        if not isinstance(shape, tuple) or not all(type(n) is int and n > 0 for n in shape) or len(shape) > 4:
            raise self.damaged("its array has no proper shape")
        if not isinstance(raw, bytes) or len(raw) != math.prod(shape):
            raise self.damaged("its array has more or fewer values than its shape says")
        return np.frombuffer(raw, np.uint8).reshape(shape, order="F" if columns else "C")


def _push(machine: _Machine, value: Any) -> None:
    machine.stack.append(value)


HANDLERS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _Machine.protocol,
    "MARK": _Machine.mark,
    "NONE": _push,
    "NEWTRUE": lambda machine, _: _push(machine, True),
    "NEWFALSE": lambda machine, _: _push(machine, False),
    "EMPTY_LIST": lambda machine, _: _push(machine, []),
    "EMPTY_DICT": lambda machine, _: _push(machine, {}),
    "BININT": _push,
    "BININT1": _push,
    "BININT2": _push,
    "BINUNICODE": _push,
    "BINSTRING": lambda machine, text: _push(machine, text.encode("latin-1")),
    "SHORT_BINSTRING": lambda machine, text: _push(machine, text.encode("latin-1")),
    "TUPLE": lambda machine, _: _push(machine, tuple(machine.pop_to_mark())),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "APPEND": lambda machine, _: machine.extend([machine.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.pop_to_mark()),
    "SETITEM": lambda machine, _: machine.set_items([machine.pop(), machine.pop()][::-1]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.pop_to_mark()),
    "GLOBAL": _Machine.name,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
}
