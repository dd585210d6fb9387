import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from snn_compile.frontend.gradr import GradR, connectivity, prior_centre  # noqa: E402

torch.set_num_threads(1)


def parameter(values):
    return torch.nn.Parameter(torch.tensor(values, dtype=torch.float64))


def by_hand(w0, gradients, lr, beta1, beta2, eps, alpha, p):
    """The rule of the paper in NumPy, float64; returns the weights after each step."""
    sign = np.sign(w0)
    theta = np.abs(w0)
    m = np.zeros_like(theta)
    v = np.zeros_like(theta)
    mu = math.log(2 * p) / alpha
    weights = []
    for t, g in enumerate(gradients, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        step = lr / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        theta = theta - step * sign * m / (np.sqrt(v_hat) + eps) - alpha * step * np.sign(theta - mu)
        weights.append(sign * np.maximum(theta, 0))
    return weights


def test_five_steps_agree_with_numpy():
    random = np.random.default_rng(0)
    w0 = random.normal(size=(3, 4))
    gradients = random.normal(size=(5, 3, 4))
    settings = {"lr": 0.05, "eps": 1e-3, "alpha": 0.7}
    wanted = by_hand(w0, gradients, beta1=0.8, beta2=0.95, p=0.2, **settings)
    weight = parameter(w0)
    optimiser = GradR([weight], betas=(0.8, 0.95), density=0.2, **settings)
    for gradient, expected in zip(gradients, wanted):  # noqa: B905
        weight.grad = torch.tensor(gradient)
        optimiser.step()
        np.testing.assert_allclose(weight.detach().numpy(), expected, rtol=1e-12, atol=1e-15)


def test_one_step_in_numbers():
    # First step: m / (1 - beta1) = g, v_hat = g^2, so Adam's part is lr * sign(g); mu = ln(1) / alpha = 0.
    # Prior's part: alpha * lr / (1 - beta1) = 0.5 * 0.1 / 0.9... with beta1 = 0.5 it is 0.5 * 0.2 = 0.1.
    weight = parameter([1.0, -1.0, 0.05, -0.2])
    weight.grad = torch.tensor([4.0, 4.0, 4.0, 0.0], dtype=torch.float64)
    optimiser = GradR([weight], lr=0.1, betas=(0.5, 0.5), eps=0.0, alpha=0.5, density=0.5)
    optimiser.state[weight]["second_moment"].fill_(1e-30)  # the last gradient is 0: avoid 0 / 0 with eps = 0
    optimiser.step()
    np.testing.assert_allclose(weight.detach().numpy(), [0.8, -1.0, 0.0, -0.1], rtol=1e-12)
    np.testing.assert_allclose(optimiser.state[weight]["theta"].numpy(), [0.8, 1.0, -0.15, 0.1], rtol=1e-12)


def test_a_dormant_weight_learns_on_and_comes_back_with_its_sign():
    weight = parameter([-0.15])
    optimiser = GradR([weight], lr=0.1, alpha=0.0)
    history = []
    for gradient in (-1.0, -1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0):
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimiser.step()
        history.append(float(weight))
    assert history[1] == 0.0
    assert optimiser.connectivity() == 1.0
    assert history[-1] < -0.05


def test_the_gradient_of_a_dormant_weight_comes_from_autograd():
    weight = parameter([0.0])
    optimiser = GradR([weight], lr=0.1, alpha=0.0)  # theta = 0: dormant
    (-3.0 * weight).sum().backward()
    optimiser.step()
    assert float(weight) == pytest.approx(0.1)


def test_writes_in_place():
    weight = parameter([0.5, -0.5])
    address, version = weight.data_ptr(), weight._version
    optimiser = GradR([weight], lr=0.1)
    weight.grad = torch.ones_like(weight)
    optimiser.step()
    assert weight.data_ptr() == address
    assert weight._version > version


@pytest.mark.parametrize(("start", "direction"), [(1.0, -1), (0.2, -1), (-0.2, -1), (-3.0, 1)])
def test_the_prior_pulls_towards_mu(start, direction):
    weight = parameter([1.0])
    optimiser = GradR([weight], lr=0.01, alpha=1.0, density=math.exp(-1) / 2)  # mu = -1
    theta = optimiser.state[weight]["theta"].fill_(start)
    weight.grad = torch.zeros_like(weight)
    optimiser.step()
    assert float(theta) == pytest.approx(start + 0.1 * direction)  # step = 0.01 / (1 - 0.9)


def test_state_dict_round_trip():
    def run(optimiser, weight, steps, seed):
        random = torch.Generator().manual_seed(seed)
        for _ in range(steps):
            weight.grad = torch.randn(weight.shape, dtype=torch.float64, generator=random)
            optimiser.step()

    first = parameter([[0.3, -0.2], [0.0, 0.0]])
    optimiser = GradR([first], lr=0.1, alpha=0.3)
    run(optimiser, first, 4, seed=1)
    second = torch.nn.Parameter(first.detach().clone())
    other = GradR([second], lr=0.5, alpha=0.0)
    other.load_state_dict(optimiser.state_dict())
    run(optimiser, first, 4, seed=2)
    run(other, second, 4, seed=2)
    assert torch.equal(first, second)
    assert torch.equal(optimiser.thetas()[0], other.thetas()[0])


def test_zeros_get_alternating_signs():
    weight = parameter([0.0, 0.0, 0.0, -1.0])
    assert GradR([weight]).state[weight]["sign"].tolist() == [1.0, -1.0, 1.0, -1.0]


def test_freeze_keeps_the_dormant_dormant():
    weight = parameter([0.5, 0.01])
    optimiser = GradR([weight], lr=0.1, alpha=0.0)
    weight.grad = torch.ones_like(weight)
    optimiser.step()
    optimiser.freeze()
    for _ in range(20):
        weight.grad = -torch.ones_like(weight)
        optimiser.step()
    assert float(weight[1]) == 0.0
    assert float(weight[0]) > 0.5
    assert optimiser.connectivity() == 0.5


def test_closure_and_missing_gradients():
    weight, idle = parameter([1.0]), parameter([1.0])
    optimiser = GradR([weight, idle], lr=0.1, alpha=0.0)

    def closure():
        optimiser.zero_grad()
        loss = (2 * weight).sum()
        loss.backward()
        return loss

    assert float(optimiser.step(closure)) == 2.0
    assert float(weight) == pytest.approx(0.9)
    assert float(idle) == 1.0


def test_helpers_and_wrong_options():
    assert connectivity([torch.zeros(3), torch.ones(1)]) == 0.25
    assert prior_centre(0.0, 0.1) == -math.inf
    assert prior_centre(1e-3, 0.05) == pytest.approx(-2302.585)
    with pytest.raises(ValueError, match=r"density: is 0.7"):
        GradR([parameter([1.0])], density=0.7)
    with pytest.raises(ValueError, match=r"grad-r: lr -1"):
        GradR([parameter([1.0])], lr=-1.0)
