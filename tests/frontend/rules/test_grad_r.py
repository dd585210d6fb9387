import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from adam_reference import BETA1, BETA2, EPS, Adam  # noqa: E402
from snn_compile.frontend.controller import wanted  # noqa: E402
from snn_compile.frontend.rules import RULES, Settings  # noqa: E402
from snn_compile.frontend.rules.grad_r import prior_centre  # noqa: E402

torch.set_num_threads(1)
ADAM = {"betas": (BETA1, BETA2), "eps": EPS}


def parameter(values):
    return torch.nn.Parameter(torch.tensor(values, dtype=torch.float64))


def grad_r(weight, **settings):
    return RULES["grad-r"]([weight], Settings(**settings))


def steps(rule, gradients, lr, first=0):
    """The weights after each step."""
    weight, history = rule.weights[0], []
    for step, gradient in enumerate(gradients, start=first):
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        rule.before_step(step, lr)
        rule.step()
        history.append(weight.detach().numpy().copy())
    return history


def test_five_steps_of_the_published_rule_agree_with_numpy():
    random = np.random.default_rng(0)
    w0, gradients = random.normal(size=(3, 4)), random.normal(size=(5, 3, 4))
    lr, alpha, p = 0.05, 0.7, 0.2
    sign, theta, adam, mu = np.sign(w0), np.abs(w0), Adam(w0.shape), math.log(2 * p) / alpha
    history = steps(grad_r(parameter(w0), alpha=alpha, density=p, steps=5, **ADAM), gradients, lr)
    for g, weight in zip(gradients, history, strict=True):
        change = sign * adam.direction(g)
        theta = theta - lr * change - alpha * lr / (1 - BETA1**adam.t) * np.sign(theta - mu)
        np.testing.assert_allclose(weight, sign * np.maximum(theta, 0), rtol=1e-12, atol=1e-15)
    assert (history[-1] == 0).any()


def test_one_published_step_in_numbers():
    # m / (1 - beta1) = g, v_hat = g^2: Adam's part is lr * sign(g); mu = ln(1) / alpha = 0;
    # the prior's part is alpha * lr / (1 - beta1) = 0.5 * 0.1 / 0.5 = 0.1
    weight = parameter([1.0, -1.0, 0.05, -0.2])
    rule = grad_r(weight, betas=(0.5, 0.5), eps=1e-15, alpha=0.5, density=0.5)
    steps(rule, [[4.0, 4.0, 4.0, 0.0]], lr=0.1)
    np.testing.assert_allclose(weight.detach().numpy(), [0.8, -1.0, 0.0, -0.1], rtol=1e-12)
    np.testing.assert_allclose(rule.theta[0].numpy(), [0.8, 1.0, -0.15, 0.1], rtol=1e-12)
    assert rule.settled


def test_a_dormant_weight_learns_on_and_comes_back_with_its_sign():
    rule = grad_r(parameter([-0.15]), alpha=0.0, steps=10)
    history = steps(rule, [[-1.0]] * 2 + [[1.0]] * 8, lr=0.1)
    assert history[1] == 0.0
    assert history[-1] < -0.05


def test_the_gradient_of_a_dormant_weight_comes_from_autograd():
    weight = parameter([0.0])
    rule = grad_r(weight, alpha=0.0)  # theta = 0: dormant
    (-3.0 * weight).sum().backward()
    rule.before_step(0, 0.1)
    rule.step()
    assert float(weight) == pytest.approx(0.1)


@pytest.mark.parametrize(("value", "direction"), [(1.0, -1), (0.2, -1), (-0.2, -1), (-3.0, 1)])
def test_the_prior_pulls_towards_mu(value, direction):
    rule = grad_r(parameter([1.0]), alpha=1.0, density=math.exp(-1) / 2)  # mu = -1
    rule.theta[0].fill_(value)
    steps(rule, [[0.0]], lr=0.01)
    assert float(rule.theta[0]) == pytest.approx(value + 0.1 * direction)  # step = 0.01 / (1 - 0.9)


def test_zeros_get_alternating_signs():
    assert grad_r(parameter([0.0, 0.0, 0.0, -1.0])).sign[0].tolist() == [1.0, -1.0, 1.0, -1.0]


def test_with_a_density_the_largest_theta_survive():
    """Five steps in NumPy: no pull, and delta under the k-th largest theta of both tensors."""
    random = np.random.default_rng(1)
    w0 = [random.normal(size=(4, 5)), random.normal(size=(10,))]
    weights = [parameter(w) for w in w0]
    rule = RULES["grad-r"](weights, Settings(density=0.2, steps=5, **ADAM))
    signs, thetas, adams = [np.sign(w) for w in w0], [np.abs(w) for w in w0], [Adam(w.shape) for w in w0]
    for step in range(5):
        gradients = [random.normal(size=w.shape) for w in w0]
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = torch.tensor(gradient)
        rule.before_step(step, lr=0.1)
        rule.step()
        for i in range(2):
            thetas[i] = thetas[i] - 0.1 * signs[i] * adams[i].direction(gradients[i])
        together = np.sort(np.concatenate([theta.ravel() for theta in thetas]))[::-1]
        delta = max(0.0, together[round(30 * wanted(0.2, step + 1, 5))])
        for weight, sign, theta in zip(weights, signs, thetas, strict=True):
            np.testing.assert_allclose(weight.detach().numpy(), sign * theta * (theta > delta), rtol=1e-12)
    assert rule.connectivity() == 0.2


def test_with_costs_a_connection_has_to_be_worth_them():
    """Four steps in NumPy: theta sqrt(v mean(c) / c) decides, and the costs of the survivors are within the budget."""
    random = np.random.default_rng(2)
    w0, costs = random.normal(size=20), random.integers(1, 9, 20).astype(np.int32)
    weight = parameter(w0)
    rule = grad_r(weight, density=0.3, steps=4, costs=[torch.tensor(costs)], **ADAM)
    sign, theta, adam = np.sign(w0), np.abs(w0), Adam(w0.shape)
    gradients = random.normal(size=(4, 20))
    history = steps(rule, gradients, lr=0.1)
    for done, (g, now) in enumerate(zip(gradients, history, strict=True), start=1):
        theta = theta - 0.1 * sign * adam.direction(g)
        value = theta * np.sqrt(adam.v * costs.mean() / costs)
        order = np.argsort(-value)
        allowed = max(round(0.3 * costs.sum()), round(wanted(0.3, done, 4) * costs.sum()))
        kept = order[np.cumsum(costs[order]) <= allowed]
        kept = kept[: int(np.argmax(~(np.cumsum(costs[order]) <= allowed)))] if len(kept) < 20 else kept
        expected = np.zeros(20)
        expected[kept] = sign[kept] * theta[kept]
        np.testing.assert_allclose(now, np.where(value > 0, expected, 0), rtol=1e-6)
    assert 0 < costs[weight.detach().numpy() != 0].sum() <= round(0.3 * costs.sum())


def test_nothing_is_pruned_by_cost_before_gradients_come():
    weights = [parameter([0.5, 0.4]), parameter([0.3])]
    costs = [torch.ones(2, dtype=torch.int32), torch.ones(1, dtype=torch.int32)]
    rule = RULES["grad-r"](weights, Settings(density=0.34, steps=100, costs=costs))
    for step in range(60):
        weights[0].grad = torch.ones(2, dtype=torch.float64) * 1e-3
        weights[1].grad = torch.zeros(1, dtype=torch.float64)
        rule.before_step(step, lr=0.0)
        rule.step()
        if step == 58:  # the second layer has had no gradient yet
            assert rule.connectivity() == 1.0
    assert rule.connectivity() == pytest.approx(1 / 3)  # at the end of the course there is no waiting


def test_the_published_pull_is_in_proportion_to_the_cost():
    weight = parameter([1.0, 1.0])
    costs = [torch.tensor([1, 3], dtype=torch.int32)]
    rule = grad_r(weight, betas=(0.5, 0.5), alpha=0.5, density=0.5, costs=costs)
    steps(rule, [[0.0, 0.0]], lr=0.1)  # alpha * lr / (1 - beta1) = 0.1, times 1 / 2 and 3 / 2
    np.testing.assert_allclose(weight.detach().numpy(), [0.95, 0.85], rtol=1e-12)


def test_a_connection_below_the_threshold_learns_on_and_takes_anothers_place():
    rule = grad_r(parameter([0.5, -0.4, 0.1, 0.1]), density=0.25, steps=10)
    still, pull = [0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]
    history = steps(rule, [still] * 6 + [pull] * 4, lr=0.1)
    assert history[5].tolist() == [0.5, 0.0, 0.0, 0.0]
    assert history[9][1] < -0.5
    assert np.count_nonzero(history[9]) == 1
    assert rule.changes() == (3, 0)


def test_where_too_few_are_positive_the_nearest_are_given_back():
    rule = grad_r(parameter([0.5, 0.2, 0.2, 0.3]), density=0.75, steps=1)
    weight = steps(rule, [[0.0, 1.0, 1.0, 1.0]], lr=0.25)[0]  # theta 0.5, -0.05, -0.05, 0.05
    assert weight[0] == 0.5
    assert weight[3] == pytest.approx(0.05)
    rule = grad_r(parameter([0.5, 0.2, 0.1, 0.3]), density=0.75, steps=1)
    weight = steps(rule, [[0.0, 1.0, 1.0, 1.0]], lr=0.25)[0]  # theta 0.5, -0.05, -0.15, 0.05
    assert weight.tolist() == pytest.approx([0.5, 1e-12, 0.0, 0.05])
    assert rule.settled


def test_prior_centre():
    assert prior_centre(0.0, 0.1) == -math.inf
    assert prior_centre(1e-3, 0.05) == pytest.approx(-2302.585)
    assert prior_centre(1.0, 0.9) == 0.0
