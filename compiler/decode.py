"""`decode`: the tables of a `Program` back into the `FixedNetwork` that they were made from, following the routing."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import LimitError, NetworkError
from .deliveries import Layout, fault, read_deliveries, require
from .fixed import COMMON, PROFILE, FixedNetwork, FixedPopulation, FixedProjection
from .overflow import check_overflow
from .program import CoreTables, Program
from .synapses import SYNAPSES_MAX, Synapses
from .threads import each


def decode(program: Program) -> FixedNetwork:
    """The network that the tables describe, whatever compiled them.

    Raises:
        ProgramFileError: tables that contradict each other.
    """
    layout = Layout(program)
    most, count, lock = min(SYNAPSES_MAX, layout.most), [0], threading.Lock()

    def read(core: int) -> tuple[NDArray[Any], ...]:
        deliveries = read_deliveries(program, layout, core)
        with lock:  # counted before there is memory for them
            count[0] += int(deliveries.count.sum())
        require(count[0] <= most, f"it has more than {most} synapses")
        return deliveries.unrolled()

    columns = list(each(read, range(len(program.cores))))
    source, target, weight, delay, exponent = (np.concatenate(column) for column in zip(*columns, strict=True))
    columns.clear()
    populations = populations_of(program, layout)
    projections = []
    try:
        row = layout.row(source) * len(layout.names) + layout.row(target)
        pairs = {(layout.index[s], layout.index[t]) for s, t in program.projections}
        for pair in np.unique(row).tolist():
            require(divmod(pair, len(layout.names)) in pairs, "its lists connect populations that no projection joins")
        hosts = {(h.source, h.target): h for h in program.hosts}
        for s, t in program.projections:
            if (s, t) in hosts:
                host = hosts[s, t]
                projections.append(FixedProjection(s, t, host.synapses, -host.shift, host=True))
                continue
            mine = np.flatnonzero(row == layout.index[s] * len(layout.names) + layout.index[t])
            require(len(mine) > 0, f"the projection {s} -> {t} has no synapse in its tables")
            scale = np.unique(exponent[mine])
            require(len(scale) == 1, f"the projection {s} -> {t} has {len(scale)} exponents in its tables")
            synapses = Synapses.from_triples(
                layout.size[s],
                layout.size[t],
                source[mine] - layout.base[s],
                target[mine] - layout.base[t],
                weight[mine],
                delay[mine],
            )
            projections.append(FixedProjection(s, t, synapses, int(scale[0])))
        inputs = tuple(tables.source for tables in program.inputs)
        network = FixedNetwork(inputs, populations, tuple(projections), program.outputs, program.steps, program.votes)
        check_overflow(network)
        return network
    except ValueError as error:
        raise fault("its synapses contradict each other") from error
    except (LimitError, NetworkError) as error:
        raise fault(f"{error.subject}: {error.problem}") from error


def populations_of(program: Program, layout: Layout) -> tuple[FixedPopulation, ...]:
    constants = np.full((layout.neurons, len(PROFILE) + 2), -2, np.int64)
    for core in program.cores:
        constants[core.neurons] = _configuration(core)
    populations = []
    for header in program.populations:
        begin = layout.base[header.name]
        own = constants[begin : begin + header.size]
        profiles = own[:, : len(PROFILE)]
        common = bool((profiles[:, COMMON] == profiles[0, COMMON]).all())
        require(common, f"the neurons of {header.name} differ in more than decays and drop")
        named = len(header.origin) == header.size and 0 <= int(header.origin.min()) <= int(header.origin.max())
        require(
            named and int(header.origin.max()) < math.prod(header.shape),
            f"{header.name} does not name the origin of each neuron",
        )
        try:
            population = FixedPopulation(
                name=header.name,
                shape=header.shape,
                origin=header.origin,
                bias_mant=own[:, -2],
                bias_exp=own[:, -1],
                offset=header.offset,
                **FixedPopulation.of_profiles(profiles),
            )
        except LimitError as error:
            raise fault(f"{error.subject}: {error.problem}") from error
        same = np.array_equal(population.profiles, profiles)
        require(same, f"the profiles of {header.name} say something that its model has not")
        populations.append(population)
    return tuple(populations)


def _configuration(core: CoreTables) -> NDArray[np.int64]:
    """(compartments, 10): the profile, bias mantissa, bias exponent."""
    packed = core.configuration.astype(np.int64)
    profile = packed >> 16
    whole = len(packed) == len(core.neurons) and bool((profile < len(core.profiles)).all())
    require(whole and core.profiles.shape[1:] == (len(PROFILE),), "a compartment names a profile that is not there")
    mantissa = packed & 0x1FFF
    mantissa = np.where(mantissa >= 0x1000, mantissa - 0x2000, mantissa)
    return np.column_stack([core.profiles[profile], mantissa, packed >> 13 & 7]).astype(np.int64)
