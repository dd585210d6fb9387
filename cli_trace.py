"""What snn-report does with a trace: show a sample of it, or say where it parts from another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from .atomic import write_whole

TraceIn = Annotated[Path | None, typer.Option(help="Show a trace of snn-run instead of a program.")]
Sample = Annotated[int | None, typer.Option(help="The sample of the trace that is shown.", min=0, show_default="0")]
Neurons = Annotated[
    list[str] | None,
    typer.Option(
        metavar="POP:INDEX", help="A neuron whose membrane --html draws; may be repeated.", show_default=False
    ),
]
DiffWith = Annotated[Path | None, typer.Option(help="Another trace; say where the two part.")]


@dataclass(frozen=True)
class TraceView:
    """A trace and what is to be shown of it.

    Attributes:
        neurons: (population, index in it) of the membranes in the page; empty: the busiest ones.
        other: a trace to compare with; nothing else is shown then.
    """

    trace: Path
    sample: int = 0
    neurons: tuple[tuple[str, int], ...] = ()
    other: Path | None = None
    html: Path | None = None
    json: Path | None = None

    @classmethod
    def of(
        cls,
        program: Path | None,
        csv: Path | None,
        trace: Path | None,
        sample: int | None,
        neuron: Sequence[str] | None,
        diff: Path | None,
        html: Path | None,
        json: Path | None,
    ) -> TraceView | None:
        """From the flags of snn-report; None where they ask for a program's report.

        Raises:
            typer.BadParameter: the flags do not go together.
        """
        shown = {"--sample": sample, "--neuron": neuron or None}
        if trace is None:
            if program is None:
                raise typer.BadParameter("give a program, or --trace")
            _refuse({**shown, "--diff": diff}, "needs --trace")
            return None
        _refuse({"PROGRAM": program, "--csv": csv}, "does not go with --trace")
        if diff is not None:
            _refuse({**shown, "--html": html, "--json": json}, "does not go with --diff")
        if html is None:
            _refuse({"--neuron": neuron or None}, "needs --html")
        return cls(trace, sample or 0, tuple(map(_neuron, neuron or ())), diff, html, json)

    def show(self) -> None:
        """Prints and writes.

        Raises:
            TraceFileError: a trace is broken, has no such sample or neuron, or cannot be compared with the other.
            OutputError: a file cannot be written.
            typer.Exit: with 1, the traces differ.
        """
        from .compiler import render
        from .compiler.report import to_json
        from .runtime import trace_activity, trace_page, trace_text
        from .runtime.trace_file import read_trace

        if self.other is not None:
            self._compare(self.other)
            return
        with read_trace(self.trace) as file:
            shown = trace_text.terminal(file, self.sample)
            if self.html is not None:
                write_whole(self.html, trace_page.html(file, self.sample, self.neurons).encode())
            if self.json is not None:
                write_whole(self.json, to_json(trace_activity.activity(file, self.sample)))
        render.show(shown)

    def _compare(self, other: Path) -> None:
        from .runtime.trace_diff import diff
        from .runtime.trace_file import read_trace

        with read_trace(self.trace) as a, read_trace(other) as b:
            part = diff(a, b)
            if part is None:
                neurons = sum(p.size for p in a.populations)
                print(f"{self.trace} and {other} are equal in {a.samples} samples, {a.steps} steps, {neurons} neurons")
                return
        print(part.sentence(str(self.trace), str(other)))
        raise typer.Exit(1)


def _refuse(given: dict[str, object], problem: str) -> None:
    for flag, value in given.items():
        if value is not None:
            raise typer.BadParameter(f"{flag} {problem}")


def _neuron(text: str) -> tuple[str, int]:
    """
    >>> _neuron("lif1:17"), _neuron("a:b:0")
    (('lif1', 17), ('a:b', 0))
    """
    name, _, index = text.rpartition(":")
    if not name or not index.isdecimal():
        raise typer.BadParameter(f"--neuron is {text!r}, POP:INDEX is needed, such as lif1:17")
    return name, int(index)
