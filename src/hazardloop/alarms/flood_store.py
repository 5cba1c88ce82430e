"""Floods at the centre's desk: written down as they begin, go on and end, and noted afterwards.

Judged again and again by the clerk from the alarms themselves, so one that nobody watched is made
up for, with the times it had.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import numpy as np
from psycopg.rows import dict_row

from hazardloop.alarms import ledger_store
from hazardloop.alarms.case_store import Connection
from hazardloop.alarms.health import BEGINNING, TEN_MINUTES_US, Flood, floods
from hazardloop.alarms.ledger_store import Act
from hazardloop.devices.instants import microseconds_of, utc

SUBJECT: Final = "flood"
BEGAN: Final = "began"
ENDED: Final = "ended"
NOTED: Final = "noted"

# Another clerk that comes meanwhile leaves this round to us.
STANDING: Final = """
    SELECT w.judged_until, f.flood_id, f.began_at, f.ended_at, f.seats,
           (SELECT count(*) FROM shift JOIN roster USING (shift_id)
             WHERE starts_at <= %(now)s AND ends_at > %(now)s AND post = 'operator') AS operators
      FROM flood_watch w LEFT JOIN LATERAL (SELECT * FROM alarm_flood
                                             ORDER BY began_at DESC LIMIT 1) f ON true
       FOR UPDATE OF w SKIP LOCKED"""
HEARD: Final = """
    FROM alarm a JOIN enterprise e USING (enterprise_id)
   WHERE NOT a.drill AND NOT a.found_late AND NOT e.internal
     AND a.raised_at > %(after)s AND a.raised_at <= %(upto)s"""
RAISES: Final = f"""
    SELECT a.alarm_id, (extract(epoch FROM a.raised_at) * 1e6)::bigint {HEARD}
     ORDER BY a.raised_at, a.alarm_id"""
BEGIN: Final = """
    INSERT INTO alarm_flood (began_at, ended_at, seats, alarms, peak, first_out)
    VALUES (%(began_at)s, %(ended_at)s, %(seats)s, %(alarms)s, %(peak)s, %(first_out)s)
    RETURNING *"""
GO_ON: Final = f"""
    UPDATE alarm_flood SET ended_at = %(ended_at)s, peak = greatest(peak, %(peak)s),
           alarms = (SELECT count(*) {HEARD})
     WHERE flood_id = %(flood_id)s RETURNING *"""
JUDGED: Final = "UPDATE flood_watch SET judged_until = %s"
NOW: Final = "SELECT * FROM alarm_flood WHERE ended_at IS NULL"
NOTE: Final = """
    UPDATE alarm_flood SET note = %(note)s, noted_by = %(by)s, noted_at = %(now)s
     WHERE flood_id = %(flood_id)s AND note IS NULL AND ended_at IS NOT NULL RETURNING *"""
KEPT: Final = "SELECT * FROM alarm_flood WHERE flood_id = %(flood_id)s"


@dataclass(frozen=True, slots=True)
class _Watch:
    """From where on raises are judged now, and what stood there."""

    since_us: int
    seats: int
    flood_id: int | None
    """Of the flood that goes on; None: there is none."""
    began_at: datetime | None


def _watch(row: dict[str, Any], now: datetime) -> _Watch:
    """The last ten minutes are judged anew each time: a raise may be recorded late."""
    judged = microseconds_of(row["judged_until"] or now) - TEN_MINUTES_US
    goes_on = row["flood_id"] is not None and row["ended_at"] is None
    edge = row["began_at"] if goes_on else row["ended_at"]
    return _Watch(
        max(judged, BEGINNING if edge is None else microseconds_of(edge)),
        row["seats"] if goes_on else max(1, row["operators"]),
        row["flood_id"] if goes_on else None,
        row["began_at"],
    )


async def tend(conn: Connection, now: datetime) -> int:
    """How many floods began or ended since the last look; a line of the ledger for each."""
    async with conn.transaction(), conn.cursor(row_factory=dict_row) as cursor:
        row = await (await cursor.execute(STANDING, {"now": now})).fetchone()
        if row is None:
            return 0
        watch = _watch(row, now)
        found = {"after": utc(watch.since_us - TEN_MINUTES_US), "upto": now}
        raises = await (await conn.execute(RAISES, found)).fetchall()
        raised_us = np.array([raised for _, raised in raises], np.int64)
        told = floods(
            raised_us, microseconds_of(now) + 1, watch.seats,
            since_us=watch.since_us, flooded=watch.flood_id is not None,
        )  # fmt: skip
        acts = []
        if watch.flood_id is not None:
            continued = told.pop(0) if told and told[0].from_us == watch.since_us else None
            acts += await _go_on(conn, watch, continued, now)
        for one in told:
            acts += await _begin(conn, one, watch.seats, raises[one.first_out][0], now)
        await ledger_store.note_acts(conn, acts)
        await conn.execute(JUDGED, [now])
    return len(acts)


async def _go_on(conn: Connection, watch: _Watch, flood: Flood | None, now: datetime) -> list[Act]:
    assert watch.began_at is not None
    since = microseconds_of(watch.began_at) - TEN_MINUTES_US
    over = flood is None or flood.over
    until = now if flood is None else utc(flood.to_us)
    row = await _written(
        conn,
        GO_ON,
        {
            "flood_id": watch.flood_id,
            "ended_at": until if over else None,
            "peak": flood.peak if flood else 0,
            "after": utc(since),
            "upto": until,
        },
    )
    return [_act(row, ENDED, now)] if over else []


async def _begin(
    conn: Connection, flood: Flood, seats: int, first_out: UUID, now: datetime
) -> list[Act]:
    values = {
        "began_at": utc(flood.from_us),
        "ended_at": utc(flood.to_us) if flood.over else None,
        "seats": seats,
        "alarms": flood.alarms,
        "peak": flood.peak,
        "first_out": first_out,
    }
    row = await _written(conn, BEGIN, values)
    return [_act(row, BEGAN, now)] + ([_act(row, ENDED, now)] if flood.over else [])


async def _written(conn: Connection, query: str, values: dict[str, Any]) -> dict[str, Any]:
    async with conn.cursor(row_factory=dict_row) as cursor:
        row = await (await cursor.execute(query, values)).fetchone()
    assert row is not None
    return row


def _act(row: dict[str, Any], action: str, now: datetime) -> Act:
    body = {
        "began_at": row["began_at"].isoformat(),
        "ended_at": row["ended_at"].isoformat() if action == ENDED else None,
        "seats": row["seats"],
        "alarms": row["alarms"],
        "peak": row["peak"],
        "first_out": str(row["first_out"]),
    }
    return Act(SUBJECT, str(row["flood_id"]), action, "system", "system", now, None, body)


async def standing(conn: Connection) -> dict[str, Any] | None:
    """The flood that goes on; None where there is none, or the asker may not see it."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        return await (await cursor.execute(NOW)).fetchone()


async def kept(conn: Connection, flood_id: int) -> dict[str, Any] | None:
    """That flood; None: there is none."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        return await (await cursor.execute(KEPT, {"flood_id": flood_id})).fetchone()


async def note(
    conn: Connection, flood_id: int, text: str, actor: tuple[str, str], now: datetime
) -> dict[str, Any] | None:
    """The flood with what `actor` (name, role) said of it; None: it goes on or has a note."""
    values = {"flood_id": flood_id, "note": text, "by": actor[0], "now": now}
    async with conn.cursor(row_factory=dict_row) as cursor:
        row = await (await cursor.execute(NOTE, values)).fetchone()
    if row is not None:
        await ledger_store.note_act(conn, Act(SUBJECT, str(flood_id), NOTED, *actor, now, text, {}))
    return row
