"""Who stands watch, and the sheet with which a watch is handed over; the caller owns the
transaction.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from hazardloop.alarms.case_store import Connection

LISTED: Final = 500
"""Most items of each list on a sheet; how many there were in all stands beside it."""

# Each list in the order in which it is talked through: the worst and the longest first. Of alarms
# only those that are active or still handled, however many there ever were.
SNAPSHOT: Final = """
    WITH open_alarm AS (
        SELECT a.alarm_id AS id, a.tier, e.code AS enterprise, x.code || '.' || p.quantity AS point,
               a.raised_at, a.acknowledged_at, a.cleared_at, a.drill,
               hold_of(a, %(now)s) AS hold_id
          FROM alarm a JOIN enterprise e USING (enterprise_id)
               JOIN device x USING (device_id) JOIN point p USING (point_id)
         WHERE a.alarm_id IN (SELECT alarm_id FROM alarm WHERE cleared_at IS NULL
                              UNION SELECT alarm_id FROM disposal_case WHERE stage <> 'closed')
    ), listed (name, item, worst, since) AS (
        SELECT 'open_alarms', to_jsonb(o), o.tier, o.raised_at FROM open_alarm o
         WHERE o.cleared_at IS NULL
        UNION ALL
        SELECT 'unacknowledged', to_jsonb(o), o.tier, o.raised_at FROM open_alarm o
         WHERE o.acknowledged_at IS NULL
        UNION ALL
        SELECT 'withheld', to_jsonb(o) || jsonb_build_object(
                   'kind', h.kind, 'until', h.until, 'by', h.asked_by, 'reason', h.reason),
               o.tier, o.raised_at
          FROM open_alarm o JOIN alarm_hold h USING (hold_id)
        UNION ALL
        SELECT 'drills', to_jsonb(o), o.tier, o.raised_at FROM open_alarm o
         WHERE o.drill AND o.cleared_at IS NULL
        UNION ALL
        SELECT 'holds', jsonb_build_object('id', h.hold_id, 'kind', h.kind, 'device', x.code,
                   'until', h.until, 'by', h.asked_by, 'reason', h.reason), h.tier, h.asked_at
          FROM alarm_hold h JOIN device x USING (device_id)
         WHERE h.ended_at IS NULL AND h.until > %(now)s
        UNION ALL
        SELECT 'overdue_cases', jsonb_build_object('id', c.case_id, 'alarm_id', c.alarm_id,
                   'tier', a.tier, 'stage', c.stage, 'due_at', c.stage_due_at,
                   'enterprise', e.code), a.tier, c.stage_due_at
          FROM disposal_case c JOIN alarm a USING (alarm_id)
               JOIN enterprise e ON e.enterprise_id = c.enterprise_id
         WHERE c.stage <> 'closed' AND c.stage_due_at < %(now)s
    ), numbered AS (
        SELECT *, row_number() OVER (PARTITION BY name ORDER BY worst DESC, since) AS nth
          FROM listed
    )
    SELECT name, count(*) AS total,
           coalesce(jsonb_agg(item ORDER BY nth) FILTER (WHERE nth <= %(most)s), '[]') AS items
      FROM numbered GROUP BY name"""
SECTIONS: Final = (
    "open_alarms",
    "unacknowledged",
    "overdue_cases",
    "withheld",
    "holds",
    "drills",
)


async def snapshot(conn: Connection, now: datetime) -> dict[str, Any]:
    """What stands open at `now`: for each section its total, and its items, the worst first."""
    rows = await _fetch(conn, SNAPSHOT, {"now": now, "most": LISTED})
    found = {row["name"]: {"total": row["total"], "items": row["items"]} for row in rows}
    return {name: found.get(name, {"total": 0, "items": []}) for name in SECTIONS}


_SHIFTS: Final = """
    SELECT s.*, coalesce((
               SELECT jsonb_agg(jsonb_build_object('post', r.post, 'username', u.username,
                                                   'display_name', u.display_name)
                                ORDER BY r.post, u.username)
                 FROM roster r JOIN user_account u USING (user_id)
                WHERE r.shift_id = s.shift_id), '[]') AS roster
      FROM shift s """
ONE: Final = _SHIFTS + "WHERE shift_id = %(shift_id)s FOR NO KEY UPDATE OF s"
CURRENT: Final = _SHIFTS + "WHERE starts_at <= %(now)s AND ends_at > %(now)s"
FOLLOWING: Final = _SHIFTS + "WHERE starts_at >= %(at)s ORDER BY starts_at LIMIT 1"
BETWEEN: Final = (
    _SHIFTS + "WHERE ends_at > %(start)s AND starts_at < %(end)s ORDER BY starts_at LIMIT %(limit)s"
)


async def held(conn: Connection, shift_id: int) -> dict[str, Any] | None:
    """The shift with its roster, its row held until the transaction ends; None: there is none."""
    return await _first(conn, ONE, {"shift_id": shift_id})


async def current(conn: Connection, now: datetime) -> dict[str, Any] | None:
    """The shift that stands watch at `now`."""
    return await _first(conn, CURRENT, {"now": now})


async def following(conn: Connection, at: datetime) -> dict[str, Any] | None:
    """The first shift that begins at or after `at`."""
    return await _first(conn, FOLLOWING, {"at": at})


async def between(
    conn: Connection, start: datetime, end: datetime, limit: int
) -> list[dict[str, Any]]:
    """The shifts of a period, in order."""
    return await _fetch(conn, BETWEEN, {"start": start, "end": end, "limit": limit})


PLAN: Final = """
    INSERT INTO shift (name, starts_at, ends_at, created_by, created_at)
    VALUES (%(name)s, %(starts_at)s, %(ends_at)s, %(by)s, %(now)s) RETURNING shift_id"""
STAND: Final = """
    INSERT INTO roster (shift_id, post, user_id)
    SELECT %(shift_id)s, post, user_id
      FROM unnest(%(posts)s::text[], %(usernames)s::text[]) AS wanted (post, username)
           JOIN user_account u USING (username)
     WHERE u.active AND u.role IN ('operator', 'supervisor')
       AND (post = 'operator' OR u.role = 'supervisor')
    ON CONFLICT DO NOTHING RETURNING post"""


async def plan(
    conn: Connection, values: Mapping[str, Any], roster: Sequence[tuple[str, str]]
) -> tuple[int, int]:
    """The id of a new shift, and how many of the roster (post, user name) may stand it."""
    found = await _fetch(conn, PLAN, values)
    stand = {
        "shift_id": found[0]["shift_id"],
        "posts": [post for post, _ in roster],
        "usernames": [username for _, username in roster],
    }
    return found[0]["shift_id"], len(await _fetch(conn, STAND, stand))


NOTES: Final = "UPDATE shift SET notes = %(notes)s WHERE shift_id = %(shift_id)s"
SUBMIT: Final = """
    UPDATE shift SET submitted_by = %(by)s, submitted_at = %(now)s, snapshot = %(snapshot)s
     WHERE shift_id = %(shift_id)s"""
ACCEPT: Final = """
    UPDATE shift SET accepted_by = %(by)s, accepted_at = %(now)s WHERE shift_id = %(shift_id)s"""


async def keep_notes(conn: Connection, shift_id: int, notes: str) -> None:
    """What the outgoing operator has to say."""
    await conn.execute(NOTES, {"shift_id": shift_id, "notes": notes})


async def submit(conn: Connection, shift_id: int, by: str, now: datetime) -> None:
    """The first signature; freezes what stood open."""
    frozen = Jsonb(await snapshot(conn, now))
    await conn.execute(SUBMIT, {"shift_id": shift_id, "by": by, "now": now, "snapshot": frozen})


async def accept(conn: Connection, shift_id: int, by: str, now: datetime) -> None:
    """The second signature, of another; nothing of the sheet changes after it."""
    await conn.execute(ACCEPT, {"shift_id": shift_id, "by": by, "now": now})


ON_DUTY: Final = """
    SELECT c.contact_id FROM shift s JOIN roster r USING (shift_id) JOIN contact c USING (user_id)
     WHERE s.starts_at <= %(now)s AND s.ends_at > %(now)s AND r.post = 'duty_supervisor'
       AND c.active
     ORDER BY c.post = 'duty_supervisor' DESC, c.contact_id LIMIT 1"""


async def duty_supervisor(conn: Connection, now: datetime) -> int | None:
    """The contact of who is duty supervisor at `now`; None: nobody is, or has none."""
    found = await _first(conn, ON_DUTY, {"now": now})
    return None if found is None else int(found["contact_id"])


# Who has two contacts is told once, rather as the duty supervisor.
ALL_ON_DUTY: Final = """
    SELECT DISTINCT ON (coalesce(c.user_id, -c.contact_id)) c.contact_id, c.post
      FROM contact c
     WHERE c.active AND (
           c.post = 'duty_supervisor' AND c.enterprise_id IS NULL
           OR c.user_id IN (SELECT r.user_id FROM shift s JOIN roster r USING (shift_id)
                             WHERE s.starts_at <= %(now)s AND s.ends_at > %(now)s))
     ORDER BY coalesce(c.user_id, -c.contact_id), c.post = 'duty_supervisor' DESC, c.contact_id"""


async def all_on_duty(conn: Connection, now: datetime) -> list[tuple[int, str]]:
    """Contact and post of everyone who stands watch at `now`, and of every duty supervisor."""
    found = await _fetch(conn, ALL_ON_DUTY, {"now": now})
    return [(row["contact_id"], row["post"]) for row in found]


async def _first(conn: Connection, query: str, values: Mapping[str, Any]) -> dict[str, Any] | None:
    rows = await _fetch(conn, query, values)
    return rows[0] if rows else None


async def _fetch(conn: Connection, query: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, values)
        return await cursor.fetchall()
