"""A progress bar for training, quiet when its output is not a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from .epoch import Epoch


def describe(epoch: Epoch) -> str:
    """One line about an epoch."""
    share = f", {epoch.connectivity:.1%} of the weights"
    if round(epoch.synapse_connectivity, 3) != round(epoch.connectivity, 3):
        share += f", {epoch.synapse_connectivity:.1%} of the synapses"
    if epoch.cores is not None:
        share += f", {epoch.cores:.2f} cores"
    return f"epoch {epoch.number}: loss {epoch.loss:.4f}, validation {epoch.validation_accuracy:.1%}{share}"


@contextlib.contextmanager
def training_bar(epochs: int, console: Console | None = None) -> Iterator[Callable[[Epoch], None]]:
    """A callback for `trainer.train` that moves a bar on standard error; on no terminal it prints nothing."""
    console = console or Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("training", total=epochs)
        yield lambda epoch: bar.update(task, completed=epoch.number, description=describe(epoch))
