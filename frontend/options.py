"""What `snn-train` can be told; no torch, so that `--help` answers at once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import UnsupportedError


@dataclass(frozen=True)
class TrainOptions:
    """One training run; the fields are the command's flags.

    Attributes:
        data: name of a data set (`data.load`).
        method: ``grad-r`` (gradient rewiring) or ``dense`` (plain Adam).
        density: share of the weights that shall survive (``grad-r``).
        epochs, seed, batch, lr: as everywhere; the learning rate falls to 0 along a cosine.
        hidden: sizes of the hidden spiking layers.
        steps: T, steps per sample.
        tau, threshold, reset: of every LIF population.
        encoding: ``graded`` (a pixel's value at every step) or ``rate`` (spikes at that rate).
        alpha: strength of Grad R's prior, constant; None: steered so that `density` is reached.
        validation: share of the training samples that chooses the epoch to keep.
        out: the checkpoint to write.

    Raises:
        UnsupportedError: an option is out of its range.

    >>> TrainOptions(density=0.05, epochs=40, out=Path("model.pt")).command
    'snn-train --data digits --method grad-r --density 0.05 --epochs 40 --seed 0 --out model.pt'
    """

    data: str = "digits"
    method: Literal["grad-r", "dense"] = "grad-r"
    density: float = 0.1
    epochs: int = 200
    seed: int = 0
    hidden: tuple[int, ...] = (256,)
    steps: int = 8
    tau: float = 2.0
    threshold: float = 1.0
    reset: Literal["hard", "soft"] = "hard"
    encoding: Literal["graded", "rate"] = "graded"
    batch: int = 64
    lr: float = 1e-2
    alpha: float | None = None
    validation: float = 0.1
    out: Path = Path("model.pt")

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        object.__setattr__(self, "out", Path(self.out))
        for key, choices in (
            ("method", ("grad-r", "dense")),
            ("reset", ("hard", "soft")),
            ("encoding", ("graded", "rate")),
        ):
            self._check(key, getattr(self, key) in choices, f"use {' or '.join(choices)}")
        self._check("density", 0 < self.density <= 1, "choose a share above 0 and up to 1")
        self._check("validation", 0 < self.validation <= 0.5, "choose a share above 0 and up to 0.5")
        self._check("alpha", self.alpha is None or 0 <= self.alpha < float("inf"), "choose 0 or more")
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
            value = getattr(self, spec.name)
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            if spec.name == "out":
                late = ["--out", Path(text).as_posix()]
            elif spec.name == "density" and self.method == "dense":
                continue
            elif spec.name in always or value != spec.default:
                words += [f"--{spec.name}", text]
        return " ".join(words + late)
