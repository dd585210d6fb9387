"""The examples train, prune and save as they say, and the command that they end with compiles what they saved."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from snn_compile.compiler import file
from snn_compile.frontend.data import load
from snn_compile.runtime import run

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
LIBRARIES = {
    "grad_r_spikingjelly": "spikingjelly",
    "grad_r_snntorch": "snntorch",
    "grad_r_norse": "norse",
    "grad_r_slayer": "lava.lib.dl.slayer",
}


def installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def test_every_example_is_tested():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(LIBRARIES)


@pytest.mark.parametrize("name", LIBRARIES)
def test_an_example_trains_and_its_command_compiles(name, tmp_path):
    if not installed(LIBRARIES[name]):
        pytest.skip(f"{LIBRARIES[name]} is not installed")
    words = [sys.executable, EXAMPLES / f"{name}.py", "--epochs", "12", "--out", "model.pt"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    found = re.search(r"^density ([\d.]+)%, test accuracy ([\d.]+)%\n(snn-compile .*)\n\Z", done.stdout, re.MULTILINE)
    assert found is not None, done.stdout
    density, accuracy = float(found[1]), float(found[2]) / 100
    assert density == pytest.approx(10, abs=0.05)
    assert accuracy > 0.8
    command = shlex.split(found[3])
    compiler = Path(sys.executable).with_name("snn-compile")
    done = subprocess.run([compiler, *command[1:]], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    digits = load("digits")
    result = run(file.load(tmp_path / "model.snnc"), digits.test_samples)
    on_chip = (result.predictions == digits.test_labels).mean()
    assert on_chip == pytest.approx(accuracy, abs=0.001 if name == "grad_r_slayer" else 0.02)
