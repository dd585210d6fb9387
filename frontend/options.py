"""What `snn-train` can be told; no torch, so that `--help` answers at once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import UnsupportedError

METHODS = ("grad-r", "deep-r", "stds", "rigl", "set", "dense")
CHOICES = {"method": METHODS, "reset": ("hard", "soft"), "encoding": ("graded", "rate"), "device": ("cpu", "cuda")}


@dataclass(frozen=True)
class TrainOptions:
    """One training run; the fields are the command's flags.

    Attributes:
        data: name of a data set (`data.load`).
        method: the pruning rule (`rules`); ``dense`` is plain Adam.
        density: share of the weights that shall survive (not for ``dense``).
        epochs, seed, batch, lr: as everywhere; the learning rate falls to 0 along a cosine.
        hidden: sizes of the hidden spiking layers, where there is no `network`.
        network: a name, a list of layers or a TOML file (`networks`); None: fully connected, as `hidden` says.
        quantise_aware: train with the weights that loihi2 will have, and judge by what it computes.
        steps: T, steps per sample.
        tau, threshold, reset: of every LIF population.
        encoding: ``graded`` (a pixel's value at every step) or ``rate`` (spikes at that rate).
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
    encoding: Literal["graded", "rate"] = "graded"
    batch: int = 64
    lr: float = 1e-2
    alpha: float | None = None
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
        for key, choices in CHOICES.items():
            self._check(key, getattr(self, key) in choices, f"use {' or '.join(choices)}")
        self._check("density", 0 < self.density <= 1, "choose a share above 0 and up to 1")
        self._check("validation", 0 < self.validation <= 0.5, "choose a share above 0 and up to 0.5")
        self._check("alpha", self.alpha is None or 0 <= self.alpha < float("inf"), "choose 0 or more")
        alone = self.alpha is None or self.method == "grad-r"
        self._check("alpha", alone, "leave it out, or use --method grad-r, whose prior it is")
        for key in ("epochs", "steps", "batch"):
            self._check(key, getattr(self, key) >= 1, "choose 1 or more")
        self._check("seed", 0 <= self.seed < 2**63, "choose 0 or more")
        self._check("hidden", all(size >= 1 for size in self.hidden), "choose sizes of 1 or more")
        self._check("lr", 0 < self.lr < float("inf"), "choose a positive number")
        self._check("tau", 1 <= self.tau < float("inf"), "choose 1 or more")
        self._check("threshold", 0 < self.threshold < float("inf"), "choose a positive number")

    def _check(self, key: str, condition: bool, way_out: str) -> None:
        if not condition:
            raise UnsupportedError(f"--{key}", f"is {getattr(self, key)}", way_out)

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
            elif spec.name == "density" and self.method == "dense":
                continue
            elif spec.name in always or value != spec.default:
                words += [f"--{flag}", text]
        return " ".join(words + late)
