"""The four commands: snn-train, snn-compile, snn-run, snn-report. The only place that knows all rooms.

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
from .frontend.options import TrainOptions
from .frontend.processes import rank, speaks, world

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


class Method(str, Enum):
    """How connections are pruned in training."""

    grad_r = "grad-r"
    deep_r = "deep-r"
    stds = "stds"
    rigl = "rigl"
    set = "set"
    dense = "dense"


class Effort(str, Enum):
    """How hard the partition searches."""

    fast = "fast"
    best = "best"


class Reset(str, Enum):
    """What a spike does to the membrane."""

    hard = "hard"
    soft = "soft"


class Encoding(str, Enum):
    """How a sample enters the network."""

    graded = "graded"
    rate = "rate"
    spikes = "spikes"


class Device(str, Enum):
    """Where the training runs."""

    cpu = "cpu"
    cuda = "cuda"


class Count(str, Enum):
    """What the density of a training run is a share of."""

    weights = "weights"
    synapses = "synapses"


METHOD, RESET = Method(TrainOptions.method), Reset(TrainOptions.reset)
COUNT = Count(TrainOptions.count)
HIDDEN = ",".join(map(str, TrainOptions.hidden))


def _fail(message: str) -> None:
    if speaks():
        print(f"error: {message}", file=sys.stderr)


def _command(function: Callable[..., None]) -> Callable[[], None]:
    """The entry point of one command: errors become one sentence and an exit code."""

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except KeyboardInterrupt as error:
            _fail(str(error) or "interrupted")
            raise typer.Exit(130) from None
        except BrokenPipeError:  # whoever read standard output has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except (SnnCompileError, OSError, MemoryError) as error:
            if kwargs.get("debug"):
                raise
            _fail(_sentence(error))
            raise typer.Exit(1) from None

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(guarded)
    return lambda: app()


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


def _train(
    data: Annotated[
        str, typer.Option(help="Data set: digits, mnist, fashion-mnist, cifar10, nmnist, dvs-gesture, shd.")
    ] = TrainOptions.data,
    method: Annotated[Method, typer.Option(help="How connections are pruned.")] = METHOD,
    density: Annotated[
        float, typer.Option(help="Share of the weights or synapses that shall survive.")
    ] = TrainOptions.density,
    epochs: Annotated[int, typer.Option(help="Passes over the training samples.")] = TrainOptions.epochs,
    seed: Annotated[int, typer.Option(help="Decides weights, order and split.")] = TrainOptions.seed,
    out: Annotated[Path, typer.Option(help="The checkpoint to write.")] = TrainOptions.out,
    hidden: Annotated[str, typer.Option(help="Sizes of the hidden layers, with commas.")] = HIDDEN,
    steps: Annotated[int, typer.Option(help="T, steps per sample.")] = TrainOptions.steps,
    tau: Annotated[float, typer.Option(help="Time constant of the membrane, in steps.")] = TrainOptions.tau,
    threshold: Annotated[float, typer.Option(help="Membrane at which a neuron spikes.")] = TrainOptions.threshold,
    reset: Annotated[Reset, typer.Option(help="hard: to 0; soft: minus the threshold.")] = RESET,
    encoding: Annotated[
        Encoding | None, typer.Option(help="How a pixel enters: graded if absent; events enter as spikes.")
    ] = None,
    batch: Annotated[int, typer.Option(help="Samples per step of the optimiser.")] = TrainOptions.batch,
    lr: Annotated[float, typer.Option(help="Learning rate at the start.")] = TrainOptions.lr,
    alpha: Annotated[
        float | None, typer.Option(help="Strength of Grad R's prior, as published; the density counts if absent.")
    ] = None,
    count: Annotated[Count, typer.Option(help="What the density is a share of.")] = COUNT,
    fit: Annotated[str | None, typer.Option(help="Train so that the network fits --cores of this chip.")] = None,
    cores: Annotated[int | None, typer.Option(help="Cores of the chip of --fit.")] = None,
    validation: Annotated[
        float, typer.Option(help="Share of the training samples for validation.")
    ] = TrainOptions.validation,
    network: Annotated[
        str | None, typer.Option(help="A name, a list of layers or a TOML file, instead of --hidden.")
    ] = None,
    quantise_aware: Annotated[
        bool, typer.Option("--quantise-aware", help="Train with the weights that loihi2 will have.")
    ] = False,
    augment: Annotated[bool, typer.Option("--augment", help="Change the training samples at random.")] = False,
    data_dir: DataDir = None,
    resume: Annotated[Path | None, typer.Option(help="Go on from the state of an interrupted run.")] = None,
    log: Annotated[Path | None, typer.Option(help="A folder for TensorBoard and the run's settings.")] = None,
    device: Annotated[Device, typer.Option(help="Where it trains.")] = Device.cpu,
    debug: Debug = False,
) -> None:
    """Train a spiking network and prune it while it trains."""
    sizes = _sizes(hidden)
    options = TrainOptions(
        data=data, method=method.value, density=density, epochs=epochs, seed=seed, out=out, hidden=sizes, steps=steps,
        tau=tau, threshold=threshold, reset=reset.value, encoding=None if encoding is None else encoding.value,
        batch=batch, lr=lr, alpha=alpha, count=count.value, fit=fit, cores=cores, validation=validation,
        network=network, quantise_aware=quantise_aware, augment=augment, data_dir=data_dir, resume=resume, log=log,
        device=device.value,
    )  # fmt: skip
    if rank() == 0:
        check_writable(out)
    try:
        from .frontend.trainer import train as run_training
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise DataError("snn-train", "needs PyTorch, which is not installed", "install the extra 'train'") from error
    from .frontend.data import load as load_data
    from .frontend.progress import training_bar

    with world(options.device) as processes:
        dataset = processes.together(lambda: load_data(data, data_dir, steps))
        if not processes.first:
            run_training(options, None, dataset, processes)
            return
        if dataset.note:
            print(f"note: {dataset.note}", file=sys.stderr)
        with training_bar(epochs) as progress:
            result = run_training(options, progress, dataset, processes)
    share = f"{result.connectivity:.2%} of the weights"
    if round(result.synapse_connectivity, 4) != round(result.connectivity, 4):
        share += f", {result.synapse_connectivity:.2%} of the synapses"
    print(f"wrote {result.out}: {share}, best epoch {result.best_epoch}")
    print(f"test accuracy  {result.test_accuracy:.2%} in PyTorch's float")
    _print_chip_accuracy(result.network, dataset)


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in text.split(",") if size.strip())
    except ValueError:
        raise DataError("--hidden", f"is {text!r}", "give sizes with commas, such as 256,128") from None


def _print_chip_accuracy(network: Any, data: DataSet) -> None:
    """What the trained network gives in the integers of loihi2, where it can go there."""
    from .compiler.pipeline import compile_network
    from .hw_targets import chip as chips
    from .runtime.engine import run_engine

    try:
        compiled = compile_network(network, chips.load("loihi2"))
    except SnnCompileError as error:
        print(f"not for loihi2: {error}")
        return
    result = run_engine(compiled.network, data.test_samples)
    print(f"               {_accuracy(result, data):.2%} in the integers of loihi2")


def _accuracy(result: RunResult, data: DataSet) -> float:
    return float((result.predictions == data.test_labels[: len(result.counts)]).mean())


def _compile(
    model: Annotated[Path | None, typer.Argument(help="A checkpoint of snn-train.")] = None,
    target: Annotated[str | None, typer.Option(help="The chip, such as loihi2.")] = None,
    out: Annotated[Path | None, typer.Option(help="The program to write; MODEL.snnc if absent.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write the report as one HTML page.")] = None,
    json: JsonOut = None,
    board: Annotated[str | None, typer.Option(help="The board; the smallest with enough chips if absent.")] = None,
    effort: Annotated[Effort, typer.Option(help="How hard to search for few axons between cores.")] = Effort.fast,
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
            network, chip, board=board, effort=effort.value, source=source,
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
    json: JsonOut = None,
    debug: Debug = False,
) -> None:
    """Run a compiled program over a data set, from its tables."""
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
        result, agrees = evaluate(network, samples, backend.value, progress)
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
    lines.append(f"accuracy  {_accuracy(result, data):.2%} in {result.backend}")
    if agrees:
        lines.append(f"accuracy  {_accuracy(result, data):.2%} in engine: every spike equal to {result.backend}'s")
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


train = _command(_train)
compile_ = _command(_compile)
run = _command(_run)
report = _command(_report)
