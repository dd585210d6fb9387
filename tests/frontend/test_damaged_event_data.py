"""Files of event data that are damaged, incomplete, or something else: one sentence each."""

import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from snn_compile.errors import DataError
from snn_compile.frontend.data import load
from snn_compile.frontend.data_formats import shd

sys.path.insert(0, str(Path(__file__).parent))
import event_files as files


@pytest.fixture
def tonic():
    return pytest.importorskip("tonic")


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
