"""Groups: each way to gather against a plain loop, and rules over groups against the oracle."""

import json
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazardloop.alarms.alarm import Change
from hazardloop.alarms.evaluation import Outcome, evaluate, merge, tick
from hazardloop.alarms.group import Group, Together, gathered, gathered_said
from hazardloop.alarms.memory import carry_over, new_memory
from hazardloop.alarms.rule import Grouped, Rule, Threshold
from hazardloop.alarms.rule_table import RuleTable, compile_rules, lay_over
from hazardloop.alarms.rule_watches import US_PER_S
from hazardloop.devices.readings import Quality
from tests.unit.alarms.scalar_oracle import Oracle, OracleRule
from tests.unit.alarms.site import START_US, high, low, point, readings, registry, rule, told, us
from tests.unit.alarms.test_evaluation import (
    Reading,
    Store,
    batch_of,
    by_oracle,
    by_signal,
    cut,
    cuts,
    pauses,
    streams,
)

S = US_PER_S
TAGS = ({"zone": "a"}, {"zone": "b"}, {"zone": "a"})
REGISTRY = registry(point(10 + row, tags=tags) for row, tags in enumerate(TAGS))
MEMBERS = {0: (0, 2), 1: (1,)}
"""By row of the point that was registered first."""
VOTES = Group(("zone",), Together.VOTES, 9.0, 10.0, math.inf)
KINDS = (
    (VOTES, high(blue=1.0, red=2.0), "g.votes", 0, 0),
    (Group(("zone",), Together.VOTES, 6.0, -math.inf, 1.0, absent_vote=True),
     high(yellow=1.0, red=2.0), "g.absent", 2, 1),
    (Group(("zone",), Together.MEAN, 9.0, least=2), high(0.5, yellow=9.0, red=15.0),
     "g.mean", 0, 0),
    (Group(("zone",), Together.SPREAD, 12.0), high(1.0, yellow=5.0), "g.spread", 3, 2),
    (Group(("zone",), Together.SUM, 12.0), low(yellow=1.0), "g.sum", 0, 2),
    (Group(("zone",), Together.MAX, 8.0), high(orange=20.0), "g.max", 1, 0),
    (Group(("zone",), Together.MIN, 8.0), high(blue=9.0), "g.min", 0, 0),
)  # fmt: skip


def rule_of(group: Group, limits: Threshold, name: str, on_s: float = 0, off_s: float = 0) -> Rule:
    return rule(Grouped(group, limits, "u"), name, on_delay_s=on_s, off_delay_s=off_s)


RULES = tuple(rule_of(*each) for each in KINDS)
TABLE = compile_rules(RULES, REGISTRY)


def made(
    group: Group, members: tuple[int, ...], words: dict[int, tuple[float, float]]
) -> float | None:
    """What is made of (age in s, value) by member."""
    fresh = [words[m][1] for m in members if m in words and words[m][0] <= group.max_age_s]
    if group.method is Together.VOTES:
        votes = float(sum(group.at <= value <= group.to for value in fresh))
        if group.absent_vote:
            return votes + len(members) - len(fresh)
        return votes if len(fresh) >= group.least else None
    if len(fresh) < group.least:
        return None
    match group.method:
        case Together.MEAN:
            return sum(fresh) / len(fresh)
        case Together.MAX:
            return max(fresh)
        case Together.MIN:
            return min(fresh)
        case Together.SUM:
            return float(sum(fresh))
    return max(fresh) - min(fresh)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([group for group, *_ in KINDS]),
    st.lists(
        st.lists(
            st.one_of(
                st.none(),
                st.tuples(st.sampled_from([0.0, 5.0, 6.0, 9.0, 9.5, 40.0]), st.floats(-30, 30)),
            ),
            min_size=3,
            max_size=3,
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_a_group_is_gathered_as_a_plain_loop_gathers_it(
    group: Group, rows: list[list[tuple[float, float] | None]]
) -> None:
    age_s, value = (
        np.array([[math.nan if each is None else each[nth] for each in row] for row in rows])
        for nth in range(2)
    )
    found = gathered(group, age_s, value, np.ones(3)).tolist()
    words = [{nth: each for nth, each in enumerate(row) if each is not None} for row in rows]
    expected = [made(group, (0, 1, 2), each) for each in words]
    assert [None if math.isnan(each) else each for each in found] == expected
    said = gathered_said(group, age_s[0], value[0], np.zeros(3, np.bool_))
    assert json.loads(json.dumps(said, allow_nan=False)) == said


def oracle() -> Oracle:
    rules = []
    for carrier, members in MEMBERS.items():
        for group, limits, name, on_s, off_s in KINDS:
            parts = {int(tier): limit for tier, limit in limits.limits}
            rules.append(
                OracleRule(
                    name, carrier, str(limits.direction), parts, limits.deadband, on_s * S,
                    off_s * S, members=members, gather=partial(made, group, members),
                )
            )  # fmt: skip
    return Oracle(rules, dict.fromkeys(range(3), START_US))


@settings(max_examples=150, deadline=None)
@given(stream=streams(), sizes=cuts, ticks=pauses, crashes=st.lists(st.booleans(), min_size=60))
def test_rules_over_groups_say_what_the_oracle_says(
    stream: list[Reading], sizes: list[int], ticks: list[int | None], crashes: list[bool]
) -> None:
    expected, memory, store = oracle(), new_memory(TABLE), Store(TABLE)
    changes: list[Change] = []
    for nth, part in enumerate(cut(stream, sizes)):
        batch = batch_of(part)
        outcome = evaluate(TABLE, memory, batch)
        store.keep(outcome, batch)
        changes += outcome.changes
        expected.batch(
            [(row, us(second), us(received), value, quality == Quality.SOURCE_BAD,
              quality == Quality.BACKFILL)
             for row, second, received, value, quality in part]
        )  # fmt: skip
        if ticks[nth] is not None:
            now = us(part[-1][2] + ticks[nth])
            outcome = tick(TABLE, memory, now)
            store.keep(outcome)
            changes += outcome.changes
            expected.tick(now)
        if crashes[nth]:
            memory = store.memory()
    assert by_signal(changes) == by_oracle(expected.changes)


@settings(max_examples=60, deadline=None)
@given(stream=streams(late=False), sizes=cuts)
def test_where_a_stream_is_cut_changes_nothing(stream: list[Reading], sizes: list[int]) -> None:
    """No two members speak at one instant here: what comes later of one is another evaluation."""
    ordered = sorted(
        ((row, 3 * second + row, 3 * received, value, quality)
         for row, second, received, value, quality in stream),
        key=lambda each: each[1],
    )  # fmt: skip
    whole = evaluate(TABLE, new_memory(TABLE), batch_of(ordered))
    memory, pieces = new_memory(TABLE), Outcome()
    for part in cut(ordered, sizes):
        pieces = merge(pieces, evaluate(TABLE, memory, batch_of(part)))
    assert by_signal(pieces.changes) == by_signal(whole.changes)


@settings(max_examples=40, deadline=None)
@given(
    stream=streams(),
    sizes=cuts,
    touched=st.lists(st.sets(st.integers(0, 2)), min_size=1, max_size=5),
)
def test_following_the_registry_changes_nothing(
    stream: list[Reading], sizes: list[int], touched: list[set[int]]
) -> None:
    kept, carried, table = new_memory(TABLE), new_memory(TABLE), TABLE
    for nth, part in enumerate(cut(stream, sizes)):
        assert evaluate(TABLE, kept, batch_of(part)) == evaluate(table, carried, batch_of(part))
        now = us(part[-1][2] + 4)
        assert tick(TABLE, kept, now) == tick(table, carried, now)
        rows = np.array(sorted(touched[nth % len(touched)]), np.int32)
        after = lay_over(table, REGISTRY, rows)
        carried, table = carry_over(table, carried, after, rows), after


def test_a_balance_is_what_goes_in_less_what_goes_out_of_all() -> None:
    leak = Group(("line",), Together.BALANCE, 60.0, least=2, role="flow")
    tags = [{"line": "L1", "flow": way} for way in ("in", "out", "in", "by")]
    meters = registry(point(10 + row, tags=each) for row, each in enumerate(tags))
    table = compile_rules([rule_of(leak, high(1.0, yellow=5.0), "g.leak", 20, 0)], meters)
    memory = new_memory(table)
    assert evaluate(table, memory, readings([(0, 0, 60.0), (1, 1, 70.0), (3, 1, 900.0)])) == (
        Outcome()
    ), "nobody knows what came in at the third"
    assert evaluate(table, memory, readings([(2, 2, 10.5)])).changes == ()
    changes = evaluate(table, memory, readings([(1, 30, 64.5), (1, 51, 64.5)])).changes
    assert told(changes) == [("raised", "yellow", 50.0)]
    assert (changes[0].value, changes[0].point_id) == (6.0, 10)
    assert changes[0].arithmetic is not None
    assert changes[0].arithmetic["values"] == [60.0, 64.5, 10.5]
    ended = evaluate(table, memory, readings([(1, 60, 70.0)])).changes
    assert told(ended) == [("cleared", "yellow", 60.0)]


def test_votes_say_that_a_group_is_degraded() -> None:
    three = registry(point(10 + row, tags={"zone": "a"}) for row in range(3))
    table = compile_rules([rule_of(VOTES, high(red=2.0), "g.two")], three)
    memory = new_memory(table)
    evaluate(table, memory, readings([(2, 0, 5.0)]))
    changes = evaluate(table, memory, readings([(0, 20, 12.0), (1, 21, 15.0)])).changes
    assert told(changes) == [("raised", "red", 21.0)]
    (raised,) = changes
    assert (raised.value, raised.unit, raised.point_id) == (2.0, "u", 10)
    assert raised.arithmetic is not None
    assert raised.arithmetic["degraded"]
    assert raised.arithmetic["values"] == [12.0, 15.0, None]
    assert (raised.arithmetic["members"], raised.arithmetic["heard"]) == (3, 2)


def test_a_group_whose_first_point_is_gone_ends_its_alarm_and_begins_another() -> None:
    rules = [rule_of(VOTES, high(red=1.0), "g.one")]
    table = compile_rules(rules, registry(point(10 + n, tags={"zone": "a"}) for n in range(2)))
    moved = compile_rules(rules, registry([point(11, tags={"zone": "a"})]))
    memory = new_memory(table)
    assert len(evaluate(table, memory, readings([(1, 0, 12.0)])).changes) == 1
    memory = carry_over(table, memory, moved)
    assert told(tick(moved, memory, us(5)).changes) == [("cleared", "red", 5.0)]
    changes = evaluate(moved, memory, readings([(0, 30, 12.0)])).changes
    assert [(each.kind.value, each.point_id) for each in changes] == [("raised", 11)]


@pytest.mark.parametrize("zone", [{}, {"zone": "b"}])
def test_who_has_another_tag_or_none_is_no_member(zone: dict[str, str]) -> None:
    two = registry([point(10, tags={"zone": "a"}), point(11, tags=zone)])
    table = compile_rules([rule_of(VOTES, high(red=2.0), "g.two")], two)
    outcome = evaluate(table, new_memory(table), readings([(0, 0, 12.0), (1, 0, 12.0)]))
    assert outcome.changes == ()


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        pytest.param((), [(0, 1, 2)], id="all of the enterprise"),
        pytest.param(("plant", "zone"), [(0, 2)], id="two tags"),
    ],
)
def test_a_group_is_of_several_tags_or_of_an_enterprise(
    by: tuple[str, ...], expected: list[tuple[int, ...]]
) -> None:
    tags = ({"plant": "1", "zone": "a"}, {"zone": "a"}, {"plant": "1", "zone": "a"})
    three = registry(point(10 + row, tags=each) for row, each in enumerate(tags))
    table = compile_rules([rule_of(Group(by, Together.VOTES, 9.0, 10.0, math.inf),
                                   high(red=2.0), "g.two")], three)  # fmt: skip
    assert [one.members for found in table.carried.values() for one in found] == expected


PAIR = registry(
    [
        point(10, tags={"zone": "a"}),
        point(11, tags={"zone": "a"}),
        replace(point(12, "in_service", tags={"zone": "a"}), device_id=11, type="boolean"),
    ]
)
"""Two members; the third point says whether the device of the second is in service."""


def with_service() -> RuleTable:
    both = Group(("zone",), Together.MIN, 1e9, least=2)
    return compile_rules(
        [rule_of(VOTES, high(red=2.0), "g.two"), rule_of(both, high(red=10.0), "g.both")], PAIR
    )


WORDS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from([0.0, 1.0, 12.0])), min_size=1, max_size=25
)


@settings(max_examples=80, deadline=None)
@given(words=WORDS, sizes=cuts)
def test_a_member_that_is_out_of_service_has_nothing_to_say(
    words: list[tuple[int, float]], sizes: list[int]
) -> None:
    table = with_service()
    memory, last, stands = new_memory(table), dict[int, float](), {"g.two": 0, "g.both": 0}
    expected, said = [], [(row, float(second), v) for second, (row, v) in enumerate(words)]
    at = {}
    for row, second, value in said:
        last[row], at[row] = value, second
        if row == 2:
            continue
        heard = [r for r in (0, 1) if r in last and (r == 0 or last.get(2, 1.0))]
        votes = sum(last[r] >= 10 and second - at[r] <= 9 for r in heard)
        now = {"g.two": 4 * (votes >= 2)}
        if not any(second - at[r] <= 9 for r in heard):
            now = {}
        if len(heard) == 2:
            now["g.both"] = 4 * (min(last[0], last[1]) >= 10)
        for name, tier in sorted(now.items()):
            if tier != stands[name]:
                expected.append((name, tier, second))
                stands[name] = tier
    changes = [
        change
        for part in cut([(row, second, 0, value, 0) for row, second, value in said], sizes)
        for change in evaluate(
            table, memory, readings([(row, second, value) for row, second, _, value, _ in part])
        ).changes
    ]
    found = [(c.rule_id, int(c.tier), (c.changed_at_us - START_US) / S) for c in changes]
    assert sorted(found) == sorted(expected)


def test_an_alarm_says_how_many_were_out_of_service() -> None:
    table = compile_rules([rule_of(VOTES, high(red=1.0), "g.one")], PAIR)
    said_off = readings([(2, 0, 0.0), (1, 1, 12.0), (0, 2, 12.0)])
    (raised,) = evaluate(table, new_memory(table), said_off).changes
    assert raised.arithmetic is not None
    said = raised.arithmetic
    assert (said["out_of_service"], said["degraded"], said["values"]) == (1, True, [12.0, None])
