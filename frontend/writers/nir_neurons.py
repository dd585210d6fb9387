"""Neurons as nodes of NIR; the inverse of `readers.nir_neurons`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...compiler.nodes import LIF, FixedNeurons, FloatArray, Node, Shape
from ...errors import UnsupportedError

NO_LEAK = 1e15
"""Steps from which 1 - 1/tau is 1 in float64, or next to it."""

Plain = dict[str, Any]


def check_kind(node: Node) -> None:
    """Raises `UnsupportedError` for neurons in integers."""
    if isinstance(node, FixedNeurons):
        raise UnsupportedError(node.name, "is a FixedNeurons, which NIR cannot say", "write it as .net")


def neuron_nodes(node: Node, shape: Shape, dt: float, bias: FloatArray | None = None) -> list[Plain]:
    """One node, or LI and Threshold for neurons that nothing resets; `bias` is added to what they hear.

    Raises:
        UnsupportedError: NIR has no word for what they do.
    """
    if not isinstance(node, LIF):
        raise UnsupportedError(node.name, f"is a {type(node).__name__}, which NIR cannot say", "fold the network first")
    _refuse(node, bias)
    dynamics = _dynamics(node, shape, dt, bias)
    if node.readout:
        return [dynamics]
    threshold = {"threshold": _threshold(node, shape)}
    if node.reset == "none":
        return [dynamics, {"type": "Threshold", **threshold}]
    dynamics["type"] = {"I": "IF", "LI": "LIF", "CubaLI": "CubaLIF"}[dynamics["type"]]
    return [{**dynamics, "v_threshold": threshold["threshold"], "v_reset": np.zeros(shape)}]


def _refuse(node: LIF, bias: FloatArray | None) -> None:
    spikes = not node.readout
    for wrong, what, way_out in (
        (spikes and node.reset == "soft", "has a soft reset", "train it with a hard reset"),
        (spikes and node.reset_delay and node.reset != "none", "has a reset one step late", "train it without"),
        (spikes and node.refractory > 0, f"rests {node.refractory} steps after a spike", "train it without"),
        (bias is not None and np.any(np.asarray(node.tau_syn) != 1),
         "has a synaptic current behind a convolution with a bias by place", "leave its padding or its bias out"),
    ):  # fmt: skip
        if wrong:
            raise UnsupportedError(node.name, f"{what}, which NIR cannot say", way_out)


def _dynamics(node: LIF, shape: Shape, dt: float, extra: FloatArray | None) -> Plain:
    """I, LI or CubaLI with r, v_leak and tau such that Euler steps of dt do what `LIF` does."""
    tau, tau_syn, gain, bias = (_full(node, key, shape) for key in ("tau", "tau_syn", "gain", "bias"))
    if extra is not None:
        bias = bias + gain * extra
    synaptic = bool((tau_syn != 1).any())
    if not node.decay_input:
        if bool((tau >= NO_LEAK).all()) and not bias.any() and not synaptic:
            return {"type": "I", "r": gain / dt}
        tau = np.minimum(tau, NO_LEAK)
        gain, bias = gain * tau, bias * tau
    if not synaptic:
        return {"type": "LI", "tau": tau * dt, "r": gain, "v_leak": bias}
    constants = {"tau_mem": tau * dt, "tau_syn": tau_syn * dt, "r": gain, "v_leak": bias, "w_in": tau_syn}
    return {"type": "CubaLI", **constants}


def _full(node: LIF, key: str, shape: Shape) -> NDArray[np.float64]:
    values = np.asarray(getattr(node, key), np.float64)
    return np.broadcast_to(values if values.ndim == 0 else values.reshape(shape), shape).copy()


def _threshold(node: LIF, shape: Shape) -> NDArray[np.float64]:
    """NIR fires above it: for neurons that fire at it, the next smaller number of float32."""
    values = _full(node, "threshold", shape)
    if node.fires == ">":
        return values
    near = values.astype(np.float32)
    return np.where(near < values, near, np.nextafter(near, np.float32(0))).astype(np.float64)
