"""Float networks of any shape through all passes: what comes out runs, and equals the reference bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import simulate
from snn_compile.compiler import file
from snn_compile.compiler.decode import decode
from snn_compile.compiler.network import Network
from snn_compile.compiler.nodes import LIF, Input, Linear
from snn_compile.compiler.pipeline import compile_network
from snn_compile.errors import LimitError, NetworkError, UnsupportedError
from snn_compile.hw_targets import chip as chips
from snn_compile.runtime.engine import run_engine


def random_float_network(seed):
    """A chain of LIF layers with skips, self-loops, feedback, biases, odd magnitudes and time constants."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 9, int(rng.integers(2, 5))).tolist()
    magnitude = 10.0 ** rng.uniform(-3, 3)
    names = ["x"] + [f"p{i}" for i in range(1, len(sizes))]
    encoding = str(rng.choice(["graded", "rate", "spikes"]))
    max_value = 1 if encoding == "spikes" else int(rng.choice([1, 16, 255, 4095]))
    nodes, edges = [Input("x", shape=(sizes[0],), max_value=max_value, encoding=encoding)], []
    for name in names[1:]:
        tau = float(rng.choice([1.0, 1.5, 2.0, 30.0, 4000.0]))
        fires = str(rng.choice([">", ">="]))
        nodes.append(LIF(name, tau=tau, threshold=magnitude, decay_input=bool(rng.random() < 0.5), fires=fires))

    def join(a, b):
        label = f"{names[a]}{names[b]}"
        weight = rng.normal(0.3, 1, (sizes[b], sizes[a])) * magnitude * (rng.random((sizes[b], sizes[a])) < 0.7)
        bias = rng.normal(size=sizes[b]) * magnitude * 0.3 if rng.random() < 0.4 else None
        nodes.append(Linear(label, weight=weight * 10.0 ** rng.uniform(-2, 1), bias=bias))
        edges.extend([(names[a], label), (label, names[b])])

    last = len(sizes) - 1
    for b in range(1, len(sizes)):
        join(b - 1, b)
    for _ in range(int(rng.integers(0, 4))):
        a, b = (int(n) for n in rng.integers(1, len(sizes), 2))
        if a != last and (names[a], f"{names[a]}{names[b]}") not in edges:
            join(a, b)
    network = Network(tuple(nodes), tuple(edges), steps=int(rng.integers(1, 9)))
    shape = (4, network.steps, sizes[0]) if encoding == "spikes" else (4, sizes[0])
    return network, rng.integers(0, max_value + 1, shape)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["loihi1", "loihi2"]))
def test_any_float_network_compiles_or_says_why_not(seed, target):
    network, samples = random_float_network(seed)
    try:
        compiled = compile_network(network, chips.load(target))
    except NetworkError as error:
        assert "can fire, whatever the input is" in str(error)
        return
    names = [p.name for p in compiled.network.populations]
    result = run_engine(compiled.network, samples, traces=names)
    for name, (spikes, u, v) in simulate(compiled.network, samples).items():
        trace = result.traces[name]
        assert np.array_equal(trace.spikes, spikes) and np.array_equal(trace.u, u) and np.array_equal(trace.v, v)


def chain(first, second, bias=None, threshold=1.0, extra=(), extra_edges=()):
    x = Input("x", shape=(np.shape(first)[1],))
    h, y = LIF("h", tau=2.0, threshold=threshold), LIF("y", tau=2.0, threshold=threshold)
    layers = Linear("a", weight=np.array(first, float), bias=bias), Linear("b", weight=np.array(second, float))
    edges = (("x", "a"), ("a", "h"), ("h", "b"), ("b", "y"), *extra_edges)
    return Network((x, layers[0], h, layers[1], y, *extra), edges, steps=8)


@pytest.mark.parametrize("bias", 10 ** np.linspace(0, 4, 60))
@pytest.mark.parametrize("sign", [1, -1])
def test_a_large_bias_finds_its_scale(bias, sign):
    compiled = compile_network(chain([[1 + 3 * bias, 1]], [[3]], bias=np.array([sign * bias])), chips.load("loihi2"))
    population = compiled.network.populations[0]
    assert population.bias[0] / (64 * population.vth + 1) == pytest.approx(sign * bias / 2, rel=0.01)


def test_a_weak_loop_beside_a_strong_layer_is_dropped_and_said():
    loop = (Linear("loop", weight=1e-9 * np.eye(2)),)
    network = chain(2 * np.eye(2), [[3, 3]], extra=loop, extra_edges=(("h", "loop"), ("loop", "h")))
    report = compile_network(network, chips.load("loihi2")).report
    assert "h -> h: no synapse is left, at this scale all weights round to 0" in report.warnings


def test_a_tiny_layer_on_the_host_stays_within_its_shift():
    compiled = compile_network(chain([[1e-25]], [[3]], bias=np.array([3.0])), chips.load("loihi1"))
    assert all(-40 <= q.exponent <= 0 for q in compiled.network.projections if q.host)


def test_a_branch_without_life_is_left_out():
    dead = (Linear("da", weight=np.zeros((3, 1))), LIF("d"), Linear("dy", weight=np.ones((1, 3))))
    edges = (("x", "da"), ("da", "d"), ("d", "dy"), ("dy", "y"))
    compiled = compile_network(chain([[3]], [[3]], extra=dead, extra_edges=edges), chips.load("loihi2"))
    assert [p.name for p in compiled.network.populations] == ["h", "y"]


def test_a_readout_that_hears_itself_is_an_output():
    loop = (Linear("yy", weight=np.array([[0.5]])),)
    network = chain([[3]], [[3]], extra=loop, extra_edges=(("y", "yy"), ("yy", "y")))
    assert network.outputs == ("y",)
    compile_network(network, chips.load("loihi2"))


def test_two_populations_that_hear_each_other_have_no_output():
    back = (Linear("back", weight=np.array([[1.0]])),)
    with pytest.raises(NetworkError, match="has no output: every spiking layer feeds another; add a readout layer"):
        chain([[3]], [[3]], extra=back, extra_edges=(("y", "back"), ("back", "h")))


def test_feedback_across_layers_is_said_to_come_late():
    more = (Linear("hk", weight=3 * np.eye(1)), LIF("k"), Linear("kh", weight=np.eye(1)))
    edges = (("h", "hk"), ("hk", "k"), ("k", "kh"), ("kh", "h"))
    out = (Linear("ky", weight=3 * np.eye(1)),)
    network = chain([[3]], [[3]], extra=(*more, *out), extra_edges=(*edges, ("k", "ky"), ("ky", "y")))
    warnings = compile_network(network, chips.load("loihi2")).report.warnings
    assert any(w.startswith("k -> h: feedback arrives 2 steps later") for w in warnings)


def test_names_that_the_fold_makes_do_not_collide():
    nodes = (Input("x", shape=(1,)), Linear("fc", weight=3 * np.eye(1)), LIF("h"), LIF("k"))
    more = (Linear("fc-2", weight=3 * np.eye(1)), Linear("ky", weight=3 * np.eye(1)), LIF("y"))
    edges = (("x", "fc"), ("fc", "h"), ("fc", "k"), ("h", "fc-2"), ("fc-2", "y"), ("k", "ky"), ("ky", "y"))
    compile_network(Network((*nodes, *more), edges, steps=4), chips.load("loihi2"))


def test_magnitudes_beyond_reason_are_refused():
    with pytest.raises(NetworkError, match=r"a: weight reaches 1e\+200, 1e\+30 is possible"):
        chain([[1e200]], [[3]])
    with pytest.raises(NetworkError, match="h: threshold is 1e.300, a number above 0 and up to 1e.30 is needed"):
        chain([[1]], [[3]], threshold=1e300)
    with pytest.raises((NetworkError, LimitError)):
        compile_network(chain([[1e-310]], [[3]], bias=np.array([1e-320])), chips.load("loihi2"))


def test_two_inputs_are_refused():
    extra = (Input("z", shape=(1,)), Linear("zh", weight=np.eye(1)))
    network = chain([[3]], [[3]], extra=extra, extra_edges=(("z", "zh"), ("zh", "h")))
    with pytest.raises(UnsupportedError, match="network: has 2 inputs, one is possible; join them into one"):
        compile_network(network, chips.load("loihi2"))


def test_votes_travel_to_the_predictions(tmp_path):
    """Six outputs, two votes per class: the class whose two neurons spike most together."""
    rng = np.random.default_rng(0)
    nodes = (Input("x", shape=(5,), max_value=4), Linear("fc", weight=rng.normal(0.3, 1, (6, 5))), LIF("y"))
    network = Network(nodes, (("x", "fc"), ("fc", "y")), steps=8, votes=2)
    file.save(compile_network(network, chips.load("loihi2")).program, tmp_path / "x.snnc")
    result = run_engine(decode(file.load(tmp_path / "x.snnc")), rng.integers(0, 5, (50, 5)))
    summed = result.counts[:, 0::2] + result.counts[:, 1::2]
    assert np.array_equal(result.predictions, summed.argmax(axis=1)) and len(set(result.predictions)) == 3
    with pytest.raises(NetworkError, match="has 4 votes per class for 6 outputs; give a number that divides"):
        Network(nodes, (("x", "fc"), ("fc", "y")), steps=8, votes=4)
