"""The neurons of a `Network`: trained ones in float, and those whose constants are the chip's integers already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from .node import LARGEST, BaseNode, FloatArray, check


@dataclass(frozen=True, eq=False)
class Population(BaseNode):
    """Neurons; the edges that meet in them are summed."""

    @property
    def readout(self) -> bool:
        """Whether they never spike: the host reads their membrane at the end of a sample."""
        return False

    def _check_range(self, key: str, low: float, high: float, needed: str) -> None:
        values = np.asarray(getattr(self, key))
        right = values.dtype.kind in "fiu" and bool((values >= low).all()) and bool((values <= high).all())
        shown = (
            values if values.dtype.kind not in "fiu" or values.ndim == 0 else f"{values.min():g} to {values.max():g}"
        )
        check(right, self.name, f"{key} is {shown}, {needed} is needed")


@dataclass(frozen=True, eq=False)
class LIF(Population):
    """Leaky integrate-and-fire neurons.

    current ``i = i (1 - 1/tau_syn) + x`` (`tau_syn` 1: i = x), ``drive = gain i + bias``; charge ``v += (drive - v) /
    tau`` (`decay_input`) or ``v = v (1 - 1/tau) + drive``; spike where ``v >= threshold`` (`fires` ">=") or ``v >
    threshold``; then v = 0 (`reset` "hard"), v -= threshold ("soft") or v stays ("none"), and v rests for the next
    `refractory` steps, without a spike. `reset_delay`: the reset takes place at the begin of the next step: "soft"
    ``v = v (1 - 1/tau) + drive - threshold``, "hard" ``v = 0``, whatever the drive.

    With `fires` "never" they are a readout: no spike, no reset; the network's answer is v at the end of a sample.
    All states are 0 when a sample begins. `tau`, `tau_syn` (in steps), `threshold`, `gain` and `bias` are one number,
    or an array with one per neuron, in the shape of the population or flat.
    """

    tau: float | FloatArray = 2.0
    threshold: float | FloatArray = 1.0
    reset: Literal["hard", "soft", "none"] = "hard"
    decay_input: bool = True
    fires: Literal[">=", ">", "never"] = ">="
    refractory: int = 0
    tau_syn: float | FloatArray = 1.0
    reset_delay: bool = False
    gain: float | FloatArray = 1.0
    bias: float | FloatArray = 0.0
    constants: ClassVar[tuple[str, ...]] = ("tau", "threshold", "tau_syn", "gain", "bias")

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("tau", "tau_syn"):
            self._check_range(key, 1, LARGEST, f"1 to {LARGEST:g}")
        self._check_range("threshold", 1 / LARGEST, LARGEST, f"a number above 0 and up to {LARGEST:g}")
        for key in ("gain", "bias"):
            self._check_range(key, -LARGEST, LARGEST, f"a number up to {LARGEST:g}")
        for key in ("decay_input", "reset_delay"):
            value = getattr(self, key)
            check(isinstance(value, bool), self.name, f"{key} is {value!r}, no truth value")
        resets = ("hard", "soft", "none")
        check(self.reset in resets, self.name, f"reset is {self.reset!r}, 'hard', 'soft' or 'none' is possible")
        whole = isinstance(self.refractory, int) and 0 <= self.refractory < 2**16
        check(whole, self.name, f"refractory is {self.refractory!r}, a whole number of steps from 0 on is needed")
        kinds = (">=", ">", "never")
        check(self.fires in kinds, self.name, f"fires at {self.fires!r}, '>=', '>' or 'never' is possible")

    @property
    def readout(self) -> bool:
        return self.fires == "never"

    @property
    def is_plain(self) -> bool:
        """Whether it has one tau and threshold, no synaptic memory, a reset in the same step, and spikes."""
        usual = (self.tau_syn, self.reset_delay, self.gain, self.bias) == (1.0, False, 1.0, 0.0)
        return not self.per_neuron and usual and self.reset != "none" and not self.readout


@dataclass(frozen=True, eq=False)
class FixedNeurons(Population):
    """Neurons of a model that is in integers already; the fields are those of `fixed.FixedPopulation`.

    The weights of the layers before them are integers, shifted by `exponent` as the chip does it; their biases are
    mantissas, shifted by `bias_exp`. Nothing is quantised again. `du` and `dv` are one number, or one per neuron.
    """

    vth: int = 0
    du: Any = 4095
    dv: Any = 0
    model: Literal["lif", "sigma-delta", "integrator"] = "lif"
    reset: Literal["zero", "subtract"] = "zero"
    refractory: int = 0
    activation: Literal["relu", "identity"] = "relu"
    cumulative: bool = False
    state_exp: int = 0
    bias_exp: int = 0
    exponent: int = 0
    constants: ClassVar[tuple[str, ...]] = ("du", "dv")

    def __post_init__(self) -> None:
        super().__post_init__()
        ranges = {
            "vth": (0, 2**23 - 1), "du": (-1, 4095), "dv": (0, 4095), "refractory": (0, 2**16), "state_exp": (0, 7),
            "bias_exp": (0, 7), "exponent": (-16, 16),
        }  # fmt: skip
        for key, (low, high) in ranges.items():
            self._check_range(key, low, high, f"a whole number {low} to {high}")
            check(np.asarray(getattr(self, key)).dtype.kind in "iu", self.name, f"{key} is no whole number")
        for key, choices in (
            ("model", ("lif", "sigma-delta", "integrator")), ("reset", ("zero", "subtract")),
            ("activation", ("relu", "identity")), ("cumulative", (False, True)),
        ):  # fmt: skip
            value = getattr(self, key)
            check(value in choices, self.name, f"{key} is {value!r}, {' or '.join(map(repr, choices))} is possible")

    @property
    def readout(self) -> bool:
        return self.model == "integrator"
