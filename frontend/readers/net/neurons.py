"""Neurons of lava-dl's `.net`, in the constants of `FixedNeurons`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....compiler.fixed import FRACTION_BITS
from ....compiler.neuron_nodes import FixedNeurons
from .fields import Findings, flag, text, whole
from .file import Layer

LIF_KINDS = ("CUBA", "LOIHI")
NEVER = 2**17 - 1
"""The largest threshold, lava-dl's way to say that a layer is only read; v has 24 bits and goes 63 steps beyond it."""
STATE_EXP = 6
SPIKE_EXP = 6
"""NetX keeps 6 bits of fraction in the payloads of sigma-delta neurons, and 6 more in their state."""
SIGMA_BIAS_EXP = 7
"""Of the 12 bits by which NetX shifts their biases and thresholds; the other 5 go into the mantissa."""

KNOWN = {
    "type", "iDecay", "vDecay", "vThMant", "refDelay", "gradedSpike", "activation", "sigma_output", "messageBits",
    "scaleRho", "tauRho", "theta", "wgtExp", "weight_exp",
}  # fmt: skip


def make_neurons(layer: Layer, name: str, findings: Findings, last: bool) -> FixedNeurons | None:
    """The neurons of a layer, None where they are refused (see `findings`).

    A layer without neurons, or whose threshold no v can reach, is read by the host and must be the `last`.
    """
    kind = text(layer, "neuron/type")
    if kind is None:
        if any(key.startswith("neuron/") for key in layer.fields):
            findings.refuse(layer.name, "its neuron has no type", "export it again with lava-dl")
            return None
        return _readout(layer, name, findings, last, 4095, 0)
    for key in layer.fields:
        if key.startswith("neuron/") and key[7:] not in KNOWN:
            findings.assume(layer.name, f"{key} is ignored, as NetX ignores it")
    for key in ("neuron/wgtExp", "neuron/weight_exp"):
        if flag(layer, key):
            findings.refuse(layer.name, f"{key} is not 0, NetX ignores it", "fold it into the weights")
    if kind == "SDNN":
        return _sigma_delta(layer, name, findings)
    if kind not in LIF_KINDS:
        findings.refuse(layer.name, f"has neurons of type {kind}", "use CUBA, LOIHI or SDNN neurons")
        return None
    return _lif(layer, name, findings, last)


def _lif(layer: Layer, name: str, findings: Findings, last: bool) -> FixedNeurons | None:
    du = whole(layer, "neuron/iDecay", None, findings, 0, 4096) - 1
    dv = whole(layer, "neuron/vDecay", None, findings, 0, 4096)
    vth = whole(layer, "neuron/vThMant", None, findings, 0, 2**23 - 1)
    rest = whole(layer, "neuron/refDelay", 1, findings, 0, 63)
    if flag(layer, "neuron/gradedSpike"):
        problem = "sends graded spikes, LIF neurons send binary ones"
        findings.refuse(layer.name, problem, "train it with graded_spike=False, or with sigma-delta neurons")
    if rest > 1:
        findings.assume(layer.name, f"rests for {rest - 1} steps after a spike (refDelay {rest}); NetX ignores it")
    if dv == 4096:
        way_out = "train it with a voltage decay below 1"
        findings.refuse(layer.name, "vDecay is 4096, a chip's decay ends at 4095", way_out)
    if findings.refused(layer.name):
        return None
    if vth >= NEVER:
        if vth == NEVER and last:
            findings.assume(layer.name, f"has the threshold {vth}, so it is taken for one that never spikes")
        return _readout(layer, name, findings, last, du, dv)
    return FixedNeurons(name, vth=vth, du=du, dv=dv, refractory=max(0, rest - 1), bias_exp=FRACTION_BITS, exponent=0)


def _readout(layer: Layer, name: str, findings: Findings, last: bool, du: int, dv: int) -> FixedNeurons | None:
    if not last:
        problem = "never spikes (it has no neurons, or a threshold out of reach), yet layers follow it"
        findings.refuse(layer.name, problem, "give it neurons, or end the network there")
        return None
    findings.exact(layer.name, "never spikes: the host reads v >> 6 at the end of a sample")
    return FixedNeurons(name, model="integrator", du=du, dv=dv, vth=0, state_exp=STATE_EXP, bias_exp=FRACTION_BITS)


def _sigma_delta(layer: Layer, name: str, findings: Findings) -> FixedNeurons | None:
    """sigma in units of 2^-12, thresholds and biases shifted by 12, payloads in units of 2^-6, as NetX has it.

    `sigma_output`: NetX sends sigma itself in each step; here the changes, whose sum is sigma.
    """
    activation = text(layer, "neuron/activation")
    if activation not in (None, "relu"):
        findings.refuse(layer.name, f"has the activation {activation}", "use relu, the only one that NetX has")
    if flag(layer, "neuron/sigma_output"):
        findings.exact(layer.name, "its answer is sigma, the sum of what it sends in a sample")
        return FixedNeurons(name, model="sigma-delta", du=-1, dv=0, activation="identity", bias_exp=SIGMA_BIAS_EXP)
    vth = whole(layer, "neuron/vThMant", None, findings, 0, (2**23 - 1) >> (STATE_EXP + SPIKE_EXP))
    if findings.refused(layer.name):
        return None
    return FixedNeurons(
        name, model="sigma-delta", du=-1, dv=0, vth=vth << (STATE_EXP + SPIKE_EXP), state_exp=STATE_EXP,
        bias_exp=SIGMA_BIAS_EXP,
    )  # fmt: skip


def bias_mantissas(neurons: FixedNeurons, bias: NDArray[Any]) -> NDArray[Any]:
    """A layer's biases in units of the neurons' `bias_exp`."""
    extra = STATE_EXP + SPIKE_EXP - SIGMA_BIAS_EXP if neurons.model == "sigma-delta" else 0
    return bias.astype(np.float64) * 2.0**extra
