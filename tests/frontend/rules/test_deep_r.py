import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from adam_reference import BETA1, BETA2, EPS, Adam  # noqa: E402
from snn_compile.frontend.rules import RULES, Settings, deep_r  # noqa: E402

torch.set_num_threads(1)


def parameter(values):
    return torch.nn.Parameter(torch.tensor(values, dtype=torch.float64))


def make(weight, **settings):
    return RULES["deep-r"]([weight], Settings(betas=(BETA1, BETA2), eps=EPS, **settings))


def step(rule, gradient, number=0, lr=0.1):
    rule.weights[0].grad = torch.tensor(gradient, dtype=torch.float64)
    rule.before_step(number, lr)
    rule.step()
    return rule.weights[0].detach().numpy().copy()


def test_four_steps_agree_with_numpy(monkeypatch):
    monkeypatch.setattr(deep_r, "TEMPERATURE", 1e-3)
    monkeypatch.setattr(deep_r, "L1", 0.2)
    random = np.random.default_rng(3)
    w0 = random.normal(size=(5, 6)) + 3  # far from 0: none goes dormant
    weight = parameter(w0)
    rule = make(weight, density=0.5, seed=4)
    mask = rule.masks[0].numpy()
    assert mask.sum() == 15
    draws = torch.Generator()
    draws.set_state(rule.random.get_state())
    theta, adam, lr = np.abs(w0) * mask, Adam(w0.shape), 0.1
    for number in range(4):
        g = random.normal(size=w0.shape)
        noise = np.zeros(w0.shape)
        noise[mask] = torch.randn(15, generator=draws, dtype=torch.float64).numpy()
        change = lr * (np.sign(w0) * adam.direction(g * mask) + 0.2) - math.sqrt(2 * lr * 1e-3) * noise
        theta = (theta - change) * mask
        np.testing.assert_allclose(step(rule, g, number, lr), np.sign(w0) * theta, rtol=1e-12)


def test_the_noise_has_the_variance_of_the_equation(monkeypatch):
    monkeypatch.setattr(deep_r, "TEMPERATURE", 2e-3)
    weight = parameter(np.full((100, 100), 5.0))
    rule = make(weight, density=1.0)
    change = step(rule, np.zeros((100, 100)), lr=0.04) - 5.0
    assert change.std() == pytest.approx(math.sqrt(2 * 0.04 * 2e-3), rel=0.03)
    assert change.mean() == pytest.approx(-0.04 * deep_r.L1, abs=5e-4)


def test_a_lost_connection_goes_dormant_and_another_begins_with_its_sign(monkeypatch):
    monkeypatch.setattr(deep_r, "TEMPERATURE", 0.0)
    monkeypatch.setattr(deep_r, "pick", lambda dormant, count, random: dormant.nonzero().flatten()[:count])
    rule = make(parameter([-0.7, 0.5, -0.5]), density=1 / 3)
    rule.masks = [torch.tensor([False, True, False])]
    rule.theta = [torch.tensor([0.0, 0.05, 0.0], dtype=torch.float64)]
    assert step(rule, [0.0, 1.0, 0.0]).tolist() == [-deep_r.REVIVED, 0.0, 0.0]
    assert rule.first[0].tolist() == [0.0, 0.0, 0.0]
    after = step(rule, [1.0, 1.0, 1.0], 1)
    assert after[0] < -0.05
    assert after[1:].tolist() == [0.0, 0.0]
    assert rule.active()[0].tolist() == [True, False, False]


def test_revived_ones_are_drawn_over_all_tensors():
    weights = [parameter(np.ones(50)), parameter(np.ones(50))]
    rule = RULES["deep-r"](weights, Settings(density=0.2))
    assert [int(mask.sum()) for mask in rule.active()] == [10, 10]
    rule.theta[0].copy_(rule.masks[0] * -1.0)  # all of the first tensor's are lost
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    rule.before_step(0, 0.0)
    rule.step()
    first, second = (int(mask.sum()) for mask in rule.active())
    assert first + second == 20
    assert first > 0
    assert second > 10


def test_a_zero_gets_a_random_sign():
    signs = make(parameter(np.zeros(100)), density=0.5).sign[0]
    assert 20 < int((signs == 1).sum()) < 80
    assert set(signs.tolist()) == {-1.0, 1.0}
