"""One sample of a trace as one HTML page: a raster of each population, and the membrane of a few neurons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..compiler.fixed import FRACTION_BITS
from ..compiler.render import page_environment
from ..errors import TraceFileError
from .trace_activity import PopulationActivity, SampleActivity, activity, binned, levels
from .trace_file import TraceFile, plain
from .trace_text import busiest, facts, title

WIDTH = 640
"""Of a plot without its labels, in pixels of the drawing."""
CELLS = 200_000
"""Of all rasters together, at most; a cell takes about eight bytes."""
COLUMNS = 640
SEPARATE = 100
"""Rows and columns up to which cells stand apart."""
SHADES = 6
SHOWN_NEURONS = 6
TICKS = 8


@dataclass(frozen=True)
class Axis:
    """Marks of an axis: (pixel, text)."""

    marks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Raster:
    """Spikes of one population: per shade an SVG path in units of cells."""

    row: PopulationActivity
    name: str
    columns: int
    rows: int
    height: float
    thick: float
    apart: bool
    exact: bool
    densest: float
    paths: tuple[tuple[float, str], ...]
    y: Axis


@dataclass(frozen=True)
class Curve:
    """One quantity over the steps: an SVG path in pixels, marks, and the threshold's height if it has one."""

    name: str
    path: str
    height: float
    y: Axis
    threshold: float | None


@dataclass(frozen=True)
class Membrane:
    """v above u of one neuron, and the pixels of its spikes."""

    name: str
    neuron: int
    origin: int
    vth: int | None
    curves: tuple[Curve, ...]
    spikes: tuple[float, ...]


def html(file: TraceFile, sample: int, neurons: Sequence[tuple[str, int]] = ()) -> str:
    """A page without outside resources, for light and dark screens; names from the file are escaped.

    Args:
        sample: from 0.
        neurons: (population, index in it) whose u and v are drawn; without any the busiest of the first populations.

    Raises:
        TraceFileError: the file has no such sample or neuron, or is broken.
    """
    found = activity(file, sample)
    chosen = neurons or [(row.name, row.busiest.neuron) for row in found.populations if row.busiest][:SHOWN_NEURONS]
    environment = page_environment("snn_compile.runtime")
    environment.filters.update(plain=plain, busiest=busiest)
    return environment.get_template("trace.html").render(
        found=found,
        title=title(found),
        facts=facts(found),
        width=WIDTH,
        x=_step_axis(file.steps),
        rasters=_rasters(file, found),
        membranes=[_membrane(file, sample, name, neuron) for name, neuron in chosen],
    )


def _rasters(file: TraceFile, found: SampleActivity) -> list[Raster]:
    columns = min(file.steps, COLUMNS)
    limit = max(8, CELLS // (columns * len(found.populations)))
    return [_raster(file, row, found.sample, columns, limit) for row in found.populations]


def _raster(file: TraceFile, row: PopulationActivity, sample: int, columns: int, limit: int) -> Raster:
    """A cell per neuron and step, or per bin of them where there are more than fit."""
    shares = binned(file.array(row.name, "spikes", sample) != 0, columns, min(limit, 400))
    rows = len(shares)
    exact = shares.shape == (row.neurons, file.steps)
    shades = levels(shares, SHADES)
    single = exact and columns <= SEPARATE
    paths = tuple((shade / SHADES, _runs(shades == shade, single)) for shade in range(1, SHADES + 1))
    height = float(np.clip(rows * 14, 56, 320))
    marks = tuple(((n + 0.5) * height / row.neurons, str(n)) for n in nice_marks(0, row.neurons - 1, int(height // 28)))
    return Raster(
        row=row,
        name=plain(row.name),
        columns=shares.shape[1],
        rows=rows,
        height=height,
        thick=0.85 if rows <= SEPARATE else 1.0,
        apart=single,
        exact=exact,
        densest=float(shares.max()),
        paths=tuple((opacity, path) for opacity, path in paths if path),
        y=Axis(marks),
    )


def _runs(cells: NDArray[np.bool_], single: bool) -> str:
    """Horizontal runs of cells as an SVG path, or each cell by itself with a gap after it.

    >>> row = np.array([[True, True, False, True]])
    >>> _runs(row, single=False), _runs(row, single=True)
    ('M0 0h2M3 0h1', 'M0 0h.9M1 0h.9M3 0h.9')
    """
    if single:
        return "".join(f"M{x} {y}h.9" for y, x in np.argwhere(cells).tolist())
    padded = np.pad(cells, ((0, 0), (1, 1))).astype(np.int8)
    row, begin = np.nonzero(np.diff(padded, axis=1) == 1)
    _, end = np.nonzero(np.diff(padded, axis=1) == -1)
    return "".join(
        f"M{x} {y}h{n}" for y, x, n in zip(row.tolist(), begin.tolist(), (end - begin).tolist(), strict=True)
    )


def _membrane(file: TraceFile, sample: int, name: str, neuron: int) -> Membrane:
    population = file.population(name)
    if not 0 <= neuron < population.size:
        raise TraceFileError(
            file.path,
            f"has no neuron {neuron} of {plain(name)}",
            f"choose one from 0 to {population.size - 1}",
            value=neuron,
            limit=population.size,
        )
    spikes, u, v = (file.array(name, kind, sample)[:, neuron] for kind in ("spikes", "u", "v"))
    threshold = None if population.vth is None else population.vth << FRACTION_BITS
    at = (np.flatnonzero(spikes) + 0.5) * WIDTH / file.steps
    pixels = np.unique(at.round(1))  # several spikes in a tenth of a pixel are one mark
    return Membrane(
        plain(name),
        neuron,
        int(population.origin[neuron]),
        population.vth,
        (_curve("v", v, 140, threshold), _curve("u", u, 80, None)),
        tuple(pixels.tolist()),
    )


def _curve(name: str, values: NDArray[np.int32], height: float, threshold: int | None) -> Curve:
    """A line through the values; where there are more than pixels, through the least and the greatest of each."""
    seen = [0, int(values.min()), int(values.max()), *([] if threshold is None else [threshold])]
    low, high = min(seen), max(seen)
    low, high = (low, high) if low < high else (low - 1, high + 1)
    room = (high - low) * 0.08
    low, high = int(np.floor(low - room)), int(np.ceil(high + room))

    def pixel(value: float) -> float:
        return round((high - value) * height / (high - low), 1)

    steps = np.arange(len(values))
    if len(values) > 2 * WIDTH:
        parts = np.array_split(steps, WIDTH)
        steps = np.concatenate([sorted({int(p[values[p].argmin()]), int(p[values[p].argmax()])}) for p in parts])
    x = (steps + 0.5) * WIDTH / len(values)
    points = (f"{a:.4g} {pixel(b):g}" for a, b in zip(x.tolist(), values[steps].tolist(), strict=True))
    marks = tuple((pixel(mark), f"{mark:,}") for mark in nice_marks(low, high, int(height // 24)))
    return Curve(name, "M" + "L".join(points), height, Axis(marks), None if threshold is None else pixel(threshold))


def _step_axis(steps: int) -> Axis:
    return Axis(tuple(((n + 0.5) * WIDTH / steps, str(n)) for n in nice_marks(0, steps - 1, TICKS)))


def nice_marks(low: int, high: int, count: int) -> list[int]:
    """Multiples of 1, 2 or 5 times a power of ten from `low` to `high`, about `count` of them.

    >>> nice_marks(0, 7, 8), nice_marks(-120, 990, 4)
    ([0, 1, 2, 3, 4, 5, 6, 7], [0, 500])
    """
    least = max(1, (high - low) / max(1, count))
    power = 10 ** int(np.floor(np.log10(least)))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= least)
    return list(range(-(-low // step) * step, high + 1, step))
