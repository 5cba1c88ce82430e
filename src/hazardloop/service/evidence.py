"""Files of evidence, each named by the SHA-256 of its content: in a directory or a bucket."""

import hashlib
import mmap
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import S3Store

from hazardloop.service import file_content
from hazardloop.service.database import Connection
from hazardloop.service.errors import (
    EvidenceAbsent,
    EvidenceAway,
    EvidenceDamaged,
    FileKindRefused,
    FileTooLarge,
)
from hazardloop.service.settings import Settings

MOST_BYTES: Final = 20 * 1024 * 1024

_CHUNK: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of a file that is safely kept."""

    sha256: bytes
    size_bytes: int
    media_type: str


class Shelf(Protocol):
    """Where the contents are."""

    def add(self, written: Path, sha256: bytes) -> None:
        """Keeps the file `written` under its hash, whole and for good; it may move it."""

    def open(self, sha256: bytes) -> BinaryIO:
        """The content of that hash as it is there now. EvidenceAbsent, EvidenceAway."""


def name_of(sha256: bytes) -> str:
    """Under which the content of that hash is kept."""
    name = sha256.hex()
    return f"{name[:2]}/{name}"


class Directory:
    """A folder of this machine; a file is there whole, also after a loss of power."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, written: Path, sha256: bytes) -> None:
        """Keeps the file; the same content is kept once."""
        target = self._folder / name_of(sha256)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        written.replace(target)
        for changed in (target.parent, self._folder):
            _sync_folder(changed)

    def open(self, sha256: bytes) -> BinaryIO:
        """The file of that content."""
        try:
            return (self._folder / name_of(sha256)).open("rb")
        except FileNotFoundError as error:
            raise EvidenceAbsent(f"file {sha256.hex()} is not in {self._folder}") from error


class Bucket:
    """A bucket of an S3-compatible service; a put is there whole or not at all."""

    def __init__(self, settings: Settings) -> None:
        url = urlsplit(settings.evidence_store)
        options: dict[str, Any] = {
            "access_key_id": settings.evidence_s3_access_key or None,
            "secret_access_key": settings.evidence_s3_secret_key or None,
            "endpoint": settings.evidence_s3_endpoint or None,
        }
        self._store = S3Store(
            url.netloc,
            prefix=url.path.strip("/") or None,
            region=settings.evidence_s3_region,
            client_options={"allow_http": settings.evidence_s3_endpoint.startswith("http://")},
            retry_config={"max_retries": 2},
            **{name: value for name, value in options.items() if value is not None},
        )

    def add(self, written: Path, sha256: bytes) -> None:
        """Puts the file; the same content is put over itself."""
        try:
            obstore.put(self._store, name_of(sha256), written, use_multipart=False)
        except BaseError as error:
            raise EvidenceAway(_reason(error)) from error

    def open(self, sha256: bytes) -> BinaryIO:
        """A copy of the object of that content, gone when it is closed."""
        copy: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            for part in obstore.get(self._store, name_of(sha256)):
                copy.write(part)
        except (NotFoundError, FileNotFoundError) as error:
            copy.close()
            raise EvidenceAbsent(f"object {name_of(sha256)} is not in the bucket") from error
        except BaseError as error:
            copy.close()
            raise EvidenceAway(_reason(error)) from error
        copy.seek(0)
        return copy


def _reason(error: Exception) -> str:
    return f"the evidence store does not answer: {str(error).partition(chr(10))[0][:200]}"


def shelf_of(settings: Settings) -> Shelf:
    """Where this site keeps its evidence."""
    return Bucket(settings) if settings.evidence_store else Directory(settings.home / "evidence")


def keep(shelf: Shelf, incoming: Path, source: BinaryIO) -> Kept:
    """`source` on the shelf, once it is known to be of a kind that is taken.

    It is written to the folder `incoming` first, to the last byte, and judged there. Raises
    FileKindRefused, FileTooLarge, EvidenceAway; OSError when the disk does not take it.
    """
    incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
    written, sha256, size = _write(incoming, source)
    try:
        media_type = _judged(written, size)
        shelf.add(written, sha256)
    finally:
        written.unlink(missing_ok=True)
    return Kept(sha256, size, media_type)


def _judged(written: Path, size: int) -> str:
    if size == 0:
        raise FileKindRefused(f"the file is empty; taken are {file_content.KINDS}")
    with (
        written.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        return file_content.media_type_of(content)  # type: ignore[arg-type]


def verified(shelf: Shelf, sha256: bytes) -> BinaryIO:
    """The content of that hash, at its beginning, after it was found unchanged.

    Raises EvidenceAbsent, EvidenceDamaged, EvidenceAway.
    """
    file = shelf.open(sha256)
    digest = hashlib.sha256()
    while part := file.read(_CHUNK):
        digest.update(part)
    if digest.digest() != sha256:
        file.close()
        raise EvidenceDamaged(f"file {sha256.hex()} is not what was kept: its hash differs")
    file.seek(0)
    return file


ALL_HASHES: Final = "SELECT DISTINCT sha256 FROM evidence ORDER BY sha256"


async def missing_or_changed(conn: Connection, shelf: Shelf) -> Mapping[bytes, str]:
    """What is wrong with the files of evidence, by hash; empty: each is there as it was kept.

    Reads every file. EvidenceAway: the store does not answer, so nothing can be said.
    """
    wrong: dict[bytes, str] = {}
    for (sha256,) in await (await conn.execute(ALL_HASHES)).fetchall():
        try:
            verified(shelf, sha256).close()
        except (EvidenceAbsent, EvidenceDamaged) as error:
            wrong[sha256] = str(error)
    return wrong


def _write(folder: Path, source: BinaryIO) -> tuple[Path, bytes, int]:
    """A file of its own, on disk to the last byte; its hash and size."""
    digest = hashlib.sha256()
    size = 0
    with tempfile.NamedTemporaryFile(dir=folder, prefix="incoming-", delete=False) as file:
        try:
            while part := source.read(_CHUNK):
                size += len(part)
                if size > MOST_BYTES:
                    raise FileTooLarge(f"the file is larger than {MOST_BYTES >> 20} MiB")
                digest.update(part)
                file.write(part)
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
