"""The command snn-train."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .atomic import check_writable
from .cli import DataDir, Debug, Encoding, Reset, command
from .errors import DataError, SnnCompileError
from .frontend.options import TrainOptions
from .frontend.processes import rank, world

if TYPE_CHECKING:
    from .frontend.data import DataSet


class Method(str, Enum):
    """How connections are pruned in training."""

    grad_r = "grad-r"
    deep_r = "deep-r"
    stds = "stds"
    rigl = "rigl"
    set = "set"
    dense = "dense"


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
    print(f"               {result.accuracy(data.test_labels):.2%} in the integers of loihi2")


train = command(_train)
