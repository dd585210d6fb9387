"""What `snn-train` can be told; no torch, so that `--help` answers at once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import UnsupportedError
from ..hw_targets.chip import load, names

METHODS = ("grad-r", "deep-r", "stds", "rigl", "set", "dense")
CHOICES = {
    "method": METHODS,
    "reset": ("hard", "soft"),
    "encoding": ("graded", "rate", "spikes"),
    "count": ("weights", "synapses"),
    "device": ("cpu", "cuda"),
}
EVENTS = ("nmnist", "dvs-gesture", "shd")
"""Data sets whose samples are spikes already."""


@dataclass(frozen=True)
class TrainOptions:
    """One training run; the fields are the command's flags.

    Attributes:
        data: name of a data set (`data.load`).
        method: the pruning rule (`rules`); ``dense`` is plain Adam.
        density: share of the weights that shall survive (not for ``dense``).
        count: what the density is a share of: ``weights``, or the ``synapses`` that they become on the chip
            (``grad-r`` only).
        fit: a chip whose bill decides the density (``grad-r`` only); None: `density` does.
        cores: of that chip, that the network may take.
        epochs, seed, batch, lr: as everywhere; the learning rate falls to 0 along a cosine.
        hidden: sizes of the hidden spiking layers, where there is no `network`.
        network: a name, a list of layers or a TOML file (`networks`); None: fully connected, as `hidden` says.
        quantise_aware: train with the weights that loihi2 will have, and judge by what it computes.
        steps: T, steps per sample.
        tau, threshold, reset: of every LIF population.
        encoding: ``graded`` (a pixel's value at every step) or ``rate`` (spikes at that rate); events are sent as they
            are, ``spikes``. None: as the data set asks.
        alpha: strength of Grad R's prior, as published; None: `density` is reached (``grad-r`` only).
        validation: share of the training samples that chooses the epoch to keep.
        data_dir: where the files of the data set are.
        augment: change the training samples at random, where the data set says how.
        out: the checkpoint to write.
        resume: the state of an interrupted run (`resume`) to go on from.
        log: a folder for TensorBoard's event files and the run's settings.
        device: where it trains, ``cpu`` or ``cuda``; the weights are the same up to rounding.

    Raises:
        UnsupportedError: an option is out of its range.

    >>> TrainOptions(density=0.05, epochs=40, out=Path("model.pt")).command
    'snn-train --data digits --method grad-r --density 0.05 --epochs 40 --seed 0 --out model.pt'
    """

    data: str = "digits"
    method: Literal["grad-r", "deep-r", "stds", "rigl", "set", "dense"] = "grad-r"
    density: float = 0.1
    epochs: int = 200
    seed: int = 0
    hidden: tuple[int, ...] = (256,)
    network: str | None = None
    quantise_aware: bool = False
    steps: int = 8
    tau: float = 2.0
    threshold: float = 1.0
    reset: Literal["hard", "soft"] = "hard"
    encoding: Literal["graded", "rate", "spikes"] | None = None
    batch: int = 64
    lr: float = 1e-2
    alpha: float | None = None
    count: Literal["weights", "synapses"] = "weights"
    fit: str | None = None
    cores: int | None = None
    validation: float = 0.1
    data_dir: Path | None = None
    augment: bool = False
    out: Path = Path("model.pt")
    resume: Path | None = None
    log: Path | None = None
    device: Literal["cpu", "cuda"] = "cpu"

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        for key in ("out", "data_dir", "resume", "log"):
            value = getattr(self, key)
            object.__setattr__(self, key, None if value is None else Path(value))
        if self.encoding is None:
            object.__setattr__(self, "encoding", self._natural)
        for key, choices in CHOICES.items():
            self._check(key, getattr(self, key) in choices, f"use {' or '.join(choices)}")
        self._check("density", 0 < self.density <= 1, "choose a share above 0 and up to 1")
        self._check("validation", 0 < self.validation <= 0.5, "choose a share above 0 and up to 0.5")
        self._check("alpha", self.alpha is None or 0 <= self.alpha < float("inf"), "choose 0 or more")
        alone = self.alpha is None or self.method == "grad-r"
        self._check("alpha", alone, "leave it out, or use --method grad-r, whose prior it is")
        self._check("count", self.count == "weights" or self.method == "grad-r", "leave it out, or use --method grad-r")
        self._check("fit", self.fit is None or self.method == "grad-r", "leave it out, or use --method grad-r")
        self._check("fit", self.fit is None or self.alpha is None, "leave out --alpha")
        self._check("fit", self.fit is None or self.count == "weights", "leave out --count: the chip's bill counts")
        self._check("fit", self.fit is None or self.fit in names(), f"use {' or '.join(names())}")
        one_chip = self.fit is None or self.fit == "loihi2" or not self.quantise_aware
        self._check("fit", one_chip, "leave out --quantise-aware, which trains for loihi2")
        self._check("fit", self.fit is None or self.cores is not None, "say with --cores how many it may take")
        self._check("cores", self.cores is None or self.fit is not None, "say with --fit of which chip")
        self._check("cores", self.cores is None or self.cores >= 1, "choose 1 or more")
        if self.fit is not None and self.cores is not None:
            chip = load(self.fit)
            most = chip.cores_per_chip * max(int(board.chips[0]) for board in chip.boards.values())
            self._check("cores", self.cores <= most, f"the largest board of {self.fit} has {most}")
        for key in ("epochs", "steps", "batch"):
            self._check(key, getattr(self, key) >= 1, "choose 1 or more")
        self._check("seed", 0 <= self.seed < 2**63, "choose 0 or more")
        self._check("hidden", all(size >= 1 for size in self.hidden), "choose sizes of 1 or more")
        self._check("lr", 0 < self.lr < float("inf"), "choose a positive number")
        fits = (self.encoding == "spikes") == (self.data in EVENTS)
        self._check("encoding", fits, f"leave it out: {self.data} is sent as {self._natural}")
        still = not (self.augment and self.data in EVENTS)
        self._check("augment", still, f"leave it out: it changes images, {self.data} is events")
        self._check("tau", 1 <= self.tau < float("inf"), "choose 1 or more")
        self._check("threshold", 0 < self.threshold < float("inf"), "choose a positive number")

    def _check(self, key: str, condition: bool, way_out: str) -> None:
        if not condition:
            raise UnsupportedError(f"--{key}", f"is {getattr(self, key)}", way_out)

    @property
    def _natural(self) -> Literal["graded", "spikes"]:
        """The encoding of the data set where none is asked for."""
        return "spikes" if self.data in EVENTS else "graded"

    @property
    def command(self) -> str:
        """The command that repeats this run; flags that stand at their default are left out after `--seed`."""
        always = ("data", "method", "density", "epochs", "seed", "out")
        words = ["snn-train"]
        late: list[str] = []
        for spec in dataclasses.fields(self):
            value, flag = getattr(self, spec.name), spec.name.replace("_", "-")
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            if spec.name == "out":
                late = ["--out", Path(text).as_posix()]
            elif spec.name in ("resume", "log", "data_dir", "device"):  # they do not change what is meant
                continue
            elif isinstance(value, bool):
                words += [f"--{flag}"] if value else []
            elif spec.name == "density" and (self.method == "dense" or self.fit is not None):
                continue
            elif spec.name in always or value != (self._natural if spec.name == "encoding" else spec.default):
                words += [f"--{flag}", text]
        return " ".join(words + late)
