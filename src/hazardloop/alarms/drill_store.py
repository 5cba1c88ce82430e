"""Drills in PostgreSQL; the caller owns the transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg.rows import dict_row

from hazardloop.alarms import ledger_store
from hazardloop.alarms.alarm import Actor, Tier
from hazardloop.alarms.case_store import Connection
from hazardloop.alarms.drill import Drill
from hazardloop.alarms.errors import DrillRefused, DrillUnknown
from hazardloop.alarms.ledger_store import Act
from hazardloop.devices.instants import microseconds_of, rfc3339

CURRENT: Final = """
    SELECT drill_id FROM drill
     WHERE cancelled_at IS NULL AND ends_at > clock_timestamp() ORDER BY drill_id"""
LOAD: Final = """
    SELECT d.drill_id, d.starts_at, d.ends_at, array_agg(p.point_id) AS points,
           array_agg(coalesce(p.expected_tier, d.tier)::int) AS tiers
      FROM drill d JOIN drill_point p USING (drill_id)
     WHERE d.drill_id = ANY (%s::int[]) GROUP BY d.drill_id ORDER BY d.drill_id"""


async def current(conn: Connection, known: Sequence[Drill] = ()) -> tuple[Drill, ...]:
    """The drills that are announced and not over; those of `known` are not read again."""
    ids = [drill_id for (drill_id,) in await (await conn.execute(CURRENT)).fetchall()]
    drills = {drill.drill_id: drill for drill in known if drill.drill_id in ids}
    missing = [drill_id for drill_id in ids if drill_id not in drills]
    if missing:
        for drill_id, starts_at, ends_at, points, tiers in await (
            await conn.execute(LOAD, [missing])
        ).fetchall():
            limits = dict(zip(points, map(Tier, tiers), strict=True))
            drills[drill_id] = Drill(
                drill_id, microseconds_of(starts_at), microseconds_of(ends_at), limits
            )
    return tuple(drills[drill_id] for drill_id in ids if drill_id in drills)


@dataclass(frozen=True, slots=True)
class Announcement:
    """A drill as it is announced."""

    enterprise_id: int
    kind: str
    title: str
    tier: Tier
    """The worst that it will raise."""
    starts_at: datetime
    ends_at: datetime
    points: Sequence[int]
    expected: Mapping[int, Tier | None]
    """Points of them at which an alarm is expected; of that tier, None = any."""


ANNOUNCE: Final = """
    INSERT INTO drill (enterprise_id, kind, title, tier, starts_at, ends_at, announced_by)
    VALUES (%(enterprise_id)s, %(kind)s, %(title)s, %(tier)s, %(starts_at)s, %(ends_at)s, %(by)s)
    RETURNING drill_id, announced_at"""
SCOPE: Final = """
    INSERT INTO drill_point (drill_id, point_id, expected, expected_tier)
    SELECT %(drill_id)s, * FROM unnest(%(points)s::int[], %(expected)s::bool[],
                                       %(tiers)s::smallint[])"""


async def announce(conn: Connection, drill: Announcement, actor: Actor) -> int:
    """Number of the drill, which every worker knows of before it begins."""
    parameters = {name: getattr(drill, name) for name in Announcement.__slots__}
    cursor = await conn.execute(
        ANNOUNCE, parameters | {"tier": int(drill.tier), "by": actor.username}
    )
    row = await cursor.fetchone()
    assert row is not None  # INSERT ... RETURNING
    drill_id, announced_at = row
    tiers = [drill.expected.get(point) for point in drill.points]
    scope = {
        "drill_id": drill_id,
        "points": list(drill.points),
        "expected": [point in drill.expected for point in drill.points],
        "tiers": [None if tier is None else int(tier) for tier in tiers],
    }
    await conn.execute(SCOPE, scope)
    body = {
        "kind": drill.kind,
        "title": drill.title,
        "tier": drill.tier.wire,
        "starts_at": rfc3339(drill.starts_at),
        "ends_at": rfc3339(drill.ends_at),
        "points": len(drill.points),
        "expected": len(drill.expected),
    }
    await _note(conn, drill_id, "announce", actor, announced_at, drill.enterprise_id, body)
    return int(drill_id)


CANCEL: Final = """
    UPDATE drill SET cancelled_at = clock_timestamp(), cancelled_by = %(by)s
     WHERE drill_id = %(drill_id)s AND cancelled_at IS NULL AND starts_at > clock_timestamp()
    RETURNING enterprise_id, cancelled_at"""


async def cancel(conn: Connection, drill_id: int, actor: Actor) -> None:
    """DrillUnknown; DrillRefused: it has begun, or is cancelled already."""
    cursor = await conn.execute(CANCEL, {"drill_id": drill_id, "by": actor.username})
    row = await cursor.fetchone()
    if row is None:
        drill = await load(conn, drill_id)
        why = "is cancelled already" if drill["cancelled_at"] else "has begun: it runs to its end"
        raise DrillRefused(f"drill {drill_id} {why}")
    await _note(conn, drill_id, "cancel", actor, row[1], row[0], {})


async def load(conn: Connection, drill_id: int) -> dict[str, Any]:
    """The drill's row. DrillUnknown: there is none, or it may not be seen."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute("SELECT * FROM drill WHERE drill_id = %s", [drill_id])
        row = await cursor.fetchone()
    if row is None:
        raise DrillUnknown(f"no drill {drill_id} is known here")
    return row


async def _note(
    conn: Connection,
    drill_id: int,
    action: str,
    actor: Actor,
    at: datetime,
    enterprise_id: int,
    body: Mapping[str, Any],
) -> None:
    act = Act("drill", str(drill_id), action, actor.username, actor.role, at, None, body,
              enterprise_id)  # fmt: skip
    await ledger_store.note_act(conn, act)
