"""What the passing of time does to alarms in PostgreSQL."""

from datetime import datetime
from typing import Final

from hazardloop.alarms import hold_store
from hazardloop.alarms.case_store import Connection

# An alarm on hold is not acknowledged but withheld: it does not sound again before it is back.
RE_ALARM: Final = """
    WITH patience AS (
        SELECT rule_id, version,
               (definition ->> 're_alarm_s')::float8 * interval '1 second' AS lasts
          FROM rule_version WHERE (definition ->> 're_alarm_s')::float8 > 0
    ), due AS (
        SELECT alarm_id FROM alarm a JOIN patience p
               ON (p.rule_id, p.version) = (a.rule_id, a.rule_version)
         WHERE cleared_at IS NULL AND hold_id IS NULL AND acknowledged_at <= %(now)s - lasts
         ORDER BY alarm_id FOR NO KEY UPDATE OF a
    ), sounded AS (
        UPDATE alarm a SET acknowledged_at = NULL, acknowledged_by = NULL, acknowledge_note = NULL,
               version = version + 1
          FROM due WHERE due.alarm_id = a.alarm_id
        RETURNING a.alarm_id, version, tier_now
    )
    INSERT INTO alarm_change (alarm_id, version, change, tier, changed_at)
    SELECT alarm_id, version, 're_alarmed', tier_now, %(now)s FROM sounded RETURNING alarm_id"""


async def re_alarm(conn: Connection, now: datetime) -> int:
    """How many alarms are unacknowledged again: active for longer than their rule lets rest."""
    async with conn.transaction():
        cursor = await conn.execute(RE_ALARM, {"now": now})
        sounded = [alarm_id for (alarm_id,) in await cursor.fetchall()]
        await hold_store.tell(conn, sounded)
    return len(sounded)
