"""A pickled module tree as a `Network`: Sequentials of PyTorch and SpikingJelly layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ....compiler.findings import Finding
from ....compiler.network import Network
from ..options import ReadOptions
from .chain import Chain
from .layers import LAYERS, OptionalShape, Piece, refuse, short
from .module_tree import CORRECT, Module, number
from .neurons import NO_LEAK, parametric_tau, spikingjelly

JELLY = "spikingjelly.activation_based."
SEQUENTIAL = "torch.nn.modules.container.Sequential"
PARALLEL = ("torch.nn.parallel.data_parallel.DataParallel", "torch.nn.parallel.distributed.DistributedDataParallel")
LISTS = ("torch.nn.modules.container.ModuleList", "torch.nn.modules.container.ModuleDict")
FROM_STATE = ("snntorch.", "norse.")
"""Libraries whose neurons are read from a state dict."""
CONTAINERS = ("MultiStepContainer", "SeqToANNContainer", "StepModeContainer")
NEURONS = ("LIFNode", "IFNode", "ParametricLIFNode")
TORCH_FILES = ("linear", "conv", "batchnorm", "pooling", "flatten", "dropout")
SETTINGS = frozenset(
    (
        *("kernel_size", "stride", "padding", "padding_mode", "dilation", "groups", "ceil_mode", "divisor_override"),
        *("return_indices", "output_size", "eps", "start_dim", "end_dim", "p"),
        *("tau", "v_threshold", "v_reset", "decay_input", "_neuron_precision"),
    )
)
"""The attributes that decide what a layer computes."""
PLAIN_CLASS = "remove it before saving, or give --architecture with the layers that compute the same"
GIVE_ORDER = "give --architecture with its layers in their order"
CARRIED = "use a Sequential of Linear, Conv2d, BatchNorm, pools, Flatten, Dropout, LIFNode, IFNode, ParametricLIFNode"


def network_from_module(subject: str, root: Module, options: ReadOptions) -> Network:
    """The network that a tree of Sequentials computes.

    Raises:
        UnsupportedModelError: a module has a forward of its own, or a layer is unknown.
        ModelFileError: the options do not say what the file does not.
    """
    chain = Chain(subject, options)
    chain.begin(options.input_shape or _first_shape(root))
    _Walk(chain).module(root)
    return chain.network()


def _first_shape(root: Module) -> OptionalShape:
    """The inputs of a linear layer that comes first, flat; None where another layer does."""
    for module in root.walk():
        if module.kind == "Linear" and "weight" in module.arrays and module.arrays["weight"].ndim == 2:
            return (module.arrays["weight"].shape[1],)
        if not module.children and module.kind not in ("Flatten", "Dropout", "Identity"):
            return None
    return None


class _Walk:
    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.neurons: set[int] = set()

    def module(self, module: Module) -> None:
        """Adds a module, or what it contains."""
        if module.changes:
            self.unsupported(
                module, f"has {module.changes[0]}, so that it computes something else than its class", PLAIN_CLASS
            )
        elif _is_jelly(module, "neuron") and module.kind in NEURONS:
            self.neuron(module)
        elif _is_jelly(module, "layer") and module.kind == "VotingLayer":
            self.votes(module)
        elif module.cls == SEQUENTIAL or (_is_jelly(module, "layer") and module.kind in CONTAINERS):
            for child in module.children.values():
                self.module(child)
        elif module.cls in PARALLEL and list(module.children) == ["module"]:
            self.module(module.children["module"])
        elif _is_layer(module):
            self.layer(module)
        else:
            self.other(module)

    def unsupported(self, module: Module, problem: str, way_out: str = CARRIED) -> None:
        def refused(_: OptionalShape) -> Piece:
            raise refuse(module.label, problem, way_out)

        self.chain.add(module.label, refused)

    def other(self, module: Module) -> None:
        """A class of the user: its only child is taken for what it computes."""
        foreign = module.cls.startswith(("torch.", "spikingjelly.", *FROM_STATE))
        if not foreign and not module.arrays and len(module.children) == 1:
            (child,) = module.children.values()
            text = f"the class {module.cls[:80]} is taken to compute nothing but its only part, {child.path}"
            self.chain.findings.append(Finding(module.label, "assumed", text))
            self.module(child)
        elif module.cls.startswith(FROM_STATE):
            self.unsupported(module, f"is a {module.cls[:120]}, which is not read from a whole module", CORRECT)
        elif module.children and (not foreign or module.cls in LISTS or module.cls.startswith(f"{JELLY}model.")):
            count = len(module.children)
            self.unsupported(
                module, f"is a {module.cls[:80]}, whose file does not say in which order its {count} parts compute",
                GIVE_ORDER,
            )  # fmt: skip
        else:
            self.unsupported(module, f"is a {module.cls[:120]}, which is not carried")

    def layer(self, module: Module) -> None:
        make = LAYERS.get(module.kind)

        def build(shape: OptionalShape) -> Piece | None:
            settings = _settings(module)
            return None if make is None else Piece.of(make(module.label, settings, module.arrays, shape))

        self.chain.add(module.label, build, text=f"{module.kind}, carried as it is")

    def neuron(self, module: Module) -> None:
        if id(module.stub) in self.neurons:
            self.unsupported(module, "is a second time the same neurons, which share their state", "use own neurons")
            return
        self.neurons.add(id(module.stub))
        self.chain.add(module.label, lambda _: Piece.of(_neurons(module)), text=f"{module.kind}, carried as it is")

    def votes(self, module: Module) -> None:
        size = module.attributes.get("voting_size")
        if not isinstance(size, int) or size < 1:
            self.unsupported(module, f"votes in groups of {short(size)}", "give a whole number")
            return
        self.chain.votes = size
        self.chain.add(module.label, lambda _: None, text=f"{size} votes per class")


def _is_jelly(module: Module, part: str) -> bool:
    path = module.cls.rpartition(".")[0]
    return path == JELLY + part or path.startswith(f"{JELLY}{part}.")


def _is_layer(module: Module) -> bool:
    torch = module.cls in {f"torch.nn.modules.{file}.{module.kind}" for file in TORCH_FILES}
    known = module.kind in LAYERS or (torch and module.kind == "Identity")
    return known and (torch or _is_jelly(module, "layer"))


def _settings(module: Module) -> dict[str, Any]:
    """Its attributes that a layer may ask for; a tensor of one element is a number.

    Raises:
        UnsupportedError: one is a larger tensor, which no setting can be.
    """
    values = {key: number(value) for key, value in module.attributes.items() if key in SETTINGS}
    for key, value in values.items():
        if isinstance(value, np.ndarray):
            problem = f"its {key} is a tensor of shape {value.shape}, one value is needed"
            raise refuse(module.label, problem, "correct it")
    return values


def _neurons(module: Module) -> Any:
    """SpikingJelly's neurons, of versions 0.0.0.0.14 and 2.0."""
    values: Mapping[str, Any] = _settings(module)
    surrogate = module.children.get("surrogate_function")
    spiking = surrogate is not None and surrogate.cls.startswith(f"{JELLY}surrogate.")
    if surrogate is None or surrogate.changes or not spiking or surrogate.attributes.get("spiking") is not True:
        raise refuse(module.label, "does not fire by a surrogate function of SpikingJelly that spikes", CARRIED)
    if values.get("_neuron_precision") is not None:
        raise refuse(module.label, "computes in another precision", "leave neuron_precision None")
    for key in ("v_threshold", "v_reset"):
        if key not in values:
            raise refuse(module.label, f"has no {key}", "save it again")
    decay_input: Any = values.get("decay_input", False)
    if module.kind == "ParametricLIFNode":
        w = number(module.arrays.get("w"))
        if not isinstance(w, float):
            raise refuse(module.label, "has no single number w", "save it again")
        tau: Any = parametric_tau(w)
    else:
        tau = values.get("tau") if module.kind == "LIFNode" else NO_LEAK
        decay_input = decay_input if module.kind == "LIFNode" else False
    return spikingjelly(module.label, tau, values["v_threshold"], values["v_reset"], decay_input)
