import io

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rich.console import Console  # noqa: E402
from snn_compile.compiler.nodes import node_to_plain  # noqa: E402
from snn_compile.errors import OutputError, UnsupportedError  # noqa: E402
from snn_compile.frontend import run, trainer  # noqa: E402
from snn_compile.frontend.checkpoint import write_checkpoint  # noqa: E402
from snn_compile.frontend.data import load  # noqa: E402
from snn_compile.frontend.options import TrainOptions  # noqa: E402
from snn_compile.frontend.progress import training_bar  # noqa: E402
from snn_compile.frontend.readers import read_checkpoint  # noqa: E402
from snn_compile.frontend.rules import RULES, Rule  # noqa: E402

torch.set_num_threads(1)
QUICK = {"epochs": 12, "hidden": (32,), "density": 0.3, "lr": 0.02}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One short run, its epochs, and its file."""
    out, epochs = tmp_path_factory.mktemp("train") / "model.pt", []
    return trainer.train(TrainOptions(**QUICK, out=out), epochs.append), epochs, out


def test_a_short_run_learns_and_has_the_density(trained):
    result, epochs, _ = trained
    assert result.test_accuracy > 0.85
    assert result.connectivity == pytest.approx(0.3, rel=0.05)
    assert [epoch.number for epoch in epochs] == list(range(1, 13))
    assert not epochs[0].on_target
    assert epochs[-1].on_target
    assert epochs[-1].connectivity == pytest.approx(0.3, abs=1e-3)
    assert set(epochs[-1].densities) == {"linear1", "linear2"}
    assert epochs[0].pruned > epochs[0].regrown
    assert sum(epoch.regrown for epoch in epochs) > 0
    lost = sum(epoch.pruned - epoch.regrown for epoch in epochs)
    assert 1 - lost / (64 * 32 + 320) == pytest.approx(epochs[-1].connectivity)
    kept = epochs[result.best_epoch - 1]
    assert kept.on_target
    assert kept.validation_accuracy == max(epoch.validation_accuracy for epoch in epochs if epoch.on_target)


def test_the_file_holds_what_was_measured(trained):
    result, _, out = trained
    network, digits = read_checkpoint(out), load("digits")
    assert network.dump() == result.network.dump()
    for name in ("linear1", "linear2"):
        assert np.array_equal(network.by_name[name].weight, result.network.by_name[name].weight)
    weights = [network.by_name[name].weight for name in ("linear1", "linear2")]
    assert sum(map(np.count_nonzero, weights)) / sum(w.size for w in weights) == result.connectivity
    assert np.array_equal(network.calibration, digits.train_samples[:64])
    assert {name: rate.shape for name, rate in network.rates.items()} == {"input": (64,), "lif1": (32,), "lif2": (10,)}
    assert network.facts == {
        "data": "digits",
        "method": "grad-r",
        "density": 0.3,
        "epochs": 12,
        "seed": 0,
        "test_accuracy": result.test_accuracy,
        "test_samples": 360,
        "connectivity": result.connectivity,
        "synapse_connectivity": result.synapse_connectivity,
        "command": TrainOptions(**QUICK, out=out).command,
    }
    model = run.SpikingNetwork(network)
    tested = trainer.accuracy(model, torch.from_numpy(digits.test_samples), torch.from_numpy(digits.test_labels))
    assert tested == result.test_accuracy


def test_same_seed_same_bytes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = TrainOptions(epochs=4, hidden=(8,), density=0.5, lr=0.02, out="model.pt")
    files = []
    for _ in range(2):
        trainer.train(options)
        files.append((tmp_path / "model.pt").read_bytes())
    assert files[0] == files[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pt"]


def test_dense_and_rate_coded_runs(tmp_path):
    options = TrainOptions(method="dense", encoding="rate", epochs=1, hidden=(8,), out=tmp_path / "model.pt")
    result = trainer.train(options)
    assert result.connectivity == 1.0
    assert result.network.by_name["input"].encoding == "rate"
    assert result.network.facts["density"] is None


@pytest.mark.parametrize("epochs", [1, 3, 10])
@pytest.mark.parametrize("method", sorted(set(RULES) - {"dense"}))
def test_every_method_ends_with_the_density(tmp_path, method, epochs):
    options = TrainOptions(
        method=method, density=0.1, epochs=epochs, hidden=(16,), batch=256, out=tmp_path / "model.pt"
    )
    seen = []
    result = trainer.train(options, seen.append)
    assert seen[-1].connectivity == pytest.approx(0.1, rel=0.05)
    exact = method not in ("rigl", "set")  # where no gradient arrives, what they grow stays at 0
    assert result.connectivity == pytest.approx(0.1, rel=0.05) or not exact
    assert result.connectivity < 0.105
    assert result.network.facts["density"] == 0.1


def test_the_published_rule_has_the_density_that_comes_out(tmp_path):
    epochs = []
    options = TrainOptions(alpha=0.2, epochs=2, hidden=(8,), out=tmp_path / "model.pt")
    result = trainer.train(options, epochs.append)
    assert all(epoch.on_target for epoch in epochs)
    assert result.connectivity > 0.11


def test_the_test_part_is_not_looked_at_before_the_end(tmp_path, monkeypatch):
    seen = []
    original = run.accuracy

    def spy(model, samples, labels, *world):
        seen.append(len(samples))
        return original(model, samples, labels, *world)

    monkeypatch.setattr(trainer, "accuracy", spy)
    monkeypatch.setattr(run, "accuracy", spy)
    trainer.train(TrainOptions(method="dense", epochs=2, hidden=(4,), out=tmp_path / "model.pt"))
    assert seen == [143, 143, 360]


def test_density_that_is_not_reached_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(Rule, "settled", False)
    with pytest.raises(
        UnsupportedError, match=r"--density: is 0.1, [0-9.]+ of the weights survive after 1 epochs; train"
    ):
        trainer.train(TrainOptions(epochs=1, hidden=(4,), out=tmp_path / "model.pt"))
    assert not (tmp_path / "model.pt").exists()


def test_the_file_cannot_be_written(trained, tmp_path):
    result, _, _ = trained
    with pytest.raises(OutputError, match=r"cannot be written .*; choose another place"):
        write_checkpoint(result.network, tmp_path / "missing" / "model.pt")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match=r"folder: cannot be written"):
        write_checkpoint(result.network, tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_an_output_that_cannot_be_written_is_said_before_the_work(tmp_path, monkeypatch):
    def run(path):
        trainer.train(TrainOptions(epochs=10**6, out=path))

    with pytest.raises(OutputError, match=r"is a folder, a file is needed; choose another place"):
        run(tmp_path)
    with pytest.raises(OutputError, match=r"cannot be written, there is no folder .*missing; choose another"):
        run(tmp_path / "missing" / "model.pt")
    monkeypatch.setattr("os.access", lambda *args: False)
    with pytest.raises(OutputError, match=r"cannot be written, the folder .* is read-only"):
        run(tmp_path / "model.pt")


def test_samples_are_augmented_with_the_runs_random_numbers(tmp_path, monkeypatch):
    seen = []

    def augment(samples, random):
        assert samples.dtype == torch.uint8
        seen.append(len(samples))
        return samples + torch.rand(samples.shape, generator=random)

    monkeypatch.setattr(run, "_augmentation", lambda data: augment)
    quick = {"method": "dense", "epochs": 1, "hidden": (8,), "batch": 1000}
    plain = trainer.train(TrainOptions(**quick, out=tmp_path / "plain.pt"))
    other = trainer.train(TrainOptions(**quick, augment=True, out=tmp_path / "other.pt"))
    assert seen == [1000, 294]
    weights = [result.network.by_name["linear1"].weight for result in (plain, other)]
    assert not np.array_equal(*weights)
    assert other.network.facts["command"].endswith(f"--augment --out {(tmp_path / 'other.pt').as_posix()}")


def test_digits_have_no_augmentation(tmp_path):
    options = TrainOptions(method="dense", epochs=1, hidden=(4,), augment=True, out=tmp_path / "model.pt")
    assert run.Run(options, load("digits")).augment is None


@pytest.mark.parametrize("terminal", [True, False])
def test_the_bar_is_quiet_without_a_terminal(trained, terminal):
    _, epochs, _ = trained
    output = io.StringIO()
    with training_bar(12, Console(file=output, force_terminal=terminal, width=120)) as progress:
        for epoch in epochs:
            progress(epoch)
    assert ("epoch 12: loss" in output.getvalue()) == terminal
    assert terminal or output.getvalue() == ""


def small(tmp_path, **options):
    return TrainOptions(epochs=3, density=0.5, out=tmp_path / "model.pt", **options)


def test_a_network_from_a_list_is_trained(tmp_path):
    result = trainer.train(small(tmp_path, network="fc24,lif,dropout0.2,fc20,lif,fc10,lif"))
    assert [n.name for n in result.network.nodes if n.name.startswith("fc")] == ["fc1", "fc2", "fc3"]
    assert result.network.facts["command"].startswith("snn-train --data digits --method grad-r --density 0.5")
    assert "--network fc24,lif,dropout0.2,fc20,lif,fc10,lif" in result.network.facts["command"]


def test_a_network_that_ends_with_other_classes_is_refused(tmp_path):
    with pytest.raises(UnsupportedError, match="--network: ends with 7 classes, digits has 10; change its last layer"):
        trainer.train(small(tmp_path, network="fc7,lif"))


def test_training_for_the_chip_is_judged_by_the_chip(tmp_path):
    """The validation accuracy that chooses the epoch is that of the integers, and the float weights are kept."""
    options = small(tmp_path, hidden=(32,), quantise_aware=True)
    epochs = []
    result = trainer.train(options, epochs.append)
    one = run.Run(options, load("digits"))
    one.model.load_state_dict({key: torch.from_numpy(a.copy()) for key, a in weights(result.network).items()})
    assert (
        result.validation_accuracy == one.chip_accuracy(*one.validation) == max(e.validation_accuracy for e in epochs)
    )
    assert "--quantise-aware" in result.network.facts["command"]


def weights(network):
    return {key: array for node in network.nodes for key, array in node_to_plain(node)[1].items()}
