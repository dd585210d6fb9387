"""`LavaJob`: what parent and child of a Lava run share: network, payloads and results as plain files in a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiler.fixed import FixedInput, FixedNetwork, FixedPopulation, FixedProjection
from ..compiler.synapses import Synapses

TRACED = ("spikes", "u", "v")


def save_network(folder: Path, network: FixedNetwork) -> None:
    """Writes ``network.json`` and ``network.npz``."""
    arrays: dict[str, NDArray[Any]] = {}
    for i, p in enumerate(network.populations):
        arrays |= {f"population{i}.{key}": getattr(p, key) for key in ("origin", "bias_mant", "bias_exp", "profiles")}
    for i, q in enumerate(network.projections):
        arrays |= {f"projection{i}.{key}": getattr(q.synapses, key) for key in ("indptr", "targets", "weights")}
        arrays[f"projection{i}.delays"] = q.synapses.delays
    scalars = {
        "steps": network.steps,
        "outputs": network.outputs,
        "votes": network.votes,
        "inputs": [[i.name, i.shape, i.encoding, i.max_value, i.levels] for i in network.inputs],
        "populations": [[p.name, p.shape, p.offset] for p in network.populations],
        "projections": [
            [q.source, q.target, q.synapses.n_source, q.synapses.n_target, q.exponent, q.host]
            for q in network.projections
        ],
    }
    (folder / "network.json").write_text(json.dumps(scalars))
    np.savez(folder / "network.npz", **arrays)


def load_network(folder: Path) -> FixedNetwork:
    """The inverse of `save_network`."""
    scalars = json.loads((folder / "network.json").read_text())
    with np.load(folder / "network.npz") as file:
        arrays = dict(file.items())
    populations = []
    for i, (name, shape, offset) in enumerate(scalars["populations"]):
        own = {key: arrays[f"population{i}.{key}"] for key in ("origin", "bias_mant", "bias_exp")}
        fields = own | FixedPopulation.of_profiles(arrays[f"population{i}.profiles"])
        populations.append(FixedPopulation(name=name, shape=tuple(shape), offset=offset, **fields))
    projections = []
    for i, (source, target, n_source, n_target, exponent, host) in enumerate(scalars["projections"]):
        parts = (arrays[f"projection{i}.{key}"] for key in ("indptr", "targets", "weights", "delays"))
        projections.append(FixedProjection(source, target, Synapses(n_source, n_target, *parts), exponent, host))
    inputs = [FixedInput(name, tuple(shape), *rest) for name, shape, *rest in scalars["inputs"]]
    return FixedNetwork(
        tuple(inputs),
        tuple(populations),
        tuple(projections),
        tuple(scalars["outputs"]),
        scalars["steps"],
        scalars["votes"],
    )


@dataclass(frozen=True, eq=False)
class LavaJob:
    """A run in a folder: `network`, how many `samples`, the populations to trace."""

    folder: Path
    network: FixedNetwork
    samples: int
    traces: tuple[str, ...] = ()

    @property
    def interval(self) -> int:
        """Steps from one sample's window to the next: T, and as long as spikes are in flight at its end."""
        return self.network.steps + max(
            (int(self.network.lags(p).max(initial=0)) for p in self.network.projections if not p.host), default=0
        )

    def start(self, name: str) -> int:
        """The Lava step (from 1) in which the first window of a population or input begins."""
        return self.network.offset(name) + 2

    @property
    def total_steps(self) -> int:
        """Until the last window of the last population has ended."""
        last = max(self.start(p.name) for p in self.network.populations)
        return (self.samples - 1) * self.interval + self.network.steps + last - 1

    @property
    def progress(self) -> Path:
        return self.folder / "progress"

    def file(self, kind: str, name: str) -> Path:
        """The array `kind` (payloads, biases, counts, paid, spikes, u, v) of a population or input."""
        return self.folder / f"{kind}{list(self.network.by_name).index(name)}.npy"

    def trace_files(self, name: str) -> dict[str, Path]:
        return {kind: self.file(kind, name) for kind in TRACED} if name in self.traces else {}

    def save(self, payloads: Mapping[str, NDArray[np.int32]], biases: Mapping[str, NDArray[np.int16]]) -> None:
        """Writes everything that the child reads, and empty arrays for what it fills in."""
        save_network(self.folder, self.network)
        plan = {"samples": self.samples, "traces": self.traces}
        (self.folder / "plan.json").write_text(json.dumps(plan))
        for name, array in payloads.items():
            np.save(self.file("payloads", name), array)
        for name, table in biases.items():
            np.save(self.file("biases", name), table)
        for p in self.network.populations:
            for kind in ("counts", "paid") if p.graded else ("counts",):
                self._make(kind, p.name, np.int32, (self.samples, p.size))
            for kind in self.trace_files(p.name):
                dtype = p.spike_dtype if kind == "spikes" else np.int32
                self._make(kind, p.name, dtype, (self.samples, self.network.steps, p.size))

    def _make(self, kind: str, name: str, dtype: Any, shape: Sequence[int]) -> None:
        make: Any = np.lib.format.open_memmap  # untyped in NumPy; a sparse file, all zeros
        make(self.file(kind, name), mode="w+", dtype=dtype, shape=tuple(shape))

    @classmethod
    def load(cls, folder: Path) -> LavaJob:
        """The inverse of `save`."""
        plan = json.loads((folder / "plan.json").read_text())
        return cls(folder, load_network(folder), plan["samples"], tuple(plan["traces"]))
