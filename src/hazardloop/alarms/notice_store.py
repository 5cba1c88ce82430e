"""Notices and the messages that carry them in PostgreSQL; the caller owns the transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from hazardloop.alarms import jobs
from hazardloop.alarms.alarm import Tier
from hazardloop.alarms.case_store import Connection
from hazardloop.alarms.notices import (
    EVERYWHERE,
    STORM,
    Addressed,
    Message,
    Notice,
    NoticeKind,
    Post,
)

SEND: Final = "send_notices"
DELIVER: Final = "deliver_message"
AT_ONCE: Final = 500
"""Notices of one job: they are put into messages under one lock."""

QUEUE: Final = """
    INSERT INTO notice (kind, case_id, alarm_id, enterprise_id, contact_id, party, post, tier,
                        due_at, body)
    SELECT w.kind, w.case_id, w.alarm_id, coalesce(a.enterprise_id, c.enterprise_id), w.contact_id,
           w.party, w.post, w.tier, w.due_at, w.body
      FROM unnest(%(kind)s::text[], %(case_id)s::uuid[], %(alarm_id)s::uuid[],
                  %(contact_id)s::int[], %(party)s::text[], %(post)s::text[], %(tier)s::smallint[],
                  %(due_at)s::timestamptz[], %(body)s::jsonb[])
           WITH ORDINALITY AS w (kind, case_id, alarm_id, contact_id, party, post, tier, due_at,
                                 body, nth)
           LEFT JOIN alarm a ON a.alarm_id = w.alarm_id
           LEFT JOIN contact c ON c.contact_id = w.contact_id
     ORDER BY nth
    RETURNING notice_id"""


async def queue(conn: Connection, notices: Sequence[Notice]) -> list[int]:
    """Ids of the notices, which will go out once the caller's transaction took effect.

    Whoever fills the post is looked up then; where nobody does, the notice stays and says so.
    """
    if not notices:
        return []
    columns: dict[str, list[Any]] = {
        name: [getattr(one, name) for one in notices]
        for name in ("kind", "case_id", "alarm_id", "contact_id", "party", "post", "due_at")
    }
    columns["tier"] = [int(one.tier) for one in notices]
    columns["body"] = [Jsonb(dict(one.body)) for one in notices]
    rows = await (await conn.execute(QUEUE, columns)).fetchall()
    ids = [int(row[0]) for row in rows]
    await send(conn, ids)
    return ids


# Both sides of a case are told in one statement, so at one instant; who was told of this tier, or a
# worse one, is not told again, however often the commit is repeated.
QUEUE_CHARGES: Final = """
    INSERT INTO notice (kind, case_id, alarm_id, enterprise_id, party, post, tier, due_at)
    SELECT CASE WHEN told.tier IS NULL THEN %(dispatched)s ELSE %(risen)s END, c.case_id,
           a.alarm_id, a.enterprise_id, s.party, s.post, a.tier, c.stage_due_at
      FROM alarm a JOIN disposal_case c USING (alarm_id)
           JOIN assignment s USING (case_id)
           LEFT JOIN LATERAL (
               SELECT max(n.tier) AS tier FROM notice n
                WHERE n.case_id = c.case_id AND n.party = s.party AND n.post = s.post
                  AND n.kind IN (%(dispatched)s, %(risen)s)) told ON true
     WHERE a.alarm_id = ANY (%(alarm_ids)s::uuid[]) AND c.stage <> 'closed'
       AND (told.tier IS NULL OR told.tier < a.tier)
     ORDER BY a.tier DESC, a.raised_at, a.alarm_id, s.party
    RETURNING notice_id"""


async def queue_charges(conn: Connection, alarm_ids: Sequence[UUID]) -> list[int]:
    """Ids of the notices to all who are charged with the cases of these alarms and do not know it,
    or do not know how bad it has become.
    """
    parameters = {
        "alarm_ids": list(alarm_ids),
        "dispatched": NoticeKind.DISPATCHED,
        "risen": NoticeKind.RISEN,
    }
    rows = await (await conn.execute(QUEUE_CHARGES, parameters)).fetchall()
    ids = [int(row[0]) for row in rows]
    await send(conn, ids)
    return ids


async def send(conn: Connection, notice_ids: Sequence[int]) -> None:
    """Has these notices put into messages by a clerk, soon."""
    await jobs.defer_many(
        conn,
        [
            jobs.Job(SEND, {"notice_ids": list(notice_ids[start : start + AT_ONCE])})
            for start in range(0, len(notice_ids), AT_ONCE)
        ],
    )


# What was planned by others a moment ago counts for storm control, so they take turns.
TURN: Final = "SELECT pg_advisory_xact_lock(hashtext('hazardloop.notices'))"

# Whoever silenced an alarm silenced its notices, those of red apart.
HOLD: Final = """
    UPDATE notice SET state = 'held', reason = 'silenced'
     WHERE notice_id = ANY (%(notice_ids)s::bigint[]) AND state IN ('waiting', 'held')
       AND tier < %(red)s AND alarm_id IS NOT NULL AND NOT alarm_annunciated(alarm_id)
    RETURNING notice_id"""
HELD: Final = """
    SELECT notice_id FROM notice WHERE state = 'held' AND alarm_id = ANY (%(alarm_ids)s::uuid[])"""


async def hold_silenced(conn: Connection, notice_ids: Sequence[int]) -> list[int]:
    """Those of the notices that may go out; the others are held until their alarm sounds again."""
    held = {"notice_ids": list(notice_ids), "red": int(Tier.RED)}
    rows = await (await conn.execute(HOLD, held)).fetchall()
    silent = {row[0] for row in rows}
    return [notice_id for notice_id in notice_ids if notice_id not in silent]


async def held_of(conn: Connection, alarm_ids: Sequence[str]) -> list[int]:
    """Notices of these alarms that are held."""
    found = await conn.execute(HELD, {"alarm_ids": list(alarm_ids)})
    return [int(row[0]) for row in await found.fetchall()]


OWN_POSTS: Final = (Post.ASSIGNEE, Post.SUPERIOR)
"""Filled by people of the enterprise alone; a village or a maintenance unit serves many."""

# The most particular contact of a post counts: of the area itself before one for anywhere. Who
# stands in for somebody is told instead, if there is a way to; a test goes where it was sent.
ADDRESS: Final = """
    WITH waiting AS (
        SELECT n.*, coalesce(e.area, '') AS area
          FROM notice n LEFT JOIN enterprise e USING (enterprise_id)
         WHERE n.notice_id = ANY (%(notice_ids)s::bigint[]) AND n.state IN ('waiting', 'held')
    ), fitting AS (
        SELECT w.notice_id, c.contact_id, w.enterprise_id, w.tier, w.kind,
               c.area <> '' OR c.enterprise_id IS NOT NULL AS particular
          FROM waiting w JOIN contact c
            ON c.active AND CASE
               WHEN w.contact_id IS NOT NULL THEN c.contact_id = w.contact_id
               WHEN w.party = 'enterprise' THEN c.post = w.post
                    AND (c.enterprise_id = w.enterprise_id
                         OR c.enterprise_id IS NULL AND w.post <> ALL (%(own_posts)s)
                            AND c.area IN (w.area, ''))
               ELSE c.post = w.post AND c.enterprise_id IS NULL AND c.area IN (w.area, '') END
    ), best AS (
        SELECT *, bool_or(particular) OVER (PARTITION BY notice_id) AS there_is_one FROM fitting
    )
    SELECT DISTINCT w.notice_id, coalesce(d.deputy_id, b.contact_id) AS contact_id,
           w.enterprise_id, w.tier, w.kind
      FROM waiting w
           LEFT JOIN best b ON b.notice_id = w.notice_id AND (b.particular OR NOT b.there_is_one)
           LEFT JOIN LATERAL (
               SELECT s.deputy_id FROM stand_in s JOIN contact c ON c.contact_id = s.deputy_id
                WHERE s.contact_id = b.contact_id AND w.contact_id IS NULL AND c.active
                  AND s.starts_at <= now() AND s.ends_at > now()
                  AND EXISTS (SELECT FROM contact_channel h
                               WHERE h.contact_id = c.contact_id AND h.active)
                ORDER BY s.stand_in_id DESC LIMIT 1) d ON true
     ORDER BY w.notice_id, contact_id"""

STANDING: Final = """
    SELECT message_id, contact_id, enterprise_id, tier, send_at,
           gathers AND state = 'waiting' AS open
      FROM notice_message
     WHERE contact_id = ANY (%(contact_ids)s::int[]) AND send_at > %(since)s
     ORDER BY message_id FOR UPDATE"""


async def take_turn(conn: Connection) -> None:
    """Waits until nobody else puts notices into messages; holds for the transaction."""
    await conn.execute(TURN)


async def address(conn: Connection, notice_ids: Sequence[int]) -> tuple[list[Addressed], list[int]]:
    """Those of the notices that still wait, with each contact they are for; and those without one.

    A notice for one contact goes to nobody else.
    """
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            ADDRESS, {"notice_ids": list(notice_ids), "own_posts": list(OWN_POSTS)}
        )
        rows = await cursor.fetchall()
    addressed = [
        Addressed(
            row["notice_id"],
            row["contact_id"],
            row["enterprise_id"],
            Tier(row["tier"]),
            alone=row["kind"] in EVERYWHERE,
        )
        for row in rows
        if row["contact_id"] is not None
    ]
    return addressed, [row["notice_id"] for row in rows if row["contact_id"] is None]


async def standing_messages(
    conn: Connection, contact_ids: Sequence[int], now: datetime
) -> list[Message]:
    """What these contacts got within a storm's window, or will get; locked until the caller ends.

    Whoever delivers one takes the same lock first, so nothing joins a message that has left.
    """
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            STANDING, {"contact_ids": list(contact_ids), "since": now - STORM.window}
        )
        return [
            Message(
                row["contact_id"],
                row["enterprise_id"],
                Tier(row["tier"]),
                row["send_at"],
                row["open"],
                message_id=row["message_id"],
            )
            for row in await cursor.fetchall()
        ]


ADD_MESSAGES: Final = """
    INSERT INTO notice_message (contact_id, enterprise_id, tier, gathers, every_channel, planned_at,
                                send_at)
    SELECT contact_id, site, tier, gathers, every_channel, %(now)s, send_at
      FROM unnest(%(contact_id)s::int[], %(site)s::int[], %(tier)s::smallint[],
                  %(gathers)s::boolean[], %(every_channel)s::boolean[], %(send_at)s::timestamptz[])
           WITH ORDINALITY AS w (contact_id, site, tier, gathers, every_channel, send_at, nth)
     ORDER BY nth
    RETURNING message_id"""
JOIN: Final = """
    WITH worse AS (
        UPDATE notice_message m SET tier = greatest(m.tier, w.tier)
          FROM (SELECT message_id, max(tier) AS tier
                  FROM unnest(%(message_id)s::bigint[], %(tier)s::smallint[])
                       AS u (message_id, tier)
                 GROUP BY message_id) w
         WHERE m.message_id = w.message_id AND m.tier < w.tier
    ), moved AS (
        UPDATE notice SET state = 'sending', reason = NULL
         WHERE notice_id = ANY (%(notice_id)s::bigint[])
    )
    INSERT INTO notice_in_message (message_id, notice_id)
    SELECT message_id, notice_id
      FROM unnest(%(message_id)s::bigint[], %(notice_id)s::bigint[]) AS u (message_id, notice_id)"""


async def save_messages(
    conn: Connection, messages: Sequence[Message], everywhere: frozenset[int], now: datetime
) -> None:
    """Keeps planned messages with their notices, and has each delivered when its time has come.

    `everywhere` are ids of notices that are to be tried on every channel.
    """
    fresh = [one for one in messages if one.message_id is None]
    parameters = {
        "contact_id": [one.contact_id for one in fresh],
        "site": [one.site for one in fresh],
        "tier": [int(one.tier) for one in fresh],
        "gathers": [one.gathers for one in fresh],
        "every_channel": [not everywhere.isdisjoint(one.notice_ids) for one in fresh],
        "send_at": [one.send_at for one in fresh],
        "now": now,
    }
    rows = await (await conn.execute(ADD_MESSAGES, parameters)).fetchall()
    made = [int(row[0]) for row in rows]
    homes = [(one, one.message_id) for one in messages if one.message_id is not None]
    homes += list(zip(fresh, made, strict=True))
    pairs = [(home, notice, int(one.tier)) for one, home in homes for notice in one.notice_ids]
    columns = list(zip(*pairs, strict=True)) or [(), (), ()]
    await conn.execute(
        JOIN,
        {
            "message_id": list(columns[0]),
            "notice_id": list(columns[1]),
            "tier": list(columns[2]),
        },
    )
    await jobs.defer_many(
        conn,
        [
            jobs.Job(
                DELIVER, {"message_id": message_id}, one.send_at if one.send_at > now else None
            )
            for one, message_id in zip(fresh, made, strict=True)
        ],
    )


SET_ASIDE: Final = """
    UPDATE notice SET state = %(state)s, reason = %(reason)s
     WHERE notice_id = ANY (%(notice_ids)s::bigint[])"""


async def set_aside(conn: Connection, notice_ids: Sequence[int], state: str, reason: str) -> None:
    """Notes why these are held, or reach nobody."""
    if notice_ids:
        await conn.execute(
            SET_ASIDE, {"notice_ids": list(notice_ids), "state": state, "reason": reason}
        )


NOTE_SIGNED: Final = """
    UPDATE notice_message m SET read_at = %(at)s, read_by = 'sign'
      FROM notice_in_message i JOIN notice n USING (notice_id), contact c, user_account u
     WHERE i.message_id = m.message_id AND n.case_id = %(case_id)s AND m.read_at IS NULL
       AND c.contact_id = m.contact_id AND u.user_id = c.user_id AND u.username = %(username)s"""


async def note_signed(conn: Connection, case_id: UUID, username: str, at: datetime) -> None:
    """Who signs a case has read what was sent to them about it."""
    await conn.execute(NOTE_SIGNED, {"case_id": case_id, "username": username, "at": at})
