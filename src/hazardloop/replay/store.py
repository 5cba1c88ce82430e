"""Readings out of the table as columns, and what people found of alarms."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from psycopg import AsyncConnection

from hazardloop.devices.instants import utc
from hazardloop.devices.readings import Readings, Rows, no_readings
from hazardloop.devices.registry import RowOf
from hazardloop.replay.comparing import Judged
from hazardloop.replay.episodes import STANDS

Connection: TypeAlias = AsyncConnection[tuple[Any, ...]]

_EPOCH_2000_US: Final = 946_684_800 * 1_000_000
"""PostgreSQL counts its binary timestamps from 2000-01-01T00:00Z."""
_ARRAY_HEADER: Final = 20
"""Bytes before the elements of a binary array of one dimension."""

# Arrays, not rows: one for each column, so that nothing is made for each reading on the way.
READINGS: Final = """
    SELECT array_agg(point_id), array_agg(observed_at), array_agg(received_at), array_agg(value),
           array_agg(quality)
      FROM reading WHERE observed_at >= %(start)s AND observed_at < %(end)s"""
OF_THESE: Final = f"{READINGS} AND point_id = ANY (%(points)s::int[])"


async def readings_between(
    connection: Connection, row_of: RowOf, points: Rows | None, start_us: int, end_us: int
) -> Readings:
    """All readings measured in [start, end), in no order; `points`: only of these, None = of all.

    Those of points that `row_of` does not know are left out.
    """
    given = {"start": utc(start_us), "end": utc(end_us)}
    async with connection.cursor(binary=True) as cursor:
        if points is None:
            await cursor.execute(READINGS, given, prepare=False)
        else:
            await cursor.execute(OF_THESE, given | {"points": points.tolist()}, prepare=False)
        answer = cursor.pgresult
        assert answer is not None  # a SELECT was asked
        columns = [answer.get_value(0, nth) for nth in range(5)]
    if columns[0] is None:
        return no_readings()
    types = (">i4", ">i8", ">i8", ">f8", ">i2")
    point, observed, received, value, quality = map(_elements, columns, types)
    row = row_of.many(point.astype(np.int32))
    found = Readings(
        row,
        observed.astype(np.int64) + _EPOCH_2000_US,
        received.astype(np.int64) + _EPOCH_2000_US,
        value.astype(np.float64),
        quality.astype(np.int16),
        np.zeros(len(row), np.int32),
    )
    return found if (row >= 0).all() else found.take(row >= 0)


def _elements(column: bytes | None, kind: str) -> npt.NDArray[Any]:
    """The elements of PostgreSQL's binary array, none of which is null."""
    assert column is not None
    pairs = np.dtype([("length", ">i4"), ("value", kind)])
    return np.frombuffer(column, pairs, offset=_ARRAY_HEADER)["value"]


JUDGED: Final = """
    SELECT a.point_id, (extract(epoch FROM a.raised_at) * 1e6)::bigint,
           (extract(epoch FROM a.cleared_at) * 1e6)::bigint, c.verdict = 'real'
      FROM alarm a JOIN disposal_case c USING (alarm_id)
     WHERE NOT a.drill AND c.verdict IN ('real', 'false_alarm')
       AND a.raised_at >= %(start)s AND a.raised_at < %(end)s
       AND a.point_id = ANY (%(points)s::int[])
       AND CASE WHEN %(rules)s::text[] = '{}' THEN a.direction <> 'stale'
                ELSE a.rule_id = ANY (%(rules)s) END
     ORDER BY a.raised_at, a.alarm_id"""


async def judged(
    connection: Connection, points: Rows, rules: Sequence[str], start: datetime, end: datetime
) -> Judged:
    """Alarms raised in a period at these points on which there is a verdict, drills apart.

    Of these rules; if none is named, of all but those that watch for silence.
    """
    given = {"points": points.tolist(), "rules": list(rules), "start": start, "end": end}
    rows = await (await connection.execute(JUDGED, given)).fetchall()
    point_id, from_us, to_us, real = zip(*rows, strict=True) if rows else ((), (), (), ())
    until = [STANDS if each is None else each for each in to_us]
    return Judged(
        np.array(point_id, np.int32),
        np.array(from_us, np.int64),
        np.array(until, np.int64),
        np.array(real, np.bool_),
    )
