"""Lowering: synapses of layers, and the removal of neurons that cannot matter, in both directions, transitively."""

from __future__ import annotations

import numpy as np
import pytest
from snn_compile.compiler.fold import fold
from snn_compile.compiler.lower import lower
from snn_compile.compiler.network import Network
from snn_compile.compiler.nodes import LIF, Conv2d, Delay, Input, Linear
from snn_compile.errors import LimitError, NetworkError, UnsupportedError


def layered(*weights, steps=8, rates=None, bias=None, tau=1.0):
    """x -> fc1 -> h1 -> fc2 -> h2 …; tau 1: a neuron fires where its input of one step reaches 1."""
    nodes, edges, before = [Input("x", shape=(np.shape(weights[0])[1],))], [], "x"
    for i, weight in enumerate(weights, 1):
        linear_bias = None if bias is None or i > 1 else np.array(bias, float)
        nodes += [Linear(f"fc{i}", weight=np.array(weight, float), bias=linear_bias), LIF(f"h{i}", tau=tau)]
        edges += [(before, f"fc{i}"), (f"fc{i}", f"h{i}")]
        before = f"h{i}"
    return Network(tuple(nodes), tuple(edges), steps, rates=rates or {})


def test_dead_neurons_go_in_both_directions_and_transitively():
    network = layered(
        [[2, 0], [0, 0.5], [0, 2], [2, 0]],  # h1[1] can never fire
        [[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0]],  # so h2[1] can never fire; nobody hears h1[3]
        [[2, 0, 0], [0, 2, 0]],  # nobody hears h2[2], so nobody hears h1[2]; h3[1] stays: it is an output
    )
    sparse = lower(fold(network))
    assert (
        sparse.dump()
        == """sparse network, 8 steps, outputs h3
  x: input 2 graded
  h1: 1 of 4 neurons, 0 biases
  h2: 1 of 3 neurons, 0 biases
  h3: 2 of 2 neurons, 0 biases
  x -> h1: 1 synapses
  h1 -> h2: 1 synapses
  h2 -> h3: 1 synapses"""
    )
    assert [p.origin.tolist() for p in sparse.populations] == [[0], [0], [0, 1]]
    assert [(c.target, c.surviving, c.synapses) for c in sparse.census] == [("h1", 4, 8), ("h2", 3, 12), ("h3", 2, 6)]


def test_a_window_bounds_what_can_be_reached():
    """tau 2 charges 0.625 (1 - 0.5^T): 1.25 reaches 1 within 8 steps, not within 2."""
    for steps, alive in ((2, 0), (8, 1)):
        network = layered([[1.25], [4.0]], [[4.0, 4.0]], steps=steps, tau=2.0)
        assert lower(fold(network)).by_name["h1"].size == 1 + alive


def test_a_bias_can_keep_a_neuron_alive_and_can_silence_it():
    network = layered([[2.0], [0.0], [2.0]], [[1.0, 1.0, 1.0]], bias=[0.0, 1.5, -1.5])
    assert lower(fold(network)).by_name["h1"].origin.tolist() == [0, 1]


def test_inhibition_of_a_neuron_that_lives_is_kept():
    sparse = lower(fold(layered([[2, -1], [0, 2]], [[2, -3]])))
    assert [len(q.synapses) for q in sparse.projections] == [3, 2]


def test_rates_follow_their_neurons():
    network = layered([[2], [0.1], [2]], [[2, 2, 2]], rates={"h1": np.array([0.1, 0.2, 0.3])})
    assert lower(fold(network)).by_name["h1"].rate.tolist() == [0.1, 0.3]


def test_two_layers_between_the_same_populations_add_up():
    nodes = (
        Input("x", shape=(2,)),
        Linear("a", weight=np.eye(2)),
        Linear("b", weight=np.ones((2, 2))),
        LIF("y", tau=1.0),
    )
    network = Network(nodes, (("x", "a"), ("x", "b"), ("a", "y"), ("b", "y")), steps=2)
    (projection,) = lower(fold(network)).projections
    assert projection.synapses.matrix().toarray().tolist() == [[2, 1], [1, 2]]
    assert projection.layer == "a + b"


def test_a_population_without_life_is_named():
    with pytest.raises(NetworkError, match="h1: none of its 2 neurons can fire, whatever the input is"):
        lower(fold(layered([[0.1], [0.1]], [[2, 2]])))


def test_rates_that_do_not_fit_are_named():
    with pytest.raises(NetworkError, match="h1: its 5 firing rates do not fit 1 neurons"):
        lower(fold(layered([[2.0]], [[2.0]], rates={"h1": np.zeros(5)})))


def test_layers_between_the_same_neurons_add_up_where_their_delays_agree():
    one = np.ones((1, 1))
    nodes = [Input("x", shape=(1,), encoding="spikes"), LIF("y", tau=1.0)]
    edges = []
    for name, weight, delay in (("a", 1.0, 2), ("b", 2.0, 2), ("c", -3.0, 2)):
        nodes += [Linear(name, weight=weight * one), Delay(f"d{name}", delay)]
        edges += [("x", name), (name, f"d{name}"), (f"d{name}", "y")]
    nodes[6] = Linear("c", weight=4 * one)
    (projection,) = lower(fold(Network(tuple(nodes), tuple(edges), steps=4))).projections
    assert (projection.synapses.weights.tolist(), projection.synapses.delays.tolist()) == ([7.0], [2])
    nodes[7] = Delay("dc", 1)
    with pytest.raises(UnsupportedError, match=r"a \+ b \+ c: join the same neurons with different delays"):
        lower(fold(Network(tuple(nodes), tuple(edges), steps=4)))


def test_a_network_too_large_to_unroll_is_refused_before_it_is_unrolled():
    nodes = (
        Input("x", shape=(1, 4096, 4096), encoding="spikes"),
        Conv2d("c", weight=np.ones((1, 1, 3, 3)), padding=(1, 1)),
        LIF("y"),
    )
    network = Network(nodes, (("x", "c"), ("c", "y")), steps=4)
    with pytest.raises(LimitError, match=r"c: brings the network to 150945796 synapses .* 134217728 are possible"):
        lower(fold(network))
