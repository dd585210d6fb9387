"""Networks of snnTorch, SpikingJelly and Norse spike as those libraries compute them, where they are installed."""

import warnings

import numpy as np
import pytest
from float_reference import simulate
from snn_compile.compiler import nodes as ir
from snn_compile.frontend.readers.options import ReadOptions
from snn_compile.frontend.readers.pytorch.file import read_torch

STEPS = 30
OPTIONS = ReadOptions(steps=STEPS, encoding="graded", max_value=1)


def library(name):
    """A library whose import may warn; skips where it is not installed."""
    pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name)


def architecture(tmp_path, *layers):
    path = tmp_path / "net.toml"
    tables = ["\n".join(["[[layer]]", *(f"{k} = {v!r}".lower() if isinstance(v, bool) else f"{k} = {v!r}"
                                          for k, v in layer.items())]) for layer in layers]  # fmt: skip
    path.write_text("\n".join(tables))
    return path


def two_layers(tmp_path, kind, **settings):
    return architecture(
        tmp_path, {"kind": "linear", "name": "fc1"}, {"kind": kind, "name": "lif1", **settings},
        {"kind": "linear", "name": "fc2"}, {"kind": kind, "name": "lif2", **settings},
    )  # fmt: skip


def dense(torch, seed, extra):
    """Two linear layers with large weights, and what stands behind each."""
    torch.manual_seed(seed)
    layers = {"fc1": torch.nn.Linear(6, 5), "lif1": extra(5), "fc2": torch.nn.Linear(5, 4), "lif2": extra(4)}
    net = torch.nn.ModuleDict(layers).double()
    net["fc1"].weight.data *= 4
    net["fc2"].bias.data += 0.6
    net["fc2"].weight.data = 3 * net["fc2"].weight.data.abs()
    return net, torch.rand(STEPS, 1, 6, dtype=torch.float64)


def run(net, torch, x, state):
    """Spikes of both layers, (steps, 5) and (steps, 4)."""
    first, second, states = [], [], [state(net["lif1"]), state(net["lif2"])]
    with torch.no_grad():
        for step in x:
            spikes, *states[0] = net["lif1"](net["fc1"](step), *states[0])
            spikes = spikes.double()
            first.append(spikes[0])
            back = [spikes] if "R" in type(net["lif1"]).__name__ else []
            states[0] = [*back, *states[0]]
            spikes, *states[1] = net["lif2"](net["fc2"](spikes), *states[1])
            spikes = spikes.double()
            second.append(spikes[0])
            back = [spikes] if back else []
            states[1] = [*back, *states[1]]
    return torch.stack(first).numpy(), torch.stack(second).numpy()


def compare(torch, tmp_path, net, toml, x, wanted):
    path = tmp_path / "net.pt"
    torch.save(net.state_dict(), path)
    network = read_torch(path, ReadOptions(**{**OPTIONS.__dict__, "architecture": toml}))
    got = simulate(network, x.numpy())
    assert np.array_equal(got["lif1"], wanted[0])
    assert np.array_equal(got["lif2"], wanted[1])
    assert 0 < wanted[0].sum() < wanted[0].size
    assert wanted[1].sum() > 0
    return network


MECHANISMS = [("subtract", True), ("zero", True), ("none", True), ("zero", False)]


@pytest.mark.parametrize("kind", ["Leaky", "Synaptic", "RLeaky", "RSynaptic", "Lapicque"])
@pytest.mark.parametrize(("mechanism", "late"), MECHANISMS)
def test_snntorch(tmp_path, kind, mechanism, late):
    snn = library("snntorch")
    import torch

    if not late and kind in ("RSynaptic", "Lapicque"):
        pytest.skip("the library has no such neuron")

    def neuron(size):
        settings = {"reset_mechanism": mechanism, "threshold": torch.rand(size) + 0.7}
        if kind == "Lapicque":
            return snn.Lapicque(R=2.0, C=1.7, time_step=0.9, **settings)
        settings["beta"] = torch.rand(size) * 1.2  # beyond 1 it is clamped
        settings |= {"alpha": torch.rand(size)} if "Synaptic" in kind else {}
        settings |= {"linear_features": size} if kind.startswith("R") else {}
        return getattr(snn, kind)(**settings, reset_delay=late)

    net, x = dense(torch, 3 + len(kind), neuron)
    x = 3 * x - 1 if kind == "Lapicque" else 1.5 * x - 0.5
    given = {} if kind == "Lapicque" else {"reset_delay": late}
    toml = two_layers(tmp_path, f"snntorch.{kind}", **given)
    empty = torch.zeros(0, dtype=torch.float64)
    count = {"Leaky": 1, "Lapicque": 1, "Synaptic": 2, "RLeaky": 2, "RSynaptic": 3}[kind]
    wanted = run(net, torch, x, lambda _: [empty] * count)
    compare(torch, tmp_path, net, toml, x, wanted)


def test_snntorch_one_to_one(tmp_path):
    snn = library("snntorch")
    import torch

    net, x = dense(torch, 5, lambda n: snn.RLeaky(beta=0.8, all_to_all=False, V=torch.rand(n) - 0.7))
    empty = torch.zeros(0, dtype=torch.float64)
    wanted = run(net, torch, x, lambda _: [empty] * 2)
    network = compare(torch, tmp_path, net, two_layers(tmp_path, "snntorch.RLeaky"), x, wanted)
    assert "assumed" in {f.kind for f in network.findings}


def test_snntorch_recurrent_convolution(tmp_path):
    snn = library("snntorch")
    import torch

    torch.manual_seed(1)
    beta = torch.rand(2, 1, 1)
    lif = snn.RLeaky(beta=beta, conv2d_channels=2, kernel_size=(3, 5), reset_mechanism="zero")
    net = torch.nn.ModuleDict({"conv": torch.nn.Conv2d(1, 2, 3), "lif": lif}).double()
    net["conv"].weight.data *= 4
    x = torch.rand(STEPS, 1, 1, 6, 7, dtype=torch.float64) - 0.3
    spikes = mem = torch.zeros(0, dtype=torch.float64)
    wanted = []
    with torch.no_grad():
        for step in x:
            spikes, mem = net["lif"](net["conv"](step), spikes.double(), mem)
            wanted.append(spikes.flatten())
    toml = architecture(tmp_path, {"kind": "conv2d", "name": "conv"}, {"kind": "snntorch.RLeaky", "name": "lif"})
    torch.save(net.state_dict(), tmp_path / "net.pt")
    options = ReadOptions(**{**OPTIONS.__dict__, "architecture": toml, "input_shape": (1, 6, 7)})
    got = simulate(read_torch(tmp_path / "net.pt", options), x.numpy())["lif"]
    assert np.array_equal(got, torch.stack(wanted).numpy())
    assert 0 < got.sum() < got.size


def test_snntorch_without_reset_delay_is_approximated(tmp_path):
    """A membrane above twice its threshold: snnTorch waits a step, as its source says; here it fires again."""
    snn = library("snntorch")
    import torch

    lif = snn.Leaky(beta=0.5, threshold=1.0, reset_delay=False).double()
    net = torch.nn.ModuleDict({"fc1": torch.nn.Linear(1, 1, bias=False), "lif1": lif}).double()
    net["fc1"].weight.data[:] = 1
    x = torch.tensor([3.5, 0.0, 0.0], dtype=torch.float64)
    mem, spikes = torch.zeros(1, 1, dtype=torch.float64), []
    with torch.no_grad():
        for value in x:
            spike, mem = lif(net["fc1"](value.reshape(1, 1)), mem)
            spikes.append(int(spike))
    toml = architecture(tmp_path, {"kind": "linear", "name": "fc1"},
                        {"kind": "snntorch.Leaky", "name": "lif1", "reset_delay": False})  # fmt: skip
    torch.save(net.state_dict(), tmp_path / "net.pt")
    network = read_torch(tmp_path / "net.pt", ReadOptions(**{**OPTIONS.__dict__, "architecture": toml}))
    (finding,) = (f for f in network.findings if f.kind == "approximated")
    assert "twice its threshold" in finding.text
    assert simulate(network, x.numpy())["lif1"].ravel().tolist() == [1, 1, 0]
    assert spikes == [1, 0, 0]


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("LIFBox", {"dt": 0.001, "tau_mem_inv": 210.0, "v_th": 0.6, "v_leak": -0.2, "v_reset": -0.2}),
        ("LIFBox", {"tau_mem_inv": 300.0, "v_th": 0.5, "reset": "subtract"}),
        ("LIF", {"tau_mem_inv": 400.0, "tau_syn_inv": 500.0, "v_th": 0.7}),
    ],
)
def test_norse(tmp_path, kind, settings):
    library("norse")
    import torch
    from norse.torch import LIFBoxCell, LIFBoxParameters, LIFCell, LIFParameters
    from norse.torch.functional.reset import reset_subtract

    values = {k: torch.tensor(v, dtype=torch.float64) for k, v in settings.items() if k not in ("dt", "reset")}
    if settings.get("reset") == "subtract":
        values["reset_method"] = reset_subtract
    cell, parameters = {"LIFBox": (LIFBoxCell, LIFBoxParameters), "LIF": (LIFCell, LIFParameters)}[kind]
    net, x = dense(torch, 9, lambda _: cell(parameters(**values)))
    wanted = run(net, torch, x, lambda _: [None])
    compare(torch, tmp_path, net, two_layers(tmp_path, f"norse.{kind}", **settings), x, wanted)


def test_norse_readout(tmp_path):
    library("norse")
    import torch
    from norse.torch import LICell

    net, x = dense(torch, 2, lambda _: LICell())
    state, values = None, []
    with torch.no_grad():
        for step in x:
            value, state = net["lif1"](net["fc1"](step), state)
            values.append(value[0])
    torch.save(net.state_dict(), tmp_path / "net.pt")
    layers = [{"kind": "linear", "name": "fc1"}, {"kind": "norse.LI", "name": "lif1"}]
    toml = architecture(tmp_path, *layers)
    options = ReadOptions(**{**OPTIONS.__dict__, "architecture": toml})
    with pytest.raises(Exception, match=r"holds 2 tensors that no layer of .* has \(fc2.weight, fc2.bias\)"):
        read_torch(tmp_path / "net.pt", options)
    torch.save({k: v for k, v in net.state_dict().items() if "fc1" in k}, tmp_path / "net.pt")
    got = simulate(read_torch(tmp_path / "net.pt", options), x.numpy())["lif1"]
    np.testing.assert_allclose(got, torch.stack(values).numpy(), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("v_reset", [0.0, None, -0.75, 0.25])
@pytest.mark.parametrize("decay_input", [True, False])
def test_spikingjelly_modules(tmp_path, v_reset, decay_input):
    library("spikingjelly")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from spikingjelly.activation_based import functional, layer, neuron
    import torch

    torch.manual_seed(4)
    net = torch.nn.Sequential(
        layer.Conv2d(2, 3, 3, padding=1, bias=False), layer.BatchNorm2d(3),
        neuron.LIFNode(tau=1.7, v_reset=v_reset, decay_input=decay_input), layer.MaxPool2d(2, 2), layer.Flatten(),
        torch.nn.Sequential(layer.Linear(12, 8), neuron.ParametricLIFNode(1.3, decay_input, 0.8, v_reset)),
        layer.Dropout(0.5), layer.Linear(8, 4), neuron.IFNode(v_threshold=1.2, v_reset=v_reset),
    )  # fmt: skip
    net[1].running_mean += torch.randn(3)
    net[1].running_var *= 0.3
    for module in net.modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)):
            module.weight.data *= 3
    functional.set_step_mode(net, "s")
    net.eval().double()
    x = torch.rand(STEPS, 1, 2, 4, 4, dtype=torch.float64)
    seen = {}
    for name in ("2", "5.1", "8"):
        hear = lambda _, __, out, name=name: seen.setdefault(name, []).append(out[0])  # noqa: E731
        net.get_submodule(name).register_forward_hook(hear)
    with torch.no_grad():
        for step in x:
            net(step)
    functional.reset_net(net)
    for module in net.modules():
        module._forward_hooks.clear()
    torch.save(net, tmp_path / "net.pt")
    network = read_torch(tmp_path / "net.pt", ReadOptions(**{**OPTIONS.__dict__, "input_shape": (2, 4, 4)}))
    got = simulate(network, x.numpy())
    for name, spikes in seen.items():
        flat = torch.stack(spikes).reshape(STEPS, -1).numpy()
        assert np.array_equal(got[name], flat), name
        assert 0 < flat.sum() < flat.size
    assert isinstance(network.nodes[0], ir.Input)
    assert {finding.kind for finding in network.findings} == {"exact"}
