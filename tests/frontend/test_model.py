import numpy as np
import pytest

torch = pytest.importorskip("torch")

from snn_compile.compiler import nodes as ir  # noqa: E402
from snn_compile.compiler.network import Network  # noqa: E402
from snn_compile.errors import NetworkError, UnsupportedError  # noqa: E402
from snn_compile.frontend.model import SpikingNetwork, fully_connected  # noqa: E402
from snn_compile.frontend.neurons import ATan, LIFLayer  # noqa: E402
from snn_compile.runtime.encoding import rate_spikes  # noqa: E402

torch.set_num_threads(1)


def reference(node, currents):
    """The equation of `compiler.nodes.LIF`, one neuron, in Python floats."""
    v, spikes = 0.0, []
    for x in currents:
        v = v + (x - v) / node.tau if node.decay_input else v * (1 - 1 / node.tau) + x
        fired = v >= node.threshold if node.fires == ">=" else v > node.threshold
        spikes.append(float(fired))
        if fired:
            v = 0.0 if node.reset == "hard" else v - node.threshold
    return spikes


@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("fires", [">=", ">"])
@pytest.mark.parametrize("decay_input", [True, False])
@pytest.mark.parametrize("tau", [1.0, 2.0, 4.0])
def test_lif_is_the_equation_of_the_compiler(reset, fires, decay_input, tau):
    node = ir.LIF("y", tau=tau, threshold=1.0, reset=reset, decay_input=decay_input, fires=fires)
    currents = np.random.default_rng(1).integers(-8, 17, (8, 3, 5)) / 8  # exact in float32 for these tau
    spikes = LIFLayer(node, 8)(torch.tensor(currents, dtype=torch.float32)).numpy()
    for sample in range(3):
        for neuron in range(5):
            assert spikes[:, sample, neuron].tolist() == reference(node, currents[:, sample, neuron])


@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("fires", [">=", ">"])
@pytest.mark.parametrize("decay_input", [True, False])
@pytest.mark.parametrize(("tau", "steps", "given"), [(1.0, 5, 5), (2.0, 5, 1), (3.7, 1, 1), (3.7, 6, 1)])
def test_one_compiled_pass_equals_the_loop_over_steps(reset, fires, decay_input, tau, steps, given):
    layer = LIFLayer(ir.LIF("y", tau=tau, threshold=0.7, decay_input=decay_input, fires=fires, reset=reset), steps)
    random = torch.Generator().manual_seed(0)
    currents = (1.5 * torch.randn(given, 6, 9, generator=random)).requires_grad_()
    fused, looped = layer(currents), layer.forward_by_steps(currents)
    assert torch.equal(fused, looped) and 0 < fused.mean() < 1
    gradient = torch.randn(fused.shape, generator=random)
    ours, theirs = (torch.autograd.grad(spikes, currents, gradient)[0] for spikes in (fused, looped))
    torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize(("fires", "spikes"), [(">=", [1.0, 1.0]), (">", [0.0, 0.0])])
def test_at_the_threshold(fires, spikes):
    layer = LIFLayer(ir.LIF("y", tau=1.0, fires=fires), 2)
    assert layer(torch.ones(2, 1, 1)).flatten().tolist() == spikes


def test_the_surrogate_and_the_detached_reset():
    x = torch.tensor([0.5], requires_grad=True)
    ATan.apply(x, False).sum().backward()
    assert float(x.grad) == pytest.approx(1 / (1 + (np.pi * 0.5) ** 2))
    current = torch.tensor([[[2.0]], [[0.0]]], requires_grad=True)
    LIFLayer(ir.LIF("y", tau=2.0), 2)(current)[1].sum().backward()
    # v = 1 spikes and is reset to 0 by a factor without gradient, so step 2 does not see the first current.
    assert current.grad[0].item() == 0.0
    assert current.grad[1].item() == pytest.approx(0.5 / (1 + np.pi**2))


def convolutional():
    random = np.random.default_rng(0)
    arrays = {key: random.uniform(0.5, 1, 3) for key in ("weight", "bias", "running_mean", "running_var")}
    nodes = (
        ir.Input("x", shape=(1, 6, 6), max_value=255, encoding="rate"),
        ir.Normalise("norm", mean=np.array([0.1]), std=np.array([0.3])),
        ir.Conv2d("conv", weight=random.normal(size=(3, 1, 3, 3)), bias=random.normal(size=3), padding=(1, 1)),
        ir.BatchNorm("bn", **arrays),
        ir.LIF("lif1"),
        ir.AvgPool2d("pool"),
        ir.Scale("scale", factor=np.array([2.0, 1.0, 0.5])),
        ir.Flatten("flat"),
        ir.Dropout("drop"),
        ir.Linear("fc", weight=random.normal(size=(4, 27)), bias=random.normal(size=4)),
        ir.LIF("lif2"),
    )
    names = [node.name for node in nodes]
    return Network(nodes, tuple(zip(names, names[1:])), steps=4)  # noqa: B905


def test_every_layer_goes_in_and_comes_out_again():
    network = convolutional()
    model = SpikingNetwork(network)
    keys = {key for node in network.nodes for key in ir.node_to_plain(node)[1]}
    assert set(model.state_dict()) == keys
    samples = torch.randint(0, 256, (2, 1, 6, 6), dtype=torch.uint8)
    assert model(samples).shape == (2, 4)
    sent = model.populations(samples)
    assert {name: tuple(x.shape) for name, x in sent.items()} == {
        "x": (4, 2, 1, 6, 6),
        "lif1": (4, 2, 3, 6, 6),
        "lif2": (4, 2, 4),
    }
    again = SpikingNetwork(network).to_network()
    assert again.dump() == network.dump()
    np.testing.assert_allclose(again.by_name["fc"].weight, network.by_name["fc"].weight, rtol=1e-6)
    assert len(model.pruned_weights()) == 2
    assert len(model.other_parameters()) == 4
    before = model.conv.bias.detach().clone()
    model.reset_parameters()
    assert not torch.equal(model.conv.bias, before)


def test_batch_norm_is_that_of_the_compiler():
    network = convolutional()
    model = SpikingNetwork(network).eval()
    gain, shift = network.by_name["bn"].affine()
    x = torch.randn(4, 2, 3, 6, 6)
    wanted = x * torch.tensor(gain).reshape(-1, 1, 1) + torch.tensor(shift).reshape(-1, 1, 1)
    torch.testing.assert_close(model.bn(x), wanted.float(), rtol=1e-5, atol=1e-5)


def small(encoding="graded"):
    model = SpikingNetwork(fully_connected(ir.Input("x", (4,), 16, encoding), (6, 3), ir.LIF("y"), steps=5))
    torch.manual_seed(0)
    model.reset_parameters()
    with torch.no_grad():
        model.linear1.weight.mul_(4)
    return model


def test_static_input_goes_through_the_first_layer_once():
    model, rows = small(), []
    model.linear1.register_forward_hook(lambda module, args, output: rows.append(len(output)))
    model(torch.zeros(2, 4, dtype=torch.uint8))
    assert rows == [1]


def test_encodings():
    samples = torch.tensor([[0, 4, 8, 16]], dtype=torch.uint8)
    assert small().encode(samples).tolist() == [[[0.0, 0.25, 0.5, 1.0]]]
    assert np.array_equal(small("rate").encode(samples)[:, 0], rate_spikes(samples.numpy(), 16, 5)[0])
    steps = torch.randint(0, 17, (2, 5, 4), dtype=torch.uint8)
    encoded = small("spikes").encode(steps)
    assert encoded.shape == (5, 2, 4)
    assert torch.equal(encoded[3, 1], steps[1, 3] / 16)


def test_rates_are_means_over_samples_and_steps():
    model = small()
    samples = torch.randint(0, 17, (7, 4), dtype=torch.uint8)
    rates = model.rates(samples, batch=3)
    sent = model.populations(samples)
    assert list(rates) == ["x", "lif1", "lif2"]
    torch.testing.assert_close(rates["lif1"], sent["lif1"].mean((0, 1)))
    torch.testing.assert_close(rates["x"], (samples > 0).float().mean(0))
    network = model.to_network(rates, samples.numpy(), {"data": "none"})
    assert network.rates["lif1"].shape == (6,)
    assert np.array_equal(network.calibration, samples.numpy())


def test_an_image_is_flattened_first():
    network = fully_connected(ir.Input("x", (2, 3)), (4,), ir.LIF("y", tau=3.0, reset="soft"), steps=2)
    assert [node.name for node in network.nodes] == ["x", "flatten", "linear1", "lif1"]
    assert network.by_name["lif1"].tau == 3.0
    assert network.by_name["lif1"].reset == "soft"


def test_only_chains_with_names_that_pytorch_takes():
    x, fc = ir.Input("x", (2,)), ir.Linear("fc", weight=np.eye(2))
    loop = Network((x, fc, ir.LIF("y")), (("x", "fc"), ("fc", "y"), ("y", "y")), 2)
    with pytest.raises(UnsupportedError, match="network: is not a chain of layers"):
        SpikingNetwork(loop)
    for name in ("a.b", "forward"):
        with pytest.raises(NetworkError, match=f"{name}: is a name that PyTorch cannot give to a layer"):
            SpikingNetwork(Network((x, ir.LIF(name)), (("x", name),), 2))
