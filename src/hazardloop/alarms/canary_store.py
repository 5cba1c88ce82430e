"""Alarms of the canary in PostgreSQL: what was recorded, and what an api met in the live list."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias
from uuid import UUID

from psycopg import AsyncConnection

Connection: TypeAlias = AsyncConnection[tuple[Any, ...]]

RECORD: Final = """
    INSERT INTO canary_alarm (alarm_id, raised_at)
    SELECT * FROM unnest(%(alarm_id)s::uuid[], %(raised_at)s::timestamptz[])
    ON CONFLICT DO NOTHING RETURNING alarm_id"""

NOTE_SHOWN: Final = """
    UPDATE canary_alarm SET shown_at = clock_timestamp()
     WHERE alarm_id = ANY (%(alarm_ids)s) AND shown_at IS NULL"""


async def record(connection: Connection, raised_at: Mapping[UUID, datetime]) -> list[UUID]:
    """Those that are new, by when they were raised."""
    if not raised_at:
        return []
    columns = {"alarm_id": list(raised_at), "raised_at": list(raised_at.values())}
    return [row[0] for row in await (await connection.execute(RECORD, columns)).fetchall()]


async def note_shown(connection: Connection, alarm_ids: Sequence[UUID]) -> None:
    """Those of these that are canaries have reached a live list."""
    await connection.execute(NOTE_SHOWN, {"alarm_ids": list(alarm_ids)})
