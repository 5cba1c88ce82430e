"""What is told of a point's limits is what the table of the engine watches there."""

from collections.abc import Mapping
from typing import Any

import pytest

from hazardloop.alarms.alarm import Direction, Tier
from hazardloop.alarms.point_limits import PointLimit, limits_at
from hazardloop.alarms.rule import Rule
from hazardloop.alarms.rule_table import compile_rules
from hazardloop.alarms.rule_watches import US_PER_S, PointFacts
from hazardloop.alarms.rules import catalogue_rules
from hazardloop.devices.catalog import shipped_catalog
from tests.unit.alarms.site import high, point, registry, rule

CATALOG = shipped_catalog()
RULES = catalogue_rules(CATALOG)


def facts(
    kind: str, quantity: str, tags: Mapping[str, Any] | None = None, grade: int = 0
) -> PointFacts:
    return PointFacts(kind, quantity, grade, tags or {}, "ACME")


def told(limits: list[PointLimit]) -> set[tuple[str, Tier, float]]:
    return {(each.rule.rule_id, each.tier, each.limit) for each in limits}


@pytest.mark.parametrize("grade", [0, 1, 4])
@pytest.mark.parametrize("tags", [{}, {"height_m": 7, "tank_kind": "toxic"}, {"height_m": "?"}])
def test_limits_told_of_a_tank_are_those_that_are_watched(
    tags: Mapping[str, Any], grade: int
) -> None:
    one = registry([point(10, "level", kind="tank", tags=tags, grade=grade, interval_s=30)])
    table = compile_rules(RULES, one)
    watches = [*table.watches(0), *(w for gauge in table.gauges(0) for w in gauge.watches)]
    watched = {
        (table.rules[watch.rule].rule_id, each.tier, each.value)
        for watch in watches
        for each in watch.limits
    }
    silent = zip(table.silent_rule, table.silent_tier, table.silent_limit_us, strict=True)
    watched |= {
        (table.rules[rule].rule_id, Tier(tier), limit / US_PER_S) for rule, tier, limit in silent
    }
    limits, odd = limits_at(RULES, facts("tank", "level", tags, grade), 30, "Asia/Shanghai")
    assert told(limits) == watched
    assert len(watched) > 3
    assert set(odd) == {each.partition(": ")[2] for each in table.problems}


def test_a_part_of_a_tag_is_told_with_what_it_is_a_part_of() -> None:
    level = facts("tank", "level", {"height_m": 7})
    limits, _ = limits_at(RULES, level, 30, "Asia/Shanghai")
    (orange,) = (
        each for each in limits
        if each.rule.rule_id == "tank.level.high" and each.tier is Tier.ORANGE
    )  # fmt: skip
    assert (orange.limit, orange.leaves_at) == (6.3, 6.23)
    assert orange.scaled is not None
    assert (orange.scaled.tag, orange.scaled.value, orange.scaled.stands_in) == (
        "height_m", 7.0, False,
    )  # fmt: skip
    (default,) = (
        each for each in limits_at(RULES, facts("tank", "level"), 30, "Asia/Shanghai")[0]
        if each.rule.rule_id == "tank.level.high" and each.tier is Tier.ORANGE
    )  # fmt: skip
    assert default.limit == 9.0
    assert default.scaled is not None
    assert default.scaled.stands_in


def test_a_point_that_no_rule_is_for_has_no_limits() -> None:
    rules: list[Rule] = [rule(high(yellow=10.0))]
    assert limits_at(rules, facts("gauge", "y"), 30, "UTC") == ([], [])
    (limit,) = limits_at(rules, facts("gauge", "x"), 30, "UTC")[0]
    assert (limit.tier, limit.direction, limit.limit) == (Tier.YELLOW, Direction.HIGH, 10.0)
