"""The Lava backend: Intel's simulator as the reference, in a child of its own that can always be killed.

Lava hangs where a process fails, where it is interrupted and where it is not stopped, and it insists on the start
method of `multiprocessing`. So it never runs in this process: the child gets its work in a folder of plain files, has
a process group of its own and a time limit, and the group is killed in every case.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiler.fixed import FixedNetwork
from ..errors import BackendError, DataError, LimitError, NetworkError
from .encoding import payloads
from .lava_job import TRACED, LavaJob
from .result import Activity, RunResult, Trace, count_packets, count_synops

POLL_S = 0.05
Progress = Callable[[int, int], None]


def run_lava(
    network: FixedNetwork,
    samples: NDArray[Any],
    *,
    traces: Sequence[str] = (),
    time_limit_s: float | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Runs samples through the network in Lava, one after the other in a stream.

    Args:
        network: decoded from a program's tables.
        samples: raw, as `encoding.payloads` takes them.
        traces: populations whose every step is recorded.
        time_limit_s: wall-clock limit; None: one that grows with the samples, steps and synapses.
        progress: called with (samples done, samples) now and then.

    Raises:
        BackendError: Lava is not installed, has not such neurons, failed, or ran out of time.
        LimitError: a weight or a bias that Lava would silently change.
        DataError: the samples do not fit the input.
    """
    if not installed():
        version = ".".join(map(str, sys.version_info[:2]))
        raise BackendError(
            "lava",
            f"lava-nc is not installed in this Python {version}, and it needs Python 3.10",
            "use --backend engine, which computes the same integers",
        )
    check_neurons(network)
    check_weights(network)
    for name in traces:
        if name not in {p.name for p in network.populations}:
            raise NetworkError(
                name, "is no population, so it cannot be traced", "name one of the program's populations"
            )
    if len(network.inputs) != 1:
        raise DataError("samples", f"are one array for {len(network.inputs)} inputs", "use the engine")
    sent = {i.name: payloads(samples, i, network.steps) for i in network.inputs}
    limit = default_limit_s(network, len(samples)) if time_limit_s is None else time_limit_s
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="snn-compile-lava-") as folder:
        job = LavaJob(Path(folder), network, len(samples), tuple(traces))
        job.save(sent, host_biases(network, sent))
        if len(samples):
            with _child(job.folder) as process:
                _wait(process, job, limit, progress)
        return _collect(job, sent, time.perf_counter() - begin)


def installed() -> bool:
    """Whether lava-nc can be imported here; does not import it (that would set a start method)."""
    try:
        return importlib.util.find_spec("lava.magma") is not None
    except ModuleNotFoundError:
        return False


def check_neurons(network: FixedNetwork) -> None:
    """Lava's integers have no reset but to 0, and no refractory neurons."""
    for p in network.populations:
        if p.reset == "subtract" or p.refractory:
            subtracted = "soft reset" if p.drop.any() else "spike without a reset"
            missing = subtracted if p.reset == "subtract" else "refractory period"
            problem = f"has a {missing}, which Lava's fixed-point neurons have not"
            raise BackendError(p.name, problem, "use --backend engine")


def check_weights(network: FixedNetwork) -> None:
    """Lava truncates weights to even numbers from -256 to 254 without a word; here that is an error."""
    for q in network.projections:
        weights = q.synapses.weights
        wrong = weights[(weights % 2 != 0) | (weights < -256) | (weights > 254)]
        if wrong.size and not q.host:
            raise LimitError(
                f"{q.source} -> {q.target}",
                f"has the weight {wrong[0]}, Lava's 8-bit mixed weights are the even numbers from -256 to 254",
                "quantise it with 8 bits",
                value=int(wrong[0]),
            )


def host_biases(network: FixedNetwork, sent: Mapping[str, NDArray[np.int32]]) -> dict[str, NDArray[np.int16]]:
    """(samples, size) bias mantissas of the populations that a projection on the host reaches.

    ``bias_mant + sum over host projections of ((sum of w * value) >> -exponent)``
    """
    tables: dict[str, NDArray[np.int64]] = {}
    for q in network.projections:
        if q.host:
            current = (q.synapses.matrix() @ sent[q.source].T.astype(np.int64)).T >> -q.exponent
            tables[q.target] = tables.get(q.target, 0) + current
    for p in network.populations:
        if p.name in tables:
            table = tables[p.name] = tables[p.name] + p.bias_mant
            if table.size and (table.min() < -4096 or table.max() > 4095):
                worst = int(table.flat[np.abs(table).argmax()])
                raise LimitError(
                    p.name, f"a sample's bias is {worst}, 13 bits are possible", "compile it again", value=worst
                )
    return {name: table.astype(np.int16) for name, table in tables.items()}


def default_limit_s(network: FixedNetwork, samples: int) -> float:
    """Generous: ten times what a slow machine needs."""
    per_step = 0.01 * len(network.projections) + 0.01 * len(network.populations) + 1e-6 * network.synapse_count()
    return 60 + samples * (1 + network.steps * per_step)


@contextlib.contextmanager
def _child(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The worker; at the end, whatever happened, its whole process group is killed.

    It notices the end of its stdin when this process dies.
    """
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "snn_compile.runtime.lava_worker", str(folder)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
    try:
        yield process
    finally:
        process.kill()
        with contextlib.suppress(ProcessLookupError):  # the group does not exist before the child has made it
            os.killpg(process.pid, signal.SIGKILL)
        if process.stdin is not None:
            process.stdin.close()
        process.wait()


def _wait(process: subprocess.Popen[bytes], job: LavaJob, limit_s: float, progress: Progress | None) -> None:
    """Until the child has ended well; raises `BackendError` otherwise."""
    deadline = time.monotonic() + limit_s
    reported = -1
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(POLL_S)
        done = job.progress.read_text() if job.progress.exists() else ""
        if progress is not None and done.isdigit() and int(done) != reported:
            reported = int(done)
            progress(reported, job.samples)
        if process.returncode == 0:
            return
        if process.returncode is not None:
            raise BackendError(
                "lava",
                f"the simulation failed: {_last_words(job.folder / 'log')}",
                "use --backend engine, which computes the same integers",
            )
        if time.monotonic() > deadline:
            raise BackendError(
                "lava",
                f"the simulation was stopped after its time limit of {limit_s:g} s",
                "run fewer samples, or use --backend engine",
                limit=limit_s,
            )


def _last_words(log: Path) -> str:
    """The exceptions that a log ends with, or its last line."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Interrupt|Exit)\b", line)]
    chosen = list(dict.fromkeys(raised))[-3:] or lines[-1:]
    return "; ".join(chosen) or "it left no message"


def _collect(job: LavaJob, sent: Mapping[str, NDArray[np.int32]], seconds: float) -> RunResult:
    """Reads what the child wrote, and counts."""
    network = job.network
    counts = {p.name: np.load(job.file("counts", p.name)) for p in network.populations}
    paid = counts | {p.name: np.load(job.file("paid", p.name)) for p in network.populations if p.graded}
    spikes = {name: array.sum(0, dtype=np.int64) for name, array in counts.items()}
    spikes |= count_packets(network, sent)
    found = {}
    for name in job.traces:
        arrays = {kind: np.load(job.file(kind, name)) for kind in TRACED}
        found[name] = Trace(**arrays)
    return RunResult(
        backend="lava",
        counts=np.concatenate([paid[name] for name in network.outputs], axis=1),
        activity=Activity(len(counts[network.outputs[0]]), network.steps, spikes, count_synops(network, spikes)),
        seconds=seconds,
        traces=found,
        votes=network.votes,
    )
