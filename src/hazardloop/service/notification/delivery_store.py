"""Messages on their way, in PostgreSQL: taken in hand, tried, and what came of each attempt."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg.rows import dict_row

from hazardloop.alarms.alarm import Tier
from hazardloop.alarms.case_store import Connection
from hazardloop.alarms.notice_attempts import Course
from hazardloop.service.notification.envelope import Outcome
from hazardloop.service.notification.wording import Facts

LINK_BYTES: Final = 32
LINK_LASTS: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message that is due, with its way so far."""

    message_id: int
    contact_id: int
    language: str
    tier: Tier
    every_channel: bool
    planned_at: datetime
    send_at: datetime
    state: str


TAKE: Final = """
    SELECT m.message_id, m.contact_id, c.language, m.tier, m.every_channel, m.planned_at, m.send_at,
           m.state
      FROM notice_message m JOIN contact c USING (contact_id)
     WHERE m.message_id = %(message_id)s FOR UPDATE OF m"""


async def take(conn: Connection, message_id: int) -> Parcel | None:
    """The message, locked until the transaction ends; None when it needs nothing any more."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(TAKE, {"message_id": message_id})
        row = await cursor.fetchone()
    if row is None or row["state"] not in ("waiting", "sending"):
        return None
    return Parcel(**row | {"tier": Tier(row["tier"])})


INTERRUPTED: Final = """
    UPDATE notice_delivery
       SET result = 'interrupted', ended_at = %(now)s,
           answer = 'the clerk ended meanwhile: it may have arrived'
     WHERE message_id = %(message_id)s AND result = 'sending' AND began_at <= %(before)s"""
UNDER_WAY: Final = """
    SELECT max(began_at) FROM notice_delivery
     WHERE message_id = %(message_id)s AND result = 'sending'"""


async def under_way(
    conn: Connection, message_id: int, now: datetime, lease: timedelta
) -> datetime | None:
    """Since when somebody else is sending this message; None: nobody is.

    Attempts older than `lease` were of a clerk that died: they are ended as interrupted.
    """
    arguments = {"message_id": message_id, "now": now, "before": now - lease}
    await conn.execute(INTERRUPTED, arguments)
    row = await (await conn.execute(UNDER_WAY, arguments)).fetchone()
    began: datetime | None = row[0] if row else None
    return began


COURSES: Final = """
    SELECT h.channel_id, h.kind, h.target,
           count(d.attempt) FILTER (WHERE d.result <> 'delivered') AS attempts,
           max(d.ended_at) AS last_ended_at,
           coalesce(bool_or(d.result = 'delivered'), false) AS delivered
      FROM contact_channel h
           LEFT JOIN notice_delivery d
                  ON d.channel_id = h.channel_id AND d.message_id = %(message_id)s
     WHERE h.contact_id = %(contact_id)s AND h.active
     GROUP BY h.channel_id ORDER BY h.position, h.channel_id"""


async def courses(
    conn: Connection, parcel: Parcel
) -> tuple[list[Course], dict[int, tuple[str, Mapping[str, Any]]]]:
    """How each channel of the contact did so far; and kind and target of each."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            COURSES, {"message_id": parcel.message_id, "contact_id": parcel.contact_id}
        )
        rows = await cursor.fetchall()
    ways = [
        Course(row["channel_id"], row["attempts"], row["last_ended_at"], row["delivered"])
        for row in rows
    ]
    return ways, {row["channel_id"]: (row["kind"], row["target"]) for row in rows}


BEGIN: Final = """
    WITH moved AS (
        UPDATE notice_message SET state = 'sending', gathers = false, too_few = %(too_few)s
         WHERE message_id = %(message_id)s
    )
    INSERT INTO notice_delivery (message_id, channel_id, attempt, began_at, result)
    SELECT %(message_id)s, channel_id,
           1 + coalesce((SELECT max(attempt) FROM notice_delivery d
                          WHERE d.message_id = %(message_id)s AND d.channel_id = w.channel_id), 0),
           %(now)s, 'sending'
      FROM unnest(%(channel_ids)s::int[]) AS w (channel_id)
    RETURNING channel_id, attempt"""


async def begin(
    conn: Connection, message_id: int, channel_ids: Sequence[int], now: datetime, *, too_few: bool
) -> dict[int, int]:
    """Numbers of the attempts that begin now, by channel."""
    arguments = {
        "message_id": message_id,
        "channel_ids": list(channel_ids),
        "now": now,
        "too_few": too_few,
    }
    return {
        int(row[0]): int(row[1]) for row in await (await conn.execute(BEGIN, arguments)).fetchall()
    }


END: Final = """
    UPDATE notice_delivery SET result = %(result)s, ended_at = %(now)s, answer = %(answer)s
     WHERE message_id = %(message_id)s AND channel_id = %(channel_id)s AND attempt = %(attempt)s"""


async def end(
    conn: Connection,
    message_id: int,
    attempts: Mapping[int, int],
    outcomes: Mapping[int, Outcome],
    now: datetime,
) -> None:
    """Notes what came of the attempts; also of one that was taken for interrupted meanwhile."""
    for channel_id, outcome in outcomes.items():
        await conn.execute(
            END,
            {
                "message_id": message_id,
                "channel_id": channel_id,
                "attempt": attempts[channel_id],
                "result": "delivered" if outcome.taken else "failed",
                "answer": outcome.answer,
                "now": now,
            },
        )


CLOSE: Final = """
    UPDATE notice_message
       SET state = %(state)s, too_few = %(too_few)s, gathers = false,
           sent_at = CASE %(state)s WHEN 'sent' THEN %(now)s END
     WHERE message_id = %(message_id)s"""
# Two messages of one notice may end at once; the later one must see how the other ended.
HOLD_NOTICES: Final = """
    SELECT FROM notice n JOIN notice_in_message i USING (notice_id)
     WHERE i.message_id = %(message_id)s ORDER BY notice_id FOR UPDATE OF n"""
# Told to one of its contacts is told; undeliverable is what none of them got.
END_NOTICES: Final = """
    UPDATE notice n
       SET state = CASE WHEN s.sent THEN 'sent' WHEN s.open THEN n.state
                        ELSE 'undeliverable' END,
           reason = CASE WHEN s.well OR s.open AND NOT s.sent THEN NULL
                         WHEN s.sent THEN 'too_few_channels' ELSE %(reason)s END
      FROM (SELECT notice_id, bool_or(m.state = 'sent') AS sent,
                   bool_or(m.state = 'sent' AND NOT m.too_few) AS well,
                   bool_or(m.state IN ('waiting', 'sending')) AS open
              FROM notice_in_message i JOIN notice_message m USING (message_id)
             WHERE notice_id IN (SELECT notice_id FROM notice_in_message
                                  WHERE message_id = %(message_id)s)
             GROUP BY notice_id) s
     WHERE n.notice_id = s.notice_id"""


async def close(
    conn: Connection, message_id: int, state: str, now: datetime, *, too_few: bool, reason: str
) -> None:
    """How the message, and its notices with it, ended."""
    arguments = {
        "message_id": message_id,
        "state": state,
        "too_few": too_few,
        "reason": reason,
        "now": now,
    }
    for statement in (CLOSE, HOLD_NOTICES, END_NOTICES):
        await conn.execute(statement, arguments)


FACTS: Final = """
    SELECT n.notice_id, n.kind, n.tier, n.due_at, n.body, n.case_id::text, n.alarm_id::text,
           d.stage,
           coalesce(e.name, '') AS enterprise, coalesce(e.code, '') AS enterprise_code,
           coalesce(x.code, '') AS device, coalesce(x.name, '') AS device_name,
           coalesce(x.location, '') AS location,
           coalesce(x.code || '.' || p.quantity, '') AS point, coalesce(a.rule_id, '') AS rule_id,
           coalesce(r.definition -> 'name', '{}') AS rule_name,
           coalesce(nullif(r.definition -> 'guidance', 'null'), '{}') AS guidance,
           nullif(a.value, 'NaN') AS value, a.limit_value AS "limit",
           coalesce(a.value_unit, p.unit, '') AS unit,
           coalesce(a.direction, '') AS direction, a.raised_at,
           coalesce(a.drill, false) AS drill, coalesce(a.found_late, false) AS found_late
      FROM notice_in_message i JOIN notice n USING (notice_id)
           LEFT JOIN alarm a ON a.alarm_id = n.alarm_id
           LEFT JOIN disposal_case d ON d.case_id = n.case_id
           LEFT JOIN enterprise e ON e.enterprise_id = n.enterprise_id
           LEFT JOIN device x ON x.device_id = a.device_id
           LEFT JOIN point p ON p.point_id = a.point_id
           LEFT JOIN rule_version r ON r.rule_id = a.rule_id AND r.version = a.rule_version
     WHERE i.message_id = %(message_id)s ORDER BY n.notice_id"""


async def facts(conn: Connection, message_id: int) -> list[Facts]:
    """What the notices of the message are about, as it stands now."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(FACTS, {"message_id": message_id})
        return [Facts(**row | {"tier": Tier(row["tier"])}) for row in await cursor.fetchall()]


ADD_LINK: Final = """
    INSERT INTO case_link (token_sha256, message_id, contact_id, case_id, created_at, expires_at)
    VALUES (%(token)s, %(message_id)s, %(contact_id)s, %(case_id)s, %(now)s, %(expires_at)s)"""


async def add_link(conn: Connection, parcel: Parcel, case_id: str, now: datetime) -> str:
    """A new token that opens the case for the contact once; only its hash is kept."""
    token = secrets.token_urlsafe(LINK_BYTES)
    await conn.execute(
        ADD_LINK,
        {
            "token": hashlib.sha256(token.encode()).digest(),
            "message_id": parcel.message_id,
            "contact_id": parcel.contact_id,
            "case_id": case_id,
            "now": now,
            "expires_at": now + LINK_LASTS,
        },
    )
    return token
