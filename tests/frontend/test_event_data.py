"""N-MNIST, DVS Gesture and SHD from small files in their formats; what becomes of damaged ones."""

import sys
from pathlib import Path

import h5py
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


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "has 0 bytes, 1 to 52428 whole events of 5 are needed; download it again"),
        (bytes(12), "has 12 bytes"),
        (bytes(2**18 + 1), "has 262145 bytes"),
        (bytes([34, 0, 0, 0, 0]), "has an event with x = 34, 0 to 33 is possible; download it again"),
        (bytes([0, 99, 0, 0, 0]), "has an event with y = 99"),
        (bytes([0, 240, 0, 0, 0]), "has no events"),
    ],
    ids=range(6),
)
@pytest.mark.parametrize("packed", [(), ("Train",)])
def test_a_damaged_file_of_nmnist(tonic, tmp_path, content, sentence, packed):
    made = {"Train/0/00001.bin": bytes(5), "Train/7/00002.bin": content}
    files.write(tmp_path, "Train", made, bool(packed))
    files.write(tmp_path, "Test", {"Test/0/00001.bin": bytes(5)}, False)
    with pytest.raises(DataError, match=rf"Train.*/7/00002.bin: {sentence}"):
        load("nmnist", tmp_path)


def test_a_damaged_archive_of_nmnist(tonic, tmp_path):
    files.nmnist(tmp_path, packed=("Train", "Test"))
    whole = (tmp_path / "Train.zip").read_bytes()
    sentence = r"Train.zip: is no archive that can be read \(.*\); download it again"
    for broken in (b"", whole[:-200], b"PK\3\4" + bytes(100)):
        (tmp_path / "Train.zip").write_bytes(broken)
        with pytest.raises(DataError, match=sentence):
            load("nmnist", tmp_path)
    (tmp_path / "Train.zip").write_bytes(whole[:60] + bytes([whole[60] ^ 255]) + whole[61:])
    with pytest.raises(DataError, match=sentence):
        load("nmnist", tmp_path)


def test_an_empty_part_of_nmnist(tmp_path):
    files.nmnist(tmp_path)
    for file in (tmp_path / "Test").glob("*/*"):
        file.unlink()
    with pytest.raises(DataError, match=r"Test: has 0 recordings such as 5/00001.bin; download Train.zip"):
        load("nmnist", tmp_path)


def edit(name):
    """A change of one thing in an SHD file."""

    def change(path):
        with h5py.File(path, "r+") as file:
            if name == "labels are missing":
                del file["labels"]
            elif name == "a label is too large":
                file["labels"][2] = 20
            elif name == "a list is missing":
                times = file["spikes/times"][:-1]
                del file["spikes/times"]
                file.create_dataset("spikes/times", data=times, dtype=h5py.special_dtype(vlen=np.float16))
            elif name == "a unit is too large":
                file["spikes/units"][1] = np.full(50, 700, np.uint16)
            elif name == "a time is missing":
                file["spikes/times"][1] = file["spikes/times"][1][:-1]
            elif name == "a time is before the begin":
                file["spikes/times"][1] = -file["spikes/times"][1]
            else:
                file["spikes/times"][1] = np.full(50, np.nan, np.float16)

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda path: path.write_bytes(b"no HDF5"), "is damaged or is not the HDF5 of SHD"),
        (lambda path: path.write_bytes(path.read_bytes()[:2000]), "is damaged or is not the HDF5 of SHD"),
        (lambda path: path.write_bytes(b"\x1f\x8b" + bytes(50)), "is damaged or cut off"),
        (edit("labels are missing"), "is damaged or is not the HDF5 of SHD"),
        (edit("a label is too large"), "label 2 is 20, 19 is the largest; download it again"),
        (edit("a list is missing"), "has 9 labels, 8 lists of times and 9 of units"),
        (edit("a unit is too large"), "recording 1: has an event with x = 700, 0 to 699 is possible"),
        (edit("a time is missing"), "recording 1: has 49 times of the type float16, 50 units"),
        (edit("a time is before the begin"), "recording 1: has an event at -"),
        (edit("a time is no number"), "recording 1: has a time that is no number of seconds"),
    ],
)
def test_a_damaged_file_of_shd(tonic, tmp_path, change, sentence):
    files.shd(tmp_path)
    change(tmp_path / "shd_train.h5")
    with pytest.raises(DataError, match=rf"shd_train.h5.*{sentence}"):
        load("shd", tmp_path)


def test_shd_that_unpacks_to_too_much(tmp_path, monkeypatch):
    files.shd(tmp_path, packed=True)
    monkeypatch.setattr(shd, "MAX_UNPACKED", 1000)
    with pytest.raises(DataError, match=r"shd_train.h5.gz: unpacks to more than 1000 bytes; download it again"):
        load("shd", tmp_path)


TRIAL, LABELS = "user01_led.aedat", "user01_led_labels.csv"
HEADER = b"#!AER-DAT3.1\r\n#!END-HEADER\r\n"
OUTSIDE = files.aedat([(128, 0, 2_000_000, 1), (0, 0, 4_500_000, 0)])


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        (TRIAL, b"", "begins with nothing, AEDAT 3.1 is needed; download it again"),
        (TRIAL, b"#!AER-DAT2.0\r\n", "begins with 23214145522d444154322e30, AEDAT 3.1 is needed"),
        (TRIAL, HEADER[:20], "is cut off in its header"),
        (TRIAL, HEADER, "has no events"),
        (TRIAL, HEADER + bytes(10), "is cut off at byte 38, in the header of a packet"),
        (TRIAL, files.aedat([(0, 0, 0, 1)])[:-44], "in a packet of 1 events"),
        (TRIAL, files.aedat([(0, 0, 0, 1)], size=4), "has a packet of 1 events of 4 bytes in the room of 1"),
        (TRIAL, files.aedat([(0, 0, 2_000_000, 1)]), "gesture 1: has no events"),
        (TRIAL, OUTSIDE, "gesture 0: has an event with x = 128, 0 to 127 is possible"),
        (LABELS, b"", "has no rows of class, begin and end"),
        (LABELS, b"class,a,b\n1,2\n", "has no rows of class, begin and end"),
        (LABELS, b"class,a,b\n1,2,-3\n", "has no rows of class, begin and end"),
        (LABELS, "class,a,b\n1,2,³\n".encode(), "is no text of this data set"),
        (LABELS, b"class,a,b\n12,2,3\n", r"gesture 0 is of class 12 \(1 to 11 are possible\), from 2 to 3 µs"),
        (LABELS, b"class,a,b\n1,3,3\n", "gesture 0 is of class 1"),
        ("trials_to_train.txt", b"../x.aedat\n", "is no list of .aedat files"),
        ("trials_to_train.txt", b"\n", "is no list of .aedat files"),
    ],
    ids=range(17),
)
def test_a_damaged_trial(tonic, tmp_path, file, content, sentence):
    files.dvs_gesture(tmp_path)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(DataError, match=rf"{file}.*{sentence}"):
        load("dvs-gesture", tmp_path)


def test_a_missing_trial_is_named(tmp_path):
    files.dvs_gesture(tmp_path)
    (tmp_path / "user02_led.aedat").unlink()
    with pytest.raises(DataError, match=rf"dvs-gesture: {tmp_path} lacks user02_led.aedat; download DvsGesture.tar.gz"):
        load("dvs-gesture", tmp_path)
    (tmp_path / LABELS).unlink()
    (tmp_path / "user02_led.aedat").write_bytes(b"")
    with pytest.raises(DataError, match=rf"{LABELS}: cannot be read \(No such file"):
        load("dvs-gesture", tmp_path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\x93NUMPY", "is damaged, or is no array of numbers"),
        (np.zeros((3, 3)), "is no array of rows x, y, polarity, time"),
        (np.array([["a"] * 4]), "is no array of rows x, y, polarity, time"),
        (np.array([[None] * 4]), "is damaged, or is no array of numbers"),
        (np.full((2, 4), np.nan), "has an event that is no place and time"),
        (np.array([[0, 128, 0, 5]]), "has an event with y = 128"),
        (np.zeros((0, 4)), "has no events"),
    ],
)
def test_a_damaged_gesture(tonic, tmp_path, content, sentence):
    files.dvs_gesture_npy(tmp_path)
    path = tmp_path / "ibmGestureTest" / "user24_led" / "2.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    with pytest.raises(DataError, match=rf"user24_led/2.npy: {sentence}"):
        load("dvs-gesture", tmp_path)


def test_a_folder_without_gestures(tmp_path):
    files.dvs_gesture_npy(tmp_path)
    place = tmp_path / "ibmGestureTest" / "user24_led"
    (place / "2.npy").rename(place / "11.npy")
    with pytest.raises(DataError, match=r"11.npy: is of no class, 0 to 10 are possible; download"):
        load("dvs-gesture", tmp_path)
    for file in place.iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"ibmGestureTest: has no gestures \(0.npy …\); download"):
        load("dvs-gesture", tmp_path)
