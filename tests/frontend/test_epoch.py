import json
import sys

import pytest

torch = pytest.importorskip("torch")

from snn_compile.errors import OutputError, UnsupportedError  # noqa: E402
from snn_compile.frontend import trainer  # noqa: E402
from snn_compile.frontend.epoch import Epoch, Log  # noqa: E402
from snn_compile.frontend.options import TrainOptions  # noqa: E402

EPOCH = Epoch(3, 5, 0.25, 0.5, 0.125, 0.25, True, {"linear1": 0.125}, pruned=7, regrown=2, lr=0.5)


def read(folder):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.mark.filterwarnings("ignore")
def test_a_run_leaves_curves_and_its_settings(tmp_path):
    pytest.importorskip("tensorboard")
    epochs = []
    options = TrainOptions(epochs=2, hidden=(4,), batch=500, log=tmp_path / "log" / "run", out=tmp_path / "m.pt")
    trainer.train(options, epochs.append)
    curves = read(options.log)
    assert set(curves) == {
        *("loss/train", "accuracy/validation", "density/weights", "density/synapses"),
        *("density/linear1", "density/linear2"),
        *("connections/pruned", "connections/regrown", "lr"),
    }
    assert curves["loss/train"] == [(epoch.number, pytest.approx(epoch.loss)) for epoch in epochs]
    assert curves["connections/pruned"] == [(epoch.number, epoch.pruned) for epoch in epochs]
    config = json.loads((options.log / "config.json").read_text())
    assert config["options"]["method"] == "grad-r"
    assert config["options"]["hidden"] == [4]
    assert config["options"]["out"] == str(tmp_path / "m.pt")
    assert config["options"]["resume"] is None
    assert config["command"] == options.command
    assert config["torch"] == torch.__version__


def test_scalars():
    assert EPOCH.scalars() == {
        "loss/train": 0.25,
        "accuracy/validation": 0.5,
        "density/weights": 0.125,
        "density/synapses": 0.25,
        "density/linear1": 0.125,
        "connections/pruned": 7,
        "connections/regrown": 2,
        "lr": 0.5,
    }


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = Log(TrainOptions())
    log.write(EPOCH)
    log.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore")
def test_a_folder_that_cannot_be_written_and_no_tensorboard(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    pytest.importorskip("tensorboard")
    with pytest.raises(OutputError, match=r"file: cannot be written \(File exists\); choose another place"):
        Log(TrainOptions(log=tmp_path / "file"))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with pytest.raises(UnsupportedError, match=r"--log: needs the package tensorboard, .*; install the extra 'train'"):
        Log(TrainOptions(log=tmp_path / "log"))
