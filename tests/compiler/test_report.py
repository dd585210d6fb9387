"""Report and energy: every number is that of the tables, sums add up, and names stay text."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import msgspec
import numpy as np
import pytest
from networks import small_chip
from snn_compile.compiler import render
from snn_compile.compiler.encode import encode
from snn_compile.compiler.energy import Events, bill
from snn_compile.compiler.fixed import FixedInput, FixedNetwork, FixedPopulation, FixedProjection
from snn_compile.compiler.network import Network
from snn_compile.compiler.nodes import LIF, Input, Linear
from snn_compile.compiler.pipeline import compile_network
from snn_compile.compiler.place import place
from snn_compile.compiler.report import Report, read_report, to_json
from snn_compile.compiler.slices import CoreSlices
from snn_compile.compiler.synapses import Synapses
from snn_compile.errors import ProgramFileError
from snn_compile.hw_targets import chip as chips


def network(rates=True, name="h", **neuron):
    rng = np.random.default_rng(0)
    first, second = (rng.normal(size=s) * (rng.random(s) < 0.3) for s in ((60, 20), (5, 60)))
    nodes = (
        Input("x", shape=(20,), max_value=16),
        Linear("fc1", weight=first),
        LIF(name, **neuron),
        Linear("fc2", weight=second),
        LIF("y", **neuron),
    )
    edges = (("x", "fc1"), ("fc1", name), (name, "fc2"), ("fc2", "y"))
    known = {name: np.full(60, 0.25), "y": np.full(5, 0.1)} if rates else {}
    samples = rng.integers(0, 17, (30, 20)) if rates else None
    return Network(
        nodes, edges, steps=8, rates=known, calibration=samples, facts={"test_accuracy": 0.5, "data": "digits"}
    )


def report_of(trained, target="loihi2", **source):
    given = {"model": "model.pt", "model_sha256": "ab", "command": "snn-compile model.pt", **source}
    return compile_network(trained, chips.load(target), source=given)


def test_totals_are_the_sums_of_the_cores():
    compiled = report_of(network())
    report = compiled.report
    assert report.synapses == sum(core.synapses for core in report.cores) == compiled.network.synapse_count()
    assert report.synapse_bits == 64 * sum(core.synapse_words for core in report.cores)
    assert report.bits_per_synapse == report.synapse_bits / report.synapses
    bits = report.bits
    assert bits.weights + bits.indices + bits.headers + bits.rounding == report.synapse_bits
    assert 7 * report.synapses < bits.weights <= 8 * report.synapses  # a list or two are shared
    assert report.neurons == sum(core.neurons for core in report.cores)
    (core,) = report.cores
    assert core.memory_bytes == 8 * (core.synapse_words + core.neurons)
    assert core.memory_bytes_limit == 192 * 1024
    trained = network()
    weights = [trained.by_name[n].weight for n in ("fc1", "fc2")]
    surviving = sum(np.count_nonzero(w) for w in weights)
    assert report.connectivity == report.synapse_connectivity == surviving / sum(w.size for w in weights)


def test_the_report_travels_in_the_program_and_as_json():
    compiled = report_of(network())
    assert read_report(compiled.program, "x.snnc") == compiled.report
    assert msgspec.json.decode(to_json(compiled.report), type=Report) == compiled.report
    keys = msgspec.json.decode(to_json(compiled.report))
    assert {
        "target", "cores_used", "chips_used", "neurons", "synapses", "connectivity", "synapse_connectivity",
        "synapse_bits", "bits_per_synapse", "bits", "partition", "cores", "energy", "warnings",
    } <= set(keys)  # fmt: skip
    assert {
        "chip", "core", "x", "y", "neurons", "synapses", "synapse_words", "synapse_words_limit", "in_axons",
        "out_axons", "memory_bytes", "memory_bytes_limit",
    } <= set(keys["cores"][0])  # fmt: skip
    with pytest.raises(ProgramFileError, match=r"x\.snnc: carries no report that this release can read"):
        read_report(replace(compiled.program, manifest={}), "x.snnc")


def test_cores_stand_where_the_report_says_and_it_compares_with_the_order():
    chip = small_chip(neurons_per_core=3, cores_per_chip=8)
    compiled = compile_network(network(), chip)
    report, program = compiled.report, compiled.program
    row = report.placement
    assert (row.board, row.method, report.chips_used) == ("kapoho-point", "by traffic", 2)
    assert row.spike_hops < row.spike_hops_in_order
    hops = report.energy.events["hops_east_west"] + report.energy.events["hops_north_south"]
    assert hops + row.link_packets == pytest.approx(row.spike_hops)
    assert [(c.chip, c.x, c.y) for c in report.cores] == [core.place for core in program.cores]
    assert len({(c.chip, c.core) for c in report.cores}) == len(report.cores)
    assert all(chip.position(8 * c.chip + c.core) == (c.chip, c.x, c.y) for c in report.cores)
    (warning,) = (w for w in report.warnings if w.startswith("2 chips:"))
    assert f"{row.link_packets:.0f} packets per sample over links between chips, whose energy is not known" in warning
    text = " ".join(Page(render.html(report)).words)
    assert "board kapoho-point, placed by traffic" in text and render.placement_line(row) in text


def two_cores():
    """x sends to p0 on core 0 (tile 0, 0); p0 sends to p1 on core 13 (tile 3, 0)."""
    zeros = np.zeros(2)
    populations = tuple(
        FixedPopulation(f"p{i}", (2,), np.arange(2), 4095, 2048, 100, zeros, zeros, i) for i in range(2)
    )
    ones = Synapses.from_dense(np.full((2, 2), 2, np.int16))
    projections = (FixedProjection("x", "p0", ones, 0), FixedProjection("p0", "p1", ones, 0))
    net = FixedNetwork((FixedInput("x", (2,), "rate", 1, 1),), populations, projections, ("p1",), 4)
    chip = chips.load("loihi1")
    slices = CoreSlices((np.array([0, 1]), np.array([2, 3])))
    placement = replace(place(slices, chip), positions=(chip.position(0), chip.position(4 * (3 + 8 * 2))))
    return net, encode(net, placement, chip), chip


def test_the_energy_of_a_sample_by_hand():
    net, program, chip = two_cores()
    spikes = {"x": np.array([3.0, 1.0]), "p0": np.array([2.0, 0.0]), "p1": np.array([1.0, 1.0])}
    energy = bill(program, net, chip, Events(spikes, active_updates=10.0, activity="test"))
    assert energy.events == {
        "synaptic_operations": (3 + 1 + 2) * 2,
        "neuron_updates_active": 10,
        "neuron_updates_inactive": 4 * 4 - 10,
        "packets": 3 + 1 + 2,
        "hops_east_west": 2 * 3,
        "hops_north_south": 2 * 2,
    }
    dynamic = 12 * 23.6 + 10 * 81 + 6 * 52 + 6 * 1.7 + 6 * 3.0 + 4 * 4.0
    assert sum(energy.dynamic_j.values()) == pytest.approx(dynamic * 1e-12)
    step = 8 / 4 * 3.5 + 2 * (10 / 16 * 8.4 + 6 / 16 * 5.3) + 2 / 4 * 2.1 + 465  # core 0
    assert energy.seconds_per_sample == pytest.approx(4 * step * 1e-9)
    assert energy.static_j == pytest.approx(0.104 * energy.seconds_per_sample)
    assert energy.per_sample_j == pytest.approx(energy.static_j + dynamic * 1e-12)
    assert all(constant.source for constant in energy.constants)


def test_measured_rates_are_used_and_an_assumption_is_said():
    measured = report_of(network())
    layer = measured.network.projections[1]
    sparse_share = 8 * 0.25 * len(layer.synapses)
    assert measured.report.energy.events["synaptic_operations"] > sparse_share
    assert measured.report.energy.activity == "firing rates measured in training"
    assumed = report_of(network(rates=False)).report
    assert assumed.energy.activity == "assumed: 20% of the neurons of x, h, y spike in each step"
    assert any("rests on an assumption" in warning for warning in assumed.warnings)


def test_warnings_say_what_differs():
    report = report_of(network(tau=3.0), "loihi1").report
    assert "h: tau 3 becomes 3.0007, the decay has 12 bits" in report.warnings
    assert "x -> h: computed by the host and loaded as a bias" in report.warnings
    assert report.projections[0].on_host and report.input.encoding == "bias"


class Page(HTMLParser):
    """The text of a page, its tags, and every address that it would load."""

    def __init__(self, text):
        super().__init__()
        self.words, self.tags, self.loads = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [value for key, value in attrs if key in ("src", "href", "data", "action")]

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_loads_nothing_and_names_stay_text():
    evil = "<script>alert(1)</script>"
    compiled = report_of(network(name=evil), model=evil + ".pt", command=evil)
    page = Page(render.html(compiled.report))
    assert "script" not in page.tags and page.loads == []
    text = " ".join(page.words)
    assert text.count(evil) >= 4
    (core,) = compiled.report.cores
    assert f"{core.synapse_words} / {core.synapse_words_limit}" in text
    for kind in compiled.report.energy.dynamic_j:
        assert kind.replace("_", " ") in text


def test_csv_holds_a_line_per_core():
    report = report_of(network()).report
    lines = render.to_csv(report).splitlines()
    assert lines[0].startswith("chip,core,x,y,neurons")
    assert lines[1].split(",")[6] == str(report.synapses)
    assert len(lines) == 1 + report.cores_used


def test_only_the_fullest_cores_are_shown(capsys):
    report = report_of(network()).report
    (core,) = report.cores
    cores = tuple(msgspec.structs.replace(core, core=i, neurons=i + 1, synapse_words=9000 + i) for i in range(40))
    render.show(render.terminal(msgspec.structs.replace(report, cores=cores)))
    text = capsys.readouterr().out
    assert "the 16 fullest of 40 cores" in text
    assert " 40/8192" in text and " 5/8192" not in text


def test_the_report_shows_the_partition_beside_index_order():
    report = compile_network(network(), small_chip(neurons_per_core=9)).report
    row = report.partition
    assert row.method == "fast" and report.cores_used == row.index_order_cores == 5
    assert row.cores_bound == -(-report.neurons // 9) and row.packets < row.index_order_packets
    assert render.partition_line(report).startswith("partition: fast, 5 cores (index order 5, bound 5)")
    assert render.bits_line(report).startswith("bits: weights ")
    assert render.partition_line(report) in render.html(report)
