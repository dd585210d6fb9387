"""Programs with a wrong number anywhere: one sentence, or a network on which engine and decoded tables agree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import any_network, small_chip
from snn_compile.compiler.decode import decode
from snn_compile.compiler.encode import encode
from snn_compile.compiler.partition import partition
from snn_compile.compiler.place import place
from snn_compile.compiler.program import CORE_ARRAYS
from snn_compile.errors import DataError, ProgramFileError
from snn_compile.runtime.build import tables_of
from snn_compile.runtime.engine import run_engine

CHIP = small_chip(neurons_per_core=9)
OUT = ("out_start", "out_core", "out_axon", "out_base")
EDGES = [0, 1, 2, 3, 5, 8, 63, 255, 4095, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**63]
NUMBERS = st.sampled_from(EDGES) | st.integers(0, 2**64 - 1)


def changed(array, place_, value, way):
    """One number replaced, one bit flipped, or one number lost."""
    if not array.size:
        return array
    flat = array.copy().reshape(-1)
    at = place_ % len(flat)
    if way == "value":
        flat[at] = np.array([value], np.uint64).astype(array.dtype)[0]
    elif way == "bit":
        flat[at] ^= array.dtype.type(1 << (value % (8 * array.itemsize - 1)))
    else:
        return np.delete(array, at % len(array), axis=0)
    return flat.reshape(array.shape)


def damaged(program, table, key, place_, value, way):
    entries = [*program.cores, *program.inputs]
    entry = entries[table % len(entries)]
    names = list(CORE_ARRAYS) if table % len(entries) < len(program.cores) else list(OUT)
    name = names[key % len(names)]
    new = replace(entry, **{name: changed(getattr(entry, name), place_, value, way)})
    entries[table % len(entries)] = new
    cores = len(program.cores)
    return replace(program, cores=tuple(entries[:cores]), inputs=tuple(entries[cores:]))


def attempt(work):
    try:
        return work()
    except ProgramFileError:
        return None


@settings(max_examples=300)
@given(
    any_network(),
    st.integers(0, 2**16),
    st.integers(0, 2**16),
    st.integers(0, 2**16),
    NUMBERS,
    st.sampled_from(["value", "bit", "lost"]),
)
def test_one_wrong_number(drawn, table, key, place_, value, way):
    network, samples = drawn
    program = damaged(encode(network, place(partition(network, CHIP), CHIP), CHIP), table, key, place_, value, way)
    tables, again = attempt(lambda: tables_of(program)), attempt(lambda: decode(program))
    assert (tables is None) == (again is None)
    if tables is not None:
        try:
            ours = run_engine(tables, samples)
        except DataError:
            return
        assert np.array_equal(ours.counts, run_engine(again, samples).counts)
