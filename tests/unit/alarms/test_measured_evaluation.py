"""Rules that look back say what the oracle says, however a stream is cut, ticked and restarted."""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hazardloop.alarms.alarm import Change
from hazardloop.alarms.evaluation import Outcome, evaluate, merge, recollect, tick
from hazardloop.alarms.measure import Measure, Method
from hazardloop.alarms.memory import Memory, carry_over, new_memory
from hazardloop.alarms.rings import Rings, empty_rings, push_all
from hazardloop.alarms.rule import Derived, Rule, Threshold
from hazardloop.alarms.rule_table import RuleTable, compile_rules, lay_over
from hazardloop.alarms.rule_watches import US_PER_S
from hazardloop.devices.readings import Quality
from tests.unit.alarms.measure_oracle import says
from tests.unit.alarms.scalar_oracle import Oracle, OracleRule
from tests.unit.alarms.site import START_US, high, low, point, readings, registry, rule, told, us
from tests.unit.alarms.test_evaluation import (
    DAWN,
    POINTS,
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

REGISTRY = registry(point(10 + row, interval_s=1.0) for row in range(POINTS))
S = US_PER_S


def looking_back(
    measure: Measure, limits: Threshold, name: str, on_s: float = 0, off_s: float = 0
) -> Rule:
    hours = DAWN if name.endswith("dawn") else None
    return rule(
        Derived(measure, limits, "u"), name, on_delay_s=on_s, off_delay_s=off_s, hours=hours
    )


KINDS = (
    (Measure(Method.SLOPE, 12.0, least=4), high(5.0, yellow=20.0, red=100.0), "g.slope", 0, 0),
    (Measure(Method.SLOPE, 12.0, least=4), low(yellow=-60.0), "g.falls", 2, 1),
    (Measure(Method.FROM_MEDIAN, 15.0, least=3), high(1.0, blue=4.0, orange=9.0), "g.off", 3, 2),
    (Measure(Method.FROM_SET_POINT, 0.0, at=9.5, size=True), high(yellow=9.0), "g.set", 0, 3),
    (Measure(Method.MEAN, 10.0, least=2), high(0.5, yellow=10.0, red=17.0), "g.mean", 0, 0),
    (Measure(Method.MIN, 8.0), high(yellow=9.0), "g.min.dawn", 2, 0),
    (Measure(Method.PERCENTILE, 14.0, at=80.0), low(yellow=1.5), "g.part", 1, 1),
    (Measure(Method.TIME_ABOVE, 14.0, at=10.0, gap_s=3.0), high(yellow=0.1), "g.long", 0, 0),
    (Measure(Method.DOSE, 14.0, gap_s=4.0), high(0.1, yellow=1.0, red=2.0), "g.dose", 0, 2),
    (Measure(Method.COUNT, 14.0, at=10.0, to=math.inf), high(blue=1.0, red=2.0), "g.often", 0, 0),
    (Measure(Method.TIME_TO, 12.0, at=30.0, to=math.inf, least=4),
     low(0.01, yellow=0.3, red=0.1), "g.until", 1, 0),
    (Measure(Method.STILL, 6.0, at=0.5, but=0.0, gap_s=4.0), high(yellow=3.0, red=6.0),
     "g.stuck", 0, 0),
)  # fmt: skip
PLAIN = rule(high(2.0, yellow=10.0, red=20.0), "g.plain", on_delay_s=3)
RULES = (*(looking_back(*each) for each in KINDS), PLAIN)
TABLE = compile_rules(RULES, REGISTRY)


def oracle() -> Oracle:
    dawn = (DAWN.opens_min * 60, DAWN.closes_min * 60)
    rules = []
    for at in range(POINTS):
        for measure, limits, name, on_s, off_s in KINDS:
            parts = {int(tier): limit for tier, limit in limits.limits}
            rules.append(
                OracleRule(
                    name, at, str(limits.direction), parts, limits.deadband, on_s * S, off_s * S,
                    *(dawn if name.endswith("dawn") else (None, 0)), partial(says, measure),
                )
            )  # fmt: skip
        rules.append(OracleRule("g.plain", at, "high", {2: 10.0, 4: 20.0}, 2.0, 3 * S))
    return Oracle(rules, dict.fromkeys(range(POINTS), START_US))


class LookingStore(Store):
    """A store whose table of readings is asked for what was said lately."""

    def __init__(self) -> None:
        super().__init__(TABLE)
        self.readings: list[tuple[int, int, float]] = []

    def keep_said(self, part: Sequence[Reading]) -> None:
        self.readings += [
            (row, us(second), value)
            for row, second, _, value, quality in part
            if math.isfinite(value) and quality != Quality.SOURCE_BAD
        ]

    def rings(self) -> Rings:
        """In the order of the table, which is not that in which they came."""
        rings = empty_rings(TABLE.ringed_row, TABLE.ringed_room, POINTS)
        row, at, value = zip(*sorted(self.readings), strict=True) if self.readings else ((), (), ())
        push_all(rings, np.array(row, np.int32), np.array(at, np.int64), np.array(value))
        return rings


@settings(max_examples=120, deadline=None)
@given(stream=streams(), sizes=cuts, ticks=pauses, crashes=st.lists(st.booleans(), min_size=60))
def test_rules_that_look_back_say_what_the_oracle_says(
    stream: list[Reading], sizes: list[int], ticks: list[int | None], crashes: list[bool]
) -> None:
    expected, memory, store = oracle(), new_memory(TABLE), LookingStore()
    changes: list[Change] = []
    for nth, part in enumerate(cut(stream, sizes)):
        batch = batch_of(part)
        outcome = evaluate(TABLE, memory, batch)
        store.keep(outcome, batch)
        store.keep_said(part)
        changes += outcome.changes
        expected.batch(
            (row, us(second), us(received), value, quality == Quality.SOURCE_BAD,
             quality == Quality.BACKFILL)
            for row, second, received, value, quality in part
        )  # fmt: skip
        if ticks[nth] is not None:
            now = us(part[-1][2] + ticks[nth])
            outcome = tick(TABLE, memory, now)
            store.keep(outcome)
            changes += outcome.changes
            expected.tick(now)
        if crashes[nth]:
            memory = store.memory(store.rings())
    assert by_signal(changes) == by_oracle(expected.changes)


@settings(max_examples=50, deadline=None)
@given(stream=streams(late=False), sizes=cuts)
def test_where_a_stream_is_cut_changes_nothing(stream: list[Reading], sizes: list[int]) -> None:
    ordered = sorted(stream, key=lambda each: each[1])
    whole = evaluate(TABLE, new_memory(TABLE), batch_of(ordered))
    memory = new_memory(TABLE)
    pieces = Outcome()
    for part in cut(ordered, sizes):
        pieces = merge(pieces, evaluate(TABLE, memory, batch_of(part)))
    assert by_signal(pieces.changes) == by_signal(whole.changes)
    arithmetic = [
        {each.alarm_id: each.arithmetic for each in some.changes if each.arithmetic}
        for some in (pieces, whole)
    ]
    assert arithmetic[0] == arithmetic[1]


@settings(max_examples=40, deadline=None)
@given(
    stream=streams(),
    sizes=cuts,
    touched=st.lists(st.sets(st.integers(0, POINTS - 1)), min_size=1, max_size=5),
)
def test_following_the_registry_changes_nothing(
    stream: list[Reading], sizes: list[int], touched: list[set[int]]
) -> None:
    kept, carried, again = new_memory(TABLE), new_memory(TABLE), new_memory(TABLE)
    table = TABLE
    for nth, part in enumerate(cut(stream, sizes)):
        told_ = evaluate(TABLE, kept, batch_of(part))
        assert told_ == evaluate(table, carried, batch_of(part))
        assert told_ == evaluate(TABLE, again, batch_of(part))
        now = us(part[-1][2] + 4)
        told_ = tick(TABLE, kept, now)
        assert told_ == tick(table, carried, now)
        assert told_ == tick(TABLE, again, now)
        rows = np.array(sorted(touched[nth % len(touched)]), np.int32)
        after = lay_over(table, REGISTRY, rows)
        carried, table = carry_over(table, carried, after, rows), after
        again = carry_over(TABLE, again, compile_rules(RULES, REGISTRY))


ONE = registry([point(10, interval_s=30.0)])
CLIMB = looking_back(
    Measure(Method.SLOPE, 300.0, least=6), high(1.0, yellow=5.0, red=10.0), "g.climb"
)


def heard(table: RuleTable, memory: Memory, said: Sequence[tuple[float, float]]) -> list[Change]:
    batch = readings([(0, second, value) for second, value in said])
    return list(evaluate(table, memory, batch).changes)


def test_an_alarm_says_how_its_value_was_worked_out() -> None:
    table = compile_rules([CLIMB], ONE)
    climbing = [(30.0 * nth, 3.0 * max(0, nth - 6)) for nth in range(16)]
    changes = heard(table, new_memory(table), climbing)
    assert [each[:2] for each in told(changes)] == [("raised", "yellow")]
    (raised,) = changes
    assert raised.unit == "u"
    assert raised.value == 6.0
    assert raised.arithmetic is not None
    assert raised.arithmetic["slope"] == raised.value
    assert raised.arithmetic["readings"] == 10
    assert raised.arithmetic["method"] == "slope"


def test_a_late_reading_takes_its_place_and_tells_of_nothing_that_was_told_without_it() -> None:
    table = compile_rules([CLIMB], ONE)
    climbing = [(30.0 * nth, 3.0 * nth) for nth in range(12)]
    memory, gap = new_memory(table), climbing.pop(4)
    whole = new_memory(table)
    heard(table, memory, climbing)
    assert heard(table, memory, [gap]) == []
    heard(table, whole, sorted([*climbing, gap]))
    for one, other in zip(memory.rings.told(0), whole.rings.told(0), strict=True):
        assert one.tolist() == other.tolist()


OFTEN = looking_back(
    Measure(Method.COUNT, 600.0, at=5.0, to=math.inf), high(yellow=3.0, red=4.0), "g.often"
)


def test_a_late_reading_that_makes_it_three_in_ten_minutes_is_found_late() -> None:
    table = compile_rules([OFTEN], ONE)
    memory = new_memory(table)
    said = [(30.0 * nth, 9.0 if nth in (4, 12) else 1.0) for nth in range(40) if nth != 8]
    assert heard(table, memory, said) == []
    raised, cleared = heard(table, memory, [(240.0, 9.0)])
    assert (raised.found_late, raised.value, raised.changed_at_us) == (True, 3.0, us(360.0))
    assert raised.arithmetic is not None
    assert raised.arithmetic["newest_at_us"] == us(360.0), "where the third of them was"
    assert (cleared.found_late, cleared.value, cleared.changed_at_us) == (True, 0.0, us(1170.0))
    assert heard(table, memory, [(255.0, 1.0)]) == [], "it is known"
    earlier = heard(table, memory, [(262.0, 9.0)])
    assert [each.tier for each in earlier] == [2, 0, 4, 0], "it began sooner, and was worse"


def test_a_late_reading_inside_an_alarm_that_rang_finds_nothing() -> None:
    table = compile_rules([OFTEN], ONE)
    memory = new_memory(table)
    said = [(30.0 * nth, 9.0 if nth in (4, 8, 12) else 1.0) for nth in range(40)]
    assert [each.tier for each in heard(table, memory, said)] == [2, 0]
    assert heard(table, memory, [(375.0, 1.0)]) == []


def test_late_readings_set_aside_are_found_when_they_are_judged() -> None:
    table = compile_rules([OFTEN], ONE)
    memory = new_memory(table)
    heard(table, memory, [(30.0 * nth, 9.0 if nth in (4, 12) else 1.0) for nth in range(40)])
    outcome = recollect(table, memory, readings([(0, 250.0, 9.0)]))
    assert [(each.tier, each.changed_at_us) for each in outcome.changes] == [
        (2, us(360.0)),
        (0, us(1170.0)),
    ]
