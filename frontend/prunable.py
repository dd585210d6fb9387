"""Which parameters of other people's modules are weights to prune, and which are trained as they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import UninitializedParameter

from ..errors import UnsupportedError

RECURRENT = ("input_weights", "recurrent_weights")
"""What Norse's recurrent cells call their matrices, which belong to no linear layer."""


@dataclass(frozen=True)
class Parameters:
    """By name: the weights to prune, and the other parameters that are trained. No parameter is in both, or twice."""

    pruned: Mapping[str, Tensor]
    others: Mapping[str, Tensor]


def parameters(model: nn.Module | Iterable[Tensor], exclude: Iterable[str | Tensor] = ()) -> Parameters:
    """Tells weights from other parameters.

    Of a module, the weights of all linear layers and convolutions are pruned, whoever's classes they are, and the
    matrices of Norse's recurrent cells. Of a list of tensors, those with two dimensions or more. What does not require
    a gradient is left out.

    Args:
        model: a module, or the parameters themselves; of a list, the names are "0", "1", …
        exclude: names of layers or parameters, or parameters, that shall not be pruned.

    Raises:
        UnsupportedError: there is nothing to prune, or something that cannot be pruned.

    >>> found = parameters(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)), exclude=["2"])
    >>> list(found.pruned), list(found.others)
    (['0.weight'], ['0.bias', '1.weight', '1.bias', '2.weight', '2.bias'])
    """
    excluded = list(exclude)
    kept = {id(item) for item in excluded if isinstance(item, Tensor)}
    prefixes = [item for item in excluded if isinstance(item, str)]
    if isinstance(model, nn.Module):
        named: dict[str, Tensor] = dict(model.named_parameters())
        weights = _weights(model, prefixes)
    else:
        named = _listed(model)
        weights = {id(tensor) for tensor in named.values() if tensor.ndim >= 2}
    for prefix in prefixes:
        inside = [tensor for name, tensor in named.items() if _within(name, prefix)]
        if not inside:
            problem = "is to be excluded, but is no layer or parameter of the model"
            raise UnsupportedError(prefix, problem, f"name one of {', '.join(sorted(named)[:12])} or a layer of them")
        kept |= {id(tensor) for tensor in inside}
    trained = {name: tensor for name, tensor in named.items() if tensor.requires_grad}
    pruned = {name: tensor for name, tensor in trained.items() if id(tensor) in weights - kept}
    _check(pruned)
    return Parameters(pruned, {name: tensor for name, tensor in trained.items() if name not in pruned})


def _within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def _listed(tensors: Iterable[Tensor]) -> dict[str, Tensor]:
    named: dict[str, Tensor] = {}
    for index, tensor in enumerate(tensors):
        if not isinstance(tensor, Tensor):
            problem = f"has a {type(tensor).__name__}, parameters are needed"
            raise UnsupportedError(f"entry {index} of the parameters", problem, "give the module, or parameters")
        if any(tensor is other for other in named.values()):
            first = next(name for name, other in named.items() if other is tensor)
            problem = f"is that of entry {first} once more"
            raise UnsupportedError(f"entry {index} of the parameters", problem, "give each parameter once")
        if not tensor.is_leaf:
            problem = "is computed from other tensors"
            raise UnsupportedError(f"entry {index} of the parameters", problem, "give what it is computed from")
        named[str(index)] = tensor
    return named


def _weights(model: nn.Module, exclude: Iterable[str]) -> set[int]:
    """The ids of the weights of layers that are known to have some."""
    found: set[int] = set()
    for name, module in model.named_modules():
        if any(_within(name, prefix) for prefix in exclude):
            continue
        own = module._parameters
        if isinstance(module, (nn.Linear, _ConvNd)):
            if own.get("weight") is None:
                raise _computed(name or type(module).__name__)
            found.add(id(own["weight"]))
        else:
            matrices = (own.get(key) for key in RECURRENT)
            found |= {id(tensor) for tensor in matrices if tensor is not None and tensor.ndim == 2}
    return found


def _computed(layer: str) -> UnsupportedError:
    """For a layer whose weight is no parameter of its own: weight norm, or another parametrisation."""
    problem = "has a weight that is computed anew in each step (weight norm or a parametrisation), so none to prune"
    way_out = (
        "build it without (weight_norm=False), remove it (torch.nn.utils.remove_weight_norm), or exclude the layer"
    )
    return UnsupportedError(layer, problem, way_out)


def _check(pruned: Mapping[str, Tensor]) -> None:
    """Raises UnsupportedError where the rule could not work on the tensors."""
    if not any(isinstance(tensor, UninitializedParameter) or tensor.numel() for tensor in pruned.values()):
        problem = "has no weights to prune: no linear layer or convolution that learns and is not excluded"
        raise UnsupportedError("the model", problem, "give one that has, or use torch.optim.Adam")
    for name, tensor in pruned.items():
        if isinstance(tensor, UninitializedParameter):
            raise UnsupportedError(name, "has no size yet", "send one batch through the model first")
        if tensor.layout != torch.strided:
            raise UnsupportedError(name, "is a sparse tensor", "make it dense (to_dense)")
        if tensor.dtype not in (torch.float32, torch.float64):
            problem = f"is of type {tensor.dtype}, Grad R computes in float32 or float64"
            raise UnsupportedError(name, problem, "keep the weights in float32 (autocast may compute in less)")
    devices = sorted({str(tensor.device) for tensor in pruned.values()})
    if len(devices) > 1 or devices[0].partition(":")[0] not in ("cpu", "cuda"):
        problem = f"has its weights on {' and '.join(devices)}, one CPU or one CUDA device is needed"
        raise UnsupportedError("the model", problem, "move it before the optimiser is made", value=devices)
