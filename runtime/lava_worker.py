"""The child of a Lava run: ``python -m snn_compile.runtime.lava_worker FOLDER``.

It builds one Lava process per population and projection, runs them, and leaves without stopping the runtime (which can
hang): its parent kills the whole process group. If the parent dies first, the child does that itself.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..compiler.fixed import FixedProjection
from .lava_job import LavaJob

REPORTS = 50
"""How often, about, a run reports its progress."""


def own_group() -> None:
    """Into a session and process group of its own, which the end of stdin (the parent's death) kills.

    Python's resource tracker is started before: it stays outside, so that it outlives the group and removes the shared
    memory of the killed processes.
    """
    resource_tracker.ensure_running()
    os.setsid()

    def watch() -> None:
        while os.read(0, 1):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def run_or_end(process: multiprocessing.Process) -> None:
    """Runs one of Lava's operating-system processes; where it fails, it says why and ends the run.

    Lava itself keeps the cause to itself and waits for the other processes, which wait for this one.
    """
    try:
        multiprocessing.Process.run(process)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os.kill(os.getppid(), signal.SIGKILL)


def connection(projection: FixedProjection, message_bits: int) -> Any:
    """Lava's `Sparse`, or `DelaySparse` where a synapse has a delay."""
    from lava.proc.sparse.process import DelaySparse, Sparse
    from lava.utils.weightutils import SignMode

    synapses = projection.synapses
    settings: dict[str, Any] = {
        "weights": synapses.matrix().astype(np.int32),
        "weight_exp": projection.exponent,
        "num_message_bits": message_bits,
        "sign_mode": SignMode.MIXED,
    }
    if synapses.max_delay == 0:
        return Sparse(**settings)
    place = (synapses.targets, synapses.sources)
    delays = sp.csr_matrix((synapses.delays.astype(int), place), (synapses.n_target, synapses.n_source))
    delays.eliminate_zeros()
    return DelaySparse(delays=delays, **settings)


def build(job: LavaJob) -> list[Any]:
    """The network as connected Lava processes; returns those of its populations."""
    from .lava_processes import Clock, PayloadSource, WindowedIntegrator, WindowedLIF, WindowedSigmaDelta

    network = job.network
    chip = [q for q in network.projections if not q.host]
    clocks = {name: Clock(job.start(name), job.interval, network.steps, job.samples) for name in network.by_name}
    nodes: dict[str, Any] = {}
    for i in network.inputs:
        if any(q.source == i.name for q in chip):
            nodes[i.name] = PayloadSource(size=i.size, file=job.file("payloads", i.name), clock=clocks[i.name])
    for p in network.populations:
        biases = job.file("biases", p.name)
        common: dict[str, Any] = {
            "shape": (p.size,),
            "bias_mant": p.bias_mant.astype(int),
            "bias_exp": p.bias_exp.astype(int),
            "clock": clocks[p.name],
            "biases": biases if biases.exists() else None,
            "counts": job.file("counts", p.name),
            "traces": job.trace_files(p.name),
        }
        if p.graded:
            common |= {"state_exp": p.state_exp, "paid": job.file("paid", p.name)}
        if p.model == "sigma-delta":
            nodes[p.name] = WindowedSigmaDelta(
                threshold=p.vth,
                rectified=p.activation == "relu",
                cum_error=p.cumulative,
                **common,
            )
        else:
            common |= {"du": p.du.astype(int), "dv": p.dv.astype(int)}
            kind = WindowedIntegrator if p.model == "integrator" else WindowedLIF
            nodes[p.name] = kind(vth=p.vth, **common)
    message_bits = {name: member.payload_bits for name, member in network.by_name.items()}
    for q in chip:
        synapses = connection(q, message_bits.get(q.source, 0))
        nodes[q.source].s_out.connect(synapses.s_in)
        synapses.a_out.connect(nodes[q.target].a_in)
    return [nodes[p.name] for p in network.populations]


def run(job: LavaJob) -> None:
    """Builds and runs, in stretches after each of which it writes down how many samples are done."""
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.magma.runtime.message_infrastructure.multiprocessing import SystemProcess

    SystemProcess.run = run_or_end
    roots = []
    for process in build(job):
        if process.runtime is None:  # not connected with those before it
            process.create_runtime(Loihi2SimCfg(select_tag="fixed_pt"))
            roots.append(process)
    done = 0
    while done < job.total_steps:
        stretch = min(job.interval * -(-job.samples // REPORTS), job.total_steps - done)
        for process in roots:
            process.run(condition=RunSteps(num_steps=stretch))
        done += stretch
        job.progress.write_text(str(min(done // job.interval, job.samples)))


def main() -> None:
    """The entry point; the exit code says whether the results are complete."""
    own_group()
    code = 1
    try:
        run(LavaJob.load(Path(sys.argv[1])))
        code = 0
    except BaseException:
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
