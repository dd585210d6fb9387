"""A child of `engine.py`: brian2-loihi with our weights and constants. ``engine_brian.py FOLDER``.

It has no biases and no windows: the samples follow each other in one run, with silent steps between them in which
every state is set to zero, and the output spikes are sorted into the windows afterwards.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import brian2
import numpy as np
from brian2_loihi import LoihiNetwork, LoihiNeuronGroup, LoihiSpikeGeneratorGroup, LoihiSpikeMonitor, LoihiSynapses

MIXED = 1


def build(job: Any, interval: int) -> tuple[LoihiNetwork, Any, list[Any]]:
    """The network, the monitor of its last layer, and everything in it (Brian drops what nobody holds)."""
    sample, step, source = np.nonzero(job["sent"])
    times = sample * interval + step
    before: Any = LoihiSpikeGeneratorGroup(job["sent"].shape[2], source, times)
    parts = [before]
    for i in range(job["layers"]):
        weights = job[f"weights{i}"].T.astype(int)  # (sources, targets)
        du, dv, vth = job[f"constants{i}"].tolist()
        assert not job[f"bias_mant{i}"].any()
        group = LoihiNeuronGroup(weights.shape[1], threshold_v_mant=vth, decay_v=dv, decay_I=du + 1)
        group.run_regularly("v = 0; I = 0", dt=interval * brian2.ms, when="start", order=-1)
        synapses = LoihiSynapses(before, group, w_exp=int(job[f"exponent{i}"]), sign_mode=MIXED)
        sources, targets = np.nonzero(weights)
        synapses.connect(i=sources, j=targets)
        synapses.w = weights[sources, targets]
        parts += [group, synapses]
        before = group
    monitor = LoihiSpikeMonitor(before)
    return LoihiNetwork(*parts, monitor), monitor, parts


def main(folder: Path) -> None:
    job = np.load(folder / "job.npz")
    samples, steps, _ = job["sent"].shape
    lag = int(job["layers"]) - 1
    interval = steps + lag
    network, monitor, parts = build(job, interval)
    network.run(0)  # compiles
    begin = time.perf_counter()
    network.run(samples * interval)
    seconds = (time.perf_counter() - begin) / samples
    at = np.rint(np.asarray(monitor.t_) * 1000).astype(int)  # monitor.t truncates, and gives 4006 for step 4007
    sample, local = np.divmod(at, interval)
    counts = np.zeros((samples, parts[-2].N), int)
    inside = (local >= lag) & (local < lag + steps)
    np.add.at(counts, (sample[inside], np.asarray(monitor.i)[inside]), 1)
    np.savez(folder / "result.npz", counts=counts, seconds=seconds)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
