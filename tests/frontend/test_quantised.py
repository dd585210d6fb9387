"""Training through the integers: the weights of the forward pass are those of the tables, bit for bit."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from snn_compile.compiler import nodes as ir  # noqa: E402
from snn_compile.compiler.network import Network  # noqa: E402
from snn_compile.compiler.scale import to_weights  # noqa: E402
from snn_compile.errors import NetworkError, UnsupportedError  # noqa: E402
from snn_compile.frontend.model import SpikingNetwork, fully_connected  # noqa: E402
from snn_compile.frontend.parallel import backward, gradient_pool  # noqa: E402
from snn_compile.frontend.quantised import StraightThrough  # noqa: E402
from snn_compile.hw_targets import chip as chips  # noqa: E402


def lively(neuron=None, encoding="graded"):
    source = ir.Input("x", shape=(20,), max_value=16, encoding=encoding)
    model = SpikingNetwork(fully_connected(source, (30, 4), neuron or ir.LIF("y"), steps=6))
    torch.manual_seed(0)
    model.reset_parameters()
    with torch.no_grad():
        for weight in model.pruned_weights():
            weight.mul_(6)
            weight[torch.rand(weight.shape) < 0.6] = 0
    return model


@pytest.mark.parametrize("encoding", ["graded", "rate"])
@pytest.mark.parametrize(
    "neuron", [ir.LIF("y"), ir.LIF("y", tau=4.0, threshold=0.7, decay_input=False, fires=">")], ids=str
)
def test_the_weights_are_those_of_the_tables(neuron, encoding):
    model = lively(neuron, encoding)
    straight = StraightThrough(model, chips.load("loihi2"))
    network = straight.refresh()
    weights = straight.weights()
    assert sorted(weights) == ["linear1.weight", "linear2.weight"]
    trained = {"linear1": "lif1", "linear2": "lif2"}
    for layer, target in trained.items():
        (q,) = (q for q in network.projections if q.target == target)
        rows = network.by_name[target].origin
        columns = network.by_name[q.source].origin if q.source != "x" else np.arange(20)
        table = q.synapses.matrix().toarray()
        used = weights[f"{layer}.weight"].detach().numpy()[np.ix_(rows, columns)]
        scale = straight.scales[f"{layer}.weight"].numpy()[np.ix_(rows, columns)]
        # a synapse that cannot matter is in no table
        assert np.array_equal(np.rint(used * scale)[table != 0], table[table != 0])
        float_weights = dict(model.named_parameters())[f"{layer}.weight"].detach().numpy()[np.ix_(rows, columns)]
        expected = to_weights(float_weights.astype(np.float64), 1.0 * scale.flat[0])
        assert (np.abs(expected - np.rint(used * scale)) <= 2).all()


def test_the_gradient_passes_by_and_the_loss_is_that_of_the_chips_weights():
    model = lively()
    straight = StraightThrough(model, chips.load("loihi2"))
    straight.refresh()
    before = [p.detach().clone() for p in model.parameters()]
    samples, wanted = torch.randint(0, 17, (70, 20)), torch.rand(70, 4)
    with gradient_pool() as pool, straight.applied():
        loss = backward(model, samples, wanted, pool)
    ours = [p.grad.clone() for p in model.parameters()]
    assert all(torch.equal(a, p) for a, p in zip(before, model.parameters(), strict=True))
    with torch.no_grad():
        for name, value in straight.weights().items():
            dict(model.named_parameters())[name].copy_(value)
    with gradient_pool() as pool:
        theirs = backward(model, samples, wanted, pool)
    assert torch.equal(loss, theirs)
    assert all(torch.equal(a, p.grad) for a, p in zip(ours, model.parameters(), strict=True))


def test_batch_norm_is_part_of_the_scale():
    nodes = (
        ir.Input("x", shape=(6,), max_value=4),
        ir.Normalise("norm", mean=np.array([0.2]), std=np.array([0.5])),
        ir.Linear("fc", weight=np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)),
        ir.BatchNorm(
            "bn", weight=np.linspace(0.5, 2, 5), bias=np.ones(5), running_mean=np.zeros(5), running_var=np.ones(5)
        ),
        ir.LIF("y"),
    )
    model = SpikingNetwork(Network(nodes, (("x", "norm"), ("norm", "fc"), ("fc", "bn"), ("bn", "y")), 4))
    straight = StraightThrough(model, chips.load("loihi2"))
    network = straight.refresh()
    scale, used = straight.scales["fc.weight"], straight.weights()["fc.weight"].detach()
    table = network.projections[0].synapses.matrix().toarray()
    assert np.array_equal(np.rint((used * scale).numpy())[table != 0], table[table != 0])
    assert scale[:, 0].diff().abs().min() > 0


def test_layers_of_the_host_keep_their_float_weights():
    straight = StraightThrough(lively(), chips.load("loihi1"))
    straight.refresh()
    assert sorted(straight.weights()) == ["linear2.weight"]


@pytest.mark.parametrize(
    ("more", "neuron", "message"),
    [
        ([ir.AvgPool2d("pool")], ir.LIF("y"), "pool: would be folded into a layer; train it without --quantise-aware"),
        (
            [],
            ir.LIF("y", reset="soft"),
            r"y: does not reset to 0 at a spike .* neurons on loihi1 do; train with a hard",
        ),
    ],
)
def test_what_the_chip_can_never_carry_is_refused_before_the_training(more, neuron, message):
    conv = ir.Conv2d("conv", weight=np.full((2, 1, 2, 2), 3.0, np.float32))
    nodes = (ir.Input("x", shape=(1, 4, 4), max_value=4), *more, conv, neuron)
    names = [node.name for node in nodes]
    model = SpikingNetwork(Network(nodes, tuple(zip(names, names[1:], strict=False)), 4))
    with pytest.raises(UnsupportedError, match=message):
        StraightThrough(model, chips.load("loihi1"))


def test_a_network_that_cannot_be_compiled_leaves_no_old_scales():
    model = lively()
    straight = StraightThrough(model, chips.load("loihi2"))
    straight.refresh()
    assert straight.scales
    with torch.no_grad():
        for weight in model.pruned_weights():
            weight.zero_()
    with pytest.raises(NetworkError, match="can fire, whatever the input is"):
        straight.refresh()
    assert straight.scales == {} and straight.weights() == {}
