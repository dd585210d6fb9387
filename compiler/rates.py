"""How often each source sends a packet, as `partition` and `place` weigh it."""

from __future__ import annotations

import numpy as np

from .fixed import FixedNetwork
from .nodes import FloatArray
from .quantise import ASSUMED_RATE
from .sparse import SparseInput, SparseNetwork, SparsePopulation


def packet_rates(sparse: SparseNetwork, network: FixedNetwork) -> FloatArray:
    """(sources of the netlist,) packets per step: as the model measured them, else assumed; none from the host."""
    members: list[SparseInput | SparsePopulation] = [*sparse.populations, *sparse.inputs]
    rates = []
    for p in members:
        rate = p.activity if isinstance(p, SparseInput) else p.rate
        by_host = getattr(network.by_name[p.name], "encoding", "") == "bias"
        rates.append(np.full(p.size, 0.0 if by_host else ASSUMED_RATE) if rate is None or by_host else rate)
    return np.concatenate(rates)
