"""The check before compiling: a line per layer, the chip's part, and whether it compiles as given."""

from __future__ import annotations

import numpy as np
import pytest
from snn_compile.compiler.findings import Finding, UnsupportedModelError, settle
from snn_compile.compiler.network import Network
from snn_compile.compiler.nodes import LIF, Input, Linear
from snn_compile.errors import ModelFileError, NetworkError, UnsupportedError
from snn_compile.frontend import check
from snn_compile.frontend.check import check_model
from snn_compile.frontend.readers.options import ReadOptions
from snn_compile.hw_targets import chip as chips


def network(neuron=None, findings=(), **source):
    nodes = (Input("x", shape=(2,), **source), Linear("fc", weight=np.full((3, 2), 2.0)), neuron or LIF("y"))
    return Network(nodes, (("x", "fc"), ("fc", "y")), steps=4, findings=findings)


@pytest.fixture
def model(monkeypatch, tmp_path):
    """A way to let the reader give a network, or raise."""

    def put(found):
        def read(path, options):
            if isinstance(found, Exception):
                raise found
            return found

        monkeypatch.setattr(check, "read_model", read)
        return tmp_path / "model.any"

    return put


def lines(result):
    return [(finding.layer, finding.kind) for finding in result.findings]


def test_layers_stand_in_the_order_of_the_network_and_each_has_a_line(model):
    nearly = Finding("fc", "approximated", "its delay of 0.4 steps becomes 0")
    found = [Finding("y", "exact", "LIF"), Finding("y", "assumed", "hard reset"), nearly]
    path = model(network(findings=tuple(found)))
    result = check_model(path, ReadOptions())
    assert lines(result) == [("x", "exact"), ("fc", "exact"), ("fc", "approximated"), ("y", "exact"), ("y", "assumed")]
    assert (result.compiles, result.sentence) == (False, "model.any compiles with --allow-approximation only")
    allowed = check_model(path, ReadOptions(allow_approximation=True), chips.load("loihi2"))
    assert (allowed.compiles, allowed.sentence) == (True, "model.any compiles on loihi2, nearly")
    assert allowed.target == "loihi2"


def test_the_chip_has_a_say_for_every_population(model):
    path = model(network(LIF("y", reset="soft"), encoding="spikes", max_value=9))
    assert check_model(path, ReadOptions()).compiles
    assert check_model(path, ReadOptions(), chips.load("loihi2")).compiles
    result = check_model(path, ReadOptions(), chips.load("loihi1"))
    assert lines(result)[-2:] == [("x", "unsupported"), ("y", "unsupported")]
    assert result.sentence == "model.any does not compile on loihi1: 2 layers not supported"


def test_all_that_a_reader_refuses_is_listed(model):
    found = [Finding("a", "exact", "Linear"), Finding("b", "unsupported", "is a transformer"),
             Finding("c", "unsupported", "is a QIF neuron", "use LIF")]  # fmt: skip
    result = check_model(model(UnsupportedModelError(found)), ReadOptions())
    assert lines(result) == [("a", "exact"), ("b", "unsupported"), ("c", "unsupported")]
    assert not result.compiles
    alone = check_model(model(NetworkError("fc", "has NaN", "train it again")), ReadOptions())
    assert [f.way_out for f in alone.findings] == ["train it again"]
    with pytest.raises(ModelFileError, match="is damaged"):
        check_model(model(ModelFileError("model.any", "is damaged", "copy it again")), ReadOptions())


def test_nothing_is_compiled_nearly_that_nobody_allowed():
    nearly, refused = Finding("fc", "approximated", "is rounded"), Finding("y", "unsupported", "is odd", "drop it")
    settle([Finding("x", "assumed", "T is 4"), nearly], True)
    with pytest.raises(UnsupportedError, match="fc: is rounded; allow it with --allow-approximation"):
        settle([nearly], False)
    with pytest.raises(UnsupportedError, match="y: is odd; drop it"):
        settle([nearly, refused], True)
