"""Networks by name, as a list of layers, or from a TOML file, with the input that a data set asks for.

A list is layers with commas between them; a TOML file has the same layers as tables::

    conv256k3p1,bn,lif,maxpool2,dropout0.5,fc100,lif          steps = 8
                                                              votes = 10
                                                              [[layer]]
                                                              kind = "conv"
                                                              channels = 256
                                                              kernel = 3
                                                              padding = 1

``conv`` has channels, kernel, padding (0), stride (1), groups (1), in short ``conv256k3p1s2g4``; ``fc`` has outputs;
``maxpool`` and ``avgpool`` have a size; ``dropout`` has a share; ``bn`` and ``lif`` stand alone; ``flatten`` comes by
itself before ``fc``. Layers have no bias, as in the experiments of Grad R.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ..compiler import nodes as ir
from ..compiler.network import Network
from ..errors import DataError

Layer = Mapping[str, Any]

NORMALISATION = {
    "mnist": ((0.1307,), (0.3081,)),
    "fashion-mnist": ((0.2860,), (0.3530,)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
}
"""Mean and standard deviation per channel, of values 0 … 1."""

_CONV = "conv256k3p1,bn,lif"
NAMED = {
    "mnist-2fc": ("fc800,lif,fc10,lif", 1),
    "cifar10-6conv2fc": (
        f"{_CONV},{_CONV},{_CONV},maxpool2,{_CONV},{_CONV},{_CONV},maxpool2,dropout0.5,fc2048,lif,fc100,lif",
        10,
    ),
}
"""The two networks of Chen et al. (IJCAI 2021) as lists, and the votes per class."""

SHORT = re.compile(
    r"(?P<kind>conv|fc|maxpool|avgpool|dropout|bn|lif|flatten)(?P<size>[0-9.]+)?"
    r"(k(?P<kernel>\d+))?(p(?P<padding>\d+))?(s(?P<stride>\d+))?(g(?P<groups>\d+))?"
)
SIZES = {"conv": "channels", "fc": "outputs", "maxpool": "size", "avgpool": "size", "dropout": "share"}
ON_MAPS = ("conv", "maxpool", "avgpool")
"""Kinds of layers that see rows and columns; a square image that comes flat is laid out for them."""
SETTINGS = {
    "conv": {"channels", "kernel", "padding", "stride", "groups"},
    "fc": {"outputs"},
    "maxpool": {"size"},
    "avgpool": {"size"},
    "dropout": {"share"},
    "bn": set[str](),
    "lif": {"tau", "threshold", "reset"},
    "flatten": set[str](),
}


class _File(msgspec.Struct, forbid_unknown_fields=True):
    layer: list[dict[str, Any]]
    votes: int = 1


def build(text: str, source: ir.Input, neuron: ir.LIF, steps: int, data: str = "") -> Network:
    """The network that `text` says, its weights zero.

    Args:
        text: a name of `NAMED`, the path of a TOML file, or a list of layers.
        source: the input.
        neuron: what ``lif`` means where a layer does not say otherwise.
        steps: T.
        data: name of the data set, whose normalisation is put behind the input.

    Raises:
        DataError: the text cannot be read.
        NetworkError: its layers do not fit each other or the input.

    >>> net = build("conv4k3p1,bn,lif,maxpool2,fc2,lif", ir.Input("x", shape=(1, 8, 8)), ir.LIF("y"), steps=8)
    >>> [node.name for node in net.nodes]
    ['x', 'conv1', 'bn1', 'lif1', 'maxpool1', 'flatten1', 'fc1', 'lif2']
    """
    layers, votes = _layers(text)
    if layers and layers[0].get("kind") in ON_MAPS and len(source.shape) == 1:
        source = replace(source, shape=_square(source.shape[0]))
    builder = _Builder(source, neuron)
    if data in NORMALISATION and len(NORMALISATION[data][0]) == source.shape[0]:
        mean, std = (np.array(values) for values in NORMALISATION[data])
        builder.add(ir.Normalise("normalise", mean=mean, std=std))
    for layer in layers:
        builder.layer(layer)
    names = [node.name for node in builder.nodes]
    return Network(tuple(builder.nodes), tuple(pairwise(names)), steps, votes=votes)


def _square(size: int) -> tuple[int, ...]:
    """The pixels of a square image in one channel; as they are where they make none."""
    side = math.isqrt(size)
    return (1, side, side) if side * side == size else (size,)


def _layers(text: str) -> tuple[Sequence[Layer], int]:
    if text in NAMED:
        listed, votes = NAMED[text]
        return [_short(word) for word in listed.split(",")], votes
    if text.endswith(".toml"):
        try:
            content = msgspec.toml.decode(Path(text).read_bytes(), type=_File)
        except OSError as error:
            raise DataError(text, f"cannot be read ({error.strerror})", "check the path") from error
        except msgspec.DecodeError as error:
            raise DataError(text, f"is no description of a network ({error})", "correct it") from error
        return content.layer, content.votes
    return [_short(word.strip()) for word in text.split(",")], 1


def _short(word: str) -> Layer:
    match = SHORT.fullmatch(word)
    if match is None:
        way_out = f"write layers such as conv16k3p1, bn, lif, fc10, or one of {', '.join(NAMED)}"
        raise DataError("--network", f"has the layer {word!r}", way_out)
    numbers = {key: value for key, value in match.groupdict().items() if value and key not in ("kind", "size")}
    layer: dict[str, Any] = {key: int(value) for key, value in numbers.items()}
    kind, size = match["kind"], match["size"]
    layer["kind"] = kind
    if size is not None and kind in SIZES:
        layer[SIZES[kind]] = float(size) if kind == "dropout" else int(float(size))
    elif size is not None:
        layer["size"] = size
    return layer


class _Builder:
    """Adds layers one after the other and knows the shape that leaves the last one."""

    def __init__(self, source: ir.Input, neuron: ir.LIF) -> None:
        self.nodes: list[ir.Node] = [source]
        self.shape = source.shape
        self.neuron = neuron
        self.count: dict[str, int] = {}

    def add(self, node: ir.Node) -> None:
        self.shape = node.output_shape(self.shape)
        self.nodes.append(node)

    def name(self, kind: str) -> str:
        self.count[kind] = self.count.get(kind, 0) + 1
        return f"{kind}{self.count[kind]}"

    def layer(self, layer: Layer) -> None:
        kind = layer.get("kind")
        if kind not in SETTINGS:
            raise DataError("--network", f"has a layer of kind {kind!r}", f"use one of {', '.join(SETTINGS)}")
        unknown = set(layer) - SETTINGS[kind] - {"kind"}
        needed = {SIZES[kind]} if kind in SIZES else set()
        if unknown or needed - set(layer):
            problem = f"the setting {min(unknown)!r} too much" if unknown else f"no {min(needed)}"
            raise DataError("--network", f"has a layer {kind} with {problem}", "see the page of the command")
        try:
            self._add(kind, layer)
        except (TypeError, ValueError) as error:
            raise DataError("--network", f"has a layer {kind} that cannot be ({error})", "correct it") from error

    def _add(self, kind: str, layer: Layer) -> None:
        if kind == "fc" and len(self.shape) > 1:
            self.add(ir.Flatten(self.name("flatten")))
        name = self.name(kind)
        if kind == "fc":
            self.add(ir.Linear(name, weight=np.zeros((layer["outputs"], self.shape[0]), np.float32)))
        elif kind == "conv":
            pair: dict[str, Any] = {key: (layer.get(key, least),) * 2 for key, least in (("padding", 0), ("stride", 1))}
            groups, kernel = layer.get("groups", 1), layer.get("kernel", 3)
            shape = (layer["channels"], self.shape[0] // groups, kernel, kernel)
            self.add(ir.Conv2d(name, weight=np.zeros(shape, np.float32), groups=groups, **pair))
        elif kind == "bn":
            ones, zeros = np.ones(self.shape[0], np.float32), np.zeros(self.shape[0], np.float32)
            self.add(ir.BatchNorm(name, weight=ones, bias=zeros, running_mean=zeros, running_var=ones))
        elif kind in ("maxpool", "avgpool"):
            pool = ir.MaxPool2d if kind == "maxpool" else ir.AvgPool2d
            self.add(pool(name, kernel=(layer["size"],) * 2, stride=(layer["size"],) * 2))
        elif kind == "dropout":
            self.add(ir.Dropout(name, p=layer["share"]))
        elif kind == "flatten":
            self.add(ir.Flatten(name))
        else:
            own = {key: value for key, value in layer.items() if key != "kind"}
            settings = ir.node_to_plain(self.neuron)[0] | own | {"name": name, "kind": "LIF"}
            self.add(ir.node_from_plain(settings, {}))
