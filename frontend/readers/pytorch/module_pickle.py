"""A pickled PyTorch module, read without any of its classes: what it would build becomes a record of names and values.

`InertUnpickler` refuses every global that is not data. Here a global is still only a name, but whatever the pickle
does with it is written down: nothing is imported, looked up or called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from .pickle import (
    CONSTANTS,
    ORDERED_DICT,
    PARAMETER,
    PLAIN,
    STORAGE_NAMES,
    TENSOR,
    GlobalName,
    InertUnpickler,
    StorageReader,
    TensorBuilder,
    printable,
)

TENSOR_3 = "torch._utils._rebuild_tensor_v3"
PARAMETER_WITH_STATE = "torch._utils._rebuild_parameter_with_state"
RECONSTRUCTORS = ("copyreg._reconstructor", "copy_reg._reconstructor")
MAX_TUPLE_KEY = 16
STATE_DICT = "save the state dict of the unquantised model and give --architecture"

TensorOfType = Callable[[Any, Any, Any, Any, str], Any]
"""(untyped storage, offset, size, stride, name such as ``torch.uint16``) -> tensor."""


@dataclass(eq=False)
class Stub:
    """An object that the pickle would have built.

    Attributes:
        name: dotted path of its class or of the function that would have made it.
        args: what that would have been called with.
        state: what would have become its attributes, None where there is none.
        items: entries set by key, for what behaves as a dict.
        values: entries appended, for what behaves as a list or set.
    """

    name: str
    args: Any = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    values: list[Any] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"Stub({self.name!r})"


class ModuleUnpickler(InertUnpickler):
    """Interprets the pickle of a module, of protocol 2 to 5; nothing that it names is looked up.

    >>> unpickler = ModuleUnpickler("demo", lambda *_: None, lambda *_: None)
    >>> stub = unpickler.load(b"\\x80\\x02cposix\\nsystem\\nX\\x04\\x00\\x00\\x00true\\x85R.")
    >>> stub, stub.args
    (Stub('posix.system'), ('true',))
    """

    max_marks: ClassVar[int] = 256
    protocols: ClassVar[tuple[int, ...]] = (2, 3, 4, 5)

    def __init__(
        self, subject: str, storage: StorageReader, tensor: TensorBuilder, tensor_of_type: TensorOfType | None = None
    ) -> None:
        super().__init__(subject, storage, tensor)
        self.tensor_of_type = tensor_of_type

    def _execute(self, name: str, arg: Any) -> None:
        if name in ("INT", "LONG", "LONG4"):
            self._push_int(arg) if not isinstance(arg, bool) else self.stack.append(arg)
        elif name in LITERALS:
            self.stack.append(arg)
        elif name == "STACK_GLOBAL":
            self._stack_global()
        elif name in ("PERSID", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"):
            raise self._error(f"uses the pickle instruction {name}, which torch.save does not write", PLAIN)
        elif name not in ("FRAME", *CONSTANTS) and name in self.handlers:
            self.handlers[name](self, arg)
        elif name != "FRAME":
            super()._execute(name, arg)

    def _global(self, arg: str) -> None:
        self.stack.append(GlobalName(printable(str(arg).replace(" ", ".")[:160])))

    def _stack_global(self) -> None:
        attribute, module = self._pop(), self._pop()
        if not (isinstance(module, str) and isinstance(attribute, str)):
            raise self._error("its pickle is damaged (a global without a name)")
        self.stack.append(GlobalName(printable(f"{module[:80]}.{attribute[:79]}")))

    def _called(self) -> str:
        """Name of what would be called."""
        function = self._pop()
        if isinstance(function, GlobalName):
            return function.name
        if isinstance(function, Stub):
            return f"{function.name[:150]}(…)"
        raise self._error("its pickle is damaged (something is called that has no name)")

    def _reduce(self, _: Any) -> None:
        args = self._pop()
        name = self._called()
        if not isinstance(args, tuple):
            raise self._error(f"its pickle is damaged ({name} without arguments)")
        self.stack.append(self._result(name, args))

    def _result(self, name: str, args: tuple[Any, ...]) -> Any:
        """Tensors, ordered dicts and sizes as data; a `Stub` of everything else."""
        if name == ORDERED_DICT.name and not args:
            return {}
        if name == TENSOR.name and 6 <= len(args) <= 7:
            return self.tensor(*args[:4])
        if name == TENSOR_3 and len(args) in (7, 8) and isinstance(args[6], GlobalName) and self.tensor_of_type:
            return self.tensor_of_type(args[0], args[1], args[2], args[3], args[6].name)
        if (name == PARAMETER.name and len(args) == 3) or (name == PARAMETER_WITH_STATE and len(args) == 4):
            return args[0]
        if name.startswith("torch._utils._rebuild"):
            kind = name.removeprefix("torch._utils.")
            raise self._error(f"holds a tensor that is no plain array of numbers ({kind})", STATE_DICT)
        if name == "torch.Size" and len(args) == 1 and isinstance(args[0], tuple):
            return args[0]
        if name in RECONSTRUCTORS and args and isinstance(args[0], GlobalName):
            return Stub(args[0].name)
        return Stub(name, args)

    def _new(self, _: Any) -> None:
        args = self._pop()
        self.stack.append(Stub(self._called(), args))

    def _new_ex(self, _: Any) -> None:
        keywords, args = self._pop(), self._pop()
        self.stack.append(Stub(self._called(), (args, keywords)))

    def _inst(self, arg: str) -> None:
        args = tuple(self._pop_to_mark())
        self.stack.append(Stub(printable(str(arg).replace(" ", ".")[:160]), args))

    def _obj(self, _: Any) -> None:
        values = self._pop_to_mark()
        self.stack.append(values[0] if values else None)
        self.stack.append(Stub(self._called(), tuple(values[1:])))

    def _build(self, _: Any) -> None:
        state = self._pop()
        target = self._pop()
        if isinstance(target, Stub) and target.state is None:
            target.state = state
        elif not isinstance(target, dict):
            raise self._error("its pickle is damaged (state for something that has none)")
        self.stack.append(target)

    def _extend(self, values: list[Any]) -> None:
        target = self._pop()
        entries = target.values if isinstance(target, Stub) else target
        if not isinstance(entries, list):
            raise self._error("its pickle is damaged (a list is missing)")
        entries.extend(values)
        self.stack.append(target)

    def _set_items(self, values: list[Any]) -> None:
        target = self._pop()
        entries = target.items if isinstance(target, Stub) else target
        if not isinstance(entries, dict) or len(values) % 2:
            raise self._error("its pickle is damaged (a dict is missing)")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not _is_key(key):
                raise self._error(f"has a dict key of type {type(key).__name__}, text or a number is needed", PLAIN)
            self._count_key(key)
            entries[key] = value
        self.stack.append(target)

    def _drop(self, _: Any) -> None:
        if not self.stack:
            raise self._error("its pickle is damaged (a value is missing)")
        self.marks -= self.stack[-1].__class__.__name__ == "_Mark"
        self.stack.pop()

    def _again(self, _: Any) -> None:
        value = self._pop()
        self.stack += [value, value]

    def _memoize(self, _: Any) -> None:
        self._put(len(self.memo))

    def _dict(self, _: Any) -> None:
        values = self._pop_to_mark()
        self.stack.append({})
        self._set_items(values)

    def _persistent(self, _: Any) -> None:
        """A storage; its type may be one without elements, whose tensors say their own."""
        pid = self.stack[-1] if self.stack else None
        if isinstance(pid, tuple) and len(pid) == 5 and isinstance(pid[1], GlobalName):
            name = pid[1].name
            known = name.removeprefix("torch.") in STORAGE_NAMES
            if name in ("torch.UntypedStorage", "torch.storage.UntypedStorage"):
                self.stack[-1] = (pid[0], GlobalName("torch.ByteStorage"), *pid[2:])
            elif not known and name.endswith("Storage") and name.startswith("torch."):
                raise self._error(f"holds a tensor of {name[:80]}, which no layer here has", STATE_DICT)
        super()._persistent(None)


def _is_key(value: Any) -> bool:
    """Whether it may be a key of a dict; nothing that could nest without end is hashed."""
    scalars = (str, int, float, bytes, GlobalName, type(None))
    if isinstance(value, tuple) and len(value) <= MAX_TUPLE_KEY:
        return all(isinstance(item, scalars) for item in value)
    return isinstance(value, scalars)


LITERALS = frozenset(
    (
        *("SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "STRING", "BINSTRING", "SHORT_BINSTRING", "FLOAT"),
        *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    )
)
Handler = Callable[[Any, Any], None]
MODULE_HANDLERS: Mapping[str, Handler] = {
    **InertUnpickler.handlers,
    "PUT": ModuleUnpickler._put,
    "GET": ModuleUnpickler._get,
    "MEMOIZE": ModuleUnpickler._memoize,
    "POP": ModuleUnpickler._drop,
    "POP_MARK": lambda self, _: self._pop_to_mark() and None,
    "DUP": ModuleUnpickler._again,
    "LIST": lambda self, _: self.stack.append(self._pop_to_mark()),
    "DICT": ModuleUnpickler._dict,
    "EMPTY_SET": lambda self, _: self.stack.append([]),
    "ADDITEMS": lambda self, _: self._extend(self._pop_to_mark()),
    "FROZENSET": lambda self, _: self.stack.append(self._pop_to_mark()),
    "NEWOBJ": ModuleUnpickler._new,
    "NEWOBJ_EX": ModuleUnpickler._new_ex,
    "INST": ModuleUnpickler._inst,
    "OBJ": ModuleUnpickler._obj,
    # the base class's table holds its own functions
    "REDUCE": ModuleUnpickler._reduce,
    "BUILD": ModuleUnpickler._build,
    "BINPERSID": ModuleUnpickler._persistent,
}
ModuleUnpickler.handlers = MODULE_HANDLERS
