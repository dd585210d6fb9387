"""The Lava backend: small networks by hand, streaming, and every way in which its child can end."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from snn_compile.compiler.fixed import FixedInput, FixedNetwork, FixedPopulation, FixedProjection
from snn_compile.compiler.synapses import Synapses
from snn_compile.errors import BackendError, LimitError, NetworkError
from snn_compile.runtime import lava
from snn_compile.runtime.lava import run_lava
from snn_compile.runtime.lava_job import LavaJob

needs_lava = pytest.mark.skipif(importlib.util.find_spec("lava") is None, reason="lava-nc is not installed")


def population(name: str, size: int, offset: int, vth: int = 100, bias: int = 0, **decays: int) -> FixedPopulation:
    settings = {"du": 4095, "dv": 0, **decays}
    mantissas, exponents = np.full(size, bias), np.full(size, 6)
    return FixedPopulation(
        name, (size,), np.arange(size), settings["du"], settings["dv"], vth, mantissas, exponents, offset
    )


def projection(source: str, target: str, weights: Any, exponent: int = 0, delays: Any = None) -> FixedProjection:
    return FixedProjection(source, target, Synapses.from_dense(np.array(weights, np.int16), delays), exponent)


def chain(steps: int = 6) -> FixedNetwork:
    """Two inputs, three neurons, two outputs; three bits of fraction; no leak, so that state would be seen to leak."""
    pixels = FixedInput("pixels", (2,), "graded", max_value=15, levels=15)
    first = projection("pixels", "hidden", [[60, -20], [8, 40], [-50, 90]], exponent=-3)
    second = projection("hidden", "answer", [[64, 30, -20], [-40, 52, 70]])
    layers = (population("hidden", 3, 0, bias=3), population("answer", 2, 1, vth=80))
    return FixedNetwork((pixels,), layers, (first, second), ("answer",), steps)


def loop(steps: int = 6) -> FixedNetwork:
    """A recurrent population whose spikes are in flight at the end of its window, and spikes long after it."""
    pixels = FixedInput("pixels", (2,), "graded", max_value=15, levels=15)
    first = projection("pixels", "cells", [[30, 0], [0, 20]])
    again = projection("cells", "cells", [[0, 120], [120, 0]], delays=np.array([[0, 3], [1, 0]]))
    return FixedNetwork((pixels,), (population("cells", 2, 0, bias=40),), (first, again), ("cells",), steps)


SAMPLES = np.array([[15, 0], [0, 15], [7, 7], [3, 12], [0, 0]])


@needs_lava
def test_arithmetic_by_hand() -> None:
    """w = 60, x = 5, >> 3: a = 37; du = 2047 halves u, dv = 1024 takes a quarter of v; vth = 100."""
    pixel = FixedInput("pixel", (1,), "graded", max_value=15, levels=15)
    cell = population("cell", 1, 0, bias=-1, du=2047, dv=1024)
    network = FixedNetwork((pixel,), (cell,), (projection("pixel", "cell", [[60]], -3),), ("cell",), 4)
    result = run_lava(network, np.array([[5]]), traces=["cell"])
    trace = result.traces["cell"]
    assert trace.u[0, :, 0].tolist() == [2368, 3552, 4144, 4440]
    assert trace.v[0, :, 0].tolist() == [2304, 5216, 0, 4376]  # 3912 + 4144 - 64 = 7992 > 6400: a spike
    assert trace.spikes[0, :, 0].tolist() == [0, 0, 1, 0]
    assert result.counts.tolist() == [[1]]


@needs_lava
def test_large_currents_keep_their_bits() -> None:
    """Lava declares `a` as 16 bits; 17 and a sign must pass."""
    pixels = FixedInput("pixels", (2,), "graded", max_value=255, levels=255)
    cells = population("cells", 2, 0, vth=2**17 - 1)
    first = projection("pixels", "cells", [[254, 254], [-256, -256]])
    result = run_lava(
        FixedNetwork((pixels,), (cells,), (first,), ("cells",), 1), np.array([[255, 255]]), traces=["cells"]
    )
    assert result.traces["cells"].u[0, 0].tolist() == [254 * 510 << 6, -256 * 510 << 6]


@needs_lava
def test_delay_arrives_later_and_floors_per_delay() -> None:
    """-2 >> 1 and -4 >> 2 of one projection: each delay is shifted by itself, toward minus infinity."""
    pixels = FixedInput("pixels", (2,), "graded", max_value=1, levels=1)
    cell = population("cell", 1, 0)
    first = projection("pixels", "cell", [[-2, -2]], exponent=-2, delays=np.array([[0, 1]]))
    result = run_lava(FixedNetwork((pixels,), (cell,), (first,), ("cell",), 3), np.array([[1, 1]]), traces=["cell"])
    assert result.traces["cell"].u[0, :, 0].tolist() == [-1 << 6, -2 << 6, -2 << 6]


@needs_lava
def test_host_projection_is_a_bias_per_sample() -> None:
    pixels = FixedInput("pixels", (2,), "bias", max_value=15, levels=15)
    synapses = Synapses.from_dense(np.array([[30, -8]], np.int16))
    host = FixedProjection("pixels", "cell", synapses, -2, host=True)
    network = FixedNetwork((pixels,), (population("cell", 1, 0, bias=1),), (host,), ("cell",), 2)
    result = run_lava(network, np.array([[3, 0], [0, 1]]), traces=["cell"])
    assert result.traces["cell"].v[:, :, 0].tolist() == [[23 << 6, 46 << 6], [-1 << 6, -2 << 6]]
    assert result.activity.synops == 0


@needs_lava
@pytest.mark.parametrize("network", [chain(), loop()], ids=["pipelined", "recurrent"])
def test_a_stream_equals_each_sample_alone(network: FixedNetwork) -> None:
    names = [p.name for p in network.populations]
    stream = run_lava(network, SAMPLES, traces=names)
    for n, sample in enumerate(SAMPLES):
        alone = run_lava(network, sample[None], traces=names)
        assert (alone.counts[0] == stream.counts[n]).all()
        for name in names:
            for kind in ("spikes", "u", "v"):
                assert (getattr(alone.traces[name], kind)[0] == getattr(stream.traces[name], kind)[n]).all()


@needs_lava
def test_activity_and_progress() -> None:
    network, seen = chain(), []
    result = run_lava(network, SAMPLES, traces=["hidden"], progress=lambda done, total: seen.append((done, total)))
    assert result.activity.spikes["pixels"].tolist() == [18, 18]
    hidden = result.traces["hidden"].spikes.sum((0, 1))
    assert result.activity.spikes["hidden"].tolist() == hidden.tolist()
    assert result.activity.synops == 3 * 36 + 2 * hidden.sum()
    assert seen[-1] == (5, 5)


def alive(session: int) -> list[int]:
    """The processes of a session, zombies apart."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def wait_until_gone(session: int) -> None:
    deadline = time.monotonic() + 10
    while alive(session):
        assert time.monotonic() < deadline, f"processes {alive(session)} live on"
        time.sleep(0.05)


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The pids of the children that a run starts."""
    pids = []
    start = subprocess.Popen

    def note(*args: Any, **kwargs: Any) -> subprocess.Popen[bytes]:
        process = start(*args, **kwargs)
        pids.append(process.pid)
        return process

    monkeypatch.setattr(lava.subprocess, "Popen", note)
    return pids


@needs_lava
def test_time_limit_kills_the_group(children: list[int]) -> None:
    many = np.tile(SAMPLES, (5000, 1))
    with pytest.raises(BackendError, match=r"stopped after its time limit of 2 s; run fewer samples"):
        run_lava(chain(), many, time_limit_s=2)
    wait_until_gone(children[0])


@needs_lava
def test_interrupt_kills_the_group(children: list[int]) -> None:
    def interrupt(done: int, total: int) -> None:
        assert len(alive(children[0])) > 3
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_lava(chain(), np.tile(SAMPLES, (1000, 1)), progress=interrupt)
    wait_until_gone(children[0])


@needs_lava
def test_a_failing_child_is_quoted(children: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    def truncate(job: LavaJob, *args: Any) -> None:
        save(job, *args)
        job.file("payloads", "pixels").write_bytes(b"")

    save = LavaJob.save
    monkeypatch.setattr(LavaJob, "save", truncate)
    with pytest.raises(BackendError, match=r"simulation failed: .*Error.*; use --backend engine"):
        run_lava(chain(), SAMPLES)
    wait_until_gone(children[0])


@needs_lava
def test_a_failing_process_is_quoted(children: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception inside a running Lava process, not while building."""

    def shorten(job: LavaJob, sent: Any, biases: Any) -> None:
        save(job, {name: array[:2] for name, array in sent.items()}, biases)

    save = LavaJob.save
    monkeypatch.setattr(LavaJob, "save", shorten)
    with pytest.raises(BackendError, match=r"simulation failed: .*IndexError: index 2 is out of bounds"):
        run_lava(chain(), SAMPLES, time_limit_s=60)
    wait_until_gone(children[0])


@needs_lava
def test_the_group_dies_with_its_parent(tmp_path: Path) -> None:
    code = (
        "import numpy as np, sys; from snn_compile.runtime.lava import run_lava\n"
        "from snn_compile.runtime import lava_job, lava\n"
        "start = lava.subprocess.Popen\n"
        "def note(*args, **kwargs):\n"
        "    process = start(*args, **kwargs); print(process.pid, flush=True); return process\n"
        "lava.subprocess.Popen = note\n"
        f"network = lava_job.load_network(lava.Path({str(tmp_path)!r}))\n"
        "run_lava(network, np.zeros((100000, 2), int), progress=lambda *_: print('runs', flush=True))\n"
    )
    from snn_compile.runtime.lava_job import save_network

    save_network(tmp_path, chain())
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        session = int(parent.stdout.readline())
        while len(alive(session)) < 5:
            time.sleep(0.05)
        os.kill(parent.pid, signal.SIGKILL)
    wait_until_gone(session)


def test_missing_lava_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        BackendError, match=r"not installed in this Python 3\.\d+, and it needs Python 3\.10; use --backend"
    ):
        run_lava(chain(), SAMPLES)


@pytest.mark.parametrize("weight", [3, 256, -258])
def test_weights_that_lava_would_change(weight: int) -> None:
    pixel = FixedInput("pixel", (1,), "rate", max_value=1, levels=1)
    network = FixedNetwork(
        (pixel,), (population("cell", 1, 0),), (projection("pixel", "cell", [[weight]]),), ("cell",), 1
    )
    with pytest.raises(LimitError, match=rf"pixel -> cell: has the weight {weight}, Lava's 8-bit"):
        lava.check_weights(network)


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"reset": "subtract", "drop": None}, "soft reset"),
        ({"reset": "subtract", "drop": 0}, "spike without a reset"),
        ({"refractory": 2}, "refractory period"),
    ],
)
def test_neurons_that_lava_has_not(change: dict[str, Any], missing: str) -> None:
    network = loop()
    network = replace(network, populations=(replace(network.populations[0], **change),))
    with pytest.raises(BackendError, match=f"cells: has a {missing}, which Lava's fixed-point neurons have not; use"):
        lava.check_neurons(network)


def test_biases_that_lava_would_wrap() -> None:
    pixel = FixedInput("pixel", (1,), "bias", max_value=255, levels=255)
    host = FixedProjection("pixel", "cell", Synapses.from_dense(np.array([[200]], np.int16)), 0, host=True)
    network = FixedNetwork((pixel,), (population("cell", 1, 0),), (host,), ("cell",), 1)
    with pytest.raises(LimitError, match="cell: a sample's bias is 51000, 13 bits are possible"):
        lava.host_biases(network, {"pixel": np.array([[255]], np.int32)})


@needs_lava
def test_unknown_trace() -> None:
    with pytest.raises(NetworkError, match="nothing: is no population, so it cannot be traced"):
        run_lava(chain(), SAMPLES, traces=["nothing"])


def test_job_round_trip(tmp_path: Path) -> None:
    job = LavaJob(tmp_path, loop(), 1, ("cells",))
    job.save({"pixels": np.zeros((1, 2), np.int32)}, {})
    loaded = LavaJob.load(tmp_path)
    assert loaded.network == job.network and loaded.traces == job.traces and loaded.samples == 1
    assert job.interval == 6 + 4 and job.total_steps == 6 + 1
