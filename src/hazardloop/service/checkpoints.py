"""Signed word of where the ledger stands, kept where the database's administrator is not.

The clerk writes one every few minutes and, as its anchor, one for each day that has ended: into the
database, from where the api hands them to whoever wants to keep them, and into a folder.
"""

import json
import os
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from psycopg.rows import dict_row

from hazardloop.alarms import ledger_reading
from hazardloop.alarms.ledger import BEGINNING, Checkpoint, Head, objections, sign
from hazardloop.alarms.ledger_reading import Reader
from hazardloop.service.embedded.templates import write_private
from hazardloop.service.settings import Settings

FILE: Final = "checkpoints.jsonl"
PUBLIC_KEY: Final = "public-key"
EVERY_S: Final = 240.0
"""Less than the five minutes that are promised."""

ONE_AT_A_TIME: Final = "SELECT pg_advisory_xact_lock(hashtext('hazardloop.checkpoint'))"

RECORDED: Final = """
    SELECT position, hash, made_at, day, key, signature FROM ledger_checkpoint
     ORDER BY checkpoint_id"""


ANCHORED: Final = "SELECT max(day) FROM ledger_checkpoint"

RECORD: Final = """
    INSERT INTO ledger_checkpoint (position, hash, made_at, day, key, signature)
    VALUES (%(position)s, %(hash)s, %(made_at)s, %(day)s, %(key)s, %(signature)s)"""


def signing_key(settings: Settings) -> Ed25519PrivateKey:
    """The key of this home, made at its first use; its public part lies beside the checkpoints."""
    file = settings.home / "secrets" / "ledger-key"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(file, Ed25519PrivateKey.generate().private_bytes_raw().hex())
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(file.read_text()))
    public = folder(settings) / PUBLIC_KEY
    if not public.exists():
        public.parent.mkdir(parents=True, exist_ok=True)
        public.write_text(key.public_key().public_bytes_raw().hex() + "\n")
    return key


def public_key(settings: Settings) -> bytes | None:
    """Of who signs in this home; None where there is none yet."""
    file = folder(settings) / PUBLIC_KEY
    return bytes.fromhex(file.read_text()) if file.exists() else None


def folder(settings: Settings) -> Path:
    """Where checkpoints are written."""
    return settings.ledger_dir or settings.home / "ledger"


def kept(settings: Settings) -> list[Checkpoint]:
    """Those in the folder."""
    file = folder(settings) / FILE
    if not file.exists():
        return []
    lines = file.read_text(encoding="utf-8").splitlines()
    return [Checkpoint.read(json.loads(line)) for line in lines]


def recorded(conn: Reader) -> list[Checkpoint]:
    """Those in the database."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return [Checkpoint(**row) for row in cursor.execute(RECORDED)]


def make(conn: Reader, settings: Settings, now: datetime) -> list[str]:
    """Signs where the ledger stands at `now`; instead what is wrong, if it is not whole since last.

    Raises ChainBroken: lines that came since do not follow on one another.
    """
    with conn.transaction():
        conn.execute(ONE_AT_A_TIME)
        earlier = kept(settings)[-1:]
        start = Head(earlier[0].position, earlier[0].hash) if earlier else BEGINNING
        end = ledger_reading.extent(conn).position
        met = {start.position: ledger_reading.hash_at(conn, start.position) or b""}
        if wrong := objections(earlier, met, Head(end, b""), public_key(settings)):
            return wrong
        head = ledger_reading.follow_chain(conn, start, end, {}, _silent)
        made = sign(head, now, _day_to_anchor(conn, settings, now), signing_key(settings))
        _append(folder(settings) / FILE, made)
        conn.execute(RECORD, {name: getattr(made, name) for name in Checkpoint.__slots__})
    return []


def _day_to_anchor(conn: Reader, settings: Settings, now: datetime) -> date | None:
    """Yesterday in the service's time zone, unless it has its anchor."""
    yesterday = now.astimezone(ZoneInfo(settings.tz)).date() - timedelta(days=1)
    row = conn.execute(ANCHORED).fetchone()
    newest = row[0] if row else None
    return yesterday if newest is None or newest < yesterday else None


def _append(file: Path, checkpoint: Checkpoint) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as opened:
        opened.write(json.dumps(checkpoint.document()) + "\n")
        opened.flush()
        os.fsync(opened.fileno())


def _silent(position: int) -> None:
    pass
