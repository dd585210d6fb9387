"""The commands snn-compile, snn-run and snn-report, and what all commands share; snn-train is in `cli_train`.

Heavy modules are imported inside the commands, so that ``--help`` answers at once. Exit code 0: done; 1: the input or
the network is at fault (one sentence on standard error); 2: wrong usage.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .atomic import check_writable, write_whole
from .errors import DataError, ModelFileError, OutputError, ProgramFileError, SnnCompileError
from .frontend.processes import joined, speaks

if TYPE_CHECKING:
    from .compiler.fixed import FixedNetwork
    from .compiler.program import Program
    from .compiler.report import Report
    from .frontend.data import DataSet
    from .runtime.result import RunResult

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
JsonOut = Annotated[Path | None, typer.Option("--json", help="Write the result as JSON, for programs.")]
DataDir = Annotated[Path | None, typer.Option(help="The folder of the data set's files.")]


class Backend(str, Enum):
    """Where a program runs."""

    engine = "engine"
    lava = "lava"


class Effort(str, Enum):
    """How hard the partition searches."""

    fast = "fast"
    best = "best"


def _fail(message: str) -> None:
    if speaks():
        print(f"error: {message}", file=sys.stderr)


def command(function: Callable[..., None]) -> Callable[[], None]:
    """The entry point of one command: errors become one sentence and an exit code."""

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except KeyboardInterrupt as error:
            _fail(str(error) or "interrupted")
            _leave(130)
        except BrokenPipeError:  # whoever read standard output has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except (SnnCompileError, OSError, MemoryError) as error:
            if kwargs.get("debug"):
                raise
            _fail(_sentence(error))
            _leave(1)

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(guarded)
    return lambda: app()


def _leave(code: int) -> None:
    """Ends the command; at once in one of several processes, whose threads abort it when the others are gone first."""
    if joined():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise typer.Exit(code) from None


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'file'}: {error.strerror}; check the path, its rights and the space left"
    if isinstance(error, MemoryError):
        return (
            "this machine has not enough memory for that; prune more, use fewer steps or samples, or a larger machine"
        )
    return str(error)


@contextlib.contextmanager
def _bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error; quiet where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _check_outputs(source: Path, *outputs: Path | None) -> None:
    """Before the work: every output can be written, and none takes the place of another or of the input."""
    taken = {os.path.realpath(source): "the input"}
    for path in outputs:
        if path is not None:
            check_writable(path)
            real = os.path.realpath(path)
            if real in taken:
                raise OutputError(str(path), f"is {taken[real]} too", "give it another name")
            taken[real] = "another output"


def _typed(name: str) -> str:
    return shlex.join([name, *sys.argv[1:]])


def _compile(
    model: Annotated[Path | None, typer.Argument(help="A checkpoint of snn-train.")] = None,
    target: Annotated[str | None, typer.Option(help="The chip, such as loihi2.")] = None,
    out: Annotated[Path | None, typer.Option(help="The program to write; MODEL.snnc if absent.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write the report as one HTML page.")] = None,
    json: JsonOut = None,
    board: Annotated[str | None, typer.Option(help="The board; the smallest with enough chips if absent.")] = None,
    effort: Annotated[Effort, typer.Option(help="How hard to search for few axons between cores.")] = Effort.fast,
    unroll: Annotated[
        bool, typer.Option("--unroll", help="Unroll convolutions, instead of sharing lists between places.")
    ] = False,
    list_targets: Annotated[bool, typer.Option("--list-targets", help="Show the targets and their limits.")] = False,
    debug: Debug = False,
) -> None:
    """Compile a trained network into the synapse tables of a chip."""
    if list_targets:
        _list_targets()
        return
    if model is None or target is None:
        raise typer.BadParameter("give a model and --target, or --list-targets")
    out = out or model.parent / f"{model.stem}.snnc"
    _check_outputs(model, out, report, json)
    from .compiler import file, render
    from .compiler.pipeline import compile_network
    from .compiler.report import to_json
    from .frontend.readers import read_model
    from .hw_targets import chip as chips

    chip = chips.load(target)
    network = read_model(model)
    source = {"model": model.name, "model_sha256": _sha256(model), "command": _typed("snn-compile")}
    with _bar("compiling") as progress:
        compiled = compile_network(
            network, chip, board=board, effort=effort.value, sharing=not unroll, source=source,
            progress=lambda stage, done, total: progress(done, total),
        )  # fmt: skip
    file.save(compiled.program, out)
    if report is not None:
        write_whole(report, render.html(compiled.report).encode())
    if json is not None:
        write_whole(json, to_json(compiled.report))
    render.show(render.terminal(compiled.report))
    print("\nwrote " + ", ".join(str(path) for path in (out, report, json) if path))


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelFileError(str(path), f"cannot be read ({error.strerror})", "check the path") from error


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


def _run(
    program: Annotated[Path, typer.Argument(help="A program of snn-compile.")],
    backend: Annotated[Backend, typer.Option(help="Where it runs.")] = Backend.engine,
    data: Annotated[str, typer.Option(help="Data set whose test part is run.")] = "digits",
    data_dir: DataDir = None,
    limit: Annotated[int | None, typer.Option(help="Run the first samples only.", min=1)] = None,
    workers: Annotated[int | None, typer.Option(help="Run in so many processes.", min=1)] = None,
    cluster: Annotated[str | None, typer.Option(help="Run on a cluster: tcp://HOST:PORT, ray://HOST:PORT.")] = None,
    json: JsonOut = None,
    debug: Debug = False,
) -> None:
    """Run a compiled program over a data set, from its tables."""
    if backend is not Backend.engine and (workers or cluster):
        raise typer.BadParameter("--workers and --cluster go with --backend engine only")
    _check_outputs(program, json)
    from .compiler import file, render
    from .compiler.report import read_report, to_json
    from .frontend.data import load as load_data
    from .runtime.evaluate import counted_events, evaluate, summary

    loaded = file.load(program)
    network = _decode(loaded, program)
    dataset = load_data(data, data_dir, network.steps)
    _check_input(network, dataset)
    samples = dataset.test_samples[:limit]
    with _bar(backend.value) as progress:
        result, agrees = evaluate(network, samples, backend.value, progress, workers=workers, cluster=cluster)
    energy = counted_events(loaded, network, result)
    print(_accuracies(read_report(loaded, str(program)), result, dataset, agrees))
    render.show(render.energy_table(energy))
    if json is not None:
        write_whole(json, to_json(summary(result, dataset.test_labels[: len(samples)], energy)))


def _decode(program: Program, path: Path) -> FixedNetwork:
    from .compiler.decode import decode

    try:
        return decode(program)
    except ProgramFileError as error:
        raise ProgramFileError(str(path), error.problem, error.way_out) from error


def _check_input(network: FixedNetwork, data: DataSet) -> None:
    source = network.inputs[0]
    size = math.prod(data.shape)
    if (source.encoding == "spikes") != (data.steps is not None):
        kinds = ("values", "events") if data.steps is None else ("events", "values")
        problem = f"has samples of {kinds[0]}, the network takes {kinds[1]}"
        raise DataError(data.name, problem, "choose the data set that the network was trained on")
    if size != source.size or data.max_value != source.max_value:
        raise DataError(
            data.name,
            f"has samples of {size} values 0 to {data.max_value}, the network takes {source.size} of 0 to "
            f"{source.max_value}",
            "choose the data set that the network was trained on",
            value=size,
            limit=source.size,
        )


def _accuracies(report: Report, result: RunResult, data: DataSet, agrees: bool) -> str:
    trained = report.training.get("test_accuracy")
    known = report.training.get("data") == data.name and isinstance(trained, float)
    seconds = f"{result.seconds:.2f} s" if result.seconds < 100 else f"{result.seconds:.0f} s"
    lines = [f"{len(result.counts)} test samples of {data.name}, {result.activity.steps} steps each, {seconds}"]
    if known:
        lines.append(f"accuracy  {trained:.2%} in PyTorch's float (from the checkpoint, all test samples)")
    accuracy = result.accuracy(data.test_labels[: len(result.counts)])
    lines.append(f"accuracy  {accuracy:.2%} in {result.backend}")
    if agrees:
        lines.append(f"accuracy  {accuracy:.2%} in engine: every spike equal to {result.backend}'s")
    lines.append(f"output spikes sha256 {result.output_spikes_sha256}")
    return "\n".join(lines)


def _report(
    program: Annotated[Path, typer.Argument(help="A program of snn-compile.")],
    html: Annotated[Path | None, typer.Option(help="Write the report as one HTML page.")] = None,
    json: JsonOut = None,
    csv: Annotated[Path | None, typer.Option(help="Write the cores as CSV.")] = None,
    debug: Debug = False,
) -> None:
    """Show what a compiled program costs."""
    _check_outputs(program, html, json, csv)
    from .compiler import file, render
    from .compiler.report import read_report, to_json

    report: Report = read_report(file.load(program), str(program))
    if html is not None:
        write_whole(html, render.html(report).encode())
    if json is not None:
        write_whole(json, to_json(report))
    if csv is not None:
        write_whole(csv, render.to_csv(report).encode())
    render.show(render.terminal(report))


compile_ = command(_compile)
run = command(_run)
report = command(_report)
