"""The command snn-compile."""

from __future__ import annotations

import shlex
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .atomic import write_whole
from .cli import Debug, Encoding, JsonOut, Reset, bar, check_outputs, command, sha256_of
from .errors import OutputError

if TYPE_CHECKING:
    from .compiler.pipeline import Compiled
    from .frontend.readers.options import ReadOptions


class Effort(str, Enum):
    """How hard the partition searches."""

    fast = "fast"
    best = "best"


class Emit(str, Enum):
    """Formats of other tools."""

    nir = "nir"
    net = "net"


def _compile(
    model: Annotated[
        Path | None, typer.Argument(help="A trained network: .nir, .net, a PyTorch file, a checkpoint of snn-train.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="The chip, such as loihi2.")] = None,
    out: Annotated[Path | None, typer.Option(help="The program to write; MODEL.snnc if absent.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write the report as one HTML page.")] = None,
    json: JsonOut = None,
    board: Annotated[str | None, typer.Option(help="The board; the smallest with enough chips if absent.")] = None,
    effort: Annotated[Effort, typer.Option(help="How hard to search for few axons between cores.")] = Effort.fast,
    unroll: Annotated[
        bool, typer.Option("--unroll", help="Unroll convolutions, instead of sharing lists between places.")
    ] = False,
    emit: Annotated[
        list[Emit] | None, typer.Option(help="Write what was compiled for other tools too, beside the program.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Say what is supported, layer by layer, and compile nothing.")
    ] = False,
    allow_approximation: Annotated[
        bool, typer.Option("--allow-approximation", help="Carry nearly what cannot be carried exactly.")
    ] = False,
    architecture: Annotated[Path | None, typer.Option(help="The layers of a state dict, as a TOML file.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps per sample, where the model does not say.", min=1)] = None,
    dt: Annotated[float, typer.Option(help="Seconds per step of a model in continuous time (NIR).")] = 1e-4,
    encoding: Annotated[Encoding | None, typer.Option(help="How samples enter, where the model does not say.")] = None,
    max_value: Annotated[
        int | None, typer.Option(help="Largest value of a raw sample; the network sees value / this.", min=1)
    ] = None,
    input_shape: Annotated[str | None, typer.Option(help="Shape of a sample, such as 1,28,28.")] = None,
    reset: Annotated[Reset | None, typer.Option(help="What a spike does, where the format has no word for it.")] = None,
    list_targets: Annotated[bool, typer.Option("--list-targets", help="Show the targets and their limits.")] = False,
    debug: Debug = False,
) -> None:
    """Compile a trained network into the synapse tables of a chip."""
    if list_targets:
        _list_targets()
        return
    if model is None or (target is None and not check):
        raise typer.BadParameter("give a model and --target, or --list-targets")
    if not 0 < dt <= 10:
        raise typer.BadParameter(f"--dt {dt:g}: give the seconds of one step, above 0 and up to 10")
    from .frontend.readers.options import ReadOptions

    given = ReadOptions(
        dt=dt,
        steps=steps,
        encoding=None if encoding is None else encoding.value,
        max_value=max_value,
        input_shape=_shape(input_shape),
        reset=None if reset is None else reset.value,
        architecture=architecture,
        allow_approximation=allow_approximation,
    )
    if check:
        _refuse_with_check(
            {
                "--out": out,
                "--report": report,
                "--board": board,
                "--emit": emit,
                "--unroll": unroll,
                "--effort": effort is Effort.best,
            }
        )
        _check(model, given, target, json)
        return
    assert target is not None
    out = out or model.parent / f"{model.stem}.snnc"
    emitted = {kind.value: out.with_suffix(f".{kind.value}") for kind in dict.fromkeys(emit or [])}
    check_outputs(model, out, report, json, *emitted.values(), beside=architecture)
    options = {"board": board, "effort": effort.value, "sharing": not unroll}
    whole = Emit.net.value in emitted
    if model in emitted.values():
        raise OutputError(str(model), "is the input, and what --emit would write too", "give --out another name")
    compiled = _compiled(model, given, target, whole, options)
    contents = _emitted(compiled, emitted, given)
    from .compiler import file, render
    from .compiler.report import to_json

    file.save(compiled.program, out)
    for path, content in contents.items():
        write_whole(path, content)
    if report is not None:
        write_whole(report, render.html(compiled.report).encode())
    if json is not None:
        write_whole(json, to_json(compiled.report))
    render.show(render.terminal(compiled.report))
    for line in _unsaid(compiled, emitted, given):
        print(line)
    print("\nwrote " + ", ".join(str(path) for path in (out, *contents, report, json) if path))


def _shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    sizes = text.replace("x", ",").split(",")
    if not all(size.strip().isdecimal() and 0 < int(size) < 2**31 for size in sizes) or len(sizes) > 3:
        raise typer.BadParameter(f"{text!r} is no shape; give one to three sizes such as 1,28,28")
    return tuple(int(size) for size in sizes)


def _refuse_with_check(given: dict[str, Any]) -> None:
    for flag, value in given.items():
        if value:
            raise typer.BadParameter(f"{flag} goes without --check, which compiles nothing")


def _compiled(model: Path, given: ReadOptions, target: str, whole_biases: bool, options: dict[str, Any]) -> Compiled:
    """The model compiled; with `whole_biases` as NetX can have them."""
    from .compiler.findings import settle
    from .compiler.pipeline import compile_network
    from .frontend.readers import read_model
    from .hw_targets import chip as chips

    chip = chips.load(target)
    chip = chip.with_whole_biases() if whole_biases else chip
    network = read_model(model, given)
    settle(network.findings, given.allow_approximation)
    typed = shlex.join(["snn-compile", *sys.argv[1:]])
    source = {"model": model.name, "model_sha256": sha256_of(model), "command": typed}
    with bar("compiling") as progress:
        return compile_network(
            network, chip, source=source, progress=lambda stage, done, total: progress(done, total), **options
        )


def _emitted(compiled: Compiled, paths: dict[str, Path], given: ReadOptions) -> dict[Path, bytes]:
    """What `--emit` writes, made before anything is written."""
    contents: dict[Path, bytes] = {}
    for kind, path in paths.items():
        if kind == "nir":
            from .frontend.writers.nir import to_nir

            contents[path] = to_nir(compiled.trained, given.dt)
        else:
            from .frontend.writers.net import to_net

            contents[path] = to_net(compiled.network)
    return contents


def _unsaid(compiled: Compiled, paths: dict[str, Path], given: ReadOptions) -> list[str]:
    """What a reader of the emitted NIR file has to be told."""
    if "nir" not in paths:
        return []
    from .frontend.writers.nir import unsaid

    return [f"note: {paths['nir']}: {f.layer}: {f.text}" for f in unsaid(compiled.trained, given.dt)]


def _check(model: Path, given: ReadOptions, target: str | None, json: Path | None) -> None:
    """Prints a line per finding; exit code 0 where the model compiles as given, else 1."""
    check_outputs(model, json, beside=given.architecture)
    from .compiler import render
    from .compiler.report import to_json
    from .frontend.check import check_model
    from .hw_targets import chip as chips

    result = check_model(model, given, None if target is None else chips.load(target))
    if json is not None:
        write_whole(json, to_json(result))
    render.show(render.findings_table(result.findings))
    print(result.sentence)
    if not result.compiles:
        raise typer.Exit(1)


def _list_targets() -> None:
    from .hw_targets import chip as chips

    for name in chips.names():
        chip = chips.load(name)
        boards = ", ".join(f"{board} {shape.chips[0]}" for board, shape in chip.boards.items())
        print(
            f"{name:8} {chip.title}: {chip.cores_per_chip} cores of {chip.neurons_per_core} neurons and "
            f"{chip.synapse_words * 8 // 1024} KB of synapses; {'graded' if chip.graded else 'binary'} spikes; "
            f"chips per board: {boards}"
        )


compile_ = command(_compile)
