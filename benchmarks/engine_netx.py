"""A child of `engine.py`: lava-dl's NetX on a `.net` file written from our integers. ``engine_netx.py FOLDER``."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np


def write_net(file: Path, job: Any) -> None:
    """Dense layers with CUBA neurons; NetX takes du from iDecay - 1, dv from vDecay, vth from vThMant."""
    with h5py.File(file, "w") as net:
        for i in range(job["layers"]):
            layer = net.create_group(f"layer/{i}")
            weights = job[f"weights{i}"]
            layer["type"] = np.array([b"dense"])
            layer["shape"] = np.array([len(weights)])
            layer["inFeatures"], layer["outFeatures"] = weights.shape[1], weights.shape[0]
            layer["weight"], layer["bias"] = weights.astype(np.float32), job[f"bias_mant{i}"].astype(np.float32)
            layer["neuron/type"] = np.array([b"CUBA"])
            du, dv, vth = job[f"constants{i}"].tolist()
            for key, value in (("iDecay", du + 1), ("vDecay", dv), ("vThMant", vth), ("refDelay", 1)):
                layer[f"neuron/{key}"] = value


def set_exponents(net: Any, job: Any) -> None:
    """The file has no field for them: NetX derives the weights' exponent and takes 6 for the biases'."""
    for i, layer in enumerate(net.layers):
        parameters = layer.synapse.proc_params
        parameters.overwrite("weight_exp", int(parameters["weight_exp"]) + int(job[f"exponent{i}"]))
        layer.neuron.bias_exp.init = job[f"bias_exp{i}"].astype(int)


def main(folder: Path) -> None:
    """Streams the samples; each layer is reset one step after the one before, so samples do not meet."""
    from lava.lib.dl.netx.hdf5 import Network
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.io.sink import RingBuffer as Sink
    from lava.proc.io.source import RingBuffer as Source

    job = np.load(folder / "job.npz")
    samples, steps, size = job["sent"].shape
    write_net(folder / "network.net", job)
    net = Network(
        net_config=str(folder / "network.net"),
        input_message_bits=int(job["message_bits"]),
        reset_interval=steps,
        reset_offset=1,
        sparse_fc_layer=bool(job["sparse"]),
    )
    set_exponents(net, job)
    source = Source(data=job["sent"].reshape(samples * steps, size).T.astype(np.int32))
    sink = Sink(shape=net.out.shape, buffer=(samples + 1) * steps)
    source.s_out.connect(net.inp)
    net.out.connect(sink.a_in)
    settings = Loihi2SimCfg(select_tag="fixed_pt")
    sink.run(condition=RunSteps(num_steps=steps), run_cfg=settings)
    begin = time.perf_counter()
    sink.run(condition=RunSteps(num_steps=samples * steps), run_cfg=settings)
    seconds = (time.perf_counter() - begin) / samples
    lag = int(job["layers"])
    spikes = sink.data.get()[:, lag : lag + samples * steps]
    counts = spikes.reshape(-1, samples, steps).sum(axis=2).T
    np.savez(folder / "result.npz", counts=counts, seconds=seconds)
    os._exit(0)  # stopping Lava can hang; the parent kills the group


if __name__ == "__main__":
    main(Path(sys.argv[1]))
