"""The neurons of SpikingJelly, snnTorch and Norse as `LIF` nodes, by the equations of their sources.

SpikingJelly 0.0.0.0.14 and 2.0.0 (``activation_based.neuron``), snnTorch 1.0.0 (``_neurons``), Norse 1.1.0
(``functional.lif_box``, ``lif``, ``leaky_integrator``).
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ....compiler import nodes as ir
from ....compiler.findings import Finding
from .layers import OTHER_LAYER, NeedsShapeError, OptionalShape, real, refuse, short

NO_LEAK = 2.0**60
"""Steps: a membrane with this time constant loses nothing, in float64 exactly."""

Made = tuple[ir.LIF, tuple[Finding, ...]]


def spikingjelly(name: str, tau: float, threshold: Any, v_reset: Any, decay_input: Any) -> ir.LIF:
    """``h = v + (x - (v - v_reset)) / tau``, or without `decay_input` ``h = v - (v - v_reset) / tau + x``.

    It fires at ``h >= threshold``; `v_reset` None takes the threshold away. All of it is the same in ``v - v_reset``,
    where a sample begins at 0. With an infinite threshold it is a readout.

    >>> spikingjelly("lif", 2.0, 1.0, -0.5, True).threshold
    1.5
    """
    rest = 0.0 if v_reset is None else real(name, "v_reset", v_reset)
    if not isinstance(decay_input, bool):
        raise refuse(name, f"its decay_input is {short(decay_input)}", "give true or false")
    if threshold == math.inf:
        return ir.LIF(name, tau=time_constant(name, tau), decay_input=decay_input, fires="never", bias=0.0)
    height = real(name, "v_threshold", threshold) - rest
    if height <= 0:
        raise refuse(name, f"its threshold is {height:g} above its v_reset, so that it always fires", "correct them")
    return ir.LIF(
        name, tau=time_constant(name, tau), threshold=height, reset="soft" if v_reset is None else "hard",
        decay_input=decay_input, fires=">=",
    )  # fmt: skip


def parametric_tau(w: float) -> float:
    """``1 / tau = sigmoid(w)``.

    >>> parametric_tau(0.0)
    2.0
    """
    return 1 + math.exp(min(-w, 60.0))


def snntorch(
    name: str,
    kind: str,
    beta: Any,
    threshold: Any,
    alpha: Any = 0.0,
    *,
    mechanism: str = "subtract",
    reset_delay: bool | None = None,
    readout: bool = False,
    shape: OptionalShape = None,
) -> Made:
    """``i = alpha i + x; u = beta u + i``, beta and alpha within 0 and 1; it fires at ``u > threshold``.

    With `reset_delay` "subtract" takes the threshold away in the next step, and "zero" sets u to 0 instead of that
    step's charge; Leaky alone sets u to 0 before it, which gives the spikes of a reset in the same step. Without
    `reset_delay`, snnTorch takes the threshold away in the same step, and postpones each spike of a neuron whose u is
    above the threshold even then: that last part is not carried.
    """
    findings: list[Finding] = []
    decay, synaptic = (tau_of(name, key, v, shape) for key, v in (("beta", beta), ("alpha", alpha)))
    late = reset_delay is not False and not (kind == "Leaky" and mechanism == "zero") and mechanism != "none"
    texts = ["it has neither inhibition nor state_quant, which change its spikes and are in no state dict"]
    if late and reset_delay is None and kind != "Lapicque":
        texts.insert(0, "its reset acts one step late, as in snnTorch by default")
    findings.append(Finding(name, "assumed", "; ".join(texts)))
    if mechanism == "subtract" and reset_delay is False:
        text = "a membrane above twice its threshold fires again at once, snnTorch without reset_delay waits a step"
        findings.append(Finding(name, "approximated", text, "train it with reset_delay=True"))
    resets: dict[str, Literal["hard", "soft", "none"]] = {"subtract": "soft", "zero": "hard", "none": "none"}
    if not isinstance(mechanism, str) or mechanism not in resets:
        raise refuse(name, f"its reset_mechanism is {short(mechanism)}", f"use one of {', '.join(resets)}")
    if readout and mechanism != "none":
        raise refuse(name, f"its membrane is read out and reset by {mechanism}", "train it with reset_mechanism none")
    node = ir.LIF(
        name, tau=decay, tau_syn=synaptic, threshold=per_neuron(name, "threshold", threshold, shape),
        reset=resets[mechanism], decay_input=False, fires="never" if readout else ">", reset_delay=late,
    )  # fmt: skip
    return node, tuple(findings)


def lapicque(name: str, resistance: Any, capacity: Any, step: Any, **settings: Any) -> Made:
    """``u = (1 - dt / (R C)) u + x dt / C``; its beta is not used."""
    shape = settings["shape"]
    r, c, dt = (per_neuron(name, k, v, shape) for k, v in (("R", resistance), ("C", capacity), ("time_step", step)))
    if min(np.min(r), np.min(c), np.min(dt)) <= 0 or np.min(np.asarray(r) * c / dt) < 1:
        raise refuse(name, "has a time constant R C below its time_step", "use smaller steps")
    beta = 1 - np.asarray(dt, float) / (np.asarray(r, float) * c)
    node, findings = snntorch(name, "Lapicque", beta, **settings)
    gain = np.asarray(dt, float) / np.asarray(c, float)
    fields = {key: getattr(node, key) for key in ("tau", "threshold", "reset", "fires", "reset_delay")}
    return ir.LIF(name, decay_input=False, gain=gain if gain.size > 1 else gain.item(), **fields), findings


def norse(
    name: str,
    kind: str,
    dt: Any = 1e-3,
    tau_mem_inv: Any = 100.0,
    tau_syn_inv: Any = 200.0,
    v_leak: Any = 0.0,
    v_th: Any = 1.0,
    v_reset: Any = 0.0,
    reset: str = "value",
) -> ir.LIF:
    """``v += dt tau_mem_inv (v_leak - v + i)``, fires at ``v > v_th``, then ``v = v_reset`` or ``v -= v_th``.

    LIF and LI have ``i += x`` before and ``i -= dt tau_syn_inv i`` after it. A sample begins at v_leak.
    """
    values = {"dt": dt, "tau_mem_inv": tau_mem_inv, "tau_syn_inv": tau_syn_inv}
    step, mem, syn = (real(name, key, value) for key, value in values.items())
    leak, threshold, rest = (real(name, k, v) for k, v in (("v_leak", v_leak), ("v_th", v_th), ("v_reset", v_reset)))
    if step * mem <= 0 or step * syn <= 0:
        raise refuse(name, "has an inverse time constant that is not positive", "correct it")
    tau = time_constant(name, 1 / (step * mem))
    tau_syn = 1.0 if kind == "LIFBox" else time_constant(name, 1 / (step * syn))
    if kind == "LI":
        if leak:
            raise refuse(name, f"rests at v_leak {leak:g}, so that its membrane is another", "use v_leak 0")
        return ir.LIF(name, tau=tau, tau_syn=tau_syn, fires="never", reset="none")
    soft = kind == "LIFBox" and reset == "subtract"
    if reset not in ("value", "subtract") or (reset == "subtract" and not soft):
        raise refuse(name, f"its reset is {short(reset)}", "use value, or subtract for LIFBox")
    if leak != (0.0 if soft else rest):
        other = "0 (it subtracts v_th as it is)" if soft else f"its v_reset {rest:g}"
        raise refuse(name, f"rests at v_leak {leak:g}, which is not {other}", "train it with the same value")
    if threshold - leak <= 0:
        raise refuse(name, f"its threshold is {threshold - leak:g} above its rest", "correct them")
    reset_to: Literal["hard", "soft"] = "soft" if soft else "hard"
    return ir.LIF(name, tau=tau, tau_syn=tau_syn, threshold=threshold - leak, reset=reset_to, fires=">")


def time_constant(name: str, tau: Any) -> float:
    value = real(name, "tau", tau)
    if value < 1:
        raise refuse(name, f"its tau is {value:g} steps, at least 1 is needed", "correct it or use smaller steps")
    return min(value, NO_LEAK)


def per_neuron(name: str, key: str, value: Any, shape: OptionalShape) -> float | NDArray[Any]:
    """One number, or one for each neuron of `shape`, in its shape."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise refuse(name, f"its {key} is a list of lists of different lengths", "correct it") from error
    if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise refuse(name, f"its {key} holds something that is no number", "train it again")
    array = array.astype(float)
    if array.size == 1:
        return float(array.item())
    while shape is not None and array.ndim > len(shape) and array.shape[0] == 1:
        array = array[0]
    if shape is None:
        raise NeedsShapeError(name, f"its {key} has the shape {array.shape}, that of the layer is unknown", OTHER_LAYER)
    fits = array.ndim <= len(shape) and all(n in (1, m) for n, m in zip(array.shape[::-1], shape[::-1], strict=False))
    if not fits:
        raise refuse(name, f"its {key} has the shape {array.shape}, the layer has {shape}", "correct the layers")
    return np.broadcast_to(array, shape).copy()


def tau_of(name: str, key: str, decay: Any, shape: OptionalShape) -> float | NDArray[Any]:
    """``1 / (1 - decay)``, the decay clamped to 0 … 1 as snnTorch does."""
    kept = 1 - np.clip(np.asarray(per_neuron(name, key, decay, shape)), 0, 1)
    tau = 1 / np.maximum(kept, 1 / NO_LEAK)
    return tau if tau.ndim else float(tau)
