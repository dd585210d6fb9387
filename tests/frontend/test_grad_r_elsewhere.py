"""Grad R as an optimiser for other people's loops: the numbers of `snn-train`, on whatever module has weights."""

from __future__ import annotations

import copy
import io
import re

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from snn_compile.errors import UnsupportedError  # noqa: E402
from snn_compile.frontend import GradR  # noqa: E402
from snn_compile.frontend.data import load  # noqa: E402
from snn_compile.frontend.options import TrainOptions  # noqa: E402
from snn_compile.frontend.parallel import backward  # noqa: E402
from snn_compile.frontend.rules.grad_r import prior_centre  # noqa: E402
from snn_compile.frontend.run import Run  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

LAYERS = "fc16,bn,lif,fc10,lif"


class NorseLike(nn.Module):
    """A recurrent cell whose matrices belong to no linear layer, as Norse's."""

    def __init__(self, inputs: int, size: int) -> None:
        super().__init__()
        self.input_weights = nn.Parameter(torch.randn(size, inputs) / inputs**0.5)
        self.recurrent_weights = nn.Parameter(torch.randn(size, size) / size**0.5)

    def forward(self, x):
        return torch.relu(x @ self.input_weights.T) @ self.recurrent_weights.T


class Lif(nn.Module):
    """A neuron that learns its tau, as ParametricLIFNode."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(0.0))

    def forward(self, x):
        return x * self.w.sigmoid()


def mixture() -> nn.Sequential:
    """A convolution, batch norm, a learnt tau, lava-dl's Dense (out, in, 1, 1, 1), Norse's cell, a linear layer."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), Lif(), nn.Flatten(), nn.Unflatten(1, (16, 1, 1, 1))]
    return nn.Sequential(*layers, nn.Conv3d(16, 12, 1, bias=False), nn.Flatten(), NorseLike(12, 8), nn.Linear(8, 3))


WEIGHTS = ["0.weight", "5.weight", "7.input_weights", "7.recurrent_weights", "8.weight"]


def batches(count: int, seed: int = 1):
    random = torch.Generator().manual_seed(seed)
    return [(torch.randn(6, 1, 4, 4, generator=random), torch.arange(6) % 3) for _ in range(count)]


def fit(net, optimiser, data) -> None:
    for samples, labels in data:
        optimiser.zero_grad()
        F.cross_entropy(net(samples), labels).backward()
        optimiser.step()


def same(first, second) -> bool:
    return all(torch.equal(first[key], second[key]) for key in first) and list(first) == list(second)


@pytest.mark.parametrize("alpha", [None, 0.01])
def test_it_makes_the_weights_of_snn_train(alpha):
    """Two epochs of a run, and the same network, batches and loss in a loop of our own: equal to the bit."""
    data = load("digits")
    options = TrainOptions(network=LAYERS, epochs=2, batch=128, density=0.05, alpha=alpha)
    run = Run(options, data)
    net, random = copy.deepcopy(run.model), torch.Generator()
    random.set_state(run.random.get_state())
    optimiser = GradR(net, density=0.05, steps=run.total, alpha=alpha)
    net.train()
    for _ in range(options.epochs):
        run.one_pass()
        for index in torch.split(torch.randperm(len(run.samples), generator=random), options.batch):
            optimiser.zero_grad()
            backward(net, run.samples[index], F.one_hot(run.labels[index], 10).float(), None)
            optimiser.step()
    assert same(run.model.state_dict(), net.state_dict())
    assert optimiser.connectivity() == run.rule.connectivity()
    if alpha is None:
        assert optimiser.settled
        assert optimiser.connectivity() == pytest.approx(0.05, rel=0.01)


def test_the_published_rule_in_numpy():
    """Without a density: theta as in the paper, in float64."""
    random = np.random.default_rng(0)
    start, gradients = random.normal(size=(5, 7)), random.normal(size=(30, 5, 7))
    weight = nn.Parameter(torch.tensor(start))
    optimiser = GradR([weight], density=0.2, steps=30, lr=0.02, alpha=0.5, schedule="constant")
    sign, theta, m, v = np.sign(start), abs(start), 0.0, 0.0
    for t, gradient in enumerate(gradients, start=1):
        weight.grad = torch.tensor(gradient)
        optimiser.step()
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        step = 0.02 / (1 - 0.9**t)
        pull = 0.5 * step * np.sign(theta - prior_centre(0.5, 0.2))
        theta = theta - step * sign * m / (np.sqrt(v / (1 - 0.999**t)) + 1e-8) - pull
    assert np.allclose(weight.detach().numpy(), sign * np.maximum(theta, 0), atol=1e-12)


def test_other_parameters_get_plain_adam():
    net = mixture()
    other = copy.deepcopy(net)
    optimiser = GradR(net, density=0.3, steps=40, schedule="constant", lr=0.003)
    adam = torch.optim.Adam([p for name, p in other.named_parameters() if name not in WEIGHTS], 0.003)
    for samples, labels in batches(10):
        optimiser.zero_grad()
        F.cross_entropy(net(samples), labels).backward()
        for mine, theirs in zip(net.parameters(), other.parameters(), strict=True):
            theirs.grad = mine.grad.clone()
        optimiser.step()
        adam.step()
    left = dict(other.named_parameters())
    for name, parameter in net.named_parameters():
        assert torch.equal(parameter, left[name]) == (name not in WEIGHTS), name


def test_every_kind_of_layer_is_pruned_to_one_density():
    net = mixture()
    optimiser = GradR(net, density=0.2, steps=60)
    assert list(optimiser.densities()) == WEIGHTS
    fit(net, optimiser, batches(60))
    zeros = [(tensor != 0).sum().item() for name, tensor in net.named_parameters() if name in WEIGHTS]
    total = sum(tensor.numel() for name, tensor in net.named_parameters() if name in WEIGHTS)
    assert optimiser.settled
    assert sum(zeros) == round(0.2 * total)
    assert optimiser.connectivity() == sum(zeros) / total
    assert list(net.get_parameter("1.weight")) != [1.0] * 4


def test_excluded_and_frozen_layers_stay_whole():
    net = mixture()
    net[8].requires_grad_(False)
    frozen = net[8].weight.clone()
    optimiser = GradR(net, density=0.1, steps=30, exclude=["7", net[0].weight])
    fit(net, optimiser, batches(30))
    assert list(optimiser.densities()) == ["5.weight"]
    assert torch.equal(net[8].weight, frozen)
    for name in ("0.weight", "7.input_weights"):
        assert (net.get_parameter(name) != 0).all()
        assert not torch.equal(net.get_parameter(name), mixture().get_parameter(name))


def test_a_list_of_parameters_is_as_good_as_a_module():
    net, other = mixture(), mixture()
    fit(net, GradR(net, density=0.2, steps=30), batches(30))
    fit(other, GradR(list(other.parameters()), density=0.2, steps=30), batches(30))
    assert same(net.state_dict(), other.state_dict())


def test_tied_weights_count_once():
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    net[2].weight = net[0].weight
    assert list(GradR(net, density=0.5, steps=4).densities()) == ["0.weight"]


@pytest.mark.parametrize("broken", [1, 19, 35])
def test_it_resumes_to_the_bit(broken):
    net, data = mixture(), batches(50)
    whole = GradR(net, density=0.1, steps=50)
    fit(net, whole, data)
    first = mixture()
    optimiser = GradR(first, density=0.1, steps=50)
    fit(first, optimiser, data[:broken])
    file = io.BytesIO()
    torch.save({"net": first.state_dict(), "optimiser": optimiser.state_dict()}, file)
    fit(first, optimiser, data[broken:])
    file.seek(0)
    state = torch.load(file, weights_only=True)
    second = mixture()
    for parameter in second.parameters():
        nn.init.normal_(parameter)
    again = GradR(second, density=0.1, steps=50)
    second.load_state_dict(state["net"])
    again.load_state_dict(state["optimiser"])
    fit(second, again, data[broken:])
    assert same(net.state_dict(), second.state_dict())
    assert same(net.state_dict(), first.state_dict())
    assert again.done == 50
    assert again.connectivity() == whole.connectivity()


def test_a_scheduler_of_your_own_decides_the_rate():
    """Their cosine over our constant schedule is our cosine, up to rounding."""
    net, other = mixture().double(), mixture().double()
    data = [(samples.double(), labels) for samples, labels in batches(20)]
    fit(net, GradR(net, density=0.5, steps=20, lr=0.01), data)
    optimiser = GradR(other, density=0.5, steps=20, lr=0.01, schedule="constant")
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 20)
    for batch in data:
        fit(other, optimiser, [batch])
        scheduler.step()
    for mine, theirs in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-9)


def test_channels_last_is_pruned_in_place():
    """Whether the model was laid out so before or after the optimiser was made."""

    def convolutions():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 6, 2), nn.ReLU(), nn.Conv2d(6, 8, 2), nn.Flatten(), nn.Linear(32, 3))

    net, early, late = convolutions(), convolutions().to(memory_format=torch.channels_last), convolutions()
    optimisers = [GradR(model, density=0.2, steps=30) for model in (net, early, late)]
    late.to(memory_format=torch.channels_last)
    for model, optimiser in zip((net, early, late), optimisers, strict=True):
        fit(model, optimiser, batches(30))
        assert optimiser.settled
        assert torch.allclose(net[2].weight, model[2].weight, atol=1e-3)
    assert not early[2].weight.is_contiguous()
    assert not late[2].weight.is_contiguous()


def test_a_closure_is_called_with_gradients():
    weight = nn.Parameter(torch.ones(4, 4))
    optimiser = GradR([weight], density=0.5, steps=2)

    def closure():
        loss = weight.square().sum()
        loss.backward()
        return loss

    assert float(optimiser.step(closure)) == 16


def test_past_the_end_a_warning_and_the_weights_stay():
    net = mixture()
    optimiser = GradR(net, density=0.2, steps=10)
    fit(net, optimiser, batches(10))
    weights = copy.deepcopy(dict(net.named_parameters()))
    with pytest.warns(UserWarning, match="the 10 steps of the run are made, so the learning rate is 0"):
        fit(net, optimiser, batches(2))
    assert same(weights, dict(net.named_parameters()))


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
def test_weight_norm_is_refused_unless_its_layer_is_excluded():
    net = nn.Sequential(nn.utils.weight_norm(nn.Conv3d(4, 4, 1)), nn.Linear(4, 2))
    with pytest.raises(UnsupportedError, match="0: has a weight that is computed anew.*weight_norm=False"):
        GradR(net, density=0.1, steps=10)
    assert list(GradR(net, density=0.5, steps=4, exclude=["0"]).densities()) == ["1.weight"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"density": 0}, "density: is 0; choose a share above 0 and up to 1"),
        ({"density": 5}, "density: is 5; choose a share"),
        ({"density": float("nan")}, "density: is nan; choose a share"),
        ({"steps": 0}, "steps: is 0; give the steps of the whole run"),
        ({"steps": 1.5}, "steps: is 1.5; give the steps of the whole run"),
        ({"lr": 0}, "lr: is 0; choose a positive number"),
        ({"alpha": -1.0}, "alpha: is -1.0; choose 0 or more"),
        ({"schedule": "step"}, "schedule: is step; use cosine or constant"),
        ({"betas": (0.9, 1.0)}, "betas: is (0.9, 1.0); choose 0 or more, below 1"),
        ({"eps": 0.0}, "eps: is 0.0; choose a positive number"),
        ({"exclude": ["9"]}, "9: is to be excluded, but is no layer or parameter of the model; name one of 0.bias"),
        ({"exclude": ["0", "5", "7", "8"]}, "the model: has no weights to prune"),
    ],
)
def test_settings_that_cannot_be_are_refused(options, sentence):
    with pytest.raises(UnsupportedError, match=re.escape(sentence)):
        GradR(**{"model": mixture(), "density": 0.1, "steps": 10} | options)


def parametrised() -> nn.Module:
    layer = nn.Linear(4, 4)
    nn.utils.parametrize.register_parametrization(layer, "weight", nn.Identity())
    return layer


REFUSED = {
    "parametrised": (parametrised, "Linear: has a weight that is computed anew in each step"),
    "twice": (lambda: 2 * [nn.Parameter(torch.ones(3, 3))], "entry 1 of the parameters: is that of entry 0 once more"),
    "groups": (lambda: [{"params": []}], "entry 0 of the parameters: has a dict, parameters are needed"),
    "computed": (lambda: [nn.Linear(3, 3).weight * 2], "entry 0 of the parameters: is computed from other tensors"),
    "nothing": (lambda: nn.BatchNorm1d(3), "the model: has no weights to prune"),
    "frozen": (lambda: nn.Linear(3, 3).requires_grad_(False), "the model: has no weights to prune"),
    "lazy": (lambda: nn.LazyLinear(3), "weight: has no size yet; send one batch through the model first"),
    "half": (lambda: nn.Linear(3, 3).half(), "weight: is of type torch.float16, Grad R computes in float32 or float64"),
    "sparse": (lambda: [torch.ones(3, 3).to_sparse().requires_grad_()], "0: is a sparse tensor; make it dense"),
    "meta": (lambda: nn.Linear(3, 3, device="meta"), "the model: has its weights on meta, one CPU or one CUDA device"),
}


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("case", REFUSED)
def test_weights_that_cannot_be_pruned_are_refused(case):
    make, sentence = REFUSED[case]
    with pytest.raises(UnsupportedError, match=re.escape(sentence)):
        GradR(make(), density=0.1, steps=10)


def test_what_cannot_be_done_later_is_refused():
    table = nn.Embedding(5, 3, sparse=True)
    optimiser = GradR([table.weight], density=0.5, steps=5)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(UnsupportedError, match="0: has a sparse gradient; make it dense"):
        optimiser.step()
    with pytest.raises(UnsupportedError, match="GradR: takes no parameters later"):
        optimiser.add_param_group({"params": [nn.Parameter(torch.ones(2, 2))]})
    with pytest.raises(UnsupportedError, match="GradR: cannot be copied or pickled; save its state_dict"):
        copy.deepcopy(optimiser)
    optimiser.rule.theta = [theta.to("meta") for theta in optimiser.rule.theta]
    with pytest.raises(UnsupportedError, match="0: is on cpu, it was on meta when the optimiser was made"):
        optimiser.step()


def test_states_of_others_are_refused():
    optimiser = GradR(mixture(), density=0.1, steps=10)
    adam = torch.optim.Adam(mixture().parameters())
    with pytest.raises(UnsupportedError, match="the state of GradR: has no settings of GradR"):
        optimiser.load_state_dict(adam.state_dict())
    state = GradR(mixture(), density=0.2, steps=10).state_dict()
    with pytest.raises(UnsupportedError, match=re.escape("was written with density 0.2, here it is 0.1")):
        optimiser.load_state_dict(state)
    state = GradR([torch.ones(2, 2, requires_grad=True)], density=0.1, steps=10).state_dict()
    with pytest.raises(UnsupportedError, match=re.escape("is of another model (first: ")):
        GradR([torch.ones(2, 3, requires_grad=True)], density=0.1, steps=10).load_state_dict(state)
