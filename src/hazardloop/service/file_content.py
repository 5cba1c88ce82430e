"""What a file of evidence is, judged by its whole structure, never by its name; nothing is decoded.

A picture's size is read from its header, so that one that would fill the memory is refused unseen.
Whatever follows the end of a file is refused: it is how one file is made to be two.
"""

import csv
import io
import json
import re
import struct
import zlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Final

import msgspec

from hazardloop.service.errors import FileKindRefused

MOST_PIXELS: Final = 80_000_000
"""Of a picture; source: project decision, above the cameras of phones and below what harms."""
MOST_SIDE: Final = 20_000
"""Pixels of one side; source: project decision."""
MOST_CHUNKS: Final = 100_000
KINDS: Final = "JPEG, PNG, WebP, PDF, or readings as CSV or JSON"

_ENTROPY_ENDS: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_MARKUP: Final = re.compile(rb"(?i)<(?:script|svg|html|!doctype|\?php|iframe)")
_ACTIVE_PDF: Final = re.compile(rb"/(?:JavaScript|Launch|EmbeddedFiles?|RichMedia)(?=[\s/<(\[>])")
_ESCAPED: Final = re.compile(rb"#([0-9A-Fa-f]{2})")
_NAME_ESCAPED: Final = re.compile(rb"/[A-Za-z]*#[0-9A-Fa-f]{2}[A-Za-z#0-9]*")
_EDGE: Final = 4096
"""Bytes at both ends of a file in which readers look for what it is."""


def media_type_of(content: bytes) -> str:
    """The kind of a whole file. FileKindRefused: it is none that is taken, or not whole.

    A sequence of bytes that can be searched and sliced will do, a memory map as well.
    """
    for media_type, (marks, judge) in MAGIC.items():
        if all(content[at : at + len(mark)] == mark for at, mark in marks):
            judge(content)
            _is_one_file(content, media_type)
            return media_type
    first = content[:_EDGE].lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if first in (b"{", b"["):
        _json_readings(content)
        return "application/json"
    if first and first != b"<" and b"," in content[:_EDGE]:
        _csv_readings(content)
        return "text/csv"
    raise FileKindRefused(f"the file is none of {KINDS}, judged by its content")


def _refused(kind: str, reason: str) -> FileKindRefused:
    return FileKindRefused(f"it begins as {kind}, but {reason}; taken are {KINDS}")


def _is_one_file(content: bytes, media_type: str) -> None:
    """FileKindRefused: another reader would find another file in it."""
    end = content.rfind(b"PK\x05\x06")
    if end >= 0 and content.rfind(b"PK\x01\x02", 0, end) >= 0:
        raise _refused(media_type, "it holds a zip archive")
    edges = content[:_EDGE] + content[-_EDGE:]
    if media_type != "application/pdf" and b"%PDF-" in content[:1024]:
        raise _refused(media_type, "it holds a PDF")
    if _MARKUP.search(edges):
        raise _refused(media_type, "it holds a script or a page")


def _fits(kind: str, width: int, height: int) -> None:
    if not (0 < width <= MOST_SIDE and 0 < height <= MOST_SIDE and width * height <= MOST_PIXELS):
        raise _refused(
            kind,
            f"{width} x {height} pixels are not within {MOST_SIDE} a side and"
            f" {MOST_PIXELS // 1_000_000} million in all",
        )


def _jpeg(content: bytes) -> None:
    """One JPEG, or several one after another as phones write them (CIPA DC-007)."""
    at = 0
    while content[at : at + 3] == b"\xff\xd8\xff":
        at = _jpeg_end(content, at + 2)
    if content[at:].strip(b"\0"):
        raise _refused("a JPEG", f"{len(content) - at} bytes follow its end")


def _jpeg_end(content: bytes, at: int) -> int:
    """Where the picture ends whose segments begin at `at` (ITU T.81, annex B)."""
    sized = False
    for _ in range(MOST_CHUNKS):
        while content[at : at + 2] == b"\xff\xff":
            at += 1
        marker = content[at : at + 2]
        if len(marker) < 2 or marker[0] != 0xFF:
            break
        if marker[1] == 0xD9:
            if not sized:
                break
            return at + 2
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        if length < 2 or at + 2 + length > len(content):
            break
        if 0xC0 <= marker[1] <= 0xCF and marker[1] not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", content[at + 5 : at + 9])
            _fits("a JPEG", width, height)
            sized = True
        at += 2 + length
        if marker[1] == 0xDA:
            found = _ENTROPY_ENDS.search(content, at)
            if found is None:
                break
            at = found.start()
    raise _refused("a JPEG", "its segments do not lead to its end")


def _png(content: bytes) -> None:
    """Chunks from IHDR to IEND, each with its check sum (ISO/IEC 15948)."""
    at = 8
    for nth in range(MOST_CHUNKS):
        head = content[at : at + 8]
        if len(head) < 8:
            break
        length, kind = struct.unpack(">I4s", head)
        end = at + 12 + length
        if end > len(content) or (nth == 0) is not (kind == b"IHDR" and length == 13):
            break
        body = content[at + 4 : end - 4]
        if zlib.crc32(body) != int.from_bytes(content[end - 4 : end], "big"):
            break
        if nth == 0:
            _fits("a PNG", *struct.unpack(">II", body[4:12]))
        if kind == b"IEND":
            if end != len(content):
                raise _refused("a PNG", f"{len(content) - end} bytes follow its end")
            return
        at = end
    raise _refused("a PNG", "its chunks do not lead to its end")


def _webp(content: bytes) -> None:
    """A RIFF container that ends where it says (RFC 9649)."""
    if int.from_bytes(content[4:8], "little") + 8 != len(content):
        raise _refused("a WebP", "it does not end where it says")
    at, kinds = 12, list[bytes]()
    while at < len(content) and len(kinds) < MOST_CHUNKS:
        kind, length = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        if not kinds:
            _fits("a WebP", *_webp_size(kind, content[at + 8 : at + 18]))
        kinds.append(kind)
        at += 8 + length + length % 2
    if at != len(content) or not {b"VP8 ", b"VP8L", b"ANMF"} & set(kinds):
        raise _refused("a WebP", "its chunks do not lead to its end")


def _webp_size(kind: bytes, body: bytes) -> tuple[int, int]:
    """Width and height of the first chunk; 0 where it has none."""
    if kind == b"VP8X" and len(body) == 10:
        wide, high = (int.from_bytes(body[at : at + 3], "little") for at in (4, 7))
        return wide + 1, high + 1
    if kind == b"VP8L" and body[:1] == b"\x2f":
        packed = int.from_bytes(body[1:5], "little")
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
        wide, high = struct.unpack("<HH", body[6:10])
        return wide & 0x3FFF, high & 0x3FFF
    return 0, 0


def _pdf(content: bytes) -> None:
    """A PDF that ends as one and does nothing when opened (ISO 32000-1, 7.5)."""
    tail = content[-1024:]
    end = tail.rfind(b"%%EOF")
    if end < 0 or tail[end + 5 :].strip(b"\r\n \t\0") or b"startxref" not in tail:
        raise _refused("a PDF", "it does not end as one")
    if _ACTIVE_PDF.search(content) or any(
        _ACTIVE_PDF.search(_ESCAPED.sub(lambda it: bytes([int(it[1], 16)]), name[0]) + b" ")
        for name in _NAME_ESCAPED.finditer(content)
    ):
        raise _refused("a PDF", "it holds scripts, programs or files of its own")


class _Reading(msgspec.Struct):
    observed_at: Annotated[datetime, msgspec.Meta(tz=True)]
    value: float | None


class _Listing(msgspec.Struct):
    items: Annotated[list[_Reading], msgspec.Meta(min_length=1)]


def _json_readings(content: bytes) -> None:
    """Readings as this API lists them, `{"items": [{"observed_at", "value"}]}`, or the list."""
    whole = bytes(content).removeprefix(b"\xef\xbb\xbf")
    shape = _Listing if whole.lstrip()[:1] == b"{" else list[_Reading]
    try:
        msgspec.json.decode(whole, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _refused("JSON", f"it is no list of readings: {error}") from error


def _csv_readings(content: bytes) -> None:
    """Readings as a table in UTF-8 with the columns `observed_at` and `value`, among others."""
    try:
        text = bytes(content).decode("utf-8-sig")
        if unfit := re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", text):
            raise ValueError(f"it holds the character {json.dumps(unfit[0])}")
        rows = csv.DictReader(io.StringIO(text, newline=""), strict=True, restval="")
        missing = {"observed_at", "value"} - set(rows.fieldnames or ())
        if missing:
            raise ValueError(f"it has no column {' and '.join(sorted(missing))}")
        for row in rows:
            if None in row:
                raise ValueError(f"line {rows.line_num} has more fields than the first")
            if datetime.fromisoformat(row["observed_at"]).tzinfo is None:
                raise ValueError(f"line {rows.line_num}: observed_at has no time zone")
            float(row["value"] or "nan")
    except (ValueError, csv.Error) as error:
        raise _refused("CSV", f"it is no table of readings: {error}") from error


Judge = Callable[[bytes], None]

MAGIC: Final[Mapping[str, tuple[tuple[tuple[int, bytes], ...], Judge]]] = {
    "image/jpeg": (((0, b"\xff\xd8\xff"),), _jpeg),
    "image/png": (((0, b"\x89PNG\r\n\x1a\n"),), _png),
    "image/webp": (((0, b"RIFF"), (8, b"WEBP")), _webp),
    "application/pdf": (((0, b"%PDF-"),), _pdf),
}
"""Kinds of file known by their first bytes (offset and content), and what judges the rest."""

MEDIA_TYPES: Final = (*MAGIC, "application/json", "text/csv")
