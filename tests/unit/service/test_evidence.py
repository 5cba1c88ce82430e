"""Files of evidence: kept once, found by their hash, given back only as they were."""

import hashlib
import io
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hazardloop.service import evidence
from hazardloop.service.api.uploads import plain_name
from hazardloop.service.errors import (
    EvidenceAbsent,
    EvidenceAway,
    EvidenceDamaged,
    FileKindRefused,
    FileTooLarge,
)
from hazardloop.service.evidence import Shelf, shelf_of
from hazardloop.service.settings import Settings
from tests.files import png

PNG = png()


class FakeBucket(BaseHTTPRequestHandler):
    """As much of an S3 service as evidence needs; whoever does not sign is refused."""

    objects: dict[str, bytes]
    signed: list[str]

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self._admitted():
            self.objects[self.path.partition("?")[0]] = content
            self._answer(200, b"", ETag='"x"')

    def do_GET(self) -> None:
        if self._admitted():
            content = self.objects.get(self.path.partition("?")[0])
            if content is None:
                self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            else:
                self._answer(200, content, **{"ETag": '"x"', "Last-Modified": WHEN})

    def _admitted(self) -> bool:
        proof = self.headers.get("Authorization", "")
        self.signed.append(proof)
        if not proof.startswith("AWS4-HMAC-SHA256 Credential=key/"):
            self._answer(403, b"<Error><Code>AccessDenied</Code></Error>")
            return False
        return True

    def _answer(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *said: object) -> None:
        pass


WHEN = "Sun, 22 Nov 2026 01:00:00 GMT"


@pytest.fixture
def bucket() -> Iterator[tuple[Settings, dict[str, bytes]]]:
    """Settings for a bucket, and its objects by path."""

    class Own(FakeBucket):
        objects: dict[str, bytes] = {}  # noqa: RUF012
        signed: list[str] = []  # noqa: RUF012

    server = ThreadingHTTPServer(("127.0.0.1", 0), Own)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield (
        Settings(
            evidence_store="s3://proofs/county",
            evidence_s3_endpoint=f"http://127.0.0.1:{server.server_port}",
            evidence_s3_access_key="key",
            evidence_s3_secret_key="secret",
        ),
        Own.objects,
    )
    server.shutdown()
    serving.join()
    server.server_close()


@pytest.fixture(params=["directory", "bucket"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Shelf:
    if request.param == "directory":
        return shelf_of(Settings(home=tmp_path / "home"))
    settings, _ = request.getfixturevalue("bucket")
    return shelf_of(settings)


def test_a_kept_file_comes_back_as_it_was(shelf: Shelf, tmp_path: Path) -> None:
    kept = evidence.keep(shelf, tmp_path / "in", io.BytesIO(PNG))
    again = evidence.keep(shelf, tmp_path / "in", io.BytesIO(PNG))
    assert kept == again
    assert (kept.sha256, kept.size_bytes) == (hashlib.sha256(PNG).digest(), len(PNG))
    assert kept.media_type == "image/png"
    with evidence.verified(shelf, kept.sha256) as file:
        assert file.read() == PNG
    assert list((tmp_path / "in").iterdir()) == []


def test_a_file_that_is_not_there_is_said_to_be(shelf: Shelf) -> None:
    with pytest.raises(EvidenceAbsent):
        evidence.verified(shelf, bytes(32))


def test_a_directory_is_readable_by_the_service_only_and_keeps_a_content_once(
    tmp_path: Path,
) -> None:
    shelf, folder = shelf_of(Settings(home=tmp_path)), tmp_path / "evidence"
    for _ in range(2):
        kept = evidence.keep(shelf, folder, io.BytesIO(PNG))
    (path,) = [path for path in folder.rglob("*") if path.is_file()]
    assert path == folder / evidence.name_of(kept.sha256)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_file_that_was_changed_is_not_given_out(tmp_path: Path) -> None:
    shelf, folder = shelf_of(Settings(home=tmp_path)), tmp_path / "evidence"
    kept = evidence.keep(shelf, folder, io.BytesIO(PNG))
    (folder / evidence.name_of(kept.sha256)).write_bytes(png(5, 5))
    with pytest.raises(EvidenceDamaged, match="hash differs"):
        evidence.verified(shelf, kept.sha256)


def test_an_object_is_signed_for_and_a_changed_one_is_not_given_out(
    bucket: tuple[Settings, dict[str, bytes]], tmp_path: Path
) -> None:
    settings, objects = bucket
    kept = evidence.keep(shelf_of(settings), tmp_path, io.BytesIO(PNG))
    (path,) = objects
    assert path == f"/proofs/county/{evidence.name_of(kept.sha256)}"
    objects[path] = png(5, 5)
    with pytest.raises(EvidenceDamaged, match="hash differs"):
        evidence.verified(shelf_of(settings), kept.sha256)
    stranger = settings.model_copy(update={"evidence_s3_access_key": "other"})
    with pytest.raises(EvidenceAway, match="does not answer"):
        evidence.keep(shelf_of(stranger), tmp_path, io.BytesIO(PNG))


def test_a_file_of_the_greatest_size_is_kept_and_one_byte_more_is_not(tmp_path: Path) -> None:
    shelf = shelf_of(Settings(home=tmp_path))
    row = b"point,observed_at,value,note\r\nx,2026-11-22T01:00:00Z,1,"
    largest = row + b"x" * 100_000 + b"\r\n"
    line = row.split(b"\n")[1] + b"x" * 100_000 + b"\r\n"
    while len(largest) + len(line) <= evidence.MOST_BYTES:
        largest += line
    largest += b"x,2026-11-22T01:00:00Z,1,"
    largest += b"x" * (evidence.MOST_BYTES - len(largest))
    kept = evidence.keep(shelf, tmp_path, io.BytesIO(largest))
    assert (kept.size_bytes, kept.media_type) == (evidence.MOST_BYTES, "text/csv")
    with pytest.raises(FileTooLarge, match="20 MiB"):
        evidence.keep(shelf, tmp_path, io.BytesIO(largest + b"x"))


def test_what_is_refused_leaves_nothing(tmp_path: Path) -> None:
    for content in (b"<svg/>", b""):
        with pytest.raises(FileKindRefused, match="JPEG, PNG, WebP, PDF"):
            evidence.keep(shelf_of(Settings(home=tmp_path)), tmp_path, io.BytesIO(content))
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
