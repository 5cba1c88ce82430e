"""Every kind of device of the catalogue, from registration to alarm, without code for it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hazardloop.alarms.rule import Rule, Silence, Threshold
from hazardloop.alarms.rules import catalogue_rules
from hazardloop.devices.catalog import QuantityType, shipped_catalog
from tests.brokers import Broker, mosquitto
from tests.integration.api.world import World
from tests.integration.test_pipeline import at_work, gateway_at, now_ms
from tests.worlds import eventually, query

SCALE = 50.0
"""Of the tags that limits are parts of."""
BEFORE_MS = 120_000
"""Longer than any delay: a value that held since then has lasted."""
CATALOG = shipped_catalog()
FOUND = """
    SELECT d.code, p.quantity, a.rule_id, a.tier FROM alarm a JOIN point p USING (point_id)
      JOIN device d ON d.device_id = p.device_id WHERE d.code LIKE 'K-%'"""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    folder = tmp_path / "broker"
    folder.mkdir()
    with mosquitto(folder) as running:
        yield running


def first_rules() -> list[Rule]:
    """Of each kind the first rule that compares values."""
    first: dict[str, Rule] = {}
    for rule in catalogue_rules(CATALOG):
        if not isinstance(rule.condition, Silence) and not CATALOG.kinds[rule.device_kind].internal:
            first.setdefault(rule.device_kind, rule)
    return list(first.values())


def code_of(rule: Rule) -> str:
    return "K-" + rule.device_kind.replace("_", "-")


def tags_of(rule: Rule) -> dict[str, Any]:
    tags: dict[str, Any] = {
        tag: "x" if test is True else test[0] for tag, test in rule.select.tags.items()
    }
    if isinstance(rule.condition, Threshold) and rule.condition.of:
        tags[rule.condition.of] = SCALE
    return tags


def worst_of(rule: Rule) -> tuple[float | bool, int]:
    """A value at the worst limit of the rule, and the tier that it is then."""
    if isinstance(rule.condition, Threshold):
        tier, limit = rule.condition.limits[-1]
        return limit * (SCALE if rule.condition.of else 1), int(tier)
    assert not isinstance(rule.condition, Silence)
    return bool(rule.condition.equals), int(rule.condition.tier)


async def test_a_device_of_every_kind_is_registered_reports_and_alarms(
    api: World, database: str, broker: Broker, home: Path
) -> None:
    rules = first_rules()
    assert {rule.device_kind for rule in rules} == {
        kind.code for kind in CATALOG.kinds.values() if not kind.internal
    }
    admin = await api.client("admin")
    for rule in rules:
        answer = await admin.post(
            "/devices",
            json={"gateway": "E1:GW-1", "code": code_of(rule), "kind": rule.device_kind,
                  "tags": tags_of(rule), "expected_interval_s": 86_400},
        )  # fmt: skip
        assert answer.status_code == 201, answer.text
        quantities = CATALOG.kinds[rule.device_kind].quantities
        assert {point["quantity"] for point in answer.json()["points"]} == set(quantities)
    await asyncio.to_thread(report, database, broker, home, rules)
    found = {(code, quantity, rule, tier) for code, quantity, rule, tier in query(database, FOUND)}
    assert found == {(code_of(r), r.quantity, r.rule_id, worst_of(r)[1]) for r in rules}


def report(database: str, broker: Broker, home: Path, rules: list[Rule]) -> None:
    """Every device says its worst for a while, and a worker hears it."""
    values: dict[str, float | bool] = {}
    with at_work(database, broker, home), gateway_at(broker) as gateway:
        for rule in rules:
            quantity = CATALOG.kinds[rule.device_kind].quantities[rule.quantity]
            if quantity.type is QuantityType.EVENT:
                body = {"ts": now_ms(), "device": code_of(rule), "event": rule.quantity}
                gateway.say("E1/GW-1/event", body)
            else:
                values[f"{code_of(rule)}.{rule.quantity}"] = worst_of(rule)[0]
        gateway.read(values, now_ms() - BEFORE_MS, gateway="E1/GW-1")
        gateway.read(values, gateway="E1/GW-1")
        eventually(lambda: len(query(database, FOUND)) >= len(rules), "an alarm of every kind")
