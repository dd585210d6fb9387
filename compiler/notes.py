"""The notes of a report: what differs from the trained network, or was assumed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .dead import step_response
from .fixed import U_LIMIT, FixedNetwork, FixedPopulation
from .network import Network
from .nodes import LIF, FloatArray
from .rates import source_rates
from .sparse import SparseInput, SparseNetwork, SparsePopulation


def notes_on(trained: Network, sparse: SparseNetwork, network: FixedNetwork) -> list[str]:
    """What differs from the trained network, or was assumed of it, a sentence each."""
    kinds = ("assumed", "approximated")
    found = [f"{f.layer}: {f.kind}: {f.text}" for f in trained.findings if f.kind in kinds]
    made = {p.name: p for p in network.populations}
    rates, _ = source_rates(sparse, network)
    for p in sparse.populations:
        if isinstance(p.node, LIF) and p.name in trained.by_name:
            found += _decay_notes(p, made[p.name])
            found += _saturation_note(p, made[p.name], sparse, rates)
    joined = {(q.source, q.target) for q in network.projections}
    found += [
        f"{q.source} -> {q.target}: no synapse is left, at this scale all weights round to 0"
        for q in sparse.projections
        if (q.source, q.target) not in joined
    ]
    for q in network.projections:
        if q.exponent < 0 and not q.host:
            found.append(
                f"{q.source} -> {q.target}: exponent {q.exponent} shifts the sum, as Lava does; silicon shifts each "
                "weight and keeps six fractional bits, so the last bit can differ there"
            )
        late = network.offset(q.source) + 1 - network.offset(q.target)
        if late > 1 and not q.host:
            found.append(
                f"{q.source} -> {q.target}: feedback arrives {late} steps later, one per projection on its way; a "
                "simulation layer by layer has it in the next step"
            )
        if q.host:
            found.append(f"{q.source} -> {q.target}: computed by the host and loaded as a bias")
    return found


def _decay_notes(trained: SparsePopulation, fixed: FixedPopulation) -> list[str]:
    """What the 12 bits of a decay make of the time constants."""
    found = []
    for key, keep, share in (
        ("tau", trained.keep, 1 - fixed.dv / 4096), ("tau_syn", trained.keep_syn, (4095 - fixed.du) / 4096)
    ):  # fmt: skip
        error = np.abs(keep - share)
        if error.max(initial=0) <= 1e-6:
            continue
        worst = int(error.argmax())
        was, becomes = (1 / (1 - k) if k < 1 else float("inf") for k in (keep[worst], share[worst]))
        which = "" if (keep == keep[0]).all() else f" of neuron {int(trained.origin[worst])}"
        found.append(f"{trained.name}: {key}{which} {was:g} becomes {becomes:.5g}, the decay has 12 bits")
    return found


def _saturation_note(
    trained: SparsePopulation, fixed: FixedPopulation, sparse: SparseNetwork, rates: Mapping[str, FloatArray]
) -> list[str]:
    """Whether a membrane that no spike empties outgrows its 24 bits at the expected input."""
    node = trained.node
    if not isinstance(node, LIF) or node.readout or node.reset == "hard":
        return []
    drive = np.zeros(trained.size)
    for q in sparse.projections:
        if q.target == trained.name:
            source = sparse.by_name[q.source]
            moments = source.moments if isinstance(source, SparseInput) else None
            mean = rates[q.source] if moments is None else moments[0]
            drive += np.bincount(q.synapses.targets, q.synapses.weights * mean[q.synapses.sources], trained.size)
    none = 0 * trained.keep
    reach = drive * step_response(trained.keep, trained.keep_syn, sparse.steps)
    reach += (trained.bias - trained.drop) * step_response(trained.keep, none, sparse.steps)
    unit = (64 * fixed.vth + (node.fires == ">=")) / trained.threshold
    worst = float((reach * unit).max(initial=0)) / U_LIMIT
    if worst <= 1:
        return []
    return [
        f"{trained.name}: at the expected input its membrane grows to {worst:.3g} times what the chip holds, and "
        "saturates there: it may fire less often than trained"
    ]
