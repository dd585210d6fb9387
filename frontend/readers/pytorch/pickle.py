"""The pickle that `torch.save` writes, interpreted without calling anything.

Only the instructions that `torch.save` emits for plain values and tensors are understood. A global is a name, never
an object: the few that stand for tensors, storages and ordered dicts are turned into data here, any other is refused.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ....errors import ModelFileError
from .archive import RETRAIN

MAX_PICKLE = 2**24
MAX_OPCODES = 2**20
MAX_MARKS = 64
MAX_MEMO = 2**20
MAX_INT_BITS = 64
MAX_KEYS = 4096
"""Keys of dicts that are no text: unlike that of text, their hash can be foreseen, and equal ones cost time."""
TUPLE_KEY = 16
"""How many of them a tuple counts for."""

PLAIN = "save plain values and tensors (a state dict) only"

StorageReader = Callable[[str, str, int], Any]
"""(type name such as ``FloatStorage``, key, elements) -> storage."""
TensorBuilder = Callable[[Any, Any, Any, Any], Any]
"""(storage, offset, size, stride) -> tensor."""


@dataclass(frozen=True)
class GlobalName:
    """A name that the pickle mentions; it is never looked up."""

    name: str


TENSOR = GlobalName("torch._utils._rebuild_tensor_v2")
PARAMETER = GlobalName("torch._utils._rebuild_parameter")
ORDERED_DICT = GlobalName("collections.OrderedDict")
STORAGE_NAMES = frozenset(
    f"{kind}Storage" for kind in ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
)


def printable(name: str) -> str:
    """Without what a terminal would obey."""
    return "".join(sign if sign.isprintable() else "?" for sign in name)


class _Mark:
    pass


MARK = _Mark()


class InertUnpickler:
    """Interprets one pickle; `subject` is named in errors.

    Raises:
        ModelFileError: the pickle is damaged, too large, or holds something that is not data.

    >>> InertUnpickler("demo", lambda *_: None, lambda *_: None).load(b"\\x80\\x02]q\\x00(K\\x01K\\x02e.")
    [1, 2]
    >>> InertUnpickler("demo", lambda *_: None, lambda *_: None).load(b"\\x80\\x02cposix\\nsystem\\n.")
    Traceback (most recent call last):
    snn_compile.errors.ModelFileError: demo: names posix.system, which is code, not data; \
save plain values and tensors (a state dict) only
    """

    handlers: ClassVar[Mapping[str, Callable[[Any, Any], None]]] = {}
    """By instruction; filled below, wider in `module_pickle`."""
    max_marks: ClassVar[int] = MAX_MARKS
    protocols: ClassVar[tuple[int, ...]] = (2,)

    def __init__(self, subject: str, storage: StorageReader, tensor: TensorBuilder) -> None:
        self.subject = subject
        self.storage = storage
        self.tensor = tensor
        self.stack: list[Any] = []
        self.memo: dict[str, Any] = {}  # by its number as text, whose hash no file can foresee
        self.marks = 0
        self.keys = 0

    def load(self, data: bytes) -> Any:
        """The object that the pickle describes: dicts, lists, tuples, strings, numbers, and what `tensor` gives."""
        if len(data) > MAX_PICKLE:
            raise self._error(f"its pickle has {len(data)} bytes, {MAX_PICKLE} are possible")
        instructions = pickletools.genops(io.BytesIO(data))
        for _ in range(MAX_OPCODES):
            try:
                opcode, arg, _position = next(instructions)
            except (ValueError, TypeError, OverflowError, EOFError, IndexError) as error:
                raise self._error("its pickle is damaged or cut off") from error
            if opcode.name == "STOP":
                result = self._pop()
                if self.stack:
                    raise self._error("its pickle is damaged (values are left over)")
                return result
            self._execute(opcode.name, arg)
        raise self._error(f"its pickle has more than {MAX_OPCODES} instructions")

    def _error(self, problem: str, way_out: str = RETRAIN) -> ModelFileError:
        return ModelFileError(self.subject, problem, way_out)

    def _execute(self, name: str, arg: Any) -> None:
        if name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name in ("BININT", "BININT1", "BININT2", "LONG1"):
            self._push_int(arg)
        elif name in ("BINUNICODE", "BINFLOAT"):
            self.stack.append(arg)
        elif name in self.handlers:
            self.handlers[name](self, arg)
        elif name == "STACK_GLOBAL":
            attribute, module = self._pop(), self._pop()
            self._global(f"{str(module)[:80]} {str(attribute)[:80]}" if isinstance(module, str) else "? ?")
        elif name in ("INST", "GLOBAL"):
            self._global(arg)
        else:
            raise self._error(f"uses the pickle instruction {name}, which torch.save does not write for data", PLAIN)

    def _pop(self) -> Any:
        if not self.stack or self.stack[-1] is MARK:
            raise self._error("its pickle is damaged (a value is missing)")
        return self.stack.pop()

    def _pop_to_mark(self) -> list[Any]:
        if not self.marks:
            raise self._error("its pickle is damaged (a mark is missing)")
        start = len(self.stack) - 1
        while self.stack[start] is not MARK:
            start -= 1
        values = self.stack[start + 1 :]
        del self.stack[start:]
        self.marks -= 1
        return values

    def _push_int(self, value: int) -> None:
        if value.bit_length() >= MAX_INT_BITS:
            raise self._error(f"holds a number of {value.bit_length()} bits, {MAX_INT_BITS - 1} are possible")
        self.stack.append(value)

    def _proto(self, version: int) -> None:
        if version not in self.protocols:
            raise self._error(f"is a pickle of protocol {version}, torch.save writes protocol 2", PLAIN)

    def _mark(self, _: Any) -> None:
        if self.marks >= self.max_marks:
            raise self._error(f"nests its values deeper than {self.max_marks}")
        self.marks += 1
        self.stack.append(MARK)

    def _tuple(self, count: int) -> None:
        values = [self._pop() for _ in range(count)]
        self.stack.append(tuple(reversed(values)))

    def _put(self, index: int) -> None:
        if index > MAX_MEMO:
            raise self._error(f"its memo goes up to {index}, {MAX_MEMO} is possible")
        value = self._pop()
        self.stack.append(value)
        self.memo[str(index)] = value

    def _get(self, index: int) -> None:
        if str(index) not in self.memo:
            raise self._error(f"its pickle is damaged (memo {index} is missing)")
        self.stack.append(self.memo[str(index)])

    def _extend(self, values: list[Any]) -> None:
        target = self._pop()
        if not isinstance(target, list):
            raise self._error("its pickle is damaged (a list is missing)")
        target.extend(values)
        self.stack.append(target)

    def _count_key(self, key: Any) -> None:
        """Raises where keys that somebody may have chosen for their hash become many."""
        if not isinstance(key, (str, bytes)):
            self.keys += TUPLE_KEY if isinstance(key, tuple) else 1
        if self.keys > MAX_KEYS:
            limit = f"{MAX_KEYS} numbers or {MAX_KEYS // TUPLE_KEY} tuples are possible"
            raise self._error(f"has too many keys of dicts that are no text, {limit}", "save the state dict alone")

    def _set_items(self, values: list[Any]) -> None:
        target = self._pop()
        if not isinstance(target, dict) or len(values) % 2:
            raise self._error("its pickle is damaged (a dict is missing)")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not isinstance(key, (str, int)):
                raise self._error(f"has a dict key of type {type(key).__name__}, text or an integer is needed", PLAIN)
            self._count_key(key)
            target[key] = value
        self.stack.append(target)

    def _global(self, arg: str) -> None:
        name = printable(str(arg).replace(" ", ".")[:160])
        module, _, attribute = name.rpartition(".")
        known = name in (TENSOR.name, PARAMETER.name, ORDERED_DICT.name)
        if not known and not (module == "torch" and attribute in STORAGE_NAMES):
            raise self._error(f"names {name}, which is code, not data", PLAIN)
        self.stack.append(GlobalName(name))

    def _persistent(self, _: Any) -> None:
        pid = self._pop()
        kinds = (str, GlobalName, str, str, int)
        if not (isinstance(pid, tuple) and len(pid) == 5 and all(map(isinstance, pid, kinds)) and pid[0] == "storage"):
            raise self._error("its pickle is damaged (a storage is not described as torch.save does)")
        kind = pid[1].name.removeprefix("torch.")
        if kind not in STORAGE_NAMES:
            raise self._error(f"its pickle is damaged ({pid[1].name} is no storage)")
        self.stack.append(self.storage(kind, pid[2], pid[4]))

    def _reduce(self, _: Any) -> None:
        args, function = self._pop(), self._pop()
        name = function.name if isinstance(function, GlobalName) else ""
        count = len(args) if isinstance(args, tuple) else -1
        if name == ORDERED_DICT.name and count == 0:
            self.stack.append({})
        elif name == TENSOR.name and 6 <= count <= 7:
            self.stack.append(self.tensor(*args[:4]))
        elif name == PARAMETER.name and count == 3:
            self.stack.append(args[0])
        else:
            raise self._error("its pickle is damaged (something is built as torch.save does not build it)")

    def _build(self, _: Any) -> None:
        """State of an ordered dict (a state dict's ``_metadata``): not needed."""
        self._pop()
        if not isinstance(self.stack[-1] if self.stack else None, dict):
            raise self._error("its pickle is damaged (state for something that has none)")


CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}

InertUnpickler.handlers = {
    "PROTO": InertUnpickler._proto,
    "MARK": InertUnpickler._mark,
    "EMPTY_LIST": lambda self, _: self.stack.append([]),
    "EMPTY_DICT": lambda self, _: self.stack.append({}),
    "TUPLE": lambda self, _: self.stack.append(tuple(self._pop_to_mark())),
    "TUPLE1": lambda self, _: self._tuple(1),
    "TUPLE2": lambda self, _: self._tuple(2),
    "TUPLE3": lambda self, _: self._tuple(3),
    "BINPUT": InertUnpickler._put,
    "LONG_BINPUT": InertUnpickler._put,
    "BINGET": InertUnpickler._get,
    "LONG_BINGET": InertUnpickler._get,
    "APPEND": lambda self, _: self._extend([self._pop()]),
    "APPENDS": lambda self, _: self._extend(self._pop_to_mark()),
    "SETITEM": lambda self, _: self._set_items([self._pop(), self._pop()][::-1]),
    "SETITEMS": lambda self, _: self._set_items(self._pop_to_mark()),
    "BINPERSID": InertUnpickler._persistent,
    "REDUCE": InertUnpickler._reduce,
    "BUILD": InertUnpickler._build,
}
