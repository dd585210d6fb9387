"""Recordings of events, as frames of steps: what N-MNIST, DVS Gesture and SHD have in common.

An event is a place, a polarity and a time. A recording of `duration` µs becomes T steps of equal length, binary: 1
where a pixel (or channel) has an event of that polarity in the step, 0 elsewhere. An event at t is in step
``floor(t T / duration)``; what comes after `duration` is left out. tonic makes the frames, and reads N-MNIST (Lenz et
al.: "Tonic: event-based datasets and transformations", 2021); it never downloads here.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from .folder import AGAIN, existing

Events = NDArray[np.void]
"""(events,) of `EVENT`."""

EVENT = np.dtype([("x", np.int64), ("y", np.int64), ("t", np.int64), ("p", np.int64)])
"""Place, time in µs from the begin of the recording, polarity 0 or 1; in tonic's names."""

MAX_BYTES = 6 * 2**30
"""Of the frames of one data set; training holds the larger part of them twice."""


@dataclass(frozen=True)
class EventSet:
    """How a data set of events is published, and what becomes of it.

    Attributes:
        sensor: polarities, rows, columns of the recordings.
        pool: a square of so many rows and columns becomes one pixel.
        shape: of a step of a sample.
        duration: µs of a recording that are taken.
        recordings: how many the published training and test parts have; None: not compared.
        places: folders below the one that is given, in the order in which they are looked at.
        parts: the names that the training part may have, and the test part.
        advice: the way out where files are missing.
    """

    name: str
    classes: int
    sensor: tuple[int, int, int]
    pool: int
    shape: tuple[int, ...]
    duration: int
    recordings: tuple[int, int] | None
    places: tuple[str, ...]
    parts: tuple[tuple[str, ...], tuple[str, ...]]
    advice: str

    def locate(self, folder: Path | None) -> tuple[Path, Path]:
        """Where the training part and the test part are, from the first place that has either.

        Raises:
            DataError: no folder, or a part is missing.
        """
        folder = existing(self.name, folder, self.advice)
        for place in self.places:
            found = [
                [folder / place / name for name in names if (folder / place / name).exists()] for names in self.parts
            ]
            if all(found):
                return found[0][0], found[1][0]
            if any(found):
                missing = [names[0] for names, paths in zip(self.parts, found, strict=True) if not paths]
                raise DataError(self.name, f"{folder / place} lacks {missing[0]}", self.advice, value=missing)
        raise DataError(self.name, f"{folder} has none of its files", self.advice)

    def note(self, train: int, test: int) -> str:
        """A warning where the numbers of recordings are not the published ones, else empty."""
        if self.recordings is None or (train, test) == self.recordings:
            return ""
        published = f"{self.recordings[0]} and {self.recordings[1]}"
        return f"{self.name}: {train} recordings to train and {test} to test, {published} are published"


@dataclass(frozen=True, eq=False)
class Part:
    """The training part or the test part.

    Attributes:
        labels: (recordings,) int64.
        recordings: where each comes from, for sentences, and its events; in the order of the labels.
    """

    labels: NDArray[np.int64]
    recordings: Iterable[tuple[str, Events]]


def tonic(name: str) -> Any:
    """The package tonic, for the data set `name`.

    Raises:
        DataError: it is not installed.
    """
    try:
        return importlib.import_module("tonic")
    except ModuleNotFoundError as error:
        if error.name != "tonic":
            raise
        raise DataError(name, "needs tonic, which is not installed", "install the extra 'events'") from error


def check_size(kind: EventSet, recordings: int, steps: int) -> None:
    """Before the work: the frames fit into memory.

    Raises:
        DataError: they do not.

    >>> from .nmnist import NMNIST
    >>> check_size(NMNIST, 70_000, 20)
    """
    size = recordings * steps * int(np.prod(kind.shape))
    if size > MAX_BYTES:
        problem = (
            f"{recordings} recordings of {steps} steps take {size / 2**30:.1f} GiB, {MAX_BYTES // 2**30} are possible"
        )
        raise DataError(kind.name, problem, "choose fewer --steps", value=size, limit=MAX_BYTES)


def frames(kind: EventSet, part: Part, steps: int) -> NDArray[np.uint8]:
    """(recordings, steps, *shape) uint8, 0 or 1.

    Raises:
        DataError: a recording is damaged, or tonic is not installed.
    """
    polarities, rows, columns = kind.sensor
    sensor = (columns // kind.pool, rows // kind.pool, polarities)
    to_frame = tonic(kind.name).transforms.ToFrame(sensor, time_window=1, start_time=0, end_time=steps)
    samples = np.zeros((len(part.labels), steps, *kind.shape), np.uint8)
    for sample, (source, events) in zip(samples, part.recordings, strict=True):
        binned = _binned(kind, checked(kind, source, events), steps)
        if len(binned):  # tonic makes one frame of nothing
            sample[:] = (to_frame(binned) != 0).reshape(sample.shape)
    return samples


def checked(kind: EventSet, source: str, events: Events) -> Events:
    """The events.

    Raises:
        DataError: there are none, or one is outside the sensor or before the begin.
    """
    if not len(events):
        raise DataError(source, "has no events", AGAIN)
    polarities, rows, columns = kind.sensor
    for key, limit in (("x", columns), ("y", rows), ("p", polarities)):
        low, high = int(events[key].min()), int(events[key].max())
        if low < 0 or high >= limit:
            wrong = low if low < 0 else high
            problem = f"has an event with {key} = {wrong}, 0 to {limit - 1} is possible"
            raise DataError(source, problem, AGAIN, value=wrong, limit=limit - 1)
    if int(events["t"].min()) < 0:
        raise DataError(source, f"has an event at {int(events['t'].min())} µs", AGAIN)
    return events


def _binned(kind: EventSet, events: Events, steps: int) -> Events:
    """The events that count, in the order of time, as a new array: t is the step, x and y are pixels of a sample."""
    early = events["t"] < kind.duration
    x, y, t, p = (events[key][early] for key in ("x", "y", "t", "p"))
    step = t * steps // kind.duration
    binned = structured(x // kind.pool, y // kind.pool, step, p)
    if (step[1:] >= step[:-1]).all():
        return binned
    ordered: Events = binned[np.argsort(step, kind="stable")]
    return ordered


def structured(x: Any, y: Any, t: Any, p: Any) -> Events:
    """Events from their columns, integers.

    >>> structured([3, 1], 0, [10, 20], 1)["x"].tolist()
    [3, 1]
    """
    events = np.empty(len(x), EVENT)
    events["x"], events["y"], events["t"], events["p"] = x, y, t, p
    return events
