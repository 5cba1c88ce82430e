"""What is only ever added: lines of the ledger, files of evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from hazardloop.alarms.case_store import Connection


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger about a case."""

    case_id: UUID
    alarm_id: UUID
    revision: int
    action: str
    actor: str
    actor_role: str
    taken_at: datetime
    note: str | None
    body: Mapping[str, Any]


NOTE_ENTRY: Final = """
    INSERT INTO ledger (case_id, alarm_id, revision, action, actor, actor_role, taken_at, note,
                        body)
    VALUES (%(case_id)s, %(alarm_id)s, %(revision)s, %(action)s, %(actor)s, %(actor_role)s,
            %(taken_at)s, %(note)s, %(body)s)"""


async def note_entry(conn: Connection, entry: Entry) -> None:
    """Adds the line to the ledger, which gives nothing back and forgets nothing."""
    parameters = {name: getattr(entry, name) for name in Entry.__slots__}
    await conn.execute(NOTE_ENTRY, parameters | {"body": Jsonb(dict(entry.body))})


@dataclass(frozen=True, slots=True)
class Act:
    """One line of the ledger about anything but a case."""

    subject: str
    """What it is about: "rule", "user", "drill", "shift", "contact", "clock", ..."""
    subject_id: str
    action: str
    actor: str
    actor_role: str
    taken_at: datetime
    note: str | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    enterprise_id: int | None = None
    """Whose users may read it; None: nobody's."""


NOTE_ACT: Final = """
    INSERT INTO ledger (subject, subject_id, action, actor, actor_role, taken_at, note, body,
                        enterprise_id)
    VALUES (%(subject)s, %(subject_id)s, %(action)s, %(actor)s, %(actor_role)s, %(taken_at)s,
            %(note)s, %(body)s, %(enterprise_id)s)"""


async def note_act(conn: Connection, act: Act) -> None:
    """Adds the line to the ledger, in the transaction of what it tells."""
    await note_acts(conn, [act])


async def note_acts(conn: Connection, acts: Sequence[Act]) -> None:
    """Adds a line for each, in their order."""
    async with conn.cursor() as cursor:
        await cursor.executemany(
            NOTE_ACT,
            [
                {name: getattr(act, name) for name in Act.__slots__}
                | {"body": Jsonb(dict(act.body))}
                for act in acts
            ],
        )


@dataclass(frozen=True, slots=True)
class Evidence:
    """A file that shows what was found or done."""

    evidence_id: UUID
    case_id: UUID
    file_name: str
    media_type: str
    size_bytes: int
    sha256: bytes
    uploaded_by: str
    uploaded_at: datetime


ADD_EVIDENCE: Final = """
    INSERT INTO evidence (evidence_id, case_id, file_name, media_type, size_bytes, sha256,
                          uploaded_by, uploaded_at)
    VALUES (%(evidence_id)s, %(case_id)s, %(file_name)s, %(media_type)s, %(size_bytes)s,
            %(sha256)s, %(uploaded_by)s, %(uploaded_at)s)"""


async def add_evidence(conn: Connection, evidence: Evidence) -> None:
    """Keeps what is known of a file that is already on disk."""
    await conn.execute(ADD_EVIDENCE, {name: getattr(evidence, name) for name in Evidence.__slots__})
