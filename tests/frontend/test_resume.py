import dataclasses

import pytest

torch = pytest.importorskip("torch")

from snn_compile.compiler import nodes as ir  # noqa: E402
from snn_compile.errors import ModelFileError, OutputError  # noqa: E402
from snn_compile.frontend import resume, run, trainer  # noqa: E402
from snn_compile.frontend.data import load  # noqa: E402
from snn_compile.frontend.model import SpikingNetwork, fully_connected  # noqa: E402
from snn_compile.frontend.options import TrainOptions  # noqa: E402
from snn_compile.frontend.rules import RULES  # noqa: E402

torch.set_num_threads(1)
QUICK = {"epochs": 6, "hidden": (8,), "density": 0.3, "lr": 0.02, "batch": 200}


def interrupted(options, after):
    """Runs until ^C after some epochs; returns the epochs and what was raised."""
    epochs = []

    def progress(epoch):
        epochs.append(epoch)
        if epoch.number == after:
            raise KeyboardInterrupt

    with pytest.raises(resume.TrainingInterrupted) as caught:
        trainer.train(options, progress)
    return epochs, caught.value


@pytest.mark.parametrize(
    "settings",
    [
        *({"method": method} for method in RULES),
        {"quantise_aware": True},
        {"count": "synapses"},
        {"fit": "loihi2", "cores": 1, "hidden": (64,), "batch": 50},
    ],
    ids=lambda settings: "-".join(map(str, list(settings.values())[:1])),
)
def test_three_epochs_and_three_more_are_six(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    straight = []
    options = TrainOptions(**{**QUICK, **settings}, out="model.pt")
    trainer.train(options, straight.append)
    wanted = (tmp_path / "model.pt").read_bytes()
    (tmp_path / "model.pt").unlink()
    epochs, error = interrupted(options, 3)
    assert str(error) == (
        "training: interrupted after 3 of 6 epochs; go on with the same command and --resume model.pt.resume"
    )
    assert (error.path.name, error.done, error.epochs) == ("model.pt.resume", 3, 6)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt.resume"]
    trainer.train(dataclasses.replace(options, resume="model.pt.resume"), epochs.append)
    assert epochs == straight
    assert (tmp_path / "model.pt").read_bytes() == wanted
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_biases_and_batch_norm_go_on_too(tmp_path, monkeypatch):
    def build(options, data):
        plain = fully_connected(ir.Input("x", shape=(64,), max_value=16), (8, 10), ir.LIF("y"), 4)
        norm = ir.BatchNorm("norm", *(torch.ones(8).numpy() for _ in range(4)))
        nodes = (*plain.nodes[:2], norm, *plain.nodes[2:])
        names = [node.name for node in nodes]
        torch.manual_seed(0)
        model = SpikingNetwork(dataclasses.replace(plain, nodes=nodes, edges=tuple(zip(names, names[1:]))))  # noqa: B905
        model.reset_parameters()
        return model

    monkeypatch.setattr(run, "build_model", build)
    digits, options = load("digits"), TrainOptions(**QUICK, out=tmp_path / "model.pt")
    one = run.Run(options, digits)
    straight = [one.epoch() for _ in range(4)]
    two = run.Run(options, digits)
    two.epoch(), two.epoch()
    three = run.Run(options, digits)
    three.load_state_dict(two.state_dict())
    assert [three.epoch(), three.epoch()] == straight[2:]
    for key, tensor in one.model.state_dict().items():
        assert torch.equal(tensor, three.model.state_dict()[key])
    assert not torch.equal(one.model.norm.weight, torch.ones(8))


def test_dropout_goes_on_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = TrainOptions(**{**QUICK, "epochs": 3}, network="fc20,lif,dropout0.5,fc10,lif", out="model.pt")
    trainer.train(options)
    wanted = (tmp_path / "model.pt").read_bytes()
    interrupted(options, 1)
    torch.manual_seed(7)
    trainer.train(dataclasses.replace(options, resume="model.pt.resume"))
    assert (tmp_path / "model.pt").read_bytes() == wanted


def test_the_state_is_written_while_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(resume, "SECONDS", 0.0)
    seen = []
    options = TrainOptions(**{**QUICK, "epochs": 2}, out=tmp_path / "model.pt")
    trainer.train(options, lambda epoch: seen.append((tmp_path / "model.pt.resume").exists()))
    assert seen == [True, True]
    assert not (tmp_path / "model.pt.resume").exists()


def test_interrupted_before_the_first_epoch_ends(tmp_path, monkeypatch):
    def stop(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(run.Run, "epoch", stop)
    with pytest.raises(resume.TrainingInterrupted, match=r"interrupted after 0 of 6 epochs"):
        trainer.train(TrainOptions(**QUICK, out=tmp_path / "model.pt"))


def test_interrupted_while_the_test_samples_are_measured(tmp_path, monkeypatch):
    options = TrainOptions(**{**QUICK, "epochs": 1}, out=tmp_path / "model.pt")
    with monkeypatch.context() as patch, pytest.raises(resume.TrainingInterrupted, match=r"after 1 of 1 epochs"):
        patch.setattr(trainer, "write_checkpoint", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        trainer.train(options)
    trainer.train(dataclasses.replace(options, resume=tmp_path / "model.pt.resume"))
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """A resume file and the options of its run."""
    options = TrainOptions(**QUICK, out=tmp_path_factory.mktemp("run") / "model.pt")
    _, error = interrupted(options, 1)
    return error.path, options


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"density": 0.2}, r"--density 0.3, not 0.2; give the same options, or begin anew without --resume"),
        ({"hidden": (8, 8)}, r"--hidden 8, not 8,8"),
        ({"method": "set"}, r"--method grad-r, not set"),
        ({"alpha": 0.5}, r"--alpha None, not 0.5"),
    ],
)
def test_other_options_are_a_sentence(state, tmp_path, change, sentence):
    path, options = state
    with pytest.raises(ModelFileError, match=f"resume: is of a run with {sentence}"):
        trainer.train(dataclasses.replace(options, out=tmp_path / "m.pt", resume=path, **change))


def test_files_that_are_no_state_are_sentences(state, tmp_path):
    path, options = state
    content = torch.load(path, weights_only=True)

    def attempt(sentence):
        with pytest.raises(ModelFileError, match=sentence):
            trainer.train(dataclasses.replace(options, out=tmp_path / "m.pt", resume=tmp_path / "r"))

    attempt(r"r: cannot be read \(No such file or directory\); check the path")
    for raw in (b"", b"nonsense", path.read_bytes()[:-2000]):
        (tmp_path / "r").write_bytes(raw)
        attempt(r"r: is broken or no resume file; begin anew without --resume")
    for other in ([1], {**content, "version": 3}, {**content, "options": 3}, {"format": resume.FORMAT, "version": 1}):
        torch.save(other, tmp_path / "r")
        attempt(r"r: is no resume file of version 2; begin anew")
    torch.save({**content, "samples": [5, 5]}, tmp_path / "r")
    attempt(r"is of a run with \[5, 5\] samples to train and to validate, not \[1294, 143\]; give the same data")
    for key, value in (("rule", {}), ("total", 1), ("model", {"linear1.weight": torch.ones(2)}), ("random", 3)):
        torch.save({**content, "state": {**content["state"], key: value}}, tmp_path / "r")
        attempt(r"r: does not fit this run \(.*\); begin anew without --resume")
    torch.save({**content, "state": 5}, tmp_path / "r")
    attempt(r"r: does not fit this run")


def test_code_in_the_file_is_not_run(state, tmp_path):
    class Evil:
        def __reduce__(self):
            return exec, ("raise SystemExit",)

    torch.save({"format": resume.FORMAT, "state": Evil()}, tmp_path / "r")
    with pytest.raises(ModelFileError, match=r"is broken or no resume file"):
        trainer.train(dataclasses.replace(state[1], out=tmp_path / "m.pt", resume=tmp_path / "r"))


def test_a_state_that_cannot_be_written(state, tmp_path, monkeypatch):
    (tmp_path / "model.pt.resume").mkdir()
    with pytest.raises(OutputError, match=r"resume: is a folder, a file is needed; choose another place"):
        trainer.train(dataclasses.replace(state[1], out=tmp_path / "model.pt"))
