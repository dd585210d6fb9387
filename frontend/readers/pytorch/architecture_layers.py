"""What each kind of layer in an architecture file has: settings, tensors, and how they make nodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....compiler import nodes as ir
from .layers import LAYERS, Arrays, NeedsShapeError, OptionalShape, Piece, Settings, needed, refuse, short
from .module_tree import number
from .neurons import NO_LEAK, Made, lapicque, norse, parametric_tau, snntorch, spikingjelly

MAX_ONE_TO_ONE = 4096
RESETS = ("subtract", "zero", "none")
"""By the number in snnTorch's ``reset_mechanism_val``."""

Make = Callable[[str, Settings, Arrays, OptionalShape], "Piece | None"]


@dataclass(frozen=True)
class LayerKind:
    """One kind of layer: settings that it may have, tensors behind its name, how it becomes nodes."""

    make: Make
    settings: tuple[str, ...] = ()
    tensors: tuple[str, ...] = ()


def _stateless(kind: str) -> Make:
    def make(name: str, settings: Settings, arrays: Arrays, shape: OptionalShape) -> Piece:
        renamed = {{"kernel": "kernel_size"}.get(key, key): value for key, value in settings.items()}
        return Piece.of(LAYERS[kind](name, renamed, arrays, shape))

    return make


def _lif(name: str, settings: Settings, arrays: Arrays, _: OptionalShape) -> Piece:
    for key, value in settings.items():
        if not isinstance(value, (str, int, float)):
            raise refuse(name, f"its {key} is {short(value)}", "give a number, or a tensor for each neuron's own")
    own = {f"{name}.{key}": array for key, array in arrays.items()}
    return Piece.of(ir.node_from_plain({"kind": "LIF", "name": name, **settings}, own))


def _jelly(kind: str) -> Make:
    def make(name: str, settings: Settings, arrays: Arrays, _: OptionalShape) -> Piece:
        reset = settings.get("v_reset", 0.0)
        reset = None if reset == "none" else reset
        decay_input: Any = settings.get("decay_input", True)
        tau: Any = settings.get("tau", 2.0)
        if kind == "ParametricLIFNode":
            w = needed(name, arrays, "w")
            if w.size != 1:
                raise refuse(name, f"its w has the shape {w.shape}, one number is needed", "correct it")
            tau = parametric_tau(float(w.item()))
        elif kind == "IFNode":
            tau, decay_input = NO_LEAK, False
        return Piece.of(spikingjelly(name, tau, settings.get("v_threshold", 1.0), reset, decay_input))

    return make


def _norse(kind: str) -> Make:
    return lambda name, settings, _, __: Piece.of(norse(name, kind, **settings))


def _torch_neurons(name: str, kind: str, settings: Settings, arrays: Arrays, shape: OptionalShape) -> Made:
    """snnTorch's constants: those in the state dict, else those in the file."""
    base = kind.removeprefix("R")

    def constant(key: str, default: Any = None) -> Any:
        value = arrays[key] if key in arrays else settings.get(key, default)
        if value is None:
            raise refuse(name, f"has no tensor {name}.{key} and no setting {key}", f"give {key}")
        return value

    own: dict[str, Any] = {"threshold": constant("threshold", 1.0), "shape": shape}
    value = number(arrays.get("reset_mechanism_val"))
    known = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(RESETS)
    own["mechanism"] = settings.get("reset_mechanism", RESETS[value] if known else "subtract")
    own["readout"] = _truth(name, settings, "readout", False)
    if base == "Lapicque":
        if own["readout"]:
            raise refuse(name, "is a Lapicque whose membrane is read out", "use snntorch.Leaky")
        return lapicque(name, constant("R"), constant("C"), constant("time_step", 1.0), **own)
    own["reset_delay"] = _truth(name, settings, "reset_delay", True) if "reset_delay" in settings else None
    alpha = constant("alpha") if base == "Synaptic" else 0.0
    return snntorch(name, kind, constant("beta"), alpha=alpha, **own)


def _truth(name: str, settings: Settings, key: str, default: bool) -> bool:
    value = settings.get(key, default)
    if not isinstance(value, bool):
        raise refuse(name, f"its {key} is {short(value)}", "give true or false")
    return value


def _snntorch(kind: str) -> Make:
    def make(name: str, settings: Settings, arrays: Arrays, shape: OptionalShape) -> Piece:
        factor = number(arrays.get("graded_spikes_factor"))
        if factor is not None and (isinstance(factor, np.ndarray) or factor != 1):
            raise refuse(name, f"its graded_spikes_factor is {short(factor)}", "put the factor into the next weights")
        node, findings = _torch_neurons(name, kind, settings, arrays, shape)
        if not kind.startswith("R"):
            return Piece((node,), name, name, findings=findings)
        back = _recurrent(f"{name}.recurrent", arrays, shape)
        return Piece((node, back), name, name, ((name, back.name), (back.name, name)), findings)

    return make


def _recurrent(name: str, arrays: Arrays, shape: OptionalShape) -> ir.Node:
    """What a spike adds in the next step: a linear or convolutional layer, or V for each neuron's own."""
    inner = {key.removeprefix("recurrent."): array for key, array in arrays.items() if key.startswith("recurrent.")}
    weight = inner.get("weight")
    if weight is not None and weight.ndim == 4:
        same = {"padding": [n // 2 for n in weight.shape[2:]]}
        return LAYERS["Conv2d"](name, same, inner, shape)
    if weight is not None:
        return LAYERS["Linear"](name, {}, inner, shape)
    value = inner.get("V", arrays.get("V"))
    if value is None:
        raise refuse(name, f"has no tensor {name}.weight and no {name}.V", "correct the name of the layer")
    if shape is None:
        raise NeedsShapeError(name, "connects an unknown number of neurons", "correct the layers")
    if len(shape) != 1 or math.prod(shape) > MAX_ONE_TO_ONE or value.size not in (1, shape[0]):
        raise refuse(name, f"its V of {value.shape} is for {shape}, flat layers are possible", "use a recurrent layer")
    return ir.Linear(name, weight=np.diag(np.broadcast_to(value.astype(float).ravel(), shape)))


_WEIGHTS = ("weight", "bias")
_JELLY = ("v_threshold", "v_reset")
_SNN = ("beta", "threshold", "reset_mechanism_val", "graded_spikes_factor")
_SNN_SETTINGS = ("beta", "threshold", "reset_mechanism", "reset_delay", "readout")
_RECURRENT = ("V", "recurrent.weight", "recurrent.bias", "recurrent.V")
_NORSE = ("dt", "tau_mem_inv", "v_leak")
_LIF = ("tau", "tau_syn", "threshold", "gain", "bias")


def _snn_kind(kind: str, settings: tuple[str, ...] = (), tensors: tuple[str, ...] = ()) -> LayerKind:
    return LayerKind(_snntorch(kind), _SNN_SETTINGS + settings, _SNN + tensors)


KINDS: Mapping[str, LayerKind] = {
    "linear": LayerKind(_stateless("Linear"), (), _WEIGHTS),
    "conv2d": LayerKind(_stateless("Conv2d"), ("stride", "padding", "dilation", "groups"), _WEIGHTS),
    "batchnorm": LayerKind(_stateless("BatchNorm2d"), ("eps",), (*_WEIGHTS, "running_mean", "running_var")),
    "avgpool": LayerKind(_stateless("AvgPool2d"), ("kernel", "stride")),
    "maxpool": LayerKind(_stateless("MaxPool2d"), ("kernel", "stride")),
    "flatten": LayerKind(_stateless("Flatten")),
    "dropout": LayerKind(_stateless("Dropout"), ("p",)),
    "lif": LayerKind(_lif, (*_LIF, "reset", "decay_input", "fires", "refractory", "reset_delay"), _LIF),
    "spikingjelly.LIFNode": LayerKind(_jelly("LIFNode"), (*_JELLY, "tau", "decay_input")),
    "spikingjelly.IFNode": LayerKind(_jelly("IFNode"), _JELLY),
    "spikingjelly.ParametricLIFNode": LayerKind(_jelly("ParametricLIFNode"), (*_JELLY, "decay_input"), ("w",)),
    "snntorch.Leaky": _snn_kind("Leaky"),
    "snntorch.Synaptic": _snn_kind("Synaptic", ("alpha",), ("alpha",)),
    "snntorch.RLeaky": _snn_kind("RLeaky", (), _RECURRENT),
    "snntorch.RSynaptic": _snn_kind("RSynaptic", ("alpha",), ("alpha", *_RECURRENT)),
    "snntorch.Lapicque": _snn_kind("Lapicque", ("R", "C", "time_step"), ("R", "C", "time_step")),
    "norse.LIFBox": LayerKind(_norse("LIFBox"), (*_NORSE, "v_th", "v_reset", "reset")),
    "norse.LIF": LayerKind(_norse("LIF"), (*_NORSE, "tau_syn_inv", "v_th", "v_reset")),
    "norse.LI": LayerKind(_norse("LI"), (*_NORSE, "tau_syn_inv")),
}
"""By the word after ``kind =``."""
