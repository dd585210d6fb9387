"""Training towards a chip: what weights cost there, and how far the compiled network is from the cores it may take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..compiler.cost import Cost, cost
from ..compiler.network import Network
from ..compiler.nodes import LIF, AvgPool2d, Conv2d, FloatArray, Input, Linear, MaxPool2d
from ..compiler.unroll import tap_prices
from ..errors import LimitError, NetworkError
from ..hw_targets.chip import Chip
from .bill import Bill
from .rules import Rule

MARGIN = 0.02
"""Share of the cores that the density leaves free, since connections still change places."""

MOST_CHANGE = 1.5
"""Of the density, from one epoch to the next: a network that is far from the chip says little of one that fits."""

MOST_SYNAPSES = 50_000_000
"""Networks with more are not compiled between epochs: they are far from any chip, and would take gigabytes."""

GUESS_BITS = 20
"""Bits per synapse before anything is compiled."""


def weight_costs(network: Network, prices: Mapping[str, FloatArray] | None = None) -> list[Tensor]:
    """What each weight of a chain costs: its unrolled synapses, times what one from that source costs.

    Args:
        network: whose layers are taken in their order.
        prices: per population or input, the price of a synapse from each of its neurons; None: 1.

    Returns:
        Per linear layer and convolution int32 of the shape of its weight.

    >>> layer = Linear("fc", weight=np.zeros((2, 3)))
    >>> chain = Network((Input("x", shape=(3,), max_value=1), layer, LIF("y")), (("x", "fc"), ("fc", "y")), steps=1)
    >>> weight_costs(chain, {"x": np.array([20.0, 30.0, 64.0])})[0].tolist()
    [[20, 30, 64], [20, 30, 64]]
    """
    costs: list[Tensor] = []
    price, shape = np.ones(0), network.nodes[0].output_shape(())
    for node in network.nodes:
        before, shape = shape, network.shapes[node.name]
        if isinstance(node, (Input, LIF, MaxPool2d)):
            price = np.ones(shape) if prices is None or node.name not in prices else prices[node.name].reshape(shape)
        elif isinstance(node, AvgPool2d):
            windows = np.lib.stride_tricks.sliding_window_view(price.reshape(before), node.kernel, (1, 2))  # type: ignore[call-overload]
            price = windows[:, :: node.stride[0], :: node.stride[1]].sum(axis=(-2, -1))
        elif isinstance(node, (Linear, Conv2d)):
            each = np.clip(np.rint(tap_prices(node, before, price)), 0, 2**31 - 1).astype(np.int32)
            costs.append(torch.from_numpy(each).expand(node.weight.shape))
    return costs


class Fit:
    """Keeps a rule's bill at what the compiler charges, and its budget at so many cores.

    Args:
        chip: from `hw_targets.chip.load`.
        cores: that the network may take, 1 or more.

    Attributes:
        latest: the compiler's bill of the last update; None: the network could not be compiled.
        problem: why not; empty where it could.
        fewest: cores that it took in any update; None: it never could be compiled.
    """

    def __init__(self, chip: Chip, cores: int) -> None:
        self.chip, self.cores = chip, cores
        self.latest: Cost | None = None
        self.problem = ""
        self.fewest: int | None = None

    def guess(self, bill: Bill) -> None:
        """The first density, from synapses alone."""
        bill.aim(self.cores * self.chip.synapse_words * 64 / GUESS_BITS / bill.total)

    def update(self, network: Network, synapses: int, rule: Rule) -> None:
        """Compiles the network of now; new prices and a new density for the rule where that can be done.

        Args:
            network: with firing rates and calibration, as it would be written.
            synapses: its unrolled synapses.
            rule: whose bill is kept.

        Raises:
            UnsupportedError: the chip can never carry this network.
        """
        self.latest, self.problem = None, ""
        if synapses > MOST_SYNAPSES:
            self.problem = f"has {synapses} synapses"
            return
        try:
            self.latest = cost(network, self.chip)
        except (NetworkError, LimitError) as error:  # it does not fire yet, say
            self.problem = f"cannot be compiled ({error})"
            if self.fewest is not None:  # it could be before: too much was pruned
                rule.bill.aim(rule.bill.density * MOST_CHANGE)
            return
        self.fewest = self.latest.cores if self.fewest is None else min(self.fewest, self.latest.cores)
        bill, masks = rule.bill, rule.active()
        bill.charge(
            [c.to(w.device) for c, w in zip(weight_costs(network, self.latest.bits_per_synapse), masks, strict=True)]
        )
        aim = bill.paid(masks) / bill.total * self.cores * (1 - MARGIN) / self.latest.filled
        bill.aim(min(max(aim, bill.density / MOST_CHANGE), bill.density * MOST_CHANGE))

    def state_dict(self) -> dict[str, Any]:
        """What the next updates depend on, besides the rule."""
        return {"fewest": self.fewest or 0, "problem": self.problem}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        self.fewest, self.problem = int(state["fewest"]) or None, str(state["problem"])

    @property
    def fits(self) -> bool:
        """Whether the network of the last update takes no more cores than it may."""
        return self.latest is not None and self.latest.cores <= self.cores
