"""Graphs: sub-graphs, recurrence, skips, sums, files of the nir library, and networks that go out and come back."""

import itertools
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from float_reference import simulate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from snn_compile.compiler.findings import UnsupportedModelError
from snn_compile.compiler.fold import fold
from snn_compile.compiler.network import Network
from snn_compile.compiler.nodes import (
    LIF,
    AvgPool2d,
    BatchNorm,
    Conv2d,
    FixedNeurons,
    Flatten,
    Input,
    Linear,
    MaxPool2d,
)
from snn_compile.errors import NetworkError, UnsupportedError
from snn_compile.frontend.writers.nir import to_nir, unsaid, write_nir

sys.path.insert(0, str(Path(__file__).parent))
from nir_files import DT, chain, euler, read, read_here

LI = {"tau": np.array(DT), "r": np.array(1.0), "v_leak": np.array(0.0)}


def graph_of(nodes, edges):
    ports = {"in": {"type": "Input", "shape": np.array([2])}, "out": {"type": "Output", "shape": np.array([2])}}
    return {"type": "NIRGraph", "nodes": {**ports, **nodes}, "edges": edges}


def linear(weight, bias=None):
    more = {} if bias is None else {"bias": np.asarray(bias, float)}
    return {"type": "Affine" if more else "Linear", "weight": np.asarray(weight, float), **more}


def test_edges_that_meet_in_layers_are_summed_and_a_bias_counts_once(tmp_path):
    rng = np.random.default_rng(0)
    a, b, c = rng.normal(size=(3, 2, 2))
    nodes = {"a": linear(a, [1, 2]), "b": linear(b), "c": linear(c, [3, 4]), "y": {"type": "LI", **LI}}
    nodes["s"] = {"type": "Scale", "scale": np.full(2, 2.0)}
    edges = [("in", "a"), ("in", "b"), ("a", "c"), ("b", "c"), ("in", "c"), ("c", "s"), ("s", "y"), ("in", "y")]
    edges.append(("y", "out"))
    network = read(tmp_path, graph_of(nodes, edges))
    x = rng.normal(size=(1, 2))
    expected = 2 * (c @ (a @ x[0] + [1, 2] + b @ x[0] + x[0]) + [3, 4]) + x[0]
    assert simulate(network, x)["y"][0] == pytest.approx(expected)


def braille(rng, n=6, out=2):
    """Linear -> CubaLIF with recurrent Affine in a sub-graph -> Linear -> CubaLI, and what it computes."""
    fc1, fc2, rec = rng.normal(size=(n, 2)), rng.normal(size=(out, n)), rng.normal(size=(n, n))
    cuba = {"tau_mem": np.full(n, 2e-3), "tau_syn": np.full(n, 5e-4), "r": np.full(n, 20.0), "v_leak": np.zeros(n),
            "w_in": np.full(n, 5.0)}  # fmt: skip
    lif = {**cuba, "v_threshold": np.ones(n), "v_reset": np.zeros(n)}
    bias = rng.normal(size=n) * 0.1
    size = {"shape": np.array([n])}
    rnn = {
        "type": "NIRGraph", "edges": [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")],
        "nodes": {"input": {"type": "Input", **size}, "lif": {"type": "CubaLIF", **lif}, "w_rec": linear(rec, bias),
                  "output": {"type": "Output", **size}},
    }  # fmt: skip
    li = {key: value[:out] for key, value in cuba.items()}
    nodes = {"fc1": linear(fc1), "rnn": rnn, "fc2": linear(fc2), "li": {"type": "CubaLI", **li}}
    graph = graph_of(nodes, list(itertools.pairwise(["in", "fc1", "rnn", "fc2", "li", "out"])))

    def compute(x):
        """As the equations say; recurrent spikes are heard one step later."""
        v, i, z, spikes = np.zeros(n), np.zeros(n), np.zeros(n), []
        for now in x:
            i = i + DT / 5e-4 * (5.0 * (fc1 @ now + rec @ z + bias) - i)
            v = v + DT / 2e-3 * (20.0 * i - v)
            z = (v > 1).astype(float)
            v = np.where(z > 0, 0.0, v)
            spikes.append(z)
        return np.array(spikes), euler("CubaLI", li, np.array(spikes) @ fc2.T, DT)

    return graph, compute


def test_a_recurrent_network_of_synaptic_neurons(tmp_path):
    rng = np.random.default_rng(7)
    graph, compute = braille(rng)
    network = read(tmp_path, graph, steps=60)
    assert [node.name for node in network.nodes] == ["in", "fc1", "rnn.lif", "fc2", "li", "rnn.w_rec"]
    x = (rng.random((60, 2)) < 0.4).astype(float)
    spikes, membranes = compute(x)
    assert 0.05 < spikes.mean() < 0.95
    found = simulate(network, x)
    assert np.array_equal(found["rnn.lif"], spikes) and np.allclose(found["li"], membranes, atol=1e-9)
    assert any("hears rnn.w_rec one step later" in f.text for f in network.findings)


def test_an_edge_twice_and_a_branch_that_leads_nowhere(tmp_path):
    nodes = {"y": {"type": "LI", **LI}, "lost": linear(np.eye(2))}
    network = read(tmp_path, graph_of(nodes, [("in", "y"), ("in", "y"), ("in", "lost"), ("y", "out")]))
    assert network.edges == (("in", "y"),)
    assert [(f.layer, f.kind) for f in network.findings if f.layer != "in"][:2] == [("y", "assumed"), ("lost", "exact")]


@pytest.mark.parametrize(("nodes", "edges", "sentence"), [
    ({"out-2": {"type": "Output", "shape": np.array([2])}}, [("y", "out-2")], "out-2: the graph has 2 Output nodes"),
    ({"x": {"type": "Input", "shape": np.array([2])}}, [("x", "y")], "x: the graph has 2 Input nodes"),
    ({"t": {"type": "Threshold", "threshold": np.ones(2)}}, [("in", "t"), ("t", "y"), ("t", "out")],
     "t: leads to the Output, and layers that follow hear it too"),
    ({"t": {"type": "Threshold", "threshold": np.ones(2)}}, [("in", "t"), ("t", "out")], "leads to the outputs y, t"),
    ({"g": graph_of({}, [])}, [], "y: is|the graph has"),
])  # fmt: skip
def test_outputs_and_inputs_that_are_not_one(tmp_path, nodes, edges, sentence):
    graph = graph_of({"y": {"type": "LI", **LI}, **nodes}, [("in", "y"), ("y", "out"), *edges])
    if "g" in nodes:
        del graph["nodes"]["out"]
        graph["edges"] = [("in", "y")]
    with pytest.raises((UnsupportedModelError, NetworkError), match=sentence):
        read(tmp_path, graph)


def constants(rng, n, low, high):
    return rng.uniform(low, high) if rng.random() < 0.5 else rng.uniform(low, high, n)


def random_neurons(rng, name, n, last):
    """Any that NIR can say."""
    silent = last and rng.random() < 0.5
    return LIF(
        name, tau=constants(rng, n, 1, 20), threshold=constants(rng, n, 0.3, 2), decay_input=bool(rng.random() < 0.5),
        tau_syn=1.0 if rng.random() < 0.5 else constants(rng, n, 1, 5), gain=constants(rng, n, 0.5, 2),
        bias=constants(rng, n, -0.1, 0.1), fires="never" if silent else [">", ">="][rng.integers(2)],
        reset=["hard", "none"][rng.integers(2)],
    )  # fmt: skip


def random_network(rng, image):
    """An image network with batch norm, pooling and padding, or a flat one with a loop and a skip."""

    def pruned(*shape):
        return rng.normal(size=shape) * (rng.random(shape) < 0.5)

    if image:
        norm = {"weight": rng.normal(size=3), "bias": rng.normal(size=3) * 0.1, "running_mean": rng.normal(size=3),
                "running_var": rng.uniform(0.5, 2, 3)}  # fmt: skip
        plain = replace(random_neurons(rng, "a", 75, False), tau_syn=1.0)
        names = ["x", "c", "norm", "a", "p", "f", "fc", "y"]
        nodes = [Input("x", shape=(2, 5, 5)), Conv2d("c", weight=pruned(3, 2, 3, 3), padding=(1, 1)),
                 BatchNorm("norm", **norm), plain, AvgPool2d("p"), Flatten("f"), Linear("fc", weight=pruned(4, 12)),
                 random_neurons(rng, "y", 4, True)]  # fmt: skip
        return Network(tuple(nodes), tuple(itertools.pairwise(names)), steps=20)
    nodes = [Input("x", shape=(3,)), Linear("fc", weight=pruned(5, 3), bias=rng.normal(size=5)),
             random_neurons(rng, "a", 5, False), Linear("rec", weight=pruned(5, 5)),
             Linear("out", weight=pruned(4, 5)), Linear("skip", weight=pruned(4, 3)),
             random_neurons(rng, "y", 4, True)]  # fmt: skip
    edges = [
        *itertools.pairwise(["x", "fc", "a", "out", "y"]),
        ("a", "rec"),
        ("rec", "a"),
        ("x", "skip"),
        ("skip", "y"),
    ]
    return Network(tuple(nodes), tuple(edges), steps=20)


@given(seed=st.integers(0, 2**32 - 1), image=st.booleans(), dt=st.sampled_from([1e-4, 1e-3, 0.7]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
def test_what_goes_out_comes_back_and_spikes_as_before(tmp_path, seed, image, dt):
    rng = np.random.default_rng(seed)
    network = random_network(rng, image)
    path = tmp_path / "out.nir"
    write_nir(network, path, dt)
    again = read_here(path, dt=dt, steps=20)
    x = (rng.random((20, *network.shapes["x"])) < 0.5).astype(float)
    before, after = simulate(network, x), simulate(again, x)
    for name in ("a", "y"):
        assert np.allclose(before[name], after[name], atol=1e-9)
        for key in ("tau", "tau_syn"):
            ours, theirs = (np.asarray(getattr(n.by_name[name], key)) for n in (network, again))
            assert np.allclose(ours, theirs, rtol=1e-12)
    weights = [
        [np.count_nonzero(n.weight) for n in net.nodes if hasattr(n, "weight")] for net in (fold(network), again)
    ]
    assert sorted(weights[0]) == sorted(weights[1])
    nir = pytest.importorskip("nir")
    assert set(nir.read(path).nodes) >= {"x", "a", "y", "output"}


def test_the_bytes_are_the_same_every_time():
    network = random_network(np.random.default_rng(3), True)
    first = to_nir(network, DT)
    time.sleep(1.1)
    assert to_nir(network, DT) == first


def test_max_pooling_goes_out_as_neurons(tmp_path):
    conv, dense = Conv2d("c", weight=np.full((1, 1, 1, 1), 4.0)), Linear("fc", weight=np.eye(4) * 3)
    lif = LIF("a", fires=">")
    nodes = (Input("x", shape=(1, 4, 4)), conv, lif, MaxPool2d("p"), Flatten("f"), dense, LIF("y"))
    network = Network(nodes, tuple(itertools.pairwise(node.name for node in nodes)), steps=10)
    write_nir(network, tmp_path / "out.nir", DT)
    again = read_here(tmp_path / "out.nir", steps=10)
    x = (np.random.default_rng(0).random((10, 1, 4, 4)) < 0.3).astype(float)
    assert np.array_equal(simulate(fold(network), x)["y"], simulate(again, x)["y"])


def test_what_nir_cannot_say():
    def written(weight=1.0, shape=(1, 1), **fields):
        nodes = (Input("x", shape=(1,)), Linear("fc", weight=np.full(shape, weight)), LIF("y", **fields))
        return Network(nodes, (("x", "fc"), ("fc", "y")), steps=4)

    for fields, sentence in (
        ({"reset": "soft"}, "y: has a soft reset, which NIR cannot say; train it with a hard reset"),
        ({"reset_delay": True}, "y: has a reset one step late, which NIR cannot say"),
        ({"refractory": 2}, "y: rests 2 steps after a spike, which NIR cannot say"),
    ):
        with pytest.raises(UnsupportedError, match=sentence):
            to_nir(written(**fields), DT)
    silent = written(reset="soft", reset_delay=True, fires="never")
    assert to_nir(silent, DT)
    kernel = (Input("x", shape=(1, 4, 4)), Conv2d("c", weight=np.ones((1, 1, 2, 3))), LIF("y"))
    with pytest.raises(UnsupportedError, match="c: its kernel is 2 x 3, which nir reads as 2 x 2"):
        to_nir(Network(kernel, (("x", "c"), ("c", "y")), steps=4), DT)
    texts = [finding.text for finding in unsaid(written(), DT)]
    assert len(texts) == 3 and "the next smaller float32" in texts[2]


def test_neurons_in_integers_do_not_go_out():
    nodes = (Input("x", shape=(1,)), Linear("fc", weight=np.eye(1)), FixedNeurons("y", vth=3))
    with pytest.raises(UnsupportedError, match="y: is a FixedNeurons, which NIR cannot say"):
        to_nir(Network(nodes, (("x", "fc"), ("fc", "y")), steps=4), DT)


def test_a_file_of_the_nir_library_reads_as_ours(tmp_path):
    nir = pytest.importorskip("nir")
    rng = np.random.default_rng(2)
    n, weight = 3, rng.normal(size=(3, 18)).astype(np.float32)
    lif = {"tau": np.full(n, 1e-3), "r": np.full(n, 10.0), "v_leak": np.zeros(n), "v_threshold": np.ones(n)}
    pool = {"kernel_size": np.array([2, 2]), "stride": np.array([2, 2]), "padding": np.array([0, 0])}
    conv = {"weight": rng.normal(size=(2, 1, 3, 3)), "bias": np.zeros(2), "stride": 1, "padding": "same",
            "dilation": 1, "groups": 1}  # fmt: skip
    theirs = nir.NIRGraph.from_list(
        nir.Input(np.array([1, 6, 6])), nir.Conv2d(input_shape=(6, 6), **conv), nir.SumPool2d(**pool),
        nir.Flatten(np.array([2, 3, 3]), 0), nir.Affine(weight, np.ones(3, np.float32)), nir.LIF(**lif),
    )  # fmt: skip
    nir.write(tmp_path / "theirs.nir", theirs)
    text = {k: v if isinstance(v, str) else np.array(v) for k, v in conv.items()}
    ours = chain(
        ("input", "Input", {"shape": np.array([1, 6, 6])}), ("conv2d", "Conv2d", text),
        ("sumpool2d", "SumPool2d", pool),
        ("flatten", "Flatten", {"start_dim": np.array(0), "end_dim": np.array(-1)}),
        ("affine", "Affine", {"weight": weight, "bias": np.ones(3, np.float32)}), ("lif", "LIF", lif),
        ("output", "Output", {"shape": np.array([3])}),
    )  # fmt: skip
    theirs, ours = read_here(tmp_path / "theirs.nir"), read(tmp_path, ours)
    assert theirs.dump() == ours.dump()
    x = rng.normal(size=(8, 1, 6, 6))
    assert np.array_equal(simulate(theirs, x)["lif"], simulate(ours, x)["lif"])
