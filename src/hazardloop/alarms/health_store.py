"""The history of raises that the health of the alarm system is judged by, read from the alarms."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import numpy as np

from hazardloop.alarms.case_store import Connection
from hazardloop.alarms.health import History

# Every alarm that was heard in the period, drills apart; those found in late data rang nobody up.
HISTORY: Final = """
    SELECT a.alarm_id, (extract(epoch FROM a.raised_at) * 1e6)::bigint,
           coalesce((extract(epoch FROM a.cleared_at) * 1e6)::bigint, 0),
           a.acknowledged_at IS NOT NULL, a.tier, a.rule_id, a.point_id
      FROM alarm a JOIN enterprise e USING (enterprise_id)
     WHERE NOT a.drill AND NOT a.found_late AND a.raised_at < %(to)s
       AND (a.raised_at >= %(from)s OR a.cleared_at IS NULL OR a.cleared_at >= %(from)s)
       AND (a.enterprise_id = %(enterprise)s OR %(enterprise)s::int IS NULL AND NOT e.internal)
     ORDER BY a.raised_at, a.alarm_id"""

PLACES: Final = """
    SELECT point_id, enterprise.code, device.code, device.name, quantity
      FROM point JOIN device USING (device_id)
           JOIN enterprise ON enterprise.enterprise_id = point.enterprise_id
     WHERE point_id = ANY (%(points)s::int[])"""


@dataclass(frozen=True, slots=True)
class Source:
    """A rule at a point."""

    rule_id: str
    point_id: int


@dataclass(frozen=True, slots=True)
class Told:
    """A history with the names of its rows."""

    history: History
    alarm_ids: tuple[UUID, ...]
    sources: tuple[Source, ...]
    """By their number in the history."""


async def told(conn: Connection, start: datetime, end: datetime, enterprise_id: int | None) -> Told:
    """Alarms raised in [start, end) or standing at `start`, as far as they may be seen."""
    parameters = {"from": start, "to": end, "enterprise": enterprise_id}
    cursor = await conn.execute(HISTORY, parameters, prepare=False)
    rows = await cursor.fetchall()
    numbers: dict[Source, int] = {}
    source = [numbers.setdefault(Source(row[5], row[6]), len(numbers)) for row in rows]
    history = History(
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], np.int64),
        np.array([row[3] for row in rows], np.bool_),
        np.array(source, np.int32),
        np.array([row[4] for row in rows], np.uint8),
    )
    return Told(history, tuple(row[0] for row in rows), tuple(numbers))


async def places(conn: Connection, points: list[int]) -> dict[int, dict[str, Any]]:
    """Where those points are: codes of enterprise and device, name and quantity."""
    cursor = await conn.execute(PLACES, {"points": points})
    names = ("enterprise", "device", "device_name", "quantity")
    return {row[0]: dict(zip(names, row[1:], strict=True)) for row in await cursor.fetchall()}
