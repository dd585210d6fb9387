"""Training: data set in, checkpoint out; the same seed gives the same weights."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..atomic import check_writable
from ..compiler.network import Network
from ..compiler.nodes import LIF, Input
from ..errors import UnsupportedError
from .checkpoint import write_checkpoint
from .controller import DensityController
from .data import DataSet, load
from .gradr import GradR, connectivity
from .model import SpikingNetwork, fully_connected
from .options import TrainOptions

CALIBRATION_SAMPLES = 64

FAR_BELOW = 1e-9
"""The prior's density while alpha is steered: mu = -20 / alpha, below what theta reaches, so that the pull is downward
everywhere (as in the published code, whose mu is -2303)."""


@dataclass(frozen=True)
class Epoch:
    """How far a run is, after one epoch; `alpha` is None without Grad R."""

    number: int
    epochs: int
    loss: float
    validation_accuracy: float
    connectivity: float
    alpha: float | None
    on_target: bool


@dataclass(frozen=True)
class TrainResult:
    """What a run gave: the network as written, and its figures (`Network.facts` holds them too)."""

    network: Network
    test_accuracy: float
    validation_accuracy: float
    connectivity: float
    best_epoch: int
    out: Path


Progress = Callable[[Epoch], None]


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Sums in PyTorch depend on the number of threads; with one, a seed decides everything."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@torch.no_grad()
def accuracy(model: SpikingNetwork, samples: Tensor, labels: Tensor, batch: int = 256) -> float:
    """Share of samples whose label has the highest firing rate (the first of equals)."""
    model.eval()
    hits = 0
    for some, truth in zip(torch.split(samples, batch), torch.split(labels, batch), strict=True):
        hits += int((model(some).argmax(1) == truth).sum())
    return hits / len(samples)


class _Run:
    """One training run: model, optimisers, the split, the best weights so far."""

    def __init__(self, options: TrainOptions, data: DataSet) -> None:
        self.options = options
        self.random = torch.Generator().manual_seed(options.seed)
        order = torch.randperm(len(data.train_samples), generator=self.random)
        held_out = max(1, int(options.validation * len(order)))
        samples, labels = torch.from_numpy(data.train_samples), torch.from_numpy(data.train_labels)
        self.validation = samples[order[:held_out]], labels[order[:held_out]]
        self.samples, self.labels = samples[order[held_out:]], labels[order[held_out:]]
        self.classes = data.classes
        source = Input("input", shape=data.shape, max_value=data.max_value, encoding=options.encoding)
        neuron = LIF("neuron", tau=options.tau, threshold=options.threshold, reset=options.reset)
        plain = fully_connected(source, (*options.hidden, data.classes), neuron, options.steps)
        torch.manual_seed(options.seed)
        self.model = SpikingNetwork(plain)
        self.model.reset_parameters()
        self.total = options.epochs * math.ceil(len(self.samples) / options.batch)
        self.step = 0
        self.best: tuple[float, float] | None = None
        self.best_epoch = 0
        self._optimisers()

    def _optimisers(self) -> None:
        options, others = self.options, self.model.other_parameters()
        self.optimisers: list[torch.optim.Optimizer] = [torch.optim.Adam(others, options.lr)] if others else []
        self.rewiring: GradR | None = None
        self.controller: DensityController | None = None
        weights = self.model.pruned_weights()
        if options.method == "dense":
            self.optimisers.append(torch.optim.Adam(weights, options.lr))
            return
        prior = FAR_BELOW if options.alpha is None else min(0.5, options.density)
        self.rewiring = GradR(weights, options.lr, alpha=options.alpha or 0.0, density=prior)
        self.optimisers.append(self.rewiring)
        if options.alpha is None:
            self.controller = DensityController(self.rewiring, options.density, self.total)

    @property
    def on_target(self) -> bool:
        """Whether the weights of now may be kept: the connectivity is as asked, or nobody asked."""
        return self.controller is None or self.controller.frozen

    def epoch(self) -> float:
        """One pass over the training part; returns the mean loss."""
        self.model.train()
        losses = []
        for index in torch.split(torch.randperm(len(self.samples), generator=self.random), self.options.batch):
            lr = self.options.lr * (1 + math.cos(math.pi * self.step / self.total)) / 2
            for optimiser in self.optimisers:
                for group in optimiser.param_groups:
                    group["lr"] = lr
                optimiser.zero_grad()
            if self.controller is not None:
                self.controller.control(self.step, lr)
            wanted = F.one_hot(self.labels[index], self.classes).to(torch.float32)
            loss = F.mse_loss(self.model(self.samples[index]), wanted)
            loss.backward()  # type: ignore[no-untyped-call]
            for optimiser in self.optimisers:
                optimiser.step()
            losses.append(loss.detach())
            self.step += 1
        return float(torch.stack(losses).mean())

    def keep_best(self, number: int, validation_accuracy: float, loss: float) -> None:
        """Copies the weights if no epoch on target had a better validation accuracy (of equals: the lower loss)."""
        score = (validation_accuracy, -loss)
        if self.on_target and (self.best is None or score > self.best):
            self.best, self.best_epoch = score, number
            self.best_weights = {key: tensor.clone() for key, tensor in self.model.state_dict().items()}

    def report(self, number: int, loss: float) -> Epoch:
        """The figures of an epoch; the validation part is looked at, the test part is not."""
        share = connectivity(weight.detach() for weight in self.model.pruned_weights())
        alpha = None if self.rewiring is None else float(self.rewiring.param_groups[0]["alpha"])
        valid = accuracy(self.model, *self.validation)
        return Epoch(number, self.options.epochs, loss, valid, share, alpha, self.on_target)


def train(options: TrainOptions, progress: Progress | None = None) -> TrainResult:
    """Trains a fully connected spiking network and writes its checkpoint to `options.out`.

    Loss: mean squared error of the firing rate against one-hot. The epoch with the best validation accuracy is kept,
    among those that have the density; the test samples are used once, at the end.

    Args:
        progress: called after every epoch.

    Raises:
        DataError: the data set is unknown.
        UnsupportedError: the density was not reached within the epochs.
        OutputError: `options.out` cannot be written.
    """
    check_writable(options.out)
    data = load(options.data)
    with _one_thread():
        run = _Run(options, data)
        for number in range(1, options.epochs + 1):
            loss = run.epoch()
            epoch = run.report(number, loss)
            run.keep_best(number, epoch.validation_accuracy, loss)
            if progress is not None:
                progress(epoch)
        if run.best is None:
            raise UnsupportedError(
                "--density",
                f"is {options.density}, {epoch.connectivity:.4f} of the weights survive after {options.epochs} epochs",
                "train for more epochs or ask for a larger share",
                value=epoch.connectivity,
                limit=options.density,
            )
        return _finish(run, data)


def _finish(run: _Run, data: DataSet) -> TrainResult:
    """Measures the kept weights and writes the checkpoint."""
    options, model = run.options, run.model
    model.load_state_dict(run.best_weights)
    test = accuracy(model, torch.from_numpy(data.test_samples), torch.from_numpy(data.test_labels))
    share = connectivity(weight.detach() for weight in model.pruned_weights())
    facts: dict[str, Any] = {
        "data": options.data,
        "method": options.method,
        "density": options.density if options.method == "grad-r" else None,
        "epochs": options.epochs,
        "seed": options.seed,
        "test_accuracy": test,
        "test_samples": len(data.test_samples),
        "connectivity": share,
        "command": options.command,
    }
    rates = model.rates(torch.from_numpy(data.train_samples))
    network = model.to_network(rates, data.train_samples[:CALIBRATION_SAMPLES], facts)
    write_checkpoint(network, options.out)
    assert run.best is not None
    return TrainResult(network, test, run.best[0], share, run.best_epoch, options.out)
