"""The command snn-run."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .atomic import write_whole
from .cli import DataDir, Debug, JsonOut, bar, check_outputs, command, sha256_of
from .errors import DataError, ProgramFileError

if TYPE_CHECKING:
    from .compiler.fixed import FixedInput
    from .compiler.program import Program
    from .compiler.report import Report
    from .frontend.data import DataSet
    from .runtime.result import RunResult, Trace
    from .runtime.tables import Tables


class Backend(str, Enum):
    """Where a program runs."""

    engine = "engine"
    lava = "lava"


def _run(
    program: Annotated[Path, typer.Argument(help="A program of snn-compile.")],
    backend: Annotated[Backend, typer.Option(help="Where it runs.")] = Backend.engine,
    data: Annotated[str, typer.Option(help="Data set whose test part is run.")] = "digits",
    data_dir: DataDir = None,
    limit: Annotated[int | None, typer.Option(help="Run the first samples only.", min=1)] = None,
    batch: Annotated[int | None, typer.Option(help="Samples that the engine holds at a time.", min=1)] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of the engine; all cores if absent.", min=1)] = None,
    workers: Annotated[int | None, typer.Option(help="Run in so many processes.", min=1, max=256)] = None,
    cluster: Annotated[str | None, typer.Option(help="Run on a cluster: tcp://HOST:PORT, ray://HOST:PORT.")] = None,
    trace: Annotated[Path | None, typer.Option(help="Write spikes, u and v of every step (HDF5).")] = None,
    probe: Annotated[
        list[str] | None, typer.Option(help="A population that --trace writes; may be repeated. All if absent.")
    ] = None,
    json: JsonOut = None,
    debug: Debug = False,
) -> None:
    """Run a compiled program over a data set, from its tables."""
    engine_only = {"--batch": batch, "--threads": threads, "--workers": workers, "--cluster": cluster}
    given = [flag for flag, value in engine_only.items() if value is not None]
    if backend is not Backend.engine and given:
        raise typer.BadParameter(f"{given[0]} goes with --backend engine only")
    if threads is not None and (workers is not None or cluster is not None):
        raise typer.BadParameter("--threads goes without --workers and --cluster, which share the cores out")
    if probe and trace is None:
        raise typer.BadParameter("--probe goes with --trace")
    check_outputs(program, json, trace)
    from .compiler import file, render
    from .compiler.report import read_report, to_json
    from .frontend.data import load as load_data
    from .runtime.evaluate import counted_energy, evaluate, summary

    loaded = file.load(program)
    report = read_report(loaded, str(program))
    tables = _tables(loaded, program)
    dataset = load_data(data, data_dir, tables.steps)
    if len(tables.inputs) != 1:
        raise DataError(data, f"gives one array, the program has {len(tables.inputs)} inputs", "run it from Python")
    _check_input(tables.inputs[0], dataset)
    samples, labels = dataset.test_samples[:limit], dataset.test_labels[:limit]
    settings: dict[str, Any] = {"batch": batch, "threads": threads, "workers": workers, "cluster": cluster}
    with bar(backend.value) as progress, _tracing(trace, probe, tables, program, data, backend, labels) as traced:
        result, agrees = evaluate(
            loaded, samples, backend.value, tables=tables, progress=progress, **settings, **traced
        )
    energy = counted_energy(loaded, result)
    print(_accuracies(report, result, dataset, agrees))
    render.show(render.energy_table(energy))
    print(_busiest(result))
    if trace is not None:
        print(f"wrote {trace}")
    if json is not None:
        write_whole(json, to_json(summary(result, labels, energy)))


def _tables(program: Program, path: Path) -> Tables:
    from .runtime.build import tables_of

    try:
        return tables_of(program)
    except ProgramFileError as error:
        raise ProgramFileError(str(path), error.problem, error.way_out) from error


@contextlib.contextmanager
def _tracing(
    path: Path | None, probe: list[str] | None, tables: Tables, program: Path, data: str, backend: Backend, labels: Any
) -> Iterator[dict[str, Any]]:
    """What `evaluate` needs to write a trace, batch by batch."""
    if path is None:
        yield {}
        return
    from .runtime.result import predict
    from .runtime.trace import TraceWriter
    from .runtime.trace_format import TracedPopulation, TraceFacts

    names = list(dict.fromkeys(probe or [p.name for p in tables.populations]))
    facts = TraceFacts(program.name, sha256_of(program), backend.value, data)
    populations = TracedPopulation.of(tables.populations, names)
    with TraceWriter.create(path, populations, tables.steps, facts) as writer:

        def sink(first: int, traces: Mapping[str, Trace], counts: Any) -> None:
            writer.append(traces, predict(counts, tables.votes), labels[first : first + len(counts)])

        yield {"traces": names, "sink": sink}


def _busiest(result: RunResult) -> str:
    """One line on the core that sets the pace."""
    cores = result.activity.cores
    assert cores is not None
    most = int(cores.busiest.argmax())
    return (
        f"core {most} is the busiest in {cores.busiest[most] / max(1, cores.steps):.0%} of {cores.steps} steps: "
        f"at most {cores.peak_synops[most]} synaptic operations, {cores.peak_active[most]} active neurons and "
        f"{cores.peak_packets[most]} packets in one step, {cores.peak_ps[most] / 1000:.3g} ns"
    )


def _check_input(source: FixedInput, data: DataSet) -> None:
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
    if result.seconds < 0.1:
        seconds = f"{1000 * result.seconds:.1f} ms"
    lines = [f"{len(result.counts)} test samples of {data.name}, {result.activity.steps} steps each, {seconds}"]
    if known:
        lines.append(f"accuracy  {trained:.2%} in PyTorch's float (from the checkpoint, all test samples)")
    accuracy = result.accuracy(data.test_labels[: len(result.counts)])
    lines.append(f"accuracy  {accuracy:.2%} in {result.backend}")
    if agrees:
        lines.append(f"accuracy  {accuracy:.2%} in engine: every spike equal to {result.backend}'s")
    lines.append(f"output spikes sha256 {result.output_spikes_sha256}")
    return "\n".join(lines)


run = command(_run)
