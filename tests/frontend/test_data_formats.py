"""Damaged and hostile data files."""

import contextlib
import gzip
import pickle
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from snn_compile.errors import DataError
from snn_compile.frontend.data_formats import cifar, cifar_pickle, folder
from snn_compile.frontend.data_formats import idx as idx_module
from snn_compile.frontend.data_formats.cifar_pickle import read_batch
from snn_compile.frontend.data_formats.idx import read_idx

sys.path.insert(0, str(Path(__file__).parent))
from data_files import array_2, cifar_batches, idx, python_2, python_3, short


@given(arrays(np.uint8, array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=6)), st.booleans())
def test_idx_gives_back_what_was_written(tmp_path_factory, array, packed):
    path = tmp_path_factory.mktemp("idx") / "file"
    data = idx(array)
    path.write_bytes(gzip.compress(data) if packed else data)
    values, digest = read_idx(path, array.shape[1:])
    assert np.array_equal(values, array)
    assert digest == folder.md5(data)


WHOLE = idx(np.arange(24).reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "begins with nothing, 00000803 is needed; download it again"),
        (b"<htm", "begins with 3c68746d, 00000803 is needed"),
        (b"\0\0\x0d\x03" + WHOLE[4:], "begins with 00000d03, 00000803 is needed"),
        (idx(np.zeros(5)), "begins with 00000801, 00000803 is needed"),
        (WHOLE[:15], "is cut off in its header"),
        (idx(np.zeros((2, 4, 3))), "holds items of 4 × 3, 3 × 4 are needed"),
        (idx(np.zeros((0, 3, 4))), "promises 0 samples, 1 to 10000000 are possible"),
        (b"\0\0\x08\x03\xff\xff\xff\xff" + WHOLE[8:], "promises 4294967295 samples, 1 to 10000000 are possible"),
        (WHOLE[:-1], "is cut off: its header promises 2 samples, 24 bytes"),
        (WHOLE + b"\0", "goes on after the 2 samples that its header promises"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_damaged_idx_file_is_a_sentence(tmp_path, data, sentence, packed):
    path = tmp_path / "some-images"
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(DataError, match=f"some-images: {sentence}"):
        read_idx(path, (3, 4))


@pytest.mark.parametrize("damage", [slice(0, 20), slice(0, -3), slice(0, 5)])
def test_a_damaged_gzip_stream_is_a_sentence(tmp_path, damage):
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(WHOLE)[damage])
    with pytest.raises(DataError, match=r"images.gz: is (damaged or )?cut off"):
        read_idx(path, (3, 4))
    wrong_sum = bytearray(gzip.compress(WHOLE))
    wrong_sum[-8] ^= 1
    path.write_bytes(wrong_sum)
    with pytest.raises(DataError, match=r"images.gz: is damaged or cut off \(its gzip stream does not end well\)"):
        read_idx(path, (3, 4))


def test_a_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(WHOLE + bytes(2**26)))
    tracemalloc.start()
    with pytest.raises(DataError, match="goes on after the 2 samples"):
        read_idx(path, (3, 4))
    assert tracemalloc.get_traced_memory()[1] < 2**21
    tracemalloc.stop()


def test_a_promise_that_no_gzip_file_of_that_size_keeps_is_refused_at_once(tmp_path, monkeypatch):
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(b"\0\0\x08\x03" + np.array([10**7, 28, 28], ">u4").tobytes() + bytes(99)))
    monkeypatch.setattr(idx_module.np, "empty", None)
    with pytest.raises(DataError, match="its header promises 10000000 samples, 7840000000 bytes"):
        read_idx(path, (28, 28))


def test_a_file_that_may_not_be_read_is_a_sentence(tmp_path):
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\); check its permissions"):
        read_idx(tmp_path, (28, 28))


@pytest.mark.parametrize("data", [b"", bytes(3072), bytes(2 * 3073 + 1)])
def test_a_binary_batch_has_whole_records(tmp_path, data):
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(data)
    with pytest.raises(DataError, match=rf"has {len(data)} bytes, 1 to 10000000 whole records of 3073 are needed"):
        cifar.read(path, 10)


def test_a_label_out_of_range_is_a_sentence(tmp_path):
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(bytes(3073) + bytes([17]) + bytes(3072))
    with pytest.raises(DataError, match=r"data_batch_1.bin: label 1 is 17, 9 is the largest"):
        cifar.read(path, 10)


IMAGES, LABELS = cifar_batches()["data_batch_4"]
ROWS = IMAGES.reshape(len(IMAGES), -1)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({b"data": ROWS[:, :-1]}, "has no array 'data' of samples × 3072 bytes"),
        ({b"data": ROWS.ravel()}, "has no array 'data'"),
        ({b"data": [1, 2]}, "has no array 'data'"),
        ({b"data": ROWS.astype(np.float32)}, r"damaged \(its array is not one of unsigned bytes\)"),
        ({b"data": ROWS.astype(object)}, r"damaged \(its array is not one of unsigned bytes\)"),
        ({b"labels": [1, 2]}, "holds 2 labels and 5 images"),
        ({b"labels": [256] * 5}, "has no list 'labels' of small integers"),
        ({b"labels": [-1] * 5}, "has no list 'labels'"),
        ({b"labels": [True] * 5}, "has no list 'labels'"),
        ({b"labels": "12345"}, "has no list 'labels'"),
        ({b"labels": [10] * 5}, "label 0 is 10, 9 is the largest"),
        ({b"labels": [1.5] * 5}, "uses the pickle instruction BINFLOAT, which a batch of CIFAR-10 does not"),
        ({b"more": {1, 2}}, "names __builtin__.set, which is code, not data"),
    ],
)
def test_another_content_is_a_sentence(tmp_path, changes, sentence):
    path = tmp_path / "data_batch_1"
    path.write_bytes(python_3(IMAGES, LABELS, changes))
    with pytest.raises(DataError, match=sentence):
        cifar.read(path, 10)


def test_arrays_stored_by_columns_are_read(tmp_path):
    path = tmp_path / "test_batch"
    for data in (python_2(IMAGES, LABELS, order=b"\x88"), python_3(np.asfortranarray(ROWS), LABELS)):
        path.write_bytes(data)
        assert np.array_equal(cifar.read(path, 10)[0], IMAGES)


def test_a_python_batch_has_a_largest_size(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "MAX_PICKLE", 100)
    path = tmp_path / "test_batch"
    path.write_bytes(bytes(101))
    with pytest.raises(DataError, match="has more than 100 bytes, a batch as published has 31 million"):
        cifar.read(path, 10)


class Touch:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_hostile_pickle_runs_nothing(tmp_path):
    touched = tmp_path / "touched"
    with pytest.raises(DataError, match=r"names _?io\.open, which is code, not data; take the files of the published"):
        read_batch("test_batch", pickle.dumps({b"data": Touch(touched)}, 2))
    assert not touched.exists()
    pickle.loads(pickle.dumps(Touch(touched), 2)).close()
    assert touched.exists()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"cposix\nsystem\n.", r"names posix\.system, which is code"),
        (b"cnumpy\nload\n.", r"names numpy\.load, which is code"),
        (b"c_codecs\nlookup\n.", r"names _codecs\.lookup, which is code"),
        (b"(X\x04\x00\x00\x00trueiposix\nsystem\n.", "uses the pickle instruction INST"),
        (b"(cnumpy\ndtype\no.", "uses the pickle instruction OBJ"),
        (b"cnumpy\ndtype\nN\x81.", "uses the pickle instruction NEWOBJ"),
        (b"X\x05\x00\x00\x00posixX\x06\x00\x00\x00system\x93.", "uses the pickle instruction STACK_GLOBAL"),
        (b"\x82\x01.", "uses the pickle instruction EXT1"),
        (b"P1\n.", "uses the pickle instruction PERSID"),
        (b"NQ.", "uses the pickle instruction BINPERSID"),
        (b"\x80\x04N.", "is a pickle of protocol 4, 2 is needed"),
        (b"", r"damaged \(cut off\)"),
        (b"}", r"damaged \(cut off\)"),
        (b"T\xff\xff\xff\x7fab", r"damaged \(cut off\)"),
        (b".", r"damaged \(a value is missing\)"),
        (b"N.", r"damaged \(it is not one dict\)"),
        (b"N}.", r"damaged \(it is not one dict\)"),
        (b"(.", r"damaged \(a value is missing\)"),
        (b"N(\x85.", r"damaged \(a value is missing\)"),
        (b"Nt.", r"damaged \(a mark is missing\)"),
        (b"NNa.", r"damaged \(a list is missing\)"),
        (b"](u.", r"damaged \(a dict is missing\)"),
        (b"}(Nu.", r"damaged \(a dict is missing\)"),
        (b"}K\x01Ns.", r"damaged \(a dict key is no text\)"),
        (b"h\x05.", r"damaged \(memo 5 is missing\)"),
        (b"(" * 9 + b".", r"damaged \(it nests deeper than 8\)"),
        (b"NN\x85R.", r"damaged \(something is built in another way than numpy does\)"),
        (b"cnumpy\nndarray\nN\x85R.", r"damaged \(its array is not one of unsigned bytes\)"),
        (b"cnumpy\ndtype\nU\x02O8\x85R.", r"damaged \(its array is not one of unsigned bytes\)"),
        (b"NNb.", r"damaged \(state for something that has none\)"),
        (b"}}b.", r"damaged \(state for something that has none\)"),
        (
            b"c_codecs\nencode\nX\x02\x00\x00\x00\xc4\x80X\x06\x00\x00\x00latin1\x86R.",
            "other letters than latin-1",
        ),
    ],
)
def test_every_other_pickle_is_refused(data, sentence):
    with pytest.raises(DataError, match=sentence):
        read_batch("test_batch", data)


@pytest.mark.parametrize("shape", [(5, 3071), (5, 3072, 2)])
def test_an_array_fills_its_shape(shape):
    claimed = b"(" + b"".join(b"M" + n.to_bytes(2, "little") for n in shape) + b"t"
    array = array_2(ROWS).replace(b"(K\x05M\x00\x0ct", claimed)
    with pytest.raises(DataError, match="its array has more or fewer values than its shape says"):
        read_batch("test_batch", b"}" + short("data") + array + b"s.")


def test_a_shape_is_of_positive_numbers():
    array = array_2(ROWS).replace(b"(K\x05M\x00\x0ct", b"(K\x00M\x00\x0ct")
    with pytest.raises(DataError, match="its array has no proper shape"):
        read_batch("test_batch", b"}" + short("data") + array + b"s.")


def test_a_long_text_is_not_encoded_again_and_again():
    text = b"X\x00\x00\x01\x00" + b"a" * 2**16 + b"q\x01"
    again = b"h\x00h\x01h\x02\x86R0"[:-1]
    data = b"c_codecs\nencode\nq\x00" + text + b"X\x06\x00\x00\x00latin1q\x02" + again * 1000 + b"."
    tracemalloc.start()
    with pytest.raises(DataError, match=r"damaged \(it repeats a byte string\)"):
        read_batch("test_batch", data)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_instructions_are_counted(monkeypatch):
    monkeypatch.setattr(cifar_pickle, "MAX_OPCODES", 50)
    with pytest.raises(DataError, match="its pickle has more than 50 instructions"):
        read_batch("test_batch", b"N" * 80 + b".")


def test_deep_nesting_does_not_overflow_the_stack():
    deep = b"N" + b"\x85" * 50_000
    with pytest.raises(DataError, match="it is not one dict"):
        read_batch("test_batch", deep + b".")
    with pytest.raises(DataError, match="its array is not one of unsigned bytes"):
        read_batch("test_batch", b"cnumpy\ndtype\n" + deep + b"\x85R.")


@given(st.sampled_from([b"", b"\x80\x02}(", python_2(IMAGES[:1], LABELS[:1])[:200]]), st.binary(max_size=60))
def test_whatever_comes_is_read_or_refused(begin, data):
    with contextlib.suppress(DataError):
        read_batch("test_batch", begin + data)
