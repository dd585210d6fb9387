"""DVS Gesture: 11 gestures of hands and arms before an event camera of 128 × 128 pixels.

Two forms (Amir et al.: "A Low Power, Fully Event-Based Gesture Recognition System", 2017):

- as published, DvsGesture: `trials_to_train.txt` and `trials_to_test.txt` name files `user01_led.aedat` (AEDAT 3.1);
  beside each, `user01_led_labels.csv` says class (1 … 11), begin and end in µs of each gesture in it;
- as tonic publishes it: folders `ibmGestureTrain` and `ibmGestureTest` with `user01_led/0.npy`, a gesture per file, its
  name the class, its rows x, y, polarity, time in ms.

A sample is the first 1.5 s of a gesture from its first event on (Shrestha, Orchard: "SLAYER: Spike Layer Error
Reassignment in Time", 2018); 4 × 4 pixels become one, which has an event where any of them has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from .aedat import read_polarity
from .events import Events, EventSet, Part, structured
from .folder import AGAIN, open_data

DVS_GESTURE = EventSet(
    "dvs-gesture",
    classes=11,
    sensor=(2, 128, 128),
    pool=4,
    shape=(2, 32, 32),
    duration=1_500_000,
    recordings=None,
    places=("dvs-gesture", "", "DvsGesture", "dvs-gesture/DvsGesture", "DVSGesture"),
    parts=(("trials_to_train.txt", "ibmGestureTrain"), ("trials_to_test.txt", "ibmGestureTest")),
    advice="download DvsGesture.tar.gz from IBM's DVS128 Gesture page, or ibmGestureTrain.tar.gz and "
    "ibmGestureTest.tar.gz, tonic's copy of it on figshare, unpack and give the folder with --data-dir",
)

MAX_TEXT = 2**20
TRIAL = re.compile(r"[\w.-]+\.aedat")
GESTURE = re.compile(r"([0-9]{1,2})\.npy")


def read(path: Path) -> Part:
    """The gestures of a part: a list of trials, or a folder of .npy files.

    Raises:
        DataError: files are missing or damaged; while the gestures are gone through also: one is damaged.
    """
    return _read_folder(path) if path.is_dir() else _read_trials(path)


def _read_trials(path: Path) -> Part:
    trials = [path.parent / name for name in _lines(path) if name]
    if not trials or not all(TRIAL.fullmatch(trial.name) and trial.parent == path.parent for trial in trials):
        raise DataError(str(path), "is no list of .aedat files", AGAIN)
    for trial in trials:
        if not trial.is_file():
            raise DataError(DVS_GESTURE.name, f"{trial.parent} lacks {trial.name}", DVS_GESTURE.advice)
    gestures = [_labels(trial.with_name(f"{trial.stem}_labels.csv")) for trial in trials]
    return Part(np.concatenate(gestures)[:, 0] - 1, _cut(trials, gestures))


def _lines(path: Path) -> list[str]:
    with open_data(path) as file:
        content = file.read(MAX_TEXT + 1)
    if len(content) > MAX_TEXT or not content.isascii():
        raise DataError(str(path), "is no text of this data set", AGAIN)
    return [line.strip() for line in content.decode("ascii").splitlines()]


def _labels(path: Path) -> NDArray[np.int64]:
    """(gestures, 3): class from 1 on, begin and end in µs."""
    _, *rows = _lines(path) or [""]
    numbers = [row.split(",") for row in rows if row]
    if not numbers or not all(len(row) == 3 and all(re.fullmatch(r"[0-9]{1,15}", n) for n in row) for row in numbers):
        raise DataError(str(path), "has no rows of class, begin and end", AGAIN)
    gestures = np.array(numbers, np.int64)
    for number, (label, begin, end) in enumerate(gestures.tolist()):
        if not 1 <= label <= DVS_GESTURE.classes or begin >= end:
            problem = f"gesture {number} is of class {label} (1 to 11 are possible), from {begin} to {end} µs"
            raise DataError(str(path), problem, AGAIN, value=label, limit=DVS_GESTURE.classes)
    return gestures


def _cut(trials: list[Path], gestures: list[NDArray[np.int64]]) -> Iterator[tuple[str, Events]]:
    for trial, rows in zip(trials, gestures, strict=True):
        x, y, t, p = read_polarity(trial)
        for number, (_, begin, end) in enumerate(rows.tolist()):
            chosen = (t >= begin) & (t < end)
            events = structured(x[chosen], y[chosen], t[chosen], p[chosen])
            yield f"{trial}, gesture {number}", _from_first(events)


def _from_first(events: Events) -> Events:
    if len(events):
        events["t"] -= events["t"].min()
    return events


def _read_folder(path: Path) -> Part:
    files = sorted(path.glob("*/*.npy"), key=lambda file: (file.parent.name, len(file.name), file.name))
    found = [(file, int(match[1])) for file in files if (match := GESTURE.fullmatch(file.name))]
    wrong = [file for file, label in found if label >= DVS_GESTURE.classes]
    if wrong or not found:
        problem = (
            f"is of no class, 0 to {DVS_GESTURE.classes - 1} are possible" if wrong else "has no gestures (0.npy …)"
        )
        raise DataError(str(wrong[0] if wrong else path), problem, DVS_GESTURE.advice)
    return Part(np.array([label for _, label in found], np.int64), ((str(f), _from_first(_npy(f))) for f, _ in found))


def _npy(path: Path) -> Events:
    try:
        rows: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error})"
        raise DataError(str(path), problem, AGAIN) from error
    except (ValueError, EOFError) as error:
        raise DataError(str(path), "is damaged, or is no array of numbers", AGAIN) from error
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.shape[1] != 4 or rows.dtype.kind not in "iufb":
        raise DataError(str(path), "is no array of rows x, y, polarity, time", AGAIN)
    if rows.size and not -(2**40) < float(rows.min()) <= float(rows.max()) < 2**40:  # not a number is neither
        raise DataError(str(path), "has an event that is no place and time", AGAIN)
    x, y, p, t = np.array(rows, np.float64).T
    return structured(x, y, np.rint(t * 1000), p)
