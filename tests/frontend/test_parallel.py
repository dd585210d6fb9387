"""Gradients of a batch on two threads: those of the whole batch, whatever the number of cores."""

import pytest

torch = pytest.importorskip("torch")

from snn_compile.compiler import nodes as ir  # noqa: E402
from snn_compile.compiler.network import Network  # noqa: E402
from snn_compile.frontend.model import SpikingNetwork, fully_connected  # noqa: E402
from snn_compile.frontend.parallel import backward, gradient_pool  # noqa: E402


def whole_batch(model, samples, wanted):
    model.zero_grad()
    loss = torch.nn.functional.mse_loss(model(samples), wanted)
    loss.backward()
    return loss, [p.grad.clone() for p in model.parameters()]


@pytest.mark.parametrize("batch", [1, 5, 63, 64, 101])
def test_the_parts_add_up_to_the_whole(batch):
    torch.manual_seed(0)
    model = SpikingNetwork(fully_connected(ir.Input("x", shape=(20,), max_value=16), (30, 4), ir.LIF("y"), steps=6))
    model.reset_parameters()
    with torch.no_grad():
        for weight in model.pruned_weights():
            weight.mul_(6)  # so that all layers spike
    samples, wanted = torch.randint(0, 17, (batch, 20)), torch.rand(batch, 4)
    loss, gradients = whole_batch(model, samples, wanted)
    with gradient_pool() as pool:
        ours = backward(model, samples, wanted, pool)
        mine = [p.grad.clone() for p in model.parameters()]
        again = backward(model, samples, wanted, pool)
    torch.testing.assert_close(ours, loss.detach())
    assert torch.equal(ours, again)
    for ours_, theirs in zip(mine, gradients, strict=True):
        assert theirs.abs().sum() > 0
        torch.testing.assert_close(ours_, theirs, atol=1e-7, rtol=1e-4)


def test_batch_norm_takes_the_statistics_of_the_whole_batch():
    arrays = {key: torch.ones(30).numpy() for key in ("weight", "bias", "running_mean", "running_var")}
    nodes = (
        ir.Input("x", shape=(20,), max_value=16),
        ir.Linear("fc", weight=torch.rand(30, 20).numpy()),
        ir.BatchNorm("bn", **arrays),
        ir.LIF("y"),
    )
    model = SpikingNetwork(Network(nodes, (("x", "fc"), ("fc", "bn"), ("bn", "y")), 4)).train()
    samples, wanted = torch.randint(0, 17, (128, 20)), torch.rand(128, 30)
    _, gradients = whole_batch(model, samples, wanted)
    with gradient_pool() as pool:
        backward(model, samples, wanted, pool)
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-7, rtol=1e-5)


def test_the_number_of_threads_is_given_back():
    before = torch.get_num_threads()
    with gradient_pool():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
