"""Parts of a batch come to what the whole batch gives."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

torch = pytest.importorskip("torch")

from snn_compile.compiler import nodes as ir  # noqa: E402
from snn_compile.frontend import parallel  # noqa: E402
from snn_compile.frontend.model import SpikingNetwork, _Channels, fully_connected  # noqa: E402
from snn_compile.frontend.part import Exchange, WholeBatchNorm, current, cut, dropout  # noqa: E402


@pytest.mark.parametrize("shape", [(6, 3), (5, 2, 4, 3)])
def test_batch_norm_of_one_part_is_pytorchs(shape):
    torch.manual_seed(0)
    x = (3 + torch.randn(shape, dtype=torch.float64)).requires_grad_()
    weight, bias = (torch.randn(shape[1], dtype=torch.float64, requires_grad=True) for _ in range(2))
    (part,) = cut(shape[0], 1)
    ours, mean, var = WholeBatchNorm.apply(x, weight, bias, 1e-5, part)
    theirs = torch.nn.functional.batch_norm(x, None, None, weight, bias, True)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(mean, x.transpose(0, 1).flatten(1).mean(1))
    torch.testing.assert_close(var, x.transpose(0, 1).flatten(1).var(1, unbiased=False))
    assert torch.autograd.gradcheck(lambda *a: WholeBatchNorm.apply(*a, 1e-5, part)[0], (x, weight, bias))


def test_batch_norm_of_two_parts_on_threads_is_that_of_the_whole():
    torch.manual_seed(0)
    node = ir.BatchNorm("bn", *(torch.ones(3).numpy() for _ in range(4)))
    ours, theirs = _Channels(node).train(), _Channels(node).train()
    x, goal = torch.randn(4, 7, 3, 2, 2), torch.randn(4, 7, 3, 2, 2)
    whole = x.clone().requires_grad_()
    (theirs(whole) * goal).sum().backward()
    parts, exchange = cut(7, 2), Exchange(2)

    def work(part):
        part.sum, part.records = partial(exchange.sum, part.index), part.index == 0
        mine = x[:, part.begin : part.end].clone().requires_grad_()
        with part.active():
            loss = (ours(mine) * goal[:, part.begin : part.end]).sum()
        return torch.autograd.grad(loss, (mine, ours.weight, ours.bias))

    with ThreadPoolExecutor(2) as pool:
        (x1, w1, b1), (x2, w2, b2) = pool.map(work, parts)
    for mine, other in (
        (torch.cat([x1, x2], 1), whole.grad), (w1 + w2, theirs.weight.grad), (b1 + b2, theirs.bias.grad),
        (ours.running_mean, theirs.running_mean), (ours.running_var, theirs.running_var),
    ):  # fmt: skip
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5)


def test_dropouts_mask_does_not_depend_on_the_parts():
    x = torch.ones(3, 9, 20)
    (whole,) = (dropout(x, 0.4, part) for part in cut(9, 1, seed=5))
    parts = [dropout(x[:, part.begin : part.end], 0.4, part) for part in cut(9, 2, seed=5)]
    assert torch.equal(torch.cat(parts, 1), whole)
    assert torch.equal(whole[0], whole[1])
    assert whole.unique().tolist() == [0.0, pytest.approx(1 / 0.6)]
    assert 0.3 < float((whole == 0).float().mean()) < 0.5
    (none,) = (dropout(x, 1.0, part) for part in cut(9, 1))
    assert not none.any()


def test_a_part_that_fails_ends_the_others(monkeypatch):
    model = SpikingNetwork(fully_connected(ir.Input("x", shape=(4,)), (3,), ir.LIF("y"), 2))

    def failing(samples):
        if samples.any():
            raise MemoryError("no room")
        return current().sum(samples)  # waits for the part that does not come

    samples = torch.zeros(64, 4, dtype=torch.uint8)
    samples[32:] = 1
    monkeypatch.setattr(model, "forward", failing)
    with parallel.gradient_pool() as pool, pytest.raises(MemoryError, match="no room"):
        parallel.backward(model, samples, torch.zeros(64, 3), pool)


def test_threads_that_wait_hear_of_the_end():
    exchange = Exchange(2)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(exchange.sum, 0, torch.ones(1))
        exchange.abort()
        with pytest.raises(threading.BrokenBarrierError):
            waiting.result(timeout=10)


def test_threads_of_the_pool_compute_alone():
    with parallel.gradient_pool() as pool:
        assert pool.submit(torch.get_num_threads).result() == 1
