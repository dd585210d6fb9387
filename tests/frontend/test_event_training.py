"""From recordings to spikes: training on events, the compiler, and every backend on the same test samples."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("tonic")

from reference import simulate
from snn_compile.compiler.decode import decode
from snn_compile.compiler.pipeline import compile_network
from snn_compile.errors import UnsupportedError
from snn_compile.frontend.chip_exact import forward
from snn_compile.frontend.data import load
from snn_compile.frontend.options import TrainOptions
from snn_compile.frontend.readers import read_model
from snn_compile.frontend.trainer import train
from snn_compile.hw_targets import chip as chips
from snn_compile.runtime import lava
from snn_compile.runtime.engine import run_engine

sys.path.insert(0, str(Path(__file__).parent))
import event_files as files

STEPS = 6
DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits.pt"


def bar(random, label):
    """Events in three columns, which the label decides."""
    events = files.recording(random, 300, 34, 34, 315_000)
    events[:, 0] = 3 * label + events[:, 0] % 3
    return events


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("events")
    files.nmnist(folder, packed=("Train",), counts=(60, 20), draw=bar)
    return folder


def options(folder, **settings):
    small = {"data": "nmnist", "data_dir": folder, "steps": STEPS, "hidden": (24,), "epochs": 15, "batch": 10}
    return TrainOptions(**{**small, "density": 0.2, "threshold": 0.1, "out": folder / "model.pt", **settings})


@pytest.fixture(scope="module")
def trained(folder):
    return train(options(folder))


def test_training_learns_and_writes_what_the_compiler_needs(folder, trained):
    assert trained.test_accuracy >= 0.8
    network = read_model(folder / "model.pt")
    source = network.nodes[0]
    assert (source.encoding, source.shape, source.max_value) == ("spikes", (2, 34, 34), 1)
    data = load("nmnist", folder, STEPS)
    assert np.array_equal(network.calibration, data.train_samples)
    assert np.allclose(network.rates["input"], data.train_samples.mean((0, 1)).ravel(), atol=1e-6)
    assert trained.network.facts["command"].startswith("snn-train --data nmnist --method grad-r --density 0.2 --")
    assert "--encoding" not in trained.network.facts["command"]


@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
def test_all_ways_give_the_same_spikes(folder, trained, target):
    data = load("nmnist", folder, STEPS)
    compiled = compile_network(read_model(folder / "model.pt"), chips.load(target))
    network, samples = decode(compiled.program), data.test_samples
    names = [p.name for p in network.populations]
    expected = simulate(network, samples)
    results = [run_engine(n, samples, traces=names) for n in (network, compiled.network)]
    results.append(forward(network, samples, traces=True))
    if lava.installed():
        results.append(lava.run_lava(network, samples, traces=names))
    for result in results:
        for name in names:
            for kind, theirs in zip(("spikes", "u", "v"), expected[name], strict=True):
                assert np.array_equal(getattr(result.traces[name], kind), theirs), f"{result.backend}: {kind} of {name}"
        assert np.array_equal(result.activity.spikes["input"], samples.sum((0, 1), dtype=np.int64).ravel())
    assert [result.backend for result in results[2:]] == ["chip-exact"] + ["lava"] * lava.installed()
    assert (results[0].predictions == data.test_labels).mean() >= 0.8


def run(command, *arguments, folder):
    """A command in a process of its own, as a shell does; its words on standard output and standard error."""
    program = Path(sys.executable).with_name(command)
    done = subprocess.run([program, *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=240)
    return done.returncode, done.stdout, done.stderr


def test_the_commands_take_the_steps_of_the_program(folder, tmp_path):
    common = ("--data", "nmnist", "--data-dir", folder)
    small = ("--steps", 5, "--hidden", 24, "--epochs", 5, "--batch", 10, "--threshold", 0.1, "--method", "dense")
    code, out, err = run("snn-train", *common, *small, folder=tmp_path)
    assert (code, err) == (0, "note: nmnist: 60 recordings to train and 20 to test, 60000 and 10000 are published\n")
    assert "in the integers of loihi2" in out
    assert run("snn-compile", "model.pt", "--target", "loihi1", folder=tmp_path)[0] == 0
    code, out, err = run("snn-run", "model.snnc", *common, "--json", "run.json", folder=tmp_path)
    assert (code, err) == (0, "") and out.startswith("20 test samples of nmnist, 5 steps each")
    assert json.loads((tmp_path / "run.json").read_text())["accuracy"] >= 0.8
    code, out, err = run("snn-run", "model.snnc", "--data", "digits", folder=tmp_path)
    sentence = (
        "error: digits: has samples of values, the network takes events; choose the data set that the network was"
    )
    assert code == 1 and err.startswith(sentence)


def test_events_are_refused_by_a_network_of_images(folder, tmp_path):
    assert run("snn-compile", DIGITS, "--target", "loihi2", "--out", "d.snnc", folder=tmp_path)[0] == 0
    code, _, err = run("snn-run", "d.snnc", "--data", "nmnist", "--data-dir", folder, folder=tmp_path)
    assert code == 1 and err.startswith("error: nmnist: has samples of events, the network takes values; choose the")


@pytest.mark.parametrize("extra", [{"network": "conv4k3,bn,lif,maxpool2,fc10,lif"}, {"quantise_aware": True}])
def test_convolutions_and_the_integers_of_the_chip_train_on_events(folder, tmp_path, extra):
    result = train(options(folder, epochs=2, method="dense", out=tmp_path / "model.pt", **extra))
    network = compile_network(result.network, chips.load("loihi2")).network
    samples = load("nmnist", folder, STEPS).test_samples[:4]
    assert np.array_equal(run_engine(network, samples).counts, forward(network, samples).counts)


def test_gestures_and_spoken_digits_train_too(tmp_path):
    files.dvs_gesture(tmp_path)
    files.shd(tmp_path)
    for data, shape in (("dvs-gesture", (2, 32, 32)), ("shd", (700,))):
        out = tmp_path / f"{data}.pt"
        result = train(options(tmp_path, data=data, epochs=1, method="dense", validation=0.3, out=out))
        assert result.network.nodes[0].shape == shape
        samples = load(data, tmp_path, STEPS).test_samples
        assert len(run_engine(compile_network(result.network, chips.load("loihi2")).network, samples).counts) > 0


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"encoding": "rate"}, "--encoding: is rate; leave it out: nmnist is sent as spikes"),
        ({"encoding": "graded"}, "--encoding: is graded; leave it out: nmnist is sent as spikes"),
        ({"encoding": "spikes", "data": "mnist"}, "--encoding: is spikes; leave it out: mnist is sent as graded"),
        ({"augment": True}, "--augment: is True; leave it out: it changes images, nmnist is events"),
    ],
)
def test_what_makes_no_sense_for_events_is_refused(folder, settings, sentence):
    with pytest.raises(UnsupportedError, match=sentence):
        options(folder, **settings)
