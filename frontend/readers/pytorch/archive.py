"""The zip that `torch.save` writes, opened without trust: stored entries only, every size checked against the file."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from types import TracebackType

from ....errors import ModelFileError
from ..regular import open_file

MAX_ENTRIES = 2**14
LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How files of `torch.save` before PyTorch 1.6 begin: a pickled magic number."""

ZIP_ERRORS = (
    zipfile.BadZipFile,
    NotImplementedError,
    ValueError,
    EOFError,
    OverflowError,
    RuntimeError,
    OSError,
    struct.error,
    zlib.error,
)
"""What `zipfile` raises for a damaged file."""

RETRAIN = "write it again with snn-train"
SAVE_STATE = "save the state dict of the model with torch.save and give --architecture"


class TorchArchive:
    """`torch.save`'s zip: one ``<name>/data.pkl`` and the storages ``<name>/data/<key>``, all stored, little-endian.

    Raises:
        ModelFileError: in every case where the file is not such a zip.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = open_file(path)
        try:
            self._check_start()
            try:
                self.zip = zipfile.ZipFile(self.file)
            except ZIP_ERRORS as error:
                raise self._error("is cut off or damaged", RETRAIN) from error
            self._check_kind()
            self.sizes = self._check_entries()
            self.prefix = self._find_prefix()
            self._check_byteorder()
        except BaseException:
            self.file.close()
            raise

    def __enter__(self) -> TorchArchive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.zip.close()
        self.file.close()

    def _error(self, problem: str, way_out: str) -> ModelFileError:
        return ModelFileError(str(self.path), problem, way_out)

    def _check_start(self) -> None:
        """Says what the file is instead of a zip, and bounds the directory before `zipfile` loads it."""
        start = self.file.read(len(LEGACY_MAGIC))
        if start == LEGACY_MAGIC:
            raise self._error(
                "is in PyTorch's legacy format from before version 1.6",
                "load it with torch and save it again with torch.save",
            )
        if start[:4] != b"PK\x03\x04":
            raise self._error("is not a model file (no zip archive)", "give a checkpoint that snn-train wrote")
        count, tail = 0, b""
        self.file.seek(0)
        while chunk := self.file.read(2**20):
            window = tail + chunk
            count += window.count(b"PK\x01\x02")
            tail = window[-3:]
        self.length = self.file.tell()
        self._check_count(count)

    def _check_count(self, count: int) -> None:
        if count > MAX_ENTRIES:
            raise self._error(f"has {count} entries, {MAX_ENTRIES} are possible", "save fewer tensors in one file")

    def _check_kind(self) -> None:
        """Archives of PyTorch that hold a program."""
        tails = {name.partition("/")[2] for name in self.zip.namelist()[:MAX_ENTRIES]} | set(self.zip.namelist()[:9])
        if "constants.pkl" in tails or any(tail.startswith("code/") for tail in tails):
            raise self._error("is a TorchScript archive, which holds a program", SAVE_STATE)
        if tails & {"serialized_exported_program.json", "models/model.json", "archive_format"}:
            raise self._error("is an archive of torch.export, which holds a program", SAVE_STATE)

    def _check_entries(self) -> dict[str, int]:
        """Size of each entry, by name."""
        sizes: dict[str, int] = {}
        for info in self.zip.infolist():
            if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.compress_size != info.file_size:
                raise self._error(
                    f"holds the compressed entry {info.filename[:80]!r}, torch.save stores without compression",
                    "save it with torch.save",
                )
            if info.filename in sizes:
                raise self._error(f"holds the entry {info.filename[:80]!r} twice", RETRAIN)
            sizes[info.filename] = info.file_size
        self._check_count(len(sizes))
        if sum(sizes.values()) > self.length:
            raise self._error(f"says it holds {sum(sizes.values())} bytes, the file has {self.length}", RETRAIN)
        return sizes

    def _find_prefix(self) -> str:
        pickles = [name for name in self.sizes if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise self._error(
                f"is a zip archive with {len(pickles)} entries */data.pkl, torch.save writes one",
                "give a checkpoint that snn-train wrote",
            )
        return pickles[0][: -len("data.pkl")]

    def _check_byteorder(self) -> None:
        if "byteorder" in self and self.read("byteorder", 16).strip() != b"little":
            raise self._error("is not little-endian", "save it on another machine")

    def __contains__(self, name: str) -> bool:
        return self.prefix + name in self.sizes

    def read(self, name: str, limit: int) -> bytes:
        """All bytes of an entry; its checksum is verified.

        Raises:
            ModelFileError: it is not there, longer than `limit`, or damaged.
        """
        size = self.sizes.get(self.prefix + name)
        if size is None:
            raise self._error(f"has no entry {name[:80]!r}", RETRAIN)
        if size > limit:
            raise self._error(f"its entry {name!r} has {size} bytes, {limit} are possible", RETRAIN)
        try:
            content = self.zip.read(self.prefix + name)
        except ZIP_ERRORS as error:
            raise self._error(f"its entry {name[:80]!r} is damaged", RETRAIN) from error
        if len(content) != size:
            raise self._error(f"its entry {name[:80]!r} is cut off", RETRAIN)
        return content
