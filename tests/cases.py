"""A small district in the database, and alarms with their cases in it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid4

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from hazardloop.alarms import case_store
from hazardloop.alarms.alarm import Tier

RAISED_AT: Final = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)
"""When the alarms of these tests are raised and their cases dispatched."""

DISTRICT: Final = """
    INSERT INTO enterprise (code, name, area)
    VALUES ('E1', '示范化工', '城东监管所'), ('E2', '第二仓储', '');
    INSERT INTO gateway (enterprise_id, code, mqtt_username, secret_bcrypt, secret_pbkdf2)
    SELECT enterprise_id, 'G1', code || '.G1', '-', '-' FROM enterprise;
    INSERT INTO device (enterprise_id, gateway_id, code, kind)
    SELECT enterprise_id, gateway_id, made.code, made.kind FROM gateway,
           (VALUES ('GD-1', 'gas_detector'), ('SD-1', 'smoke_detector')) AS made (code, kind);
    INSERT INTO rule_version (rule_id, version, definition)
    VALUES ('gas_detector.high', 1, '{"name": {"zh": "可燃气体高报", "en": "Gas high"}}'),
           ('smoke_detector.high', 1, '{}')"""

POINTS: Final = """
    INSERT INTO point (device_id, enterprise_id, quantity, unit)
    SELECT device_id, enterprise_id, 'q' || n, '%%'
      FROM device JOIN enterprise USING (enterprise_id), generate_series(1, %(count)s) AS n
     WHERE enterprise.code = %(enterprise)s AND device.kind = %(kind)s
    ON CONFLICT DO NOTHING"""

ALARMS: Final = """
    WITH free AS (
        SELECT point_id, device_id, point.enterprise_id, kind,
               row_number() OVER (ORDER BY point_id) AS nth
          FROM point JOIN device USING (device_id)
               JOIN enterprise ON enterprise.enterprise_id = point.enterprise_id
         WHERE enterprise.code = %(enterprise)s AND kind = %(kind)s
           AND NOT EXISTS (SELECT FROM alarm WHERE alarm.point_id = point.point_id)
    )
    INSERT INTO alarm (alarm_id, enterprise_id, device_id, point_id, rule_id, rule_version, tier,
                       tier_now, value, limit_value, direction, raised_at, drill)
    SELECT alarm_id, enterprise_id, device_id, point_id, kind || '.high', 1, %(tier)s, %(tier)s,
           60, 50, 'high', %(raised_at)s, %(drill)s
      FROM unnest(%(alarm_ids)s::uuid[]) WITH ORDINALITY AS wanted (alarm_id, nth)
           JOIN free USING (nth)"""


async def found_district(conn: AsyncConnection[Any]) -> dict[str, int]:
    """Enterprise ids by code, after two enterprises with two devices each were made."""
    await conn.execute(DISTRICT)
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute("SELECT code, enterprise_id FROM enterprise")
        return {row["code"]: row["enterprise_id"] for row in await cursor.fetchall()}


async def raise_alarms(
    conn: AsyncConnection[Any],
    count: int = 1,
    *,
    tier: Tier = Tier.YELLOW,
    enterprise: str = "E1",
    kind: str = "gas_detector",
    raised_at: datetime = RAISED_AT,
    drill: bool = False,
) -> list[UUID]:
    """Ids of new active alarms, each at a point of its own, without cases."""
    where = {"enterprise": enterprise, "kind": kind}
    made = await _count(conn, where)
    await conn.execute(POINTS, where | {"count": made + count})
    alarm_ids = [uuid4() for _ in range(count)]
    await conn.execute(
        ALARMS,
        where | {"alarm_ids": alarm_ids, "tier": int(tier), "raised_at": raised_at, "drill": drill},
    )
    return alarm_ids


async def _count(conn: AsyncConnection[Any], where: dict[str, str]) -> int:
    found = await conn.execute(
        "SELECT count(*) FROM alarm JOIN device USING (device_id)"
        " JOIN enterprise ON enterprise.enterprise_id = device.enterprise_id"
        " WHERE enterprise.code = %(enterprise)s AND kind = %(kind)s",
        where,
    )
    return int((await found.fetchone() or [0])[0])


async def open_case(conn: AsyncConnection[Any], **alarm: Any) -> UUID:
    """Id of a case just dispatched; keywords as for `raise_alarms`."""
    alarm_ids = await raise_alarms(conn, **alarm)
    await case_store.open_cases(conn, alarm_ids, alarm.get("raised_at", RAISED_AT))
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            "SELECT case_id FROM disposal_case WHERE alarm_id = ANY (%s)", [alarm_ids]
        )
        row = await cursor.fetchone()
    assert row is not None
    return UUID(str(row["case_id"]))


async def clear_signal(conn: AsyncConnection[Any], alarm_ids: Sequence[UUID], at: datetime) -> None:
    """The signals of these alarms return to normal."""
    await conn.execute(
        "UPDATE alarm SET tier_now = 0, cleared_at = %s, version = version + 1"
        " WHERE alarm_id = ANY (%s)",
        [at, list(alarm_ids)],
    )


@asynccontextmanager
async def as_request(conninfo: str, scope: str) -> AsyncIterator[AsyncConnection[Any]]:
    """A transaction with the rights of a request; committed if the block ends well."""
    async with await AsyncConnection.connect(conninfo) as conn, conn.transaction():
        await conn.execute("SET LOCAL ROLE hazardloop_api")
        await conn.execute("SELECT set_config('hazardloop.scope', %s, true)", [scope])
        yield conn
