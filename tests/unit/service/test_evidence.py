"""Files of evidence: judged by content, kept once, bounded."""

import hashlib
import io
import stat
from pathlib import Path

import pytest

from hazardloop.service import evidence
from hazardloop.service.api.uploads import plain_name
from hazardloop.service.errors import FileKindRefused, FileTooLarge

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 100


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
        (PNG, "image/png"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp"),
        (b"%PDF-1.7\n", "application/pdf"),
        pytest.param(b"RIFF\x24\0\0\0WAVEfmt ", None, id="a sound in the same container"),
        pytest.param(b"<svg onload=alert(1)>", None, id="a picture that runs scripts"),
        pytest.param(b"MZ\x90\0", None, id="a program"),
        pytest.param(b"PK\x03\x04", None, id="an archive"),
        pytest.param(b" %PDF-1.7", None, id="a PDF that does not begin as one"),
        pytest.param(b"\xff\xd8", None, id="a cut beginning"),
        pytest.param(b"", None, id="nothing"),
    ],
)
def test_the_kind_of_a_file_is_in_its_first_bytes(head: bytes, media_type: str | None) -> None:
    assert evidence.media_type_of(head) == media_type


def test_a_kept_file_is_found_by_its_hash_and_readable_by_the_service_only(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "evidence"
    kept = evidence.keep(folder, io.BytesIO(PNG))
    path = evidence.path_of(folder, kept.sha256)
    assert path.read_bytes() == PNG
    assert (kept.sha256, kept.size_bytes) == (hashlib.sha256(PNG).digest(), len(PNG))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_same_content_is_one_file(tmp_path: Path) -> None:
    for _ in range(2):
        evidence.keep(tmp_path, io.BytesIO(PNG))
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_a_file_of_the_greatest_size_is_kept_and_one_byte_more_is_not(tmp_path: Path) -> None:
    largest = PNG + bytes(evidence.MOST_BYTES - len(PNG))
    assert evidence.keep(tmp_path, io.BytesIO(largest)).size_bytes == evidence.MOST_BYTES
    with pytest.raises(FileTooLarge, match="20 MiB"):
        evidence.keep(tmp_path, io.BytesIO(largest + b"\0"))
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_what_is_refused_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileKindRefused, match="JPEG, PNG, WebP, PDF"):
        evidence.keep(tmp_path, io.BytesIO(b"<svg/>"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("阀门.jpg", "阀门.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\x\\a.png", "a.png"),
        ("a\r\nSet-Cookie: x", "aSet-Cookie: x"),
        ("gpj.\u202eexe", "gpj.exe"),
        ("x" * 300 + ".pdf", "x" * 196 + ".pdf"),
        ("/", "evidence"),
        (None, "evidence"),
    ],
)
def test_a_file_name_is_only_a_name(sent: str | None, kept: str) -> None:
    assert plain_name(sent) == kept
