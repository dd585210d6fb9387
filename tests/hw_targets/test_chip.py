"""Targets: every number has a source, the published ones are right, an unknown target is refused."""

from __future__ import annotations

from importlib import resources

import pytest
from snn_compile.errors import UnsupportedError
from snn_compile.hw_targets import chip as chips


@pytest.mark.parametrize("name", chips.names())
def test_every_number_has_a_source(name):
    chip = chips.load(name)
    assert chip.name == name
    assert all(len(value[1]) > 1 for board in chip.boards.values() for value in (board.chips, board.columns))
    for group in (chip.limits, chip.energy, chip.time):
        for field in group.__struct_fields__:
            value = getattr(group, field)
            if field != "calibration":
                assert len(value[1]) > 1, f"{field} has no source"


@pytest.mark.parametrize(
    ("name", "neurons", "words", "memory", "graded"),
    [("loihi1", 1024, 16384, 16384, False), ("loihi2", 8192, 16384, 24576, True)],
)
def test_limits(name, neurons, words, memory, graded):
    chip = chips.load(name)
    assert chip.cores_per_chip == 128
    assert (chip.neurons_per_core, chip.synapse_words, chip.memory_words) == (neurons, words, memory)
    assert chip.graded is graded
    assert chip.words_needed(100, 50) == (100 if name == "loihi1" else 150)


def test_places_of_a_board():
    chip = chips.load("loihi1")
    places = [chip.position(core) for core in range(256)]
    assert chip.misplaced(places, "kapoho-bay") is None
    assert [chip.core_number(place, core % 4) for core, place in enumerate(places)] == list(range(128)) * 2
    assert chip.misplaced([*places, (2, 0, 0)], "kapoho-bay") == 256
    assert chip.misplaced([(0, 3, 1)] * 5, "nahuku") == 4
    assert chip.misplaced([(0, 0, 4)], "nahuku") == 0


def test_cores_fill_the_mesh_tile_by_tile():
    chip = chips.load("loihi1")
    places = [chip.position(core) for core in range(256)]
    assert places[:5] == [(0, 0, 0)] * 4 + [(0, 1, 0)]
    assert max(x for _, x, _ in places) == 7 and max(y for _, _, y in places) == 3
    assert places[128] == (1, 0, 0)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'name = "loihi1"',
            'name = "loihi9"',
            "loihi1.toml: describes a chip called 'loihi9'; give both",
        ),
        ("mesh_rows = [4,", "mesh_rows = [1,", "its mesh has 32 places for 128 cores"),
        ("formats_per_core = [7,", "formats_per_core = [16,", "it has 16 formats per core, 1 to 15 fit their id"),
        ("columns = [8,", "columns = [33,", "its board nahuku has 33 columns for 32 chips"),
        ("delay_max = [62,", "delay_mix = [62,", "is no description of a chip"),
        ("delay_max = [62,", 'delay_max = ["many",', "is no description of a chip"),
    ],
)
def test_a_data_file_that_cannot_be_is_refused(old, new, message):
    text = (resources.files("snn_compile.hw_targets") / "data" / "loihi1.toml").read_text()
    assert old in text
    with pytest.raises(UnsupportedError, match=message):
        chips.parse("loihi1", text.replace(old, new).encode())


def test_an_unknown_target_is_refused():
    with pytest.raises(UnsupportedError, match="tianjic: is no target; choose one of loihi1, loihi2"):
        chips.load("tianjic")
