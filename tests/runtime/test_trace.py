"""Traces on disk: what is written is read, from any batches the same bytes, and no half file is left."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import any_network, random_network
from snn_compile.errors import LimitError, NetworkError, OutputError, TraceFileError
from snn_compile.runtime.engine import run_engine
from snn_compile.runtime.trace import TraceWriter
from snn_compile.runtime.trace_diff import diff
from snn_compile.runtime.trace_file import read_trace
from snn_compile.runtime.trace_format import TracedPopulation, TraceFacts, check_limits, chunk_shape
from traces import FACTS, population, random_trace, write

in_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@in_folder
@given(st.data())
def test_what_is_written_is_read_with_the_same_bytes_from_any_batches(tmp_path, data):
    sizes = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=3))
    samples, steps = data.draw(st.integers(1, 150)), data.draw(st.integers(1, 9))
    dtype = data.draw(st.sampled_from([np.uint8, np.int32]))
    populations = [population(f"p{i}", size, data.draw(st.sampled_from([None, 100]))) for i, size in enumerate(sizes)]
    traces = {p.name: random_trace(i, samples, steps, p.size, dtype) for i, p in enumerate(populations)}
    labels = np.arange(samples) % 7 if data.draw(st.booleans()) else None
    cuts = data.draw(st.lists(st.integers(0, samples), max_size=5))
    one = write(tmp_path / "one.h5", populations, traces, (), labels=labels)
    many = write(tmp_path / "many.h5", populations, traces, cuts, labels=labels)
    assert one.read_bytes() == many.read_bytes()
    with read_trace(one) as file, read_trace(many) as other:
        assert (file.samples, file.steps, file.facts, file.predictions) == (samples, steps, FACTS, None)
        assert (file.labels is None) if labels is None else np.array_equal(file.labels, labels)
        for sample in {0, samples // 2, samples - 1}:
            for p, found in zip(populations, file.populations, strict=True):
                assert (found.name, found.shape, found.vth) == (p.name, p.shape, p.vth)
                assert np.array_equal(found.origin, p.origin)
                for kind in ("spikes", "u", "v"):
                    array = file.array(p.name, kind, sample)
                    want = getattr(traces[p.name], kind)[sample]
                    assert array.dtype == want.dtype and np.array_equal(array, want)
        assert diff(file, other) is None


@in_folder
@given(any_network())
def test_the_engine_s_traces_are_kept(tmp_path, drawn):
    network, samples = drawn
    names = [p.name for p in network.populations]
    result = run_engine(network, samples, traces=names)
    populations = TracedPopulation.of(network.populations, names)
    with TraceWriter.create(tmp_path / "t.h5", populations, network.steps) as writer:
        writer.append(result.traces, result.predictions)
    with read_trace(tmp_path / "t.h5") as file:
        assert np.array_equal(file.predictions, result.predictions)
        for p in network.populations:
            assert file.population(p.name).vth == (None if p.graded else p.vth)
            for sample in range(len(samples)):
                assert np.array_equal(file.trace(p.name, sample).v[0], result.traces[p.name].v[sample])


@pytest.mark.parametrize(("steps", "size"), [(3, 70_000), (300, 500), (2, 40_000)])
def test_samples_of_several_chunks(tmp_path, steps, size):
    trace = random_trace(0, 2, steps, size)
    path = write(tmp_path / "t.h5", [population("wide", size)], {"wide": trace})
    with read_trace(path) as file:
        for sample in (1, 0, 1):
            assert np.array_equal(file.array("wide", "u", sample), trace.u[sample])
            assert np.array_equal(file.array("wide", "spikes", sample), trace.spikes[sample])


@given(st.integers(1, 2**16), st.integers(1, 2**20))
def test_chunks_are_small_and_end_with_the_block(steps, size):
    samples, rows, neurons = chunk_shape(steps, size)
    assert samples * rows * neurons <= 2**16 and 1 <= rows <= steps and 1 <= neurons <= size
    assert samples & (samples - 1) == 0
    assert samples == 1 or (rows, neurons) == (steps, size)


def test_a_run_without_samples(tmp_path):
    with TraceWriter.create(tmp_path / "none.h5", [population("a", 3)], 4):
        pass
    with read_trace(tmp_path / "none.h5") as file:
        assert (file.samples, file.facts) == (0, TraceFacts())
        with pytest.raises(TraceFileError, match=r"none\.h5: has no samples; trace a run with some"):
            file.array("a", "v", 0)


def test_what_is_not_there_is_named(tmp_path):
    path = write(
        tmp_path / "t.h5",
        [population("a", 3), population("b", 2)],
        {n: random_trace(0, 4, 2, s) for n, s in (("a", 3), ("b", 2))},
    )
    with read_trace(path) as file:
        with pytest.raises(TraceFileError, match=r"t\.h5: has no sample 4; choose one from 0 to 3"):
            file.array("a", "v", 4)
        with pytest.raises(TraceFileError, match=r"t\.h5: has no trace of c; choose among a, b"):
            file.trace("c", 0)


def test_batches_that_do_not_fit_are_refused_and_leave_nothing(tmp_path):
    a, good = population("a", 3), random_trace(0, 2, 4, 3)
    for traces, labels, message in [
        ({"b": good}, None, "a: has no trace in this batch; trace it with the others"),
        (
            {"a": random_trace(0, 2, 5, 3)},
            None,
            r"a: has a trace of \(2, 5, 3\) uint8, the file takes \(2, 4, 3\) uint8",
        ),
        ({"a": replace(good, spikes=good.spikes.astype(float))}, None, "float64, the file takes"),
        ({"a": random_trace(0, 2, 4, 3, np.int32)}, None, r"\(2, 4, 3\) int32, the file takes \(2, 4, 3\) uint8"),
        ({"a": good}, np.arange(2), "labels: do not name each sample once"),
    ]:
        with (
            pytest.raises(NetworkError, match=message),
            TraceWriter.create(tmp_path / "t.h5", [a], 4) as writer,
        ):
            writer.append({"a": good})
            writer.append(traces, labels=labels)
    with pytest.raises(KeyboardInterrupt), TraceWriter.create(tmp_path / "t.h5", [a], 4):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_no_file_can_hold_is_refused(tmp_path):
    wide = TracedPopulation("wide", (2**20,), np.zeros(2**20, np.int32))
    for populations, steps, error, message in [
        ([], 4, NetworkError, "trace: has no population, or one twice; name each population once"),
        ([population("a", 1), population("a", 1)], 4, NetworkError, "or one twice"),
        ([population("a", 0)], 4, NetworkError, "a: has 0 neurons"),
        ([wide], 65, LimitError, "wide: has 65 steps of 1048576 neurons, a trace file holds 67108864 values"),
        ([population("a", 1)], 0, LimitError, "trace: has 0 steps, a trace file holds 1 to 65536"),
        ([population(str(i), 1) for i in range(257)], 1, LimitError, "has 257 populations"),
    ]:
        with pytest.raises(error, match=message):
            check_limits(populations, steps)
    with (
        pytest.raises(OutputError, match="cannot be written"),
        TraceWriter.create(tmp_path / "no/t.h5", [population("a", 1)], 4),
    ):
        pass


def test_an_unknown_population_cannot_be_traced():
    network, _ = random_network(0)
    with pytest.raises(NetworkError, match="in: is no population, so it cannot be traced; choose among p0"):
        TracedPopulation.of(network.populations, ["p0", "in"])


def test_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path):
    code = f"""
import resource
from traces import *
traces = {{"a": random_trace(0, 64, 8, 96)}}
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
write({str(tmp_path / "t.h5")!r}, [population("a", 96)], traces)
"""
    folder = __file__.rpartition("runtime")[0]
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "t.h5: cannot be written (File too large); choose another place" in done.stderr
    assert list(tmp_path.iterdir()) == []
