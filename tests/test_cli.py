"""The commands as people type them: what they print, what they write, and how they refuse."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "frontend"))
DIGITS = ROOT / "examples" / "digits.pt"


def call(command, *arguments, cwd):
    """Runs a command in a process of its own, as a shell does."""
    program = Path(sys.executable).with_name(command)
    return subprocess.run([program, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=240)


def ok(command, *arguments, cwd):
    done = call(command, *arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def refused(command, *arguments, cwd, message, code=1):
    before = sorted(cwd.rglob("*"))
    done = call(command, *arguments, cwd=cwd)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert message in " ".join(done.stderr.replace("│", " ").split()), done.stderr
    if code == 1:
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
        assert "; " in done.stderr, "a way out belongs to the sentence"
    assert sorted(cwd.rglob("*")) == before, "nothing may be left behind"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the digits program for both targets."""
    folder = tmp_path_factory.mktemp("cli")
    for target in ("loihi1", "loihi2"):
        extra = ("--report", f"{target}.html", "--json", f"{target}.json", "--out", f"{target}.snnc")
        (folder / f"{target}.txt").write_text(ok("snn-compile", DIGITS, "--target", target, *extra, cwd=folder))
    return folder


def test_compiling_prints_the_bill_and_writes_it(folder):
    text = (folder / "loihi2.txt").read_text()
    report = json.loads((folder / "loihi2.json").read_text())
    assert report["target"] == "loihi2"
    assert report["connectivity"] <= 0.1
    for core in report["cores"]:
        for key in ("neurons", "synapse_words"):
            assert f"{core[key]}/{core[key + '_limit']}" in text
    assert "energy per sample" in text and "inherited, uncalibrated" in text
    assert (folder / "loihi2.html").read_text().startswith("<!doctype html>")


def test_compiling_twice_gives_the_same_bytes(folder, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        ok("snn-compile", DIGITS, "--target", "loihi2", "--out", "same.snnc", cwd=tmp_path / name)
    assert (tmp_path / "a/same.snnc").read_bytes() == (tmp_path / "b/same.snnc").read_bytes()


@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
def test_running_in_the_engine(folder, target):
    text = ok(
        "snn-run",
        f"{target}.snnc",
        "--backend",
        "engine",
        "--data",
        "digits",
        "--json",
        f"{target}-run.json",
        cwd=folder,
    )
    result = json.loads((folder / f"{target}-run.json").read_text())
    assert (result["backend"], result["samples"], result["steps_per_sample"]) == ("engine", 360, 8)
    assert result["accuracy"] >= 0.95
    assert len(result["predictions"]) == 360 and len(result["output_spikes_sha256"]) == 64
    assert result["synops"] > 0 and result["spikes"] > 0 and result["seconds"] > 0
    assert result["energy"]["activity"] == "counted over 360 samples in engine"
    assert f"{result['accuracy']:.2%} in engine" in text and "in PyTorch's float" in text


@pytest.mark.skipif(importlib.util.find_spec("lava") is None, reason="lava-nc is not installed")
@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
def test_all_test_samples_in_lava_equal_the_engine(folder, target):
    for backend in ("engine", "lava"):
        ok("snn-run", f"{target}.snnc", "--backend", backend, "--json", f"{backend}.json", cwd=folder)
    engine, lava = (json.loads((folder / f"{b}.json").read_text()) for b in ("engine", "lava"))
    for key in ("samples", "accuracy", "output_spikes_sha256", "predictions", "synops", "spikes"):
        assert engine[key] == lava[key], key


@pytest.mark.skipif(importlib.util.find_spec("lava") is not None, reason="lava-nc is installed")
def test_without_lava_the_sentence_names_the_engine(folder):
    refused("snn-run", "loihi2.snnc", "--backend", "lava", cwd=folder, message="use --backend engine")


def test_chip_exact_pytorch_equals_the_engine_sample_by_sample(folder):
    pytest.importorskip("torch")
    from snn_compile.compiler import file
    from snn_compile.compiler.decode import decode
    from snn_compile.frontend.chip_exact import forward
    from snn_compile.frontend.data import load
    from snn_compile.runtime.engine import run_engine

    data = load("digits")
    for target in ("loihi1", "loihi2"):
        network = decode(file.load(folder / f"{target}.snnc"))
        exact, engine = forward(network, data.test_samples), run_engine(network, data.test_samples)
        assert np.array_equal(exact.counts, engine.counts)
        assert np.array_equal(exact.predictions, engine.predictions)
        assert exact.activity.synops == engine.activity.synops


def test_a_report_again_from_the_program(folder):
    text = ok(
        "snn-report", "loihi2.snnc", "--html", "again.html", "--json", "again.json", "--csv", "again.csv", cwd=folder
    )
    assert text.strip() == (folder / "loihi2.txt").read_text().partition("\nwrote")[0].strip()
    assert (folder / "again.html").read_bytes() == (folder / "loihi2.html").read_bytes()
    assert (folder / "again.json").read_bytes() == (folder / "loihi2.json").read_bytes()
    assert (folder / "again.csv").read_text().startswith("chip,core")


def test_targets_are_listed(tmp_path):
    text = ok("snn-compile", "--list-targets", cwd=tmp_path)
    assert "loihi1" in text and "loihi2" in text and "8192 neurons" in text


def test_a_network_trained_here_goes_the_whole_way(tmp_path):
    pytest.importorskip("torch")
    text = ok("snn-train", "--epochs", "12", "--density", "0.2", "--hidden", "32", "--out", "small.pt", cwd=tmp_path)
    assert "in PyTorch's float" in text and "in the integers of loihi2" in text
    ok("snn-compile", "small.pt", "--target", "loihi2", cwd=tmp_path)
    exact = [line.split()[0] for line in text.splitlines() if "loihi2" in line]
    assert f"{exact[0]} in engine" in ok("snn-run", "small.snnc", cwd=tmp_path)


class Execute:
    def __reduce__(self):
        return (exec, ("open('executed', 'w')",))


def write_pickle(path, value):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps(value, protocol=2))
        archive.writestr("model/byteorder", "little")


def test_what_is_emitted_compiles_again_to_the_same_spikes(tmp_path):
    text = ok(
        "snn-compile", DIGITS, "--target", "loihi2", "--out", "d.snnc", "--emit", "nir", "--emit", "net", cwd=tmp_path
    )
    assert "wrote d.snnc, d.nir, d.net" in " ".join(text.split())
    ok("snn-run", "d.snnc", "--json", "d.json", cwd=tmp_path)
    given = ("--steps", "8", "--encoding", "graded", "--max-value", "16", "--target", "loihi2")
    for kind in ("nir", "net"):
        ok("snn-compile", f"d.{kind}", *given, "--out", f"{kind}.snnc", cwd=tmp_path)
        ok("snn-run", f"{kind}.snnc", "--json", f"{kind}.json", cwd=tmp_path)
    ours, nir, net = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("d", "nir", "net"))
    assert net["output_spikes_sha256"] == ours["output_spikes_sha256"]
    assert abs(nir["accuracy"] - ours["accuracy"]) < 0.01  # without calibration samples other scales are chosen


def test_the_check_prints_and_writes_a_line_per_layer(tmp_path):
    text = ok("snn-compile", DIGITS, "--check", "--target", "loihi1", "--json", "c.json", cwd=tmp_path)
    assert text.splitlines()[-1] == "digits.pt compiles on loihi1"
    found = json.loads((tmp_path / "c.json").read_text())
    assert found["compiles"] and [f["layer"] for f in found["findings"]] == [
        "input",
        "linear1",
        "lif1",
        "linear2",
        "lif2",
    ]
    assert {f["kind"] for f in found["findings"]} == {"exact"}
    refused(
        "snn-compile", DIGITS, "--check", "--out", "x.snnc", cwd=tmp_path, message="--out goes without --check", code=2
    )
    refused("snn-compile", DIGITS, "--target", "loihi2", "--dt", "0", cwd=tmp_path, message="--dt 0", code=2)
    refused("snn-compile", DIGITS, "--check", "--input-shape", "1,,2", cwd=tmp_path, message="is no shape", code=2)


def test_what_is_approximated_has_to_be_allowed_and_stands_in_the_report(tmp_path):
    from nir_files import chain, save

    lif = {"tau": np.array([1e-3]), "r": np.array([10.0]), "v_leak": np.zeros(1), "v_threshold": np.ones(1)}
    graph = chain(
        ("in", "Input", {"shape": np.array([2])}), ("late", "Delay", {"delay": np.array([2.4e-4, 1e-4])}),
        ("fc", "Linear", {"weight": np.array([[2.0, 1.0]])}), ("lif", "LIF", {**lif, "v_reset": np.zeros(1)}),
        ("out", "Output", {"shape": np.array([1])}),
    )  # fmt: skip
    save(tmp_path / "net.nir", graph)
    given = ("net.nir", "--steps", "10", "--target", "loihi2")
    refused("snn-compile", *given, cwd=tmp_path, message="late: its delays are moved to whole steps of 0.0001 s")
    checked = call("snn-compile", *given, "--check", cwd=tmp_path)
    assert checked.returncode == 1 and "with --allow-approximation only" in checked.stdout
    text = ok("snn-compile", *given, "--allow-approximation", "--json", "r.json", cwd=tmp_path)
    assert "late: approximated: its delays are moved" in " ".join(text.split())
    notes = json.loads((tmp_path / "r.json").read_text())["warnings"]
    assert [note for note in notes if "0.4 steps" in note and note.startswith("late: approximated")]
    assert [note for note in notes if note.startswith("in: assumed: a step takes dt")]


def test_no_output_takes_the_place_of_the_architecture(tmp_path):
    (tmp_path / "net.toml").write_text("steps = 8")
    arguments = (DIGITS, "--architecture", "net.toml", "--target", "loihi2", "--json", "net.toml")
    refused("snn-compile", *arguments, cwd=tmp_path, message="net.toml: is the input too")
    assert (tmp_path / "net.toml").read_text() == "steps = 8"


def test_bad_models_are_refused(tmp_path):
    compile_ = ("snn-compile", "--target", "loihi2")
    (tmp_path / "folder.pt").mkdir()
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "text.pt").write_text("no model")
    (tmp_path / "half.pt").write_bytes(DIGITS.read_bytes()[:40000])
    write_pickle(tmp_path / "code.pt", Execute())
    write_pickle(tmp_path / "other.pt", {"a": 1})
    for name, message in [
        ("missing.pt", "missing.pt: "),
        ("folder.pt", "folder.pt: "),
        ("empty.pt", "empty.pt: "),
        ("text.pt", "text.pt: "),
        ("half.pt", "half.pt: "),
        ("code.pt", "exec, which is code, not data"),
        ("other.pt", "other.pt: "),
    ]:
        refused(*compile_, name, cwd=tmp_path, message=message)
    assert not (tmp_path / "executed").exists()


def test_a_network_that_cannot_fit_is_refused(tmp_path):
    pytest.importorskip("torch")
    from snn_compile.compiler.network import Network
    from snn_compile.compiler.nodes import LIF, Input, Linear
    from snn_compile.frontend.checkpoint import write_checkpoint

    source = Input("x", shape=(5120,), encoding="rate")
    nodes = (source, Linear("fc", weight=np.ones((2, 5120), np.float32)), LIF("hidden"))
    write_checkpoint(Network(nodes, (("x", "fc"), ("fc", "hidden")), 4), tmp_path / "wide.pt")
    sentence = "hidden[0]: needs 5120 input axons, one loihi1 core has 4096; split the layer or prune more"
    refused("snn-compile", "wide.pt", "--target", "loihi1", cwd=tmp_path, message=sentence)


def test_bad_options_are_refused(folder, tmp_path):
    for arguments, message in [
        (("--target", "tianjic"), "tianjic: is no target; choose one of loihi1, loihi2"),
        (("--target", "loihi2", "--board", "nahuku"), "nahuku: is no board of loihi2"),
        (("--target", "loihi2", "--out", "no/such/place.snnc"), "there is no folder"),
        (("--target", "loihi2", "--out", "."), "is a folder, a file is needed"),
        (("--target", "loihi2", "--report", "no/report.html"), "there is no folder"),
        (("--target", "loihi2", "--out", DIGITS), "is the input too; give it another name"),
        (("--target", "loihi2", "--out", "x", "--json", "x"), "x: is another output too"),
        (("--target", "loihi2", "--out", os.devnull), "is no ordinary file"),
    ]:
        refused("snn-compile", DIGITS, *arguments, cwd=tmp_path, message=message)
    for arguments in [(), (DIGITS,), ("--target", "loihi2"), (DIGITS, "--tarjet", "loihi2")]:
        refused("snn-compile", *arguments, cwd=tmp_path, message="Usage", code=2)
    program = folder / "loihi2.snnc"
    refused("snn-run", program, "--data", "imagenet", cwd=tmp_path, message="imagenet")
    refused("snn-run", program, "--backend", "brain", cwd=tmp_path, message="Usage", code=2)
    refused("snn-run", program, "--limit", "0", cwd=tmp_path, message="Usage", code=2)
    refused("snn-run", tmp_path / "none.snnc", cwd=tmp_path, message="is not there; check the path")
    refused("snn-run", DIGITS, cwd=tmp_path, message="is no program file, or a broken one")
    refused("snn-report", DIGITS, cwd=tmp_path, message="is no program file, or a broken one")
    refused("snn-report", program, "--csv", program, cwd=tmp_path, message="is the input too")
    refused("snn-compile", ".", "--target", "loihi2", cwd=tmp_path, message="is a directory")


def test_bad_training_options_are_refused(tmp_path):
    for arguments, message in [
        (("--density", "2"), "--density: is 2.0"),
        (("--hidden", "a,b"), "--hidden: is 'a,b'"),
        (("--out", "no/model.pt"), "there is no folder"),
    ]:
        refused("snn-train", *arguments, cwd=tmp_path, message=message)
    if importlib.util.find_spec("torch") is None:
        refused("snn-train", cwd=tmp_path, message="needs PyTorch, which is not installed")
    else:
        refused("snn-train", "--data", "imagenet", cwd=tmp_path, message="imagenet")


def test_a_data_set_that_does_not_match_is_refused(tmp_path, capsys):
    from snn_compile.cli_run import _check_input
    from snn_compile.compiler import file
    from snn_compile.compiler.decode import decode
    from snn_compile.errors import DataError
    from snn_compile.frontend.data import DataSet

    ok("snn-compile", DIGITS, "--target", "loihi2", "--out", "d.snnc", cwd=tmp_path)
    network = decode(file.load(tmp_path / "d.snnc"))
    samples, labels = np.zeros((3, 784), np.uint8), np.zeros(3, np.int64)
    with pytest.raises(DataError, match="mnist: has samples of 784 values 0 to 255, the network takes 64 of 0 to 16"):
        _check_input(network.inputs[0], DataSet("mnist", samples, labels, samples, labels, 255, 10))


def test_debug_shows_the_traceback(tmp_path):
    done = call("snn-run", "none.snnc", "--debug", cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" in done.stderr
