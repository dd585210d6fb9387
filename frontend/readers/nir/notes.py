"""What is found while a NIR graph is read."""

from __future__ import annotations

from dataclasses import dataclass, field

from ....compiler.findings import Finding, Kind, UnsupportedModelError
from ..budget import Budget


@dataclass
class Notes:
    """Findings in the order of the graph; those that are not supported are raised together at the end.

    `budget` counts what is made for the graph.
    """

    found: list[Finding] = field(default_factory=list)
    budget: Budget = field(default_factory=Budget)

    def add(self, layer: str, kind: Kind, text: str, way_out: str = "") -> None:
        self.found.append(Finding(layer, kind, text, way_out))

    def unsupported(self, layer: str, text: str, way_out: str) -> None:
        self.add(layer, "unsupported", text, way_out)

    def settle(self) -> tuple[Finding, ...]:
        """All findings.

        Raises:
            UnsupportedModelError: something cannot be compiled.
        """
        if any(finding.kind == "unsupported" for finding in self.found):
            raise UnsupportedModelError(self.found)
        return tuple(self.found)
