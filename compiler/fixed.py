"""`FixedNetwork`: the contract. Its meaning is the integer arithmetic below, equal in every backend, bit for bit.

Each population has a window of `steps` local steps; it begins `offset` steps after that of the first layer. In its
local step j, with ``tz(x, s) = sign(x) (|x| >> s)`` and ``bias = bias_mant << bias_exp``::

    a = sum over projections and delays: (sum of w * s[source, arriving at j]) << exponent

    lif:          u = tz(u (4095 - du), 12) + (a << 6)
                  v = clip(tz(v (4096 - dv), 12) + u + bias, -(2^23 - 1), 2^23 - 1)
                  s = v > (vth << 6);   v = 0 where s, or v - drop with the reset "subtract"
                  in the `refractory` steps after a spike v stays as it is and s = 0

    integrator:   u and v as lif, without a spike;   s = (v >> state_exp) - (v of the step before >> state_exp)
                  the sum of s over a window is v >> state_exp at its end, which the host reads

    sigma-delta:  sigma = sigma + a;   act' = max(sigma + bias, 0), or sigma + bias with the activation "identity"
                  delta = act' - act + residue;   error = error + delta if `cumulative`, else delta
                  sent = delta where |error| >= vth, else 0;   error = 0 where sent
                  residue = delta - sent;   act = act';   s = sent >> state_exp

All state is 0 before the window begins. In traces, u and v of a sigma-delta neuron are sigma and act.

A spike of local step i arrives at ``j = i + lag``, ``lag = offset(source) + 1 + delay - offset(target)``; inputs have
the offset -1. Nothing arrives from before the window or from the sample before. A *host* projection is computed
outside the chip, once per sample: ``bias_mant += (sum of w * value) >> -exponent``.

A negative exponent shifts right and floors, once per projection, delay and neuron: Lava shifts what leaves a
projection in one step before it waits for its delay.

Source: the fixed-point models of lava-nc 0.10.0 (LIF, LIFReset, SigmaDelta, Sparse, DelaySparse); the reset
"subtract" has no model there, `refractory` one in float only (LIFRefractory). An integrator is a LIF neuron whose v is
read.
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
"""|u| stays below this (24 bits with sign), proven by `overflow.check_overflow`."""

FRACTION_BITS = 6
"""Fractional bits of u and v below one unit of `a` and of the threshold."""


REFRACTORY_MAX = 62
"""Loihi 1 counts 1 to 63 steps in 6 bits, of which the first is the spike's own (nengo-loihi)."""

PROFILE = ("du", "dv", "drop", "vth", "model", "refractory", "state_exp", "payload")
"""Columns of a core's table of profiles. model: 1 sigma-delta, + 2 reset "subtract" or activation "identity", + 4
cumulative, 8 integrator."""

VARYING, COMMON = slice(0, 3), slice(3, 8)
"""The columns in which the neurons of a population may differ, and those in which they may not."""

MODELS = {"lif": 0, "sigma-delta": 1, "integrator": 8}

NEURON_ARRAYS: dict[str, type] = {
    "origin": np.int32, "bias_mant": np.int16, "bias_exp": np.uint8, "du": np.int16, "dv": np.int16, "drop": np.int32
}  # fmt: skip
"""The arrays of a `FixedPopulation`, one value per neuron."""

Encoding = Literal["graded", "rate", "spikes", "bias", "delta"]


@dataclass(frozen=True)
class FixedInput:
    """An input population as the host sends it.

    Attributes:
        encoding: ``graded`` (payload = the value at every step), ``rate`` (binary spikes), ``spikes`` (the sample
            brings a payload per step), ``bias`` (only host projections leave it), ``delta`` (the payload's change
            since the step before: for a steady sample all of it in the first step).
        max_value: largest raw value of a sample.
        levels: the payload of `max_value`; payload = floor(value * levels / max_value + 1/2). 1 for binary spikes.
    """

    name: str
    shape: Shape
    encoding: Encoding
    max_value: int
    levels: int

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    @property
    def payload(self) -> int:
        """The largest payload that it can send in one step."""
        return 1 if self.encoding == "rate" else self.levels

    @property
    def signed(self) -> bool:
        """Whether payloads can be negative."""
        return self.encoding == "delta"

    @property
    def total(self) -> int | None:
        """What a source's payloads can sum up to at most, whatever the number of steps; None: steps * payload."""
        return self.levels if self.encoding == "delta" else None

    @property
    def payload_bits(self) -> int:
        """0 for binary spikes."""
        return 0 if self.payload == 1 and not self.signed else int(self.payload).bit_length()


@dataclass(frozen=True, eq=False)
class FixedPopulation:
    """Neurons in integers.

    Attributes:
        origin: (size,) int32, each neuron's index in the trained layer.
        du, dv: (size,) int16, 12-bit decays, one number for all is possible (du 4095: no memory, -1: no decay); a
            sigma-delta neuron has none (-1 and 0).
        vth: 17 bits; of a sigma-delta neuron 23 bits, in units of its state; of an integrator 0.
        bias_mant: (size,) int16 of 13 bits.
        bias_exp: (size,) uint8 0 … 7.
        offset: the start of its window.
        model: which of the three equations holds.
        reset: what a LIF neuron's spike does to v.
        refractory: steps after a spike, 0 … 62, in which a LIF neuron's v rests.
        activation, cumulative: of a sigma-delta neuron.
        state_exp: of a sigma-delta neuron or integrator, 0 … 7.
        payload: no spike carries more than this, up or down; 1 for LIF neurons, proven for others.
        drop: (size,) int32, what the reset "subtract" takes from v, 0 (no reset) … 2^23 - 1, in units of v; one number
            for all is possible, ``vth << 6`` if absent.
    """

    name: str
    shape: Shape
    origin: NDArray[Any]
    du: Any
    dv: Any
    vth: int
    bias_mant: NDArray[Any]
    bias_exp: NDArray[Any]
    offset: int
    model: Literal["lif", "sigma-delta", "integrator"] = "lif"
    reset: Literal["zero", "subtract"] = "zero"
    refractory: int = 0
    activation: Literal["relu", "identity"] = "relu"
    cumulative: bool = False
    state_exp: int = 0
    payload: int = 1
    drop: Any = None

    def __post_init__(self) -> None:
        if self.drop is None:
            object.__setattr__(self, "drop", self.vth << FRACTION_BITS if self.reset == "subtract" else 0)
        if self.model == "integrator":
            object.__setattr__(self, "payload", 2 * U_LIMIT >> self.state_exp)
        for key, dtype in NEURON_ARRAYS.items():
            array = np.asarray(getattr(self, key))
            if key in ("du", "dv", "drop"):
                array = np.broadcast_to(array, self.origin.shape)
            if not np.array_equal(array.astype(dtype), array):
                raise LimitError(self.name, f"{key} does not fit {np.dtype(dtype).name}", "scale the population down")
            object.__setattr__(self, key, frozen_array(array, dtype))
        assert self.bias_mant.shape == self.bias_exp.shape == self.origin.shape
        for key, (low, high) in self._ranges().items():
            values = np.asarray(getattr(self, key)).ravel()
            wrong = values if values.dtype.kind not in "iu" else values[(values < low) | (values > high)]
            if len(wrong):
                problem = f"{key} is {wrong[0]}, {low} to {high} is possible"
                raise LimitError(self.name, problem, "rescale it", value=wrong[0], limit=high)
        if self.size and (np.abs(self.bias_mant.astype(int) + 0.5).max() > 4096 or self.bias_exp.max() > 7):
            raise LimitError(self.name, "a bias exceeds 13 bits << 7", "scale the population down")

    def _ranges(self) -> dict[str, tuple[int, int]]:
        ranges = {
            "vth": (0, 2**17 - 1), "offset": (0, 2**16), "refractory": (0, REFRACTORY_MAX), "state_exp": (0, 7),
            "du": (-1, 4095), "dv": (0, 4095), "drop": (0, U_LIMIT - 1), "payload": (1, 2 * U_LIMIT),
        }  # fmt: skip
        if self.model == "lif":
            return ranges | {"state_exp": (0, 0), "payload": (1, 1)}
        ranges |= {"refractory": (0, 0), "drop": (0, 0)}
        if self.model == "integrator":
            return ranges | {"vth": (0, 0)}
        return ranges | {"du": (-1, -1), "dv": (0, 0), "vth": (0, U_LIMIT - 1)}

    @property
    def size(self) -> int:
        return len(self.origin)

    @property
    def graded(self) -> bool:
        """Whether its spikes carry payloads, of either sign."""
        return self.model != "lif"

    signed = graded

    @property
    def spike_dtype(self) -> type[np.uint8] | type[np.int32]:
        """What holds its spikes in a trace."""
        return np.int32 if self.graded else np.uint8

    @property
    def payload_bits(self) -> int:
        """Without the sign; 0 for binary spikes."""
        return int(self.payload).bit_length() if self.graded else 0

    @property
    def total(self) -> int | None:
        """What the payloads of one neuron can sum up to at most, whatever the number of steps; None: steps."""
        return self.payload if self.graded else None

    @property
    def profiles(self) -> NDArray[np.int32]:
        """(size, 8) what each neuron may have in common with others, as rows of a core's table; see `PROFILE`."""
        variants = {"lif": 2 * (self.reset == "subtract"), "integrator": 0}
        variants["sigma-delta"] = 2 * (self.activation == "identity") + 4 * self.cumulative
        code = MODELS[self.model] + variants[self.model]
        rows = np.empty((self.size, len(PROFILE)), np.int32)
        rows[:, VARYING] = np.stack([self.du, self.dv, self.drop], axis=1)
        rows[:, COMMON] = self.vth, code, self.refractory, self.state_exp, self.payload
        return rows

    @staticmethod
    def of_profiles(profiles: NDArray[Any]) -> dict[str, Any]:
        """The fields that `profiles` was made of; the neurons of a population differ in du, dv and drop only.

        >>> FixedPopulation.of_profiles(np.array([[4095, 2048, 6400, 100, 2, 0, 0, 1]]))["reset"]
        'subtract'
        """
        du, dv, drop = profiles[:, VARYING].T
        vth, code, refractory, state_exp, payload = profiles[0, COMMON].tolist()
        fields: dict[str, Any] = {"du": du, "dv": dv, "drop": drop, "vth": vth, "refractory": refractory}
        fields |= {"state_exp": state_exp, "payload": payload}
        if code & MODELS["integrator"]:
            return fields | {"model": "integrator"}
        if code & MODELS["sigma-delta"]:
            activation = "identity" if code & 2 else "relu"
            return fields | {"model": "sigma-delta", "activation": activation, "cumulative": bool(code & 4)}
        return fields | {"reset": "subtract" if code & 2 else "zero"}

    @property
    def bias(self) -> NDArray[np.int64]:
        """(size,) int64: bias_mant << bias_exp, in units of v."""
        shifted: NDArray[np.int64] = self.bias_mant.astype(np.int64) << self.bias_exp
        return shifted

    def _key(self) -> tuple[Any, ...]:
        arrays = (self.origin, self.bias_mant, self.bias_exp, self.profiles)
        return (self.name, self.shape, self.offset, *(a.tobytes() for a in arrays))

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
            if getattr(self.by_name[p.source], "model", "") == "integrator":
                raise NetworkError(label, "leaves a population that only the host reads", "end the network there")
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

    @cached_property
    def profiles(self) -> NDArray[np.int32]:
        """(neurons, 8) of all populations in a row; see `FixedPopulation.profiles`."""
        return np.concatenate([p.profiles for p in self.populations])

    @cached_property
    def profile_numbers(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(neurons,) numbers from 0 on: of each neuron's pair of decays, and of its threshold."""
        du, dv, _, vth = self.profiles[:, :4].astype(np.int64).T
        decays, thresholds = (np.unique(key, return_inverse=True)[1] for key in (du * 4096 + dv, vth))
        return decays.astype(np.int64), thresholds.astype(np.int64)

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
            f"  {p.name}: {p.size} neurons, du {_span(p.du)} dv {_span(p.dv)} vth {p.vth} offset {p.offset}"
            for p in self.populations
        ]
        for q in self.projections:
            where = " on the host" if q.host else ""
            lines.append(f"  {q.source} -> {q.target}: {len(q.synapses)} synapses << {q.exponent}{where}")
        return "\n".join(lines)


def _span(values: NDArray[Any]) -> str:
    """The value that all have, or the smallest and the largest."""
    low, high = int(values.min(initial=4096)), int(values.max(initial=-1))
    return str(high) if low >= high else f"{low}..{high}"
