"""How often each source sends a packet: what the partition weighs, and what the expected events rest on."""

from __future__ import annotations

import numpy as np

from .drives import ASSUMED_RATE
from .fixed import FixedNetwork
from .nodes import FloatArray
from .sparse import SparseInput, SparseNetwork, SparsePopulation


def source_rates(sparse: SparseNetwork, network: FixedNetwork) -> tuple[dict[str, FloatArray], list[str]]:
    """Per input and population (size,) packets per step, and the names of those whose rates are assumed.

    Rates are as the model measured them, else `ASSUMED_RATE`; an input that the host computes sends none.
    """
    members: list[SparseInput | SparsePopulation] = [*sparse.inputs, *sparse.populations]
    rates: dict[str, FloatArray] = {}
    assumed = []
    for p in members:
        rate = p.activity if isinstance(p, SparseInput) else p.rate
        if isinstance(p, SparsePopulation) and p.node.readout:
            rate = np.zeros(p.size)  # only the host hears it
        if rate is None:
            assumed.append(p.name)
            rate = np.full(p.size, ASSUMED_RATE)
        by_host = getattr(network.by_name[p.name], "encoding", "") == "bias"
        rates[p.name] = np.zeros(p.size) if by_host else rate
    return rates, assumed


def packet_rates(sparse: SparseNetwork, network: FixedNetwork) -> FloatArray:
    """(sources of the netlist,) packets per step."""
    rates, _ = source_rates(sparse, network)
    return np.concatenate([rates[name] for name in network.netlist.names])
