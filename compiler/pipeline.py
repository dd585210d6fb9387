"""The driver: from a trained network to a program, one pass after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import msgspec

from ..hw_targets.chip import Chip
from .balance import balance
from .decode import decode
from .encode import encode
from .fixed import FixedNetwork
from .fold import fold
from .lower import lower
from .network import Network
from .partition import Effort, partition
from .place import place
from .program import Program
from .quantise import quantise
from .rates import packet_rates
from .report import Report, expected_events, make_report
from .traffic import Traffic

Progress = Callable[[str, int, int], None]

UNKNOWN = {"model": "network", "model_sha256": "", "command": ""}


@dataclass(frozen=True)
class Compiled:
    """What came in, the program, the network that its tables hold, and the report."""

    trained: Network
    program: Program
    network: FixedNetwork
    report: Report


def compile_network(
    trained: Network,
    chip: Chip,
    *,
    board: str | None = None,
    effort: Effort = "fast",
    sharing: bool = True,
    source: Mapping[str, str] = UNKNOWN,
    progress: Progress | None = None,
) -> Compiled:
    """Compiles a network for a chip.

    Args:
        trained: float layers, as a reader of `frontend.readers` gives them.
        chip: from `hw_targets.chip.load`.
        board: one of the chip's; the smallest with enough chips where it is not given.
        effort: how hard `partition` searches.
        sharing: whether a convolution may keep its weights once per core; without it all lists are unrolled.
        source: model, model_sha256 and command, for the report.
        progress: called with (pass, done, in all).

    Raises:
        SnnCompileError: one of its kinds, where the network or a limit is at fault.
    """

    def within(stage: str) -> Callable[[int, int], None] | None:
        return None if progress is None else lambda done, total: progress(stage, done, total)

    sparse = balance(lower(fold(trained)), chip)
    network = quantise(sparse, chip)
    rates = packet_rates(sparse, network)
    slices = partition(network, chip, within("partition"), effort=effort, sharing=sharing, rates=rates)
    events = expected_events(sparse, network)
    traffic = Traffic.of(network.netlist, slices, events.spikes)
    placement = place(slices, chip, board, traffic)
    program = encode(network, placement, chip, progress=within("encode"))
    decoded = decode(program)
    assert decoded == network, "the tables must hold exactly the network that went in"
    report = make_report(trained, sparse, network, placement, traffic, program, chip, events, source)
    program = replace(program, manifest={"report": msgspec.to_builtins(report)})
    return Compiled(trained, program, decoded, report)
