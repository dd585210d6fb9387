"""Training: data set in, checkpoint out; the same seed gives the same weights."""

from __future__ import annotations

from collections.abc import Callable
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
from .parallel import gradient_pool
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


def train(options: TrainOptions, progress: Progress | None = None, data: DataSet | None = None) -> TrainResult:
    """Trains a spiking network and writes its checkpoint to `options.out`.

    Loss: mean squared error of the firing rate against one-hot. The epoch with the best validation accuracy is kept,
    among those that have the density; the test samples are used once, at the end. While it runs, its state is written
    beside `options.out` (`resume`), from where `options.resume` goes on.

    Args:
        progress: called after every epoch.
        data: the data set of the options, where it was loaded already.

    Raises:
        DataError: the data set is unknown, or its files are missing or damaged.
        UnsupportedError: the density was not reached within the epochs.
        ModelFileError: `options.resume` is broken or of another run.
        OutputError: `options.out`, the resume file or `options.log` cannot be written.
        TrainingInterrupted: ^C, after the state of the last finished epoch was written.
    """
    check_writable(options.out)
    check_writable(resume_path(options.out))
    data = load(options.data, options.data_dir, options.steps) if data is None else data
    with gradient_pool() as pool:
        run = Run(options, data, pool)
        if options.resume is not None:
            read_resume(run, options.resume)
        keeper = Keeper(run)
        try:
            _epochs(run, keeper, progress)
            result = _finish(run, data)
        except KeyboardInterrupt as error:
            raise keeper.interrupted() from error
        keeper.remove()
    return result


def _epochs(run: Run, keeper: Keeper, progress: Progress | None) -> None:
    """The epochs that are left."""
    log = Log(run.options, run.done + 1)
    try:
        while run.done < run.options.epochs:
            epoch = run.epoch()
            keeper.epoch()
            log.write(epoch)
            if progress is not None:
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
    test = accuracy(model, samples, labels)
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
    write_checkpoint(network, options.out)
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
