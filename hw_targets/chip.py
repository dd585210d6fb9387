"""`Chip`: limits, boards and energies of a target, read from a data file with a source beside each number.

A new chip is one TOML file in ``hw_targets/data``. Passes read limits and never ask which chip it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib import resources

import msgspec

from ..errors import UnsupportedError

Quantity = tuple[float, str]
Count = tuple[int, str]


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one core or chip can hold; each value is (number, source); 0 in a profile limit means unlimited.

    `soft_reset` is 1 where a spike can subtract the threshold; `refractory_max` counts steps after a spike.
    """

    cores_per_chip: Count
    cores_per_tile: Count
    mesh_columns: Count
    mesh_rows: Count
    neurons_per_core: Count
    synapse_words_per_core: Count
    pool_words_per_core: Count
    words_per_neuron: Count
    in_axons_per_core: Count
    out_axons_per_core: Count
    words_per_list: Count
    formats_per_core: Count
    compartment_profiles_per_core: Count
    threshold_profiles_per_core: Count
    weight_exponent_min: Count
    weight_exponent_max: Count
    delay_max: Count
    index_bits_max: Count
    graded_payload_bits: Count
    words_per_sigma_delta_neuron: Count
    bias_exponent_min: Count
    soft_reset: Count
    refractory_max: Count


class Energy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Energy per event in pJ, static power per chip in mW; each value is (number, source)."""

    calibration: str
    synaptic_operation_pj: Quantity
    neuron_update_active_pj: Quantity
    neuron_update_inactive_pj: Quantity
    spike_within_tile_pj: Quantity
    hop_east_west_pj: Quantity
    hop_north_south_pj: Quantity
    static_mw_per_chip: Quantity


class Time(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Time per event in ns; each value is (number, source)."""

    synaptic_operation_ns: Quantity
    neuron_update_active_ns: Quantity
    neuron_update_inactive_ns: Quantity
    spike_within_tile_ns: Quantity
    barrier_ns: Quantity


class Board(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A board: its chips, numbered along the rows of a grid; each value is (number, source)."""

    chips: Count
    columns: Count


class Chip(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A target, and the boards that carry it.

    >>> load("loihi1").neurons_per_core
    1024
    """

    name: str
    title: str
    note: str
    limits: Limits
    boards: dict[str, Board]
    energy: Energy
    time: Time

    def __post_init__(self) -> None:
        mesh = self.limits.mesh_columns[0] * self.limits.mesh_rows[0] * self.limits.cores_per_tile[0]
        if mesh < self.limits.cores_per_chip[0]:
            raise ValueError(f"its mesh has {mesh} places for {self.limits.cores_per_chip[0]} cores")
        if not 1 <= self.limits.formats_per_core[0] <= 15:
            raise ValueError(f"it has {self.limits.formats_per_core[0]} formats per core, 1 to 15 fit their id")
        for board, shape in self.boards.items():
            if not 1 <= shape.columns[0] <= shape.chips[0]:
                raise ValueError(f"its board {board} has {shape.columns[0]} columns for {shape.chips[0]} chips")

    @property
    def cores_per_chip(self) -> int:
        return self.limits.cores_per_chip[0]

    @property
    def neurons_per_core(self) -> int:
        return self.limits.neurons_per_core[0]

    @property
    def synapse_words(self) -> int:
        return self.limits.synapse_words_per_core[0]

    @property
    def memory_words(self) -> int:
        """Words for synapses and neuron state together."""
        return self.limits.pool_words_per_core[0] or self.synapse_words

    @property
    def graded(self) -> bool:
        return self.limits.graded_payload_bits[0] > 0

    def with_sigma_delta(self) -> Chip:
        """The same chip where neurons hold the state of sigma-delta neurons."""
        limits = msgspec.structs.replace(self.limits, words_per_neuron=self.limits.words_per_sigma_delta_neuron)
        return msgspec.structs.replace(self, limits=limits)

    def with_whole_biases(self) -> Chip:
        """The same chip where biases are multiples of one unit of the threshold, 2^6 units of v."""
        least = msgspec.structs.replace(self.limits, bias_exponent_min=(6, "lava-dl's NetX"))
        return msgspec.structs.replace(self, limits=least)

    def words_needed(self, synapse_words: int, neurons: int) -> int:
        """Words that a core with these synapses and neurons takes of `memory_words`."""
        return synapse_words + self.limits.words_per_neuron[0] * neurons

    def position(self, core: int) -> tuple[int, int, int]:
        """(chip, x, y): the mesh tile of a core, cores counted along the rows of each chip in turn.

        >>> load("loihi2").position(128 + 5)
        (1, 1, 0)
        """
        chip, rest = divmod(core, self.cores_per_chip)
        y, x = divmod(rest // self.limits.cores_per_tile[0], self.limits.mesh_columns[0])
        return chip, x, y

    def core_number(self, place: tuple[int, int, int], before: int = 0) -> int:
        """A core's number on its chip, with so many others of its tile `before` it; `position` the other way round.

        >>> load("loihi2").core_number((1, 1, 0), before=1)
        5
        """
        tile = place[2] * self.limits.mesh_columns[0] + place[1]
        return tile * self.limits.cores_per_tile[0] + before

    def misplaced(self, places: Sequence[tuple[int, int, int]], board: str) -> int | None:
        """The first core that stands outside the board or on a tile that is full already, or None.

        >>> load("loihi2").misplaced([(0, 7, 3), (0, 8, 3)], "oheo-gulch")
        1
        """
        size = (self.boards[board].chips[0], self.limits.mesh_columns[0], self.limits.mesh_rows[0])
        taken: Counter[tuple[int, int, int]] = Counter()
        for core, place in enumerate(places):
            outside = not all(0 <= at < most for at, most in zip(place, size, strict=True))
            full = taken[place] >= self.limits.cores_per_tile[0]
            if outside or full or self.core_number(place, taken[place]) >= self.cores_per_chip:
                return core
            taken[place] += 1
        return None


def names() -> list[str]:
    """The targets that there are.

    >>> names()
    ['loihi1', 'loihi2']
    """
    folder = resources.files(__package__) / "data"
    return sorted(entry.name[: -len(".toml")] for entry in folder.iterdir() if entry.name.endswith(".toml"))


@cache
def load(name: str) -> Chip:
    """The chip called `name`; raises `UnsupportedError` for one that is not there."""
    if name not in names():
        raise UnsupportedError(name, "is no target", f"choose one of {', '.join(names())}", value=name)
    return parse(name, (resources.files(__package__) / "data" / f"{name}.toml").read_bytes())


def parse(name: str, text: bytes) -> Chip:
    """The chip in a data file; raises `UnsupportedError` where the file says something that cannot be."""
    try:
        chip = msgspec.toml.decode(text, type=Chip)
    except msgspec.DecodeError as error:
        raise UnsupportedError(f"{name}.toml", f"is no description of a chip ({error})", "correct it") from error
    if chip.name != name:
        raise UnsupportedError(f"{name}.toml", f"describes a chip called {chip.name!r}", "give both the same name")
    return chip
