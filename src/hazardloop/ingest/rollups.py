"""The sums of readings by minute and by hour: kept complete, repaired when readings come late.

What the functions do depends on the store; that they are there does not (migration 0006).
"""

from datetime import datetime
from typing import Any, Final, TypeAlias

import numpy as np
from psycopg import AsyncConnection

from hazardloop.devices.instants import utc
from hazardloop.devices.readings import Readings, Rows

Connection: TypeAlias = AsyncConnection[tuple[Any, ...]]

HOUR_US: Final = 3_600_000_000

LATE_BEFORE: Final = "SELECT reading_late_before()"

NOTE_LATE: Final = "SELECT note_late_readings(%(points)s::int[], %(hours)s::timestamptz[])"

ROLL: Final = "CALL roll_readings()"

TEND: Final = "SELECT tend_readings(%(raw_days)s, %(minute_days)s, %(hour_days)s)"


async def late_before(connection: Connection) -> int:
    """Before which instant (us) a reading that this transaction stores is late for the sums."""
    row = await (await connection.execute(LATE_BEFORE)).fetchone()
    assert row is not None  # a SELECT of one value
    return int(row[0])


async def note_late(
    connection: Connection, readings: Readings, point_id: Rows, late_before_us: int
) -> None:
    """Tells the sums which of their hours the just stored readings changed.

    In the transaction that stores them: an hour is summed up when it has ended, or is noted here.

    Args:
        connection: in that transaction.
        readings: those stored.
        point_id: (rows of the registry,) the id of each dense row.
        late_before_us: what `late_before` said in the same transaction.
    """
    late = readings.observed_at < late_before_us
    if late.any():
        points, hours = late_hours(readings.take(late), point_id)
        await connection.execute(NOTE_LATE, {"points": points, "hours": hours})


def late_hours(readings: Readings, point_id: Rows) -> tuple[list[int], list[datetime]]:
    """Each point with each hour in which it has a reading, once."""
    pairs = np.stack([point_id[readings.row], readings.observed_at // HOUR_US])
    points, hours = np.unique(pairs, axis=1)
    return points.tolist(), [utc(hour * HOUR_US) for hour in hours.tolist()]


async def roll(connection: Connection) -> None:
    """Sums up what is whole by now, and anew what was late; commits as it goes.

    Outside any transaction. Where another clerk is at it, nothing is done.
    """
    await connection.execute(ROLL)


async def tend(connection: Connection, *, raw_days: int, minute_days: int, hour_days: int) -> int:
    """How many parts of readings and sums were dropped, now that they had their days."""
    days = {"raw_days": raw_days, "minute_days": minute_days, "hour_days": hour_days}
    row = await (await connection.execute(TEND, days)).fetchone()
    assert row is not None  # a SELECT of one value
    return int(row[0])
