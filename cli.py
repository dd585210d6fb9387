"""The command snn-report, and what all commands share; the others are in `cli_compile`, `cli_run` and `cli_train`.

Heavy modules are imported inside the commands, so that ``--help`` answers at once. Exit code 0: done; 1: the input or
the network is at fault (one sentence on standard error); 2: wrong usage.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .atomic import check_writable, write_whole
from .cli_trace import DiffWith, Neurons, Sample, TraceIn, TraceView
from .errors import ModelFileError, OutputError, SnnCompileError
from .frontend.processes import joined, speaks

if TYPE_CHECKING:
    from .compiler.report import Report

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
JsonOut = Annotated[Path | None, typer.Option("--json", help="Write the result as JSON, for programs.")]
DataDir = Annotated[Path | None, typer.Option(help="The folder of the data set's files.")]


class Reset(str, Enum):
    """What a spike does to the membrane."""

    hard = "hard"
    soft = "soft"


class Encoding(str, Enum):
    """How a sample enters the network."""

    graded = "graded"
    rate = "rate"
    spikes = "spikes"


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
def bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error; quiet where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task(title, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def check_outputs(source: Path, *outputs: Path | None, beside: Path | None = None) -> None:
    """Before the work: every output can be written, and none takes the place of another or of an input."""
    taken = {os.path.realpath(path): "the input" for path in (source, beside) if path is not None}
    for path in outputs:
        if path is not None:
            check_writable(path)
            real = os.path.realpath(path)
            if real in taken:
                raise OutputError(str(path), f"is {taken[real]} too", "give it another name")
            taken[real] = "another output"


def sha256_of(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelFileError(str(path), f"cannot be read ({error.strerror})", "check the path") from error


def _report(
    program: Annotated[Path | None, typer.Argument(help="A program of snn-compile.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report as one HTML page.")] = None,
    json: JsonOut = None,
    csv: Annotated[Path | None, typer.Option(help="Write the cores as CSV.")] = None,
    trace: TraceIn = None,
    sample: Sample = None,
    neuron: Neurons = None,
    diff: DiffWith = None,
    debug: Debug = False,
) -> None:
    """Show what a compiled program costs, or what a trace of a run holds."""
    view = TraceView.of(program, csv, trace, sample, neuron, diff, html, json)
    if view is not None:
        check_outputs(view.trace, html, json)
        view.show()
        return
    assert program is not None
    check_outputs(program, html, json, csv)
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


report = command(_report)
