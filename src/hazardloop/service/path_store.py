"""The row of the watch over the path: who of the clerks watches, and what was found."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from hazardloop.alarms.path import Leg
from hazardloop.devices.instants import rfc3339
from hazardloop.service.database import Connection

# The canaries' own times are the watcher's clock; who holds the watch is judged by the database's.
LOOK: Final = """
    WITH held AS (
        UPDATE path_watch
           SET holder = %(holder)s, looked_at = clock_timestamp(),
               held_until = clock_timestamp() + %(lease_s)s * interval '1 s',
               arrived_at = greatest(arrived_at, %(arrived_at)s)
         WHERE holder = %(holder)s OR held_until < clock_timestamp()
        RETURNING broken_since, broken_legs
    )
    SELECT broken_since, broken_legs, (SELECT max(raised_at) FROM canary_alarm),
           (SELECT max(raised_at) FROM canary_alarm WHERE shown_at IS NOT NULL)
      FROM held"""

LET_GO: Final = "UPDATE path_watch SET held_until = '-infinity' WHERE holder = %(holder)s"

BREAK: Final = """
    UPDATE path_watch SET broken_since = %(now)s, broken_legs = %(legs)s
     WHERE holder = %(holder)s AND broken_since IS NULL RETURNING 1"""
NAME_LEGS: Final = """
    UPDATE path_watch SET broken_legs = %(legs)s
     WHERE holder = %(holder)s AND broken_since IS NOT NULL AND broken_legs <> %(legs)s"""
NOTE_ALARM: Final = "UPDATE path_watch SET alarm_id = %(alarm_id)s"
BROKEN: Final = """
    SELECT broken_since, alarm_id FROM path_watch
     WHERE holder = %(holder)s AND broken_since IS NOT NULL FOR UPDATE"""
MEND: Final = "UPDATE path_watch SET broken_since = NULL, broken_legs = '{}', alarm_id = NULL"

STANDING: Final = """
    SELECT extract(epoch FROM clock_timestamp() - looked_at)::float8, arrived_at, broken_since,
           broken_legs, extract(epoch FROM clock_timestamp() - arrived_at)::float8
      FROM path_watch"""


@dataclass(frozen=True, slots=True)
class Look:
    """What the database says to who holds the watch."""

    broken_since: datetime | None
    broken_legs: tuple[Leg, ...]
    recorded_at: datetime | None
    """Own time of the newest canary that was recorded."""
    shown_at: datetime | None
    """Of the newest that reached a live list."""


async def look(
    conn: Connection, holder: str, lease_s: float, arrived_at: datetime | None
) -> Look | None:
    """What there is to see, with the watch held for so long; None: another clerk holds it."""
    asked = {"holder": holder, "lease_s": lease_s, "arrived_at": arrived_at}
    row = await (await conn.execute(LOOK, asked)).fetchone()
    return None if row is None else Look(row[0], tuple(map(Leg, row[1])), row[2], row[3])


async def break_(conn: Connection, holder: str, legs: Sequence[Leg], now: datetime) -> bool:
    """Whether the outage that is noted now is new, and the watch ours."""
    asked = {"holder": holder, "legs": list(legs), "now": now}
    return await (await conn.execute(BREAK, asked)).fetchone() is not None


async def name_legs(conn: Connection, holder: str, legs: Sequence[Leg]) -> None:
    """How far canaries do not come by now."""
    await conn.execute(NAME_LEGS, {"holder": holder, "legs": list(legs)})


async def note_alarm(conn: Connection, alarm_id: UUID) -> None:
    """Which alarm stands for the outage."""
    await conn.execute(NOTE_ALARM, {"alarm_id": alarm_id})


async def mend(conn: Connection, holder: str) -> tuple[datetime, UUID] | None:
    """Since when there was an outage, and its alarm, now that it is noted as over; None: there was
    none, or the watch is another's.
    """
    row = await (await conn.execute(BROKEN, {"holder": holder})).fetchone()
    if row is None:
        return None
    await conn.execute(MEND)
    return row[0], row[1]


@dataclass(frozen=True, slots=True)
class Standing:
    """How the path stands, for whoever asks."""

    looked_s: float | None
    """How long ago a clerk looked; None: none ever has."""
    arrived_at: datetime | None
    """When the newest canary that went the whole way was sent."""
    broken_since: datetime | None
    broken_legs: tuple[Leg, ...]
    age_s: float | None
    """How long ago that canary was sent, by the database's clock."""

    def is_fine(self, within_s: float) -> bool:
        """Whether nothing is wrong with it, as far as anybody knows."""
        return self.in_words(within_s).startswith("ok")

    def in_words(self, within_s: float) -> str:
        """`ok`, `ok: …` with something to know, or what is wrong."""
        if self.looked_s is None:
            return "ok: no clerk has watched it yet"
        if self.looked_s > within_s:
            return f"not watched for {self.looked_s:.0f} s: start a clerk"
        if self.broken_since is not None:
            legs = ", ".join(f"not {leg}" for leg in self.broken_legs)
            return f"broken since {rfc3339(self.broken_since)}: canaries are {legs}"
        return "ok" if self.arrived_at else "ok: no canary has arrived yet"


async def standing(conn: Connection) -> Standing:
    """How the path stands now."""
    row = await (await conn.execute(STANDING)).fetchone()
    assert row is not None  # the migration puts it there
    return Standing(row[0], row[1], row[2], tuple(map(Leg, row[3])), row[4])


async def let_go(conn: Connection, holder: str) -> None:
    """Another clerk may watch at once."""
    await conn.execute(LET_GO, {"holder": holder})
