"""NIR files for the tests, in the layout of nir.write, and the equations of NIR in Euler steps."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from hdf5_here import tree_here
from snn_compile.frontend.readers.nir.graph import network_from_nir_tree
from snn_compile.frontend.readers.options import ReadOptions

DT = 1e-4
TEXT = h5py.string_dtype()


def chain(*kinds):
    """A graph of nodes in a row, as nested dicts; each is (name, type, parameters)."""
    nodes = {name: {"type": kind, **values} for name, kind, values in kinds}
    return {"type": "NIRGraph", "nodes": nodes, "edges": list(zip(list(nodes), list(nodes)[1:], strict=False))}


def small():
    """Two inputs, one LIF neuron."""
    lif = {"tau": np.array([1e-3]), "r": np.array([10.0]), "v_leak": np.zeros(1), "v_threshold": np.ones(1)}
    return chain(
        ("in", "Input", {"shape": np.array([2])}),
        ("fc", "Affine", {"weight": np.array([[0.5, 1.0]]), "bias": np.array([0.25])}),
        ("lif", "LIF", {**lif, "v_reset": np.zeros(1)}),
        ("out", "Output", {"shape": np.array([1])}),
    )


def save(path, graph, change=None):
    """Writes a graph of nested dicts; `change` gets the open file at the end."""

    def write(group, content):
        for key, value in content.items():
            if isinstance(value, dict):
                write(group.create_group(key), value)
            elif isinstance(value, str):
                group.create_dataset(key, data=value, dtype=TEXT)
            elif key == "edges":
                group.create_dataset(key, data=value if len(value) else np.zeros((0, 2)), dtype=TEXT)
            else:
                group.create_dataset(key, data=value)

    with h5py.File(path, "w") as file:
        file.create_dataset("version", data="1.0.8", dtype=TEXT)
        write(file.create_group("node"), graph)
        if change is not None:
            change(file)
    return Path(path)


def read(tmp_path, graph, change=None, **options):
    """A graph that no damaged file is made of: without a process for each."""
    return read_here(save(tmp_path / "graph.nir", graph, change), **options)


def read_here(path, **options):
    return network_from_nir_tree(path, tree_here(path), ReadOptions(**{"steps": 8, "dt": DT, **options}))


def euler(kind, p, x, dt, reset="hard"):
    """(steps, n) spikes, or membranes of those that have none, for the input x (steps, n); v begins at v_reset."""
    n = x.shape[1]
    p = {key: np.broadcast_to(np.asarray(value, float), n) for key, value in p.items()}
    start = p.get("v_reset", np.zeros(n))
    v, current, out = start.copy(), np.zeros(n), []
    for now in x:
        if kind.startswith("Cuba"):
            current = current + dt / p["tau_syn"] * (p["w_in"] * now - current)
            v = v + dt / p["tau_mem"] * (p["v_leak"] - v + p["r"] * current)
        elif kind.startswith("LI"):
            v = v + dt / p["tau"] * (p["v_leak"] - v + p["r"] * now)
        else:
            v = v + dt * p["r"] * now
        if kind in ("I", "LI", "CubaLI"):
            out.append(v)
            continue
        spikes = v > p["v_threshold"]
        v = np.where(spikes, v - p["v_threshold"] if reset == "soft" else start, v)
        out.append(spikes.astype(float))
    return np.array(out)
