"""A report for eyes: the terminal's tables, one HTML file without outside resources, CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

import jinja2
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from .energy import Energy
from .findings import Finding
from .report import CoreRow, PlacementRow, PopulationRow, Report

SHOWN_CORES = 16
PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"))


def engineering(value: float, unit: str) -> str:
    """A number with three digits and an SI prefix.

    >>> engineering(1.234e-7, "J"), engineering(0, "J")
    ('123 nJ', '0 J')
    """
    for scale, prefix in PREFIXES:
        if value >= scale * 0.9995:
            return f"{value / scale:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}" if value == 0 else f"{value / 1e-12:.3g} p{unit}"


def percent(part: float) -> str:
    """A share for people.

    >>> percent(0.0593), percent(1)
    ('5.93 %', '100 %')
    """
    return f"{100 * part:.3g} %"


def terminal(report: Report) -> RenderableType:
    """Target and assumptions, the fullest cores, the layers, the energy."""
    model = Text.assemble((report.model, "bold"), f" on {report.title}, {report.steps} steps per sample")
    summary = Text(
        f"{report.cores_used} of its cores on {report.chips_used} chip{'s' * (report.chips_used > 1)}: "
        f"{report.neurons} neurons, {report.synapses} synapses, {report.bits_per_synapse:.1f} bits per synapse\n"
        f"connectivity {percent(report.connectivity)} of the weights, "
        f"{percent(report.synapse_connectivity)} of the unrolled synapses"
    )
    summary.append("\n" + "\n".join([bits_line(report), partition_line(report), placement_line(report.placement)]))
    notes = [Text(f"note: {text}", style="yellow") for text in (report.note, *report.warnings)]
    return Group(model, summary, *notes, _core_table(report), _layer_table(report), energy_table(report.energy))


def placement_line(row: PlacementRow) -> str:
    """How the cores stand, and what that gains.

    >>> placement_line(PlacementRow("nahuku", "by traffic", 50.0, 200.0, 1.0, 20.0))
    'board nahuku, placed by traffic: 50.0 spike-hops per sample, 200.0 in order; 1.0 packets over links, 20.0 in order'
    """
    if not row.spike_hops_in_order:
        return f"board {row.board}, no hops between cores"
    text = f"board {row.board}, placed {row.method}: {row.spike_hops:.1f} spike-hops per sample"
    if row.method != "in order":
        text += f", {row.spike_hops_in_order:.1f} in order"
    if row.link_packets or row.link_packets_in_order:
        text += f"; {row.link_packets:.1f} packets over links, {row.link_packets_in_order:.1f} in order"
    return text


def bits_line(report: Report) -> str:
    """Where the bits of synapse memory go, in shares."""
    shares = [(name, getattr(report.bits, name)) for name in report.bits.__struct_fields__]
    return "bits: " + ", ".join(f"{name} {percent(bits / max(1, report.synapse_bits))}" for name, bits in shares)


def partition_line(report: Report) -> str:
    """Cores and what crosses between them, index order in brackets."""
    row = report.partition
    shared = f", {row.shared_cores} with shared lists" if row.shared_cores else ""
    return (
        f"partition: {row.method}, {report.cores_used} cores{shared} (index order {row.index_order_cores}, bound "
        f"{row.cores_bound}); between cores {row.axons} axons ({row.index_order_axons}) and {row.packets:.1f} packets "
        f"per step ({row.index_order_packets:.1f})"
    )


def _table(title: str, left: int, *names: str) -> Table:
    """A table whose first `left` columns hold words."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for i, name in enumerate(names):
        table.add_column(name, justify="left" if i < left else "right", no_wrap=True)
    return table


def findings_table(findings: Iterable[Finding]) -> RenderableType:
    """A line per layer: what it is, and what becomes of it."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("layer", "", "what"):
        table.add_column(name, no_wrap=name != "what", overflow="fold")
    styles = {"unsupported": "red", "approximated": "yellow", "assumed": "cyan"}
    for finding in findings:
        text = finding.text + (f"; {finding.way_out}" if finding.way_out else "")
        table.add_row(Text(finding.layer), Text(finding.kind, style=styles.get(finding.kind, "")), Text(text))
    return table


def _core_table(report: Report) -> Table:
    rows = sorted(report.cores, key=lambda row: -row.fill)[:SHOWN_CORES]
    title = "\ncores" if len(rows) == len(report.cores) else f"\nthe {SHOWN_CORES} fullest of {len(report.cores)} cores"
    table = _table(title, 0, "chip", "core", "neurons", "synapses", "words", "axons in", "axons out", "memory", "full")
    for row in sorted(rows, key=lambda row: (row.chip, row.core)):
        table.add_row(*_core_cells(row), percent(row.fill))
    return table


def _core_cells(row: CoreRow) -> Iterable[str]:
    return (
        str(row.chip),
        str(row.core),
        f"{row.neurons}/{row.neurons_limit}",
        str(row.synapses),
        f"{row.synapse_words}/{row.synapse_words_limit}",
        f"{row.in_axons}/{row.in_axons_limit}",
        f"{row.out_axons}/{row.out_axons_limit}",
        f"{row.memory_bytes / 1024:.1f}/{row.memory_bytes_limit / 1024:.0f} KB",
    )


def _layer_table(report: Report) -> Table:
    shared = any(p.shared_cores for p in report.populations)
    lists = ("lists",) if shared else ()
    table = _table(
        "\nlayers", 2 + shared, "layer", "to", *lists, "neurons", "synapses", "of", "density", "exponent", "vth", "rate"
    )
    populations = {p.name: p for p in report.populations}
    for row in report.projections:
        target = populations[row.target]
        table.add_row(
            row.layer,
            row.target,
            *((_lists_of(target),) if shared else ()),
            f"{target.neurons}/{target.neurons_trained}",
            str(row.synapses),
            str(row.synapses_possible),
            percent(row.density),
            "host" if row.on_host else str(row.exponent),
            str(target.threshold),
            "–" if target.rate is None else f"{target.rate:.3f}",
        )
    return table


def _lists_of(row: PopulationRow) -> str:
    if row.shared_cores in (0, row.cores):
        return "shared" if row.shared_cores else "unrolled"
    return f"shared on {row.shared_cores} of {row.cores} cores"


def energy_table(energy: Energy) -> RenderableType:
    """The energy of a sample by kind, and what it rests on."""
    table = _table("\nenergy per sample", 1, "kind", "events", "energy")
    for kind, joules in energy.dynamic_j.items():
        table.add_row(kind.replace("_", " "), f"{energy.events[kind]:.1f}", engineering(joules, "J"))
    table.add_row("static", engineering(energy.seconds_per_sample, "s"), engineering(energy.static_j, "J"))
    table.add_row("all", "", engineering(energy.per_sample_j, "J"), style="bold")
    note = Text(f"activity: {energy.activity}; energies: {energy.calibration}", style="dim")
    return Group(table, note)


def page_environment(package: str) -> jinja2.Environment:
    """The templates of a package; what they insert is escaped, and a name that they miss is an error."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader(package, "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def html(report: Report) -> str:
    """One page; names from files are escaped."""
    environment = page_environment("snn_compile.compiler")
    lines = {"bits_line": bits_line, "partition_line": partition_line, "placement": placement_line}
    environment.filters.update(percent=percent, engineering=engineering, **lines)
    chips: dict[int, dict[tuple[int, int], list[CoreRow]]] = {}
    for row in report.cores:
        chips.setdefault(row.chip, {}).setdefault((row.x, row.y), []).append(row)
    dynamic = report.energy.dynamic_j
    most = max(*dynamic.values(), report.energy.static_j)
    return environment.get_template("report.html").render(report=report, chips=chips, energy=report.energy, most=most)


def to_csv(report: Report) -> str:
    """The cores, one line each."""
    text = io.StringIO()
    names = CoreRow.__struct_fields__
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([getattr(row, name) for name in names] for row in report.cores)
    return text.getvalue()


def show(what: Any) -> None:
    """Prints to standard output, as wide as a table needs where that is not a terminal."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(what) if console.is_terminal else Console(highlight=False, width=160).print(what)
