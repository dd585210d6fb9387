"""Files of users, opened only where they are files."""

from __future__ import annotations

import contextlib
import stat
from pathlib import Path
from typing import BinaryIO

from ...errors import ModelFileError


def open_file(path: Path) -> BinaryIO:
    """The model file, open for reading.

    Raises:
        ModelFileError: as `open_regular`, or it is empty.
    """
    file, start = open_regular(path, "the model file")
    if not start:
        file.close()
        raise ModelFileError(str(path), "is empty", "write it again")
    return file


def open_regular(path: Path, what: str) -> tuple[BinaryIO, bytes]:
    """The file, open at its start, and its first byte; pipes and devices, which may never answer, are not opened.

    Raises:
        ModelFileError: it is missing, a directory, no regular file or not readable.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ModelFileError(str(path), "is a directory", f"give {what} in it")
        if not stat.S_ISREG(mode):
            raise ModelFileError(str(path), "is no regular file", f"give {what} itself")
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(path.open("rb"))
            start = file.read(1)
            file.seek(0)
            stack.pop_all()
            return file, start
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a name with a zero byte
        raise ModelFileError(str(path), "does not exist", "check the path") from error
    except OSError as error:
        raise ModelFileError(str(path), f"cannot be read ({error.strerror})", "check its permissions") from error
