"""NIR graphs and `.net` files with fields of another kind or size: a network or a sentence, never anything else."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from snn_compile.compiler.network import Network
from snn_compile.errors import SnnCompileError
from snn_compile.frontend.readers.net.network import network_from_net_tree
from snn_compile.frontend.readers.nir.graph import network_from_nir_tree
from snn_compile.frontend.readers.options import ReadOptions

sys.path.insert(0, str(Path(__file__).parent))
from hdf5_here import tree_here
from net_files import CUBA, SDNN, conv, dense, write_layers
from nir_files import chain, save

READERS = {"nir": network_from_nir_tree, "net": network_from_net_tree}
OTHERS = [
    "", "CUBA", "SDNN", "NIRGraph", "LIF", "a\nb", {}, {"type": "LIF"}, np.zeros(0), np.zeros((2, 0)), np.ones(1),
    np.float64(2.5), np.int64(-3), np.array([1, 2, 3]), np.full((2, 3), 0.5), np.full((3, 1, 2, 2), 2.0),
    np.array([-1]), np.array(7), np.array([True, False]), np.array(["a", "b"]), np.array([[0, 1], [1, 0]]),
    np.full(2, 1e30), np.array([2**40]), np.ones((2, 2, 2, 2, 2)),
]  # fmt: skip


def graph():
    one = np.ones(2)
    cuba = {"tau_mem": 2e-3 * one, "tau_syn": 1e-3 * one, "r": one, "v_leak": 0 * one, "v_threshold": one, "w_in": one}
    conv2d = {"weight": np.ones((2, 1, 2, 2)), "bias": np.ones(2), "stride": np.array([1, 1]), "groups": np.array(1),
              "padding": np.array([0, 0]), "dilation": np.array([1, 1]), "input_shape": np.array([3, 3])}  # fmt: skip
    pool = {"kernel_size": np.array([2, 2]), "stride": np.array([2, 2]), "padding": np.array([0, 0])}
    return chain(
        ("in", "Input", {"shape": np.array([1, 3, 3])}), ("c", "Conv2d", conv2d), ("p", "SumPool2d", pool),
        ("f", "Flatten", {"start_dim": np.array(0), "end_dim": np.array(-1)}), ("s", "Scale", {"scale": one}),
        ("d", "Delay", {"delay": 1e-4 * one}), ("a", "Affine", {"weight": np.eye(2), "bias": one}),
        ("y", "CubaLIF", {**cuba, "v_reset": 0 * one}), ("l", "Linear", {"weight": np.eye(2)}),
        ("z", "LI", {"tau": 1e-3 * one, "r": one, "v_leak": 0 * one}), ("out", "Output", {"shape": np.array([2])}),
    )  # fmt: skip


def layers():
    return [
        {"type": "input", "shape": [1, 4, 4], "weight": np.array([2]), "bias": np.array([1]), "neuron": CUBA},
        conv(np.ones((2, 1, 2, 2)), [2, 3, 3], stride=[1, 1], padding=[0, 0], dilation=[1, 1], groups=1, delay=[1]),
        {"type": "flatten", "shape": [18]},
        dense(np.ones((3, 18)), bias=np.array([1, 2, 3])),
        {**dense(np.ones((3, 3))), "type": "dense_rec", "weight_rec": np.eye(3)},
        {"type": "concat", "layers": [3]},
        dense(np.ones((4, 6)), neuron=SDNN),
        {"type": "average", "shape": [2]},
    ]


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trees")
    files = {"nir": save(folder / "g.nir", graph()), "net": write_layers(folder / "g.net", layers())}
    return {kind: tree_here(path) for kind, path in files.items()}


def places(tree, above=()):
    for key, value in tree.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from places(value, (*above, key))


def test_the_trees_are_read_as_they_are(trees):
    assert isinstance(network_from_nir_tree(Path("g.nir"), trees["nir"], ReadOptions(steps=4)), Network)
    assert isinstance(network_from_net_tree(Path("g.net"), trees["net"], ReadOptions()), Network)


@pytest.mark.parametrize("kind", READERS)
@given(data=st.data())
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_fields_of_another_kind_or_size(trees, kind, data):
    tree = copy.deepcopy(trees[kind])
    for _ in range(data.draw(st.integers(1, 3))):
        every = [place for place in places(tree) if len(place) > 1]
        *above, key = data.draw(st.sampled_from(every))
        group = tree
        for name in above:
            group = group[name]
        if data.draw(st.booleans()):
            group[key] = copy.deepcopy(data.draw(st.sampled_from(OTHERS)))
        else:
            del group[key]
    try:
        network = READERS[kind](Path("file"), tree, ReadOptions(steps=4, max_value=3))
    except SnnCompileError as error:
        assert 0 < len(str(error)) < 2000
    else:
        assert isinstance(network, Network)
