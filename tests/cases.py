"""A small district in the database, and alarms with their cases in it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from hazardloop.alarms import case_store, disposal
from hazardloop.alarms.alarm import Action, Actor, Case, Role, Stage, Step, Tier, Verdict
from hazardloop.alarms.ledger_store import Evidence

OFFICER: Final = Actor("li", "李四", Role.AUTHORITY)
SUPERVISOR: Final = Actor("wang", "王五", Role.SUPERVISOR)
REPORT: Final[dict[str, Any]] = {
    "cause": "法兰泄漏",
    "measures": "更换垫片",
    "responsible": "张三",
    "funds": "2000 元",
    "deadline": date(2026, 12, 1),
    "plan": "停车检修",
}

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
    VALUES ('gas_detector.high', 1, '{"name": {"zh": "可燃气体高报", "en": "Gas high"},
                "kind": "state", "condition": {"equals": 1, "tier": "yellow"},
                "on_delay_s": 0, "off_delay_s": 0}'),
           ('smoke_detector.high', 1, '{
                "kind": "state", "condition": {"equals": 1, "tier": "red"},
                "on_delay_s": 0, "off_delay_s": 0, "plan": [
                {"item": "evacuate", "text": {"zh": "疏散", "en": "Evacuate"}, "required": true},
                {"item": "call", "text": {"zh": "报 119", "en": "Call 119"}, "required": false}]}');
    UPDATE case_policy SET rest = '0'"""

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
                       tier_now, value, limit_value, direction, raised_at, drill, drill_id)
    SELECT alarm_id, enterprise_id, device_id, point_id, kind || '.high', 1, %(tier)s, %(tier)s,
           60, 50, 'high', %(raised_at)s, %(drill)s::int IS NOT NULL, %(drill)s
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
    drill_id = await announce_drill(conn, enterprise, raised_at) if drill else None
    await conn.execute(
        ALARMS,
        where
        | {"alarm_ids": alarm_ids, "tier": int(tier), "raised_at": raised_at, "drill": drill_id},
    )
    await conn.execute("SELECT note_live_changes(%s::uuid[])", [alarm_ids])
    return alarm_ids


DRILL: Final = """
    INSERT INTO drill (enterprise_id, kind, title, tier, starts_at, ends_at, announced_at,
                       announced_by)
    SELECT enterprise_id, 'drill', '演练', 4, %(at)s, %(at)s + interval '1 hour',
           %(at)s - interval '1 day', 'wang' FROM enterprise WHERE code = %(enterprise)s
    RETURNING drill_id"""
DRILL_POINTS: Final = """
    INSERT INTO drill_point (drill_id, point_id)
    SELECT drill_id, point_id FROM drill JOIN point USING (enterprise_id) WHERE drill_id = %s"""


async def announce_drill(conn: AsyncConnection[Any], enterprise: str, at: datetime) -> int:
    """Number of a drill at all points of an enterprise, in the hour from `at`."""
    async with conn.transaction():
        found = await conn.execute(DRILL, {"enterprise": enterprise, "at": at})
        (drill_id,) = await found.fetchone() or (0,)
        await conn.execute(DRILL_POINTS, [drill_id])
    return int(drill_id)


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


class Desk:
    """A database with a district, and people who step on its cases."""

    def __init__(self, conninfo: str, owner: AsyncConnection[Any], ids: dict[str, int]) -> None:
        self.conninfo = conninfo
        self.owner = owner
        self.ids = ids
        self.site = Actor("zhang", "张三", Role.ENTERPRISE, ids["E1"])
        self.scope = {"E1": str(ids["E1"]), "E2": str(ids["E2"])}

    async def load(self, case_id: UUID) -> Case:
        case = await case_store.load_case(self.owner, case_id)
        assert case is not None
        return case

    async def take(self, case_id: UUID, action: Action, actor: Actor, **content: Any) -> Case:
        """One step on the revision as it is, in a transaction of a request."""
        content.setdefault("revision", (await self.load(case_id)).revision)
        content.setdefault("taken_at", RAISED_AT + timedelta(minutes=1))
        scope = self.scope["E1"] if actor.role is Role.ENTERPRISE else "*"
        async with as_request(self.conninfo, scope) as conn:
            return await disposal.take_step(conn, case_id, Step(action, actor, **content))

    async def attach(self, case_id: UUID, caption: str | None = None) -> Case:
        evidence = Evidence(
            uuid4(), case_id, "阀门.jpg", "image/jpeg", 3, bytes(32), "zhang", RAISED_AT
        )
        async with as_request(self.conninfo, self.scope["E1"]) as conn:
            return await disposal.attach_evidence(conn, evidence, self.site, caption)

    async def bring_to(self, case_id: UUID, stage: Stage) -> None:
        """Walks the case along the straight path to `stage`."""
        walk: list[tuple[Stage, Action, Actor, dict[str, Any]]] = [
            (Stage.DISPATCHED, Action.SIGN, self.site, {}),
            (Stage.SIGNED, Action.SIGN, OFFICER, {}),
            (Stage.VERIFIED, Action.VERIFY, self.site, {"verdict": Verdict.REAL}),
            (Stage.HANDLING, Action.HANDLE, self.site, {}),
            (Stage.SUBMITTED, Action.SUBMIT, self.site, REPORT),
            (Stage.CLOSED, Action.CLOSE, OFFICER, {}),
        ]
        if stage is Stage.DISPATCHED:
            return
        for reached, action, actor, content in walk:
            case = await self.load(case_id)
            if action is Action.SUBMIT and case.tier >= Tier.ORANGE:
                await self.attach(case_id)
            await self.take(case_id, action, actor, **content)
            if reached is stage:
                return

    async def rows(self, query: str, *arguments: Any) -> list[dict[str, Any]]:
        async with self.owner.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query, arguments)
            return await cursor.fetchall()
