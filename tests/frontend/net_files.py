"""`.net` files written field by field, and lava-dl's own, read from where the wheel put them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import h5py
import numpy as np
import pytest

CUBA = {"type": b"CUBA", "iDecay": 4096, "vDecay": 512, "vThMant": 40, "refDelay": 1, "gradedSpike": False}
SDNN = {"type": b"SDNN", "activation": b"relu", "vThMant": 2}


def goldens() -> Path:
    """lava-dl's test data; skips where they are not installed."""
    spec = importlib.util.find_spec("lava")
    places = list(spec.submodule_search_locations or []) if spec is not None else []
    for place in places:
        folder = Path(place).parent / "tests" / "lava" / "lib" / "dl" / "netx"
        if (folder / "tiny.net").exists():
            return folder
    pytest.skip("lava-dl's test data are not installed")


def write_layers(path: Path, layers, steps=8) -> Path:
    """Each layer a dict of fields; `neuron` a dict of its own, or None."""
    with h5py.File(path, "w") as file:
        for i, layer in enumerate(layers):
            group = file.create_group(f"layer/{i}")
            for key, value in layer.items():
                if key == "type":
                    group["type"] = np.array([value.encode()])
                elif key == "neuron":
                    for name, constant in (value or {}).items():
                        group[f"neuron/{name}"] = constant
                else:
                    group[key] = np.asarray(value)
        if steps is not None:
            file["simulation/tSample"] = steps
    return path


def dense(weight, neuron=CUBA, **fields) -> dict:
    weight = np.asarray(weight, np.float32)
    return {"type": "dense", "shape": [len(weight)], "weight": weight, "neuron": neuron, **fields}


def conv(weight, shape, neuron=CUBA, **fields) -> dict:
    weight = np.asarray(weight, np.float32)
    return {"type": "conv", "shape": shape, "weight": weight, "neuron": neuron, **fields}
