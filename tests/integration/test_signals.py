"""Latches, holds and drills of alarms in a real database, through the worker's own door."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from hazardloop.alarms import hold_store, rule_store, signal_store, store
from hazardloop.alarms.alarm import (
    Actor,
    Change,
    ChangeKind,
    Direction,
    Role,
    Tier,
    alarm_id_of,
)
from hazardloop.alarms.errors import HoldForbidden, HoldRefused
from hazardloop.alarms.evaluation import Outcome
from hazardloop.alarms.hold import Ending, Wish
from hazardloop.alarms.hold_store import Permit, Scope
from hazardloop.alarms.rules import catalogue_rules
from hazardloop.alarms.signal import Hold
from hazardloop.alarms.store import Announcement
from hazardloop.devices.catalog import shipped_catalog
from hazardloop.devices.registry import Registry
from hazardloop.devices.store import load_registry
from hazardloop.service.database import Connection, connect
from tests import worlds
from tests.worlds import query

GAS = "gas_detector.lel.high"
BYPASSED = "gas_detector.in_service"
SMOKE = "smoke_detector.smoke"
NOW = datetime.now(UTC).replace(microsecond=0)
OPERATOR = Actor("zhao", "赵一", Role.OPERATOR)
SUPERVISOR = Actor("wang", "王五", Role.SUPERVISOR)
OTHER_SUPERVISOR = Actor("sun", "孙二", Role.SUPERVISOR)
ENTERPRISE = Actor("zhang", "张三", Role.ENTERPRISE, 1)
WORK = Permit("JX-2026-118", "张三", "便携式检测仪，每十分钟一次")


class District:
    """Two gas detectors in one hazard unit, a smoke detector, and what a worker says of them."""

    def __init__(self, database: str, connection: Connection, registry: Registry) -> None:
        self.database = database
        self.connection = connection
        self.registry = registry
        self.now = NOW
        self.device = dict(query(database, "SELECT code, device_id FROM device"))

    async def say(
        self, kind: ChangeKind, tier: Tier, at_s: float = 0, *, raised_s: float = 0,
        point: str = "GD-1.lel", rule: str = GAS, connection: Connection | None = None,
    ) -> list[Announcement]:  # fmt: skip
        """A change of an alarm, recorded as the worker does."""
        connection = connection or self.connection
        row = next(row for row, one in enumerate(self.registry.points) if one.code == point)
        point_id = int(self.registry.point_id[row])
        at_us, raised_us = (
            int((NOW + timedelta(seconds=s)).timestamp() * 1e6) for s in (at_s, raised_s)
        )
        change = Change(
            kind, alarm_id_of(rule, point_id, raised_us), row, point_id, rule, 1, tier,
            Tier.NONE, 10.0 * tier, 25.0, Direction.HIGH, at_us, raised_us,
        )  # fmt: skip
        async with connection.transaction():
            return await store.record(connection, Outcome((change,)), self.registry, self.now)

    async def hold(
        self, kind: Hold, tier: Tier, actor: Actor = OPERATOR, *, hours: float = 1,
        device: str = "GD-1", permit: Permit = WORK, while_rule: str | None = None,
        reason: str = "探头故障，已派人更换",
    ) -> int:  # fmt: skip
        """Asks that alarms be withheld, and settles them; the hold's id."""
        point_id = rule = None
        if kind is Hold.SHELVED:
            rule = GAS
            ((point_id,),) = query(
                self.database, "SELECT point_id FROM point JOIN device USING (device_id)"
                " WHERE code = %s AND quantity = 'lel'", [device])  # fmt: skip
        wish = Wish(kind, tier, self.now + timedelta(hours=hours), reason)
        scope = Scope(1, self.device[device], point_id, rule, while_rule)
        async with self.connection.transaction():
            hold = await hold_store.ask(self.connection, wish, scope, permit, actor, self.now)
            await hold_store.settle(self.connection, [hold.device_id], self.now)
        return hold.hold_id

    async def grant(self, hold_id: int, actor: Actor) -> None:
        async with self.connection.transaction():
            hold = await hold_store.grant(self.connection, hold_id, actor, self.now)
            await hold_store.settle(self.connection, [hold.device_id], self.now)

    def history(self, rule: str = GAS) -> list[str]:
        found = query(
            self.database,
            "SELECT change FROM alarm_change JOIN alarm USING (alarm_id)"
            " WHERE rule_id = %s ORDER BY alarm.raised_at, alarm_change.version",
            [rule],
        )
        return [change for (change,) in found]

    def annunciated(self, rule: str = GAS) -> list[bool]:
        return [said for (said,) in query(
            self.database, "SELECT alarm_annunciated(alarm_id, %s) FROM alarm WHERE rule_id = %s"
            " ORDER BY raised_at", [self.now, rule])]  # fmt: skip

    def endings(self) -> list[str | None]:
        return [why for (why,) in query(
            self.database, "SELECT ended_why FROM alarm_hold ORDER BY hold_id")]  # fmt: skip


@pytest.fixture
async def district(database: str) -> Any:
    worlds.register(
        database, {"GD-1": "gas_detector", "GD-2": "gas_detector", "SD-1": "smoke_detector"}
    )
    with psycopg.connect(database) as connection:
        connection.execute(
            "INSERT INTO hazard_unit (enterprise_id, code, name) VALUES (1, 'U1', 'unit')"
        )
        connection.execute("UPDATE device SET hazard_unit_id = 1 WHERE kind = 'gas_detector'")
    async with await connect(database, "test") as connection:
        catalog = shipped_catalog()
        await rule_store.keep_rule_versions(connection, catalogue_rules(catalog))
        yield District(database, connection, await load_registry(connection, catalog))


RAISED, ROSE, CLEARED = ChangeKind.RAISED, ChangeKind.ROSE, ChangeKind.CLEARED


async def test_a_thousand_raises_at_once_make_one_alarm_and_one_case(
    database: str, district: District
) -> None:
    async def raise_many(nth: int) -> None:
        async with await connect(database, "test") as connection:
            for each in range(50):
                at = nth * 50 + each
                await district.say(RAISED, Tier.RED, at, raised_s=at, connection=connection)

    await asyncio.gather(*(raise_many(nth) for nth in range(20)))
    assert query(database, "SELECT count(*) FROM alarm") == [(1,)]
    assert query(database, "SELECT count(*) FROM disposal_case") == [(1,)]
    assert query(database, "SELECT count(*) FROM assignment") == [(2,)]
    assert district.history() == ["raised"]
    assert query(database, "SELECT count(*), max(seq) FROM live_change") == [(1, 1)]
    assert query(database, "SELECT count(*) FROM outbox") == [(1,)]


async def test_a_latch_is_the_rules_stays_when_it_clears_and_goes_on_to_the_next_alarm(
    database: str, district: District
) -> None:
    smoke: dict[str, Any] = {"point": "SD-1.smoke", "rule": SMOKE}
    await district.say(RAISED, Tier.RED, **smoke)
    await district.say(RAISED, Tier.RED)
    latched = "SELECT rule_id, latched FROM alarm ORDER BY rule_id, raised_at"
    assert query(database, latched) == [(GAS, False), (SMOKE, True)]
    with psycopg.connect(database) as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute("UPDATE alarm SET latched = false")
    await district.say(CLEARED, Tier.NONE, 1, **smoke)
    assert query(database, latched) == [(GAS, False), (SMOKE, True)]
    await district.say(RAISED, Tier.RED, 2, raised_s=2, **smoke)
    assert query(database, latched) == [(GAS, False), (SMOKE, False), (SMOKE, True)]
    assert district.history(SMOKE) == ["raised", "cleared", "reset", "raised"]
    with psycopg.connect(database) as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute("UPDATE alarm SET latched = true WHERE rule_id = %s", [GAS])


async def test_a_shelf_withholds_old_and_new_alarms_which_are_recorded_all_the_same(
    database: str, district: District
) -> None:
    await district.say(RAISED, Tier.YELLOW)
    query(
        database, "UPDATE alarm SET acknowledged_at = now(), acknowledged_by = 'zhao' RETURNING 1"
    )
    await district.hold(Hold.SHELVED, Tier.YELLOW, hours=8)
    assert district.history() == ["raised", "shelved"]
    assert district.annunciated() == [False]
    await district.say(CLEARED, Tier.NONE, 5)
    (told,) = await district.say(RAISED, Tier.YELLOW, 9, raised_s=9)
    assert told.payload["withheld"] == "shelved"
    assert district.history() == ["raised", "shelved", "cleared", "raised", "shelved"]
    assert query(database, "SELECT count(*) FROM disposal_case") == [(2,)]
    assert district.annunciated() == [False, False]

    district.now += timedelta(hours=8)
    assert district.annunciated() == [True, True], "it ends though nobody ends it"
    assert await hold_store.end_due(district.connection, district.now) == 1
    assert await hold_store.end_due(district.connection, district.now) == 0
    assert district.endings() == ["timed_out"]
    assert district.history()[-1] == "returned"
    assert query(database, "SELECT acknowledged_by FROM alarm ORDER BY raised_at") == [
        ("zhao",), (None,)]  # fmt: skip
    acts = query(database, "SELECT action FROM ledger WHERE subject = 'hold' ORDER BY entry_id")
    assert acts == [("grant",), ("timed_out",)]


async def test_an_alarm_that_comes_back_active_is_unacknowledged(
    database: str, district: District
) -> None:
    await district.say(RAISED, Tier.YELLOW)
    query(
        database, "UPDATE alarm SET acknowledged_at = now(), acknowledged_by = 'zhao' RETURNING 1"
    )
    hold_id = await district.hold(Hold.SHELVED, Tier.YELLOW)
    async with district.connection.transaction():
        await hold_store.end(
            district.connection, hold_id, Ending.RELEASED, OPERATOR, district.now, "已更换"
        )
        moved = await hold_store.settle(
            district.connection, [district.device["GD-1"]], district.now
        )
        await hold_store.tell(district.connection, moved)
    assert district.annunciated() == [True]
    assert query(database, "SELECT acknowledged_by FROM alarm") == [(None,)]
    with pytest.raises(HoldRefused, match="was over at"):
        await hold_store.end(district.connection, hold_id, Ending.RELEASED, OPERATOR, district.now)


async def test_a_shelf_ends_when_the_tier_rises_or_a_second_sensor_confirms(
    district: District,
) -> None:
    await district.say(RAISED, Tier.YELLOW)
    await district.hold(Hold.SHELVED, Tier.YELLOW)
    (told,) = await district.say(ROSE, Tier.ORANGE, 1)
    assert told.payload["withheld"] is None
    assert district.endings() == ["tier_rose"]
    assert district.annunciated() == [True]

    await district.hold(Hold.SHELVED, Tier.ORANGE)
    assert district.annunciated() == [False]
    await district.say(RAISED, Tier.BLUE, 2, raised_s=2, point="GD-2.lel")
    assert district.endings() == ["tier_rose", "second_sensor"]
    assert district.annunciated() == [True, True]
    assert district.history()[:5] == ["raised", "shelved", "tier", "returned", "shelved"]


async def test_red_is_withheld_only_by_two_and_nobody_grants_himself_more(
    database: str, district: District
) -> None:
    await district.say(RAISED, Tier.RED)
    hold_id = await district.hold(Hold.SHELVED, Tier.RED, SUPERVISOR, hours=0.5)
    assert district.annunciated() == [True], "asked is not granted"
    for who in (SUPERVISOR, OPERATOR, ENTERPRISE):
        with pytest.raises(HoldForbidden):
            await district.grant(hold_id, who)
    with psycopg.connect(database) as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute(
            "UPDATE alarm_hold SET granted_at = now(), granted_by = 'wang',"
            " granted_role = 'supervisor'"
        )
    await district.grant(hold_id, OTHER_SUPERVISOR)
    assert district.annunciated() == [False]
    with pytest.raises(HoldRefused, match="is in force"):
        await district.grant(hold_id, OTHER_SUPERVISOR)


async def test_an_enterprise_asks_and_the_centre_grants(district: District) -> None:
    await district.say(RAISED, Tier.BLUE)
    hold_id = await district.hold(Hold.SHELVED, Tier.BLUE, ENTERPRISE)
    assert district.annunciated() == [True]
    await district.grant(hold_id, OPERATOR)
    assert district.annunciated() == [False]


async def test_out_of_service_spares_red_unless_two_withhold_it(district: District) -> None:
    await district.hold(Hold.OUT_OF_SERVICE, Tier.ORANGE, hours=48)
    (told,) = await district.say(RAISED, Tier.ORANGE)
    assert told.payload["withheld"] == "out_of_service"
    (told,) = await district.say(ROSE, Tier.RED, 1)
    assert told.payload["withheld"] is None
    assert district.history() == ["raised", "out_of_service", "tier", "returned"]
    assert district.endings() == [None], "the device is still out of service"


async def test_suppression_by_design_holds_only_while_its_condition_does(
    district: District,
) -> None:
    bypassed: dict[str, Any] = {"point": "GD-1.in_service", "rule": BYPASSED}
    await district.hold(Hold.SUPPRESSED, Tier.ORANGE, SUPERVISOR, hours=240, while_rule=BYPASSED)
    await district.say(RAISED, Tier.YELLOW)
    assert district.annunciated() == [True], "the device says that it is in service"
    await district.say(RAISED, Tier.BLUE, 1, raised_s=1, **bypassed)
    assert district.annunciated() == [False]
    assert district.annunciated(BYPASSED) == [True], "the condition itself is told"
    await district.say(CLEARED, Tier.NONE, 2, raised_s=1, **bypassed)
    assert district.annunciated() == [True]
    assert district.history() == ["raised", "suppressed", "returned"]


@pytest.mark.parametrize(
    ("forged", "constraint"),
    [
        pytest.param("reason = ' '", "hold_has_a_reason", id="no reason"),
        pytest.param("until = asked_at + interval '8 hours 1 second'", "hold_ends_by_itself",
                     id="a shelf longer than a shift"),
        pytest.param("tier = 3, until = asked_at + interval '61 minutes'", "hold_ends_by_itself",
                     id="orange longer than an hour"),
        pytest.param("kind = 'out_of_service', replacement = NULL", "maintenance_has_a_permit",
                     id="nothing that watches instead"),
        pytest.param("kind = 'suppressed', while_rule = NULL", "suppression_has_a_design",
                     id="suppression without a design"),
        pytest.param("tier = 4", "hold_on_red_has_two", id="red by one person"),
        pytest.param("granted_role = 'enterprise'", "hold_granted_by_the_centre",
                     id="granted by an enterprise"),
    ],
)  # fmt: skip
async def test_the_table_repeats_what_a_hold_must_be(
    database: str, district: District, forged: str, constraint: str
) -> None:
    await district.hold(Hold.SHELVED, Tier.YELLOW)
    with psycopg.connect(database) as connection:
        connection.execute("ALTER TABLE alarm_hold DISABLE TRIGGER hold_stays")
        with pytest.raises(psycopg.errors.CheckViolation) as caught:
            connection.execute(f"UPDATE alarm_hold SET {forged}")  # type: ignore[arg-type]
    assert caught.value.diag.constraint_name == constraint


async def test_a_hold_is_neither_rewritten_nor_deleted(database: str, district: District) -> None:
    await district.hold(Hold.SHELVED, Tier.YELLOW)
    with psycopg.connect(database) as connection:
        for statement in ("UPDATE alarm_hold SET until = until + interval '1 hour'",
                          "UPDATE alarm_hold SET granted_by = 'somebody else'",
                          "DELETE FROM alarm_hold"):  # fmt: skip
            with pytest.raises(psycopg.IntegrityError), connection.transaction():
                connection.execute(statement)  # type: ignore[arg-type]


async def test_an_acknowledged_alarm_sounds_again_when_its_rule_says_so(
    database: str, district: District
) -> None:
    query(
        database,
        "INSERT INTO rule_version (rule_id, version, definition)"
        " VALUES ('own.rule', 1, '{\"re_alarm_s\": 60}') RETURNING 1",
    )
    await district.say(RAISED, Tier.RED, rule="own.rule")
    await district.say(RAISED, Tier.RED)
    seen = "UPDATE alarm SET acknowledged_at = %s, acknowledged_by = 'zhao' RETURNING 1"
    query(database, seen, [NOW - timedelta(seconds=59)])
    assert await signal_store.re_alarm(district.connection, NOW) == 0
    assert await signal_store.re_alarm(district.connection, NOW + timedelta(seconds=1)) == 1
    assert district.history("own.rule") == ["raised", "re_alarmed"]
    assert district.history() == ["raised"]
    assert query(database, "SELECT rule_id FROM alarm WHERE acknowledged_by IS NULL") == [
        ("own.rule",)]  # fmt: skip
