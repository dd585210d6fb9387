"""`Report`: what a compilation tells people and programs, made from the program's tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from ..errors import ProgramFileError
from ..hw_targets.chip import Chip
from .drives import ASSUMED_RATE
from .energy import KINDS, Energy, Events, bill
from .fixed import FixedNetwork
from .network import Network
from .nodes import Conv2d, FloatArray, Linear
from .notes import notes_on
from .place import Placement, place
from .program import Program
from .rates import source_rates
from .sizes import BitsRow, PartitionRow, bits_row, partition_row
from .slices import CoreSlices
from .sparse import SparseNetwork
from .traffic import Traffic


class CoreRow(msgspec.Struct, frozen=True):
    """One core: where it is, what it holds, and what it could hold."""

    chip: int
    core: int
    x: int
    y: int
    neurons: int
    neurons_limit: int
    synapses: int
    synapse_words: int
    synapse_words_limit: int
    in_axons: int
    in_axons_limit: int
    out_axons: int
    out_axons_limit: int
    memory_bytes: int
    memory_bytes_limit: int
    shared_lists: bool

    @property
    def fill(self) -> float:
        """The fullest of the core's resources, 0 … 1."""
        pairs = (
            (self.neurons, self.neurons_limit),
            (self.synapse_words, self.synapse_words_limit),
            (self.in_axons, self.in_axons_limit),
            (self.out_axons, self.out_axons_limit),
            (self.memory_bytes, self.memory_bytes_limit),
        )
        return max(used / max(1, limit) for used, limit in pairs)


class PlacementRow(msgspec.Struct, frozen=True):
    """How the cores stand on the board: expected hops per sample, and what placing them in order would give.

    `spike_hops` are packets times hops between cores, a link between chips counted as one; `link_packets` are packets
    times links.
    """

    board: str
    method: str
    spike_hops: float
    spike_hops_in_order: float
    link_packets: float
    link_packets_in_order: float


class InputRow(msgspec.Struct, frozen=True):
    """How the host sends samples; `payload_bits` is 0 for binary spikes."""

    name: str
    shape: tuple[int, ...]
    encoding: str
    max_value: int
    payload_bits: int


class PopulationRow(msgspec.Struct, frozen=True):
    """One population: neurons on the chip and as trained, cores with some of them and those of them with shared lists,
    and its constants there; `decay` is the largest of its neurons."""

    name: str
    model: str
    cores: int
    shared_cores: int
    neurons: int
    neurons_trained: int
    threshold: int
    decay: int
    offset: int
    rate: float | None


class ProjectionRow(msgspec.Struct, frozen=True):
    """One projection: the trained layer, its unrolled synapses with and without pruning, and those in the tables."""

    layer: str
    source: str
    target: str
    synapses_possible: int
    synapses_surviving: int
    synapses: int
    exponent: int
    on_host: bool

    @property
    def density(self) -> float:
        return self.synapses_surviving / max(1, self.synapses_possible)


class Report(msgspec.Struct, frozen=True):
    """Everything that `snn-compile --json` writes; `mesh` is the chip's (columns, rows, cores per tile)."""

    target: str
    title: str
    note: str
    mesh: tuple[int, int, int]
    model: str
    model_sha256: str
    command: str
    training: dict[str, Any]
    steps: int
    input: InputRow
    cores_used: int
    chips_used: int
    neurons: int
    synapses: int
    weights: int
    weights_surviving: int
    connectivity: float
    synapse_connectivity: float
    synapse_bits: int
    bits_per_synapse: float
    bits: BitsRow
    partition: PartitionRow
    placement: PlacementRow
    cores: tuple[CoreRow, ...]
    populations: tuple[PopulationRow, ...]
    projections: tuple[ProjectionRow, ...]
    energy: Energy
    warnings: tuple[str, ...]


def make_report(
    trained: Network,
    sparse: SparseNetwork,
    network: FixedNetwork,
    placement: Placement,
    traffic: Traffic,
    program: Program,
    chip: Chip,
    events: Events,
    source: Mapping[str, str],
) -> Report:
    """Args: every stage of one compilation, and `source` with model, model_sha256 and command."""
    if any(p.model == "sigma-delta" for p in network.populations):
        chip = chip.with_sigma_delta()
    layers = [node for node in trained.nodes if isinstance(node, (Linear, Conv2d))]
    weights = sum(int(node.weight.size) for node in layers)
    surviving = sum(int(np.count_nonzero(node.weight)) for node in layers)
    pruned = {node.name for node in layers}
    possible = sum(c.synapses for c in sparse.census if c.layer in pruned)
    unrolled = sum(c.surviving for c in sparse.census if c.layer in pruned)
    words = sum(len(core.words) for core in program.cores)
    synapses = network.synapse_count()
    found = _placement_row(placement, traffic, chip)
    entry = network.inputs[0]
    return Report(
        chip.name,
        chip.title,
        chip.note,
        (chip.limits.mesh_columns[0], chip.limits.mesh_rows[0], chip.limits.cores_per_tile[0]),
        source["model"],
        source["model_sha256"],
        source["command"],
        dict(trained.facts),
        network.steps,
        InputRow(entry.name, entry.shape, entry.encoding, entry.max_value, entry.payload_bits),
        len(program.cores),
        placement.chips,
        sum(p.size for p in network.populations),
        synapses,
        weights,
        surviving,
        surviving / max(1, weights),
        unrolled / max(1, possible),
        words * 64,
        words * 64 / max(1, synapses),
        bits_row(network, placement.slices, chip),
        partition_row(network, placement.slices, words, chip),
        found,
        _core_rows(network, placement, traffic, program, chip),
        _population_rows(sparse, network, placement.slices),
        _projection_rows(sparse, network),
        bill(program, network, chip, events),
        (*_of_energy(found, placement.chips, events), *notes_on(trained, sparse, network)),
    )


def expected_events(sparse: SparseNetwork, network: FixedNetwork) -> Events:
    """Events of a mean sample from the rates that the model brings, or from an assumption, which it says."""
    rates, assumed = source_rates(sparse, network)
    spikes: dict[str, FloatArray] = {name: rate * network.steps for name, rate in rates.items()}
    activity = "firing rates measured in training"
    if assumed:
        activity = f"assumed: {ASSUMED_RATE:.0%} of the neurons of {', '.join(assumed)} spike in each step"
    return Events(spikes, None, activity)


def _placement_row(placement: Placement, traffic: Traffic, chip: Chip) -> PlacementRow:
    ordered = place(placement.slices, chip, placement.board)
    ours, theirs = (traffic.hops(p.positions, chip, p.board) for p in (placement, ordered))
    return PlacementRow(placement.board, placement.method, ours.spike_hops, theirs.spike_hops, ours.links, theirs.links)


def _core_rows(
    network: FixedNetwork, placement: Placement, traffic: Traffic, program: Program, chip: Chip
) -> tuple[CoreRow, ...]:
    netlist = network.netlist
    out_axons = traffic.output_entries(placement.chip_of())
    on_tile: Counter[tuple[int, int, int]] = Counter()
    shared = placement.slices.is_shared()
    fan_in = np.diff(netlist.indptr)
    rows = []
    for number, core in enumerate(program.cores):
        neurons, words = len(core.neurons), len(core.words)
        rows.append(
            CoreRow(
                core.place[0],
                chip.core_number(core.place, on_tile[core.place]),
                core.place[1],
                core.place[2],
                neurons,
                chip.neurons_per_core,
                int(fan_in[core.neurons].sum()),
                words,
                chip.synapse_words,
                len(core.axon_start),
                chip.limits.in_axons_per_core[0],
                int(out_axons[number]),
                chip.limits.out_axons_per_core[0],
                8 * chip.words_needed(words, neurons),
                8 * chip.memory_words,
                shared[number],
            )
        )
        on_tile[core.place] += 1
    return tuple(rows)


def _population_rows(sparse: SparseNetwork, network: FixedNetwork, slices: CoreSlices) -> tuple[PopulationRow, ...]:
    rows = []
    standing = [np.unique(network.netlist.population_of(neurons)).tolist() for neurons in slices.neurons]
    cores = Counter(row for own in standing for row in own)
    shared = Counter(row for own, yes in zip(standing, slices.is_shared(), strict=True) if yes for row in own)
    for row, (trained, fixed) in enumerate(zip(sparse.populations, network.populations, strict=True)):
        rate = None if trained.rate is None or not trained.size else float(trained.rate.mean())
        size, decay = int(np.prod(trained.shape)), int(fixed.dv.max())
        rows.append(
            PopulationRow(
                fixed.name, fixed.model, cores[row], shared[row], fixed.size, size, fixed.vth, decay, fixed.offset, rate
            )
        )
    return tuple(rows)


def _projection_rows(sparse: SparseNetwork, network: FixedNetwork) -> tuple[ProjectionRow, ...]:
    fixed = {(q.source, q.target): q for q in network.projections}
    rows = []
    for q in sparse.projections:
        own = [c for c in sparse.census if (c.source, c.target) == (q.source, q.target)]
        made = fixed.get((q.source, q.target))
        synapses, exponent, host = (len(made.synapses), made.exponent, made.host) if made else (0, 0, False)
        row = ProjectionRow(
            q.layer,
            q.source,
            q.target,
            sum(c.synapses for c in own),
            sum(c.surviving for c in own),
            synapses,
            exponent,
            host,
        )
        rows.append(row)
    return tuple(rows)


def _of_energy(placement: PlacementRow, chips: int, events: Events) -> list[str]:
    found = []
    if events.activity.startswith("assumed"):
        found.append(f"energy rests on an assumption, not on measured rates ({events.activity})")
    if chips > 1:
        found.append(
            f"{chips} chips: {placement.link_packets:.0f} packets per sample over links between chips, whose energy "
            "is not known and not counted; how the chips stand on the board is assumed"
        )
    return found


def to_json(report: Any) -> bytes:
    """Indented JSON, keys in the order of the fields."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def read_report(program: Program, path: str) -> Report:
    """The report that a program carries; raises `ProgramFileError` where it is broken."""
    problem = "carries no report that this release can read"
    try:
        report = msgspec.convert(program.manifest.get("report"), type=Report)
    except msgspec.ValidationError as error:
        raise ProgramFileError(path, problem, "compile it again") from error
    populations = {row.name for row in report.populations}
    whole = set(KINDS) <= set(report.energy.events) and set(KINDS) <= set(report.energy.dynamic_j)
    if not whole or not report.cores or any(row.target not in populations for row in report.projections):
        raise ProgramFileError(path, problem, "compile it again")
    return report
