"""Every node of NIR against its own equation."""

import sys
from pathlib import Path

import numpy as np
import pytest
from float_reference import simulate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from snn_compile.compiler.findings import UnsupportedModelError
from snn_compile.compiler.nodes import LIF, AvgPool2d, Scale
from snn_compile.errors import NetworkError

sys.path.insert(0, str(Path(__file__).parent))
from nir_files import DT, chain, euler, read

SPIKING = ("IF", "LIF", "CubaLIF")
SILENT = ("I", "LI", "CubaLI")


def neurons(rng, kind, n):
    """Parameters of every kind, each constant or per neuron."""

    def values(low, high):
        return np.full(n, rng.uniform(low, high)) if rng.random() < 0.5 else rng.uniform(low, high, n)

    p = {"r": values(5, 20) if kind not in ("I", "IF") else values(5e3, 2e4)}
    if kind.startswith("Cuba"):
        p |= {"tau_mem": values(DT, 1e-3), "tau_syn": values(DT, 1e-3), "w_in": values(1, 5)}
    elif kind.startswith("LI"):
        p["tau"] = values(DT, 2e-3)
    if kind not in ("I", "IF"):
        p["v_leak"] = values(-0.3, 0.3)
    if kind in SPIKING:
        p |= {"v_reset": values(-0.5, 0.2), "v_threshold": values(0.5, 2)}
    return p


def line(*kinds, shape, out):
    return chain(("in", "Input", {"shape": np.array(shape)}), *kinds, ("out", "Output", {"shape": np.array(out)}))


@pytest.mark.parametrize("kind", SPIKING + SILENT)
@given(seed=st.integers(0, 2**32 - 1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
def test_neurons_do_what_their_equation_says(tmp_path, kind, seed):
    rng = np.random.default_rng(seed)
    n, steps = 4, 30
    p, weight = neurons(rng, kind, n), rng.normal(size=(n, 3))
    x = (rng.random((steps, 3)) < 0.5).astype(float)
    graph = line(("fc", "Linear", {"weight": weight}), ("y", kind, p), shape=[3], out=[n])
    network = read(tmp_path, graph, steps=steps)
    found, expected = simulate(network, x)["y"], euler(kind, p, x @ weight.T, DT)
    assert np.allclose(found, expected, atol=1e-9) if kind in SILENT else np.array_equal(found, expected)
    assert network.by_name["y"].readout == (kind in SILENT)


def test_a_soft_reset_on_request(tmp_path):
    rng = np.random.default_rng(1)
    p = neurons(rng, "LIF", 3) | {"v_reset": np.zeros(3)}
    x = np.ones((20, 3))
    network = read(tmp_path, line(("y", "LIF", p), shape=[3], out=[3]), steps=20, reset="soft")
    assert network.by_name["y"].reset == "soft"
    assert np.array_equal(simulate(network, x)["y"], euler("LIF", p, x, DT, "soft"))
    texts = [finding.text for finding in network.findings if finding.kind == "assumed" and finding.layer == "y"]
    assert "subtracts" in texts[0]


def test_a_threshold_alone_and_behind_an_integrator(tmp_path):
    x = np.array([[0.4, 0.6], [0.5, 0.4], [0.9, 0.1]])
    alone = read(tmp_path, line(("t", "Threshold", {"threshold": np.full(2, 0.5)}), shape=[2], out=[2]))
    assert np.array_equal(simulate(alone, x)["t"], x > 0.5)
    li = {"tau": np.full(2, 5e-4), "r": np.full(2, 5.0), "v_leak": np.zeros(2)}
    graph = line(("li", "LI", li), ("t", "Threshold", {"threshold": np.array([0.5, 0.8])}), shape=[2], out=[2])
    joined = read(tmp_path, graph)
    assert [node.name for node in joined.nodes] == ["in", "li"]
    assert np.array_equal(simulate(joined, x)["li"], euler("LI", li, x, DT) > np.array([0.5, 0.8]))


def test_equal_constants_become_one_number_and_snntorchs_gain_is_one(tmp_path):
    tau = np.full(3, 1e-3, np.float32)
    p = {"tau": tau, "r": tau / np.float32(DT), "v_leak": np.zeros(3), "v_threshold": np.ones(3)}
    node = read(tmp_path, line(("y", "LIF", p), shape=[3], out=[3])).by_name["y"]
    assert (node.decay_input, node.gain, node.bias, node.threshold) == (False, 1.0, 0.0, 1.0)
    assert node.tau == pytest.approx(10)
    scalar = {key: value[0] for key, value in p.items()}
    assert read(tmp_path, line(("y", "LIF", scalar), shape=[3], out=[3])).shapes["y"] == (3,)


def torch_layers():
    """(kind, parameters, input shape, the same in torch)."""
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    rng = np.random.default_rng(5)

    def conv(weight, function, bias, groups=1, **settings):
        text = {k: (v if isinstance(v, str) else np.array(v)) for k, v in settings.items()}
        p = {"weight": weight, "bias": bias, "groups": np.array(groups), **text}
        w, b = torch.tensor(weight), torch.tensor(bias)
        return p, lambda x: function(x, w, b, groups=groups, **settings)

    bias = rng.normal(size=4)
    cases = []
    for shape, groups, settings_ in (
        ((4, 2, 3, 3), 1, {"stride": 2, "padding": (1, 0), "dilation": 1}),
        ((4, 1, 3, 3), 2, {"stride": (1, 2), "padding": 1, "dilation": (2, 1)}),
        ((4, 2, 2, 4), 1, {"stride": 1, "padding": "same", "dilation": (1, 3)}),
        ((4, 2, 3, 5), 1, {"stride": 1, "padding": "same", "dilation": 1}),
        ((4, 2, 3, 2), 1, {"stride": 1, "padding": "valid", "dilation": 1}),
    ):
        cases.append(("Conv2d", *conv(rng.normal(size=shape), f.conv2d, bias, groups, **settings_), (2, 7, 8)))
    for how in ({"stride": 2, "padding": 1, "dilation": 2}, {"stride": 1, "padding": "same", "dilation": 1}):
        cases += [("Conv1d", *conv(rng.normal(size=(4, 2, 4)), f.conv1d, bias, **how), (2, 9))]
    for padding in (0, 1):
        p = {"kernel_size": np.array([2, 3]), "stride": np.array([2, 2]), "padding": np.array([padding] * 2)}
        pool = {"kernel_size": (2, 3), "stride": 2, "padding": padding}
        cases.append(("AvgPool2d", p, lambda x, pool=pool: f.avg_pool2d(x, **pool), (2, 7, 8)))
        cases.append(("SumPool2d", p, lambda x, pool=pool: f.avg_pool2d(x, **pool) * 6, (2, 7, 8)))
    return cases


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("case", range(11))
def test_layers_of_images_are_those_of_torch(tmp_path, case):
    torch = pytest.importorskip("torch")

    kind, p, function, shape = torch_layers()[case]
    x = np.random.default_rng(case).normal(size=shape)
    expected = function(torch.tensor(x)[None])[0].numpy()
    p_li = {"tau": np.array(DT), "r": np.array(1.0), "v_leak": np.array(0.0)}
    graph = line(("layer", kind, p), ("y", "LI", p_li), shape=shape, out=expected.shape)
    network = read(tmp_path, graph)
    assert simulate(network, x[None])["y"][0] == pytest.approx(expected.ravel())


def test_pools_stay_pools_for_folding(tmp_path):
    p = {"kernel_size": np.array([2, 2]), "stride": np.array([2, 2]), "padding": np.array([0, 0])}
    t = ("t", "Threshold", {"threshold": np.array(0.5)})
    nodes = read(tmp_path, line(("p", "SumPool2d", p), t, shape=[1, 4, 4], out=[1, 2, 2])).nodes
    assert [type(node) for node in nodes[1:3]] == [AvgPool2d, Scale] and nodes[2].factor.tolist() == [4]


LI = {"tau": np.array(DT), "r": np.array(2.0), "v_leak": np.array(0.5)}


@pytest.mark.parametrize("behind", ["neurons", "flatten"])
@pytest.mark.parametrize("scale", ["one", "channel", "element"])
def test_scales_of_every_shape(tmp_path, scale, behind):
    rng = np.random.default_rng(3)
    x, factor = rng.normal(size=(1, 2, 3, 4)), rng.normal(size=(2, 3, 4))
    factor = {"one": factor[0, 0, 0] * np.ones_like(factor), "channel": np.broadcast_to(factor[:, :1, :1], (2, 3, 4)),
              "element": factor}[scale]  # fmt: skip
    weight = rng.normal(size=(5, 24)) if behind == "flatten" else np.eye(24)
    flat = {"start_dim": np.array(0), "end_dim": np.array(-1), "input_type": np.array([2, 3, 4])}
    more = [("f", "Flatten", flat), ("fc", "Linear", {"weight": weight})] if behind == "flatten" else []
    out = [5] if more else [2, 3, 4]
    graph = line(("s", "Scale", {"scale": factor}), *more, ("y", "LI", LI), shape=[2, 3, 4], out=out)
    assert simulate(read(tmp_path, graph), x)["y"][0] == pytest.approx(2 * weight @ (factor * x[0]).ravel() + 0.5)


def test_a_scale_per_element_before_a_convolution_is_named(tmp_path):
    conv = {"weight": np.ones((1, 1, 1, 1)), "bias": np.zeros(1), "groups": np.array(1), "stride": np.array(1),
            "padding": np.array(0), "dilation": np.array(1)}  # fmt: skip
    scale = ("s", "Scale", {"scale": np.arange(4.0).reshape(1, 2, 2)})
    graph = line(scale, ("c", "Conv2d", conv), ("y", "LI", LI), shape=[1, 2, 2], out=[1, 2, 2])
    with pytest.raises(UnsupportedModelError, match="s: has a factor per element"):
        read(tmp_path, graph)


def test_delays_in_whole_steps_exactly_and_others_nearly(tmp_path):
    x = np.eye(8)[:, :2] + np.eye(8)[:, 3:5]

    def delayed(seconds):
        li = {**LI, "v_leak": np.array(0.0)}
        return read(tmp_path, line(("d", "Delay", {"delay": np.array(seconds)}), ("y", "LI", li), shape=[2], out=[2]))

    exact = delayed([2e-4, 0.0])
    assert {f.kind for f in exact.findings if f.layer == "d"} == {"exact"}
    assert simulate(exact, x)["y"][:, 0] == pytest.approx(2 * np.r_[0, 0, x[:6, 0]])
    near = delayed([2.4e-4, 1e-4])
    (finding,) = (f for f in near.findings if f.layer == "d")
    assert finding.kind == "approximated" and "0.4 steps" in finding.text
    assert near.by_name["d"].steps.tolist() == [2, 1]
    with pytest.raises(NetworkError, match="d: its delay is not within"):
        delayed([-1e-4, 0])


@pytest.mark.parametrize(("node", "sentence"), [
    (("y", "LIF", {"tau": np.full(2, 5e-5), "r": np.ones(2), "v_leak": np.zeros(2), "v_threshold": np.ones(2)}),
     r"y: tau is \[5e-05, 5e-05\] s, at least dt = 0.0001 s is needed; give a smaller --dt"),
    (("y", "IF", {"r": np.ones(2), "v_threshold": np.zeros(2)}), "y: v_threshold is not above the reset everywhere"),
    (("y", "Softmax", {}), "y: is a node of kind 'Softmax'"),
    (("y", "Flatten", {"start_dim": np.array(0), "end_dim": np.array(-1)}), "y: is the output, and it has no neurons"),
])  # fmt: skip
def test_what_cannot_be_carried_is_named(tmp_path, node, sentence):
    with pytest.raises(UnsupportedModelError, match=sentence):
        read(tmp_path, line(node, shape=[2], out=[2]))


def test_all_that_is_unsupported_is_listed(tmp_path):
    short = {"tau": np.full(2, 1e-5), "r": np.ones(2), "v_leak": np.zeros(2), "v_threshold": np.ones(2)}
    li = {"tau": np.full(2, 1e-3), "r": np.ones(2), "v_leak": np.zeros(2)}
    graph = line(("a", "LIF", short), ("b", "LI", li), ("c", "LIF", short), shape=[2], out=[2])
    with pytest.raises(UnsupportedModelError) as caught:
        read(tmp_path, graph)
    assert [f.layer for f in caught.value.findings if f.kind == "unsupported"] == ["b", "a", "c"]


@pytest.mark.parametrize(("change", "sentence"), [
    ({"tau": None}, "lif: a LIF without tau"),
    ({"r": np.ones(3)}, r"lif: r has the shape \(3,\), its input has \(2,\)"),
    ({"v_threshold": "high"}, "lif: v_threshold holds no numbers"),
])  # fmt: skip
def test_parameters_that_do_not_fit(tmp_path, change, sentence):
    p = {"tau": np.full(2, 1e-3), "r": np.ones(2), "v_leak": np.zeros(2), "v_threshold": np.ones(2), **change}
    p = {key: value for key, value in p.items() if value is not None}
    with pytest.raises(NetworkError, match=sentence):
        read(tmp_path, line(("lif", "LIF", p), shape=[2], out=[2]))


def test_v_leak_needs_an_assumption_only_where_it_differs(tmp_path):
    p = {"tau": np.full(2, 1e-3), "r": np.ones(2), "v_leak": np.full(2, 0.1), "v_threshold": np.ones(2)}
    for reset, begins in ((0.1, False), (0.0, True)):
        network = read(tmp_path, line(("y", "LIF", {**p, "v_reset": np.full(2, reset)}), shape=[2], out=[2]))
        assert isinstance(network.by_name["y"], LIF)
        assert any("its membrane begins at v_reset" in f.text for f in network.findings) == begins
