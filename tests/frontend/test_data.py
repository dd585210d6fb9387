import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from snn_compile.errors import DataError
from snn_compile.frontend import data as data_module
from snn_compile.frontend.data import DATA_SETS, load

sys.path.insert(0, str(Path(__file__).parent))
from data_files import cifar_batches, cifar_binary, cifar_python, idx, mnist, python_2, python_3


def test_digits_keeps_every_fifth_for_the_test():
    from sklearn.datasets import load_digits

    digits, raw = load("digits"), load_digits()
    assert digits.train_samples.shape == (1437, 64)
    assert digits.test_samples.shape == (360, 64)
    assert digits.train_samples.dtype == digits.test_samples.dtype == np.uint8
    assert digits.shape == (64,)
    assert digits.train_samples.max() == digits.max_value == 16
    assert set(digits.train_labels) == set(range(digits.classes))
    assert np.array_equal(digits.test_samples[3], raw.data[15])
    assert digits.test_labels[3] == raw.target[15]
    assert np.array_equal(digits.train_samples[4], raw.data[6])
    assert digits.note == ""


def test_unknown_name_is_a_sentence_with_the_names():
    with pytest.raises(DataError, match=r"mnistt: is no data set that is known here; use one of: cifar10, digits, .*"):
        load("mnistt")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("place", ["", "mnist", "MNIST/raw"])
def test_mnist_comes_from_its_files(tmp_path, packed, place):
    arrays = mnist(tmp_path / place, packed=packed)
    found = load("mnist", tmp_path)
    assert (found.name, found.shape, found.max_value, found.classes) == ("mnist", (1, 28, 28), 255, 10)
    assert np.array_equal(found.train_samples[:, 0], arrays["train-images-idx3-ubyte"])
    assert np.array_equal(found.train_labels, arrays["train-labels-idx1-ubyte"])
    assert np.array_equal(found.test_samples[:, 0], arrays["t10k-images-idx3-ubyte"])
    assert np.array_equal(found.test_labels, arrays["t10k-labels-idx1-ubyte"])
    assert found.train_labels.dtype == np.int64
    assert found.train_samples.flags.writeable and found.test_samples.flags.writeable  # PyTorch warns otherwise


def test_other_content_than_the_published_is_noted(tmp_path):
    mnist(tmp_path)
    assert load("mnist", tmp_path).note == (
        "mnist: not the published content, by checksum: train-images-idx3-ubyte, train-labels-idx1-ubyte, "
        "t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte"
    )


def test_a_folder_of_its_own_goes_before_the_common_one(tmp_path):
    mnist(tmp_path, seed=1)
    arrays = mnist(tmp_path / "fashion-mnist", seed=2)
    assert np.array_equal(load("fashion-mnist", tmp_path).test_samples[:, 0], arrays["t10k-images-idx3-ubyte"])


def test_fashion_mnist_is_looked_for_where_debian_puts_it(tmp_path, monkeypatch):
    monkeypatch.setattr(data_module, "FASHION_FOLDER", tmp_path / "debian")
    with pytest.raises(DataError, match=r"its folder .*debian does not exist; install .* dataset-fashion-mnist, or"):
        load("fashion-mnist")
    mnist(tmp_path / "debian")
    assert load("fashion-mnist").name == "fashion-mnist"


def test_files_of_another_data_set_are_refused(tmp_path, monkeypatch):
    mnist(tmp_path)
    published = data_module.idx.MNIST.md5
    digest = data_module.idx.read_idx(tmp_path / "t10k-labels-idx1-ubyte.gz", ())[1]
    monkeypatch.setitem(published, "t10k-labels-idx1-ubyte", digest)
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte.gz: is of mnist, not of fashion-mnist; install"):
        load("fashion-mnist", tmp_path)
    assert "t10k-labels" not in load("mnist", tmp_path).note


@pytest.mark.parametrize("name", sorted(set(DATA_SETS) - {"digits", "fashion-mnist"}))
def test_no_folder_is_a_sentence(name):
    with pytest.raises(DataError, match=rf"^{name}: its files are needed and no folder is given; .*--data-dir"):
        load(name)


@pytest.mark.parametrize("name", sorted(set(DATA_SETS) - {"digits"}))
def test_missing_files_are_a_sentence(name, tmp_path):
    with pytest.raises(DataError, match=rf"^{name}: its folder .*nowhere does not exist; .*--data-dir"):
        load(name, tmp_path / "nowhere")
    with pytest.raises(DataError, match=rf"^{name}: {tmp_path} has none of its files; .*--data-dir"):
        load(name, tmp_path)


def test_a_file_too_few_is_named(tmp_path):
    mnist(tmp_path / "mnist")
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=rf"mnist: {tmp_path}/mnist lacks t10k-labels-idx1-ubyte; download the four"):
        load("mnist", tmp_path)
    cifar_python(tmp_path, cifar_batches(), python_3)
    (tmp_path / "data_batch_3").unlink()
    with pytest.raises(DataError, match=rf"cifar10: {tmp_path} lacks data_batch_3; download the binary version"):
        load("cifar10", tmp_path)


def test_numbers_and_labels_must_agree(tmp_path):
    arrays = mnist(tmp_path, packed=False)
    path = tmp_path / "train-labels-idx1-ubyte"
    path.write_bytes(idx(arrays[path.name][:-1]))
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte: holds 11 labels, train-images-idx3-ubyte has 12 im"):
        load("mnist", tmp_path)
    path.write_bytes(idx([1] * 7 + [10] + [2] * 4))
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte: label 7 is 10, 9 is the largest; download it again"):
        load("mnist", tmp_path)


@pytest.mark.parametrize("version", ["binary", "python 2", "python 3"])
@pytest.mark.parametrize("place", ["", "cifar10", "cifar-10-batches-bin", "cifar-10-batches-py"])
def test_cifar10_comes_from_either_version(tmp_path, version, place):
    batches = cifar_batches()
    if version == "binary":
        if place.endswith("py"):
            pytest.skip("the folder of the other version")
        cifar_binary(tmp_path / place, batches)
    else:
        if place.endswith("bin"):
            pytest.skip("the folder of the other version")
        cifar_python(tmp_path / place, batches, python_2 if version == "python 2" else python_3)
    found = load("cifar10", tmp_path)
    *train, test = batches.values()
    assert (found.name, found.shape, found.max_value, found.classes) == ("cifar10", (3, 32, 32), 255, 10)
    assert np.array_equal(found.train_samples, np.concatenate([images for images, _ in train]))
    assert np.array_equal(found.train_labels, np.concatenate([labels for _, labels in train]))
    assert np.array_equal(found.test_samples, test[0])
    assert np.array_equal(found.test_labels, test[1])
    assert found.train_samples.flags.writeable and found.test_samples.flags.writeable
    assert found.test_labels.dtype == np.int64
    assert found.note.startswith("cifar10: not the published content, by checksum: data_batch_1")


def test_of_two_versions_the_binary_is_taken(tmp_path):
    batches = cifar_batches()
    cifar_binary(tmp_path, batches)
    cifar_python(tmp_path, cifar_batches(seed=1), python_3)
    assert np.array_equal(load("cifar10", tmp_path).test_samples, batches["test_batch"][0])


@pytest.mark.skipif("SNN_COMPILE_DATA" not in os.environ, reason="SNN_COMPILE_DATA names no folder with data sets")
def test_mnist_as_published(tmp_path):
    folder = Path(os.environ["SNN_COMPILE_DATA"])
    found = load("mnist", folder)
    assert found.note == ""
    assert (len(found.train_samples), len(found.test_samples)) == (60_000, 10_000)
    assert found.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert found.test_labels[:5].tolist() == [7, 2, 1, 0, 4]
    for path in data_module.idx.MNIST.find(folder).values():
        shutil.copy(path, tmp_path)
    with pytest.raises(DataError, match="is of mnist, not of fashion-mnist"):
        load("fashion-mnist", tmp_path)
