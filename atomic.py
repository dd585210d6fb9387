"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .errors import OutputError


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary file beside `path` to write to; it takes the place of `path` if all goes well, and is gone if not.

    Raises:
        OutputError: the file cannot be written there.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with whole_file(Path(folder, "report.txt")) as draft:
    ...         _ = draft.write_text("done")
    ...     Path(folder, "report.txt").read_text()
    'done'
    """
    path = Path(os.path.realpath(path))  # a link goes on pointing to the file
    draft: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        draft = Path(name)
        os.close(handle)
        yield draft
        mask = os.umask(0)
        os.umask(mask)
        draft.chmod(0o666 & ~mask)
        draft.replace(path)
        draft = None
    except OSError as error:
        raise OutputError(
            str(path), f"cannot be written ({error.strerror or error})", "choose another place"
        ) from error
    finally:
        if draft is not None:
            draft.unlink(missing_ok=True)


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes `content` to `path`, whole or not at all."""
    with whole_file(path) as draft:
        draft.write_bytes(content)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Before the work: a file can be written at `path`.

    Raises:
        OutputError: its folder does not exist or is closed, or `path` is a folder.
    """
    path = Path(path)
    folder = path.absolute().parent
    for fault, problem in (
        (path.is_dir(), "is a folder, a file is needed"),
        (path.exists() and not path.is_file(), "is no ordinary file"),
        (not folder.is_dir(), f"cannot be written, there is no folder {folder}"),
        (not os.access(folder, os.W_OK), f"cannot be written, the folder {folder} is read-only"),
    ):
        if fault:
            raise OutputError(str(path), problem, "choose another place")
