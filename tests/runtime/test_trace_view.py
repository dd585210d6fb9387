"""A trace for people: the terminal's text, the page, and snn-report with its flags."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from snn_compile.errors import TraceFileError
from snn_compile.runtime.result import Trace
from snn_compile.runtime.trace_activity import binned, levels
from snn_compile.runtime.trace_file import read_trace
from snn_compile.runtime.trace_page import CELLS, html
from snn_compile.runtime.trace_text import terminal
from traces import population, random_trace, write

ROOT = Path(__file__).resolve().parents[2]
EVIL = '<script>alert("x")</script>[red]\x1b[2J'


def small(path, name="out", change=None):
    """Three neurons, four steps; neuron 0 spikes always, neuron 2 in step 3."""
    spikes = np.zeros((2, 4, 3), np.uint8)
    spikes[1, :, 0] = spikes[1, 3, 2] = 1
    u, v = (np.arange(24, dtype=np.int32).reshape(2, 4, 3) * scale for scale in (1, 100))
    if change is not None:
        v[change] += 7
    traces = {"hidden": Trace(spikes, u, v), name: random_trace(0, 2, 4, 20)}
    populations = [population("hidden", 3), population(name, 20, None)]
    return write(path, populations, traces, predictions=np.array([4, 2]), labels=np.array([4, 3]))


def printed(what):
    console = Console(width=80, highlight=False, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(what)
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


GOLDEN = """\
sample 1 of 2, label 3, predicted 2, 4 steps
model.snnc in engine over digits

population  neurons  spikes   rate  silent  busiest
hidden            3       5  0.417       1  0 (0 as trained): 4
out              20      23  0.287       4  8 (16 as trained): 3

hidden: █ is 100% of a bin's neurons and steps
0 │████████████████│
1 │                │
2 │            ████│
   0              3  step
"""


def test_the_terminal_shows_table_and_raster(tmp_path):
    with read_trace(small(tmp_path / "t.h5")) as file:
        text = printed(terminal(file, 1))
    assert text.startswith(GOLDEN)
    assert "\n 1 │" in text and "\n18 │" in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_terminal_fits_and_nothing_steers_it(tmp_path):
    steps = 300
    path = write(tmp_path / "t.h5", [population(EVIL * 3, 700)], {EVIL * 3: random_trace(0, 1, steps, 700)})
    with read_trace(path) as file:
        text = printed(terminal(file, 0))
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text and "[red]" in text
    assert sum("│" in line for line in text.splitlines()) == 16
    assert "0" + "299".rjust(63) + "  step" in text


@given(st.integers(1, 50), st.integers(1, 90), st.integers(1, 40), st.integers(1, 40), st.floats(0, 1))
def test_no_spike_is_lost_in_bins(steps, neurons, columns, rows, rate):
    fired = np.random.default_rng(steps).random((steps, neurons)) < rate
    shares = binned(fired, columns, rows)
    assert shares.shape == (min(rows, neurons), min(columns, steps))
    assert shares.min() >= 0 and shares.max() <= 1
    assert shares.any() == fired.any()
    shades = levels(shares, 4)
    assert np.array_equal(shades > 0, shares > 0) and shades.max() == (4 if fired.any() else 0)


def drawings(page):
    """The drawings of a page, parsed as XML."""
    whole = re.findall(r'<div class="scroll">(<svg .*?)</div>', page, re.DOTALL)
    return [ElementTree.fromstring(text) for text in whole]


def test_the_page_draws_rasters_and_membranes(tmp_path):
    with read_trace(small(tmp_path / "t.h5")) as file:
        page = html(file, 1)
        chosen = html(file, 1, [("hidden", 1)])
    hidden, _, first, second = drawings(page)
    cells = hidden.find(".//path").get("d")
    assert cells == "M0 0h.9M1 0h.9M2 0h.9M3 0h.9M3 2h.9"
    assert (len(first.findall(".//*[@class='spike']")), len(first.findall(".//*[@class='threshold']"))) == (4, 1)
    assert not second.findall(".//*[@class='threshold']") and "does not say its threshold" in page
    assert "hidden, neuron 1 (2 in the trained layer)" in chosen and len(drawings(chosen)) == 3
    assert "sample 1 of 2, label 3, predicted 2, 4 steps" in page
    assert "prefers-color-scheme: dark" in page
    assert not re.search(r"https?:|src=|url\(|@import|<link", page)


def test_names_stay_text(tmp_path):
    with read_trace(small(tmp_path / "t.h5", EVIL)) as file:
        page = html(file, 1)
    assert "<script" not in page and "&lt;script&gt;alert(&#34;x&#34;)" in page
    assert "\x1b" not in page
    drawings(page)


@pytest.mark.parametrize(("steps", "sizes"), [(1500, [900, 40]), (8, [8000]), (1, [1] * 40)])
def test_a_large_page_stays_small(tmp_path, steps, sizes):
    populations = [population(f"p{i}", size) for i, size in enumerate(sizes)]
    path = write(tmp_path / "t.h5", populations, {p.name: random_trace(1, 1, steps, p.size) for p in populations})
    with read_trace(path) as file:
        page = html(file, 0)
    assert len(page) < 10 * CELLS + 10_000 * len(sizes)
    assert ("bins, the darkest is" in page) == (max(sizes) > 400)
    drawings(page)


def test_a_sample_or_neuron_that_is_not_there(tmp_path):
    with read_trace(small(tmp_path / "t.h5")) as file:
        with pytest.raises(TraceFileError, match="has no sample 2; choose one from 0 to 1"):
            terminal(file, 2)
        with pytest.raises(TraceFileError, match="has no neuron 3 of hidden; choose one from 0 to 2"):
            html(file, 1, [("hidden", 3)])
        with pytest.raises(TraceFileError, match="has no trace of lif; choose among hidden, out"):
            html(file, 1, [("lif", 3)])


def report(*arguments, cwd):
    program = Path(sys.executable).with_name("snn-report")
    return subprocess.run([program, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=120)


def test_the_command_prints_and_writes(tmp_path):
    small(tmp_path / "t.h5")
    flags = ("--html", "t.html", "--json", "t.json", "--neuron", "hidden:2", "--neuron", "out:0")
    done = report("--trace", "t.h5", "--sample", "1", *flags, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "sample 1 of 2, label 3, predicted 2, 4 steps" in done.stdout
    page, found = (tmp_path / "t.html").read_text(), json.loads((tmp_path / "t.json").read_text())
    assert "hidden, neuron 2" in page and "out, neuron 0" in page
    assert (found["program"], found["sample"], found["label"], found["prediction"]) == ("model.snnc", 1, 3, 2)
    hidden = found["populations"][0]
    assert hidden["busiest"] == {"neuron": 0, "origin": 0, "spikes": 4}
    assert (hidden["spikes"], hidden["silent"], hidden["spikes_per_step"]) == (5, 1, [1, 1, 1, 2])
    assert "sample 0 of 2" in report("--trace", "t.h5", cwd=tmp_path).stdout


def test_the_command_compares(tmp_path):
    for name, change in (("a.h5", None), ("b.h5", None), ("c.h5", (1, 2, 1))):
        small(tmp_path / name, change=change)
    same = report("--trace", "a.h5", "--diff", "b.h5", cwd=tmp_path)
    assert (same.returncode, same.stderr) == (0, "")
    assert same.stdout == "a.h5 and b.h5 are equal in 2 samples, 4 steps, 23 neurons\n"
    other = report("--trace", "a.h5", "--diff", "c.h5", cwd=tmp_path)
    sentence = "sample 1, step 2, population hidden, neuron 1 (2 in the trained layer): v is 1900 in a.h5, 1907 in c.h5"
    assert (other.returncode, other.stdout, other.stderr) == (1, sentence + "\n", "")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "give a program, or --trace"),
        (("--sample", "1", "x.snnc"), 2, "--sample needs --trace"),
        (("--neuron", "a:1", "x.snnc"), 2, "--neuron needs --trace"),
        (("--diff", "t.h5", "x.snnc"), 2, "--diff needs --trace"),
        (("--trace", "t.h5", "x.snnc"), 2, "PROGRAM does not go with --trace"),
        (("--trace", "t.h5", "--csv", "x.csv"), 2, "--csv does not go with --trace"),
        (("--trace", "t.h5", "--diff", "t.h5", "--sample", "0"), 2, "--sample does not go with --diff"),
        (("--trace", "t.h5", "--diff", "t.h5", "--html", "x"), 2, "--html does not go with --diff"),
        (("--trace", "t.h5", "--neuron", "hidden:0"), 2, "--neuron needs --html"),
        (("--trace", "t.h5", "--html", "x", "--neuron", "hidden"), 2, "POP:INDEX is needed"),
        (("--trace", "t.h5", "--sample", "-1"), 2, "Usage"),
        (("--trace", "t.h5", "--sample", "2"), 1, "error: t.h5: has no sample 2; choose one from 0 to 1"),
        (("--trace", "t.h5", "--html", "x", "--neuron", "hidden:9"), 1, "error: t.h5: has no neuron 9 of hidden;"),
        (("--trace", "none.h5"), 1, "error: none.h5: is not there; check the path"),
        (("--trace", "text.h5"), 1, "error: text.h5: is no trace file, or a broken one; give a file that snn-run"),
        (("--trace", "t.h5", "--html", "t.h5"), 1, "error: t.h5: is the input too; give it another name"),
        (("--trace", "t.h5", "--diff", "none.h5"), 1, "error: none.h5: is not there; check the path"),
    ],
)
def test_the_command_refuses(tmp_path, arguments, code, message):
    small(tmp_path / "t.h5")
    (tmp_path / "text.h5").write_text("no trace")
    done = report(*arguments, cwd=tmp_path)
    assert done.returncode == code and "Traceback" not in done.stderr
    assert message in " ".join(done.stderr.replace("│", " ").split()), done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.h5", "text.h5"]


def test_the_page_of_the_documentation_is_true(tmp_path):
    text = (ROOT / "docs" / "how-to" / "look-inside-a-run.md").read_text()
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (script,) = (body for language, body in blocks if language == "python")
    assert '"examples/digits.pt"' in script
    (tmp_path / "script.py").write_text(script.replace('"examples/digits.pt"', repr(str(ROOT / "examples/digits.pt"))))
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    shown = [
        body.partition("\n") for language, body in blocks if language == "text" and body.startswith("$ snn-report")
    ]
    assert len(shown) == 3
    for command, _, output in shown:
        done = report(*shlex.split(command)[2:], cwd=tmp_path)
        assert "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines()) == output, command
