"""Writes small sets of recordings in the formats in which N-MNIST, DVS Gesture and SHD are published."""

from __future__ import annotations

import gzip
import struct
import zipfile

import h5py
import numpy as np

KEYS = ("x", "y", "t", "p")


def recording(random, count, columns, rows, duration):
    """Rows x, y, t in µs, polarity, in the order of time, the first at 0."""
    t = np.sort(random.integers(0, duration, count))
    t[0] = 0
    places = [random.integers(0, columns, count), random.integers(0, rows, count)]
    return np.stack([*places, t, random.integers(0, 2, count)], axis=1)


def frames(events, shape, steps, duration, pool=1):
    """The definition, one event after the other."""
    result = np.zeros((steps, *shape), np.uint8)
    for x, y, t, p in np.asarray(events).tolist():
        if t < duration:
            place = (p, y // pool, x // pool) if len(shape) == 3 else (x,)
            result[(t * steps // duration, *place)] = 1
    return result


def nmnist_file(events):
    return b"".join(
        bytes([x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255]) for x, y, t, p in np.asarray(events).tolist()
    )


def nmnist(folder, *, packed=(), counts=(12, 5), draw=None):
    """Recordings by part, (number in MNIST, label, events); the parts in `packed` are archives."""
    random = np.random.default_rng(0)
    made = {}
    for part, count in zip(("Train", "Test"), counts, strict=True):
        made[part] = []
        for number in range(1, count + 1):
            label = int(random.integers(0, 10)) if draw is None else number % 10
            events = recording(random, 40, 34, 34, 330_000) if draw is None else draw(random, label)
            made[part].append((number, label, events))
        files = {f"{part}/{label}/{number:05}.bin": nmnist_file(events) for number, label, events in made[part]}
        write(folder, part, files, part in packed)
    return made


def write(folder, part, files, packed):
    folder.mkdir(parents=True, exist_ok=True)
    if packed:
        with zipfile.ZipFile(folder / f"{part}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def shd_file(path, recordings, *, packed=False):
    """Lists of (label, rows x, y, t, p); times are half floats in s, as published."""
    times, units = (h5py.special_dtype(vlen=np.dtype(kind)) for kind in (np.float16, np.uint16))
    with h5py.File(path, "w") as file:
        file["labels"] = np.array([label for label, _ in recordings], np.uint16)
        file.create_dataset("spikes/times", (len(recordings),), times)
        file.create_dataset("spikes/units", (len(recordings),), units)
        for number, (_, events) in enumerate(recordings):
            file["spikes/times"][number] = (events[:, 2] / 1e6).astype(np.float16)
            file["spikes/units"][number] = events[:, 0].astype(np.uint16)
    if packed:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()


def shd(folder, *, packed=False):
    """A small SHD; returns its recordings by part, times as the file has them."""
    random = np.random.default_rng(1)
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for part, count in (("train", 9), ("test", 4)):
        drawn = [(int(random.integers(0, 20)), recording(random, 50, 700, 1, 1_450_000)) for _ in range(count)]
        shd_file(folder / f"shd_{part}.h5", drawn, packed=packed)
        for _, events in drawn:
            events[:, 2] = np.rint((events[:, 2] / 1e6).astype(np.float16).astype(float) * 1e6)
        made[part] = drawn
    return made


def aedat(events, *, per_packet=16, upper=0, size=8):
    """AEDAT 3.1: a header of text, polarity events in packets, a packet of another kind between them."""
    parts = [b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Start-Time: 2016-08-17 13:39:36 (TZ-0700)\r\n#!END-HEADER\r\n"]
    for start in range(0, len(events), per_packet):
        some = np.asarray(events)[start : start + per_packet].tolist()
        parts.append(struct.pack("<HHIIIIII", 1, 1, size, 4, upper, len(some), len(some), len(some)))
        parts += [struct.pack("<II", x << 17 | y << 2 | p << 1 | 1, t) for x, y, t, p in some]
        parts.append(struct.pack("<HHIIIIII", 0, 1, 8, 4, upper, 1, 1, 1) + bytes(8))
    return b"".join(parts)


def dvs_gesture(folder):
    """The published form: trials of two gestures with a break between them; returns (label, events) by part."""
    random = np.random.default_rng(2)
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for part, users in (("train", (1, 2)), ("test", (24,))):
        made[part], trials = [], []
        for user in users:
            trial, rows = f"user{user:02}_led", ["class,startTime_usec,endTime_usec"]
            whole = recording(random, 400, 128, 128, 5_000_000) + [0, 0, 1_000_000, 0]
            for begin, end in ((1_500_000, 3_500_000), (4_000_000, 5_000_000)):
                label = int(random.integers(0, 11))
                rows.append(f"{label + 1},{begin},{end}")
                events = whole[(whole[:, 2] >= begin) & (whole[:, 2] < end)]
                made[part].append((label, events - [0, 0, events[0, 2], 0]))
            (folder / f"{trial}.aedat").write_bytes(aedat(whole))
            (folder / f"{trial}_labels.csv").write_text("\n".join(rows) + "\n")
            trials.append(f"{trial}.aedat\n")
        (folder / f"trials_to_{part}.txt").write_text("".join(trials) + "\n")
    return made


def dvs_gesture_npy(folder):
    """tonic's form: a folder per user, a file per gesture, times in ms."""
    random = np.random.default_rng(3)
    made = {}
    for part, users in (("Train", ("user01_led", "user02_lab")), ("Test", ("user24_led",))):
        made[part] = []
        for user in users:
            place = folder / f"ibmGesture{part}" / user
            place.mkdir(parents=True)
            for label in (2, 10):
                events = recording(random, 200, 128, 128, 2000) * [1, 1, 1000, 1]
                made[part].append((user, label, events))
                np.save(place / f"{label}.npy", (events // [1, 1, 1000, 1])[:, [0, 1, 3, 2]].astype(np.float64))
        made[part] = [(label, events) for _, label, events in sorted(made[part], key=lambda row: row[:2])]
    return made
