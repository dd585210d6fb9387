"""What a reader found in a model, layer by layer: carried exactly, assumed, approximated, or not supported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from ..errors import UnsupportedError

Kind = Literal["exact", "assumed", "approximated", "unsupported"]


class Finding(msgspec.Struct, frozen=True):
    """One thing about one layer.

    Attributes:
        layer: its name in the file.
        kind: ``exact``; ``assumed``: the file does not say it, so it was chosen; ``approximated``: what runs differs
            from what was trained; ``unsupported``: it cannot be compiled.
        text: what, and how much of it.
        way_out: what the user can do, where there is something to do.
    """

    layer: str
    kind: Kind
    text: str
    way_out: str = ""

    def error(self) -> UnsupportedError:
        return UnsupportedError(self.layer, self.text, self.way_out)


def settle(findings: Sequence[Finding], allow_approximation: bool) -> None:
    """Raises `UnsupportedError` for the first thing that cannot be compiled, or that nobody allowed.

    >>> settle([Finding("fc", "assumed", "takes 16 steps")], False)
    >>> settle([Finding("fc", "approximated", "its bias acts one step late")], False)
    Traceback (most recent call last):
    snn_compile.errors.UnsupportedError: fc: its bias acts one step late; allow it with --allow-approximation
    """
    for finding in findings:
        if finding.kind == "unsupported":
            raise finding.error()
    if not allow_approximation:
        for finding in findings:
            if finding.kind == "approximated":
                raise UnsupportedError(finding.layer, finding.text, "allow it with --allow-approximation")


class UnsupportedModelError(UnsupportedError):
    """A model with layers that cannot be compiled; the sentence names the first, `findings` has all."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        first = next(finding for finding in findings if finding.kind == "unsupported")
        super().__init__(first.layer, first.text, first.way_out)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.findings,)
