"""One sample of a trace in the terminal: a table of the populations, and their spikes in 80 columns."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .trace_activity import PopulationActivity, SampleActivity, activity, binned, edges, levels
from .trace_file import TraceFile, plain

ROWS, COLUMNS = 16, 64
SHADES = " ░▒▓█"
WIDEST_STEP = 4
LONGEST_NAME = 20


def terminal(file: TraceFile, sample: int) -> RenderableType:
    """Facts, table and a raster of each population.

    Raises:
        TraceFileError: the file has no such sample, or is broken.
    """
    found = activity(file, sample)
    head = Text.assemble((title(found), "bold"), f"\n{facts(found)}\n")
    rasters = [Text("\n".join(["", *_raster(file, row, sample)])) for row in found.populations]
    note = Text("\nin local steps: step 0 is where a population's window begins", style="dim")
    return Group(head, _table(found), *rasters, note)


def title(found: SampleActivity) -> str:
    """Which sample, and what came out."""
    parts = [f"sample {found.sample} of {found.samples}"]
    parts += [] if found.label is None else [f"label {found.label}"]
    parts += [] if found.prediction is None else [f"predicted {found.prediction}"]
    return ", ".join([*parts, f"{found.steps} steps"])


def facts(found: SampleActivity) -> str:
    """Program, backend and data set, as far as they are known."""
    parts = (("", found.program or "a trace"), (" in ", found.backend), (" over ", found.data))
    return "".join(word + plain(value) for word, value in parts if value)


def busiest(row: PopulationActivity) -> str:
    """The neuron with most spikes, by its index here and in the trained layer."""
    best = row.busiest
    return "–" if best is None else f"{best.neuron} ({best.origin} as trained): {best.spikes}"


def _table(found: SampleActivity) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for i, name in enumerate(("population", "neurons", "spikes", "rate", "silent", "busiest")):
        table.add_column(name, justify="left" if i in (0, 5) else "right", no_wrap=True)
    for row in found.populations:
        name = plain(row.name)
        short = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
        cells = (short, str(row.neurons), str(row.spikes), f"{row.rate:.3f}", str(row.silent), busiest(row))
        table.add_row(*map(Text, cells))
    return table


def _raster(file: TraceFile, row: PopulationActivity, sample: int) -> Iterator[str]:
    """A character per bin of neurons and steps, shaded by its share of spikes."""
    shares = binned(file.array(row.name, "spikes", sample) != 0, COLUMNS, ROWS)
    wide = min(WIDEST_STEP, COLUMNS // shares.shape[1])
    name = plain(row.name)
    yield f"{name[:40]}{'…' * (len(name) > 40)}: █ is {shares.max():.0%} of a bin's neurons and steps"
    margin = len(str(row.neurons - 1))
    for first, shades in zip(edges(row.neurons, ROWS)[:-1].tolist(), levels(shares, len(SHADES) - 1), strict=True):
        yield f"{first:>{margin}} │" + "".join(SHADES[shade] * wide for shade in shades) + "│"
    last = str(file.steps - 1)
    yield " " * (margin + 2) + "0" + last.rjust(shares.shape[1] * wide - 1) * (file.steps > 1) + "  step"
