"""How a sample enters a chip: the input's encoding and payloads in integers."""

from __future__ import annotations

from ..errors import UnsupportedError
from ..hw_targets.chip import Chip
from .adopt import adopt_input
from .fixed import FixedInput
from .nodes import FixedNeurons
from .sparse import SparseInput, SparseNetwork


def fixed_input(network: SparseNetwork, source: SparseInput, chip: Chip) -> FixedInput:
    targets = [network.by_name[q.target].node for q in network.projections if q.source == source.name]
    fixed = [node for node in targets if isinstance(node, FixedNeurons)]
    if fixed and len(fixed) == len(targets):
        return adopt_input(source.node, fixed, chip)
    return _encode_input(source, chip)


def check_encoding(source: SparseInput, chip: Chip) -> None:
    """Raises `UnsupportedError` where the chip cannot carry the input's spikes."""
    if source.node.encoding == "spikes" and source.node.max_value > 1 and not chip.graded:
        raise UnsupportedError(
            source.name,
            f"sends spikes with payloads up to {source.node.max_value}, {chip.name} has binary spikes",
            "train with binary spikes, or choose a target with graded ones",
        )


def _encode_input(source: SparseInput, chip: Chip) -> FixedInput:
    node = source.node
    check_encoding(source, chip)
    if node.encoding == "rate":
        return FixedInput(node.name, node.shape, "rate", node.max_value, 1)
    if node.encoding == "spikes":
        return FixedInput(node.name, node.shape, "spikes", node.max_value, node.max_value)
    if not chip.graded:
        return FixedInput(node.name, node.shape, "bias", node.max_value, node.max_value)
    levels = min(node.max_value, 2 ** chip.limits.graded_payload_bits[0] - 1)
    return FixedInput(node.name, node.shape, "graded", node.max_value, levels)
