"""A rule that changes while the engine runs: only its points are looked at, and nothing is lost."""

from dataclasses import replace

import numpy as np
import pytest

from hazardloop.alarms.alarm import Tier
from hazardloop.alarms.evaluation import Outcome, evaluate, tick
from hazardloop.alarms.memory import carry_over, new_memory
from hazardloop.alarms.rule import Rule, Select, Silence, State
from hazardloop.alarms.rule_review import clashes, shared_tiers
from hazardloop.alarms.rule_table import RuleTable, compile_rules, lay_over, under_rules
from hazardloop.devices.drafting import Draft
from tests.unit.alarms.site import high, low, point, readings, registry, rule, told, us

NORTH = Select(tags={"area": ("north",)})
RULES = (
    rule(high(2.0, yellow=10.0, orange=20.0), "gauge.high"),
    rule(high(yellow=15.0), "gauge.north", select=NORTH),
    rule(Silence(Tier.BLUE, 60.0, None, 0.0), "gauge.stale"),
    rule(high(yellow=1.0), "other.high", quantity="y"),
)
REGISTRY = registry(
    [
        point(10, tags={"area": "north"}),
        point(11, tags={"area": "south"}),
        point(12, tags={"area": "north"}, grade=2),
        point(13, "y"),
        point(14, "z"),
    ]
)
TABLE = compile_rules(RULES, REGISTRY, {"gauge.high": 3})

STRICTER = rule(high(2.0, yellow=5.0, orange=20.0), "gauge.high")
CHANGES: dict[str, tuple[tuple[Rule, ...], list[int]]] = {
    "nothing": (RULES, []),
    "other limits": ((STRICTER, *RULES[1:]), [0, 1, 2]),
    "other limits of a rule that few points have": (
        (RULES[0], rule(high(yellow=12.0), "gauge.north", select=NORTH), *RULES[2:]), [0, 2],
    ),
    "a tag that nobody asked for": (
        (rule(high(yellow=9.0), "gauge.new", select=Select(grades=(2,), tags={"zone": True})),
         *RULES), [],
    ),
    "a new rule of some points": (
        (*RULES, rule(State(7.0, Tier.RED), "gauge.new", select=Select(grades=(2,)))), [2],
    ),
    "a longer silence": (
        (*RULES[:2], rule(Silence(Tier.BLUE, 90.0, None, 0.0), "gauge.stale"), RULES[3]),
        [0, 1, 2],
    ),
    "a rule that is gone": ((RULES[0], *RULES[2:]), [0, 2]),
    "a quantity that nobody watched": ((*RULES, rule(high(red=1.0), "z.new", quantity="z")), [4]),
    "a quantity that nobody watches any more": (RULES[:3], [3]),
    "another quantity": ((*RULES[:3], rule(high(yellow=1.0), "other.high", quantity="z")), [3, 4]),
}  # fmt: skip


def watched(table: RuleTable) -> list[object]:
    """All that is watched at each row, by rule id."""
    found: list[object] = []
    for row in range(len(table.point_id)):
        watches = [
            (table.rules[each.rule].rule_id, each.limits, table.versions[each.rule])
            for each in table.watches(row)
        ]
        here = table.silent_row == row
        silent = zip(table.silent_rule[here], table.silent_limit_us[here], strict=True)
        found.append((
            sorted(watches, key=lambda each: each[0]),
            sorted((table.rules[index].rule_id, int(limit)) for index, limit in silent),
            table.calm_low[row], table.calm_high[row],
        ))  # fmt: skip
    return found


@pytest.mark.parametrize(("rules", "rows"), CHANGES.values(), ids=CHANGES)
def test_a_table_under_other_rules_is_as_if_it_had_been_made_of_them(
    rules: tuple[Rule, ...], rows: list[int]
) -> None:
    after, touched = under_rules(TABLE, rules, {"gauge.high": 4}, REGISTRY)
    assert watched(after) == watched(compile_rules(rules, REGISTRY, {"gauge.high": 4}))
    assert touched.tolist() == rows
    assert watched(TABLE) == watched(compile_rules(RULES, REGISTRY, {"gauge.high": 3}))


@pytest.mark.parametrize(("rules", "rows"), CHANGES.values(), ids=CHANGES)
def test_what_is_remembered_goes_on_under_other_rules(
    rules: tuple[Rule, ...], rows: list[int]
) -> None:
    """Row by row, or all anew: the same alarms."""
    said = [(0, 1, 17.0), (1, 1, 12.0), (2, 1, 4.0), (3, 1, 3.0), (4, 1, 3.0)]
    then = [(0, 130, 7.0), (1, 130, 7.0), (2, 130, 30.0), (3, 130, 0.0), (4, 130, 2.0)]
    histories = []
    for anew in (False, True):
        memory = new_memory(TABLE)
        changes = list(evaluate(TABLE, memory, readings(said)).changes)
        changes += tick(TABLE, memory, us(70)).changes
        if anew:
            after, touched = compile_rules(rules, REGISTRY), None
        else:
            after, touched = under_rules(TABLE, rules, {}, REGISTRY)
        memory = carry_over(TABLE, memory, after, touched)
        changes += tick(after, memory, us(125)).changes
        changes += evaluate(after, memory, readings(then)).changes
        changes += tick(after, memory, us(400)).changes
        histories.append([replace(each, rule_version=0) for each in changes])
    assert sorted(map(repr, histories[0])) == sorted(map(repr, histories[1]))
    assert len(histories[0]) > 8


def test_a_rule_that_is_gone_clears_its_alarm_at_the_next_tick() -> None:
    memory = new_memory(TABLE)
    evaluate(TABLE, memory, readings([(0, 1, 17.0)]))
    after, touched = under_rules(TABLE, RULES[2:], {}, REGISTRY)
    memory = carry_over(TABLE, memory, after, touched)
    ended = tick(after, memory, us(3)).changes
    assert told(ended) == [("cleared", "yellow", 3.0), ("cleared", "yellow", 3.0)]
    back, touched = under_rules(after, RULES, {}, REGISTRY)
    memory = carry_over(after, memory, back, touched)
    assert tick(back, memory, us(4)) == Outcome()
    again = evaluate(back, memory, readings([(0, 5, 17.0)])).changes
    assert {each.rule_id for each in again} == {"gauge.high", "gauge.north"}


def test_points_that_come_after_a_change_are_watched_by_the_rules_of_then() -> None:
    after, _ = under_rules(TABLE, (STRICTER, *RULES[1:]), {}, REGISTRY)
    draft = Draft(REGISTRY)
    draft.take_point(point(20, tags={"area": "south"}))
    grown = draft.registry(2)
    wider = lay_over(after, grown, draft.touched_rows())
    assert watched(wider) == watched(compile_rules((STRICTER, *RULES[1:]), grown))
    assert np.array_equal(wider.profile[[1, 5]], [wider.profile[1]] * 2)


def test_rules_that_say_the_same_of_the_same_points_are_told() -> None:
    (clash,) = clashes(RULES[1], RULES)
    assert (clash.other.rule_id, clash.refused) == ("gauge.high", False)
    assert clash.message == "overlaps rule gauge.high in tier yellow"
    crossed = rule(low(yellow=12.0), "gauge.low")
    assert [each.refused for each in clashes(crossed, RULES)] == [True]
    assert shared_tiers(RULES[0], rule(high(red=90.0), "gauge.worst")) == ()
    assert shared_tiers(rule(State(1.0, Tier.RED)), rule(State(2.0, Tier.RED))) == ()
