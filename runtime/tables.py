"""`Tables`: the lists, lanes and constants that the engine's kernel walks.

Neurons are numbered core by core and compartment by compartment, inputs after them. A spike finds the packets of its
source; each delivers the list of an input axon to the sums of its core, shifted by the packet's base. So a
convolution's weights stand here once per core, as in the chip's memory.

A *lane* is one sum per compartment of a core. Weights with an exponent of 0 or more are shifted beforehand and share
the core's first lane. A negative exponent shifts the sum, once per projection and delay, so each has its own lane.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..compiler.fixed import MODELS, FixedInput, FixedPopulation

Ints = NDArray[np.int64]

FIRST, LAST, CORE, POPULATION, GOAL, OFFSET, KEEP_U, KEEP_V = range(8)
VTH, MODEL, REFRACTORY, STATE_EXP, DROP, ALWAYS = range(8, 14)
"""Columns of `Flat.segments`.

GOAL: the core that all packets reach, or -1. MODEL: as in `fixed.PROFILE`. KEEP_U, KEEP_V, DROP: 4095 - du, 4096 - dv
and drop of all its neurons, or VARIED. ALWAYS: whether each neuron has a bias, so that it has something to do in every
step.
"""
VARIED = -1
SIGMA_DELTA, INTEGRATOR = MODELS["sigma-delta"], MODELS["integrator"]
GRADED = SIGMA_DELTA | INTEGRATOR
"""Bits of MODEL; what a graded neuron sends is summed up."""


class Flat(NamedTuple):
    """What the kernel gets; sources are the neurons, then the inputs.

    Attributes:
        segments: (segments, 14) the neurons of one population on one core, and their constants.
        lane_start: (segments + 1,) the lanes of each segment, in `lanes`.
        lanes: (n, 2) where the lane's sums of the segment begin, and how far to shift them right.
        bias_mant, bias_exp, keep_u, keep_v, drop: (neurons,) int32; keep_u is 4095 - du, keep_v 4096 - dv.
        out_start: (sources + 1,) the packets of each source.
        out_list, out_cell: (packets,) the list, and what is added to each of its cells.
        list_start: (lists + 1,) the synapses of each list.
        list_core: (lists,) the core that it stands on.
        packets, fan_out, nothing: (sources,) int32 of each source, the synapses that they reach, and zeros.
        cells: (synapses,) uint16 or int32 sum that each adds to, from the packet's `out_cell` on.
        weights: (synapses,) int16, shifted left where the exponent is positive.
        delays: (synapses,) uint8, or empty where no synapse has one.
        hosts: (host projections, 5) first source, its sources, where their starts begin in `host_start`, the
            population that it reaches, shift.
        host_start, host_target, host_weight: the synapses of those; targets are neurons of the engine.
    """

    segments: Any
    lane_start: Any
    lanes: Any
    bias_mant: Any
    bias_exp: Any
    keep_u: Any
    keep_v: Any
    drop: Any
    out_start: Any
    out_list: Any
    out_cell: Any
    list_start: Any
    list_core: Any
    packets: Any
    fan_out: Any
    nothing: Any
    cells: Any
    weights: Any
    delays: Any
    hosts: Any
    host_start: Any
    host_target: Any
    host_weight: Any


class Mesh(NamedTuple):
    """Where a program's cores stand: target, board, (chip, x, y) of each core."""

    target: str
    board: str
    places: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, eq=False)
class Tables:
    """A network or program, ready to run; `build.tables_of` makes them.

    Attributes:
        inputs, populations, outputs, steps, votes: as in `FixedNetwork`.
        flat: for the kernel.
        number: (neurons,) the network's number of each of the engine's neurons.
        core_first: (cores + 1,) the first neuron of each core.
        cells: how many sums there are, over all lanes.
        slots: steps that a sum can wait, and the one that is read.
        steady: per input, whether its packets arrive without a lag, so that a steady payload gives steady sums.
        mesh: None for a network that is on no chip.
    """

    inputs: tuple[FixedInput, ...]
    populations: tuple[FixedPopulation, ...]
    outputs: tuple[str, ...]
    steps: int
    votes: int
    flat: Flat
    number: Ints
    core_first: Ints
    cells: int
    slots: int
    steady: tuple[bool, ...]
    mesh: Mesh | None

    @property
    def neurons(self) -> int:
        return len(self.number)

    @property
    def cores(self) -> int:
        return len(self.core_first) - 1

    @property
    def span(self) -> int:
        """Chip steps between the begin of the first window and of the last."""
        return max(p.offset for p in self.populations)

    @property
    def lead(self) -> int:
        """Samples after which a core's load no longer depends on what ran before them."""
        return -(-(self.span + 1) // self.steps)

    @cached_property
    def bounds(self) -> Ints:
        """(populations + inputs + 1,) the first source of each in the network's numbering."""
        sizes = [p.size for p in self.populations] + [i.size for i in self.inputs]
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    @cached_property
    def at(self) -> Ints:
        """(sources,) the engine's number of each of the network's sources."""
        at = np.arange(int(self.bounds[-1]))
        at[self.number] = np.arange(self.neurons)
        return at

    def where(self, name: str) -> Ints:
        """(size,) the engine's numbers of a population's or input's sources."""
        names = [*(p.name for p in self.populations), *(i.name for i in self.inputs)]
        row = names.index(name)
        return self.at[self.bounds[row] : self.bounds[row + 1]]
