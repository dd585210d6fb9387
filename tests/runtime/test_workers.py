"""Workers: the same result for any number of them, here and on a cluster, whatever is lost on the way."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import small_chip
from snn_compile.compiler import file
from snn_compile.compiler.pipeline import compile_network
from snn_compile.errors import BackendError, DataError
from snn_compile.frontend.data import load
from snn_compile.frontend.readers import read_model
from snn_compile.hw_targets import chip
from snn_compile.runtime import cluster, workers
from snn_compile.runtime.build import tables_of
from snn_compile.runtime.engine import run_engine
from snn_compile.runtime.result import RunResult
from snn_compile.runtime.workers import LARGEST_RANGE, EngineWork, ranges, run_parts
from worker_tasks import Counted, Failing, Killed, Slow

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples" / "digits.pt"
SAMPLES = load("digits").test_samples[:100]
without_dask = pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="dask is not installed")


@pytest.fixture(scope="module")
def network():
    """The engine's tables, of several cores."""
    return tables_of(compile_network(read_model(DIGITS), small_chip(neurons_per_core=40)).program)


@pytest.fixture(scope="module")
def alone(network):
    """What the engine gives in this process."""
    return run_engine(network, SAMPLES)


def assert_equal(one: RunResult, other: RunResult) -> None:
    assert np.array_equal(one.counts, other.counts) and one.counts.dtype == other.counts.dtype
    assert (one.backend, one.votes) == (other.backend, other.votes)
    mine, theirs = one.activity, other.activity
    for key in ("samples", "steps", "synops", "active_updates"):
        assert getattr(mine, key) == getattr(theirs, key), key
    assert mine.spikes.keys() == theirs.spikes.keys()
    assert all(np.array_equal(mine.spikes[name], theirs.spikes[name]) for name in mine.spikes)
    for key, value in vars(mine.cores).items():
        assert np.array_equal(value, vars(theirs.cores)[key]), key
    assert one.traces.keys() == other.traces.keys()
    for name, trace in one.traces.items():
        for key in ("spikes", "u", "v"):
            assert np.array_equal(getattr(trace, key), getattr(other.traces[name], key))


@given(st.integers(0, 5000), st.integers(1, 70), st.none() | st.integers(1, 200))
def test_ranges_cover_all_samples_in_order(count, slots, size):
    found = ranges(count, slots, size)
    assert [i for low, high in found for i in range(low, high)] == list(range(count))
    assert max(high - low for low, high in found) <= (size or LARGEST_RANGE)


@given(st.integers(1, 120))
def test_any_size_of_the_ranges_gives_the_same(network, alone, size):
    assert_equal(run_parts(EngineWork(network), SAMPLES, size=size), alone)


@pytest.mark.parametrize("count", [2, 3])
def test_any_number_of_processes_gives_the_same(network, alone, count):
    seen = []
    result = run_parts(
        EngineWork(network), SAMPLES, workers=count, size=7, progress=lambda done, total: seen.append((done, total))
    )
    assert_equal(result, alone)
    assert result.seconds > 0
    assert seen == [(min(high, 100), 100) for high in range(7, 107, 7)]


def test_no_samples_at_all(network):
    assert run_parts(EngineWork(network), SAMPLES[:0], workers=2).counts.shape == (0, 10)


def test_traces_are_joined(network):
    whole = run_engine(network, SAMPLES[:10], traces=["lif1"])
    first = run_engine(network, SAMPLES[:5], traces=["lif1"], last=False)
    second = run_engine(network, SAMPLES[5 - network.lead : 10], traces=["lif1"], lead=network.lead)
    assert_equal(RunResult.join([first, second], 1.0), whole)


def test_a_process_does_not_take_all_cores(network, tmp_path):
    run_parts(Counted(EngineWork(network), tmp_path), SAMPLES, workers=2, size=20)
    threads = {path.name.split("-")[2] for path in tmp_path.glob("range-*")}
    assert threads == {str(max(1, cpu_count() // 2))}


def cpu_count():
    import joblib

    return joblib.cpu_count()


def test_a_killed_process_is_a_sentence(network, tmp_path):
    with pytest.raises(BackendError, match="workers: one of them was killed, .*; use fewer workers"):
        run_parts(Killed(EngineWork(network), tmp_path, always=True), SAMPLES, workers=2)


def test_errors_keep_their_fields_on_the_way():
    error = DataError("digits", "is wrong", "correct it", value=3, limit=2)
    with pytest.raises(DataError, match="digits: is wrong; correct it") as caught:
        run_parts(Failing(error), SAMPLES, workers=2)
    assert (caught.value.value, caught.value.limit) == (3, 2)
    with pytest.raises(BackendError, match=r"workers: a worker failed \(ValueError: our bug\); run without workers"):
        run_parts(Failing(ValueError("our bug\nin two lines")), SAMPLES, workers=2)


def test_an_interrupt_leaves_no_process_behind(tmp_path):
    code = (
        "import numpy as np\nfrom pathlib import Path\nfrom snn_compile.cli import command\n"
        "from snn_compile.runtime.workers import run_parts\nfrom worker_tasks import Slow\n"
        f"def main() -> None:\n    run_parts(Slow(Path({str(tmp_path)!r})), np.zeros((100, 1)), workers=2)\n"
        "if __name__ == '__main__':\n"
        "    import signal\n"  # a shell's background job, such as some CI, has it ignored
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n    command(main)()\n"
    )
    (tmp_path / "main.py").write_text(code)
    with started([sys.executable, tmp_path / "main.py"], stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: len(list(tmp_path.glob("begun-*"))) == 2)
        begin = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        _, printed = process.communicate(timeout=20)
        assert time.monotonic() - begin < 5
    assert (process.returncode, printed) == (130, "error: interrupted\n")
    wait_until(lambda: not any(alive(int(path.name[6:])) for path in tmp_path.glob("begun-*")))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it has not come to that"
        time.sleep(0.05)


@contextlib.contextmanager
def started(command, **options):
    """A process with a group of its own, killed at the end."""
    path = os.pathsep.join([str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path}
    process = subprocess.Popen([*map(str, command)], env=environment, start_new_session=True, **options)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@contextlib.contextmanager
def dask(folder, *options):
    """The address of a Dask scheduler on loopback with workers of one thread each; all ends with the test."""
    notes, log = folder / "scheduler.json", (folder / "log").open("wb")
    python, here = [sys.executable, "-m", "dask"], ["--host", "127.0.0.1", "--no-dashboard"]
    quiet = {"stdout": log, "stderr": log, "cwd": folder}
    scheduler = [*python, "scheduler", *here, "--port", "0", "--scheduler-file", notes]
    scheduler += ["--idle-timeout", "60s"]  # should the test be killed
    worker = [*python, "worker", *here, "--scheduler-file", notes, "--nthreads", "1", "--death-timeout", "30"]
    with log, started(scheduler, **quiet) as process, started([*worker, *options], **quiet):
        wait_until(lambda: notes.exists() and notes.read_text().endswith("}"))
        yield json.loads(notes.read_text())["address"], process


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with dask(tmp_path_factory.mktemp("dask"), "--nworkers", "2") as (address, _):
        yield address


@without_dask
@pytest.mark.parametrize("count", [None, 1, 3])
def test_a_dask_cluster_gives_the_same(network, alone, address, count):
    assert_equal(run_parts(EngineWork(network), SAMPLES, workers=count, cluster=address, size=9), alone)


@without_dask
def test_the_network_travels_once_per_worker(network, address, tmp_path):
    run_parts(Counted(EngineWork(network), tmp_path), SAMPLES, cluster=f"dask:{address}", size=5)
    loads = [path.name.split("-")[1] for path in tmp_path.glob("load-*")]
    done = {path.name.split("-")[1] for path in tmp_path.glob("range-*")}
    assert len(done) == 2, "both workers have computed"
    assert sorted(loads) == sorted(done)


@without_dask
def test_a_worker_killed_in_the_middle_changes_nothing(network, alone, address, tmp_path):
    result = run_parts(Killed(EngineWork(network), tmp_path), SAMPLES, cluster=address, size=5)
    assert (tmp_path / "killed").exists()
    assert_equal(result, alone)


@without_dask
@pytest.mark.parametrize("failures", [3, 1000])
def test_a_result_whose_worker_dies_is_fetched_again(network, alone, address, monkeypatch, failures):
    """The race of a worker that dies between the end of its range and the fetching of the result."""
    import distributed
    from distributed.comm import CommClosedError
    from snn_compile.runtime import dask_backend

    gather, calls = distributed.Client.gather, []

    def broken(self, futures, **options):
        calls.append(futures)
        if len(calls) <= failures:
            raise CommClosedError("Stream is closed")
        return gather(self, futures, **options)

    monkeypatch.setattr(distributed.Client, "gather", broken)
    monkeypatch.setattr(dask_backend, "FETCH_PAUSE_S", 0.01)
    if failures > dask_backend.FETCHES:
        with pytest.raises(BackendError, match=r"a worker failed \(CommClosedError: Stream is closed\)"):
            run_parts(EngineWork(network), SAMPLES, cluster=address, size=20)
    else:
        assert_equal(run_parts(EngineWork(network), SAMPLES, cluster=address, size=20), alone)


@without_dask
def test_work_that_kills_every_worker_is_a_sentence(network, address, tmp_path):
    with pytest.raises(BackendError, match=r"a worker failed \(KilledWorker: "):
        run_parts(Killed(EngineWork(network), tmp_path, always=True), SAMPLES, cluster=address, size=50)


@without_dask
def test_workers_that_are_all_lost_are_a_sentence(network, tmp_path, monkeypatch):
    (tmp_path / "marks").mkdir()
    with dask(tmp_path, "--no-nanny") as (address, _):
        with cluster.connected(address, None) as place:
            assert place.slots == 1
        monkeypatch.setattr(cluster, "PATIENCE_S", 2.0)
        with pytest.raises(BackendError, match=r"has had no worker for 2 s; "):
            run_parts(Killed(EngineWork(network), tmp_path / "marks"), SAMPLES, cluster=address)
        with pytest.raises(BackendError, match=r"has had no worker for 2 s; start workers there"):
            run_parts(EngineWork(network), SAMPLES, cluster=address)


@without_dask
def test_a_scheduler_that_is_lost_is_a_sentence(tmp_path):
    with dask(tmp_path, "--no-nanny") as (address, scheduler):

        def stop():
            wait_until(lambda: list(tmp_path.glob("begun-*")))
            scheduler.kill()

        thread = threading.Thread(target=stop)
        thread.start()
        with pytest.raises(BackendError, match=r"127.0.0.1:\d+: was lost in the middle; check that it runs"):
            run_parts(Slow(tmp_path), SAMPLES, cluster=address)
        thread.join()


@without_dask
def test_another_version_on_the_workers_is_a_sentence(network, address, monkeypatch):
    monkeypatch.setattr(workers, "release", lambda: "0.0.9 (abc)")
    with pytest.raises(BackendError, match=r"worker on .*: has snn-compile .*, this one is 0\.0\.9 \(abc\); install"):
        run_parts(EngineWork(network), SAMPLES, cluster=address)


@without_dask
def test_an_address_where_nobody_answers(network, monkeypatch):
    monkeypatch.setattr(cluster, "REACH_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(BackendError, match=rf"127.0.0.1:{port}: does not answer within 1 s"):
            run_parts(EngineWork(network), SAMPLES, cluster=f"tcp://127.0.0.1:{port}")
    with pytest.raises(BackendError, match=rf"127.0.0.1:{port}: does not answer within 1 s \(Connection refused\)"):
        run_parts(EngineWork(network), SAMPLES, cluster=f"tcp://127.0.0.1:{port}")
    for wrong in ("", "here", "tcp://here", "tcp://here:x", "http://here:80"):
        with pytest.raises(BackendError, match="is no address of a cluster; give tcp://HOST:PORT"):
            run_parts(EngineWork(network), SAMPLES, cluster=wrong)


@pytest.mark.parametrize(("address", "library"), [("tcp://127.0.0.1:1", "distributed"), ("ray", "ray")])
def test_a_missing_library_is_a_sentence(network, monkeypatch, address, library):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackendError, match=rf"{address}: needs {library}, which is not installed; install the extra"):
        run_parts(EngineWork(network), SAMPLES, cluster=address)


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
def test_without_a_ray_here_the_sentence_says_how_to_start_one(network):
    with pytest.raises(BackendError, match="ray: does not run on this machine; start it: ray start --head"):
        run_parts(EngineWork(network), SAMPLES, cluster="ray")


@without_dask
def test_the_command(address, tmp_path):
    def call(*options):
        program = [Path(sys.executable).with_name("snn-run"), "d.snnc", *map(str, options)]
        return subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=100)

    compiled = compile_network(read_model(DIGITS), chip.load("loihi2"))
    file.save(compiled.program, tmp_path / "d.snnc")
    done = call("--workers", 2, "--cluster", address)
    assert (done.returncode, done.stderr) == (0, "")
    whole = run_engine(compiled.network, load("digits").test_samples)
    assert f"output spikes sha256 {whole.output_spikes_sha256}" in done.stdout
    done = call("--workers", 2, "--backend", "lava")
    assert done.returncode == 2 and "goes with --backend engine only" in " ".join(done.stderr.split())
