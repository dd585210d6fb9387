"""Cores that hold little are dissolved: their neurons go to cores with room, where every limit allows it."""

from __future__ import annotations

import numpy as np

from ..hw_targets.chip import Chip
from .fill import OUT_MAX, Core, fill_in_order
from .fixed import FixedNetwork
from .limits import Excess, measure
from .netlist import Ints
from .nodes import FloatArray
from .settle import proven
from .slices import CoreSlices, neuron_entries
from .threads import each

HOSTS = 16
"""Cores that are offered the neurons of one that shall go."""
FAILURES = 2
"""Cores that could not be dissolved, one after the other, before the rest is left."""


def dissolve(network: FixedNetwork, core: Core, slices: list[Ints], chip: Chip) -> list[Ints]:
    """As few slices as this gives, each within all limits, output axons too."""
    limit = chip.limits.out_axons_per_core[0]
    core.limits[OUT_MAX] = limit
    failures = 0
    kept = list(slices)
    words: dict[int, tuple[Ints, int]] = {}  # with the array, so that no other takes its id

    def measured(neurons: Ints) -> tuple[Excess | None, int]:
        return measure(network, neurons, chip)

    stays = np.zeros(len(kept), np.bool_)
    while failures < FAILURES and len(kept) > 1:
        entries = neuron_entries(network.netlist, CoreSlices(tuple(kept)), chip)
        core.out[:] = entries
        new = [own for own in kept if id(own) not in words]
        words |= {id(own): (own, found[1]) for own, found in zip(new, each(measured, new), strict=True)}
        share = _shares(kept, entries, [words[id(own)][1] for own in kept], chip)
        fullest = share.max(axis=1)
        goes = int(np.argmin(np.where(stays, 2.0, fullest)))
        hosts = [i for i in np.argsort(fullest).tolist() if i != goes][:HOSTS]
        room = (1 - share[hosts]).sum(axis=0)
        if stays[goes] or bool((room < share[goes]).any()):
            break
        found = _spread(network, core, kept, goes, hosts, chip)
        if found is not None:
            now = neuron_entries(network.netlist, CoreSlices(tuple(found)), chip)
            if max(int(now[own].sum()) for own in found) <= limit:
                kept, stays, failures = found, np.delete(stays, goes), 0
                continue
        stays[goes] = True
        failures += 1
    return kept


def _shares(slices: list[Ints], entries: Ints, words: list[int], chip: Chip) -> FloatArray:
    """(slices, 3) shares of the synapse words, of the neurons and of the output axons that are used."""
    size = np.array([len(own) for own in slices])
    sent = np.array([entries[own].sum() for own in slices])
    whole = (chip.synapse_words, chip.neurons_per_core, chip.limits.out_axons_per_core[0])
    shares: FloatArray = np.stack([words, size, sent], axis=1) / np.array(whole)
    return shares


def _spread(
    network: FixedNetwork, core: Core, slices: list[Ints], goes: int, hosts: list[int], chip: Chip
) -> list[Ints] | None:
    """Slices without this one, or None where its neurons find no room."""
    found = list(slices)
    rest = found[goes]
    for host in hosts:
        own = found[host]
        both = np.concatenate([own, rest])
        fits = fill_in_order(core, both, 0)
        if fits > len(own):
            fits = proven(network, both[:fits], chip)[0]
        if fits > len(own):
            found[host], rest = both[:fits], both[fits:]
        if not len(rest):
            return found[:goes] + found[goes + 1 :]
    return None
