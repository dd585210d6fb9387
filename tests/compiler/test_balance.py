"""Balancing: spikes of one step meet in one step, whatever path they took."""

from __future__ import annotations

import numpy as np
import pytest
from networks import small_chip
from snn_compile.compiler.balance import balance, window_offsets
from snn_compile.compiler.fold import fold
from snn_compile.compiler.lower import lower
from snn_compile.compiler.network import Network
from snn_compile.compiler.nodes import LIF, Input, Linear
from snn_compile.compiler.quantise import quantise
from snn_compile.errors import LimitError
from snn_compile.hw_targets import chip as chips


def skipping(layers):
    """A chain of populations and a layer that skips them all."""
    nodes, edges, before = [Input("x", shape=(3,))], [], "x"
    for i in range(layers):
        nodes += [Linear(f"fc{i}", weight=3 * np.eye(3)), LIF(f"h{i}", tau=1.0)]
        edges += [(before, f"fc{i}"), (f"fc{i}", f"h{i}")]
        before = f"h{i}"
    nodes.append(Linear("skip", weight=np.eye(3)))
    edges += [("h0", "skip"), ("skip", before)]
    return lower(fold(Network(tuple(nodes), tuple(edges), steps=4)))


def test_a_path_that_skips_layers_waits_for_the_other():
    chip = chips.load("loihi2")
    sparse = balance(skipping(4), chip)
    delays = {(q.source, q.target): q.synapses.max_delay for q in sparse.projections}
    assert delays == {("x", "h0"): 0, ("h0", "h1"): 0, ("h1", "h2"): 0, ("h2", "h3"): 0, ("h0", "h3"): 2}
    assert window_offsets(sparse) == {"x": -1, "h0": 0, "h1": 1, "h2": 2, "h3": 3}
    network = quantise(sparse, chip)
    assert all((network.lags(q) == 0).all() for q in network.projections)


def test_a_loop_is_no_path():
    weight = 3 * np.eye(2)
    nodes = (
        Input("x", shape=(2,)), Linear("in", weight=weight), LIF("a", tau=1.0), Linear("ab", weight=weight),
        LIF("b", tau=1.0), Linear("ba", weight=weight), Linear("bo", weight=weight), LIF("out", tau=1.0),
    )  # fmt: skip
    edges = [("x", "in"), ("in", "a"), ("a", "ab"), ("ab", "b"), ("b", "ba"), ("ba", "a"), ("b", "bo"), ("bo", "out")]
    sparse = balance(lower(fold(Network(nodes, tuple(edges), steps=4))), chips.load("loihi2"))
    assert window_offsets(sparse) == {"x": -1, "a": 0, "b": 1, "out": 2}
    network = quantise(sparse, chips.load("loihi2"))
    lags = {(q.source, q.target): int(network.lags(q).max()) for q in network.projections}
    assert lags == {("x", "a"): 0, ("a", "b"): 0, ("b", "a"): 2, ("b", "out"): 0}


def test_a_delay_beyond_the_chip_is_refused():
    with pytest.raises(LimitError, match="h0 -> h3: needs a delay of 2 steps, loihi2 has 1; shorten it, or the path"):
        balance(skipping(4), small_chip(delay_max=1))
