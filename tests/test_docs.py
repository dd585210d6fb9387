"""The documentation is true: links lead somewhere, its scripts run, its commands and networks can be read."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from snn_compile import cli, cli_compile, cli_run, cli_train
from snn_compile.compiler.nodes import LIF, Input
from snn_compile.frontend.networks import NAMED, build
from snn_compile.hw_targets import chip as chips

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md")) + [ROOT / "README.md", ROOT / "examples" / "README.md"]
COMMANDS = {
    "snn-train": cli_train._train,
    "snn-compile": cli_compile._compile,
    "snn-run": cli_run._run,
    "snn-report": cli._report,
}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def prose(page: Path) -> str:
    """A page without its code."""
    return re.sub(r"`[^`\n]*`", "", BLOCK.sub("", page.read_text()))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in LINK.findall(prose(page)):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{link} leads nowhere"
        if anchor:
            assert anchor in anchors(target), f"{link}: {target.name} has no such heading"


def test_every_page_is_reached_from_the_index():
    index = DOCS / "index.md"
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in LINK.findall(prose(index)) if "://" not in link}
    assert set(DOCS.rglob("*.md")) - {index} <= linked


def test_the_script_runs_and_prints_what_the_page_says(tmp_path):
    blocks = BLOCK.findall((DOCS / "how-to" / "use-from-python.md").read_text())
    script = "\n".join(text for language, text in blocks if language == "python")
    printed = "".join(text for language, text in blocks if language == "text")
    model = ROOT / "examples" / "digits.pt"
    assert '"examples/digits.pt"' in script
    program = tmp_path / "script.py"
    program.write_text(script.replace('"examples/digits.pt"', repr(str(model))))
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-W", "error", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == printed


def test_the_check_of_the_page_prints_what_it_says():
    """Up to spaces at the ends of lines."""
    page = (DOCS / "how-to" / "bring-your-own-network.md").read_text()
    (block,) = (text for _, text in BLOCK.findall(page) if text.startswith("$ snn-compile"))
    typed, _, printed = block.partition("\n")
    program = Path(sys.executable).with_name("snn-compile")
    done = subprocess.run([program, *shlex.split(typed)[2:]], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert [line.rstrip() for line in done.stdout.splitlines()] == printed.splitlines()


def flags(command: str) -> set[str]:
    """The flags of a command, without ``--help``."""
    app = typer.Typer(add_completion=False)
    app.command()(COMMANDS[command])
    parameters = typer.main.get_command(app).params
    found = {flag for parameter in parameters for flag in parameter.opts if flag.startswith("--")}
    return found - {"--help"}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_reference_names_exactly_the_flags_that_there_are(command):
    text = (DOCS / "reference" / "commands.md").read_text()
    section = re.split(r"^## ", text.partition(f"\n## {command}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    assert set(re.findall(r"^\| `(--[a-z-]+)", section, re.MULTILINE)) == flags(command)


def commands_of(page: Path) -> list[list[str]]:
    """The words of every command of ours in the code of a page."""
    text = page.read_text().replace("\\\n", " ")
    code = "\n".join(body for _, body in BLOCK.findall(text)) + "\n".join(re.findall(r"^    .*$", text, re.MULTILINE))
    lines = [line.strip().removeprefix("$ ") for line in code.splitlines()]
    return [shlex.split(line) for line in lines if line.partition(" ")[0] in COMMANDS]


def test_the_pages_have_commands():
    assert sum(len(commands_of(page)) for page in PAGES) > 20


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_use_flags_that_there_are(page):
    for words in commands_of(page):
        used = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert used <= flags(words[0]), " ".join(words)


def test_networks_in_the_pages_can_be_built(tmp_path):
    source, neuron = Input("input", shape=(1, 28, 28), max_value=255), LIF("neuron")
    page = DOCS / "how-to" / "train.md"
    (file,) = (text for language, text in BLOCK.findall(page.read_text()) if language == "toml")
    (tmp_path / "net.toml").write_text(file)
    network = build(str(tmp_path / "net.toml"), source, neuron, steps=8)
    assert network.votes == 10
    assert network.shapes[network.outputs[0]] == (100,)
    lists = [words[words.index("--network") + 1] for words in commands_of(page) if "--network" in words]
    for text in set(lists) - set(NAMED) - {"net.toml"}:
        built = build(text, source, neuron, steps=8, data="mnist")
        assert built.shapes[built.outputs[0]] == (10,)
    assert len(lists) > 2


def test_the_rule_of_the_page_reaches_its_density():
    torch = pytest.importorskip("torch")
    from snn_compile.frontend.rules import Rule, Settings

    blocks = BLOCK.findall((DOCS / "how-to" / "add-a-rule.md").read_text())
    (code,) = (text for language, text in blocks if language == "python")
    names = {"__name__": "snn_compile.frontend.rules.magnitude", "__package__": "snn_compile.frontend.rules"}
    exec(code, names)
    (cls,) = (v for v in names.values() if isinstance(v, type) and issubclass(v, Rule) and v is not Rule)
    random = torch.Generator().manual_seed(0)
    weights = [torch.randn((20, 30), generator=random), torch.randn((10, 20), generator=random)]
    rule = cls(weights, Settings(density=0.1, steps=50))
    for step in range(50):
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=random)
        rule.before_step(step, 0.01)
        rule.step()
    assert rule.settled
    assert rule.connectivity() == pytest.approx(0.1, abs=0.005)


@pytest.mark.parametrize("name", chips.names())
def test_the_reference_has_the_numbers_of_every_target(name):
    """The row ``| key | value | source |`` of each number stands in the section of the target."""
    text = (DOCS / "reference" / "targets.md").read_text()
    section = re.split(r"^## ", text.partition(f"\n## {name}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    assert section, f"{name} has no section"
    chip = chips.load(name)
    rows = {name: board.chips for name, board in chip.boards.items()}
    rows |= {f"{name}, columns": board.columns for name, board in chip.boards.items()}
    for group in (chip.limits, chip.energy, chip.time):
        rows |= {key: getattr(group, key) for key in group.__struct_fields__ if key != "calibration"}
    for key, (value, source) in rows.items():
        assert f"| `{key}` | {value:g} | {source} |" in section
