"""Neurons of NIR as `LIF`: the equations in continuous time, in Euler steps of dt.

::

    LIF      v += dt/tau (v_leak - v + r x)            tau/dt steps, gain r, bias v_leak
    CubaLIF  i += dt/tau_syn (w_in x - i)              then as LIF with r i; gain r w_in dt/tau_syn
    IF       v += dt r x                               no leak, gain r dt

A spike where v > v_threshold, then v = v_reset. In w = v - v_reset the reset is 0, the threshold v_threshold - v_reset
and the leak v_leak - v_reset, and all states begin at 0. LI, CubaLI and I are the same without a spike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ....compiler.neuron_nodes import LIF
from ....compiler.node import LARGEST, Shape
from ..options import ReadOptions
from .file import RawNode
from .notes import Notes
from .values import array, per_neuron, shown

SILENT = ("I", "LI", "CubaLI")
SPIKING = ("IF", "LIF", "CubaLIF", "Threshold")
NEVER = 1.0
"""Threshold of a readout, which has no use for one."""
ROUNDING = 1e-6
"""Of float32: a gain this near to tau is tau, a tau this little below dt is dt."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class _Reader:
    node: RawNode
    name: str
    shape: Shape | None
    options: ReadOptions
    notes: Notes

    def value(self, key: str, default: float | None = None) -> Values:
        if default is not None and key not in self.node.values:
            return np.array(default)
        return per_neuron(self.node, self.name, key, self.shape)

    def steps(self, key: str) -> Values | None:
        """A time constant in steps, or None with a note where one step is longer."""
        values = array(self.node, self.name, key)
        tau = self.value(key) / self.options.dt
        if bool((tau < 1 - ROUNDING).any()) or bool((tau > LARGEST).any()):
            text = f"{key} is {shown(values)} s, at least dt = {self.options.dt:g} s is needed"
            self.notes.unsupported(self.name, text, "give a smaller --dt")
            return None
        return np.maximum(tau, 1.0)

    def dynamics(self) -> dict[str, Any] | None:
        """The constants of everything but the spike."""
        if self.node.kind == "Threshold":
            return {"tau": 1.0, "decay_input": True}
        if self.node.kind in ("I", "IF"):
            return {"tau": LARGEST, "decay_input": False, "gain": self.value("r") * self.options.dt}
        synaptic = self.node.kind.startswith("Cuba")
        tau = self.steps("tau_mem" if synaptic else "tau")
        tau_syn = self.steps("tau_syn") if synaptic else np.ones(())
        if tau is None or tau_syn is None:
            return None
        gain = self.value("r") * (self.value("w_in", 1.0) / tau_syn if synaptic else 1.0)
        bias = self.value("v_leak") - (self.value("v_reset", 0.0) if self.node.kind.endswith("LIF") else 0.0)
        if bool(np.allclose(gain, tau, rtol=ROUNDING, atol=0)):
            return {"tau": tau, "tau_syn": tau_syn, "gain": 1.0, "bias": bias / tau, "decay_input": False}
        return {"tau": tau, "tau_syn": tau_syn, "gain": gain, "bias": bias, "decay_input": True}

    def spike(self) -> dict[str, Any] | None:
        """The constants of the spike."""
        reset = self.value("v_reset", 0.0)
        wanted = self.options.reset or "hard"
        key = "threshold" if self.node.kind == "Threshold" else "v_threshold"
        threshold = self.value(key) - reset
        if bool((threshold <= 0).any()):
            text = f"{key} is not above the reset everywhere: the neuron fires without end"
            self.notes.unsupported(self.name, text, "give it a threshold above its reset")
            return None
        if self.node.kind == "Threshold":
            return {"threshold": threshold, "reset": "hard"}
        if wanted == "soft" and bool(reset.any()):
            text = f"a soft reset subtracts the threshold, and v_reset is {shown(reset)}, 0 is needed"
            self.notes.unsupported(self.name, text, "leave out --reset soft")
            return None
        return {"threshold": threshold, "reset": wanted}


def read_neurons(node: RawNode, name: str, shape: Shape | None, options: ReadOptions, notes: Notes) -> LIF | None:
    """Any of `SPIKING` and `SILENT`; None with a note where it cannot be carried.

    Raises:
        NetworkError: a parameter is missing or has a shape of its own.
    """
    reader = _Reader(node, name, shape, options, notes)
    fires: Literal[">", "never"] = "never" if node.kind in SILENT else ">"
    spike = {"threshold": NEVER, "reset": "none"} if node.kind in SILENT else reader.spike()
    dynamics = reader.dynamics()
    if spike is None or dynamics is None:
        return None
    constants = {key: value.item() if np.ndim(value) == 0 and not isinstance(value, (str, bool, float)) else value
                 for key, value in {**dynamics, **spike}.items()}  # fmt: skip
    neurons = LIF(name, fires=fires, **constants)
    notes.add(name, "exact", f"{node.kind}, " + ("a readout" if neurons.readout else "fires above its threshold"))
    _note_assumed(reader, notes)
    return neurons


def _note_assumed(reader: _Reader, notes: Notes) -> None:
    kind, name = reader.node.kind, reader.name
    if kind in ("IF", "LIF", "CubaLIF"):
        wanted = reader.options.reset or "hard"
        how = "subtracts its threshold (--reset soft)" if wanted == "soft" else "sets it to v_reset, as NIR says"
        notes.add(name, "assumed", f"a spike acts on the membrane in its own step and {how}")
    if kind in ("LI", "LIF", "CubaLI", "CubaLIF"):
        reset = reader.value("v_reset", 0.0)
        if bool((reader.value("v_leak") != reset).any()):
            start = "v_reset" if kind.endswith("LIF") else "0"
            notes.add(name, "assumed", f"its membrane begins at {start}, not at v_leak")
