"""A file that is there as a whole or not at all: frames, each with its length and its sum."""

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from hazardloop.service.errors import SnapshotUnusable

MAGIC: Final = b"hazardloop snapshot\n"
FRAME: Final = struct.Struct("<QI")
"""Bytes that follow, and their CRC-32."""
END: Final = FRAME.pack((1 << 64) - 1, 0)
PIECE: Final = 1 << 20
"""Written at once: between two, others have their turn."""


def write(file: Path, frames: Iterable[bytes], reserve_bytes: int) -> None:
    """On the disk, and readable by us alone, when this returns.

    OSError: it could not be written, or the disk would be left with less than `reserve_bytes`;
    nothing remains of it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_suffix(".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(MAGIC)
            for frame in frames:
                _require_room(file.parent, len(frame) + reserve_bytes)
                out.write(FRAME.pack(len(frame), zlib.crc32(frame)))
                for at in range(0, len(frame), PIECE):
                    out.write(frame[at : at + PIECE])
            out.write(END)
            out.flush()
            os.fsync(out.fileno())
        os.replace(beside, file)
        _sync(file.parent)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def read(file: Path) -> Iterator[bytes]:
    """Its frames. SnapshotUnusable: it is not there, cut short, or not as it was written."""
    try:
        with file.open("rb") as said:
            if said.read(len(MAGIC)) != MAGIC:
                raise SnapshotUnusable(f"the snapshot {file} is damaged at its beginning")
            while (frame := _frame(said, file)) is not None:
                yield frame
    except OSError as error:
        raise SnapshotUnusable(f"the snapshot {file} cannot be read: {error.strerror}") from error


def _frame(said: BinaryIO, file: Path) -> bytes | None:
    """The next frame; None at the end."""
    at = said.tell()
    head = said.read(FRAME.size)
    if head == END:
        return None
    size, checksum = FRAME.unpack(head) if len(head) == FRAME.size else (-1, 0)
    frame = said.read(size) if 0 <= size <= os.fstat(said.fileno()).st_size else b""
    if len(frame) != size or zlib.crc32(frame) != checksum:
        raise SnapshotUnusable(f"the snapshot {file} is damaged at byte {at}")
    return frame


def _require_room(folder: Path, wanted: int) -> None:
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if free < wanted:
        raise OSError(f"{free} bytes are free in {folder}, {wanted} are wanted")


def _sync(folder: Path) -> None:
    """The name of a file in it is on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
