"""One file out of a multipart body, bounded while it arrives."""

import asyncio
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from hazardloop.alarms.ledger_store import Evidence
from hazardloop.service import evidence, file_content
from hazardloop.service.api.problems import Problem
from hazardloop.service.errors import FileTooLarge
from hazardloop.service.evidence import Shelf

MOST_FRAMING: Final = 64 * 1024
"""Bytes that boundary, headers and caption may add to the file."""
MOST_BODY: Final = evidence.MOST_BYTES + MOST_FRAMING
MOST_CAPTION: Final = 2000
BOUNDED_HERE: Final = 1 << 40
"""Limit for the framework: out of reach, since what it answers is no problem document."""

REQUEST_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {
                        "type": "string",
                        "format": "binary",
                        "description": f"{file_content.KINDS}; judged by its content.",
                    },
                    "caption": {
                        "type": "string",
                        "maxLength": MOST_CAPTION,
                        "description": "What it shows.",
                        "examples": ["更换后的垫片"],
                    },
                },
            }
        }
    },
}


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that arrived and is on disk."""

    kept: evidence.Kept
    file_name: str
    caption: str | None

    def evidence_of(self, case_id: UUID, uploaded_by: str, uploaded_at: datetime) -> Evidence:
        """As a new record of that case."""
        return Evidence(
            uuid4(),
            case_id,
            self.file_name,
            self.kept.media_type,
            self.kept.size_bytes,
            self.kept.sha256,
            uploaded_by,
            uploaded_at,
        )


async def receive(request: Request, shelf: Shelf, incoming: Path) -> Upload:
    """The field `file` of the body, kept on `shelf` by way of `incoming`, and the field `caption`.

    Raises Problem (no multipart body, no file), FileTooLarge, FileKindRefused, EvidenceAway.
    """
    form = await _form(request)
    try:
        file, caption = form.get("file"), form.get("caption")
        if not isinstance(file, UploadFile):
            raise Problem("invalid", "file: a multipart field of that name must hold the file")
        if isinstance(caption, UploadFile) or len(caption or "") > MOST_CAPTION:
            raise Problem("invalid", f"caption: text of at most {MOST_CAPTION} characters")
        kept = await asyncio.to_thread(evidence.keep, shelf, incoming, file.file)
        return Upload(kept, plain_name(file.filename), (caption or "").replace("\0", "") or None)
    finally:
        await form.close()


async def _form(request: Request) -> FormData:
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise Problem("unsupported_media_type", "send the file as multipart/form-data")
    parser = MultiPartParser(request.headers, _bounded(request), max_files=1, max_fields=1)
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise Problem("bad_request", error.message) from error


async def _bounded(request: Request) -> AsyncGenerator[bytes, None]:
    """The body as it arrives. FileTooLarge as soon as it is, before it fills the disk."""
    announced = request.headers.get("content-length", "")
    arrived = 0
    if announced.isdecimal() and int(announced) > MOST_BODY:
        raise _too_large()
    async for chunk in request.stream():
        arrived += len(chunk)
        if arrived > MOST_BODY:
            raise _too_large()
        yield chunk


def _too_large() -> FileTooLarge:
    return FileTooLarge(f"the file is larger than {evidence.MOST_BYTES >> 20} MiB")


def plain_name(name: str | None) -> str:
    """`name` without folders and control characters, at most 200 characters."""
    last = re.split(r"[/\\]", name or "")[-1]
    return re.sub(r"[\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069]", "", last)[-200:] or "evidence"
