"""The engine: counters against a plain count, any threads, batch and lanes, and programs that it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import FLAVOURS, any_network, random_network, random_samples, small_chip
from reference import simulate
from snn_compile.compiler.decode import decode
from snn_compile.compiler.encode import encode
from snn_compile.compiler.fixed import FixedProjection
from snn_compile.compiler.partition import partition
from snn_compile.compiler.place import place
from snn_compile.compiler.synapses import Synapses
from snn_compile.compiler.traffic import Traffic
from snn_compile.errors import DataError, LimitError, NetworkError, ProgramFileError, SnnCompileError
from snn_compile.hw_targets import chip as chips
from snn_compile.runtime import draft, engine, run
from snn_compile.runtime.build import tables_of
from snn_compile.runtime.encoding import payloads
from snn_compile.runtime.engine import run_engine
from snn_compile.runtime.result import RunResult

CHIP = small_chip(neurons_per_core=9)


def program_of(network):
    return encode(network, place(partition(network, CHIP), CHIP), CHIP)


def plain_loads(network, program, samples):
    """(chip steps, cores, kinds) of the whole run, counted spike by spike from the reference's spikes."""
    traces = simulate(network, samples)
    core = np.empty(sum(p.size for p in network.populations), np.int64)
    for number, tables in enumerate(program.cores):
        core[tables.neurons] = number
    base = dict(zip(network.netlist.names, network.netlist.base.tolist(), strict=False))
    steps, span = network.steps, max(p.offset for p in network.populations)
    loads = np.zeros((len(samples) * steps + span + 1, len(program.cores), 3), np.int64)
    (source,) = network.inputs
    values = payloads(np.asarray(samples), source, steps)
    for sample in range(len(samples)):
        for name, member in network.by_name.items():
            if name == source.name:
                rows = np.broadcast_to(values[sample], (steps, source.size))
                sent = np.zeros_like(rows) if source.encoding == "bias" else rows
            else:
                sent = traces[name][0][sample]
                add_busy(loads, network, traces, values[sample], member, sample, core[base[name] :])
            for local, neuron in np.argwhere(sent).tolist():
                step = sample * steps + network.offset(name) + local
                reached = set()
                for q in network.projections:
                    if q.source == name and not q.host:
                        goals = q.synapses.targets[q.synapses.sources == neuron]
                        for target in goals.tolist():
                            loads[step + 1, core[base[q.target] + target], 0] += 1
                            reached.add(core[base[q.target] + target])
                if name != source.name:
                    loads[step, core[base[name] + neuron], 1] += len(reached)
    return loads


def add_busy(loads, network, traces, values, population, sample, core):
    """Neurons whose input, u, v or bias is not 0, by the equations."""
    steps, offsets = network.steps, {network.inputs[0].name: -1} | {p.name: p.offset for p in network.populations}
    bias = population.bias_mant.astype(np.int64)
    arriving = np.zeros((steps, population.size), np.int64)
    for q in network.projections:
        if q.target != population.name:
            continue
        dense = np.zeros((q.synapses.n_target, q.synapses.n_source), np.int64)
        if q.host:
            dense[q.synapses.targets, q.synapses.sources] = q.synapses.weights
            bias = bias + (dense @ values.astype(np.int64) >> -q.exponent)
            continue
        for delay in np.unique(q.synapses.delays):
            here = q.synapses.delays == delay
            dense[:] = 0
            dense[q.synapses.targets[here], q.synapses.sources[here]] = q.synapses.weights[here]
            rows = (
                np.broadcast_to(values, (steps, len(dense[0])))
                if q.source not in traces
                else traces[q.source][0][sample]
            )
            for local in range(steps):
                arrives = local + offsets[q.source] + 1 + int(delay) - population.offset
                if 0 <= arrives < steps:
                    total = dense @ rows[local].astype(np.int64)
                    arriving[arrives] += total << q.exponent if q.exponent >= 0 else total >> -q.exponent
    _, u, v = (array[sample] for array in traces[population.name])
    for local in range(steps):
        before = (u[local - 1], v[local - 1]) if local else (0, 0)
        busy = (arriving[local] | before[0] | before[1] | (bias << population.bias_exp)) != 0
        np.add.at(loads[sample * steps + population.offset + local, :, 2], core[: population.size][busy], 1)


@pytest.mark.parametrize("flavour", sorted(FLAVOURS))
def test_counters_are_those_of_a_plain_count(flavour):
    for seed in range(4):
        network, samples = random_network(seed, **FLAVOURS[flavour])
        program = program_of(network)
        loads = plain_loads(network, program, samples)
        cores = run(program, samples).activity.cores
        assert np.array_equal(cores.synops, loads[:, :, 0].sum(axis=0))
        assert np.array_equal(cores.packets, loads[:, :, 1].sum(axis=0))
        assert np.array_equal(cores.active_updates, loads[:, :, 2].sum(axis=0))
        for kind, name in enumerate(("peak_synops", "peak_packets", "peak_active")):
            assert np.array_equal(getattr(cores, name), loads[:, :, kind].max(axis=0)), name
        assert_time(cores, loads, np.array([len(core.neurons) for core in program.cores]))


def assert_time(cores, loads, sizes):
    if not loads[-1, :, 0].any():
        loads = loads[:-1]
    time = CHIP.time
    each = [round(1000 * getattr(time, f"{key}_ns")[0]) for key in ("synaptic_operation", "spike_within_tile")]
    active, idle = (round(1000 * getattr(time, f"neuron_update_{key}_ns")[0]) for key in ("active", "inactive"))
    load = loads[:, :, 0] * each[0] + loads[:, :, 1] * each[1] + loads[:, :, 2] * active
    load = load + (sizes - loads[:, :, 2]) * idle
    assert cores.steps == len(loads) and cores.busy_ps == load.max(axis=1).sum()
    assert np.array_equal(cores.peak_ps, load.max(axis=0))
    assert np.array_equal(cores.busiest, np.bincount(load.argmax(axis=1), minlength=len(sizes)))


@pytest.mark.parametrize("flavour", [name for name in sorted(FLAVOURS) if "integrator" in name])
def test_an_integrator_s_count_is_its_last_v(flavour):
    for seed in range(20):
        network, samples = random_network(seed, **FLAVOURS[flavour])
        (name,) = network.outputs
        result = run_engine(network, samples, traces=[name])
        last = result.traces[name].v[:, -1] >> network.by_name[name].state_exp
        assert np.array_equal(result.counts, last)


def test_an_integrator_feeds_no_population():
    network, _ = random_network(1, integrator=True)
    (name,) = network.outputs
    size = network.by_name[name].size
    again = FixedProjection(name, name, Synapses.from_dense(np.full((size, size), 2, np.int16)), 0)
    with pytest.raises(NetworkError, match=f"{name} -> {name}: leaves a population that only the host reads"):
        replace(network, projections=(*network.projections, again))


@given(any_network())
def test_packets_and_hops_are_those_of_the_traffic(drawn):
    network, samples = drawn
    program = program_of(network)
    result = run(program, samples)
    slices = place(partition(network, CHIP), CHIP).slices
    traffic = Traffic.of(network.netlist, slices, result.activity.spikes)
    cores = result.activity.cores
    assert np.array_equal(cores.packets, np.asarray(traffic.packets.sum(axis=1)).ravel())
    received = np.asarray(traffic.packets.sum(axis=0)).ravel() + traffic.host
    assert np.array_equal(cores.received, received)
    assert cores.hops == traffic.hops([core.place for core in program.cores], CHIP, program.board)
    assert int(cores.synops.sum()) == result.activity.synops
    assert int(cores.spikes.sum()) == sum(int(result.activity.spikes[p.name].sum()) for p in network.populations)
    everything = cores.active_updates + cores.inactive_updates
    assert np.array_equal(everything, cores.neurons * len(samples) * network.steps)


def assert_same(one: RunResult, other: RunResult) -> None:
    assert np.array_equal(one.counts, other.counts)
    assert one.activity.synops == other.activity.synops
    for key, value in vars(one.activity.cores).items():
        assert np.array_equal(value, vars(other.activity.cores)[key]), key
    for name, trace in one.traces.items():
        for key in ("spikes", "u", "v"):
            assert np.array_equal(getattr(trace, key), getattr(other.traces[name], key)), (name, key)


@given(any_network(), st.integers(1, 4), st.integers(1, 40), st.sampled_from([1, 8, 32]), st.integers(0, 2**32 - 1))
def test_any_threads_batch_and_lanes_give_the_same(drawn, threads, batch, lanes, seed):
    network, _ = drawn
    samples = random_samples(np.random.default_rng(seed), network, 37)
    tables = tables_of(program_of(network))
    names = [p.name for p in network.populations]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "LANES", ())
        whole = run_engine(tables, samples, traces=names, threads=1)
        patch.setattr(engine, "LANES", ((lanes, 2**40),))
        assert_same(whole, run_engine(tables, samples, traces=names, threads=threads, batch=batch))


@given(any_network(), st.integers(1, 20))
def test_a_run_in_two_halves_is_the_whole(drawn, cut):
    network, _ = drawn
    samples = random_samples(np.random.default_rng(cut), network, 21)
    tables = tables_of(program_of(network))
    lead = min(cut, tables.lead)
    parts = [
        run_engine(tables, samples[:cut], last=False),
        run_engine(tables, samples[cut - lead :], lead=lead),
    ]
    if lead == tables.lead:
        assert_same(run_engine(tables, samples), RunResult.join(parts, 1.0))
    else:
        assert np.array_equal(RunResult.join(parts, 1.0).counts, run_engine(tables, samples).counts)


def test_a_sink_gets_what_the_result_would_hold():
    network, _ = random_network(5)
    samples = random_samples(np.random.default_rng(5), network, 20)
    whole = run_engine(network, samples, traces=["p0"])
    seen = []
    result = run_engine(
        network,
        samples,
        traces=["p0"],
        batch=8,
        sink=lambda first, traces, counts: seen.append((first, traces, counts)),
    )
    assert result.traces == {} and [first for first, _, _ in seen] == [0, 8, 16]
    assert np.array_equal(np.concatenate([traces["p0"].v for _, traces, _ in seen]), whole.traces["p0"].v)
    assert np.array_equal(np.concatenate([counts for _, _, counts in seen]), whole.counts)


def test_without_counters_nothing_but_the_loads_is_missing():
    network, samples = random_network(5)
    full, bare = run_engine(network, samples), run_engine(network, samples, counters=False)
    assert np.array_equal(full.counts, bare.counts)
    assert full.activity.synops == bare.activity.synops
    assert bare.activity.cores is None and bare.activity.active_updates is None


def test_no_samples_at_all():
    network, samples = random_network(5)
    result = run(program_of(network), samples[:0], traces=["p0"])
    assert result.counts.shape[0] == 0 and result.traces["p0"].u.shape[0] == 0
    assert int(result.activity.cores.synops.sum()) == 0


def test_shared_lists_stay_shared_and_give_the_same():
    """Two populations whose fan-out is one list in the tables, with a negative exponent: their sums shift apart."""
    for seed in range(40):
        network, samples = random_network(seed, recurrent=True)
        doubled = replace(network, projections=tuple(replace(q, exponent=-3) for q in network.projections))
        program = program_of(doubled)
        tables = tables_of(program)
        packets = sum(len(core.out_core) for core in program.cores)
        assert len(tables.flat.out_list) == packets + sum(len(entry.out_core) for entry in program.inputs)
        assert np.array_equal(run(program, samples).counts, run_engine(decode(program), samples).counts)


def test_memory_is_that_of_the_tables():
    """A convolution's weights stand in the engine as often as in the chip: once per core."""
    from pathlib import Path

    from snn_compile.compiler import compile_network
    from snn_compile.frontend.readers import read_model

    model = read_model(Path(__file__).parents[2] / "examples" / "digits-conv.pt")
    compiled = compile_network(model, chips.load("loihi2"))
    shared = tables_of(compiled.program)
    unrolled = compiled.network.synapse_count()
    assert len(shared.flat.cells) < 0.7 * unrolled
    assert int(shared.flat.fan_out.sum()) == unrolled


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: {"outputs": ("nobody",)}, "names a population 'nobody' that is not there"),
        (lambda p: {"outputs": ("in",)}, "its output 'in' is no population"),
        (lambda p: {"outputs": ("p0", "p0")}, "it has no outputs, or one twice"),
        (lambda p: {"votes": 7919}, "7919 votes do not fit"),
        (lambda p: {"inputs": ()}, "names a population 'in' that is not there|it has no input"),
        (lambda p: {"cores": tuple(replace(c, axon_words=c.axon_words[:-1]) for c in p.cores)}, "input axons have"),
        (
            lambda p: {"projections": (*p.projections[:-1], ("p0", "p0"))},
            "populations that no projection joins",
        ),
        (lambda p: {"projections": (*p.projections, ("p1", "p0"))}, "the projection p1 -> p0 has no synapse"),
        (lambda p: {"projections": (*p.projections, ("p1", "in"))}, "the projection p1 -> in ends at an input"),
        (lambda p: {"projections": p.projections + p.projections[:1]}, "a projection stands twice in it"),
        (
            lambda p: {"populations": tuple(replace(q, offset=q.offset + 9 * (q.name == "p1")) for q in p.populations)},
            "p0 -> p1: would arrive before its target's window begins",
        ),
        (
            lambda p: {"inputs": tuple(louder(entry) for entry in p.inputs)},
            "a sum can reach|u holds less",
        ),
        (lambda p: {"cores": tuple(replace(c, formats=mixed(c.formats)) for c in p.cores)}, "has two exponents|p0: "),
    ],
)
def test_programs_that_contradict_themselves_are_refused(change, message):
    network, samples = random_network(10)
    program = program_of(network)
    run(program, samples)
    with pytest.raises(ProgramFileError, match=message):
        run(replace(program, **change(program)), samples)


def louder(entry):
    return replace(entry, source=replace(entry.source, max_value=60000, levels=60000))


def mixed(formats):
    changed = formats.copy()
    changed[-1, 5] = 7
    return changed


def test_bad_samples_and_traces_are_sentences():
    network, samples = random_network(5)
    with pytest.raises(DataError, match="takes samples of the shape"):
        run_engine(network, samples[:, :-1])
    with pytest.raises(DataError, match="in: is an input without samples; give one array per input"):
        run_engine(network, {})
    with pytest.raises(NetworkError, match="in: is no population, so it cannot be traced; name one of p0"):
        run_engine(network, samples, traces=["in"])


def test_samples_by_name_are_those_of_the_input():
    network, samples = random_network(5)
    assert np.array_equal(run_engine(network, {"in": samples}).counts, run_engine(network, samples).counts)


def host_program():
    network, samples = random_network(3, encoding="bias")
    return program_of(network), samples


def test_a_host_projection_is_there_once_and_has_synapses():
    program, samples = host_program()
    run(program, samples)
    (host,) = program.hosts
    with pytest.raises(ProgramFileError, match="a projection of the host stands twice in it"):
        run(replace(program, hosts=(host, host)), samples)
    none = replace(host, synapses=host.synapses.with_weights(np.zeros_like(host.synapses.weights)))
    with pytest.raises(ProgramFileError, match="the host's projection .* has no synapse"):
        run(replace(program, hosts=(none,)), samples)


def test_broken_starts_of_a_host_projection_are_refused(tmp_path):
    """They would lead the compiled loops out of their arrays."""
    import h5py
    from snn_compile.compiler import load, save

    program, _ = host_program()
    save(program, tmp_path / "p.snnc")
    with h5py.File(tmp_path / "p.snnc", "r+") as file:
        starts = file["hosts/0/indptr"]
        size = len(starts)
        del file["hosts/0/indptr"], file["hosts/0/targets"], file["hosts/0/weights"]
        file["hosts/0/indptr"] = np.array([0] + [10**6] * (size - 2) + [0])
        file["hosts/0/targets"], file["hosts/0/weights"] = np.zeros(0, np.int32), np.zeros(0, np.int16)
    with pytest.raises(ProgramFileError, match="the host's projection .* is broken"):
        load(tmp_path / "p.snnc")


def test_a_small_file_does_not_take_all_memory(monkeypatch):
    network, samples = random_network(10)
    program = program_of(network)
    monkeypatch.setattr(draft, "SUMS_MAX", 10)
    with pytest.raises(ProgramFileError, match="has [0-9]+ sums that wait in the engine, 10 are possible"):
        run(program, samples)
    monkeypatch.undo()
    monkeypatch.setattr(draft, "SYNAPSES_MAX", 10)
    with pytest.raises(ProgramFileError, match="synapses in lists, [0-9]+ are possible"):
        run(program, samples)
    monkeypatch.undo()
    monkeypatch.setattr(engine, "LARGEST_LOAD", 10)
    with pytest.raises(LimitError, match="whose loads take [0-9]+ bytes; use fewer steps"):
        run(program, samples)


def test_a_network_that_the_kernel_cannot_hold_is_refused():
    network, samples = random_network(10)
    first = network.projections[0]
    loud = replace(first, synapses=first.synapses.with_weights(np.full(len(first.synapses), 300, np.int16)), exponent=7)
    with pytest.raises(LimitError):
        run_engine(replace(network, projections=(loud, *network.projections[1:])), samples)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch": 0}, "batch: is 0, at least 1 is needed"),
        ({"threads": -1}, "threads: is -1, at least 1 is needed"),
        ({"workers": 0}, "workers: is 0, at least 1 is needed"),
        ({"backend": "Lava"}, "Lava: is no backend; use engine or lava"),
        ({"backend": "lava", "threads": 2}, "lava: has no threads; use the engine"),
        ({"threads": 2, "workers": 2}, "threads: go without workers"),
    ],
)
def test_arguments_that_make_no_sense_are_sentences(arguments, message):
    network, samples = random_network(10)
    with pytest.raises(SnnCompileError, match=message):
        run(program_of(network), samples, **arguments)


def test_samples_of_an_unknown_input_are_refused():
    network, samples = random_network(10)
    with pytest.raises(DataError, match="more: is no input, so it takes no samples; name in"):
        run_engine(network, {"in": samples, "more": samples})
