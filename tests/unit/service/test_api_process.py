"""What an api process brings along: secrets, log lines, the figures of all processes."""

import base64
import hashlib
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import bcrypt
import pytest

from hazardloop.service import metrics_folder
from hazardloop.service.gateway_secret import hashed, new_gateway_secret
from hazardloop.service.logs import LineFormatter
from hazardloop.service.passwords import Passwords, hash_password
from tests.faults.disk import SmallDisk, may_mount


def test_two_secrets_differ_and_neither_hash_holds_the_secret() -> None:
    one, two = new_gateway_secret(), new_gateway_secret()
    assert one.password != two.password
    assert one.password not in one.bcrypt + one.pbkdf2
    assert one.bcrypt.startswith("$2b$04$")
    assert bcrypt.checkpw(one.password.encode(), one.bcrypt.encode())


def test_mosquitto_s_form_is_pbkdf2_of_sha512() -> None:
    secret = hashed("geheim")
    empty, form, rounds, salt, digest = secret.pbkdf2.split("$")
    assert (empty, form, rounds) == ("", "7", "101")
    expected = hashlib.pbkdf2_hmac("sha512", b"geheim", base64.b64decode(salt), 101)
    assert base64.b64decode(digest) == expected


async def test_a_password_matches_its_own_hash_only() -> None:
    passwords = Passwords()
    stored = hash_password("correct horse 9")
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await passwords.matches(stored, "correct horse 9")
    assert not await passwords.matches(stored, "correct horse 8")
    assert not await passwords.matches(None, "correct horse 9")
    assert not await passwords.matches("no hash at all", "correct horse 9")


def line(event: str, **fields: object) -> str:
    """What is logged, after its time."""
    record = logging.makeLogRecord(
        {"msg": event, "levelname": "INFO", "created": 1795309323.1234, **fields}
    )
    return LineFormatter("worker").format(record)


def test_a_log_line_is_time_level_process_event_and_fields() -> None:
    assert line("batch stored", readings=5, lag_ms=1.5) == (
        "2026-11-22T01:02:03.123Z INFO worker batch stored readings=5 lag_ms=1.5"
    )


@pytest.mark.parametrize("value", ["two\nlines", 'a "quote"', "", "a=b", "\x1b[31m"])
def test_a_value_from_outside_cannot_forge_a_line_or_a_field(value: str) -> None:
    told = line("refused", topic=value)
    assert "\n" not in told
    assert "\x1b" not in told
    assert json.loads(told.partition("topic=")[2]) == value


CHILD = """
import os, sys
from pathlib import Path
from hazardloop.service import metrics_folder
metrics_folder.prepare(Path(sys.argv[1]))
from hazardloop.service import metrics
if sys.argv[2] == "count":
    metrics.READINGS_STORED.inc(5)
    metrics.SPOOL_BYTES.set(7)
    metrics.READINGS_REJECTED.labels("not_json").inc()
else:
    sys.stdout.write(metrics.exposition([]).decode())
"""


def child(home: Path, what: str) -> str:
    """What another process says."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(home), what], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_one_process_shows_what_others_counted_and_ended_ones_hold_no_gauge(
    tmp_path: Path,
) -> None:
    for _ in range(2):
        child(tmp_path, "count")
    shown = child(tmp_path, "show")
    assert "hazardloop_readings_stored_total 10.0" in shown
    assert 'hazardloop_readings_rejected_total{reason="not_json"} 2.0' in shown
    assert "hazardloop_spool_bytes 7" not in shown


def test_a_disk_without_room_ends_no_process(tmp_path: Path) -> None:
    """The files are memory-mapped: a page without room is SIGBUS."""
    if not may_mount(tmp_path):
        pytest.skip("a disk that can be filled is a tmpfs of our own, and we may not mount one")
    with SmallDisk(tmp_path / "disk", 1) as disk:
        disk.fill()
        child(disk.path, "count")
        disk.free()
        child(disk.path, "count")
        assert "hazardloop_readings_stored_total 5.0" in child(disk.path, "show")


def test_only_so_many_files_of_ended_processes_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_folder, "MOST_LEFT_BEHIND", 2)
    names = [f"counter_{2**22 + number}.db" for number in range(4)]  # beyond any process id
    for age, name in enumerate(names):
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (age, age))
    own = tmp_path / f"counter_{os.getpid()}.db"
    own.write_bytes(b"")
    metrics_folder.forget_ended(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {*names[2:], own.name}
