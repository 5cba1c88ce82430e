"""Two enterprises with gateways, devices and users, and the means to ask the api about them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from types import TracebackType
from typing import Any
from uuid import UUID

import httpx
from fastapi import FastAPI
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from hazardloop.alarms import case_store, disposal
from hazardloop.alarms.alarm import (
    Action,
    Actor,
    Role,
    Step,
    Tier,
    Verdict,
    alarm_id_of,
    case_id_of,
)
from hazardloop.alarms.rules import catalogue_rules, definition_of
from hazardloop.devices.catalog import shipped_catalog
from hazardloop.devices.instants import microseconds_of
from hazardloop.service.api import sessions
from hazardloop.service.passwords import hash_password

PASSWORD = "correct horse 9"
ROLES = ("admin", "supervisor", "operator", "authority", "auditor", "tester")
"""Each is a user of that name; enterprise users are ent1 and ent2."""

REGISTRY = """
    INSERT INTO enterprise (code, name, area)
    VALUES ('E1', '示范化工', '北区'), ('E2', '另一家', '南区');
    INSERT INTO hazard_unit (enterprise_id, code, name, grade) VALUES (1, 'HU-1', '液氨罐区', 1);
    INSERT INTO gateway (enterprise_id, code, name, mqtt_username, secret_bcrypt, secret_pbkdf2)
    VALUES (1, 'GW-1', '一号', 'E1.GW-1', '', ''), (2, 'GW-1', '二号', 'E2.GW-1', '', '');
    INSERT INTO device (enterprise_id, gateway_id, hazard_unit_id, code, kind, name, location)
    VALUES (1, 1, 1, 'GD-1', 'gas_detector', '探测器', '东侧'),
           (1, 1, NULL, 'TK-1', 'tank', '', ''),
           (2, 2, NULL, 'GD-1', 'gas_detector', '', ''),
           (2, 2, NULL, 'SD-2', 'smoke_detector', '', '');
    INSERT INTO point (device_id, enterprise_id, quantity, unit)
    VALUES (1, 1, 'lel', '%{LEL}'), (2, 1, 'level', 'm'),
           (3, 2, 'lel', '%{LEL}'), (4, 2, 'smoke', '1');
    UPDATE case_policy SET rest = '0';
"""
POINTS = {"E1:GD-1.lel": 1, "E1:TK-1.level": 2, "E2:GD-1.lel": 3, "E2:SD-2.smoke": 4}
RULE = "gas_detector.lel.high"
OWNER = "SELECT enterprise_id FROM alarm WHERE alarm_id = %s"
STEPS: tuple[tuple[Action, Role, dict[str, Any]], ...] = (
    (Action.SIGN, Role.ENTERPRISE, {}),
    (Action.SIGN, Role.AUTHORITY, {}),
    (Action.VERIFY, Role.ENTERPRISE, {"verdict": Verdict.REAL}),
    (Action.HANDLE, Role.ENTERPRISE, {}),
    (Action.SUBMIT, Role.ENTERPRISE, {"cause": "阀门泄漏", "measures": "更换垫片"}),
    (Action.CLOSE, Role.AUTHORITY, {"note": "现场已复核"}),
)
"""From dispatched to closed, of a case that needs no evidence."""


@cache
def password_hash() -> str:
    """Of PASSWORD; computed once, as it is slow by intent."""
    return hash_password(PASSWORD)


@cache
def rules() -> list[tuple[str, Jsonb]]:
    """Id and definition of each default rule."""
    return [
        (rule.rule_id, Jsonb(definition_of(rule))) for rule in catalogue_rules(shipped_catalog())
    ]


@dataclass
class World:
    """The api, its database, and who may ask."""

    app: FastAPI
    conn: AsyncConnection[tuple[Any, ...]]
    """As owner, outside any transaction."""
    now: datetime
    """What the api takes for the time."""
    _tokens: dict[str, str] = field(default_factory=dict)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def __aenter__(self) -> World:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()
        await self.conn.close()

    async def anonymous(self) -> httpx.AsyncClient:
        """A client that nobody knows."""
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        client = httpx.AsyncClient(transport=transport, base_url="http://testserver/api/v1")
        return await self._stack.enter_async_context(client)

    async def client(self, username: str) -> httpx.AsyncClient:
        """A client logged in as that user."""
        client = await self.anonymous()
        if username not in self._tokens:
            # Straight into the table: a login costs a password hash, which is slow by intent.
            account, _ = await sessions.find_user(self.conn, username) or (None, None)
            assert account is not None
            self._tokens[username] = await sessions.open_session(self.conn, account, self.now)
        client.headers["Authorization"] = f"Bearer {self._tokens[username]}"
        return client

    async def raise_alarm(
        self, point: str = "E1:GD-1.lel", tier: Tier = Tier.ORANGE, *, age_s: float = 0
    ) -> UUID:
        """An active alarm with its case, told to the live stream, raised so many seconds ago."""
        at = self.now - timedelta(seconds=age_s)
        point_id = POINTS[point]
        alarm_id = alarm_id_of(RULE, point_id, microseconds_of(at))
        async with self.conn.transaction():
            await self.conn.execute(
                """INSERT INTO alarm (alarm_id, enterprise_id, device_id, point_id, rule_id,
                                      rule_version, tier, tier_now, value, limit_value,
                                      direction, raised_at)
                   SELECT %s, enterprise_id, device_id, point_id, %s, 1, %s, %s, 62.5, 50,
                          'high', %s FROM point WHERE point_id = %s""",
                [alarm_id, RULE, tier, tier, at, point_id],
            )
            await self._note(alarm_id, 1, "raised", tier, at)
            await case_store.open_cases(self.conn, [alarm_id], at)
            await self.tell(alarm_id)
        return alarm_id

    async def rise(self, alarm_id: UUID, tier: Tier) -> None:
        """The alarm's tier rises, which takes its acknowledgement away."""
        async with self.conn.transaction():
            version = await self._bump(
                alarm_id,
                "tier = %(tier)s, tier_now = %(tier)s, acknowledged_at = NULL,"
                " acknowledged_by = NULL,",
                tier=tier,
            )
            await self._note(alarm_id, version, "tier", tier, self.now)
            await self.tell(alarm_id)

    async def clear(self, alarm_id: UUID) -> None:
        """The alarm's signal goes back."""
        async with self.conn.transaction():
            version = await self._bump(
                alarm_id, "tier_now = 0, cleared_at = %(now)s,", now=self.now
            )
            await self._note(alarm_id, version, "cleared", Tier.NONE, self.now)
            await self.tell(alarm_id)

    async def close_case(self, alarm_id: UUID, verdict: Verdict = Verdict.REAL) -> None:
        """Takes all steps of the alarm's case; its signal must have cleared."""
        case_id = case_id_of(alarm_id)
        for revision, (action, role, body) in enumerate(STEPS, 2):
            own = await self._value(OWNER, alarm_id) if role is Role.ENTERPRISE else None
            actor = Actor(role.value, role.value, role, own)
            said = body | ({"verdict": verdict} if action is Action.VERIFY else {})
            step = Step(action, actor, revision, self.now, **said)
            await disposal.take_step(self.conn, case_id, step)

    async def seq(self) -> int:
        """Number of the newest change of the live stream."""
        return int(await self._value("SELECT seq FROM live_counter"))

    async def _value(self, query: str, *arguments: Any) -> Any:
        row = await (await self.conn.execute(query, arguments)).fetchone()
        assert row is not None
        return row[0]

    async def tell(self, *alarm_ids: UUID) -> None:
        """Numbers a change of these alarms for the live stream."""
        await self.conn.execute("SELECT note_live_changes(%s::uuid[])", [list(alarm_ids)])

    async def store(self, point: str, *readings: tuple[float, float, int]) -> None:
        """Readings of a point: seconds before now, value, quality bits."""
        for age_s, value, quality in readings:
            at = self.now - timedelta(seconds=age_s)
            await self.conn.execute(
                "INSERT INTO reading VALUES (%s, %s, %s, %s, %s)",
                [POINTS[point], at, at + timedelta(milliseconds=50), value, quality],
            )

    async def _bump(self, alarm_id: UUID, changes: str = "", **arguments: Any) -> int:
        cursor = await self.conn.execute(
            f"UPDATE alarm SET {changes} version = version + 1 WHERE alarm_id = %(id)s"
            " RETURNING version",
            {"id": alarm_id, **arguments},
        )
        row = await cursor.fetchone()
        assert row is not None
        return int(row[0])

    async def _note(
        self, alarm_id: UUID, version: int, change: str, tier: Tier, at: datetime
    ) -> None:
        await self.conn.execute(
            """INSERT INTO alarm_change (alarm_id, version, change, tier, value, limit_value,
                                         changed_at) VALUES (%s, %s, %s, %s, 62.5, 50, %s)""",
            [alarm_id, version, change, tier, at],
        )


async def build_world(database: str, app: FastAPI, now: datetime) -> World:
    """Fills the database; the api is not started."""
    conn = await AsyncConnection.connect(database, autocommit=True)
    await conn.execute(REGISTRY)
    yesterday = now.date() - timedelta(days=1)
    await conn.execute("SELECT ensure_reading_partitions(%s, %s)", [yesterday, now.date()])
    users = [(role, role, None) for role in ROLES] + [
        ("ent1", "enterprise", 1),
        ("ent2", "enterprise", 2),
    ]
    async with conn.cursor() as cursor:
        await cursor.executemany(
            """INSERT INTO user_account (username, display_name, role, enterprise_id, password_hash)
               VALUES (%s, %s, %s, %s, %s)""",
            [(name, name.title(), role, own, password_hash()) for name, role, own in users],
        )
        await cursor.executemany(
            "INSERT INTO rule_version (rule_id, version, definition) VALUES (%s, 1, %s)", rules()
        )
    return World(app, conn, now)


async def lines_of(stream: AsyncIterator[str]) -> AsyncIterator[tuple[str, str, str | None]]:
    """Server-sent events of a response: name, data, id."""
    name, data, identity = "message", "", None
    async for line in stream:
        if not line:
            if data:
                yield name, data, identity
            name, data, identity = "message", "", None
        key, _, value = line.partition(": ")
        if key == "event":
            name = value
        elif key == "data":
            data = value
        elif key == "id":
            identity = value
