import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from snn_compile.frontend.bill import Bill  # noqa: E402
from snn_compile.frontend.select_kernel import level  # noqa: E402

FLOATS = st.floats(-(2.0**99), 2.0**99, width=32) | st.sampled_from([0.0, -0.0, 1e-45, -1e-45, 1.0, -1.0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_level_leaves_the_number_over_all_tensors(dtype):
    random = torch.Generator().manual_seed(0)
    tensors = [torch.randn(7, 5, generator=random, dtype=dtype), torch.randn(11, generator=random, dtype=dtype)]
    bill = Bill(tensors, None, 0.1)
    assert (bill.total, bill.budget) == (46, 5)
    for survivors in (0, 1, 20, 45):
        delta = bill.level(tensors, survivors)
        assert sum(int((tensor > delta).sum()) for tensor in tensors) == survivors
    assert bill.level(tensors, 46) == -math.inf


@given(st.lists(st.tuples(FLOATS, st.integers(1, 1000)), min_size=1, max_size=40), st.integers(0, 4000))
def test_the_level_is_the_smallest_within_the_budget(pairs, budget):
    values, costs = np.float32([v for v, _ in pairs]), np.int32([c for _, c in pairs])
    one = np.ones(1, np.float32)
    half = len(pairs) // 2
    delta = level([values[:half], values[half:]], [one, one], [costs[:half], costs[half:]], budget)
    levels = [-math.inf, *sorted(values.tolist())]
    assert delta == next(v for v in levels if costs[values > v].sum() <= budget)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_costs_count_and_weigh(dtype):
    strengths = [torch.tensor([4.0, 3.0, 1.0], dtype=dtype), torch.tensor([3.5], dtype=dtype)]
    costs = [torch.tensor([4, 1, 1], dtype=torch.int32), torch.tensor([2], dtype=torch.int32)]
    bill = Bill(strengths, costs, 0.5)
    worth = [(2 / c) ** 0.5 for c in (4, 1, 1, 2)]
    assert torch.cat(bill.worths).tolist() == pytest.approx(worth)
    assert (bill.total, bill.budget) == (8, 4)
    masks = [(s * w) > bill.level(strengths, 4) for s, w in zip(strengths, bill.worths, strict=True)]
    assert [mask.tolist() for mask in masks] == [[False, True, False], [True]]  # 4.24, 3.5, 2.83 and the rest
    assert bill.paid(masks) == 3


def test_other_costs_keep_the_density():
    weights = [torch.ones(4)]
    bill = Bill(weights, None, 0.5)
    bill.charge([torch.tensor([1, 1, 1, 5], dtype=torch.int32)])
    assert (bill.total, bill.budget, bill.within(0.75), bill.within(0.1)) == (8, 4, 6, 4)


def test_gradients_make_a_weight_worth_more():
    weights = [torch.ones(2), torch.ones(1)]
    costs = [torch.tensor([1, 4], dtype=torch.int32), torch.tensor([4], dtype=torch.int32)]
    bill = Bill(weights, costs, 0.5)
    bill.weigh([torch.tensor([1.0, 16.0]), torch.tensor([0.0])])
    assert [worth.tolist() for worth in bill.worths] == [
        pytest.approx([3**0.5, 12**0.5]),
        pytest.approx([1e-25]),  # it comes last, but it comes
    ]
    assert bill.level(weights, 4) == pytest.approx(3**0.5)  # the second weight costs 4 and is the best
    assert bill.level(weights, 5) == pytest.approx(1e-25)
