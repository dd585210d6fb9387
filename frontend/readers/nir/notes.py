"""What is found while a NIR graph is read."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ....compiler.findings import Finding, Kind, UnsupportedModelError
from ....errors import NetworkError

MAX_KERNELS = 2**25
"""Weights of all kernels that are written out here because the file describes them in fewer numbers."""


@dataclass
class Notes:
    """Findings in the order of the graph; those that are not supported are raised together at the end."""

    found: list[Finding] = field(default_factory=list)
    kernels: int = 0

    def add(self, layer: str, kind: Kind, text: str, way_out: str = "") -> None:
        self.found.append(Finding(layer, kind, text, way_out))

    def unsupported(self, layer: str, text: str, way_out: str) -> None:
        self.add(layer, "unsupported", text, way_out)

    def count_kernel(self, layer: str, shape: tuple[int, ...]) -> None:
        """Raises `NetworkError` before there is memory for more kernels than a graph may have."""
        self.kernels += math.prod(shape)
        if self.kernels > MAX_KERNELS:
            problem = f"its kernel is {shape}; with those before it {self.kernels} weights, {MAX_KERNELS} are possible"
            raise NetworkError(layer, problem, "make it smaller")

    def settle(self) -> tuple[Finding, ...]:
        """All findings.

        Raises:
            UnsupportedModelError: something cannot be compiled.
        """
        if any(finding.kind == "unsupported" for finding in self.found):
            raise UnsupportedModelError(self.found)
        return tuple(self.found)
