"""AEDAT 3.1, the format of DVS Gesture: events of an event camera in packets (iniVation, "AEDAT file formats").

Lines that begin with ``#``, the last one ``#!END-HEADER``, then packets, little-endian:

| bytes | content |
|---|---|
| 2, 2 | kind (1: polarity events), source |
| 4, 4 | bytes of an event, where its time is |
| 4 | upper half of all times: time + 2^31 × this |
| 4, 4, 4 | room for events, events, valid events |
| the rest | room × bytes of an event |

A polarity event has 8 bytes: 32 bits of x (15), y (15), polarity (1), valid (1) from the highest bit down; time in µs.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from .folder import AGAIN, open_data

BEGIN, END = b"#!AER-DAT3.1", b"#!END-HEADER\r\n"
HEADER = struct.Struct("<HHIIIIII")
POLARITY = 1
EVENT = np.dtype([("data", "<u4"), ("time", "<u4")])

Column = NDArray[np.int64]


def read_polarity(path: Path) -> tuple[Column, Column, Column, Column]:
    """x, y, time in µs and polarity of all polarity events of a file; other kinds are passed over.

    Raises:
        DataError: the file is damaged.
    """
    with open_data(path) as file:
        content = file.read()
    if not content.startswith(BEGIN):
        raise DataError(str(path), f"begins with {content[:12].hex() or 'nothing'}, AEDAT 3.1 is needed", AGAIN)
    at = content.find(END)
    if at < 0:
        raise DataError(str(path), "is cut off in its header", AGAIN)
    packets = list(_packets(path, content, at + len(END)))
    if not packets:
        raise DataError(str(path), "has no events", AGAIN)
    data = np.concatenate([events["data"] for events, _ in packets])
    valid = data & 1 == 1
    time = np.concatenate([events["time"].astype(np.int64) + (upper << 31) for events, upper in packets])
    data, time = data[valid], time[valid]
    x, y, p = ((data >> low & mask).astype(np.int64) for low, mask in ((17, 0x7FFF), (2, 0x7FFF), (1, 1)))
    return x, y, time, p


def _packets(path: Path, content: bytes, at: int) -> Iterator[tuple[NDArray[np.void], int]]:
    """The events of each packet of polarity events, and the upper half of their times."""
    while at < len(content):
        if at + HEADER.size > len(content):
            raise DataError(str(path), f"is cut off at byte {len(content)}, in the header of a packet", AGAIN)
        kind, _, size, _, upper, room, count, _ = HEADER.unpack_from(content, at)
        at += HEADER.size
        if at + room * size > len(content):
            raise DataError(str(path), f"is cut off at byte {len(content)}, in a packet of {room} events", AGAIN)
        if kind == POLARITY:
            if size != EVENT.itemsize or count > room:
                problem = f"has a packet of {count} events of {size} bytes in the room of {room}, 8 bytes are needed"
                raise DataError(str(path), problem, AGAIN)
            yield np.frombuffer(content, EVENT, count, at), upper
        at += room * size
