"""What a model file does not say, and the user may."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from ...errors import ModelFileError


@dataclass(frozen=True)
class ReadOptions:
    """Given by the user for files that do not say it themselves; None: not given.

    Attributes:
        dt: seconds per step, for formats in continuous time.
        steps: T, steps per sample.
        encoding: how samples enter, see `compiler.nodes.Input`.
        max_value: of the raw input; the network sees value / max_value.
        input_shape: of one sample (and step), without batch.
        reset: what a spike does to the membrane, where the format has no word for it.
        architecture: a TOML file with the layers, for files that hold only a state dict.
        allow_approximation: whether what cannot be carried exactly may be carried nearly.
    """

    dt: float = 1e-4
    steps: int | None = None
    encoding: Literal["graded", "rate", "spikes"] | None = None
    max_value: int | None = None
    input_shape: tuple[int, ...] | None = None
    reset: Literal["hard", "soft"] | None = None
    architecture: Path | None = None
    allow_approximation: bool = False

    def refuse_others(self, path: Path, kind: str, used: Collection[str]) -> None:
        """Raises `ModelFileError` where something is given that a file of this kind says itself, or has no use for.

        >>> ReadOptions(steps=8).refuse_others(Path("m.pt"), "a checkpoint", ())
        Traceback (most recent call last):
        snn_compile.errors.ModelFileError: m.pt: is a checkpoint, where --steps means nothing; leave it out
        """
        for spec in fields(self):
            if spec.name in (*used, "allow_approximation") or getattr(self, spec.name) == spec.default:
                continue
            flag = "--" + spec.name.replace("_", "-")
            raise ModelFileError(str(path), f"is {kind}, where {flag} means nothing", "leave it out")
