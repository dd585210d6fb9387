"""Our own checkpoint, read inertly: structure and types are checked before a `Network` is made of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....compiler.network import Network
from ....compiler.nodes import LIF, Input, MaxPool2d, node_from_plain
from ....errors import ModelFileError
from .archive import RETRAIN, TorchArchive
from .pickle import MAX_PICKLE, InertUnpickler
from .tensors import Storages

FORMAT = "snn-compile checkpoint"
VERSION = 1
MAX_NODES = 500
MAX_EDGES = 1000
MAX_TEXT = 2000
MAX_NEURONS = 2**26

Plain = dict[str, Any]


def read_checkpoint(path: str | Path) -> Network:
    """The network in a checkpoint of `snn-train`, with rates, calibration samples and facts.

    Raises:
        ModelFileError: the file is missing, damaged, of another kind or version, or holds code.
        NetworkError, UnsupportedError: the network contradicts itself, or has a layer of an unknown kind.

    >>> read_checkpoint("missing.pt")
    Traceback (most recent call last):
    snn_compile.errors.ModelFileError: missing.pt: does not exist; check the path
    """
    path = Path(path)
    with TorchArchive(path) as archive:
        storages = Storages(archive)
        unpickler = InertUnpickler(str(path), storages.storage, storages.tensor)
        content = unpickler.load(archive.read("data.pkl", MAX_PICKLE))
    return _Content(path, content).network()


class _Content:
    """What the pickle held; every part is checked for its type before it is used."""

    def __init__(self, path: Path, content: Any) -> None:
        self.path = path
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise self._error("is a PyTorch file, but no snn-compile checkpoint", "train the network with snn-train")
        version = content.get("version")
        if version != VERSION:
            raise self._error(
                f"has the format version {_name(version)}, this program reads {VERSION}", "update snn-compile"
            )
        self.content: Plain = content

    def _error(self, problem: str, way_out: str = RETRAIN) -> ModelFileError:
        return ModelFileError(str(self.path), problem, way_out)

    def _get(self, owner: Plain, key: str, kind: type) -> Any:
        value = owner.get(key)
        if not isinstance(value, kind):
            raise self._error(f"{key} is {type(value).__name__}, {kind.__name__} is needed")
        return value

    def network(self) -> Network:
        """All parts together."""
        architecture = self._get(self.content, "architecture", dict)
        arrays = self._arrays("state_dict")
        nodes = self._get(architecture, "nodes", list)
        if len(nodes) > MAX_NODES:
            raise self._error(f"has {len(nodes)} layers, {MAX_NODES} are possible", "leave layers out")
        built = tuple(node_from_plain(self._node(node), arrays) for node in nodes)
        rates = self._arrays("rates")
        calibration = self.content.get("calibration")
        network = Network(
            built,
            self._edges(architecture),
            self._get(architecture, "steps", int),
            rates,
            calibration,
            self._facts(),
            self._get({"votes": 1, **architecture}, "votes", int),
        )
        for name, shape in network.shapes.items():
            if math.prod(shape) > MAX_NEURONS:
                raise self._error(f"its layer {name} has the shape {shape}, {MAX_NEURONS} values are possible")
        self._check_rates(network)
        self._check_calibration(network)
        return network

    def _arrays(self, key: str) -> dict[str, NDArray[Any]]:
        arrays = self._get(self.content, key, dict)
        for name, array in arrays.items():
            if not isinstance(name, str) or not isinstance(array, np.ndarray):
                raise self._error(f"{key} holds {_name(name)}, which is no tensor")
        return dict(arrays)

    def _node(self, node: Any) -> Plain:
        if not isinstance(node, dict):
            raise self._error(f"a layer is {type(node).__name__}, dict is needed")
        for key, value in node.items():
            items = value if isinstance(value, list) and len(value) <= 8 else [value]
            if not isinstance(key, str) or not all(map(_is_plain, items)):
                raise self._error(f"a layer has the setting {_name(key)}, whose value is no text or number")
        return node

    def _edges(self, architecture: Plain) -> tuple[tuple[str, str], ...]:
        edges = self._get(architecture, "edges", list)
        if len(edges) > MAX_EDGES:
            raise self._error(f"has {len(edges)} edges, {MAX_EDGES} are possible", "leave layers out")
        for edge in edges:
            if not (isinstance(edge, list) and len(edge) == 2 and all(isinstance(end, str) for end in edge)):
                raise self._error("has an edge that is no pair of names")
        return tuple((source, target) for source, target in edges)

    def _facts(self) -> Plain:
        facts = self._get(self.content, "facts", dict)
        for key, value in facts.items():
            if not (isinstance(key, str) and _is_plain(key) and _is_plain(value)):
                raise self._error(f"its fact {_name(key)} is no text or number")
        return dict(facts)

    def _check_rates(self, network: Network) -> None:
        populations = [node.name for node in network.nodes if isinstance(node, (Input, LIF, MaxPool2d))]
        sizes = {name: math.prod(network.shapes[name]) for name in populations}
        for name, rate in network.rates.items():
            if name not in sizes:
                raise self._error(f"has rates for {_name(name)}, which is no population")
            if rate.shape != (sizes[name],) or rate.dtype.kind != "f":
                raise self._error(
                    f"has {rate.dtype} rates of the shape {rate.shape} for {name} of {sizes[name]} neurons"
                )
            if not bool(((rate >= 0) & (rate <= 1)).all()):
                raise self._error(f"has rates for {name} that are not between 0 and 1")

    def _check_calibration(self, network: Network) -> None:
        samples = network.calibration
        if samples is None:
            return
        source = next(node for node in network.nodes if isinstance(node, Input))
        if not isinstance(samples, np.ndarray) or samples.dtype.kind not in "iu" or samples.ndim < 2:
            raise self._error("its calibration samples are no integers (samples, …)")
        size = math.prod(source.shape) * (network.steps if source.encoding == "spikes" else 1)
        if math.prod(samples.shape[1:]) != size:
            raise self._error(
                f"its calibration samples have the shape {samples.shape[1:]}, the input has {source.shape}"
            )
        if samples.size and not 0 <= int(samples.min()) <= int(samples.max()) <= source.max_value:
            raise self._error(f"its calibration samples are not within 0 and {source.max_value}")


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_TEXT
    return value is None or isinstance(value, (bool, int, float))


def _name(value: Any) -> str:
    """A text or number for a sentence; anything else by its type."""
    return repr(value)[:80] if isinstance(value, (str, int, float)) else f"of type {type(value).__name__}"
