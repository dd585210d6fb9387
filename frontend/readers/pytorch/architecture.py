"""``--architecture FILE.toml``: the layers of a state dict, in their order, with what the tensors do not say.

::

    steps = 25                       # T; votes = 1; ignore = ["log_vars"]: tensors that belong to no layer
    [input]
    shape = [784]                    # encoding = "graded", max_value = 255, mean = [0.13], std = [0.31]

    [[layer]]
    kind = "linear"
    name = "fc1"                     # its tensors are fc1.weight and fc1.bias
    [[layer]]
    kind = "snntorch.Leaky"
    name = "lif1"                    # reset_delay = true; from = ["fc1"]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
from numpy.typing import NDArray

from ....compiler.findings import Finding
from ....compiler.network import Network
from ....errors import ModelFileError
from ..options import ReadOptions
from ..regular import open_regular
from .architecture_layers import KINDS, LayerKind
from .chain import Chain
from .layers import OptionalShape, Piece, refuse
from .module_tree import MAX_NAME, is_name
from .pickle import printable
from .state_dict import AVERAGED, State, is_ignored, names, without_prefix

MAX_FILE = 2**20
MAX_LAYERS = 500
TENSORS = "tensors"
"""What findings about the names of all tensors are said of."""
UNUSED = ("num_batches_tracked", "mem", "syn", "spk", AVERAGED)
"""Tensors that say nothing about a trained network."""


class _Input(msgspec.Struct, forbid_unknown_fields=True):
    shape: list[int] | None = None
    encoding: Literal["graded", "rate", "spikes"] | None = None
    max_value: int | None = None
    mean: list[float] | None = None
    std: list[float] | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    layer: list[dict[str, Any]]
    input: _Input = msgspec.field(default_factory=_Input)
    steps: int | None = None
    votes: int = 1
    ignore: list[str] = []


def network_from_architecture(subject: str, state: State, path: Path, options: ReadOptions) -> Network:
    """The network of `state`, whose layers `path` names.

    Raises:
        ModelFileError: the description cannot be read, or a tensor is left over.
        UnsupportedModelError: a layer is unknown, lacks a tensor or has a setting that cannot be.
        NetworkError: the layers do not fit each other.
    """
    content = _read(path)
    chain = Chain(subject, options)
    chain.votes = content.votes
    given = content.input
    if given.mean is not None or given.std is not None:
        mean, std = given.mean or [0.0] * len(given.std or []), given.std or [1.0] * len(given.mean or [])
        chain.mean_std = mean, std
    _agree(path, content, options)
    named = [layer["name"] for layer in content.layer if isinstance(layer.get("name"), str)]
    state, prefix = without_prefix(state, named, content.ignore)
    if prefix:
        chain.findings.append(Finding(TENSORS, "assumed", f"the {prefix} before all their names is left out"))
    layers = _Layers(chain, state, str(path))
    chain.begin(tuple(given.shape) if given.shape else options.input_shape or layers.first_shape(content.layer))
    for number, layer in enumerate(content.layer, start=1):
        layers.add(layer, number)
    layers.check_any()
    network = chain.network(content.steps, given.encoding, given.max_value)
    layers.check_unused(prefix, content.ignore)
    return network


def _agree(path: Path, content: _File, options: ReadOptions) -> None:
    """Raises where the file and a flag say different things."""
    given = content.input
    shape = tuple(given.shape) if given.shape else None
    said = {"steps": content.steps, "encoding": given.encoding, "max_value": given.max_value, "input_shape": shape}
    for key, value in said.items():
        told = getattr(options, key)
        if value is not None and told is not None and told != value:
            flag = "--" + key.replace("_", "-")
            raise ModelFileError(str(path), f"says {key} {value}, {flag} says {told}", "give one of the two")


def _read(path: Path) -> _File:
    with open_regular(path, "the description of the layers")[0] as file:
        raw = file.read(MAX_FILE + 1)
    if len(raw) > MAX_FILE:
        raise ModelFileError(str(path), f"has more than {MAX_FILE} bytes", "give a description of layers")
    try:
        content = msgspec.toml.decode(raw, type=_File)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise ModelFileError(
            str(path), f"is no description of layers ({printable(str(error)[:200])})", "correct it"
        ) from error
    if not 1 <= len(content.layer) <= MAX_LAYERS:
        raise ModelFileError(
            str(path), f"has {len(content.layer)} layers, 1 to {MAX_LAYERS} are possible", "correct it"
        )
    if len(content.ignore) > MAX_LAYERS:
        raise ModelFileError(str(path), f"ignores {len(content.ignore)} names, {MAX_LAYERS} are possible", "name parts")
    return content


class _Layers:
    def __init__(self, chain: Chain, state: State, path: str) -> None:
        self.chain, self.state, self.path = chain, state, path
        self.used: set[str] = set()

    def first_shape(self, layers: list[dict[str, Any]]) -> OptionalShape:
        """The inputs of a linear layer that comes first, None where another layer does."""
        first = next((layer for layer in layers if layer.get("kind") not in ("flatten", "dropout")), {})
        weight = self.state.get(f"{first.get('name')}.weight")
        flat = first.get("kind") == "linear" and weight is not None and weight.ndim == 2
        return (weight.shape[1],) if flat and weight is not None else None

    def add(self, layer: dict[str, Any], number: int) -> None:
        """One table of the file."""
        kind = layer.get("kind")
        known = KINDS.get(kind) if isinstance(kind, str) else None
        name = layer.get("name", f"{kind}{number}")
        if not is_name(name) or not name or name in self.chain.exits:
            way_out = f"give each its own name of up to {MAX_NAME} printable characters"
            raise ModelFileError(self.path, f"its layer {number} has the name {name!r}"[:200], way_out)
        sources = layer.get("from")
        sources = [sources] if isinstance(sources, str) else sources
        if sources is not None and not (isinstance(sources, list) and sources and all(map(_is_text, sources))):
            raise ModelFileError(self.path, f"its layer {name} has a from that is no list of names", "correct it")
        if sources is not None and len(sources) != len(set(sources)):
            raise ModelFileError(self.path, f"its layer {name} has a name twice in its from", "double the weights")

        def make(shape: OptionalShape) -> Piece | None:
            if known is None:
                raise refuse(name, f"is of kind {kind!r}"[:80], f"use one of {', '.join(KINDS)}")
            return known.make(name, self._settings(name, layer, known), self._arrays(name, known), shape)

        self.chain.add(name, make, sources, f"{kind}, carried as it is")

    def _settings(self, name: str, layer: dict[str, Any], kind: LayerKind) -> dict[str, Any]:
        own = {key: value for key, value in layer.items() if key not in ("kind", "name", "from")}
        for key in own:
            if key not in kind.settings:
                way_out = f"use {', '.join(kind.settings)}" if kind.settings else "leave it out"
                raise refuse(name, f"a {layer['kind']} has no setting {key!r}"[:200], way_out)
        return own

    def _arrays(self, name: str, kind: LayerKind) -> dict[str, NDArray[Any]]:
        """The tensors of a layer, by what stands behind its name."""
        found = {key: self.state[f"{name}.{key}"] for key in kind.tensors if f"{name}.{key}" in self.state}
        self.used |= {f"{name}.{key}" for key in found}
        return found

    def check_any(self) -> None:
        """Says first, where layers are missed and no name of any fits, what the names are."""
        missed = any(finding.kind == "unsupported" for finding in self.chain.findings)
        if missed and not self.used and self.state:
            problem = f"no layer of {self.path} has any of them, they are called {names(self.state)}"
            self.chain.findings.insert(0, Finding(TENSORS, "unsupported", problem, "name the layers like them"))

    def check_unused(self, prefix: str, ignored: Sequence[str]) -> None:
        """Raises where a tensor belongs to no layer, unless the file says so."""
        left = [key for key in self.state if key not in self.used and key.rpartition(".")[2] not in UNUSED]
        left = [key for key in left if not is_ignored(key, prefix, ignored)]
        if left:
            problem = f"holds {len(left)} tensors that no layer of {self.path} has ({names(left)})"
            known = ", ".join(f'"{printable(key[:60])}"' for key in left[:3])
            raise ModelFileError(self.chain.subject, problem, f"describe all layers, or write ignore = [{known}]")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)
