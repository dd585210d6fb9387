"""The resume file: the state of a run that is not finished, beside the checkpoint that it will become.

``torch.save`` of a dict: format, version, options (those that decide the weights), samples (of the training part and
the validation part), state (of `run.Run`). Plain numbers, texts and tensors only; it is read with ``weights_only``.
"""

from __future__ import annotations

import dataclasses
import io
import time
from pathlib import Path
from typing import Any

import torch

from ..atomic import whole_file
from ..errors import ModelFileError
from .options import TrainOptions
from .run import Run

FORMAT, VERSION = "snn-compile resume", 2

SECONDS = 30.0
"""Time between two writings, at least."""


class TrainingInterrupted(KeyboardInterrupt):
    """^C: the run was saved first.

    Attributes:
        path: the resume file.
        done, epochs: finished epochs of the run.

    >>> print(TrainingInterrupted(Path("model.pt.resume"), 3, 60))
    training: interrupted after 3 of 60 epochs; go on with the same command and --resume model.pt.resume
    """

    def __init__(self, path: Path, done: int, epochs: int) -> None:
        self.path, self.done, self.epochs = path, done, epochs
        way_out = f"go on with the same command and --resume {path.as_posix()}"
        super().__init__(f"training: interrupted after {done} of {epochs} epochs; {way_out}")


def resume_path(out: Path) -> Path:
    """Where the state of a run that will write `out` is kept.

    >>> print(resume_path(Path("model.pt")))
    model.pt.resume
    """
    return out.with_name(out.name + ".resume")


def deciding(options: TrainOptions) -> dict[str, Any]:
    """The options that decide the weights, plain: all but where files and processors are."""
    places = ("out", "data_dir", "resume", "log", "device")
    plain = {key: value for key, value in dataclasses.asdict(options).items() if key not in places}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}


class Keeper:
    """Holds the state of a run after its last finished epoch, and writes it where `resume_path` says.

    Args:
        run: at an epoch's end; call `epoch` after each further one.
    """

    def __init__(self, run: Run) -> None:
        self.run, self.path = run, resume_path(run.options.out)
        self.written = time.monotonic()
        self.state = run.state_dict()

    def epoch(self) -> None:
        """Takes the state of now, and writes it if the last writing is `SECONDS` ago."""
        self.state = self.run.state_dict()
        if time.monotonic() - self.written >= SECONDS:
            self.write()

    def write(self) -> None:
        """Writes the state that was taken last, whole or not at all; of several processes, the first does.

        Raises:
            OutputError: the file cannot be written there.
        """
        if not self.run.world.first:
            return
        content = {
            "format": FORMAT,
            "version": VERSION,
            "options": deciding(self.run.options),
            "samples": _samples(self.run),
            "state": self.state,
        }
        with whole_file(self.path) as draft:
            torch.save(content, draft)
        self.written = time.monotonic()

    def interrupted(self) -> TrainingInterrupted:
        """Writes the state; returns what to raise."""
        self.write()
        return TrainingInterrupted(self.path, int(self.state["done"]), self.run.options.epochs)

    def remove(self) -> None:
        """The run is finished: its resume file goes."""
        if self.run.world.first:
            self.path.unlink(missing_ok=True)


def _samples(run: Run) -> list[int]:
    return [len(run.samples), len(run.validation[0])]


def read_resume(run: Run, path: Path) -> None:
    """Puts a run that has just begun where the file's run was.

    Raises:
        ModelFileError: the file is missing, broken, or of a run with other options or other data.
    """
    content = _load(path)
    given, mine = content["options"], deciding(run.options)
    for key in mine:
        if key not in given or given[key] != mine[key]:
            problem = f"is of a run with --{key} {_text(given.get(key))}, not {_text(mine[key])}"
            raise ModelFileError(str(path), problem, "give the same options, or begin anew without --resume")
    if content["samples"] != _samples(run):
        problem = f"is of a run with {content['samples']} samples to train and to validate, not {_samples(run)}"
        raise ModelFileError(str(path), problem, "give the same data, or begin anew without --resume")
    try:
        run.load_state_dict(content["state"])
    except (KeyError, ValueError, RuntimeError, TypeError, IndexError, AttributeError) as error:
        problem = f"does not fit this run ({' '.join(str(error).split())})"
        raise ModelFileError(str(path), problem, "begin anew without --resume") from error


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _load(path: Path) -> dict[str, Any]:
    """The file's dict, with the parts that it must have."""
    try:
        raw = io.BytesIO(path.read_bytes())
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error})"
        raise ModelFileError(str(path), problem, "check the path") from error
    try:
        content = torch.load(raw, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle and PyTorch raise many kinds
        raise ModelFileError(str(path), "is broken or no resume file", "begin anew without --resume") from error
    whole = isinstance(content, dict) and content.get("format") == FORMAT and content.get("version") == VERSION
    if not whole or not isinstance(content.get("options"), dict) or not {"samples", "state"} <= set(content):
        raise ModelFileError(str(path), f"is no resume file of version {VERSION}", "begin anew without --resume")
    return dict(content)
