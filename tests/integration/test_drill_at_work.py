"""A drill that is announced while a worker runs: its alarms are marked, all others are real."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hazardloop.alarms import drill_store
from hazardloop.alarms.alarm import Actor, Role, Tier
from hazardloop.alarms.drill_store import Announcement
from hazardloop.service.database import connect
from tests import worlds
from tests.brokers import Broker, mosquitto
from tests.integration.test_pipeline import at_work, gateway_at
from tests.worlds import eventually, query

MARKS = """
    SELECT device.code, alarm.drill FROM alarm JOIN device USING (device_id)
     WHERE rule_id = 'gas_detector.lel.high' ORDER BY device.code"""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    folder = tmp_path / "broker"
    folder.mkdir()
    with mosquitto(folder) as running:
        yield running


async def announce(database: str, points: list[int]) -> tuple[int, datetime]:
    """Number of a drill that begins soon, and when."""
    async with await connect(database, "test") as connection, connection.transaction():
        starts_at = datetime.now(UTC) + timedelta(seconds=8)
        drill = Announcement(
            1, "proof_test", "标气试验", Tier.ORANGE, starts_at, starts_at + timedelta(minutes=5),
            points, {points[0]: None},
        )  # fmt: skip
        supervisor = Actor("wang", "王五", Role.SUPERVISOR)
        return await drill_store.announce(connection, drill, supervisor), starts_at


def test_a_worker_learns_of_a_drill_and_marks_what_it_announced(
    database: str, broker: Broker, home: Path
) -> None:
    points = worlds.register(database, dict.fromkeys(("GD-1", "GD-2", "GD-3"), "gas_detector"))
    with at_work(database, broker, home), gateway_at(broker) as gateway:
        gateway.read({"GD-3.lel": 0})
        eventually(lambda: query(database, worlds.STORED)[0][0], "the worker reads")
        drill_id, starts_at = asyncio.run(
            announce(database, [points["GD-1.lel"], points["GD-3.lel"]])
        )
        gateway.read({"GD-1.lel": 0, "GD-2.lel": 0})
        eventually(lambda: datetime.now(UTC) > starts_at, "the drill begins")
        # 60 %LEL is orange, as announced; GD-2 is in no drill.
        gateway.read({"GD-1.lel": 60, "GD-2.lel": 60})
        eventually(lambda: len(query(database, MARKS)) == 2, "both alarms stand")
    assert query(database, MARKS) == [("GD-1", True), ("GD-2", False)]
    assert query(database, "SELECT DISTINCT drill_id FROM alarm WHERE drill") == [(drill_id,)]
    assert query(database, "SELECT count(*) FROM disposal_case JOIN alarm USING (alarm_id)"
                           " WHERE drill") == [(1,)]  # fmt: skip
