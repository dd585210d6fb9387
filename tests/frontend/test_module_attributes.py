"""What a stranger may have written into the attributes of a pickled module: a network or a sentence, soon."""

import math
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from snn_compile.compiler.findings import UnsupportedModelError
from snn_compile.compiler.network import Network
from snn_compile.errors import ModelFileError, SnnCompileError
from snn_compile.frontend.readers.options import ReadOptions
from snn_compile.frontend.readers.pytorch.archive import TorchArchive
from snn_compile.frontend.readers.pytorch.file import read_torch
from snn_compile.frontend.readers.pytorch.module_pickle import ModuleUnpickler, Stub
from snn_compile.frontend.readers.pytorch.module_tree import is_module, module_tree
from snn_compile.frontend.readers.pytorch.modules import network_from_module
from snn_compile.frontend.readers.pytorch.pickle import InertUnpickler
from snn_compile.frontend.readers.pytorch.tensors import Storages

sys.path.insert(0, str(Path(__file__).parent))
torch = pytest.importorskip("torch")
from archives import number, save  # noqa: E402
from stand_ins import JELLY, make, neuron  # noqa: E402
from stand_ins import save as save_module  # noqa: E402

nn = torch.nn
OPTIONS = ReadOptions(steps=3, encoding="graded", max_value=1)
IMAGES = ReadOptions(steps=3, encoding="graded", max_value=1, input_shape=(1, 6, 6))


def plain():
    return nn.Sequential(nn.Linear(3, 2), neuron("LIFNode"))


def refused(tmp_path, module, sentence, options=OPTIONS):
    with pytest.raises(UnsupportedModelError, match=sentence):
        read_torch(save_module(module, tmp_path / "net.pt"), options)


P1, P2, P5, BITS = 11400714785074694791, 14029467366897019727, 2870177450012600261, 2**64


def colliding(count):
    """Pairs of whole numbers whose tuples have the same hash in CPython; the second is solved for."""
    keys, a = [], 0
    while len(keys) < count:
        a += 1
        lane = (P5 + a * P2) % BITS
        lane = ((lane << 31) | (lane >> 33)) % BITS * P1 % BITS
        wanted = 123456789 * pow(P1, -1, BITS) % BITS
        b = (((wanted >> 31) | (wanted << 33)) % BITS - lane) * pow(P2, -1, BITS) % BITS
        if b < 2**61 - 1:
            keys.append((a, b))
    return keys


def test_keys_of_the_same_hash_take_no_time(tmp_path):
    keys = colliding(20_000)
    assert len({hash(key) for key in keys[:9]}) == 1
    body = b"".join(number(a) + number(b) + b"\x86N" for a, b in keys)
    path = save(tmp_path / "net.pt", None, pickle=b"\x80\x02}(" + body + b"u.")
    begin = time.perf_counter()
    with pytest.raises(ModelFileError, match=r"too many keys of dicts that are no text, 4096 numbers or 256 tuples"):
        read_torch(path, OPTIONS)
    assert time.perf_counter() - begin < 2


@pytest.mark.parametrize("cls", [InertUnpickler, ModuleUnpickler])
def test_number_keys_are_counted_over_all_dicts(cls):
    """Their hash is the number itself, so that a file can choose places of the dict that are taken."""

    def load(count):
        entries = [b"(" + b"".join(number(n) + b"N" for n in range(part)) + b"u" for part in (count // 2, count // 2)]
        return cls("file", lambda *_: None, lambda *_: None).load(
            b"\x80\x02]}" + entries[0] + b"a}" + entries[1] + b"a."
        )

    assert len(load(4096)) == 2
    with pytest.raises(ModelFileError, match=r"too many keys of dicts"):
        load(4098)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("forward", print), ("forward", None), ("__call__", print), ("_call_impl", print), ("_slow_forward", print),
        ("_conv_forward", print), ("neuronal_fire", print), ("multi_step_forward", print),
        ("_forward_hooks_with_kwargs", {1: True}), ("_forward_pre_hooks_with_kwargs", {1: True}),
        ("_forward_hooks_always_called", {1: True}), ("_forward_hooks", torch.ones(2)),
        ("_forward_pre_hooks", torch.ones(())), ("_forward_hooks", 0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["root", "layer", "neuron", "surrogate"])
def test_what_replaces_a_forward_is_refused_by_name(tmp_path, name, value, place):
    net = plain()
    part = {"root": net, "layer": net[0], "neuron": net[1], "surrogate": net[1].surrogate_function}[place]
    part.__dict__[name] = value
    text = name.strip("_").replace("_", " ") if "hooks" in name else f"its own {name}"
    sentence = {"root": "Sequential: ", "layer": "0: ", "neuron": "1: ", "surrogate": "1: does not fire by"}[place]
    refused(tmp_path, net, sentence + (f"has {text}, so that it computes" if place != "surrogate" else ""))


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (lambda: nn.Flatten(), "start_dim"), (lambda: nn.Flatten(), "end_dim"), (lambda: nn.Conv2d(1, 2, 3), "padding"),
        (lambda: nn.Conv2d(1, 2, 3), "padding_mode"), (lambda: nn.Conv2d(1, 2, 3), "groups"),
        (lambda: nn.AvgPool2d(2), "ceil_mode"), (lambda: neuron("LIFNode"), "v_threshold"),
        (lambda: neuron("LIFNode"), "decay_input"), (lambda: nn.Dropout(), "p"),
    ],
)  # fmt: skip
def test_settings_that_are_tensors(tmp_path, layer, name):
    net = nn.Sequential(layer())
    setattr(net[0], name, torch.ones(3))
    refused(tmp_path, net, rf"0: its {name} is a tensor of shape \(3,\), one value is needed", IMAGES)
    net[0].__dict__[name] = None
    net[0].note = torch.ones(3)
    with pytest.raises(SnnCompileError):
        read_torch(save_module(net, tmp_path / "net.pt"), OPTIONS)


SCALAR = Stub("numpy.core.multiarray.scalar", (Stub("numpy.dtype", ("f8",), (3, "<")), b"\0" * 8))
SEQUENTIAL = "torch.nn.modules.container.Sequential"
VALUES = [
    None, True, 0, -1, 1, 2**62, -(2**63), 0.5, math.nan, math.inf, -1e300, "", "same", "x" * 300, "\x1b[31m", b"x",
    (), (1,), (1, 2), (1, 2, 3), (None, None), ("a", 2), [], {}, {1: 2}, Stub("a.b"), SCALAR, 10**18,
    Stub("numpy.dtype", ("f8",)), Stub(SEQUENTIAL, (), {"_modules": {}, "_parameters": {}, "_buffers": {}}),
    *(np.zeros(shape) for shape in [(), (0,), (3,), (0, 3), (2, 0, 3, 3), (2, 1, 1, 1)]), np.array(True),
    np.array([True, False]), np.full(2, np.nan, np.float32), np.ones((3, 2), np.int8), (np.ones(2), np.ones(2)),
    [np.ones(2), 1], np.full((3, 2), 2**63, np.uint64),
]  # fmt: skip


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    net = nn.Sequential(
        make(f"{JELLY}layer.Conv2d", 1, 2, 3), nn.BatchNorm2d(2), neuron("LIFNode"), nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(2, 3), neuron("ParametricLIFNode"),
        make(f"{JELLY}layer.VotingLayer", voting_size=3),
    )  # fmt: skip
    net[8].w = nn.Parameter(torch.tensor(0.5))
    net[1].weight_orig, net[1].weight_mask = nn.Parameter(torch.rand(2)), torch.ones(2)
    path = save_module(net, tmp_path_factory.mktemp("fuzz") / "net.pt")
    assert read_torch(path, IMAGES).votes == 3
    with TorchArchive(path) as archive:
        yield archive


def stubs(value):
    """Every object with attributes in it, the outermost first."""
    below = value.state if isinstance(value, Stub) else value
    inner = [stub for part in below.values() for stub in stubs(part)] if isinstance(below, dict) else []
    return [value, *inner] if isinstance(value, Stub) and isinstance(below, dict) and below else inner


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_attributes_are_replaced_dropped_and_renamed(archive, data):
    storages = Storages(archive)
    unpickler = ModuleUnpickler("net", storages.storage, storages.tensor, storages.tensor_of_type)
    root = unpickler.load(archive.read("data.pkl", 2**24))
    for _ in range(data.draw(st.integers(1, 3))):
        found = stubs(root)
        stub = data.draw(st.sampled_from(found))
        key = data.draw(st.sampled_from(list(stub.state)))
        value, how = stub.state[key], data.draw(st.sampled_from(["entry", "entry", "value", "value", "drop", "class"]))
        if how == "class":
            stub.name = data.draw(st.sampled_from(found)).name
        elif how == "entry" and isinstance(value, dict) and value:
            value[data.draw(st.sampled_from(list(value)))] = data.draw(st.sampled_from(VALUES))
        elif how == "drop" and len(stub.state) > 1:
            del stub.state[key]
        else:
            stub.state[key] = data.draw(st.sampled_from(VALUES))
    if is_module(root):
        begin = time.perf_counter()
        try:
            assert isinstance(network_from_module("net", module_tree("net", root), IMAGES), Network)
        except SnnCompileError as error:
            assert str(error).isprintable()
            assert len(str(error)) < 1000
        assert time.perf_counter() - begin < 5
