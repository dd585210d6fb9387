"""Arithmetic on lanes: the same number of several samples, side by side in one array, for the engine's kernel.

`lanes` is a tuple as long as there are lanes, so that their number is known when the kernel is compiled; number n of
all samples stands at ``[n * len(lanes), (n + 1) * len(lanes))``. Arrays are int32. LLVM's vectors are written down here
because its vectoriser cannot see that the arrays of such short loops do not overlap.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .compiled import instruction

INT = ir.IntType(32)


class _Code:
    """The instructions of one function; `args` are its arguments' types and values."""

    def __init__(self, context: Any, builder: Any, signature: Any, args: Any) -> None:
        self.context, self.builder, self.types, self.values = context, builder, signature.args, args
        self.count = signature.args[0].count
        self.vector = ir.VectorType(INT, self.count)

    def pointer(self, array: int, at: Any) -> Any:
        """To the lanes that stand at `at` in the array that is argument `array`."""
        data = self.context.make_array(self.types[array])(self.context, self.builder, self.values[array]).data
        return self.builder.bitcast(self.builder.gep(data, [at]), self.vector.as_pointer())

    def load(self, pointer: Any) -> Any:
        return self.builder.load(pointer, align=4)

    def everywhere(self, value: Any) -> Any:
        """One number in all lanes."""
        none = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(none, value, ir.Constant(INT, 0))
        return self.builder.shuffle_vector(first, none, ir.Constant(self.vector, [0] * self.count))

    def nonzero(self, vector: Any) -> Any:
        return self.builder.icmp_signed("!=", vector, ir.Constant(self.vector, [0] * self.count))

    def place(self, number: Any) -> Any:
        """Where a number's lanes begin."""
        return self.builder.mul(number, ir.Constant(number.type, self.count))

    def totals(self, first: int, last: int, terms: Any, count: int) -> list[Any]:
        """The sums of ``terms(n)``, so many, over all numbers between two arguments, in registers."""
        none = ir.Constant(self.vector, [0] * self.count)
        totals: list[Any] = [cgutils.alloca_once_value(self.builder, none) for _ in range(count)]  # type: ignore[no-untyped-call]
        begin, end = self.values[first], self.values[last]
        step = ir.Constant(begin.type, 1)
        with cgutils.for_range_slice(self.builder, begin, end, step, begin.type) as (n, _):
            for total, term in zip(totals, terms(n), strict=True):
                self.builder.store(self.builder.add(self.builder.load(total), term), total)
        return [self.builder.load(total) for total in totals]

    def add(self, pointer: Any, vector: Any) -> Any:
        """Adds to what stands there."""
        self.builder.store(self.builder.add(self.load(pointer), vector), pointer, align=4)
        return self.context.get_dummy_value()


@instruction
def add_scaled(context: Any, lanes: Any, into: Any, at: Any, factor: Any, values: Any, start: Any) -> Any:
    """``into[at …] += factor * values[start …]``"""

    def generate(*code: Any) -> Any:
        c = _Code(*code)
        product = c.builder.mul(c.everywhere(c.values[3]), c.load(c.pointer(4, c.values[5])))
        return c.add(c.pointer(1, c.values[2]), product)

    return types.void(lanes, into, types.intp, types.int32, values, types.intp), generate


@instruction
def add_where(context: Any, lanes: Any, into: Any, at: Any, amount: Any, values: Any, start: Any) -> Any:
    """``into[at …] += amount where values[start …] != 0``"""

    def generate(*code: Any) -> Any:
        c = _Code(*code)
        none = ir.Constant(c.vector, [0] * c.count)
        there = c.nonzero(c.load(c.pointer(4, c.values[5])))
        return c.add(c.pointer(1, c.values[2]), c.builder.select(there, c.everywhere(c.values[3]), none))

    return types.void(lanes, into, types.intp, types.int32, values, types.intp), generate


@instruction
def add_busy(
    context: Any, lanes: Any, into: Any, at: Any, a: Any, b: Any, c: Any, d: Any, first: Any, last: Any
) -> Any:
    """``into[at …] += 1`` for each number n, from `first` to `last`, of which any of a, b, c, d is not 0."""

    def generate(*code: Any) -> Any:
        x = _Code(*code)

        def busy(n: Any) -> list[Any]:
            either = x.load(x.pointer(3, x.place(n)))
            for array in (4, 5, 6):
                either = x.builder.or_(either, x.load(x.pointer(array, x.place(n))))
            return [x.builder.zext(x.nonzero(either), x.vector)]

        return x.add(x.pointer(1, x.values[2]), *x.totals(7, 8, busy, 1))

    return types.void(lanes, into, types.intp, a, b, c, d, types.intp, types.intp), generate


@instruction
def add_totals(
    context: Any,
    lanes: Any,
    into: Any,
    at: Any,
    a: Any,
    to: Any,
    there: Any,
    b: Any,
    values: Any,
    first: Any,
    last: Any,
) -> Any:
    """``into[at …] += a[n]`` and ``to[there …] += b[n]`` for each n from `first` to `last`, where `values` is not 0."""

    def generate(*code: Any) -> Any:
        x = _Code(*code)
        none = ir.Constant(x.vector, [0] * x.count)
        amounts = [x.context.make_array(x.types[i])(x.context, x.builder, x.values[i]).data for i in (3, 6)]

        def terms(n: Any) -> list[Any]:
            sent = x.nonzero(x.load(x.pointer(7, x.place(n))))
            loaded = [x.everywhere(x.builder.load(x.builder.gep(data, [n]))) for data in amounts]
            return [x.builder.select(sent, amount, none) for amount in loaded]

        one, two = x.totals(8, 9, terms, 2)
        x.add(x.pointer(1, x.values[2]), one)
        return x.add(x.pointer(4, x.values[5]), two)

    signature = types.void(lanes, into, types.intp, a, to, types.intp, b, values, types.intp, types.intp)
    return signature, generate


@instruction
def any_lane(context: Any, lanes: Any, values: Any, start: Any) -> Any:
    """Whether any of ``values[start …]`` is not 0."""

    def generate(*code: Any) -> Any:
        c = _Code(*code)
        width = ir.IntType(c.count)
        bits = c.builder.bitcast(c.nonzero(c.load(c.pointer(1, c.values[2]))), width)
        return c.builder.icmp_unsigned("!=", bits, ir.Constant(width, 0))

    return types.boolean(lanes, values, types.intp), generate
