"""Where two traces part: the first sample, step, population and neuron, or why they cannot be compared."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from snn_compile.errors import TraceFileError
from snn_compile.runtime.result import Trace
from snn_compile.runtime.trace_diff import Part, diff
from snn_compile.runtime.trace_file import read_trace
from snn_compile.runtime.trace_format import TracedPopulation
from traces import population, random_trace, write

in_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
POPULATIONS = (population("a", 3), population("b", 4))


def pair(tmp_path, change=None, populations=POPULATIONS, samples=3, steps=5):
    """Two files of the same random traces; `change` takes the traces of the second one."""

    def traces():
        return {p.name: random_trace(i, samples, steps, p.size) for i, p in enumerate(populations)}

    changed = traces()
    if change is not None:
        change(changed)
    first = write(
        tmp_path / "x.h5", POPULATIONS, {p.name: random_trace(i, 3, 5, p.size) for i, p in enumerate(POPULATIONS)}
    )
    return first, write(tmp_path / "y.h5", populations, changed)


def add(*places):
    """Adds 1 at each (population, kind, sample, step, neuron)."""

    def change(traces):
        for name, kind, *place in places:
            getattr(traces[name], kind)[tuple(place)] ^= 1

    return change


@pytest.mark.parametrize(
    ("places", "first"),
    [
        ([], None),
        ([("b", "v", 1, 2, 3)], (1, 2, "b", 3, 6, "v")),
        ([("b", "v", 1, 2, 3), ("a", "u", 2, 0, 0)], (1, 2, "b", 3, 6, "v")),
        ([("a", "v", 1, 3, 0), ("b", "v", 1, 2, 3)], (1, 2, "b", 3, 6, "v")),
        ([("a", "v", 1, 2, 2), ("b", "v", 1, 2, 0)], (1, 2, "a", 2, 4, "v")),
        ([("a", "u", 1, 2, 2), ("a", "spikes", 1, 2, 1)], (1, 2, "a", 1, 2, "spikes")),
        ([("a", k, 0, 4, 1) for k in ("spikes", "v", "u")], (0, 4, "a", 1, 2, "u")),
        ([("a", k, 0, 4, 1) for k in ("spikes", "v")], (0, 4, "a", 1, 2, "v")),
    ],
)
def test_the_first_difference_is_found(tmp_path, places, first):
    x, y = pair(tmp_path, add(*places))
    with read_trace(x) as a, read_trace(y) as b:
        part = diff(a, b)
        if first is None:
            assert part is None
            return
        sample, step, name, neuron, _, kind = first
        values = [int(file.array(name, kind, sample)[step, neuron]) for file in (a, b)]
        assert part == Part(*first, *values) and values[0] != values[1]


@in_folder
@given(st.integers(0, 2), st.integers(0, 4), st.integers(0, 3), st.sampled_from(["spikes", "u", "v"]))
def test_any_single_difference_is_found(tmp_path, sample, step, neuron, kind):
    x, y = pair(tmp_path, add(("b", kind, sample, step, neuron)))
    with read_trace(x) as a, read_trace(y) as b:
        part = diff(a, b)
    assert (part.sample, part.step, part.population, part.neuron, part.kind) == (sample, step, "b", neuron, kind)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"samples": 4}, "cannot be compared: has 4 samples, .*x.h5 has 3; trace the same populations"),
        ({"steps": 6}, "cannot be compared: has 6 steps, .*x.h5 has 5"),
        ({"populations": POPULATIONS[:1]}, "cannot be compared: population b is in .*x.h5, not in .*y.h5"),
        ({"populations": (*POPULATIONS, population("c", 1))}, "population c is in .*y.h5, not in .*x.h5"),
        ({"populations": (POPULATIONS[0], population("b", 5))}, "has 5 neurons of b, .*x.h5 has 4"),
        (
            {"populations": (POPULATIONS[0], TracedPopulation("b", (8,), np.arange(4, dtype=np.int32)))},
            "has other neurons of b than",
        ),
    ],
)
def test_traces_that_cannot_be_compared(tmp_path, other, message):
    x, y = pair(tmp_path, **other)
    with read_trace(x) as a, read_trace(y) as b, pytest.raises(TraceFileError, match=message):
        diff(a, b)


def test_graded_and_binary_spikes_of_equal_values_are_equal(tmp_path):
    binary = random_trace(0, 3, 5, 3)
    graded = Trace(binary.spikes.astype(np.int32), binary.u, binary.v)
    files = [write(tmp_path / f"{i}.h5", POPULATIONS[:1], {"a": trace}) for i, trace in enumerate((binary, graded))]
    with read_trace(files[0]) as a, read_trace(files[1]) as b:
        assert diff(a, b) is None
