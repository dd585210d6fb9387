"""Training: data set in, checkpoint out; the same seed gives the same weights."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..atomic import check_writable
from ..compiler.network import Network
from ..errors import UnsupportedError
from .checkpoint import write_checkpoint
from .data import DataSet, load
from .epoch import Epoch, Log
from .options import TrainOptions
from .parallel import LEAST, gradient_pool
from .processes import World
from .processes import world as join
from .resume import Keeper, read_resume, resume_path
from .run import Run, accuracy


@dataclass(frozen=True)
class TrainResult:
    """What a run gave: the network as written, and its figures (`Network.facts` holds them too)."""

    network: Network
    test_accuracy: float
    validation_accuracy: float
    connectivity: float
    synapse_connectivity: float
    best_epoch: int
    out: Path


Progress = Callable[[Epoch], None]


def train(
    options: TrainOptions,
    progress: Progress | None = None,
    data: DataSet | None = None,
    world: World | None = None,
) -> TrainResult:
    """Trains a spiking network and writes its checkpoint to `options.out`.

    Loss: mean squared error of the firing rate against one-hot. The epoch with the best validation accuracy is kept,
    among those that have the density; the test samples are used once, at the end. While it runs, its state is written
    beside `options.out` (`resume`), from where `options.resume` goes on.

    In several processes every one returns the result; the first one writes.

    Args:
        progress: called after every epoch, in the first process.
        data: the data set of the options, where it was loaded already.
        world: the processes, where the caller has joined them; else they are joined here (`processes.world`).

    Raises:
        DataError: the data set is unknown, or its files are missing or damaged.
        UnsupportedError: the density was not reached within the epochs; a batch is too small for so many processes.
        ProcessError: another process failed, or has other weights.
        ModelFileError: `options.resume` is broken or of another run.
        OutputError: `options.out`, the resume file or `options.log` cannot be written.
        TrainingInterrupted: ^C, after the state of the last finished epoch was written.
    """
    joining = join(options.device) if world is None else contextlib.nullcontext(world)
    with joining as processes, gradient_pool() as pool:
        run, samples = processes.together(lambda: _begin(options, data, pool, processes))
        keeper = Keeper(run)
        try:
            _epochs(run, keeper, progress)
            if processes.size > 1:  # from here on they no longer agree to stop
                keeper.write()
            result = _finish(run, samples)
        except KeyboardInterrupt as error:
            raise processes.together(keeper.interrupted) from error
        keeper.remove()
    return result


def _begin(options: TrainOptions, data: DataSet | None, pool: ThreadPoolExecutor, world: World) -> tuple[Run, DataSet]:
    """The run where it begins or goes on, and its data."""
    least = world.size * LEAST
    if world.size > 1 and options.batch < least:
        problem = f"is {options.batch}, {world.size} processes need {least} or more"
        raise UnsupportedError(
            "--batch", problem, "raise it, or start fewer processes", value=options.batch, limit=least
        )
    if world.first:
        check_writable(options.out)
        check_writable(resume_path(options.out))
    data = load(options.data, options.data_dir, options.steps) if data is None else data
    run = Run(options, data, pool, world)
    if options.resume is not None:
        read_resume(run, options.resume)
    return run, data


def _epochs(run: Run, keeper: Keeper, progress: Progress | None) -> None:
    """The epochs that are left."""
    options = run.options if run.world.first else dataclasses.replace(run.options, log=None)
    log = Log(options, run.done + 1)
    try:
        while run.done < options.epochs:
            epoch = run.epoch()
            keeper.epoch()
            log.write(epoch)
            if progress is not None and run.world.first:
                progress(epoch)
    finally:
        log.close()


def _finish(run: Run, data: DataSet) -> TrainResult:
    """Measures the kept weights and writes the checkpoint."""
    options, model = run.options, run.model
    if run.best is None:
        raise _off_target(run)
    model.load_state_dict(run.best_weights)
    samples, labels = torch.from_numpy(data.test_samples), torch.from_numpy(data.test_labels)
    test = accuracy(model, samples.to(run.world.device), labels.to(run.world.device), run.world)
    share, synapses = run.shares()
    facts: dict[str, Any] = {
        "data": options.data,
        "method": options.method,
        "density": None if options.method == "dense" or options.fit else options.density,
        "epochs": options.epochs,
        "seed": options.seed,
        "test_accuracy": test,
        "test_samples": len(data.test_samples),
        "connectivity": share,
        "synapse_connectivity": synapses,
        "command": options.command,
    }
    network = run.network(facts)
    run.world.together(lambda: write_checkpoint(network, options.out) if run.world.first else None)
    return TrainResult(network, test, run.best[0], share, synapses, run.best_epoch, options.out)


def _off_target(run: Run) -> UnsupportedError:
    """No epoch had what was asked for."""
    options, fit = run.options, run.fit
    if fit is not None:
        taken = fit.problem if fit.fewest is None else f"took {fit.fewest} at least"
        problem = f"is {options.cores} of {options.fit}, the network {taken} in {options.epochs} epochs"
        way_out = "train for more epochs, allow more cores or take a smaller network"
        return UnsupportedError("--cores", problem, way_out, limit=options.cores)
    share, synapses = run.shares()
    which, what = (synapses, "synapses") if options.count == "synapses" else (share, "weights")
    problem = f"is {options.density}, {which:.4f} of the {what} survive after {options.epochs} epochs"
    way_out = "train for more epochs or ask for another share"
    return UnsupportedError("--density", problem, way_out, value=which, limit=options.density)
