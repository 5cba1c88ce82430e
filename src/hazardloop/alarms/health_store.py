"""The history of raises that the health of the alarm system is judged by, read from the alarms."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import numpy as np

from hazardloop.alarms import remedies
from hazardloop.alarms.case_store import Connection
from hazardloop.alarms.health import SECOND_US, History, Indices
from hazardloop.alarms.remedies import WIDEST, Course, Remedy, Settings
from hazardloop.devices.instants import utc
from hazardloop.devices.readings import Floats

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
    SELECT point_id, enterprise.code, device.code, device.name, quantity, unit
      FROM point JOIN device USING (device_id)
           JOIN enterprise ON enterprise.enterprise_id = point.enterprise_id
     WHERE point_id = ANY (%(points)s::int[])"""


# The newest version of each rule, as it is evaluated.
RULES: Final = """
    SELECT DISTINCT ON (rule_id) rule_id, definition FROM rule_version
     WHERE rule_id = ANY (%(rules)s) ORDER BY rule_id, version DESC"""

# The readings of each gap between two alarms; what is bad says nothing.
GAPS: Final = """
    SELECT nth, min(value), max(value)
      FROM unnest(%(since)s::timestamptz[], %(until)s::timestamptz[]) WITH ORDINALITY
           AS gap (since, until, nth), LATERAL readings_of(%(point)s, since, until, 5000) AS said
     WHERE NOT reading_is_bad(quality, value) GROUP BY nth"""
MOST_GAPS: Final = 200
"""Of one source, the newest."""
LONGEST_GAP_S: Final = 3600.0
"""What was quiet for longer is another thing."""


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
    names = ("enterprise", "device", "device_name", "quantity", "unit")
    return {row[0]: dict(zip(names, row[1:], strict=True)) for row in await cursor.fetchall()}


async def suggested(conn: Connection, told: Told, shown: list[int]) -> dict[int, Remedy]:
    """What would calm each of those sources, by its number; one that nothing would is not in it."""
    rules = list({told.sources[nth].rule_id for nth in shown})
    cursor = await conn.execute(RULES, {"rules": rules})
    definitions = dict(await cursor.fetchall())
    found = {}
    for nth in shown:
        definition = definitions[told.sources[nth].rule_id]
        mine = np.flatnonzero(told.history.source == nth)[-MOST_GAPS - 1 :]
        course = await _course(conn, told, mine, definition)
        if remedy := remedies.suggested(course, _settings(definition)):
            found[nth] = remedy
    return found


def _settings(definition: dict[str, Any]) -> Settings:
    """A deadband is for a rule that compares the value itself with limits in its own unit."""
    off_delay_s, condition = definition["off_delay_s"], definition["condition"]
    if definition["kind"] != "threshold" or condition.get("of") is not None:
        return Settings(off_delay_s, None)
    limits = sorted(condition["limits"].values())
    narrowest = min(np.diff(limits), default=np.inf)
    widest = min(narrowest, WIDEST * min(abs(limit) for limit in limits))
    return Settings(off_delay_s, condition["deadband"], float(widest))


async def _course(
    conn: Connection, told: Told, mine: Indices, definition: dict[str, Any]
) -> Course:
    history, point = told.history, told.sources[int(told.history.source[mine[0]])].point_id
    raised_us, cleared_us = history.raised_us[mine], history.cleared_us[mine]
    on_s, off_s = definition["on_delay_s"], definition["off_delay_s"]
    away_s = remedies.away(raised_us, cleared_us, on_s, off_s)
    back: Floats = np.full(len(away_s), np.nan)
    short = np.flatnonzero(away_s < LONGEST_GAP_S)
    condition = definition["condition"]
    if _settings(definition).deadband is None or not len(short):
        return Course(raised_us, away_s, back)
    until_us = raised_us[1:] - round(on_s * SECOND_US)
    since_us = until_us - np.round(away_s * SECOND_US).astype(np.int64)
    asked = {
        "point": point,
        "since": [utc(int(at)) for at in since_us[short]],
        "until": [utc(int(at)) for at in until_us[short]],
    }
    high = condition["direction"] == "high"
    limits = condition["limits"].values()
    edge = min(limits) if high else max(limits)
    for nth, least, most in await (await conn.execute(GAPS, asked)).fetchall():
        back[short[nth - 1]] = max(0.0, edge - least if high else most - edge)
    return Course(raised_us, away_s, back)
