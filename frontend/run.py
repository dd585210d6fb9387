"""The state of a training run in one object: it can be saved after an epoch, and go on bit for bit."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..compiler.network import Network
from ..compiler.nodes import LIF, Dropout, Input
from ..compiler.pipeline import compile_network
from ..errors import LimitError, NetworkError, SnnCompileError, UnsupportedError
from ..hw_targets import chip as chips
from ..runtime.engine import run_engine
from .data import DataSet
from .epoch import Epoch
from .fit import Fit, weight_costs
from .model import SpikingNetwork, fully_connected
from .networks import build
from .options import TrainOptions
from .parallel import ALONE, backward
from .processes import World
from .quantised import StraightThrough
from .rules import RULES, Rule, Settings, connectivity
from .schedule import cosine

CALIBRATION_SAMPLES = 64
RATE_SAMPLES = 5000
"""Training samples over which firing rates are measured, at most."""

TARGET = "loihi2"
"""The chip whose integers `TrainOptions.quantise_aware` trains for."""


@torch.no_grad()
def accuracy(model: SpikingNetwork, samples: Tensor, labels: Tensor, world: World = ALONE, batch: int = 256) -> float:
    """Share of samples whose label has the highest firing rate (the first of equals); the processes share the batches.

    The batches are the same for any number of processes, and so are the rates, to the last bit.
    """
    model.eval()
    hits = 0
    batches = list(zip(torch.split(samples, batch), torch.split(labels, batch), strict=True))
    for some, truth in batches[world.rank :: world.size]:
        hits += int((model(some).argmax(1) == truth).sum())
    return world.count(hits) / len(samples)


def build_model(options: TrainOptions, data: DataSet) -> SpikingNetwork:
    """The network that the options describe, with the initial weights of their seed."""
    encoding = options.encoding or "graded"
    source = Input("input", shape=data.shape, max_value=data.max_value, encoding=encoding)
    neuron = LIF("neuron", tau=options.tau, threshold=options.threshold, reset=options.reset)
    if options.network is None:
        plain = fully_connected(source, (*options.hidden, data.classes), neuron, options.steps)
    else:
        plain = build(options.network, source, neuron, options.steps, data.name)
    outputs = math.prod(plain.shapes[plain.outputs[0]]) // plain.votes
    if outputs != data.classes:
        problem = f"ends with {outputs} classes, {data.name} has {data.classes}"
        raise UnsupportedError("--network", problem, "change its last layer or its votes", value=outputs)
    torch.manual_seed(options.seed)
    model = SpikingNetwork(plain)
    model.reset_parameters()
    return model


class Run:
    """Model, rule, optimiser of the rest, random numbers, the epoch, the best weights so far.

    Attributes:
        rule: prunes and trains the weights of linear layers and convolutions.
        rest: plain Adam for biases and batch norm; None where there are none.
        random: decides the split, the order of the samples and the augmentation.
        done: epochs that are finished.
        best: (validation accuracy, -loss) of the weights in `best_weights`, those of epoch `best_epoch`.
    """

    def __init__(
        self, options: TrainOptions, data: DataSet, pool: ThreadPoolExecutor | None = None, world: World = ALONE
    ) -> None:
        self.options = options
        self.pool = pool
        self.world = world
        self.random = torch.Generator().manual_seed(options.seed)
        order = torch.randperm(len(data.train_samples), generator=self.random)
        held_out = max(1, int(options.validation * len(order)))
        samples = torch.from_numpy(data.train_samples).to(world.device)
        labels = torch.from_numpy(data.train_labels).to(world.device)
        self.validation = samples[order[:held_out]], labels[order[:held_out]]
        self.samples, self.labels = samples[order[held_out:]], labels[order[held_out:]]
        self.classes = data.classes
        self.augment = _augmentation(data) if options.augment else None
        self.model = build_model(options, data).to(world.device)
        self.drops = any(isinstance(node, Dropout) for node in self.model.network.nodes)
        self.total = options.epochs * math.ceil(len(self.samples) / options.batch)
        self.step, self.done, self.lr = 0, 0, 0.0
        self.best: tuple[float, float] | None = None
        self.best_epoch = 0
        self.best_weights: dict[str, Tensor] = {}
        self.rates_over = torch.from_numpy(data.train_samples[:RATE_SAMPLES]).to(world.device)
        self.calibration = data.train_samples[:CALIBRATION_SAMPLES]
        self.synapses = [costs.to(world.device) for costs in weight_costs(self.model.network)]
        by_synapses = options.count == "synapses" or options.fit is not None
        settings = Settings(
            density=options.density,
            steps=self.total,
            alpha=options.alpha,
            seed=options.seed,
            costs=self.synapses if by_synapses else None,
        )
        self.rule: Rule = RULES[options.method](self.model.pruned_weights(), settings)
        self.fit: Fit | None = None
        if options.fit is not None and options.cores is not None:
            self.fit = Fit(chips.load(options.fit), options.cores)
            self.fit.guess(self.rule.bill)
        self.rule.pool = pool
        others = self.model.other_parameters()
        self.rest = torch.optim.Adam(others, options.lr) if others else None
        self.straight = StraightThrough(self.model, chips.load(TARGET)) if options.quantise_aware else None

    def one_pass(self) -> float:
        """Every sample of the training part once, in an order drawn anew; returns the mean loss."""
        if self.straight is not None:
            with contextlib.suppress(NetworkError, LimitError):  # no spikes yet: float weights
                self.straight.refresh()
        self.model.train()
        order = torch.randperm(len(self.samples), generator=self.random)
        losses = [self._step(index) * len(index) for index in torch.split(order, self.options.batch)]
        return float(torch.stack(losses).sum() / len(order))

    def accuracy(self, samples: Tensor, labels: Tensor) -> float:
        """Share of samples that the weights of now tell right: in float, or on the chip where training is for it."""
        if self.straight is None:
            return accuracy(self.model, samples, labels, self.world)
        return self.chip_accuracy(samples, labels)

    def chip_accuracy(self, samples: Tensor, labels: Tensor) -> float:
        """The same in the integers of loihi2; 0 where the network cannot go there."""
        try:
            network = compile_network(self.model.to_network(), chips.load(TARGET)).network
        except SnnCompileError:
            return 0.0
        return run_engine(network, samples.cpu().numpy()).accuracy(labels.cpu().numpy())

    def epoch(self) -> Epoch:
        """One pass over the training part; the validation part is looked at, the test part is not."""
        loss = self.one_pass()
        self.done += 1
        self.world.check_same([*self.model.state_dict().values(), *self.rule.active()], self.done)
        valid = self.accuracy(*self.validation)
        on_target = self.rule.settled
        if self.fit is not None:
            self.fit.update(self.network(), self.alive_synapses(), self.rule)
            on_target = self.fit.fits
        if on_target:
            self._keep_best((valid, -loss))
        layers = dict(zip(self._layers(), self.rule.densities(), strict=True))
        pruned, regrown = self.rule.changes()
        return Epoch(
            number=self.done,
            epochs=self.options.epochs,
            loss=loss,
            validation_accuracy=valid,
            connectivity=self.rule.connectivity(),
            synapse_connectivity=self.shares()[1],
            on_target=on_target,
            densities=layers,
            pruned=pruned,
            regrown=regrown,
            lr=self.lr,
            cores=None if self.fit is None or self.fit.latest is None else self.fit.latest.filled,
        )

    def network(self, facts: Mapping[str, Any] | None = None) -> Network:
        """The network with the weights of now, firing rates, and samples to calibrate with."""
        return self.model.to_network(self.model.rates(self.rates_over), self.calibration, facts)

    def shares(self) -> tuple[float, float]:
        """Weights other than 0 / weights, and the unrolled synapses that they become / those of all weights."""
        weights = [weight.detach() for weight in self.model.pruned_weights()]
        return connectivity(weights), self.alive_synapses() / sum(int(c.sum()) for c in self.synapses)

    def alive_synapses(self) -> int:
        """Unrolled synapses that the weights other than 0 become."""
        weights = self.model.pruned_weights()
        return sum(int(((w.detach() != 0) * c).sum()) for w, c in zip(weights, self.synapses, strict=True))

    def _step(self, index: Tensor) -> Tensor:
        """One step of all optimisers on the samples of `index`; returns the mean loss over them."""
        self.lr = cosine(self.options.lr, self.step, self.total)
        samples = self.samples[index]
        if self.augment is not None:
            samples = self.augment(samples, self.random)
        self.rule.zero_grad()
        if self.rest is not None:
            self.rest.zero_grad()
            self.rest.param_groups[0]["lr"] = self.lr
        wanted = F.one_hot(self.labels[index], self.classes).to(torch.float32)
        seed = int(torch.randint(2**62, (), generator=self.random)) if self.drops else 0
        with contextlib.nullcontext() if self.straight is None else self.straight.applied():
            loss = backward(self.model, samples, wanted, self.pool, self.world, seed)
        self.rule.before_step(self.step, self.lr)
        self.rule.step()
        if self.rest is not None:
            self.rest.step()
        self.step += 1
        return loss

    def _keep_best(self, score: tuple[float, float]) -> None:
        """Copies the weights if no epoch on target had a better validation accuracy (of equals: the lower loss)."""
        if self.best is None or score > self.best:
            self.best, self.best_epoch = score, self.done
            self.best_weights = {key: tensor.clone() for key, tensor in self.model.state_dict().items()}

    def _layers(self) -> list[str]:
        """The names of the layers whose weights are pruned, in the rule's order."""
        names = {id(parameter): name.rpartition(".")[0] for name, parameter in self.model.named_parameters()}
        return [names[id(weight)] for weight in self.model.pruned_weights()]

    def state_dict(self) -> dict[str, Any]:
        """A copy of all that the next epochs depend on, besides options and data: plain numbers and tensors.

        Between two epochs only.
        """
        counters = {key: getattr(self, key) for key in ("step", "done", "lr", "best_epoch", "total")}
        state = {
            **counters,
            "best": None if self.best is None else list(self.best),
            "best_weights": dict(self.best_weights),
            "model": dict(self.model.state_dict()),
            "rest": None if self.rest is None else self.rest.state_dict(),
            "random": self.random.get_state(),
            "fit": None if self.fit is None else self.fit.state_dict(),
        }
        return {**copy.deepcopy(state), "rule": self.rule.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over what `state_dict` gave.

        Raises:
            KeyError, ValueError, RuntimeError, TypeError: it is the state of another run.
        """
        if state["total"] != self.total or (state["rest"] is None) != (self.rest is None):
            raise ValueError(f"steps: {state['total']} in the state, {self.total} in this run")
        for key in ("step", "done", "lr", "best_epoch"):
            setattr(self, key, type(getattr(self, key))(state[key]))
        self.best = None if state["best"] is None else (float(state["best"][0]), float(state["best"][1]))
        self.best_weights = dict(state["best_weights"])
        self.model.load_state_dict(state["model"])
        self.rule.load_state_dict(state["rule"])
        if self.rest is not None:
            self.rest.load_state_dict(state["rest"])
        if self.fit is not None:
            self.fit.load_state_dict(state["fit"])
        self.random.set_state(state["random"])


def _augmentation(data: DataSet) -> Callable[[Tensor, torch.Generator], Tensor] | None:
    """What the data set's samples go through at random in training: raw units in, raw units out; None: nothing."""
    from .augment import augmentation

    return augmentation(data)
