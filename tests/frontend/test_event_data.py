"""N-MNIST, DVS Gesture and SHD from small files in the formats in which they are published."""

import sys
from pathlib import Path

import numpy as np
import pytest
from snn_compile.errors import DataError
from snn_compile.frontend.data import load
from snn_compile.frontend.data_formats import events, shd
from snn_compile.frontend.data_formats.nmnist import NMNIST
from snn_compile.frontend.options import EVENTS

sys.path.insert(0, str(Path(__file__).parent))
import event_files as files
from event_files import frames

NMNIST_FORM = {"shape": (2, 34, 34), "duration": 315_000}
GESTURE_FORM = {"shape": (2, 32, 32), "duration": 1_500_000, "pool": 4}
SHD_FORM = {"shape": (700,), "duration": 1_400_000}


def test_the_names_that_the_options_know_are_those_of_events():
    from snn_compile.frontend.data_formats import dvs_gesture

    assert sorted(kind.name for kind in (NMNIST, shd.SHD, dvs_gesture.DVS_GESTURE)) == sorted(EVENTS)


@pytest.fixture
def tonic():
    return pytest.importorskip("tonic")


def check(data, train, test, form, steps):
    """The data set has these (label, events)."""
    for samples, labels, expected in (
        (data.train_samples, data.train_labels, train),
        (data.test_samples, data.test_labels, test),
    ):
        assert labels.tolist() == [label for label, _ in expected] and labels.dtype == np.int64
        assert samples.shape == (len(expected), steps, *form["shape"]) and samples.dtype == np.uint8
        assert samples.flags.writeable
        for sample, (_, recorded) in zip(samples, expected, strict=True):
            assert np.array_equal(sample, frames(recorded, steps=steps, **form))
            assert sample.any()
    assert (data.shape, data.steps, data.max_value) == (form["shape"], steps, 1)


@pytest.mark.parametrize("packed", [(), ("Train",), ("Train", "Test")])
@pytest.mark.parametrize(("place", "steps"), [("", 7), ("nmnist", 1), ("NMNIST", 20)])
def test_nmnist_comes_in_the_order_of_mnist(tonic, tmp_path, packed, place, steps):
    made = files.nmnist(tmp_path / place, packed=packed)
    train, test = ([(label, e) for _, label, e in made[part]] for part in ("Train", "Test"))
    data = load("nmnist", tmp_path, steps)
    check(data, train, test, NMNIST_FORM, steps)
    assert data.note == "nmnist: 12 recordings to train and 5 to test, 60000 and 10000 are published"
    assert data.classes == 10


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("place", "steps"), [("", 11), ("SHD", 100)])
def test_shd_comes_plain_or_in_gzip(tonic, tmp_path, packed, place, steps):
    made = files.shd(tmp_path / place, packed=packed)
    data = load("shd", tmp_path, steps)
    check(data, made["train"], made["test"], SHD_FORM, steps)
    assert data.note == "shd: 9 recordings to train and 4 to test, 8156 and 2264 are published"
    assert data.classes == 20


@pytest.mark.parametrize(("place", "steps"), [("", 5), ("DvsGesture", 30)])
def test_gestures_are_cut_from_the_published_trials(tonic, tmp_path, place, steps):
    made = files.dvs_gesture(tmp_path / place)
    data = load("dvs-gesture", tmp_path, steps)
    check(data, made["train"], made["test"], GESTURE_FORM, steps)
    assert (data.note, data.classes) == ("", 11)


def test_gestures_come_from_the_files_of_tonic(tonic, tmp_path):
    made = files.dvs_gesture_npy(tmp_path / "DVSGesture")
    check(load("dvs-gesture", tmp_path, 15), made["Train"], made["Test"], GESTURE_FORM, 15)


def test_times_of_a_long_recording(tmp_path):
    from snn_compile.frontend.data_formats.aedat import read_polarity

    rows = files.recording(np.random.default_rng(0), 40, 128, 128, 1000)
    (tmp_path / "long.aedat").write_bytes(files.aedat(rows, upper=3))
    x, y, t, p = read_polarity(tmp_path / "long.aedat")
    assert np.array_equal(np.stack([x, y, t - (3 << 31), p], axis=1), rows)


def test_events_out_of_order_are_put_into_their_steps(tonic, tmp_path):
    made = files.nmnist(tmp_path)
    number, label, recorded = made["Train"][3]
    (tmp_path / "Train" / str(label) / f"{number:05}.bin").write_bytes(files.nmnist_file(recorded[::-1]))
    data = load("nmnist", tmp_path, 9)
    assert np.array_equal(data.train_samples[3], frames(recorded, steps=9, **NMNIST_FORM))


def test_without_tonic_the_sentence_names_the_extra(tmp_path, monkeypatch):
    files.nmnist(tmp_path)
    monkeypatch.setitem(sys.modules, "tonic", None)
    with pytest.raises(DataError, match=r"^nmnist: needs tonic, which is not installed; install the extra 'events'$"):
        load("nmnist", tmp_path)


def test_a_missing_part_is_named(tmp_path):
    files.nmnist(tmp_path / "nmnist")
    (tmp_path / "nmnist" / "Test").rename(tmp_path / "elsewhere")
    with pytest.raises(
        DataError, match=rf"^nmnist: {tmp_path}/nmnist lacks Test; download Train.zip and Test.zip from"
    ):
        load("nmnist", tmp_path)


def test_frames_that_do_not_fit_are_refused_before_the_work():
    with pytest.raises(DataError, match=r"nmnist: 70000 recordings of 100 steps take 15.1 GiB, 6 are possible; choose"):
        events.check_size(NMNIST, 70_000, 100)
