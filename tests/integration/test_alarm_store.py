"""Changes of alarms made durable, in a real database."""

from datetime import UTC, datetime
from typing import Any

import pytest

from hazardloop.alarms import rule_store, store
from hazardloop.alarms.alarm import Change, ChangeKind, Direction, Tier, alarm_id_of
from hazardloop.alarms.evaluation import Outcome
from hazardloop.alarms.memory import CellRow
from hazardloop.alarms.rules import catalogue_rules
from hazardloop.devices.catalog import shipped_catalog
from hazardloop.devices.registry import Registry
from hazardloop.devices.store import load_registry
from hazardloop.service.database import Connection, connect
from tests import worlds
from tests.worlds import query

RULE = "gas_detector.lel.high"
START_US = 1_795_300_000_000_000


@pytest.fixture
async def registry(database: str) -> Registry:
    worlds.register(database, {"GD-1": "gas_detector", "GD-2": "gas_detector"})
    async with await connect(database, "test") as connection:
        catalog = shipped_catalog()
        await rule_store.keep_rule_versions(connection, catalogue_rules(catalog))
        return await load_registry(connection, catalog)


def change(
    registry: Registry, kind: ChangeKind, before: Tier, after: Tier, second: int, raised: int = 0
) -> Change:
    row = next(row for row, point in enumerate(registry.points) if point.code == "GD-1.lel")
    point_id = int(registry.point_id[row])
    raised_us = START_US + raised * 1_000_000
    return Change(
        kind, alarm_id_of(RULE, point_id, raised_us), row, point_id, RULE, 1, after, before,
        10.0 * after, 25.0, Direction.HIGH, START_US + second * 1_000_000, raised_us,
    )  # fmt: skip


async def record(connection: Connection, registry: Registry, *changes: Change) -> list[Any]:
    async with connection.transaction():
        return await store.record(connection, Outcome(changes, ()), registry, datetime.now(UTC))


ALARMS = "SELECT tier, tier_now, version, value FROM alarm ORDER BY raised_at"
HISTORY = "SELECT version, change, tier FROM alarm_change ORDER BY alarm_id, version"


async def test_a_batch_may_raise_change_clear_and_raise_anew(
    database: str, registry: Registry
) -> None:
    none, yellow, orange = Tier.NONE, Tier.YELLOW, Tier.ORANGE
    async with await connect(database, "test") as connection:
        first = await record(
            connection, registry, change(registry, ChangeKind.RAISED, none, yellow, 0)
        )
        told = await record(
            connection,
            registry,
            change(registry, ChangeKind.ROSE, yellow, orange, 1),
            change(registry, ChangeKind.FELL, orange, yellow, 2),
            change(registry, ChangeKind.CLEARED, yellow, none, 3),
            change(registry, ChangeKind.RAISED, none, orange, 4, raised=4),
            change(registry, ChangeKind.CLEARED, orange, none, 5, raised=4),
            change(registry, ChangeKind.RAISED, none, yellow, 6, raised=6),
        )
    assert query(database, ALARMS) == [(3, 0, 4, 30.0), (3, 0, 2, 30.0), (2, 2, 1, 20.0)]
    assert [one.version for one in first + told] == [1, 2, 3, 4, 1, 2, 1]
    assert len(query(database, HISTORY)) == 7
    assert query(database, "SELECT count(*), count(DISTINCT alarm_id) FROM disposal_case") == [
        (3, 3)
    ]
    assert query(database, "SELECT max(seq), count(*) FROM live_change") == [(4, 4)]


async def test_recording_a_raise_again_changes_nothing(database: str, registry: Registry) -> None:
    raised = change(registry, ChangeKind.RAISED, Tier.NONE, Tier.RED, 0)
    async with await connect(database, "test") as connection:
        assert len(await record(connection, registry, raised)) == 1
        before = query(database, "SELECT * FROM alarm") + query(database, "SELECT * FROM ledger")
        assert await record(connection, registry, raised) == []
    assert (
        query(database, "SELECT * FROM alarm") + query(database, "SELECT * FROM ledger") == before
    )


async def test_a_rising_tier_takes_the_acknowledgement_back_and_hastens_the_case(
    database: str, registry: Registry
) -> None:
    async with await connect(database, "test") as connection:
        await record(
            connection, registry, change(registry, ChangeKind.RAISED, Tier.NONE, Tier.YELLOW, 0)
        )
        await connection.execute("UPDATE alarm SET acknowledged_at = now(), acknowledged_by = 'li'")
        slow = query(database, "SELECT stage_due_at FROM disposal_case")
        await record(
            connection, registry, change(registry, ChangeKind.ROSE, Tier.YELLOW, Tier.RED, 1)
        )
    assert query(database, "SELECT acknowledged_by, tier FROM alarm") == [(None, 4)]
    assert query(database, "SELECT stage_due_at FROM disposal_case") < slow


async def test_memory_is_kept_only_while_it_differs_from_rest(
    database: str, registry: Registry
) -> None:
    point_id = int(registry.point_id[0])
    async with await connect(database, "test") as connection:
        for holds, since, kept in ((False, START_US, 1), (True, None, 1), (False, None, 0)):
            outcome = Outcome((), (CellRow(RULE, point_id, 2, holds, since),))
            await store.record(connection, outcome, registry, datetime.now(UTC))
            cells, _ = await store.load_memory(connection)
            assert len(cells) == kept
            assert cells == ([] if not kept else [CellRow(RULE, point_id, 2, holds, since)])


async def test_a_changed_rule_gets_a_new_version_and_an_unchanged_one_does_not(
    database: str, registry: Registry
) -> None:
    rules = catalogue_rules(shipped_catalog())
    async with await connect(database, "test") as connection:
        assert set((await rule_store.keep_rule_versions(connection, rules)).values()) == {1}
        await connection.execute(
            "INSERT INTO rule_version SELECT rule_id, 2, definition || '{\"deadband\": 99}'"
            "  FROM rule_version WHERE rule_id = %s",
            [RULE],
        )
        versions = await rule_store.keep_rule_versions(connection, rules)
    assert versions.pop(RULE) == 3
    assert set(versions.values()) == {1}


async def test_a_flood_of_five_thousand_alarms_is_one_transaction(database: str) -> None:
    devices = {f"GD-{n}": "gas_detector" for n in range(1_250)}
    worlds.register(database, devices)
    async with await connect(database, "test") as connection:
        catalog = shipped_catalog()
        await rule_store.keep_rule_versions(connection, catalogue_rules(catalog))
        registry = await load_registry(connection, catalog)
        changes = [
            Change(
                ChangeKind.RAISED, alarm_id_of(RULE, point.point_id, START_US), row,
                point.point_id, RULE, 1, Tier.RED, Tier.NONE, 60.0, 50.0, Direction.HIGH,
                START_US, START_US,
            )
            for row, point in enumerate(registry.points)
        ]  # fmt: skip
        told = await record(connection, registry, *changes)
    assert len(told) == len(changes) == 5_000
    assert query(database, "SELECT count(*), max(seq) FROM live_change") == [(5_000, 5_000)]
    assert query(database, "SELECT count(*) FROM assignment") == [(10_000,)]
