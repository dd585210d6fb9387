import doctest
import importlib

import pytest

PLAIN = ["data", "options", "readers", "readers.checkpoint", "readers.pickle"]
WITH_TORCH = ["chip_exact", "gradr", "model", "neurons"]


@pytest.mark.parametrize("name", PLAIN + WITH_TORCH)
def test_examples_in_docstrings(name):
    if name in WITH_TORCH:
        pytest.importorskip("torch")
    result = doctest.testmod(importlib.import_module(f"snn_compile.frontend.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
