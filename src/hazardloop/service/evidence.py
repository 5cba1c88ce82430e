"""Files of evidence on disk, each named by the SHA-256 of its content."""

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from hazardloop.service.errors import FileKindRefused, FileTooLarge

MOST_BYTES: Final = 20 * 1024 * 1024
MAGIC: Final[Mapping[str, tuple[tuple[int, bytes], ...]]] = {
    "image/jpeg": ((0, b"\xff\xd8\xff"),),
    "image/png": ((0, b"\x89PNG\r\n\x1a\n"),),
    "image/webp": ((0, b"RIFF"), (8, b"WEBP")),
    "application/pdf": ((0, b"%PDF-"),),
}
"""Kinds of file that are taken, and the bytes at which they are known: offset and content."""

_CHUNK: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of a file that is safely on disk."""

    sha256: bytes
    size_bytes: int
    media_type: str


def media_type_of(head: bytes) -> str | None:
    """The kind of a file by its first bytes, whatever it calls itself; None = not taken."""
    for media_type, marks in MAGIC.items():
        if all(head[at : at + len(mark)] == mark for at, mark in marks):
            return media_type
    return None


def path_of(folder: Path, sha256: bytes) -> Path:
    """Where the file of that content is, or would be."""
    name = sha256.hex()
    return folder / name[:2] / name


def keep(folder: Path, source: BinaryIO) -> Kept:
    """`source` as a file that survives power loss; the same content is kept once.

    Raises FileKindRefused, FileTooLarge; OSError when the disk does not take it.
    """
    head = source.read(_CHUNK)
    media_type = media_type_of(head)
    if media_type is None:
        raise FileKindRefused("the file is none of JPEG, PNG, WebP, PDF, judged by its content")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    written, sha256, size = _write(folder, head, source)
    try:
        target = path_of(folder, sha256)
        target.parent.mkdir(mode=0o700, exist_ok=True)
        written.replace(target)
    except BaseException:
        written.unlink(missing_ok=True)
        raise
    for changed in (target.parent, folder):
        _sync_folder(changed)
    return Kept(sha256, size, media_type)


def _write(folder: Path, head: bytes, source: BinaryIO) -> tuple[Path, bytes, int]:
    """A file beside its later place, on disk to the last byte; its hash and size."""
    digest = hashlib.sha256()
    size = 0
    with tempfile.NamedTemporaryFile(dir=folder, prefix="incoming-", delete=False) as file:
        try:
            while head:
                size += len(head)
                if size > MOST_BYTES:
                    raise FileTooLarge(f"the file is larger than {MOST_BYTES >> 20} MiB")
                digest.update(head)
                file.write(head)
                head = source.read(_CHUNK)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    return Path(file.name), digest.digest(), size


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
