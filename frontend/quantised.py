"""Training through the integers: the forward pass sees the weights that the chip will have, the gradient passes by.

The scales are the compiler's own: the network of now is compiled, and each layer takes what `quantise` chose for its
projection. With the scale ``q`` of one float weight in units of the table's integers::

    w_chip = 2 round(w q / 2) / q, clipped to -256 / q … 254 / q        dL/dw := dL/dw_chip   (straight-through)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..compiler.fixed import FixedInput, FixedNetwork, FixedPopulation
from ..compiler.fold import fold, path
from ..compiler.network import Network
from ..compiler.neurons import check_neuron
from ..compiler.nodes import LIF, AvgPool2d, Conv2d, Linear
from ..compiler.pipeline import compile_network
from ..compiler.scale import WEIGHT_MAX, WEIGHT_MIN
from ..errors import UnsupportedError
from ..hw_targets.chip import Chip
from .model import SpikingNetwork


class StraightThrough:
    """The weights as the chip has them; call `refresh` when the scales may have moved (once per epoch, say).

    Raises:
        UnsupportedError: the chip can never carry this network, or a weight would have several scales.
    """

    def __init__(self, model: SpikingNetwork, chip: Chip) -> None:
        for node in model.network.nodes:
            if isinstance(node, AvgPool2d):
                raise UnsupportedError(node.name, "would be folded into a layer", "train it without --quantise-aware")
            if isinstance(node, LIF):
                check_neuron(node.name, chip, node.reset == "soft", node.refractory)
        self.model = model
        self.chip = chip
        self.scales: dict[str, Tensor] = {}

    def refresh(self) -> FixedNetwork:
        """Takes the scales of the network of now; returns it in integers. Where that fails, no scales are left.

        So the scales follow from the weights alone, and a resumed run needs no memory of them.

        Raises:
            SnnCompileError: the network of now cannot be compiled.
        """
        self.scales = {}
        trained = self.model.to_network()
        network = compile_network(trained, self.chip).network
        device = next(self.model.parameters()).device
        scales = layer_scales(trained, network)
        self.scales = {name: torch.tensor(q, dtype=torch.float32, device=device) for name, q in scales.items()}
        return network

    def weights(self) -> dict[str, Tensor]:
        """Per weight tensor that the chip holds in 8 bits, the value that it has there."""
        parameters = dict(self.model.named_parameters())
        found = {}
        for name, scale in self.scales.items():
            half = (parameters[name].detach() * scale / 2).round_().clamp_(WEIGHT_MIN // 2, WEIGHT_MAX // 2)
            found[name] = torch.where(scale == 0, 0.0, 2 * half / scale)
        return found

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within, the model's weights are those of the chip; gradients that are computed there stay afterwards."""
        parameters = dict(self.model.named_parameters())
        kept = {name: parameters[name].detach().clone() for name in self.scales}
        with torch.no_grad():
            for name, value in self.weights().items():
                parameters[name].copy_(value)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, value in kept.items():
                    parameters[name].copy_(value)


def layer_scales(trained: Network, network: FixedNetwork) -> Mapping[str, NDArray[Any]]:
    """Per ``<layer>.weight``, table integers per unit of each float weight, in the shape of the weight.

    Layers that the host computes, or whose population is gone, are left out. There is no average pooling in `trained`.
    """
    folded = fold(trained)
    made = {(q.source, q.target): q for q in network.projections}
    scales = {}
    for source_name, target in folded.edges:
        node = folded.by_name[target]
        if not isinstance(node, LIF):
            continue
        source, chain = path(folded, source_name)
        layer = next(step for step in chain if isinstance(step, (Linear, Conv2d)))
        original = trained.by_name.get(layer.name)
        projection = made.get((source, target))
        if projection is None or projection.host or not isinstance(original, (Linear, Conv2d)):
            continue
        if original.weight.shape != layer.weight.shape:
            continue  # a product of two layers
        population = network.by_name[target]
        assert isinstance(population, FixedPopulation)
        over = 1 if node.fires == ">=" else 0
        assert node.is_plain, "as snn-train trains them"
        unit = (64 * population.vth + over) / (64 * node.threshold) / 2.0**projection.exponent
        unit *= (1 / node.tau if node.decay_input else 1.0) / _levels(network, source)
        alive = original.weight != 0
        ratio = np.divide(layer.weight, original.weight, out=np.ones(layer.weight.shape), where=alive)
        scales[f"{layer.name}.weight"] = unit * ratio
    return scales


def _levels(network: FixedNetwork, name: str) -> int:
    source = network.by_name[name]
    return source.levels if isinstance(source, FixedInput) and source.encoding != "rate" else 1
