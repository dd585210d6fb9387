import numpy as np
import pytest

torch = pytest.importorskip("torch")

from snn_compile.frontend import sparse_linear  # noqa: E402
from snn_compile.frontend.sparse_linear import SparseLinear  # noqa: E402

torch.set_num_threads(1)


def layer(density, bias, seed=0):
    torch.manual_seed(seed)
    made = SparseLinear(40, 30, bias=bias)
    with torch.no_grad():
        made.weight.mul_(torch.rand(30, 40) < density)
        made.weight[3] = 0
    return made


@pytest.mark.parametrize("bias", [False, True])
def test_values_and_gradients_are_those_of_the_dense_product(bias):
    sparse = layer(0.05, bias)
    dense = torch.nn.Linear(40, 30, bias=bias)
    dense.load_state_dict(sparse.state_dict())
    x, goal = torch.rand(8, 50, 40), torch.rand(8, 50, 30)
    results = []
    for net in (sparse, dense):
        entering = x.clone().requires_grad_()
        y = net(entering)
        (y * goal).sum().backward()
        results.append([y.detach(), entering.grad, *(p.grad for p in net.parameters())])
    for mine, other in zip(*results, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-5)
    assert torch.count_nonzero(sparse.weight.grad) == 1200  # of dormant weights too


@pytest.mark.parametrize(("density", "rows", "used"), [(0.05, 400, True), (0.5, 400, False), (0.05, 100, False)])
def test_is_used_where_it_pays(density, rows, used, monkeypatch):
    calls = []
    monkeypatch.setattr(sparse_linear, "multiply", lambda *arrays: calls.append(len(arrays)))
    layer(density, bias=False)(torch.rand(rows, 40))
    assert bool(calls) == used


def test_other_types_are_dense():
    double = layer(0.05, bias=False).to(torch.float64)
    assert double(torch.rand(400, 40, dtype=torch.float64)).dtype == torch.float64
