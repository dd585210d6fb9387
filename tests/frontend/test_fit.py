"""Costs of weights, the budget that follows from the compiler's bill, and training towards a chip."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from networks import small_chip  # noqa: E402
from snn_compile.compiler import nodes as ir  # noqa: E402
from snn_compile.compiler.cost import cost  # noqa: E402
from snn_compile.compiler.fold import fold  # noqa: E402
from snn_compile.compiler.lower import lower  # noqa: E402
from snn_compile.compiler.pipeline import compile_network  # noqa: E402
from snn_compile.errors import UnsupportedError  # noqa: E402
from snn_compile.frontend import run, trainer  # noqa: E402
from snn_compile.frontend.data import load  # noqa: E402
from snn_compile.frontend.fit import MARGIN, MOST_CHANGE, Fit, weight_costs  # noqa: E402
from snn_compile.frontend.model import SpikingNetwork  # noqa: E402
from snn_compile.frontend.networks import build  # noqa: E402
from snn_compile.frontend.options import TrainOptions  # noqa: E402
from snn_compile.frontend.rules import RULES, Settings  # noqa: E402
from snn_compile.frontend.run import Run  # noqa: E402
from snn_compile.hw_targets import chip as chips  # noqa: E402

torch.set_num_threads(1)
IMAGE = ir.Input("input", shape=(1, 8, 8), max_value=16)
LAYERS = "conv4k3p1, lif, avgpool2, conv6k3s2, lif, flatten, fc10, lif"


def chain(layers, source=IMAGE):
    model = SpikingNetwork(build(layers, source, ir.LIF("y"), 8))
    torch.manual_seed(0)
    model.reset_parameters()
    return model


def test_costs_of_weights_are_the_unrolled_synapses_of_the_compiler():
    model = chain(LAYERS)
    with torch.no_grad():
        for weight in model.pruned_weights():
            weight.fill_(1.0)  # or a network that never fires
    costs = weight_costs(model.network)
    assert [tuple(c.shape) for c in costs] == [tuple(w.shape) for w in model.pruned_weights()]
    network = model.to_network()
    census = lower(fold(network)).census
    assert [int(c.sum()) for c in costs] == [c.synapses for c in census]
    assert costs[0].unique().tolist() == [49, 56, 64]  # corner, edge and centre of the kernel on 8 x 8 pixels
    assert costs[2].unique().tolist() == [1]


def test_a_budget_follows_from_the_cores():
    model = chain("fc30, lif, fc10, lif", ir.Input("input", shape=(64,), max_value=16))
    with torch.no_grad():
        for weight in model.pruned_weights():
            weight.copy_(weight.abs() * 4)
    rule = RULES["grad-r"](model.pruned_weights(), Settings(costs=weight_costs(model.network)))
    chip = small_chip(synapse_words_per_core=200)
    fit = Fit(chip, cores=2)
    fit.guess(rule.bill)
    assert rule.bill.density == pytest.approx(2 * 200 * 64 / 20 / 2220)
    guess = rule.bill.density
    fit.update(model.to_network(), 2220, rule)
    assert fit.problem == ""
    bill = cost(model.to_network(), chip)
    assert (fit.latest.cores, fit.fits) == (bill.cores, bill.cores <= 2)
    assert rule.bill.costs[0][0].tolist() == np.rint(bill.bits_per_synapse["input"]).tolist()
    exact = 2 * (1 - MARGIN) / bill.filled
    assert rule.bill.density == pytest.approx(min(exact, guess * MOST_CHANGE))


def test_what_cannot_be_compiled_leaves_the_bill():
    model = chain("fc30, lif, fc10, lif", ir.Input("input", shape=(64,), max_value=16))
    with torch.no_grad():
        model.pruned_weights()[0].zero_()
    rule = RULES["grad-r"](model.pruned_weights(), Settings(density=0.5))
    fit = Fit(chips.load("loihi2"), cores=1)
    fit.update(model.to_network(), 300, rule)
    assert (fit.latest, fit.fits, rule.bill.density) == (None, False, 0.5)


def test_what_the_chip_has_not_is_said_as_soon_as_the_network_fires(tmp_path):
    options = TrainOptions(fit="loihi1", cores=1, reset="soft", epochs=50, hidden=(64,), out=tmp_path / "m.pt")
    epochs = []
    with pytest.raises(UnsupportedError, match=r"reset"):
        trainer.train(options, epochs.append)
    assert len(epochs) < 10


def test_synapses_of_the_host_cost_nothing():
    network = chain("fc30, lif, fc10, lif", ir.Input("input", shape=(64,), max_value=16))
    with torch.no_grad():
        for weight in network.pruned_weights():
            weight.copy_(weight.abs() * 4)
    prices = cost(network.to_network(), chips.load("loihi1")).bits_per_synapse
    assert prices["input"].tolist() == [0.0] * 64
    assert prices["lif1"].min() > 0


def test_measuring_leaves_batch_norm_and_dropout_alone():
    source = ir.Input("input", shape=(64,), max_value=16)
    model = chain("fc30, bn, lif, dropout0.5, fc10, lif", source)
    samples = torch.from_numpy(load("digits").train_samples[:50])
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.train()
    first, second = model.rates(samples), model.rates(samples)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_a_network_is_trained_until_it_fills_its_core(tmp_path, monkeypatch):
    chip = small_chip(synapse_words_per_core=300)
    monkeypatch.setattr(run.chips, "load", lambda name: chip)
    options = TrainOptions(fit="loihi2", cores=1, epochs=12, hidden=(128,), out=tmp_path / "m.pt")
    epochs = []
    result = trainer.train(options, epochs.append)
    report = compile_network(result.network, chip).report
    assert report.cores_used == 1
    assert 240 < report.synapse_bits // 64 <= 300
    assert epochs[0].cores > 1 >= epochs[-1].cores
    assert result.network.facts["density"] is None
    assert "--fit loihi2 --cores 1" in options.command
    assert "--density" not in options.command


def test_what_does_not_fit_is_a_sentence(tmp_path, monkeypatch):
    chip = small_chip(neurons_per_core=9)  # there are 10 outputs
    monkeypatch.setattr(run.chips, "load", lambda name: chip)
    options = TrainOptions(fit="loihi2", cores=1, epochs=6, hidden=(32,), out=tmp_path / "m.pt")
    sentence = r"--cores: is 1 of loihi2, the network took . at least in 6 epochs; train for more epochs, allow"
    with pytest.raises(UnsupportedError, match=sentence):
        trainer.train(options)


def test_a_density_over_synapses(tmp_path):
    options = TrainOptions(
        network=LAYERS, count="synapses", density=0.2, epochs=3, batch=256, steps=4, out=tmp_path / "m.pt"
    )
    digits = load("digits")
    square = digits.train_samples.reshape(-1, 1, 8, 8)
    short = Run(options, dataclasses.replace(digits, train_samples=square))
    assert [int(c.sum()) for c in short.synapses] == [int(c.sum()) for c in short.rule.bill.costs]
    for _ in range(3):
        last = short.epoch()
    assert last.on_target
    assert last.synapse_connectivity == pytest.approx(0.2, rel=0.05)
    assert last.connectivity != pytest.approx(0.2, rel=0.05)
