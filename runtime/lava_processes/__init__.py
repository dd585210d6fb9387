"""The three things that Lava's own processes lack: a source that repeats a sample, a window, a record.

The arithmetic stays Lava's: `WindowedLIF` calls the step of `LIFReset` and adds only what surrounds it. These classes
stand alone in their folder because Lava imports every module that lies beside a process's own. Only
`runtime.lava_worker` imports this package, in its own operating-system process.
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
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.lif.models import PyLifResetModelBitAcc
from lava.proc.lif.process import LIFReset
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
        clock: its windows; the state is cleared where one begins.
        biases: a file with (samples, size) bias mantissas, or None where `bias_mant` holds for every sample.
        counts: a file of (samples, size) int32 that receives the spikes per window.
        traces: files of (samples, steps, size) for ``spikes``, ``u`` and ``v``, or nothing.
    """

    def __init__(self, *, clock: Clock, biases: Path | None, counts: Path, traces: dict[str, Path], **lif: Any) -> None:
        super().__init__(reset_interval=clock.interval, reset_offset=clock.start, **lif)
        for key, value in (("clock", clock), ("biases", biases), ("counts", counts), ("traces", traces)):
            self.proc_params[key] = value


class PyWindowedLIF(PyLifResetModelBitAcc):
    """The step of `LIFReset` between a bias before it and a record after it; protocol and tags are inherited."""

    implements_process = WindowedLIF  # not by the decorator, which refuses to do it for a subclass

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
