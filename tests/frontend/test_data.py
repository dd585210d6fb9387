import numpy as np
import pytest
from snn_compile.errors import DataError
from snn_compile.frontend.data import load


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


def test_unknown_name_is_a_sentence_with_the_names():
    with pytest.raises(DataError, match=r"mnistt: is no data set that is known here; use one of: .*digits"):
        load("mnistt")
