"""The house keeps its shape: packages are listed, imports go one way, heavy libraries stay in their rooms."""

from __future__ import annotations

import ast
import doctest
import functools
import importlib
import importlib.util
import subprocess
import sys
import time
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("hw_targets", "compiler", "runtime", "frontend", "cli_trace", "cli", "cli_compile", "cli_run", "cli_train")
"""From the lowest: a room imports only rooms to its left; `errors` is open to all."""
NOT_PACKAGES = {"tests", "docs", "benchmarks", "examples", "scripts", "build", "dist", "out", "runs"}


def folders() -> list[Path]:
    """Every folder that holds modules of the package."""
    found = [ROOT]
    for top in ROOT.iterdir():
        if top.is_dir() and not top.name.startswith(".") and top.name not in NOT_PACKAGES:
            found += sorted({path.parent for path in top.rglob("*.py")})
    return found


def module_name(path: Path) -> str:
    parts = ["snn_compile", *path.relative_to(ROOT).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for folder in folders() for path in sorted(folder.glob("*.py"))}


@functools.cache
def imports(name: str) -> set[str]:
    """The absolute names of all modules that a module imports, at any depth of its code."""
    package = name if FILES[name].name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


def room(name: str) -> str | None:
    """The room of a module of the package, or None."""
    parts = name.split(".")
    return parts[1] if parts[0] == "snn_compile" and len(parts) > 1 and parts[1] in ROOMS else None


def importers(library: str) -> set[str]:
    return {name for name in FILES if any(i.split(".")[0] == library for i in imports(name))}


def test_packages_are_those_in_pyproject() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert sorted(settings["tool"]["setuptools"]["packages"]) == sorted(
        ".".join(["snn_compile", *folder.relative_to(ROOT).parts]) for folder in folders()
    )


@pytest.mark.parametrize("name", FILES)
def test_imports_go_one_way(name: str) -> None:
    own = room(name)
    if own is None:
        assert not any(map(room, imports(name)))
        return
    for other in filter(None, map(room, imports(name))):
        assert ROOMS.index(other) <= ROOMS.index(own), f"{own} must not import {other}"


def test_torch_stays_in_frontend() -> None:
    assert {name for name in importers("torch") if room(name) != "frontend"} == set()


def test_lava_stays_in_its_files() -> None:
    assert {name for name in importers("lava") if not name.startswith("snn_compile.runtime.lava")} == set()


def test_tonic_is_imported_where_it_is_used_only() -> None:
    """It is optional, and needs seconds."""
    code = "import sys, snn_compile.frontend.data; print({'tonic', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT / "tests")
    assert done.stdout.strip() == "set()"
    named = {name for name in FILES if 'import_module("tonic' in FILES[name].read_text()}
    assert (importers("tonic"), named) == (set(), {"snn_compile.frontend.data_formats.events"})


@pytest.mark.skipif("snn_compile.cli" not in FILES, reason="no command line yet")
def test_command_line_imports_nothing_heavy() -> None:
    code = "import sys, snn_compile.cli_train; print({'torch', 'lava', 'numba'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT / "tests")
    assert done.stdout.strip() == "set()"


@pytest.mark.skipif("snn_compile.cli" not in FILES, reason="no command line yet")
def test_help_answers_within_half_a_second() -> None:
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        subprocess.run([Path(sys.executable).with_name("snn-compile"), "--help"], capture_output=True, check=True)
        seconds.append(time.perf_counter() - begin)
    assert min(seconds) < 0.5


@pytest.mark.parametrize("name", FILES)
def test_docstring_examples(name: str) -> None:
    if name.startswith("snn_compile.runtime.lava_processes"):
        pytest.skip("importing Lava sets a start method, so only its own process does")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "distributed"):
            raise
        pytest.skip(f"{error.name} is not installed")
    assert doctest.testmod(module).failed == 0
