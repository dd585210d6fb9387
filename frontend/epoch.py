"""What is known after an epoch, and where it is written: TensorBoard's event files and the run's settings."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ..atomic import write_whole
from ..errors import OutputError, UnsupportedError
from .options import TrainOptions


@dataclass(frozen=True)
class Epoch:
    """How far a run is, after one epoch.

    Attributes:
        number, epochs: this epoch, from 1, and how many there will be.
        loss: mean over the epoch's training samples.
        validation_accuracy: share of the validation samples, with the weights of now.
        connectivity: connections / weights, over all pruned tensors together.
        synapse_connectivity: the same for the unrolled synapses that they become.
        on_target: whether what was asked for is reached, so that this epoch may be kept.
        densities: connections / weights per layer.
        pruned, regrown: connections that are gone, and new ones, since the epoch before.
        lr: learning rate of the last step.
        cores: that the network would take of the chip which it is trained to fit, such as 1.25 for two; None: of none.
    """

    number: int
    epochs: int
    loss: float
    validation_accuracy: float
    connectivity: float
    synapse_connectivity: float
    on_target: bool
    densities: Mapping[str, float] = field(default_factory=dict)
    pruned: int = 0
    regrown: int = 0
    lr: float = 0.0
    cores: float | None = None

    def scalars(self) -> dict[str, float]:
        """The curves of TensorBoard by name.

        >>> epoch = Epoch(1, 2, 0.5, 0.9, 0.1, 0.1, True, {"linear1": 0.1})
        >>> sorted(epoch.scalars())[:4]
        ['accuracy/validation', 'connections/pruned', 'connections/regrown', 'density/linear1']
        """
        layers = {f"density/{name}": share for name, share in self.densities.items()}
        return {
            "loss/train": self.loss,
            "accuracy/validation": self.validation_accuracy,
            "density/weights": self.connectivity,
            "density/synapses": self.synapse_connectivity,
            **layers,
            **({} if self.cores is None else {"cores": self.cores}),
            "connections/pruned": self.pruned,
            "connections/regrown": self.regrown,
            "lr": self.lr,
        }


class Log:
    """Event files and ``config.json`` in the folder `options.log`; nothing without one.

    Args:
        options: of the run.
        first: the first epoch that will be written; what the folder has from there on is marked as void.

    Raises:
        UnsupportedError: the package tensorboard is not installed.
        OutputError: the folder cannot be written.
    """

    def __init__(self, options: TrainOptions, first: int = 1) -> None:
        self._writer: Any = None
        if options.log is None:
            return
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ModuleNotFoundError as error:
            problem = "needs the package tensorboard, which is not installed"
            raise UnsupportedError("--log", problem, "install the extra 'train'") from error
        try:
            options.log.mkdir(parents=True, exist_ok=True)
            self._writer = SummaryWriter(str(options.log), purge_step=first)  # type: ignore[no-untyped-call]
        except OSError as error:
            problem = f"cannot be written ({error.strerror or error})"
            raise OutputError(str(options.log), problem, "choose another place") from error
        write_whole(options.log / "config.json", config(options).encode())

    def write(self, epoch: Epoch) -> None:
        """Adds one epoch."""
        if self._writer is not None:
            for name, value in epoch.scalars().items():
                self._writer.add_scalar(name, value, epoch.number)
            self._writer.flush()

    def close(self) -> None:
        """Ends the files."""
        if self._writer is not None:
            self._writer.close()


def config(options: TrainOptions) -> str:
    """The settings of a run as JSON: every option, the command that repeats it, PyTorch's version."""
    plain = {
        key: value if value is None or isinstance(value, (int, float, str, bool, tuple)) else str(value)
        for key, value in dataclasses.asdict(options).items()
    }
    return json.dumps({"options": plain, "command": options.command, "torch": torch.__version__}, indent=2) + "\n"
