"""Evaluation says what the scalar oracle says, however a stream is cut, ticked and restarted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hazardloop.alarms.alarm import Change, ChangeKind, Tier, alarm_id_of
from hazardloop.alarms.evaluation import Outcome, evaluate, merge, tick
from hazardloop.alarms.hours import Hours
from hazardloop.alarms.memory import (
    CellRow,
    Heard,
    Memory,
    OpenAlarmRow,
    carry_over,
    new_memory,
    restore,
)
from hazardloop.alarms.rings import Rings
from hazardloop.alarms.rule import Bits, Match, Silence, State
from hazardloop.alarms.rule_table import RuleTable, compile_rules, lay_over
from hazardloop.alarms.rule_watches import US_PER_S
from hazardloop.devices.drafting import Draft
from hazardloop.devices.readings import Quality, Readings
from tests.unit.alarms.scalar_oracle import Oracle, OracleChange, OracleRule
from tests.unit.alarms.site import START_US, high, low, point, readings, registry, rule, told, us

POINTS = 3
REGISTRY = registry(point(10 + row) for row in range(POINTS))
DAWN = Hours(6 * 60 + 27, 6 * 60 + 28)
"""Seconds 20 to 80 of a test, in China."""
RULES = (
    rule(high(yellow=10.0, orange=20.0, red=30.0), "gauge.plain"),
    rule(high(2.0, yellow=10.0, red=20.0), "gauge.slow", on_delay_s=3, off_delay_s=2),
    rule(high(3.0, blue=11.0, yellow=18.0), "gauge.lazy", off_delay_s=4),
    rule(low(1.0, yellow=9.0, orange=0.0), "gauge.low", on_delay_s=2),
    rule(State(20.0, Tier.ORANGE), "gauge.state", off_delay_s=1),
    rule(State(-5.0, Tier.BLUE), "gauge.below"),
    rule(Bits((0, 3), Match.ANY_SET, Tier.YELLOW), "gauge.bits", on_delay_s=1, off_delay_s=1),
    rule(high(2.0, yellow=10.0, red=20.0), "gauge.dawn", on_delay_s=3, off_delay_s=2, hours=DAWN),
    rule(low(1.0, blue=9.0), "gauge.prompt", hours=DAWN),
    rule(Silence(Tier.BLUE, 12.0, None, 0.0), "gauge.stale"),
)
TABLE = compile_rules(RULES, REGISTRY)


def oracle() -> Oracle:
    s, dawn = US_PER_S, (DAWN.opens_min * 60, DAWN.closes_min * 60)
    return Oracle(
        [
            each
            for at in range(POINTS)
            for each in (
                OracleRule("gauge.plain", at, "high", {2: 10.0, 3: 20.0, 4: 30.0}),
                OracleRule("gauge.slow", at, "high", {2: 10.0, 4: 20.0}, 2.0, 3 * s, 2 * s),
                OracleRule("gauge.lazy", at, "high", {1: 11.0, 2: 18.0}, 3.0, 0, 4 * s),
                OracleRule("gauge.low", at, "low", {2: 9.0, 3: 0.0}, 1.0, 2 * s),
                OracleRule("gauge.state", at, "state", {3: 20.0}, 0.0, 0, s),
                OracleRule("gauge.below", at, "state", {1: -5.0}),
                OracleRule("gauge.bits", at, "bits", {2: 9}, 0.0, s, s),
                OracleRule("gauge.dawn", at, "high", {2: 10.0, 4: 20.0}, 2.0, 3 * s, 2 * s, *dawn),
                OracleRule("gauge.prompt", at, "low", {1: 9.0}, 1.0, 0, 0, *dawn),
                OracleRule("gauge.stale", at, "stale", {1: 12.0}),
            )
        ],
        dict.fromkeys(range(POINTS), START_US),
    )


@dataclass
class Store:
    """What a database would hold, and the memory that comes of it after a crash."""

    table: RuleTable = field(default_factory=lambda: TABLE)
    cells: dict[tuple[str, int, int], CellRow] = field(default_factory=dict)
    alarms: dict[object, OpenAlarmRow] = field(default_factory=dict)
    newest: dict[int, tuple[int, float, bool]] = field(default_factory=dict)
    heard: dict[int, int] = field(default_factory=dict)

    def keep(self, outcome: Outcome, batch: Readings | None = None) -> None:
        for cell in outcome.cells:
            key = cell.rule_id, cell.point_id, cell.tier
            self.cells.pop(key, None)
            if not cell.at_rest:
                self.cells[key] = cell
        for change in outcome.changes:
            self._keep_change(change)
        if batch is not None:
            self._keep_readings(batch)

    def _keep_change(self, change: Change) -> None:
        standing = [each for each in self.alarms.values() if each.cleared_us is None]
        same = [each for each in standing if each.alarm_id == change.alarm_id]
        if change.kind is ChangeKind.RAISED:
            assert change.alarm_id not in self.alarms, "an alarm is raised once"
            key = change.rule_id, change.point_id
            assert key not in {(each.rule_id, each.point_id) for each in standing}, "one at a time"
            self.alarms[change.alarm_id] = OpenAlarmRow(
                change.alarm_id,
                *key,
                int(change.tier),
                change.raised_at_us,
                # By how it was raised, not by how it was cleared.
                late=int(change.tier) if change.found_late else 0,
            )
            return
        assert len(same) == 1, "only a standing alarm changes"
        cleared = change.changed_at_us if change.kind is ChangeKind.CLEARED else None
        late = max(same[0].late, int(change.tier)) if same[0].late else 0
        tier = late if cleared else int(change.tier)
        self.alarms[change.alarm_id] = replace(same[0], tier=tier, cleared_us=cleared, late=late)

    def _keep_readings(self, batch: Readings) -> None:
        bad = int(Quality.NOT_A_NUMBER | Quality.OUT_OF_RANGE | Quality.SOURCE_BAD)
        for row, at, received, value, quality in zip(
            batch.row, batch.observed_at, batch.received_at, batch.value, batch.quality, strict=True
        ):
            if quality & bad or not math.isfinite(value):
                continue
            point_id = 10 + int(row)
            self.newest[point_id] = max(
                self.newest.get(point_id, (0, 0.0, False)),
                (int(at), float(value), bool(quality & Quality.BACKFILL)),
            )
            self.heard[point_id] = max(self.heard.get(point_id, 0), int(received))

    def memory(self, rings: Rings | None = None) -> Memory:
        return restore(
            self.table,
            self.cells.values(),
            [each for each in self.alarms.values() if each.cleared_us is None],
            last(
                [(each, at, self.heard[each], *said) for each, (at, *said) in self.newest.items()]
            ),
            [each for each in self.alarms.values() if each.cleared_us is not None and each.late],
            rings,
        )


def last(rows: Sequence[tuple[Any, ...]]) -> Heard:
    """Of (point_id, us observed, us received, value, backfilled or nothing)."""
    point_id, observed, received, value = ([each[nth] for each in rows] for nth in range(4))
    return Heard(
        np.array(point_id, np.int32),
        np.array(observed, np.int64),
        np.array(received, np.int64),
        np.array(value, np.float64),
        np.array([each[4:] == (True,) for each in rows], np.bool_),
    )


Reading = tuple[int, int, float, float, int]
"""Row, second observed, second received, value, quality."""

VALUES = [-5.0, 0.0, 1.0, 1.5, 8.0, 9.0, 9.5, 10.0, 10.5, 12.0, 17.0, 18.0, 20.0, 25.0, 30.0]


@st.composite
def streams(draw: st.DrawFn, late: bool = True) -> list[Reading]:
    """Readings in order of receipt, each point and instant once."""
    steps = draw(
        st.lists(
            st.tuples(
                st.integers(0, POINTS - 1),
                st.integers(-6 if late else 0, 5),
                st.integers(0, 9),
                st.sampled_from([*VALUES, math.nan, math.inf]),
                st.sampled_from([0] * 6 + [Quality.SOURCE_BAD, Quality.BACKFILL, Quality.LATE]),
            ),
            min_size=1,
            max_size=40,
        )
    )
    stream: list[Reading] = []
    taken: set[tuple[int, int]] = set()
    now = 0
    for row, step, pause, value, quality in steps:
        second = now + step
        now = max(now, second) + (pause if pause < 3 else pause - 2 if pause > 7 else 0)
        if (row, second) not in taken:
            taken.add((row, second))
            received = now + len(stream) / 1e6  # no two are received at the same instant
            stream.append((row, second, received, value, int(quality)))
    return stream


def batch_of(stream: Sequence[Reading]) -> Readings:
    return readings(
        [(row, second, value) for row, second, _, value, _ in stream],
        received_s=[received for _, _, received, _, _ in stream],
        quality=[quality for *_, quality in stream],
    )


def cut(stream: Sequence[Reading], sizes: Sequence[int]) -> list[Sequence[Reading]]:
    parts: list[Sequence[Reading]] = []
    start = 0
    for size in sizes:
        parts.append(stream[start : start + size])
        start += size
    return [part for part in [*parts, stream[start:]] if part]


def by_signal(changes: Sequence[Change]) -> dict[tuple[str, int], list[OracleChange]]:
    signals: dict[tuple[str, int], list[OracleChange]] = {}
    for change in changes:
        assert change.alarm_id == alarm_id_of(
            change.rule_id, change.point_id, change.raised_at_us
        ), "the id says who raised it where and when"
        assert change.point_id == 10 + change.row
        signals.setdefault((change.rule_id, change.row), []).append(
            OracleChange(
                change.rule_id,
                change.row,
                change.kind.value,
                int(change.tier_before),
                int(change.tier),
                change.value,
                change.limit,
                change.changed_at_us,
                change.raised_at_us,
                change.found_late,
            )
        )
    return signals


def by_oracle(changes: Sequence[OracleChange]) -> dict[tuple[str, int], list[OracleChange]]:
    signals: dict[tuple[str, int], list[OracleChange]] = {}
    for change in changes:
        signals.setdefault((change.rule, change.point), []).append(change)
    return signals


cuts = st.lists(st.integers(1, 12), max_size=12)
pauses = st.lists(st.sampled_from([None, None, 0, 1, 4, 15]), min_size=60, max_size=60)


@settings(max_examples=200, deadline=None)
@given(stream=streams(), sizes=cuts, ticks=pauses, crashes=st.lists(st.booleans(), min_size=60))
@example(  # raised live, cleared by what was kept: after a crash no find that hides the late one
    stream=[(0, 7, 7, 10.0, 0), (0, 10, 10, 9.5, int(Quality.BACKFILL)), (0, 8, 10, 10.0, 0)],
    sizes=[2],
    ticks=[None, None],
    crashes=[True, False],
)
@example(  # an excursion kept offline is over: what comes of it later is no news
    stream=[
        (0, 1, 50, 10.0, int(Quality.BACKFILL)),
        (0, 5, 50, 0.0, int(Quality.BACKFILL)),
        (0, 3, 60, 10.0, int(Quality.BACKFILL)),
    ],
    sizes=[1, 1],
    ticks=[None, None, None],
    crashes=[False, False, False],
)
@example(  # a delay that a value kept offline began runs out by the clock, or before what follows
    stream=[(0, 1, 50, 10.0, int(Quality.BACKFILL)), (0, 60, 60, 10.0, 0)],
    sizes=[1],
    ticks=[0, None],
    crashes=[True, False],
)
@example(  # the clock raises as the hours open; what was measured before is no end of it
    stream=[(0, 0, 0, -5.0, 0), (0, 2, 2, -5.0, 0), (0, 8, 8, -5.0, 0), (0, 15, 15, 10.5, 0),
            (0, 20, 20, -5.0, 0)],
    sizes=[2],
    ticks=[30, None],
    crashes=[False, False],
)  # fmt: skip
@example(  # a second limit's delay ends at the instant at which the first one's did
    stream=[(0, 17, 19, 12.0, 0), (0, 19, 19, 20.0, 0)],
    sizes=[1],
    ticks=[4, 4],
    crashes=[False, False],
)
def test_evaluation_says_what_the_oracle_says_through_cuts_ticks_and_crashes(
    stream: list[Reading], sizes: list[int], ticks: list[int | None], crashes: list[bool]
) -> None:
    expected, memory, store = oracle(), new_memory(TABLE), Store()
    changes: list[Change] = []
    for nth, part in enumerate(cut(stream, sizes)):
        batch = batch_of(part)
        outcome = evaluate(TABLE, memory, batch)
        store.keep(outcome, batch)
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
            memory = store.memory()
    assert by_signal(changes) == by_oracle(expected.changes)


@settings(max_examples=80, deadline=None)
@given(stream=streams(late=False), sizes=cuts)
def test_where_a_stream_is_cut_changes_nothing(stream: list[Reading], sizes: list[int]) -> None:
    ordered = sorted(stream, key=lambda each: each[1])
    whole = evaluate(TABLE, new_memory(TABLE), batch_of(ordered))
    memory = new_memory(TABLE)
    pieces = Outcome()
    for part in cut(ordered, sizes):
        pieces = merge(pieces, evaluate(TABLE, memory, batch_of(part)))
    assert by_signal(pieces.changes) == by_signal(whole.changes)
    assert {x for x in pieces.cells if not x.at_rest} == {x for x in whole.cells if not x.at_rest}


@st.composite
def kept_offline(draw: st.DrawFn) -> list[Reading]:
    """What gateways kept while they were offline, in the order of its times."""
    values = st.lists(st.sampled_from(VALUES), min_size=1, max_size=12)
    said = [(row, draw(values), draw(st.integers(1, 4))) for row in range(POINTS)]
    return sorted(
        (
            (row, 1 + nth * every, 500.0 + row / 1e6, value, int(Quality.BACKFILL))
            for row, course, every in said
            for nth, value in enumerate(course)
        ),
        key=lambda each: each[1],
    )


@settings(max_examples=150, deadline=None)
@given(
    kept=kept_offline(),
    live=st.lists(st.tuples(st.integers(0, POINTS - 1), st.sampled_from(VALUES)), max_size=3),
    sizes=cuts,
    ticks=st.lists(st.booleans(), min_size=60, max_size=60),
    crashes=st.lists(st.booleans(), min_size=60, max_size=60),
)
def test_what_was_kept_offline_makes_one_history_however_it_comes(
    kept: list[Reading],
    live: list[tuple[int, float]],
    sizes: list[int],
    ticks: list[bool],
    crashes: list[bool],
) -> None:
    """In one batch or in many, whatever time passes between them, and through restarts."""
    first = batch_of([(row, 100, 100.0, value, 0) for row, value in dict(live).items()])
    then = batch_of([(row, 600, 600.0, 8.0, 0) for row in range(POINTS)])

    def history(parts: Sequence[Sequence[Reading]], disturbed: bool) -> list[Change]:
        memory, store = new_memory(TABLE), Store()
        changes: list[Change] = []

        def keep(outcome: Outcome, batch: Readings | None = None) -> None:
            store.keep(outcome, batch)
            changes.extend(outcome.changes)

        keep(evaluate(TABLE, memory, first), first)
        keep(tick(TABLE, memory, us(500)))
        for nth, batch in enumerate(map(batch_of, parts)):
            keep(evaluate(TABLE, memory, batch), batch)
            if disturbed and ticks[nth]:
                keep(tick(TABLE, memory, us(500)))
            if disturbed and crashes[nth]:
                memory = store.memory()
        keep(evaluate(TABLE, memory, then), then)
        keep(tick(TABLE, memory, us(700)))
        return changes

    undisturbed = history([kept], disturbed=False)
    assert by_signal(history(cut(kept, sizes), disturbed=True)) == by_signal(undisturbed)


@settings(max_examples=80, deadline=None)
@given(stream=streams(late=False), order=st.randoms(use_true_random=False))
def test_the_order_inside_a_batch_changes_nothing(stream: list[Reading], order: object) -> None:
    whole = evaluate(TABLE, new_memory(TABLE), batch_of(stream))
    shuffled = list(stream)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert evaluate(TABLE, new_memory(TABLE), batch_of(shuffled)) == whole


@settings(max_examples=80, deadline=None)
@given(stream=streams(), sizes=cuts)
def test_changes_of_a_batch_are_told_in_data_time(stream: list[Reading], sizes: list[int]) -> None:
    memory = new_memory(TABLE)
    for part in cut(stream, sizes):
        changes = evaluate(TABLE, memory, batch_of(part)).changes
        # A late find of a worse tier goes back in time: it follows the one it comes after.
        times = [each.changed_at_us for each in changes if not each.found_late]
        assert times == sorted(times)


@settings(max_examples=60, deadline=None)
@given(stream=streams(), sizes=cuts)
def test_reading_the_registry_again_changes_nothing(
    stream: list[Reading], sizes: list[int]
) -> None:
    kept, carried = new_memory(TABLE), new_memory(TABLE)
    for part in cut(stream, sizes):
        assert evaluate(TABLE, kept, batch_of(part)) == evaluate(TABLE, carried, batch_of(part))
        now = us(part[-1][2] + 4)
        assert tick(TABLE, kept, now) == tick(TABLE, carried, now)
        carried = carry_over(TABLE, carried, compile_rules(RULES, REGISTRY))


@settings(max_examples=60, deadline=None)
@given(
    stream=streams(),
    sizes=cuts,
    touched=st.lists(st.sets(st.integers(0, len(REGISTRY) - 1)), min_size=1, max_size=5),
)
def test_following_the_registry_changes_nothing_at_points_that_stay_as_they_are(
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


ONE = registry([point(10)])


def run(table: RuleTable, *values: tuple[float, float]) -> list[tuple[str, str, float]]:
    """What readings (second, value) of one point tell, each in a batch of its own."""
    memory = new_memory(table)
    changes: list[Change] = []
    for second, value in values:
        changes += evaluate(table, memory, readings([(0, second, value)])).changes
    return told(changes)


LIMITS = high(2.0, yellow=10.0, orange=20.0)


@pytest.mark.parametrize(
    ("delays", "values", "expected"),
    [
        pytest.param((0, 0), [(1, 9.9)], [], id="under its limit nothing is raised"),
        pytest.param(
            (0, 0), [(1, 10.0)], [("raised", "yellow", 1)], id="a value on a limit has reached it"
        ),
        pytest.param(
            (0, 0), [(1, 25.0)], [("raised", "orange", 1)],
            id="a jump raises the worst tier at once",
        ),
        pytest.param(
            (0, 0),
            [(1, 12.0), (2, 20.0), (3, 17.0), (4, 7.9)],
            [("raised", "yellow", 1), ("rose", "orange", 2), ("fell", "yellow", 3),
             ("cleared", "yellow", 4)],
            id="one alarm rises, falls and clears",
        ),
        pytest.param(
            (0, 0), [(1, 10.0), (2, 8.0)], [("raised", "yellow", 1)],
            id="inside the deadband the alarm stands",
        ),
        pytest.param(
            (0, 0), [(1, 10.0), (2, math.nan), (3, math.inf)], [("raised", "yellow", 1)],
            id="what is no number neither raises nor clears",
        ),
        pytest.param(
            (5, 0), [(1, 10.0), (4, 10.0), (5, 9.0), (7, 10.0), (11, 10.0)], [],
            id="a dip starts the on-delay again",
        ),
        pytest.param(
            (5, 0), [(1, 10.0), (6, 10.0)], [("raised", "yellow", 6)],
            id="a value that stays for the on-delay raises at its end",
        ),
        pytest.param(
            (5, 0), [(1, 10.0), (9, 9.0)], [("raised", "yellow", 6)],
            id="the last value stood until the next, so the delay ended in between",
        ),
        pytest.param(
            (5, 0), [(1, 10.0), (3, 25.0), (9, 1.0)],
            [("raised", "yellow", 6), ("rose", "orange", 8), ("cleared", "orange", 9)],
            id="each limit counts its own delay",
        ),
        pytest.param(
            (0, 5), [(1, 10.0), (2, 1.0), (6, 1.0)], [("raised", "yellow", 1)],
            id="before the off-delay is over the alarm stands",
        ),
        pytest.param(
            (0, 5), [(1, 10.0), (2, 1.0), (7, 1.0)],
            [("raised", "yellow", 1), ("cleared", "yellow", 7)],
            id="a reading still below at the end of the off-delay clears",
        ),
        pytest.param(
            (0, 5), [(1, 10.0), (2, 1.0), (9, 9.0)], [("raised", "yellow", 1)],
            id="silence is not recovery, and the deadband ends the way out",
        ),
    ],
)  # fmt: skip
def test_a_signal_tells(
    delays: tuple[float, float],
    values: list[tuple[float, float]],
    expected: list[tuple[str, str, float]],
) -> None:
    each = rule(LIMITS, on_delay_s=delays[0], off_delay_s=delays[1])
    assert run(compile_rules([each], ONE), *values) == expected


def test_an_alarm_says_which_value_crossed_which_limit_under_which_version() -> None:
    table = compile_rules([rule(LIMITS)], ONE, {"gauge.rule": 7})
    (change,) = evaluate(table, new_memory(table), readings([(0, 1, 21.5)])).changes
    assert change == Change(
        kind=ChangeKind.RAISED,
        alarm_id=alarm_id_of("gauge.rule", 10, us(1)),
        row=0,
        point_id=10,
        rule_id="gauge.rule",
        rule_version=7,
        tier=Tier.ORANGE,
        tier_before=Tier.NONE,
        value=21.5,
        limit=20.0,
        direction=change.direction.HIGH,
        changed_at_us=us(1),
        raised_at_us=us(1),
        found_late=False,
    )


def test_a_tick_ends_an_on_delay_without_a_reading() -> None:
    table = compile_rules([rule(LIMITS, on_delay_s=5)], ONE)
    memory = new_memory(table)
    evaluate(table, memory, readings([(0, 1, 12.0)]))
    assert tick(table, memory, us(5.9)).changes == ()
    (change,) = tick(table, memory, us(60)).changes
    assert told([change]) == [("raised", "yellow", 6)]
    assert change.value == 12.0


def test_an_older_reading_does_not_clear() -> None:
    table = compile_rules([rule(LIMITS)], ONE)
    memory = new_memory(table)
    assert told(evaluate(table, memory, readings([(0, 10, 12.0)])).changes)
    assert evaluate(table, memory, readings([(0, 9, 1.0)])) == Outcome()


def test_the_newest_reading_is_remembered_whatever_the_order_of_arrival() -> None:
    table = compile_rules([rule(LIMITS)], ONE)
    memory = new_memory(table)
    evaluate(table, memory, readings([(0, 20, 1.0), (0, 10, 2.0)]))
    evaluate(table, memory, readings([(0, 15, 3.0)]))
    assert memory.newest_at.tolist() == [us(20)]
    assert memory.newest_value.tolist() == [1.0]


def test_an_excursion_known_only_late_is_one_alarm_that_has_ended() -> None:
    table = compile_rules([rule(LIMITS)], ONE)
    memory = new_memory(table)
    evaluate(table, memory, readings([(0, 60, 1.0)]))
    flush = readings([(0, second, 12.0) for second in range(10, 50)])
    changes = evaluate(table, memory, flush).changes
    assert told(changes) == [("raised", "yellow", 10), ("cleared", "yellow", 60)]
    assert all(change.found_late for change in changes)
    worse = evaluate(table, memory, readings([(0, 50, 25.0)])).changes
    assert told(worse) == [("raised", "orange", 50), ("cleared", "orange", 60)]
    earlier = evaluate(table, memory, readings([(0, 5, 12.0)])).changes
    assert told(earlier) == [("raised", "yellow", 5), ("cleared", "yellow", 60)]


def test_of_two_late_finds_the_first_has_ended_before_the_second_begins() -> None:
    table = compile_rules([rule(LIMITS)], ONE)
    memory = new_memory(table)
    evaluate(table, memory, readings([(0, 60, 1.0)]))
    changes = evaluate(table, memory, readings([(0, 20, 25.0), (0, 10, 12.0)])).changes
    assert told(changes) == [
        ("raised", "yellow", 10),
        ("cleared", "yellow", 60),
        ("raised", "orange", 20),
        ("cleared", "orange", 60),
    ]


def test_what_was_found_late_is_not_found_again_after_a_restart() -> None:
    table = compile_rules([rule(LIMITS)], ONE)
    memory = new_memory(table)
    evaluate(table, memory, readings([(0, 60, 1.0)]))
    raised, cleared = evaluate(table, memory, readings([(0, 10, 12.0)])).changes
    found = OpenAlarmRow(
        raised.alarm_id, "gauge.rule", 10, 2, raised.raised_at_us, cleared.changed_at_us
    )
    memory = restore(table, newest=last([(10, us(60), us(60), 1.0)]), found_late=[found])
    assert evaluate(table, memory, readings([(0, 11, 12.0)])) == Outcome()


def test_a_late_reading_raises_nothing_that_would_have_waited() -> None:
    table = compile_rules([rule(LIMITS, on_delay_s=1)], ONE)
    memory = new_memory(table)
    evaluate(table, memory, readings([(0, 60, 1.0)]))
    assert evaluate(table, memory, readings([(0, 10, 12.0), (0, 20, 12.0)])) == Outcome()


def test_backfill_is_evaluated_in_data_time_and_marked() -> None:
    table = compile_rules([rule(LIMITS)], ONE)
    backfill = readings([(0, 20, 1.0), (0, 10, 12.0)], received_s=[99, 99],
                        quality=int(Quality.BACKFILL))  # fmt: skip
    changes = evaluate(table, new_memory(table), backfill).changes
    assert told(changes) == [("raised", "yellow", 10), ("cleared", "yellow", 20)]
    assert all(change.found_late for change in changes)


def kept(said: Sequence[tuple[int, int, float]]) -> Readings:
    """Readings that came long after, with what was kept while the gateway was offline."""
    return readings(said, received_s=[59] * len(said), quality=int(Quality.BACKFILL))


def marked(changes: Sequence[Change]) -> list[tuple[str, str, int, bool]]:
    return [(*each, change.found_late) for each, change in zip(told(changes), changes, strict=True)]


def test_an_alarm_of_old_data_that_stands_is_raised_live_once_a_live_reading_holds_it() -> None:
    table = compile_rules([rule(LIMITS)], ONE)
    memory, store = new_memory(table), Store(table)
    batch = kept([(0, 10, 12.0), (0, 20, 25.0)])
    outcome = evaluate(table, memory, batch)
    store.keep(outcome, batch)
    assert marked(outcome.changes) == [
        ("raised", "yellow", 10, True), ("rose", "orange", 20, True),
    ]  # fmt: skip
    for known in (memory, store.memory()):  # as it is, and after a crash
        changes = evaluate(table, known, readings([(0, 60, 12.0)])).changes
        assert marked(changes) == [
            ("cleared", "orange", 60, False), ("raised", "yellow", 60, False),
        ]  # fmt: skip
        assert evaluate(table, known, readings([(0, 70, 12.0), (0, 80, 13.0)])) == Outcome()
        (over,) = evaluate(table, known, readings([(0, 90, 1.0)])).changes
        assert told([over]) == [("cleared", "yellow", 90)]


def test_an_alarm_of_old_data_ends_quietly_where_live_readings_know_nothing_of_it() -> None:
    table = compile_rules([rule(LIMITS, off_delay_s=10)], ONE)
    memory = new_memory(table)
    evaluate(table, memory, kept([(0, 10, 12.0)]))
    changes = evaluate(table, memory, readings([(0, 60, 1.0), (0, 65, 1.0), (0, 70, 1.0)])).changes
    assert told(changes) == [("cleared", "yellow", 70)]


@pytest.mark.parametrize("bit", [Quality.SOURCE_BAD, Quality.OUT_OF_RANGE, Quality.NOT_A_NUMBER])
def test_a_bad_reading_is_never_compared(bit: Quality) -> None:
    table = compile_rules([rule(LIMITS)], ONE)
    assert (
        evaluate(table, new_memory(table), readings([(0, 1, 99.0)], quality=int(bit))) == Outcome()
    )


def test_an_uncertain_reading_is_compared() -> None:
    table = compile_rules([rule(LIMITS)], ONE)
    uncertain = readings([(0, 1, 99.0)], quality=int(Quality.SOURCE_UNCERTAIN))
    assert len(evaluate(table, new_memory(table), uncertain).changes) == 1


STALE = Silence(Tier.BLUE, None, 3.0, 60.0)


def test_a_point_that_falls_silent_is_told_once_and_cleared_by_its_next_word() -> None:
    table = compile_rules([rule(STALE)], ONE)
    memory = new_memory(table)
    evaluate(table, memory, readings([(0, 5, 1.0)]))
    assert tick(table, memory, us(95)).changes == ()
    (change,) = tick(table, memory, us(96)).changes
    assert told([change]) == [("raised", "blue", 95)]
    assert (change.value, change.limit, change.direction.value) == (90.0, 90.0, "stale")
    assert tick(table, memory, us(200)).changes == ()
    unusable = readings([(0, 250, math.nan)])
    assert evaluate(table, memory, unusable).changes == ()
    (change,) = evaluate(table, memory, readings([(0, 300, 1.0)])).changes
    assert told([change]) == [("cleared", "blue", 300)]
    assert change.value == 295.0


def test_a_point_that_speaks_seldom_delays_no_word_of_the_silence_of_another() -> None:
    points = [point(10, interval_s=3600.0), point(11, interval_s=30.0)]
    table = compile_rules([rule(STALE)], registry(points))
    memory = new_memory(table)
    evaluate(table, memory, readings([(0, 5, 1.0), (1, 5, 1.0)]))
    expected = [(95, []), (96, [11]), (97, []), (298, [])]
    told_at = [(s, [c.point_id for c in tick(table, memory, us(s)).changes]) for s, _ in expected]
    assert told_at == expected
    evaluate(table, memory, readings([(1, 300, 1.0)]))
    expected = [(390, []), (391, [11]), (10_805, []), (10_806, [10])]
    told_at = [(s, [c.point_id for c in tick(table, memory, us(s)).changes]) for s, _ in expected]
    assert told_at == expected


def test_nobody_is_blamed_for_the_time_the_service_was_deaf() -> None:
    table = compile_rules([rule(STALE)], ONE)
    memory = restore(table, newest=last([(10, us(0), us(0), 1.0)]))
    assert tick(table, memory, us(589), us(500)).changes == ()
    (change,) = tick(table, memory, us(591), us(500)).changes
    assert told([change]) == [("raised", "blue", 590)]
    assert change.value == 590.0


def test_a_point_never_heard_is_missed_from_its_registration_on() -> None:
    table = compile_rules([rule(STALE)], registry([point(10, registered_s=1000)]))
    memory = new_memory(table)
    assert tick(table, memory, us(1090)).changes == ()
    assert told(tick(table, memory, us(1091)).changes) == [("raised", "blue", 1090)]


def test_an_alarm_for_silence_survives_a_restart_without_a_second_one() -> None:
    table = compile_rules([rule(STALE)], ONE)
    (change,) = tick(table, new_memory(table), us(100)).changes
    alarm = OpenAlarmRow(change.alarm_id, change.rule_id, 10, 1, change.raised_at_us)
    memory = restore(table, open_alarms=[alarm])
    assert tick(table, memory, us(5000)).changes == ()
    (cleared,) = evaluate(table, memory, readings([(0, 5001, 1.0)])).changes
    assert cleared.alarm_id == change.alarm_id


def test_an_alarm_whose_rule_is_gone_is_cleared_by_the_next_tick_and_its_cells_removed() -> None:
    table = compile_rules([rule(LIMITS)], ONE)
    memory = new_memory(table)
    (raised,) = evaluate(table, memory, readings([(0, 1, 12.0)])).changes
    bare = compile_rules([], ONE)
    memory = carry_over(table, memory, bare)
    outcome = tick(bare, memory, us(50))
    assert told(outcome.changes) == [("cleared", "yellow", 50)]
    assert outcome.changes[0].alarm_id == raised.alarm_id
    assert all(cell.at_rest for cell in outcome.cells)
    assert {cell.tier for cell in outcome.cells} == {2, 3}
    assert tick(bare, memory, us(60)) == Outcome()


def test_a_raised_limit_clears_what_stood_at_the_old_one_with_the_next_reading() -> None:
    table = compile_rules([rule(LIMITS)], ONE)
    memory = new_memory(table)
    evaluate(table, memory, readings([(0, 1, 12.0)]))
    changed = compile_rules([rule(high(2.0, yellow=15.0))], ONE, {"gauge.rule": 2})
    memory = carry_over(table, memory, changed)
    assert tick(changed, memory, us(1)).changes == ()
    (change,) = evaluate(changed, memory, readings([(0, 2, 12.5)])).changes
    assert told([change]) == [("cleared", "yellow", 2)]
    assert change.rule_version == 2


def test_a_device_in_a_worse_hazard_unit_rises_with_its_next_reading() -> None:
    each = rule(high(2.0, yellow=10.0, orange=20.0), worse_in_grades=(1,))
    table = compile_rules([each], ONE)
    memory = new_memory(table)
    evaluate(table, memory, readings([(0, 1, 12.0)]))
    graded = compile_rules([each], registry([point(10, grade=1)]))
    memory = carry_over(table, memory, graded)
    changes = list(tick(graded, memory, us(2)).changes)
    changes += evaluate(graded, memory, readings([(0, 3, 12.0)])).changes
    assert told(changes) == [("rose", "orange", 3)]


def test_points_keep_their_memory_when_rows_move() -> None:
    table = compile_rules([rule(LIMITS), rule(STALE, "gauge.stale")], ONE)
    memory = new_memory(table)
    evaluate(table, memory, readings([(0, 1, 12.0)]))
    wider = compile_rules(table.rules, registry([point(3), point(10)]))
    memory = carry_over(table, memory, wider)
    changes = evaluate(wider, memory, readings([(1, 2, 7.0), (0, 2, 7.0)])).changes
    assert told(changes) == [("cleared", "yellow", 2)]
    assert changes[0].point_id == 10


def test_a_registry_that_grows_leaves_alarms_and_silences_as_they_stand() -> None:
    rules = [rule(LIMITS), rule(STALE, "gauge.stale")]
    before = registry([point(10), point(20)])
    table = compile_rules(rules, before)
    memory = new_memory(table)
    evaluate(table, memory, readings([(0, 1, 12.0), (1, 1, 1.0)]))
    assert len(tick(table, memory, us(500)).changes) == 2, "both fell silent"
    draft = Draft(before)
    draft.forget_devices([20])
    draft.take_point(point(20, grade=1))
    draft.take_point(point(30, registered_s=499))
    after, rows = draft.registry(2), draft.touched_rows()
    wider = lay_over(table, after, rows)
    memory = carry_over(table, memory, wider, rows)
    assert tick(wider, memory, us(501)) == Outcome()
    changes = evaluate(wider, memory, readings([(0, 502, 7.0), (1, 502, 1.0), (2, 502, 12.0)]))
    assert sorted((each.rule_id, each.point_id, each.kind) for each in changes.changes) == [
        ("gauge.rule", 10, "cleared"),
        ("gauge.rule", 30, "raised"),
        ("gauge.stale", 10, "cleared"),
        ("gauge.stale", 20, "cleared"),
    ]
    assert not memory.silent_open.any()


def test_only_what_changed_is_to_be_stored() -> None:
    table = compile_rules([rule(LIMITS, off_delay_s=5)], ONE)
    memory = new_memory(table)
    raised = evaluate(table, memory, readings([(0, 1, 12.0)]))
    assert [(cell.tier, cell.holds, cell.since_us) for cell in raised.cells] == [(2, True, None)]
    assert evaluate(table, memory, readings([(0, 2, 12.0)])) == Outcome()
    leaving = evaluate(table, memory, readings([(0, 3, 1.0)]))
    assert [(cell.tier, cell.holds, cell.since_us) for cell in leaving.cells] == [(2, True, us(3))]
    (rest,) = evaluate(table, memory, readings([(0, 9, 1.0)])).cells
    assert rest.at_rest


def test_a_merged_outcome_stores_each_limit_once_as_it_is_last() -> None:
    table = compile_rules([rule(LIMITS)], ONE)
    memory = new_memory(table)
    first = evaluate(table, memory, readings([(0, 1, 12.0)]))
    second = evaluate(table, memory, readings([(0, 2, 1.0)]))
    merged = merge(first, second)
    assert told(merged.changes) == [("raised", "yellow", 1), ("cleared", "yellow", 2)]
    assert [cell.at_rest for cell in merged.cells] == [True]


def test_points_without_a_rule_are_left_alone() -> None:
    table = compile_rules([rule(LIMITS, quantity="y")], ONE)
    memory = new_memory(table)
    assert evaluate(table, memory, readings([(0, 1, 1e9), (0, 2, -1e9)])) == Outcome()
    assert memory.newest_at.tolist() == [us(2)]
    assert np.isneginf(table.calm_low[0])


def test_a_reading_on_its_way_does_not_end_what_the_clock_began_with_the_hours() -> None:
    table = compile_rules([rule(high(yellow=10.0), on_delay_s=2, hours=DAWN)], ONE)
    memory = new_memory(table)
    assert evaluate(table, memory, readings([(0, 12, 11.0)])).changes == ()
    assert told(tick(table, memory, us(23)).changes) == [("raised", "yellow", 22.0)]
    assert evaluate(table, memory, readings([(0, 18, 11.0)])).changes == ()
    ended = evaluate(table, memory, readings([(0, 81, 11.0)])).changes
    assert told(ended) == [("cleared", "yellow", 81.0)]
