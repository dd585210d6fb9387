"""`check_model`: what of a model compiles exactly, nearly, or not at all, layer by layer, and nothing is compiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..compiler.balance import balance
from ..compiler.findings import Finding, UnsupportedModelError
from ..compiler.fold import fold
from ..compiler.inputs import check_encoding
from ..compiler.lower import lower
from ..compiler.network import Network
from ..compiler.quantise import check_population, quantise
from ..errors import ModelFileError, SnnCompileError
from ..hw_targets.chip import Chip
from .readers import read_model
from .readers.options import ReadOptions


class CheckResult(msgspec.Struct, frozen=True):
    """What `snn-compile --check --json` writes.

    Attributes:
        model: file name.
        target: the chip, or None where only the model was looked at.
        compiles: whether it would be compiled with the flags that were given.
        sentence: the same for people.
        findings: layer by layer, in the order of the model, the chip's last.
    """

    model: str
    target: str | None
    compiles: bool
    sentence: str
    findings: tuple[Finding, ...]


def check_model(path: Path, options: ReadOptions, chip: Chip | None = None) -> CheckResult:
    """Reads a model and tries the passes that can refuse a layer, for one chip or for any.

    Whether it fits the chip's memory is not looked at.

    Raises:
        ModelFileError: the file is missing, broken, or in no format that is read.
    """
    try:
        network = read_model(path, options)
    except ModelFileError:
        raise
    except UnsupportedModelError as error:
        findings = list(error.findings)
    except SnnCompileError as error:
        findings = [_refusal(error)]
    else:
        findings = [*_of_layers(network), *_of_passes(network, chip)]
    return _result(path.name, chip, options, findings)


def _refusal(error: SnnCompileError) -> Finding:
    return Finding(error.subject, "unsupported", error.problem, error.way_out)


def _of_layers(network: Network) -> list[Finding]:
    """What the reader found, in the order of the nodes, and a line for each node of which it says nothing."""
    found = [finding for finding in network.findings if finding.layer not in network.by_name]
    for node in network.nodes:
        own = [finding for finding in network.findings if finding.layer == node.name]
        if not any(finding.kind == "exact" for finding in own):
            found.append(Finding(node.name, "exact", network.describe(node)))
        found += own
    return found


def _of_passes(network: Network, chip: Chip | None) -> list[Finding]:
    try:
        sparse = lower(fold(network))
        if chip is None:
            return []
        sparse = balance(sparse, chip)
    except SnnCompileError as error:
        return [_refusal(error)]
    tried = [_tried(check_encoding, source, chip) for source in sparse.inputs]
    tried += [_tried(check_population, population, chip) for population in sparse.populations]
    refused = [finding for finding in tried if finding is not None]
    if refused:
        return refused
    try:
        quantise(sparse, chip)
    except SnnCompileError as error:
        return [_refusal(error)]
    return []


def _tried(check: Callable[[Any, Chip], None], member: Any, chip: Chip) -> Finding | None:
    try:
        check(member, chip)
    except SnnCompileError as error:
        return _refusal(error)
    return None


def _result(name: str, chip: Chip | None, options: ReadOptions, findings: Sequence[Finding]) -> CheckResult:
    kinds = [finding.kind for finding in findings]
    refused, nearly = kinds.count("unsupported"), kinds.count("approximated")
    compiles = not refused and (not nearly or options.allow_approximation)
    where = "" if chip is None else f" on {chip.name}"
    if refused:
        sentence = f"{name} does not compile{where}: {refused} layer{'s' * (refused > 1)} not supported"
    elif nearly and not compiles:
        sentence = f"{name} compiles{where} with --allow-approximation only"
    else:
        sentence = f"{name} compiles{where}" + (", nearly" if nearly else "")
    return CheckResult(name, None if chip is None else chip.name, compiles, sentence, tuple(findings))
