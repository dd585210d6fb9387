import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from adam_reference import BETA1, BETA2, EPS, Adam  # noqa: E402
from snn_compile.frontend.rules import RULES, Settings  # noqa: E402

torch.set_num_threads(1)


def stds(weights, **settings):
    return RULES["stds"](weights, Settings(betas=(BETA1, BETA2), eps=EPS, **settings))


def test_four_steps_agree_with_numpy():
    random = np.random.default_rng(2)
    v = [random.normal(size=(4, 5)), random.normal(size=(10,))]
    weights = [torch.nn.Parameter(torch.tensor(w)) for w in v]
    rule, adams = stds(weights, density=0.2, steps=4), [Adam(w.shape) for w in v]
    for step in range(4):
        gradients = [random.normal(size=w.shape) for w in v]
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = torch.tensor(gradient)
        rule.before_step(step, lr=0.1)
        rule.step()
        v = [w - 0.1 * adam.direction(g) for w, adam, g in zip(v, adams, gradients, strict=True)]
        strength = np.sort(np.abs(np.concatenate([w.ravel() for w in v])))[::-1]
        d = strength[6] * (1 + math.sin(math.pi * (min(1, (step + 1) / 2.4) - 0.5))) / 2
        for weight, w in zip(weights, v, strict=True):
            expected = np.sign(w) * np.maximum(np.abs(w) - d, 0)
            np.testing.assert_allclose(weight.detach().numpy(), expected, rtol=1e-12, atol=1e-15)
    assert rule.connectivity() == 0.2


def test_a_dormant_weight_learns_on_and_comes_back_with_the_other_sign():
    weight = torch.nn.Parameter(torch.tensor([0.5, 0.1], dtype=torch.float64))
    rule = stds([weight], density=0.5, steps=20)
    for step in range(20):
        weight.grad = torch.tensor([0.0, 1.0 if step > 5 else 0.0], dtype=torch.float64)
        rule.before_step(step, lr=0.1)
        rule.step()
    assert float(weight[0]) == 0.0
    assert float(weight[1]) < -0.5
