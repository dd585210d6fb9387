"""A network that was written as a checkpoint comes back as it was: every node, constant and edge."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from snn_compile.compiler.network import Network  # noqa: E402
from snn_compile.compiler.nodes import FixedNeurons, Input, Linear  # noqa: E402
from snn_compile.frontend.checkpoint import write_checkpoint  # noqa: E402
from snn_compile.frontend.readers import read_model  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[1] / "compiler"))
from test_neurons import random_trained  # noqa: E402


def same(ours, theirs):
    assert (ours.edges, ours.steps, ours.votes) == (theirs.edges, theirs.steps, theirs.votes)
    for a, b in zip(ours.nodes, theirs.nodes, strict=True):
        assert type(a) is type(b)
        for field in dataclasses.fields(a):
            assert np.array_equal(getattr(a, field.name), getattr(b, field.name)), (a.name, field.name)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 1))
def test_a_checkpoint_carries_every_network(tmp_path, seed):
    network, _ = random_trained(seed)
    write_checkpoint(network, tmp_path / "model.pt")
    same(network, read_model(tmp_path / "model.pt"))


@given(
    st.integers(0, 2**23 - 1), st.lists(st.integers(-1, 4095), min_size=3, max_size=3), st.integers(0, 4095),
    st.sampled_from(["lif", "sigma-delta", "integrator"]), st.integers(0, 7), st.integers(-8, 7),
)  # fmt: skip
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_checkpoint_carries_neurons_in_integers(tmp_path, vth, du, dv, model, shift, exponent):
    neurons = FixedNeurons("y", vth=vth, du=np.array(du), dv=dv, model=model, state_exp=shift, exponent=exponent)
    nodes = (Input("x", shape=(2,)), Linear("fc", weight=np.full((3, 2), 4.0)), neurons)
    network = Network(nodes, (("x", "fc"), ("fc", "y")), steps=4)
    write_checkpoint(network, tmp_path / "model.pt")
    same(network, read_model(tmp_path / "model.pt"))
