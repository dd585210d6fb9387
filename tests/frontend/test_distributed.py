"""Two real processes give what one gives, to the last byte; they stop together and fail with one sentence."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from snn_compile.errors import ProcessError, UnsupportedError  # noqa: E402
from snn_compile.frontend import processes, trainer  # noqa: E402
from snn_compile.frontend.options import TrainOptions  # noqa: E402

SECONDS = 120
QUICK = {"epochs": 4, "hidden": (24,), "density": 0.3, "lr": 0.02, "batch": 128}
RUNS = {
    "grad-r": {},
    "synapses": {"count": "synapses", "network": "fc40,bn,lif,fc10,lif"},
    "deep-r": {"method": "deep-r"},
    "rigl": {"method": "rigl", "network": "fc40,bn,lif,dropout0.2,fc24,bn,lif,fc10,lif"},
    "aware": {"method": "set", "quantise_aware": True, "epochs": 2, "hidden": (40,)},
}
SCRIPT = """
import dataclasses, os, signal, sys
sys.path.insert(0, {tests!r})
from test_distributed import options
from snn_compile.frontend import processes, trainer
from snn_compile.frontend.resume import TrainingInterrupted

def interrupted(run, progress=None):
    try:
        trainer.train(run, progress, world=world)
    except TrainingInterrupted as error:
        world.interrupted = False
        print(error.done)

def stop(epoch):
    if epoch.number == 2:
        os.kill(os.getpid(), signal.SIGTERM)

with processes.world() as world:
    for name in {names!r}:
        trainer.train(options(name), world=world)
    interrupted(options("later"), stop)                 # the first process is told to stop
    resumed = dataclasses.replace(options("later"), resume="later.pt.resume")
    if world.rank == 1:
        os.kill(os.getpid(), signal.SIGINT)             # then the other one, before its first step
    interrupted(resumed)
    trainer.train(resumed, world=world)
"""


def options(name: str) -> TrainOptions:
    return TrainOptions(**{**QUICK, **RUNS.get(name, RUNS["deep-r"])}, out=f"{name}.pt")


def pair(folder: Path, first: list, other: list | None = None) -> list[tuple[int, str, str]]:
    """Runs a command in two processes that know each other; exit code, standard output and error of both."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    known = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    pipes = {"cwd": folder, "text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    started = [
        subprocess.Popen(list(map(str, command)), env={**known, "RANK": str(rank)}, **pipes)
        for rank, command in enumerate((first, other or first))
    ]
    try:
        return [(*(process.communicate(timeout=SECONDS)), process.returncode)[::-1] for process in started]
    finally:
        for process in started:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The folder where two processes trained all of `RUNS`, and a run that was interrupted twice."""
    folder = tmp_path_factory.mktemp("two")
    script = SCRIPT.format(tests=str(Path(__file__).parent), names=list(RUNS))
    ends = pair(folder, [sys.executable, "-W", "error", "-c", script])
    assert [(code, error) for code, error, _ in ends] == [(0, ""), (0, "")]
    return folder, [printed.split() for _, _, printed in ends]


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_give_the_bytes_of_one(two, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    result = trainer.train(options(name))
    assert (two[0] / f"{name}.pt").read_bytes() == (tmp_path / f"{name}.pt").read_bytes()
    assert 0.2 < result.connectivity < 0.31


def test_all_stop_together_and_go_on_to_the_same_bytes(two, tmp_path, monkeypatch):
    folder, printed = two
    assert printed == [["2", "2"], ["2", "2"]]
    assert sorted(path.name for path in folder.iterdir()) == sorted([f"{name}.pt" for name in (*RUNS, "later")])
    monkeypatch.chdir(tmp_path)
    trainer.train(options("later"))
    assert (folder / "later.pt").read_bytes() == (tmp_path / "later.pt").read_bytes()


def snn_train(*arguments: object) -> list:
    return [Path(sys.executable).with_name("snn-train"), "--epochs", "1", "--hidden", "8", *arguments]


def test_the_first_process_says_what_is_wrong_in_another(tmp_path):
    first, other = pair(tmp_path, snn_train("--method", "dense"), snn_train("--resume", "none", "--method", "dense"))
    sentence = "error: process 1: none: cannot be read (No such file or directory); check the path\n"
    assert first == (1, sentence, "")
    assert other == (1, "", "")
    assert list(tmp_path.iterdir()) == []


def test_torchrun_starts_the_command(tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    done = subprocess.run(
        [*torchrun, *snn_train("--method", "dense", "--out", "model.pt")],
        cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("wrote model.pt: 100.00% of the weights, best epoch 1") == 1
    assert done.stdout.count("test accuracy") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_a_batch_that_feeds_not_all_processes_is_refused(tmp_path):
    with pytest.raises(UnsupportedError, match=r"--batch: is 100, 4 processes need 128 or more; raise it, or start"):
        trainer._begin(TrainOptions(batch=100, out=tmp_path / "m.pt"), None, None, processes.World(0, 4))


def test_what_is_missing_to_join_is_a_sentence(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    match = r"WORLD_SIZE: is 2, MASTER_ADDR is not set; start the command with torchrun"
    with pytest.raises(ProcessError, match=match), processes.world():
        pass


def test_without_a_gpu_cuda_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run = TrainOptions(device="cuda", out=tmp_path / "m.pt")
    with pytest.raises(UnsupportedError, match=r"--device: is cuda, PyTorch finds no GPU; leave it out"):
        trainer.train(run)
    assert run.command == dataclasses.replace(run, device="cpu").command
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for key, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(UnsupportedError, match=r"is cuda for 2 processes, this machine has 1 GPUs; start one process"):
        processes._place("cuda")


def test_weights_that_differ_are_a_sentence(monkeypatch):
    world = processes.World(0, 2)
    monkeypatch.setattr(world, "_reduced", lambda tensor, _: tensor)
    world.check_same([torch.ones(3)], 1)
    monkeypatch.setattr(world, "_reduced", lambda tensor, how: tensor if how == "SUM" else torch.tensor([7, -6]))
    with pytest.raises(ProcessError, match=r"training: the weights differ between the 2 processes after epoch 1; use"):
        world.check_same([torch.ones(3)], 1)


def test_one_process_is_alone(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    with processes.world() as world:
        assert (world.rank, world.size, world.device, world.first) == (0, 1, "cpu", True)
        assert world.together(lambda: 5) == 5
    assert not torch.distributed.is_initialized()
