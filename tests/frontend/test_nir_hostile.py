"""Graphs that lie: one sentence each, and no more memory than they deserve."""

import re
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from snn_compile.errors import ModelFileError, NetworkError
from snn_compile.frontend.readers import budget
from snn_compile.frontend.readers.nir.graph import read_nir
from snn_compile.frontend.readers.options import ReadOptions

sys.path.insert(0, str(Path(__file__).parent))
from nir_files import TEXT, chain, read, small

WEIGHT = "node/nodes/fc/weight"


def refused(tmp_path, sentence, change=None, graph=None, error=ModelFileError):
    with pytest.raises(error, match=sentence):
        read(tmp_path, graph or small(), change)


def replaced(path, **settings_):
    def change(file):
        if path in file:
            del file[path]
        file.create_dataset(path, **settings_)

    return change


def test_the_small_file_is_valid(tmp_path):
    assert read(tmp_path, small()).dump().splitlines()[1:] == [
        "  in: Input (2,) spikes <-",
        "  fc: Linear (1,) 2 weights + bias <- in",
        "  lif: LIF (1,) tau 10 threshold 1 > hard <- fc",
    ]


def test_no_file_and_no_nir_file(tmp_path):
    for name, content, sentence in (
        ("missing", None, "does not exist"), ("empty", b"", "is empty"), ("text", b"NIR", "is cut off or damaged"),
    ):  # fmt: skip
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelFileError, match=sentence):
            read_nir(tmp_path / name, ReadOptions(steps=1))
    with pytest.raises(ModelFileError, match="is a directory"):
        read_nir(tmp_path, ReadOptions(steps=1))
    with h5py.File(tmp_path / "other", "w") as file:
        file["layer"] = 1
    with pytest.raises(ModelFileError, match="without the group node, so no NIR file"):
        read_nir(tmp_path / "other", ReadOptions(steps=1))


def test_steps_and_dt_are_needed(tmp_path):
    with pytest.raises(ModelFileError, match="does not say how many steps a sample has; give --steps"):
        read(tmp_path, small(), steps=None)
    with pytest.raises(ModelFileError, match=r"is read with dt = 0.0 s, 1e-12 to 1e6 is possible; give --dt"):
        read(tmp_path, small(), dt=0.0)


def crowd(file):
    for i in range(500):
        file.copy("node/nodes/in", f"node/nodes/inner{i % 2}/nodes/{i}")
    for i in (0, 1):
        file.create_dataset(f"node/nodes/inner{i}/type", data="NIRGraph", dtype=TEXT)
        file.create_dataset(f"node/nodes/inner{i}/edges", data=np.zeros((0, 2)), dtype=TEXT)


def edges(data):
    return replaced("node/edges", data=data, dtype=TEXT)


@pytest.mark.parametrize(("change", "sentence"), [
    (edges([("in", "nowhere")]), "an edge at 'nowhere', which is no node of node"),
    (edges([("a", "b", "c")] * 5), "the shape .5, 3., .n, 2. is needed"),
    (edges([("in", "fc")] * 1001), "more than 1000 edges"),
    (replaced("node/edges", data=np.ones((2, 2))), "the edges of node have the dtype float64, texts are needed"),
    (replaced(WEIGHT, data=np.array([[1.0, 1e300]])), "holds values beyond 1e.30"),
    (replaced(WEIGHT, data=["a", "b"], dtype=TEXT), "its text .* has the shape .2,."),
    (replaced(WEIGHT, data=np.ones((1, 2), bool)), "has the dtype bool, numbers are needed"),
    (lambda file: file.create_group("node/nodes/fc/more"), "its member node/nodes/fc/more is no data set"),
    (crowd, "has more than 500 nodes"),
    (replaced("node/type", data="Linear", dtype=TEXT), "holds one Linear, a NIRGraph is needed"),
    (replaced("node/nodes/fc/type", data=3), "its node node/nodes/fc has no type"),
    (lambda file: file.__delitem__("node/nodes/fc/type"), "its node node/nodes/fc has no type"),
    (lambda file: file.__delitem__("node/edges"), "its graph node has no edges"),
    (lambda file: file.__delitem__("node/nodes"), "its graph node has no nodes"),
])  # fmt: skip
def test_one_sentence_for_each_lie(tmp_path, change, sentence):
    refused(tmp_path, sentence, change)


@pytest.mark.parametrize(("nodes", "links", "sentence"), [
    ({}, [("fc", "fc")], "gets 2 inputs|a loop without neurons"),
    ({}, [("lif", "in")], "in: the edge lif -> in enters the Input"),
    ({"a": {"type": "Threshold", "threshold": np.ones(1)}}, [("a", "lif")], "a: is not reached from in"),
    ({"b": {"type": "Linear", "weight": np.ones((3, 2))}}, [("in", "b"), ("b", "lif")],
     r"r has the shape|gets the shapes \(1,\) and \(3,\)|v_reset has the shape"),
])  # fmt: skip
def test_graphs_that_contradict_themselves(tmp_path, nodes, links, sentence):
    graph = small()
    graph["nodes"] |= nodes
    graph["edges"] += links
    refused(tmp_path, sentence, graph=graph, error=NetworkError)


@pytest.mark.parametrize(("kind", "values", "sentence"), [
    ("Conv2d", {"weight": np.ones((1, 1, 1, 1)), "padding": np.array(2**30)}, "its shape is|c: .* possible"),
    ("Conv2d", {"weight": np.ones((1, 1, 2, 2)), "padding": "same", "dilation": np.array(2**25 + 1)},
     "its kernel with its dilation is"),
    ("Conv2d", {"weight": np.ones((1, 1, 1, 1)), "padding": "full"}, "its padding is 'full', same or valid"),
    ("Conv2d", {"weight": np.ones((1, 1, 1, 1)), "stride": np.array(0)}, "stride is 0, 2 whole numbers of at least 1"),
    ("Conv2d", {"weight": np.ones((1, 1, 1, 1)), "stride": np.array(1.5)}, "stride is 1.5"),
    ("Conv2d", {"weight": np.ones((3, 1, 1, 1)), "groups": np.array(2)}, "3 channels in 2 groups"),
    ("Conv2d", {"weight": np.ones((1, 1, 1, 1)), "input_shape": np.array([3, 3])}, "its input_shape is not that"),
    ("AvgPool2d", {"kernel_size": np.array(2**14), "padding": np.array(2**14), "stride": np.array(2**13)},
     "its kernel for all channels is"),
])  # fmt: skip
def test_layers_that_would_not_fit_into_memory_or_make_no_sense(tmp_path, kind, values, sentence):
    usual = {"stride": np.array(1), "padding": np.array(0), "dilation": np.array(1), "groups": np.array(1)}
    usual = usual | {"bias": np.zeros(1)} if kind == "Conv2d" else {}
    graph = chain(
        ("in", "Input", {"shape": np.array([1, 4, 4])}), ("c", kind, usual | values),
        ("t", "Threshold", {"threshold": np.array(1.0)}), ("out", "Output", {"shape": np.array([1, 4, 4])}),
    )  # fmt: skip
    refused(tmp_path, sentence, graph=graph, error=NetworkError)


@pytest.mark.parametrize(("kind", "values"), [
    ("AvgPool2d", {"kernel_size": np.array(3), "padding": np.array(1), "stride": np.array(1)}),
    ("Conv2d", {"weight": np.ones((1, 1, 2, 2)), "padding": "same", "stride": np.array(1), "dilation": np.array(1),
                "groups": np.array(1), "bias": np.zeros(1)}),
])  # fmt: skip
def test_kernels_that_are_made_are_counted_over_all_layers(tmp_path, monkeypatch, kind, values):
    """Two of 3 by 3."""
    graph = chain(
        ("in", "Input", {"shape": np.array([1, 4, 4])}), ("a", kind, values), ("b", kind, values),
        ("t", "Threshold", {"threshold": np.array(1.0)}), ("out", "Output", {"shape": np.array([1, 4, 4])}),
    )  # fmt: skip
    monkeypatch.setattr(budget, "MOST", 18)
    assert read(tmp_path, graph).by_name["b"].weight.size == 9
    monkeypatch.setattr(budget, "MOST", 17)
    refused(tmp_path, "b: its kernel .* is .*, with it the layers have more than 17 numbers", None, graph, NetworkError)


def test_edges_that_double_at_every_layer_end_in_a_sentence(tmp_path):
    """Two edges into each of 20 layers, in rows of two, would be 2^20 copies."""
    layer = {"type": "Linear", "weight": np.eye(2)}
    graph = small()
    graph["nodes"] |= {f"{side}{i}": layer for side in "ab" for i in range(20)}
    graph["edges"] += [("in", "a0"), ("in", "b0"), ("a19", "fc"), ("b19", "fc")]
    graph["edges"] += [(f"{s}{i}", f"{t}{i + 1}") for i in range(19) for s in "ab" for t in "ab"]
    refused(tmp_path, "needs a copy per edge, more than 1000 layers", graph=graph, error=NetworkError)


def test_names_are_made_safe_and_stay_apart(tmp_path):
    graph = small()
    graph["nodes"] = {{"fc": "ü \n"}.get(k, k): v for k, v in graph["nodes"].items()}
    graph["nodes"]["ü \t"] = {"type": "Linear", "weight": np.ones((1, 2))}
    graph["edges"] = [("in", "ü \n"), ("ü \n", "lif"), ("in", "ü \t"), ("ü \t", "lif"), ("lif", "out")]
    names = [node.name for node in read(tmp_path, graph).nodes]
    assert len(set(names)) == 4 and all(re.fullmatch(r"[\w.\-]+", name, re.ASCII) for name in names)
