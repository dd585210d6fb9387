"""The three things that Lava's own processes lack: a source that repeats a sample, a window, a record.

The arithmetic stays Lava's: `WindowedLIF`, `WindowedIntegrator` and `WindowedSigmaDelta` call the steps of `LIFReset`
and `SigmaDelta` and add only what surrounds them. These classes stand alone in their folder because Lava imports every
module that lies beside a process's own. Only `runtime.lava_worker` imports this package, in its own operating-system
process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.lif.models import PyLifResetModelBitAcc
from lava.proc.lif.process import LIFReset
from lava.proc.sdn.models import PySigmaDeltaModelFixed
from lava.proc.sdn.process import ActivationMode, SigmaDelta
from numpy.typing import NDArray


class Clock:
    """Where a Lava step (from 1) lies in the windows of a population: the sample and its local step.

    Sample n's window begins in step ``start + n * interval`` and is `steps` long.
    """

    def __init__(self, start: int, interval: int, steps: int, samples: int) -> None:
        self.start, self.interval, self.steps, self.samples = start, interval, steps, samples

    def at(self, time_step: int) -> tuple[int, int] | None:
        """(sample, local step), or None between and outside the windows."""
        sample, local = divmod(time_step - self.start, self.interval)
        return (sample, local) if 0 <= sample < self.samples and local < self.steps else None


class PayloadSource(AbstractProcess):
    """Sends the payloads of a file: (samples, size) at every step of the window, or (samples, steps, size)."""

    def __init__(self, *, size: int, file: Path, clock: Clock) -> None:
        super().__init__(file=file, clock=clock)
        self.s_out = OutPort(shape=(size,))


@implements(proc=PayloadSource, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyPayloadSource(PyLoihiProcessModel):
    """Reads the file through the page cache; silent outside the windows."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.clock: Clock = proc_params["clock"]
        self.payloads = np.load(proc_params["file"], mmap_mode="r")
        self.silence = np.zeros(self.payloads.shape[-1], np.int32)

    def run_spk(self) -> None:
        """One step."""
        place = self.clock.at(self.time_step)
        if place is None:
            self.s_out.send(self.silence)
        else:
            sample, local = place
            row = self.payloads[sample] if self.payloads.ndim == 2 else self.payloads[sample, local]
            self.s_out.send(np.array(row, np.int32))


class WindowedLIF(LIFReset):
    """`LIFReset` that is silent outside its windows, takes a bias per sample, and writes down what it does.

    Args:
        du, dv: (size,) of each neuron, where Lava's own process takes one number for all.
        clock: its windows; the state is cleared where one begins.
        biases: a file with (samples, size) bias mantissas, or None where `bias_mant` holds for every sample.
        counts: a file of (samples, size) int32 that receives the spikes per window.
        traces: files of (samples, steps, size) for ``spikes``, ``u`` and ``v``, or nothing.
    """

    def __init__(
        self, *, du: Any, dv: Any, clock: Clock, biases: Path | None, counts: Path, traces: dict[str, Path], **lif: Any
    ) -> None:
        super().__init__(reset_interval=clock.interval, reset_offset=clock.start, **lif)
        self.du, self.dv = Var(shape=du.shape, init=du), Var(shape=dv.shape, init=dv)
        for key, value in (("clock", clock), ("biases", biases), ("counts", counts), ("traces", traces)):
            self.proc_params[key] = value


class PyWindowedLIF(PyLifResetModelBitAcc):
    """The step of `LIFReset` between a bias before it and a record after it; protocol and tags are inherited."""

    implements_process: type[WindowedLIF] = WindowedLIF  # not by the decorator, which refuses to do it for a subclass

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.clock: Clock = proc_params["clock"]
        self.place: tuple[int, int] | None = None
        biases = proc_params["biases"]
        self.biases = None if biases is None else np.load(biases, mmap_mode="r")
        self.counts = np.load(proc_params["counts"], mmap_mode="r+")
        self.traces = {key: np.load(file, mmap_mode="r+") for key, file in proc_params["traces"].items()}

    def spiking_activation(self) -> NDArray[np.bool_]:
        """Lava's spikes inside the window, none outside; written down."""
        spikes: NDArray[np.bool_] = super().spiking_activation()
        if self.place is None:
            return np.zeros_like(spikes)
        self.counts[self.place[0]] += spikes
        if "spikes" in self.traces:
            self.traces["spikes"][self.place] = spikes
        return spikes

    def run_spk(self) -> None:
        """One step."""
        self.place = self.clock.at(self.time_step)
        if self.biases is not None and self.place is not None:
            self.bias_mant[:] = self.biases[self.place[0]]
        super().run_spk()
        if self.place is not None:
            for key in ("u", "v"):
                if key in self.traces:
                    self.traces[key][self.place] = getattr(self, key)


class WindowedIntegrator(WindowedLIF):
    """`WindowedLIF` without a spike, which sends how much ``v >> state_exp`` has changed; nothing in Lava does that.

    Args:
        state_exp: how far v is shifted right.
        paid: a file of (samples, size) int32 that receives the sum of payloads per window.
    """

    def __init__(self, *, state_exp: int, paid: Path, **lif: Any) -> None:
        super().__init__(**lif)
        self.proc_params["state_exp"], self.proc_params["paid"] = state_exp, paid


class PyWindowedIntegrator(PyWindowedLIF):
    """Lava's u and v; what is sent follows from v before and after the step."""

    implements_process = WindowedIntegrator

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.shift: int = proc_params["state_exp"]
        self.paid = np.load(proc_params["paid"], mmap_mode="r+")
        self.before: Any = 0

    def spiking_activation(self) -> NDArray[np.int32]:  # type: ignore[override]
        """The payloads; written down."""
        if self.place is None:
            return np.zeros_like(self.v)
        now = self.v >> self.shift
        sent: NDArray[np.int32] = now - (self.before if self.place[1] else 0)
        self.before = now
        self.counts[self.place[0]] += sent != 0
        self.paid[self.place[0]] += sent
        if "spikes" in self.traces:
            self.traces["spikes"][self.place] = sent
        return sent

    def reset_voltage(self, spike_vector: NDArray[np.int32]) -> None:
        """None: v goes on."""


class WindowedSigmaDelta(SigmaDelta):
    """`SigmaDelta` with windows as `WindowedLIF` has them; `SigmaDelta` itself would scale threshold and bias.

    Args:
        threshold: of |delta|, in units of the state.
        rectified: whether the activation is max(x, 0).
        bias_mant, bias_exp: (size,) the bias is ``bias_mant << bias_exp``.
        paid: a file of (samples, size) int32 that receives the sum of payloads per window.
        clock, biases, counts, traces: as for `WindowedLIF`; u and v are sigma and act.
    """

    def __init__(
        self, *, shape: tuple[int, ...], threshold: int, rectified: bool, bias_mant: Any, bias_exp: Any, clock: Clock,
        biases: Path | None, counts: Path, paid: Path, traces: dict[str, Path], **kind: Any,
    ) -> None:  # fmt: skip
        mode = ActivationMode.RELU if rectified else ActivationMode.UNIT
        super().__init__(shape=shape, vth=threshold, act_mode=mode, **kind)
        self.vth = Var(shape=(1,), init=threshold)
        self.bias = Var(shape=shape, init=bias_mant << bias_exp)
        own = {"clock": clock, "biases": biases, "counts": counts, "paid": paid, "traces": traces}
        for key, value in (own | {"bias_mant": bias_mant, "bias_exp": bias_exp}).items():
            self.proc_params[key] = value


class PyWindowedSigmaDelta(PySigmaDeltaModelFixed):
    """The step of `SigmaDelta` inside the windows, silence outside; what it sends is written down."""

    implements_process = WindowedSigmaDelta

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.clock: Clock = proc_params["clock"]
        self.exponent = proc_params["bias_exp"]
        self.biases = None if proc_params["biases"] is None else np.load(proc_params["biases"], mmap_mode="r")
        self.counts = np.load(proc_params["counts"], mmap_mode="r+")
        self.paid = np.load(proc_params["paid"], mmap_mode="r+")
        self.traces = {key: np.load(file, mmap_mode="r+") for key, file in proc_params["traces"].items()}
        self.place: tuple[int, int] | None = None

    def dynamics(self, a_in_data: NDArray[np.int32]) -> NDArray[np.int32]:
        """Lava's step, and what it will send is written down."""
        scaled: NDArray[np.int32] = super().dynamics(a_in_data)
        sent = np.right_shift(scaled, self.state_exp)
        assert self.place is not None
        self.counts[self.place[0]] += sent != 0
        self.paid[self.place[0]] += sent
        for key, array in (("spikes", sent), ("u", self.sigma), ("v", self.act)):
            if key in self.traces:
                self.traces[key][self.place] = array
        return scaled

    def run_spk(self) -> None:
        """One step."""
        self.place = self.clock.at(self.time_step)
        if self.place is None:
            self.a_in.recv()
            self.s_out.send(np.zeros(self.proc_params["shape"], np.int32))
            return
        sample, local = self.place
        if local == 0:
            for state in ("sigma", "act", "residue", "error"):
                setattr(self, state, np.zeros_like(getattr(self, state)))
            if self.biases is not None:
                self.bias = self.biases[sample].astype(np.int32) << self.exponent
        super().run_spk()
