"""What the published figures are made of, read from alarms, cases and ledger."""

from datetime import datetime
from typing import Any, Final

from psycopg.rows import dict_row

from hazardloop.alarms.alarm import Tier
from hazardloop.alarms.case_store import Connection
from hazardloop.alarms.figures import Record

# From the alarm outwards and by LEFT JOIN: nothing that is done to a case, a device or a person
# takes an alarm out of the denominator.
RAISED: Final = """
    SELECT a.alarm_id, e.code AS enterprise, coalesce(d.kind, '') AS kind, a.tier, a.drill,
           coalesce(c.stage = 'closed' AND c.verdict IS NOT NULL, false) AS closed,
           NOT EXISTS (SELECT FROM ledger l
                        WHERE l.case_id = c.case_id AND (l.body ->> 'late')::boolean
                          AND l.body ->> 'fulfilled' IN ('submit', 'review')) AS in_time
      FROM alarm a JOIN enterprise e USING (enterprise_id)
           LEFT JOIN device d ON d.device_id = a.device_id
           LEFT JOIN disposal_case c ON c.alarm_id = a.alarm_id
     WHERE a.raised_at >= %(from)s AND a.raised_at < %(to)s
       AND (a.enterprise_id = %(enterprise)s OR %(enterprise)s::int IS NULL AND NOT e.internal)
     ORDER BY a.raised_at, a.alarm_id"""


async def raised_in(
    conn: Connection, start: datetime, end: datetime, enterprise_id: int | None = None
) -> list[Record]:
    """Every alarm raised in [start, end) by data time that may be seen, oldest first."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(RAISED, {"from": start, "to": end, "enterprise": enterprise_id})
        return [_record(row) for row in await cursor.fetchall()]


def _record(row: dict[str, Any]) -> Record:
    return Record(**row | {"tier": Tier(row["tier"])})
