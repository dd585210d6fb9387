"""A child of `engine.py`: nengo-loihi's emulator with our integers put into its blocks. ``engine_nengo.py FOLDER``.

The blocks are filled directly, below nengo's own objects, whose discretisation would choose other integers. Between
samples the state is set to zero from outside, layer by layer, as a window begins; the emulator has no such thing.
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from nengo_loihi.block import Axon, LoihiBlock, Synapse
from nengo_loihi.builder.builder import Model
from nengo_loihi.emulator import EmulatorInterface
from nengo_loihi.inputs import SpikeInput

LIMIT = 2**23 - 1


def block_of(job: Any, i: int) -> tuple[LoihiBlock, Synapse]:
    weights = job[f"weights{i}"].T.astype(np.int32)  # (sources, targets)
    block = LoihiBlock(weights.shape[1])
    compartment = block.compartment
    du, dv, vth = job[f"constants{i}"].tolist()
    full = np.ones(block.n_neurons, np.int32)
    compartment.decay_u, compartment.decay_v, compartment.vth = du * full, dv * full, (vth << 6) * full
    compartment.bias = (job[f"bias_mant{i}"].astype(np.int32) << job[f"bias_exp{i}"]).astype(np.int32)
    compartment.refract_delay, compartment.vmin, compartment.vmax = full, -LIMIT, LIMIT
    compartment.scale_u = compartment.scale_v = False
    synapse = Synapse(len(weights))
    places = [np.flatnonzero(row) for row in weights]
    chosen = [row[place] << (6 + int(job[f"exponent{i}"])) for row, place in zip(weights, places, strict=True)]
    synapse._set_weights_indices(chosen, indices=places, weight_dtype=np.int32)
    synapse.format(weight_exp=0)
    block.add_synapse(synapse)
    return block, synapse


def connect(source: Any, synapse: Synapse) -> None:
    axon = Axon(synapse.n_axons)
    axon.target = synapse
    axon.set_compartment_axon_map(np.arange(synapse.n_axons))
    source.add_axon(axon)


def main(folder: Path) -> None:
    warnings.simplefilter("ignore")
    job = np.load(folder / "job.npz")
    sent = job["sent"]
    model = Model()
    source: Any = SpikeInput(sent.shape[2])
    model.inputs[source] = source
    before = source
    for i in range(job["layers"]):
        block, synapse = block_of(job, i)
        model.add_block(block)
        connect(before, synapse)
        before = block
    with EmulatorInterface(model, seed=0) as emulator:
        counts, seconds = run(emulator, source, sent)
    np.savez(folder / "result.npz", counts=counts, seconds=seconds)


def run(emulator: Any, source: SpikeInput, sent: Any) -> tuple[Any, float]:
    """Spikes of the last block in its windows, and seconds per sample; an input arrives one step after it was sent."""
    places = list(emulator.block_info.slices.values())
    state = emulator.compartment
    samples, steps, _ = sent.shape
    last, counts = places[-1], []
    begin = time.perf_counter()
    for sample in range(samples):
        at = emulator.t + 1
        for step in range(steps):
            source.add_spikes(at + step, np.flatnonzero(sent[sample, step]))
        emulator.step()
        for place in places:
            for array in (state.current, state.voltage, state.ref_count):
                array[place] = 0
            if place is last:
                spikes = -state.spike_count[last]
            else:
                emulator.step()
        emulator.run_steps(steps)
        counts.append(spikes + state.spike_count[last])
        state.spiked[:] = False
    return np.array(counts), (time.perf_counter() - begin) / samples


if __name__ == "__main__":
    main(Path(sys.argv[1]))
