"""`FixedNetwork`: the contract. Its meaning is the integer arithmetic below, equal in every backend, bit for bit.

Each population has a window of `steps` local steps; it begins `offset` steps after that of the first layer. In its
local step j, with ``tz(x, s) = sign(x) (|x| >> s)``::

    a = sum over projections and delays: (sum of w * s[source, arriving at j]) << exponent
    u = tz(u (4095 - du), 12) + (a << 6)
    v = clip(tz(v (4096 - dv), 12) + u + (bias_mant << bias_exp), -(2^23 - 1), 2^23 - 1)
    s = v > (vth << 6);   v = 0 where s;   u = v = 0 before the window begins

A spike of local step i arrives at ``j = i + lag``, ``lag = offset(source) + 1 + delay - offset(target)``; inputs have
the offset -1. Nothing arrives from before the window or from the sample before. A *host* projection is computed
outside the chip, once per sample: ``bias_mant += (sum of w * value) >> -exponent``.

A negative exponent shifts right and floors, once per projection, delay and neuron: Lava shifts what leaves a
projection in one step before it waits for its delay.

Source: the fixed-point models of lava-nc 0.10.0 (LIF, LIFReset, Sparse, DelaySparse).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import LimitError, NetworkError
from .nodes import Shape, frozen_array
from .synapses import Synapses

if TYPE_CHECKING:
    from .netlist import Netlist

U_LIMIT = 2**23
"""|u| stays below this (24 bits with sign), proven by `quantise.check_overflow`."""

FRACTION_BITS = 6
"""Fractional bits of u and v below one unit of `a` and of the threshold."""


@dataclass(frozen=True)
class FixedInput:
    """An input population as the host sends it.

    Attributes:
        encoding: ``graded`` (payload = the value at every step), ``rate`` (binary spikes), ``spikes`` (the sample
            brings a payload per step), ``bias`` (only host projections leave it).
        max_value: largest raw value of a sample.
        levels: the payload of `max_value`; payload = floor(value * levels / max_value + 1/2). 1 for binary spikes.
    """

    name: str
    shape: Shape
    encoding: Literal["graded", "rate", "spikes", "bias"]
    max_value: int
    levels: int

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    @property
    def payload(self) -> int:
        """The largest payload that it can send in one step."""
        return self.levels if self.encoding in ("graded", "bias", "spikes") else 1

    @property
    def payload_bits(self) -> int:
        """0 for binary spikes."""
        return 0 if self.payload == 1 else int(self.payload).bit_length()


@dataclass(frozen=True, eq=False)
class FixedPopulation:
    """LIF neurons in integers: `du`, `dv` 12-bit decays (du 4095: no memory, -1: no decay), `vth` 17 bits,
    `bias_mant` (size,) int16 of 13 bits, `bias_exp` (size,) uint8 0 … 7, `offset` the start of its window."""

    name: str
    shape: Shape
    origin: NDArray[Any]
    du: int
    dv: int
    vth: int
    bias_mant: NDArray[Any]
    bias_exp: NDArray[Any]
    offset: int

    def __post_init__(self) -> None:
        for key, dtype in (("origin", np.int32), ("bias_mant", np.int16), ("bias_exp", np.uint8)):
            array = np.asarray(getattr(self, key))
            if not np.array_equal(array.astype(dtype), array):
                raise LimitError(self.name, f"{key} does not fit {np.dtype(dtype).name}", "scale the population down")
            object.__setattr__(self, key, frozen_array(array, dtype))
        assert self.bias_mant.shape == self.bias_exp.shape == self.origin.shape
        ranges = (("du", -1, 4095), ("dv", 0, 4095), ("vth", 0, 2**17 - 1), ("offset", 0, 2**16))
        for key, low, high in ranges:
            value = getattr(self, key)
            if not (isinstance(value, int) and low <= value <= high):
                raise LimitError(
                    self.name, f"{key} is {value}, {low} to {high} is possible", "rescale it", value=value, limit=high
                )
        if self.size and (np.abs(self.bias_mant.astype(int) + 0.5).max() > 4096 or self.bias_exp.max() > 7):
            raise LimitError(self.name, "a bias exceeds 13 bits << 7", "scale the population down")

    @property
    def size(self) -> int:
        return len(self.origin)

    @property
    def payload(self) -> int:
        return 1

    @property
    def bias(self) -> NDArray[np.int64]:
        """(size,) int64: bias_mant << bias_exp, in units of v."""
        shifted: NDArray[np.int64] = self.bias_mant.astype(np.int64) << self.bias_exp
        return shifted

    def _key(self) -> tuple[Any, ...]:
        arrays = (self.origin, self.bias_mant, self.bias_exp)
        return (self.name, self.shape, self.du, self.dv, self.vth, self.offset, *(a.tobytes() for a in arrays))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FixedPopulation) and self._key() == other._key()

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class FixedProjection:
    """Integer synapses (int16; on the chip 8-bit mixed: even, -256 … 254) and their common exponent."""

    source: str
    target: str
    synapses: Synapses
    exponent: int
    host: bool = False


@dataclass(frozen=True)
class FixedNetwork:
    """Integers only; see the module's text for what they mean. `votes` output neurons stand for each class."""

    inputs: tuple[FixedInput, ...]
    populations: tuple[FixedPopulation, ...]
    projections: tuple[FixedProjection, ...]
    outputs: tuple[str, ...]
    steps: int
    votes: int = 1

    def __post_init__(self) -> None:
        names = set(self.by_name)
        if len(names) != len(self.inputs) + len(self.populations):
            raise NetworkError("network", "two populations have the same name", "rename one")
        if not self.outputs or len(set(self.outputs)) != len(self.outputs):
            raise NetworkError("network", "has no outputs, or one twice", "correct the network")
        for name in self.outputs:
            if name not in {p.name for p in self.populations}:
                raise NetworkError(name, "is an output, but no population", "correct the network")
        pairs = set()
        for p in self.projections:
            label = f"{p.source} -> {p.target}"
            if p.source not in names or p.target not in {q.name for q in self.populations}:
                raise NetworkError(label, "names a population that is not there", "correct the network")
            if (p.source, p.target) in pairs:
                raise NetworkError(label, "stands twice in the network", "merge the two projections")
            pairs.add((p.source, p.target))
            sizes = (self.by_name[p.source].size, self.by_name[p.target].size)
            if (p.synapses.n_source, p.synapses.n_target) != sizes:
                raise NetworkError(label, f"does not match its populations of {sizes} neurons", "correct the network")
            if not len(p.synapses):
                raise NetworkError(label, "has no synapse", "leave it out")
            if p.synapses.weights.dtype != np.int16:
                raise NetworkError(label, f"has {p.synapses.weights.dtype} weights, int16 is needed", "quantise it")
            by_host = getattr(self.by_name[p.source], "encoding", "") == "bias"
            if p.host != by_host or (p.host and p.exponent > 0):
                problem = "goes with the host if and only if its input has the encoding bias"
                raise NetworkError(label, problem, "correct the network")
            if not p.host and self.lags(p).min(initial=0) < 0:
                raise NetworkError(label, "would arrive before its target's window begins", "run balance first")
        outputs = sum(self.by_name[name].size for name in self.outputs)
        if self.votes < 1 or outputs % self.votes:
            raise NetworkError("network", f"has {self.votes} votes per class for {outputs} outputs", "correct it")
        if not self.populations or self.steps < 1:
            raise NetworkError("network", "has no population or no step", "correct the network")

    @cached_property
    def by_name(self) -> dict[str, FixedInput | FixedPopulation]:
        members: list[FixedInput | FixedPopulation] = [*self.inputs, *self.populations]
        return {p.name: p for p in members}

    @cached_property
    def netlist(self) -> Netlist:
        """All neurons in one numbering, built once."""
        from .netlist import Netlist

        return Netlist.of(self)

    def offset(self, name: str) -> int:
        population = self.by_name[name]
        return population.offset if isinstance(population, FixedPopulation) else -1

    def lags(self, projection: FixedProjection) -> NDArray[np.int64]:
        """(synapses,) int64: local steps from a spike to its arrival."""
        base = self.offset(projection.source) + 1 - self.offset(projection.target)
        return projection.synapses.delays.astype(np.int64) + base

    def synapse_count(self) -> int:
        """Synapses that occupy the chip (host projections do not)."""
        return sum(len(p.synapses) for p in self.projections if not p.host)

    def dump(self) -> str:
        """A short stable text for tests and people."""
        lines = [f"fixed network, {self.steps} steps, outputs {', '.join(self.outputs)}"]
        lines += [f"  {i.name}: input {i.size} {i.encoding} 0..{i.max_value} levels {i.levels}" for i in self.inputs]
        lines += [
            f"  {p.name}: {p.size} neurons, du {p.du} dv {p.dv} vth {p.vth} offset {p.offset}" for p in self.populations
        ]
        for q in self.projections:
            where = " on the host" if q.host else ""
            lines.append(f"  {q.source} -> {q.target}: {len(q.synapses)} synapses << {q.exponent}{where}")
        return "\n".join(lines)
