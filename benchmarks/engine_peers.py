"""The others beside the engine: PyTorch in floats, Lava, NetX, nengo-loihi, brian2-loihi, on the same network."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from snn_compile.compiler.fixed import FRACTION_BITS, FixedNetwork
from snn_compile.runtime.encoding import payloads
from snn_compile.runtime.lava import run_lava
from snn_compile.runtime.result import RunResult

BATCHES = (128, 512, 2048)
LIMIT_S = 120
"""Of a child's whole life, start-up and all."""


def lava_seconds(network: FixedNetwork, samples: Any) -> tuple[RunResult, float, float]:
    """Result, seconds per sample between the first report of progress and the last, seconds of start and end."""
    reports: list[tuple[float, int]] = []
    result = run_lava(network, samples, progress=lambda done, _: reports.append((time.perf_counter(), done)))
    (begin, first), (end, last) = reports[0], reports[-1]
    each = (end - begin) / (last - first)
    return result, each, result.seconds - each * len(samples)


class FloatNetwork:
    """A chain of layers as dense float matrices, in units of `a`; nothing is rounded, nothing wraps or saturates."""

    def __init__(self, network: FixedNetwork) -> None:
        self.steps = network.steps
        self.layers = []
        for q, p in chain(network):
            weight = torch.from_numpy(q.synapses.matrix().toarray().astype(np.float32)) * 2.0**q.exponent
            bias = torch.from_numpy(p.bias.astype(np.float32)) / 2**FRACTION_BITS
            assert len({*p.du.tolist()}) == len({*p.dv.tolist()}) == 1, "these networks decay alike"
            keep = [(4095 - int(p.du[0])) / 4096, (4096 - int(p.dv[0])) / 4096]
            self.layers.append((weight.T.contiguous(), bias, *keep, p.vth))

    @torch.inference_mode()
    def counts(self, values: Any, batch: int, once: bool) -> torch.Tensor:
        """(samples, outputs) spikes; `once`: the first product, equal in every step, is computed once per sample."""
        parts = torch.from_numpy(values).to(torch.float32).split(batch)
        return torch.cat([self._batch(part, once) for part in parts])

    def _batch(self, x: torch.Tensor, once: bool) -> torch.Tensor:
        state = [[torch.zeros(len(x), w.shape[1]) for _ in range(2)] for w, *_ in self.layers]
        total = torch.zeros(len(x), self.layers[-1][0].shape[1])
        steady = x @ self.layers[0][0] if once else None
        for _ in range(self.steps):
            spikes = x
            for i, (weight, bias, keep_u, keep_v, threshold) in enumerate(self.layers):
                u, v = state[i]
                current = steady if i == 0 and steady is not None else spikes @ weight
                if keep_u:
                    current = u.mul_(keep_u).add_(current)
                v.mul_(keep_v).add_(current).add_(bias)
                fired = v > threshold
                v.masked_fill_(fired, 0.0)
                spikes = fired.to(torch.float32)
            total += spikes
        return total


def torch_seconds(network: FixedNetwork, samples: Any, once: bool, threads: int) -> tuple[Any, float, int, int]:
    """Counts, seconds per sample in the best pass, its batch size and threads: up to so many, or one."""
    model = FloatNetwork(network)
    values = payloads(samples, network.inputs[0], network.steps)
    best = (float("inf"), 0, 0)
    for number, batch in product({1, threads}, BATCHES):
        torch.set_num_threads(number)
        for _ in range(2):
            begin = time.perf_counter()
            counts = model.counts(values, batch, once)
            best = min(best, ((time.perf_counter() - begin) / len(samples), batch, number))
    return counts.numpy().astype(int), *best


def chain(network: FixedNetwork) -> list[tuple[Any, Any]]:
    """(projection, its target) in their order; the network must be a chain."""
    found, name = [], network.inputs[0].name
    while leaving := [q for q in network.projections if q.source == name]:
        (q,) = leaving
        name = q.target
        found.append((q, network.by_name[name]))
    assert len(found) == len(network.projections) == len(network.populations)
    return found


def save_job(file: Path, network: FixedNetwork, samples: Any, sparse: bool) -> None:
    """Payloads per step, dense integer weights and constants: all that a child reads."""
    sent = payloads(samples, network.inputs[0], network.steps)
    if sent.ndim == 2:
        sent = np.repeat(sent[:, None], network.steps, axis=1)
    arrays: dict[str, Any] = {"sent": sent, "message_bits": network.inputs[0].payload_bits, "sparse": sparse}
    for i, (q, p) in enumerate(chain(network)):
        arrays |= {f"weights{i}": q.synapses.matrix().toarray().astype(np.int16), f"exponent{i}": q.exponent}
        arrays |= {f"constants{i}": np.array([p.du[0], p.dv[0], p.vth])}
        arrays |= {f"bias_mant{i}": p.bias_mant, f"bias_exp{i}": p.bias_exp}
    np.savez(file, layers=len(network.populations), **arrays)


def run_child(
    script: str, network: FixedNetwork, samples: Any, python: str = sys.executable, sparse: bool = False
) -> tuple[Any, float]:
    """Counts and seconds per sample of a child in a process group of its own, which is killed at the end."""
    with tempfile.TemporaryDirectory(prefix="snn-compile-bench-") as name:
        folder = Path(name)
        save_job(folder / "job.npz", network, samples, sparse)
        file = Path(__file__).with_name(script)
        with (folder / "log").open("wb") as log:
            child = subprocess.Popen([python, file, folder], stdout=log, stderr=log, start_new_session=True)
        try:
            code: Any = child.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            code = f"still running after {LIMIT_S} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        if code != 0:
            raise RuntimeError(f"{script}: {code}\n{(folder / 'log').read_text(errors='replace')[-2000:]}")
        with np.load(folder / "result.npz") as result:
            return result["counts"], float(result["seconds"])
