"""What every rule promises: in place, the density, and a state from which it goes on bit for bit."""

import pytest

torch = pytest.importorskip("torch")

from snn_compile.frontend.rules import RULES, Settings, connectivity  # noqa: E402

torch.set_num_threads(1)
PRUNING = sorted(set(RULES) - {"dense"})
SHAPES = ((30, 20), (10, 30), (4, 2, 3, 3))


def start(name, steps, density=0.1, seed=0, alpha=None, costs=None):
    random = torch.Generator().manual_seed(7)
    weights = [torch.nn.Parameter(torch.empty(s).uniform_(-0.2, 0.2, generator=random)) for s in SHAPES]
    return RULES[name](weights, Settings(density=density, steps=steps, seed=seed, alpha=alpha, costs=costs))


def some_costs(seed):
    random = torch.Generator().manual_seed(seed)
    return [torch.randint(1, 50, shape, generator=random, dtype=torch.int32) for shape in SHAPES]


def run(rule, first, last, lr=0.02):
    """Steps towards random targets, with noise."""
    for step in range(first, last):
        random = torch.Generator().manual_seed(step)
        rule.zero_grad()
        for weight in rule.weights:
            weight.grad = weight.detach() - 0.5 * torch.randn(weight.shape, generator=random)
        rule.before_step(step, lr * (1 - step / last))
        rule.step()
    return rule


def nonzero(rule):
    return sum(int(torch.count_nonzero(weight)) for weight in rule.weights)


@pytest.mark.parametrize("name", RULES)
def test_writes_in_place(name):
    rule = start(name, steps=30)
    before = [(weight.data_ptr(), weight._version) for weight in rule.weights]
    run(rule, 0, 30)
    for weight, (address, version) in zip(rule.weights, before, strict=True):
        assert weight.data_ptr() == address
        assert weight._version > version


@pytest.mark.parametrize("density", [0.02, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("steps", [1, 3, 10, 170])
@pytest.mark.parametrize("name", PRUNING)
def test_the_density_is_reached_at_any_number_of_steps(name, steps, density):
    rule = run(start(name, steps, density), 0, steps)
    assert rule.settled
    assert rule.connectivity() == pytest.approx(density, rel=0.05)
    assert connectivity(weight.detach() for weight in rule.weights) == pytest.approx(density, rel=0.05)
    sizes = [weight.numel() for weight in rule.weights]
    together = sum(share * size for share, size in zip(rule.densities(), sizes, strict=True)) / sum(sizes)
    assert together == pytest.approx(rule.connectivity())


@pytest.mark.parametrize("name", ["grad-r", "stds"])
def test_a_run_that_begins_dense_is_not_settled_at_first(name):
    rule = start(name, steps=100)
    assert not rule.settled
    assert not run(rule, 0, 20).settled


@pytest.mark.parametrize("name", ["deep-r", "rigl", "set"])
def test_the_number_is_constant_and_connections_move(name):
    rule, counts = start(name, steps=200), set()
    for step in range(200):
        run(rule, step, step + 1, lr=0.05)
        counts.add(sum(int(mask.sum()) for mask in rule.active()))
        for weight, mask in zip(rule.weights, rule.active(), strict=True):
            assert torch.count_nonzero(weight.detach()[~mask]) == 0
    assert counts == {rule.bill.budget}
    pruned, regrown = rule.changes()
    assert pruned == regrown > 0
    assert rule.changes() == (0, 0)


def test_costs_that_change_go_on_bit_for_bit(tmp_path):
    """Between two control points: the worths of the last one hold until the next."""
    first = run(start("grad-r", 1000, costs=some_costs(0)), 0, 503)
    first.bill.charge(some_costs(1))
    first.bill.aim(0.2)
    torch.save({"rule": first.state_dict(), "weights": first.weights}, tmp_path / "state")
    content = torch.load(tmp_path / "state", weights_only=True)
    second = start("grad-r", 1000, costs=some_costs(0))
    for weight, given in zip(second.weights, content["weights"], strict=True):
        weight.data.copy_(given)
    second.load_state_dict(content["rule"])
    before = first.connectivity()
    for last in (505, 600, 1000):
        run(first, first.at + 1, last)
        run(second, second.at + 1, last)
        assert all(torch.equal(one, other) for one, other in zip(first.weights, second.weights, strict=True))
        if last == 505:
            assert first.connectivity() == pytest.approx(before, abs=0.02)
    assert first.settled


@pytest.mark.parametrize("alpha", [None, 0.5])
@pytest.mark.parametrize("name", RULES)
def test_goes_on_bit_for_bit_from_its_state(name, alpha, tmp_path):
    first = run(start(name, 60, alpha=alpha), 0, 31)
    torch.save({"rule": first.state_dict(), "weights": first.weights}, tmp_path / "state")
    content = torch.load(tmp_path / "state", weights_only=True)
    second = start(name, 60, seed=5, alpha=alpha)
    for weight, given in zip(second.weights, content["weights"], strict=True):
        weight.data.copy_(given)
    second.load_state_dict(content["rule"])
    run(first, 31, 60)
    run(second, 31, 60)
    for one, other in zip(first.weights, second.weights, strict=True):
        assert torch.equal(one, other)
    assert first.changes() == second.changes()


def test_the_state_is_a_copy():
    rule = start("rigl", 60)
    state = rule.state_dict()
    mask = state["masks"][0].clone()
    run(rule, 0, 30)
    assert torch.equal(state["masks"][0], mask)


def test_the_state_of_another_rule_or_other_tensors_is_refused():
    with pytest.raises(KeyError, match=r"theta"):
        start("grad-r", 10).load_state_dict(start("dense", 10).state_dict())
    other = RULES["dense"]([torch.nn.Parameter(torch.ones(2))], Settings())
    with pytest.raises(ValueError, match=r"first: is not of the kind and size that this rule has"):
        start("dense", 10).load_state_dict(other.state_dict())


@pytest.mark.parametrize("name", RULES)
def test_a_weight_without_a_gradient_waits(name):
    rule = start(name, steps=40, density=1.0)
    idle = rule.weights[1].detach().clone()
    for step in range(20):
        rule.zero_grad()
        rule.weights[0].grad = torch.ones_like(rule.weights[0])
        rule.before_step(step, 0.0)
        rule.step()
    assert torch.equal(rule.weights[1], idle) or name == "stds"


def test_connectivity():
    assert connectivity([torch.zeros(3), torch.ones(1)]) == 0.25
