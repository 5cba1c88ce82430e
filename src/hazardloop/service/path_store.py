"""The row of the watch over the path: who of the clerks watches, and what was found."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from hazardloop.service.database import Connection

# The canaries' own times are the watcher's clock; who holds the watch is judged by the database's.
LOOK: Final = """
    WITH held AS (
        UPDATE path_watch
           SET holder = %(holder)s, looked_at = clock_timestamp(),
               held_until = clock_timestamp() + %(lease_s)s * interval '1 s',
               arrived_at = greatest(arrived_at, %(arrived_at)s)
         WHERE holder = %(holder)s OR held_until < clock_timestamp()
        RETURNING broken_since
    )
    SELECT broken_since, (SELECT max(raised_at) FROM canary_alarm),
           (SELECT max(raised_at) FROM canary_alarm WHERE shown_at IS NOT NULL)
      FROM held"""

LET_GO: Final = "UPDATE path_watch SET held_until = '-infinity' WHERE holder = %(holder)s"

ARRIVED: Final = "SELECT arrived_at FROM path_watch"


@dataclass(frozen=True, slots=True)
class Look:
    """What the database says to who holds the watch."""

    broken_since: datetime | None
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
    return None if row is None else Look(*row)


async def let_go(conn: Connection, holder: str) -> None:
    """Another clerk may watch at once."""
    await conn.execute(LET_GO, {"holder": holder})


async def arrived_at(conn: Connection) -> datetime | None:
    """Own time of the newest canary that went the whole way; None: none has."""
    row = await (await conn.execute(ARRIVED)).fetchone()
    found: datetime | None = row[0] if row else None
    return found
