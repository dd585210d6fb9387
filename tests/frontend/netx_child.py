"""A child of the tests: NetX, as it is, on a `.net`. ``netx_child.py FOLDER`` with job.npz (sent, message_bits, steps).

`sent` is (samples, steps, …) as columns, rows, channels or flat, as NetX takes it; what its last layer sends, and its
v after each sample's last step, go to result.npz.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np


def main(folder: Path) -> None:
    from lava.lib.dl.netx.hdf5 import Network
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.io.sink import RingBuffer as Sink
    from lava.proc.io.source import RingBuffer as Source

    job = np.load(folder / "job.npz")
    sent = job["sent"]
    samples, steps = sent.shape[:2]
    net = Network(
        net_config=str(folder / "network.net"),
        input_message_bits=int(job["message_bits"]),
        reset_interval=steps,
        reset_offset=1,
        sparse_fc_layer=bool(job["sparse"]),
    )
    data = np.moveaxis(sent.reshape(samples * steps, *sent.shape[2:]), 0, -1).reshape(*net.inp.shape, -1)
    lag = len(net)
    source = Source(data=data.astype(np.int32))
    sink = Sink(shape=net.out.shape, buffer=samples * steps + lag)
    source.s_out.connect(net.inp)
    net.out.connect(sink.a_in)
    sink.run(condition=RunSteps(num_steps=samples * steps + lag), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
    spikes = sink.data.get()
    flat = np.moveaxis(spikes, -1, 0).reshape(spikes.shape[-1], -1)[lag : lag + samples * steps]
    np.savez(folder / "result.npz", spikes=flat.reshape(samples, steps, -1))
    os._exit(0)  # stopping Lava can hang


if __name__ == "__main__":
    main(Path(sys.argv[1]))
