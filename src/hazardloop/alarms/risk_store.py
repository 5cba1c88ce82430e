"""Risks as they stand, from the database; every change of one is a line of the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg.rows import dict_row

from hazardloop.alarms import ledger_store
from hazardloop.alarms.alarm import Tier
from hazardloop.alarms.case_store import Connection
from hazardloop.alarms.ledger_store import Act
from hazardloop.alarms.risk import Risk, Signs, risk_of, risk_over

SUBJECT: Final = "risk"
CHANGED: Final = "changed"


@dataclass(frozen=True, slots=True)
class Place:
    """A unit, an enterprise or an area, and its risk."""

    level: str
    """unit, enterprise or area."""
    key: str
    """Id of the unit or enterprise, name of the area: with `level` what the ledger calls it."""
    name: str
    enterprise: str | None
    """Its code; of an area none."""
    enterprise_id: int | None
    risk: Risk

    @property
    def subject(self) -> str:
        """What the ledger calls it."""
        return f"{self.level}:{self.key}"


# Of each unit, and of each enterprise for what belongs to no unit.
SIGNS: Final = """
    WITH active AS (
        SELECT d.enterprise_id, d.hazard_unit_id, max(a.tier_now) AS warning,
               min(a.raised_at) FILTER (WHERE a.direction = 'stale') AS blind_since
          FROM alarm a JOIN device d USING (device_id)
         WHERE a.cleared_at IS NULL AND NOT a.drill
         GROUP BY d.enterprise_id, d.hazard_unit_id
    ), place AS (
        SELECT e.enterprise_id, u.hazard_unit_id, u.name, u.grade FROM enterprise e
               JOIN hazard_unit u USING (enterprise_id) WHERE NOT e.internal
        UNION ALL SELECT enterprise_id, NULL, name, NULL FROM enterprise WHERE NOT internal
    )
    SELECT e.enterprise_id, e.code, e.area, p.hazard_unit_id, p.name,
           coalesce(a.warning, 0) AS warning, a.blind_since,
           CASE WHEN l.noted_at IS NULL THEN p.grade ELSE l.grade END AS grade
      FROM place p JOIN enterprise e USING (enterprise_id)
           LEFT JOIN active a ON a.enterprise_id = p.enterprise_id
                             AND a.hazard_unit_id IS NOT DISTINCT FROM p.hazard_unit_id
           LEFT JOIN LATERAL (SELECT noted_at, grade FROM unit_level
                               WHERE unit_level.hazard_unit_id = p.hazard_unit_id
                               ORDER BY noted_at DESC LIMIT 1) AS l ON true
     WHERE e.enterprise_id = %(enterprise)s OR %(enterprise)s::int IS NULL
     ORDER BY e.enterprise_id, p.hazard_unit_id"""


async def risks(conn: Connection, now: datetime, enterprise_id: int | None = None) -> list[Place]:
    """All units, then all enterprises, then all areas; of one enterprise no area is told."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(SIGNS, {"enterprise": enterprise_id})
        rows = await cursor.fetchall()
    units = [_place("unit", row, now) for row in rows if row["hazard_unit_id"] is not None]
    own = [_place("enterprise", row, now) for row in rows if row["hazard_unit_id"] is None]
    enterprises = [
        _over(one, [unit for unit in units if unit.enterprise_id == one.enterprise_id])
        for one in own
    ]
    if enterprise_id is not None:
        return [*units, *enterprises]
    areas = {row["enterprise_id"]: row["area"] for row in rows if row["area"]}
    return [*units, *enterprises, *_areas(enterprises, areas)]


def _place(level: str, row: dict[str, Any], now: datetime) -> Place:
    since = row["blind_since"]
    blind = timedelta(0) if since is None else now - since
    risk = risk_of(Signs(row["grade"], Tier(row["warning"]), blind))
    key = row["hazard_unit_id"] if level == "unit" else row["enterprise_id"]
    return Place(level, str(key), row["name"], row["code"], row["enterprise_id"], risk)


def _over(place: Place, parts: Sequence[Place]) -> Place:
    risk = risk_over(place.risk, [part.risk for part in parts])
    return Place(place.level, place.key, place.name, place.enterprise, place.enterprise_id, risk)


def _areas(enterprises: Sequence[Place], areas: dict[int, str]) -> list[Place]:
    nothing = risk_of(Signs(None, Tier.NONE, timedelta(0)))
    return [
        _over(
            Place("area", name, name, None, None, nothing),
            [one for one in enterprises if areas.get(one.enterprise_id or 0) == name],
        )
        for name in sorted(set(areas.values()))
    ]


LAST: Final = """
    SELECT wanted.subject_id, last.taken_at, last.body FROM unnest(%(subjects)s::text[])
           AS wanted (subject_id), LATERAL
           (SELECT taken_at, body FROM ledger
             WHERE subject = 'risk' AND ledger.subject_id = wanted.subject_id
             ORDER BY entry_id DESC LIMIT 1) AS last"""


async def last_noted(conn: Connection, places: Sequence[Place]) -> dict[str, dict[str, Any]]:
    """By subject, when a risk last changed and what the ledger says of that."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(LAST, {"subjects": [place.subject for place in places]})
        return {row["subject_id"]: row for row in await cursor.fetchall()}


async def note_risks(conn: Connection, now: datetime) -> int:
    """How many risks changed since they were last noted; each is noted with its old value."""
    places = await risks(conn, now)
    noted = await last_noted(conn, places)
    changed = [
        (place, was)
        for place in places
        for was in [noted.get(place.subject, {"body": {}})["body"]]
        if was.get("colour") != place.risk.colour.wire
    ]
    acts = [
        Act(
            SUBJECT, place.subject, CHANGED, "system", "system", now, None,
            told(place.risk) | {"was": was.get("colour")}, place.enterprise_id,
        )
        for place, was in changed
    ]  # fmt: skip
    await ledger_store.note_acts(conn, acts)
    return len(acts)


def told(risk: Risk) -> dict[str, Any]:
    """A risk in words: its colour, why, and the warning beside it."""
    return {
        "colour": risk.colour.wire,
        "causes": [cause.value for cause in risk.causes],
        "warning": risk.warning.wire if risk.warning else None,
    }
