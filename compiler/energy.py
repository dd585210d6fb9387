"""The energy of a sample: events by kind times the chip file's energies, and the static power while it takes time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np

from ..hw_targets.chip import Chip
from .fixed import FixedNetwork
from .program import Program
from .slices import CoreSlices
from .traffic import Floats, Traffic


class Constant(msgspec.Struct, frozen=True):
    """A number of the chip file with its source."""

    name: str
    value: float
    unit: str
    source: str


class Energy(msgspec.Struct, frozen=True):
    """Joules per sample.

    Attributes:
        per_sample_j: dynamic and static together.
        dynamic_j: by kind of event.
        static_j: static power of all chips while the sample takes its steps.
        seconds_per_sample: steps times the length of a step. A step lasts as long as its busiest core, and the barrier:
            counted step by step after a run, estimated from the busiest core's mean load before one.
        events: per sample, by kind.
        activity: what the events rest on, in words.
        calibration: where the energies come from, in words.
        constants: every number that went in.
    """

    per_sample_j: float
    dynamic_j: dict[str, float]
    static_j: float
    seconds_per_sample: float
    events: dict[str, float]
    activity: str
    calibration: str
    constants: tuple[Constant, ...]


@dataclass(frozen=True, eq=False)
class Events:
    """Mean events per sample.

    Attributes:
        spikes: per population and input, (size,) packets that each source sends off in one sample.
        active_updates: neuron updates with something to do; None counts every update as active.
        activity: where the numbers come from, in words.
    """

    spikes: Mapping[str, Floats]
    active_updates: float | None
    activity: str


KINDS = {
    "synaptic_operations": "synaptic_operation_pj",
    "neuron_updates_active": "neuron_update_active_pj",
    "neuron_updates_inactive": "neuron_update_inactive_pj",
    "packets": "spike_within_tile_pj",
    "hops_east_west": "hop_east_west_pj",
    "hops_north_south": "hop_north_south_pj",
}


def bill(program: Program, network: FixedNetwork, chip: Chip, events: Events) -> Energy:
    """The energy of one sample.

    Args:
        program: tables and places of the cores.
        network: decoded from it.
        chip: whose energies hold.
        events: expected or counted.
    """
    netlist = network.netlist
    spikes = np.concatenate([np.asarray(events.spikes[name], np.float64) for name in netlist.names])
    slices = CoreSlices(tuple(tables.neurons.astype(np.int64) for tables in program.cores))
    target_core = np.repeat(slices.core_of(), np.diff(netlist.indptr))
    synops = np.bincount(target_core, spikes[netlist.source], len(program.cores))
    updates = float(netlist.neurons * program.steps)
    active = updates if events.active_updates is None else events.active_updates
    traffic = Traffic.of(netlist, slices, events.spikes)
    sent = np.asarray(traffic.packets @ np.ones(len(program.cores)))
    hops = traffic.hops([tables.place for tables in program.cores], chip, program.board)
    packets = float(sent.sum() + traffic.host.sum())
    found = (float(synops.sum()), active, updates - active, packets, hops.east_west, hops.north_south)
    counts = dict(zip(KINDS, found, strict=True))
    seconds = program.steps * _step_seconds(
        program, chip, synops / program.steps, sent / program.steps, active / updates
    )
    chips = len({tables.place[0] for tables in program.cores})
    return price(chip, chips, counts, seconds, events.activity)


def price(chip: Chip, chips: int, counts: Mapping[str, float], seconds: float, activity: str) -> Energy:
    """The energy of events.

    Args:
        chip: whose energies hold.
        chips: how many of them take static power.
        counts: events per sample, by the kinds of `KINDS`.
        seconds: that a sample takes.
        activity: where the counts come from, in words.
    """
    dynamic = {kind: counts[kind] * getattr(chip.energy, key)[0] * 1e-12 for kind, key in KINDS.items()}
    static = chip.energy.static_mw_per_chip[0] * 1e-3 * chips * seconds
    return Energy(
        sum(dynamic.values()) + static, dynamic, static, seconds, dict(counts), activity, chip.energy.calibration,
        _constants(chip),
    )  # fmt: skip


def _step_seconds(program: Program, chip: Chip, synops: Floats, sent: Floats, active_share: float) -> float:
    """A step lasts as long as its busiest core, at its mean load, and the barrier; per core and step: synops, sent."""
    time = chip.time
    neurons = np.array([len(tables.neurons) for tables in program.cores])
    update = active_share * time.neuron_update_active_ns[0] + (1 - active_share) * time.neuron_update_inactive_ns[0]
    load = synops * time.synaptic_operation_ns[0] + neurons * update + sent * time.spike_within_tile_ns[0]
    return float(load.max() + time.barrier_ns[0]) * 1e-9


def _constants(chip: Chip) -> tuple[Constant, ...]:
    units = {"_pj": "pJ", "_ns": "ns", "_mw_per_chip": "mW per chip"}
    found = []
    for group in (chip.energy, chip.time):
        for name in group.__struct_fields__:
            for suffix, unit in units.items():
                if name.endswith(suffix):
                    value, source = getattr(group, name)
                    found.append(Constant(name[: -len(suffix)], value, unit, source))
    return tuple(found)
