"""NIR and `.net` trees with members swapped, removed and reshaped: a network or a sentence, never anything else."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from snn_compile.compiler.network import Network
from snn_compile.errors import SnnCompileError
from snn_compile.frontend.readers.net.network import network_from_net_tree
from snn_compile.frontend.readers.nir.graph import network_from_nir_tree
from snn_compile.frontend.readers.options import ReadOptions

ONE, TWO, NONE = (np.full(2, n) for n in (1, 2, 0))


def nir_tree():
    """All kinds of layers, three kinds of neurons and a loop."""
    lif = {"type": "LIF", "tau": np.array(1e-3), "r": np.ones(1), "v_leak": np.zeros(1), "v_threshold": np.ones(1)}
    slow = {"type": "CubaLIF", "tau_mem": np.array(1e-3), "tau_syn": np.array(2e-3), "w_in": np.ones(1)}
    nodes = {
        "in": {"type": "Input", "shape": np.array([1, 6, 6])},
        "c": {"type": "Conv2d", "weight": np.ones((2, 1, 3, 3)), "bias": np.ones(2), "stride": ONE, "padding": ONE,
              "dilation": ONE, "groups": np.array(1), "input_shape": np.array([6, 6])},
        "l1": lif | {"v_reset": np.zeros(1)},
        "p": {"type": "SumPool2d", "kernel_size": TWO, "stride": TWO, "padding": NONE},
        "q": {"type": "AvgPool2d", "kernel_size": np.full(2, 3), "stride": ONE, "padding": ONE},
        "sc": {"type": "Scale", "scale": np.ones((2, 3, 3))},
        "f": {"type": "Flatten", "start_dim": np.array(0), "end_dim": np.array(-1)},
        "d": {"type": "Delay", "delay": np.full(18, 2e-4)},
        "fc": {"type": "Affine", "weight": np.ones((3, 18)), "bias": np.ones(3)},
        "l2": lif | slow | {"v_reset": np.zeros(1)},
        "r": {"type": "Linear", "weight": np.ones((3, 3))},
        "last": {"type": "Linear", "weight": np.ones((3, 3))},
        "li": {"type": "LI", "tau": np.full(3, 1e-3), "r": np.ones(3), "v_leak": np.zeros(3)},
        "th": {"type": "Threshold", "threshold": np.ones(3)},
        "out": {"type": "Output", "shape": np.array([3])},
    }  # fmt: skip
    names = list(nodes)
    row = [name for name in names if name != "r"]
    edges = [*zip(row, row[1:], strict=False), ("l2", "r"), ("r", "l2")]
    return {"node": {"type": "NIRGraph", "nodes": nodes, "edges": np.array(edges)}}


def net_tree():
    """All kinds of layers; both kinds of neurons."""
    cuba = {"type": "CUBA", "iDecay": np.array(4096), "vDecay": np.array(512), "vThMant": np.array(40),
            "refDelay": np.array(1), "gradedSpike": np.array(False), "wgtExp": np.array(0)}  # fmt: skip
    sdnn = {"type": "SDNN", "activation": "relu", "vThMant": np.array(2), "sigma_output": np.array(False)}
    sizes = {"stride": ONE, "padding": ONE, "dilation": ONE}
    layers = [
        {"type": "input", "shape": np.array([1, 6, 6]), "neuron": cuba, "weight": np.array(64), "bias": np.array([0])},
        {"type": "conv", "shape": np.array([2, 6, 6]), "weight": np.ones((2, 1, 3, 3)), "groups": np.array(1),
         "neuron": cuba, "delay": np.array([1, 2]), **sizes},
        {"type": "pool", "shape": np.array([2, 3, 3]), "weight": np.ones((1, 1, 2, 2)), "neuron": cuba,
         **sizes, "stride": TWO, "padding": NONE},
        {"type": "flatten", "shape": np.array([18])},
        {"type": "dense_rec", "shape": np.array([4]), "weight": np.ones((4, 18)), "weight_rec": np.ones((4, 4)),
         "neuron": cuba, "bias": np.ones(4), "delay": np.ones(4)},
        {"type": "dense", "shape": np.array([4]), "weight": np.ones((4, 4)), "neuron": sdnn},
        {"type": "concat", "layers": np.array([4])},
        {"type": "dense", "shape": np.array([4]), "weight": np.ones((4, 8)), "neuron": cuba},
        {"type": "average", "shape": np.array([2])},
    ]  # fmt: skip
    tree = {"layer": {str(i): layer for i, layer in enumerate(layers)}, "simulation": {"tSample": np.array(8)}}
    return copy.deepcopy(tree)  # no two layers share their neurons


SCALARS = (0, -1, 1, 2, 0.5, 12, 63, 4095, 4096, 2**17 - 1, 2**31 - 1, 2**40, -(2**63), 1e30, -1e30, 1e-30, 1e308, True)
OTHERS = (
    *(np.array(value) for value in SCALARS), np.array(2**63, np.uint64), np.zeros(0), np.zeros((0, 3)),
    np.zeros((3, 0)), np.array([1, 2, 3]), np.array([[1]]), np.ones((1, 1, 1, 1, 1)), np.ones((2,) * 6), ONE, TWO,
    NONE, np.full(2, 4096), np.array([1, 4096]), np.array([True, False]), np.zeros((2, 2), np.float16),
    np.full(3, 65504, np.float16), np.ones((1, 18)), np.array(["a", "b"]), np.array([["a", "b"]]),
    "", "x", "same", "relu", "NIRGraph", {}, {"type": "LIF"},
)  # fmt: skip
"""In place of any member; no array has more than 64 numbers, so only sizes that are read from one can be large."""
KINDS = (
    "Input", "Output", "LIF", "CubaLIF", "CubaLI", "IF", "I", "LI", "Threshold", "Linear", "Affine", "Conv1d",
    "Conv2d", "Flatten", "Scale", "Delay", "SumPool2d", "AvgPool2d", "NIRGraph", "dense", "dense_rec", "conv", "pool",
    "flatten", "concat", "average", "input", "CUBA", "LOIHI", "SDNN",
)  # fmt: skip


def groups_of(tree):
    """All groups that hold anything."""
    inner = [group for value in tree.values() if isinstance(value, dict) for group in groups_of(value)]
    return [tree, *inner] if tree else inner


def mutate(tree, random) -> None:
    """One member anywhere: replaced, removed, of another kind, scaled, taken from elsewhere, flat or a scalar."""
    groups = groups_of(tree)
    if not groups:
        return
    group, other = random.choice(groups), random.choice(groups)
    key, source = random.choice(list(group)), random.choice(list(other))
    value, how = group[key], random.randrange(8)
    numbers = isinstance(value, np.ndarray) and value.dtype.kind in "fi"
    if how == 0:
        del group[key]
    elif how == 1:
        group["type"] = random.choice(KINDS)
    elif how == 2:
        group[key] = copy.deepcopy(other[source])
    elif how == 3 and numbers:
        group[key] = value * random.choice((0, -1, 2, 0.5, 1e9, 1e-9, 1e30))
    elif how == 4 and numbers:
        group[key] = value.reshape(-1)[:1].reshape(()) if value.size else value.T
    elif how == 5 and isinstance(value, np.ndarray):
        group[key] = value.ravel()
    elif how == 6 and isinstance(value, np.ndarray) and value.dtype.kind == "U" and value.ndim == 2:
        edges = value.copy()
        edges[random.randrange(len(edges)), random.randrange(2)] = random.choice(edges.ravel().tolist())
        group[key] = edges
    else:
        group[key] = copy.deepcopy(random.choice(OTHERS))


FORMATS = {"nir": (nir_tree, network_from_nir_tree), "net": (net_tree, network_from_net_tree)}


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=80, deadline=None)
@given(random=st.randoms(use_true_random=True), reset=st.sampled_from([None, "soft", "hard"]))
def test_a_changed_tree_is_a_network_or_a_sentence(kind, random, reset) -> None:
    """Many trees per example, as a tree takes a millisecond and an example more."""
    make, read = FORMATS[kind]
    made = []
    for count in (0, *[1, 1, 2, 3] * 6):
        tree = make()
        for _ in range(count):
            mutate(tree, random)
        try:
            made.append(read(Path("x"), tree, ReadOptions(steps=4, reset=reset)))
        except SnnCompileError as error:
            assert error.problem
    assert made and all(isinstance(network, Network) for network in made)
