"""`SpikingNetwork`: a chain of the compiler's nodes as a PyTorch module that can be trained."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ..compiler import nodes as ir
from ..compiler.network import Network
from ..errors import NetworkError, UnsupportedError
from ..runtime.encoding import rate_spikes
from .neurons import LIFLayer
from .part import batch_norm, current, dropout
from .sparse_linear import SparseLinear


class _Channels(nn.Module):
    """``(x - mean) / std`` or ``factor * x`` or batch norm, per channel: the third dimension of (T, batch, …)."""

    def __init__(self, node: ir.Normalise | ir.Scale | ir.BatchNorm) -> None:
        super().__init__()
        self.node = node
        for key in node.arrays:
            array = torch.tensor(getattr(node, key), dtype=torch.float32)
            if isinstance(node, ir.BatchNorm) and key in ("weight", "bias"):
                setattr(self, key, nn.Parameter(array))
            else:
                self.register_buffer(key, array)

    def forward(self, x: Tensor) -> Tensor:
        own: Any = self
        if isinstance(self.node, ir.BatchNorm):
            flat, part, eps = x.flatten(0, 1), current(), self.node.eps
            arrays = (own.running_mean, own.running_var, own.weight, own.bias)
            if self.training and part is not None:
                return batch_norm(flat, *arrays, eps, part).reshape(x.shape)
            return F.batch_norm(flat, *arrays, self.training, 0.1, eps).reshape(x.shape)
        wide = [-1] + [1] * (x.ndim - 3)
        if isinstance(self.node, ir.Scale):
            scaled: Tensor = x * own.factor.reshape(wide)
            return scaled
        normal: Tensor = (x - own.mean.reshape(wide)) / own.std.reshape(wide)
        return normal


class _Image(nn.Module):
    """A layer on (batch, channels, rows, columns), applied to (T, batch, channels, rows, columns)."""

    def __init__(self, node: ir.Conv2d | ir.AvgPool2d | ir.MaxPool2d) -> None:
        super().__init__()
        self.node = node
        if isinstance(node, ir.Conv2d):
            self.weight = nn.Parameter(torch.tensor(node.weight, dtype=torch.float32))
            self.bias = None if node.bias is None else nn.Parameter(torch.tensor(node.bias, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        node, flat = self.node, x.flatten(0, 1)
        if isinstance(node, ir.Conv2d):
            flat = F.conv2d(flat, self.weight, self.bias, node.stride, node.padding, node.dilation, node.groups)
        elif isinstance(node, ir.AvgPool2d):
            flat = F.avg_pool2d(flat, node.kernel, node.stride)
        else:
            flat = F.max_pool2d(flat, node.kernel, node.stride)
        result: Tensor = flat.reshape(*x.shape[:2], *flat.shape[1:])
        return result


class _SteadyDropout(nn.Module):
    """Dropout whose mask is the same in all steps of a sample."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        part = current()
        if self.training and part is not None:
            return dropout(x, self.p, part)
        return x * F.dropout(torch.ones_like(x[:1]), self.p, self.training)


def _linear(node: ir.Linear) -> nn.Module:
    layer = SparseLinear(node.weight.shape[1], node.weight.shape[0], bias=node.bias is not None)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(node.weight))
        if node.bias is not None:
            layer.bias.copy_(torch.tensor(node.bias))
    return layer


def _module(node: ir.Node, steps: int) -> nn.Module:
    if isinstance(node, ir.LIF):
        return LIFLayer(node, steps)
    if isinstance(node, ir.Linear):
        return _linear(node)
    if isinstance(node, (ir.Conv2d, ir.AvgPool2d, ir.MaxPool2d)):
        return _Image(node)
    if isinstance(node, ir.Dropout):
        return _SteadyDropout(node.p)
    if isinstance(node, ir.Flatten):
        return nn.Flatten(2)
    if isinstance(node, (ir.Normalise, ir.Scale, ir.BatchNorm)):
        return _Channels(node)
    raise UnsupportedError(node.name, f"is a {type(node).__name__} in the middle of a chain", "put the input first")


class SpikingNetwork(nn.Module):
    """The nodes of a `Network` as modules; the state dict has the keys ``<node>.<field>``.

    Args:
        network: a chain, an input first and a LIF layer last; its arrays are the initial weights.

    Raises:
        UnsupportedError: the network is no chain.
        NetworkError: a layer has a name that PyTorch cannot take (with a dot, or of a module's own attribute).

    Activations are (T, batch, …). A sample that is the same in every step goes through the layers before the first
    LIF once, as (1, batch, …).

    >>> model = SpikingNetwork(fully_connected(ir.Input("x", shape=(4,), max_value=16), (3, 2), ir.LIF("y"), steps=8))
    >>> sorted(model.state_dict())
    ['linear1.weight', 'linear2.weight']
    >>> model(torch.zeros(5, 4, dtype=torch.uint8)).shape
    torch.Size([5, 2])
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        names = [node.name for node in network.nodes]
        if set(network.edges) != set(pairwise(names)) or not isinstance(network.nodes[0], ir.Input):
            raise UnsupportedError("network", "is not a chain of layers", "train it in its own framework")
        self.network = network
        self.input: ir.Input = network.nodes[0]
        for node in network.nodes[1:]:
            if "." in node.name or hasattr(self, node.name):
                raise NetworkError(node.name, "is a name that PyTorch cannot give to a layer", "rename the layer")
            self.add_module(node.name, _module(node, network.steps))

    def reset_parameters(self) -> None:
        """Draws weights and biases anew from PyTorch's default: uniform within ``±1 / sqrt(fan-in)``."""
        with torch.no_grad():
            for layer in self._weighted():
                bound = layer.weight[0].numel() ** -0.5
                layer.weight.uniform_(-bound, bound)
                if layer.bias is not None:
                    layer.bias.uniform_(-bound, bound)

    def pruned_weights(self) -> list[nn.Parameter]:
        """The weights of linear layers and convolutions."""
        return [layer.weight for layer in self._weighted()]

    def _weighted(self) -> list[Any]:
        return [self.get_submodule(n.name) for n in self.network.nodes if isinstance(n, (ir.Linear, ir.Conv2d))]

    def other_parameters(self) -> list[nn.Parameter]:
        """Biases and batch norm."""
        pruned = {id(weight) for weight in self.pruned_weights()}
        return [parameter for parameter in self.parameters() if id(parameter) not in pruned]

    def encode(self, samples: Tensor) -> Tensor:
        """(T or 1, batch, *shape) float32 from raw samples (batch, *shape); for ``spikes`` (batch, T, *shape)."""
        node, steps = self.input, self.network.steps
        if node.encoding == "graded":
            return (samples.to(torch.float32) / node.max_value).reshape(1, -1, *node.shape)
        if node.encoding == "rate":
            spikes = rate_spikes(samples.cpu().numpy(), node.max_value, steps)
            sent = torch.from_numpy(spikes).to(samples.device, torch.float32).transpose(0, 1)
        else:
            sent = samples.to(torch.float32).transpose(0, 1) / node.max_value
        return sent.reshape(steps, -1, *node.shape)

    def populations(self, samples: Tensor) -> dict[str, Tensor]:
        """What the input (as value / max_value), each LIF layer and each max pooling send: (T or 1, batch, …)."""
        x = self.encode(samples)
        sent = {self.input.name: x}
        for node in self.network.nodes[1:]:
            x = self.get_submodule(node.name)(x)
            if isinstance(node, (ir.LIF, ir.MaxPool2d)):
                sent[node.name] = x
        return sent

    def forward(self, samples: Tensor) -> Tensor:
        """(batch, classes) firing rates: the mean over T, and the votes of a class, of the last layer's spikes."""
        rates = self.populations(samples)[self.network.nodes[-1].name].mean(0).flatten(1)
        return rates.reshape(len(rates), -1, self.network.votes).mean(2)

    @torch.no_grad()
    def rates(self, samples: Tensor, batch: int = 256) -> dict[str, Tensor]:
        """Mean spikes per neuron and step over raw samples, (size,) float32 per population; leaves the training mode.

        For the input, the share of steps in which its value is above 0.
        """
        self.eval()
        sums: dict[str, Tensor] = {}
        for chunk in torch.split(samples, batch):
            for name, spikes in self.populations(chunk).items():
                total = (spikes > 0).to(torch.float64).mean(0).sum(0).flatten()
                sums[name] = sums.get(name, torch.zeros_like(total)) + total
        return {name: (total / len(samples)).to(torch.float32) for name, total in sums.items()}

    def to_network(
        self,
        rates: Mapping[str, Tensor] | None = None,
        calibration: NDArray[Any] | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> Network:
        """The network with the weights of now; what `compiler` takes."""
        arrays = {key: tensor.detach().cpu().numpy().copy() for key, tensor in self.state_dict().items()}
        nodes = tuple(ir.node_from_plain(ir.node_to_plain(node)[0], arrays) for node in self.network.nodes)
        measured = {name: tensor.cpu().numpy() for name, tensor in (rates or {}).items()}
        return Network(
            nodes, self.network.edges, self.network.steps, measured, calibration, facts or {}, self.network.votes
        )


def fully_connected(source: ir.Input, sizes: tuple[int, ...], neuron: ir.LIF, steps: int) -> Network:
    """Linear layers without bias, LIF neurons after each, all like `neuron`; the weights are zero.

    The layers are called ``linear1``, ``lif1``, ``linear2`` …

    >>> print(fully_connected(ir.Input("x", shape=(4,)), (3, 2), ir.LIF("y"), steps=8).dump())
    network, 8 steps
      x: Input (4,) graded <-
      linear1: Linear (3,) 0 weights <- x
      lif1: LIF (3,) tau 2 threshold 1 >= hard <- linear1
      linear2: Linear (2,) 0 weights <- lif1
      lif2: LIF (2,) tau 2 threshold 1 >= hard <- linear2
    """
    nodes: list[ir.Node] = [source]
    fan_in = int(np.prod(source.shape))
    if len(source.shape) > 1:
        nodes.append(ir.Flatten("flatten"))
    settings = {key: value for key, value in ir.node_to_plain(neuron)[0].items() if key not in ("kind", "name")}
    for number, size in enumerate(sizes, start=1):
        nodes.append(ir.Linear(f"linear{number}", weight=np.zeros((size, fan_in), np.float32)))
        nodes.append(ir.LIF(f"lif{number}", **settings))
        fan_in = size
    names = [node.name for node in nodes]
    return Network(tuple(nodes), tuple(pairwise(names)), steps)
