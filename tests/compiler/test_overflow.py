"""The proof that u fits: neuron by neuron, and never too small."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import simulate
from snn_compile.compiler.fixed import U_LIMIT, FixedInput, FixedNetwork, FixedPopulation, FixedProjection
from snn_compile.compiler.overflow import check_overflow
from snn_compile.compiler.synapses import Synapses
from snn_compile.errors import LimitError


def network(weights, du, exponent, steps):
    n = len(du)
    cells = FixedPopulation("cells", (n,), np.arange(n), du, 0, 100, np.zeros(n), np.zeros(n), 0)
    synapses = Synapses.from_dense(np.array(weights, np.int16)[:, None])
    projection = FixedProjection("x", "cells", synapses, exponent)
    return FixedNetwork((FixedInput("x", (1,), "graded", 255, 255),), (cells,), (projection,), ("cells",), steps)


def test_the_neuron_that_remembers_is_named():
    """254 * 255 << 6 is 4 145 280: two of them fit, three do not."""
    forgetful, steady = network([254, 254], [4095, 4095], 0, 3), network([254, 254], [4095, -1], 0, 3)
    check_overflow(forgetful)
    check_overflow(replace(steady, steps=2))
    with pytest.raises(LimitError, match=r"cells: the current of neuron 1 can reach 12435840, u holds less than 83886"):
        check_overflow(steady)


@given(st.lists(st.tuples(st.integers(-127, 127), st.integers(-1, 4095)), min_size=1, max_size=5), st.integers(1, 40))
def test_what_passes_stays_below_the_limit(neurons, steps):
    weights, du = [2 * w or 2 for w, _ in neurons], [d for _, d in neurons]
    for exponent in range(7, -8, -1):
        one = network(weights, du, exponent, steps)
        try:
            check_overflow(one)
        except LimitError:
            continue
        u = simulate(one, np.array([[255]]))["cells"][1]
        assert np.abs(u).max() < U_LIMIT
        return
