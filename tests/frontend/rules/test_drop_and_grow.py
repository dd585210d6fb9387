import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from adam_reference import BETA1, BETA2, EPS, Adam  # noqa: E402
from snn_compile.frontend.rules import RULES, Settings  # noqa: E402

torch.set_num_threads(1)


def make(name, w0, steps=100, **settings):
    weight = torch.nn.Parameter(torch.tensor(w0))
    return RULES[name]([weight], Settings(steps=steps, betas=(BETA1, BETA2), eps=EPS, **settings))


def step(rule, gradient, number, lr=0.1):
    rule.weights[0].grad = torch.tensor(gradient)
    rule.before_step(number, lr)
    rule.step()
    return rule.weights[0].detach().numpy().copy()


def test_rigl_agrees_with_numpy_through_two_rewirings():
    """Interval 5: steps 5 and 10 rewire, the others are Adam on the connections alone."""
    random = np.random.default_rng(5)
    w = random.normal(size=(6, 10))
    rule = make("rigl", w, density=0.5)
    mask = rule.masks[0].numpy().copy()
    w, adam = w * mask, Adam(w.shape)
    moved = 0
    for number in range(12):
        g = random.normal(size=w.shape)
        result = step(rule, g, number)
        if number in (5, 10):
            count = round(30 * 0.15 * (1 + math.cos(math.pi * number / 75)))
            dropped = np.argsort(np.where(mask, np.abs(w), np.inf), axis=None)[:count]
            grown = np.argsort(np.where(mask, -1, np.abs(g)), axis=None)[-count:]
            mask.flat[dropped], mask.flat[grown] = False, True
            for array in (w, adam.m, adam.v):
                array.flat[dropped] = 0
                array.flat[grown] = 0
            adam.t += 1
            moved += count
        else:
            w = (w - 0.1 * adam.direction(g * mask)) * mask
        np.testing.assert_allclose(result, w, rtol=1e-12, atol=1e-15)
        assert np.array_equal(rule.masks[0].numpy(), mask)
        assert mask.sum() == 30
    assert moved == 18
    assert 0 < rule.changes()[0] <= 18


def test_set_drops_the_smallest_and_grows_dormant_ones_at_random():
    w0 = np.arange(1.0, 41.0).reshape(4, 10)
    results = []
    for seed in (0, 0, 1):
        rule = make("set", w0, density=0.5, seed=0)
        before = rule.masks[0].clone()
        rule.random.manual_seed(seed)
        rule.weights[0].grad = torch.zeros(4, 10, dtype=torch.float64)
        rule.before_step(5, 0.1)
        rule.step()
        after = rule.masks[0]
        alive = torch.tensor(w0)[before].sort().values
        assert torch.tensor(w0)[before & ~after].sort().values.tolist() == alive[:6].tolist()
        assert int((after & ~before).sum()) == 6
        results.append(after.clone())
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


@pytest.mark.parametrize("name", ["rigl", "set"])
def test_a_grown_connection_counts_at_zero_and_learns(name):
    rule = make(name, np.ones((2, 5)), density=0.5)
    weights = step(rule, np.arange(10.0).reshape(2, 5) + 1, 5)
    mask = rule.masks[0].numpy()
    assert mask.sum() == 5
    assert (weights[mask] == 0).sum() == 1
    assert rule.connectivity() == 0.5
    assert (step(rule, np.ones((2, 5)), 6)[mask] != 0).all()


def test_connections_stay_in_the_last_quarter():
    rule = make("rigl", np.random.default_rng(0).normal(size=(6, 10)), density=0.5)
    for number in range(75):
        step(rule, np.random.default_rng(number).normal(size=(6, 10)), number)
    assert rule.changes()[0] > 0
    for number in range(75, 100):
        step(rule, np.random.default_rng(number).normal(size=(6, 10)), number)
    assert rule.changes() == (0, 0)
