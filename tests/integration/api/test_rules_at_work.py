"""The rules of docs/rules.md with a broker, a worker that is killed midway, and the api."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import Broker, mosquitto
from tests.integration.api.world import World
from tests.integration.test_pipeline import Gateway, at_work, gateway_at, now_ms
from tests.rule_examples import Example, examples, kind_files
from tests.worlds import STORED, eventually, query

NIGHT = "plant.level.night"
"""Needs its hours, which are not those of the test."""
DEVICES = """
    INSERT INTO device (enterprise_id, gateway_id, code, kind, expected_interval_s)
    VALUES (1, 1, 'EL-1', 'elevator', 60), (1, 1, 'CT-1', 'controller', 30);
    UPDATE device SET expected_interval_s = 30 WHERE code IN ('TK-1', 'GD-1');
    INSERT INTO point (device_id, enterprise_id, quantity, unit)
    SELECT device_id, 1, q.quantity, q.unit
      FROM device JOIN (VALUES ('TK-1', 'pressure', 'kPa'), ('TK-1', 'temperature', 'Cel'),
                               ('GD-1', 'ppm', '[ppm]'), ('EL-1', 'repeated_door_failure', '1'),
                               ('CT-1', 'status', '1')) AS q (code, quantity, unit) USING (code)
     WHERE enterprise_id = 1"""
RAISED = "SELECT rule_id, alarm_id::text FROM alarm ORDER BY 1"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    folder = tmp_path / "broker"
    folder.mkdir()
    with mosquitto(folder) as running:
        yield running


def say(gateway: Gateway, example: Example, said: list[tuple[int, float]]) -> None:
    for at_ms, value in said:
        if example.kind == "elevator":
            over = {"data": {"active": value == 1}}
            told = {"ts": at_ms, "device": example.device, "event": example.quantity, **over}
            gateway.say("E1/GW-1/event", told)
        else:
            gateway.read({f"{example.device}.{example.quantity}": value}, at_ms, "E1/GW-1")


async def test_each_example_becomes_its_alarm_though_the_worker_is_killed_midway(
    api: World, database: str, broker: Broker, home: Path, tmp_path: Path
) -> None:
    await api.conn.execute(DEVICES)
    kinds = tmp_path / "kinds"
    kinds.mkdir()
    for name, text in kind_files().items():
        (kinds / name).write_text(text, encoding="utf-8")
    told = {name: each for name, each in examples().items() if name != NIGHT}
    start_ms = now_ms() - 5_000
    half = {name: len(each.said) // 2 for name, each in told.items()}
    settings: dict[str, Any] = {"kinds_dir": kinds, "settle_s": 0}

    def run() -> None:
        with gateway_at(broker) as gateway:
            with at_work(database, broker, home, **settings) as worker:
                for name, each in told.items():
                    say(gateway, each, each.at(start_ms)[: half[name]])
                stored = sum(half.values())
                eventually(lambda: query(database, STORED) == [(stored,)], "the first are stored")
                worker.send_signal(signal.SIGKILL)
                worker.wait()
            assert query(database, RAISED) == []
            with at_work(database, broker, home, **settings):
                for name, each in told.items():
                    say(gateway, each, each.at(start_ms)[half[name] :])
                raised = sorted(told)
                eventually(
                    lambda: [rule for rule, _ in query(database, RAISED)] == raised, "all alarms"
                )

    await asyncio.to_thread(run)
    operator = await api.client("operator")
    for rule_id, alarm_id in query(database, RAISED):
        alarm = (await operator.get(f"/alarms/{alarm_id}")).json()
        expected = told[rule_id].alarm
        assert {name: alarm[name] for name in expected} == expected, rule_id
        worked = alarm["arithmetic"]
        if told[rule_id].rule["kind"] == "state":
            assert worked is None
        else:
            assert worked["newest"] == told[rule_id].said[-1][1]
            assert worked["readings"] <= len(told[rule_id].said)
        assert [each["limit"] for each in alarm["limits"]]
    listed = (await operator.get("/alarms")).json()["items"]
    assert {each["rule"]["id"]: each["unit"] for each in listed} == {
        name: each.alarm["unit"] for name, each in told.items()
    }
    shown = (await operator.get("/alarms/open")).json()
    units = {each["kind"]: each.get("unit", "") for each in shown["items"]}
    assert units == {name: each.alarm["unit"] for name, each in told.items()}
