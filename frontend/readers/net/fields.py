"""The fields of one layer of a `.net`, each asked for by its type, and what is found about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....compiler.findings import Finding
from ....errors import NetworkError
from ..budget import Budget
from .file import Layer

AGAIN = "export it again with lava-dl"


@dataclass
class Findings:
    """Collects what is found in one file, so that a model with several faults names them all.

    `budget` counts what is made for the file.
    """

    found: list[Finding] = field(default_factory=list)
    budget: Budget = field(default_factory=Budget)

    def refuse(self, layer: str, text: str, way_out: str) -> None:
        self.found.append(Finding(layer, "unsupported", text, way_out))

    def assume(self, layer: str, text: str, way_out: str = "") -> None:
        self.found.append(Finding(layer, "assumed", text, way_out))

    def exact(self, layer: str, text: str) -> None:
        self.found.append(Finding(layer, "exact", text))

    def refused(self, layer: str) -> bool:
        return any(finding.layer == layer and finding.kind == "unsupported" for finding in self.found)


def text(layer: Layer, key: str) -> str | None:
    """A field that is one text; None where it is absent.

    Raises:
        NetworkError: it is numbers.
    """
    value = layer.fields.get(key)
    if isinstance(value, np.ndarray):
        raise NetworkError(layer.name, f"{key} holds {value.size} numbers, a text is needed", AGAIN)
    return value


def numbers(layer: Layer, key: str) -> NDArray[Any] | None:
    """A field of numbers, of any shape; None where it is absent.

    Raises:
        NetworkError: it is a text.
    """
    value = layer.fields.get(key)
    if isinstance(value, str):
        raise NetworkError(layer.name, f"{key} is a text, numbers are needed", AGAIN)
    return value


def flag(layer: Layer, key: str) -> bool:
    """Whether a field of numbers is there, and any of them is not 0.

    Raises:
        NetworkError: it is a text.
    """
    value = numbers(layer, key)
    return value is not None and bool(np.any(value))


def whole(layer: Layer, key: str, default: int | None, findings: Findings, low: int = 0, high: int = 2**31) -> int:
    """A field that is one whole number; refused, and `low`, where it is something else.

    Raises:
        NetworkError: it is a text.
    """
    value = numbers(layer, key)
    if value is None and default is not None:
        return default
    problem = f"{key} is missing" if value is None else f"{key} is no single whole number {low} to {high}"
    if value is not None and value.size == 1 and float(value.item()).is_integer():
        number = int(value.item())
        if low <= number <= high:
            return number
        problem = f"{key} is {float(value.item()):.8g}, {low} to {high} is possible"
    findings.refuse(layer.name, problem, AGAIN)
    return low


def integers(layer: Layer, key: str, findings: Findings) -> NDArray[Any] | None:
    """A field whose numbers are whole; None where it is absent, or refused.

    Raises:
        NetworkError: it is a text.
    """
    value = numbers(layer, key)
    if value is None:
        return None
    flat = value.reshape(-1)
    fraction = flat[flat != np.rint(flat)] if value.dtype.kind == "f" else flat[:0]
    if fraction.size:
        problem = f"{key} holds {fraction[0]:g}, whole numbers are needed"
        findings.refuse(layer.name, problem, "quantise it: export it with lava-dl's export_hdf5 from quantised blocks")
        return None
    if value.size and float(np.abs(value.astype(np.float64)).max()) >= 2**24:
        findings.refuse(layer.name, f"{key} reaches beyond 24 bits", AGAIN)
        return None
    return value
