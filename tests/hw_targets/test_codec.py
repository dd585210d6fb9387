"""Synapse lists: what is written is read, and takes exactly the bits that were counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from snn_compile.hw_targets import codec, formats


def random_parts(seed):
    rng = np.random.default_rng(seed)
    compartments, axons = int(rng.integers(1, 1500)), int(rng.integers(1, 8))
    mask = rng.random((axons, compartments)) < rng.choice([0.01, 0.05, 0.2, 0.6, 1.0])
    mask[:, rng.integers(compartments)] = True
    axon, compartment = np.nonzero(mask)
    count = len(axon)
    weight = 2 * rng.integers(-128, 128, count)
    weight[weight == 0] = -256
    delay = rng.integers(0, rng.choice([1, 2, 63]), count)
    exponent = rng.choice(rng.choice([-8, -2, 0, 3, 7], 2), count)
    return formats.Parts.of(axon, compartment, weight, delay, exponent), compartments


def rows(packing):
    return np.array([shape.row() for shape in packing.formats])


@given(st.integers(0, 2**32 - 1), st.integers(2, 15))
def test_reading_gives_back_what_was_written(seed, limit):
    parts, compartments = random_parts(seed)
    packing = formats.pack(parts, compartments, limit)
    assert len(packing.formats) <= max(limit, len(np.unique(parts.exponent)))
    words, starts = codec.write(parts, packing)
    entries = codec.read(words, starts, packing.words, rows(packing), compartments)
    ours, theirs = np.lexsort((parts.compartment, parts.lists)), np.lexsort((entries.compartment, entries.axon))
    assert np.array_equal(parts.lists[ours], entries.axon[theirs])
    for name in ("compartment", "weight", "delay", "exponent"):
        assert np.array_equal(getattr(parts, name)[ours], getattr(entries, name)[theirs]), name


@given(st.integers(0, 2**32 - 1), st.integers(0, 5))
def test_every_format_takes_the_bits_that_were_counted(seed, index):
    """A list in one format alone, read bit by bit by a plain parser written from the module's text."""
    parts, compartments = random_parts(seed)
    one = parts.exponent == parts.exponent[0]
    parts = formats.Parts.of(*(getattr(parts, n)[one] for n in ("lists", "compartment", "weight", "delay", "exponent")))
    shape = formats.candidates(compartments, parts.delay_bits, int(parts.exponent[0]))[index]
    bits = np.zeros(int(parts.lists.max()) + 1, np.int64)
    entries, slots = parts.sizes([shape])[0].T
    own = entries * (formats.HEADER_BITS + shape.prefix_bits) + slots * shape.slot_bits
    np.add.at(bits, parts.lists[parts.start], own)
    choice = np.zeros(len(parts.start), np.int64)
    packing = formats.Packing((shape,), choice, entries, slots, bits, formats.words_of(bits))
    words, starts = codec.write(parts, packing)
    for axon in range(len(bits)):
        memory = sum(int(w) << 64 * i for i, w in enumerate(words[starts[axon] :][: packing.words[axon]]))
        found, used = plain_parse(memory, shape)
        mine = parts.lists == axon
        expected = zip(parts.compartment[mine], parts.weight[mine], parts.delay[mine], strict=True)
        assert found == [tuple(map(int, row)) for row in expected]
        assert used == bits[axon]


def plain_parse(memory, shape):
    at, found = 0, []

    def take(width):
        nonlocal at
        value = memory >> at & (1 << width) - 1
        at += width
        return value

    while True:
        count = take(6)
        if count == 0:
            return found, at - 6
        assert count <= 60 and take(4) == 0
        place = take(shape.index_bits) if shape.kind != formats.Kind.SPARSE else 0
        for i in range(count):
            weight, delay = take(8), take(shape.delay_bits)
            if shape.kind == formats.Kind.SPARSE:
                place = take(shape.index_bits)
            elif shape.kind == formats.Kind.RUN_LENGTH:
                place += take(shape.skip_bits) + (i > 0)
            else:
                place += i > 0
            if weight:
                found.append((place, 2 * (weight - 256 * (weight >= 128)), delay))


def test_words_of_a_list_by_hand():
    """ceil(bits / 64), plus 1 if bits % 64 == 0 or bits % 64 >= 59 (Intel's published compiler)."""
    bits = np.arange(1, 400)
    rule = -(-bits // 64) + ((bits % 64 == 0) | (bits % 64 >= 59))
    assert np.array_equal(formats.words_of(bits), rule)


@pytest.mark.parametrize(
    ("density", "bits"), [(1.0, 8.4), (0.5, 11.8), (0.1, 14.2), (0.05, 17.4), (0.02, 20.2), (0.01, 22.9)]
)
def test_bits_per_synapse_are_those_of_the_published_formulas(density, bits):
    """Random targets among 1024 compartments, 8-bit weights, the best format of each list."""
    rng = np.random.default_rng(0)
    axon, compartment = np.nonzero(rng.random((1000, 1024)) < density)
    zero = np.zeros(len(axon), np.int64)
    packing = formats.pack(formats.Parts.of(axon, compartment, zero + 2, zero, zero), 1024, 7)
    assert packing.words.sum() * 64 / len(axon) < bits * 1.02


def test_a_small_format_table_keeps_what_saves_most():
    parts, compartments = random_parts(5)
    sizes = [int(formats.pack(parts, compartments, limit).bits.sum()) for limit in (15, 4, 3, 2)]
    assert sizes == sorted(sizes)


def damaged(**changes):
    parts, compartments = random_parts(7)
    packing = formats.pack(parts, compartments, 7)
    words, starts = codec.write(parts, packing)
    given_ = {
        "words": words,
        "starts": starts,
        "lengths": packing.words,
        "rows": rows(packing),
        "compartments": compartments,
    }
    return given_ | {key: change(given_[key]) for key, change in changes.items()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"starts": lambda a: a + 10**6}, "leaves the core's memory"),
        ({"lengths": lambda a: a - a + 1}, "has no end"),
        ({"words": lambda a: a | ~np.uint64(0)}, "format that is not in the core's table|has no end"),
        ({"rows": lambda a: a[:0]}, "format that is not in the core's table"),
        ({"rows": lambda a: a + 9}, "is not one of this chip's"),
        ({"compartments": lambda a: 1}, "compartment that the core has not"),
    ],
)
def test_a_broken_list_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        codec.read(**damaged(**changes))
