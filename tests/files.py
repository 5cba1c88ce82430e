"""Small whole files of the kinds that are taken as evidence, made by hand."""

import struct
import zlib


def jpeg(width: int = 4, height: int = 3, *, more: bytes = b"") -> bytes:
    """A grey picture of that size; `more` goes into a segment of its own."""
    frame = struct.pack(">BHHB3s", 8, height, width, 1, b"\x01\x11\x00")
    return b"".join(
        (
            b"\xff\xd8",
            _segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"),
            _segment(0xEF, more) if more else b"",
            _segment(0xC0, frame),
            _segment(0xDA, b"\x01\x01\0\0?\0") + b"\x12\xff\x00\x34",
            b"\xff\xd9",
        )
    )


def _segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def png(width: int = 4, height: int = 3, *, more: bytes = b"") -> bytes:
    """A grey picture; of a great size it says so, but holds nothing of it."""
    rows = b"".join(b"\0" + bytes(width) for _ in range(min(height, 8)))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))]
    chunks += [(b"teXt", more)] if more else []
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def webp(width: int = 4, height: int = 3) -> bytes:
    """A lossless picture, as far as its container and header go."""
    body = b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(5)
    chunk = b"VP8L" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk


def pdf(more: bytes = b"") -> bytes:
    """A page with nothing on it."""
    body = b"%PDF-1.4\n1 0 obj<</Type/Catalog" + more + b">>endobj\n"
    return body + b"trailer<</Root 1 0 R>>\nstartxref\n9\n%%EOF\n"


CSV = b"point,observed_at,value\r\nGD-1.lel,2026-11-22T01:00:00Z,12.5\r\n"
JSON = b'{"items": [{"observed_at": "2026-11-22T01:00:00Z", "value": null}], "next_cursor": null}'
