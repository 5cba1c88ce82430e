"""A replay says what the oracle says of the stored readings, however they are handed over."""

from collections.abc import Sequence
from dataclasses import fields, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from hazardloop.alarms.alarm import Tier
from hazardloop.alarms.hours import LOCAL_TZ
from hazardloop.alarms.rule import Silence
from hazardloop.alarms.rule_table import compile_rules
from hazardloop.devices.readings import Quality
from hazardloop.devices.registry import Registry
from hazardloop.replay.episodes import STANDS, Episodes, together
from hazardloop.replay.run import Run, Span
from hazardloop.replay.shards import shard_of, shared_out, watched_rows
from tests.unit.alarms import test_evaluation, test_groups, test_measured_evaluation
from tests.unit.alarms.scalar_oracle import Oracle, OracleRule
from tests.unit.alarms.site import START_US, point, registry, rule, us
from tests.unit.alarms.test_evaluation import POINTS, Reading, batch_of, streams

TAGS = test_groups.TAGS
STALE = rule(Silence(Tier.BLUE, 12.0, None, 0.0), "gauge.stale")
SHORT = rule(Silence(Tier.YELLOW, 3.0, None, 0.0), "gauge.short")
RULES = (
    *(each for each in test_evaluation.RULES if each.rule_id != "gauge.stale"),
    *test_measured_evaluation.RULES,
    *(replace(each, rule_id=f"group.{each.rule_id}") for each in test_groups.RULES),
    STALE,
    SHORT,
)
REGISTRY = registry(
    point(10 + row, tags=tags, interval_s=1.0) for row, tags in enumerate((*TAGS, {}, {}))
)
END = 400
SPAN = Span(START_US, START_US, us(END))


def said(stream: Sequence[Reading]) -> list[Reading]:
    """The stream over all points, further ones among them."""
    return [(row + 3 * (second % 2) if row < 2 else row, second, *rest)
            for row, second, *rest in stream]  # fmt: skip


def replayed(
    stream: Sequence[Reading], cuts: Sequence[int], at_once: int, known: Registry = REGISTRY
) -> Episodes:
    """Handed over in pieces that end at these seconds."""
    run = Run(RULES, known, SPAN, LOCAL_TZ, at_once=at_once)
    before = -10
    for until in [*sorted(cuts), END]:
        piece = [each for each in stream if before <= each[1] < until]
        here = batch_of([each for each in piece if 10 + each[0] in known.point_id])
        here.row[:] = known.row_of.many(here.row + 10)
        run.take(here, us(until))
        before = max(before, until)
    return run.end()


def bits(found: Episodes) -> list[bytes]:
    return [getattr(found, each.name).tobytes() for each in fields(found)]


@settings(max_examples=60, deadline=None)
@given(
    stream=streams().map(said),
    cuts=st.lists(st.integers(-5, 120), max_size=6),
    at_once=st.integers(1, 9),
    hands=st.integers(1, 3),
)
def test_the_same_bits_however_readings_are_cut_and_shared_out(
    stream: list[Reading], cuts: list[int], at_once: int, hands: int
) -> None:
    whole = replayed(stream, [], 1_000)
    assert bits(replayed(stream, cuts, at_once)) == bits(whole)
    table = compile_rules(RULES, REGISTRY)
    rows = watched_rows(table)
    parts = [shard_of(REGISTRY, each) for each in shared_out(table, rows, hands)]
    assert sorted(p.point_id for part in parts for p in part.points) == list(range(10, 15))
    shared = [replayed(stream, cuts, at_once, part.registry()) for part in parts]
    assert bits(together(shared)) == bits(whole)


def by_oracle(oracle: Oracle) -> set[tuple[str, int, int, int, int, bool]]:
    """Rule, point, raise, end, worst tier, lateness of each alarm."""
    found: dict[tuple[str, int, int], list[int]] = {}
    for change in oracle.changes:
        key = change.rule, change.point, change.raised_at
        alarm = found.setdefault(key, [STANDS, 0, change.late])
        alarm[1] = max(alarm[1], change.tier)
        if not change.tier:
            alarm[0] = change.changed_at
    return {(*key, *alarm) for key, alarm in found.items()}


def by_replay(found: Episodes) -> set[tuple[str, int, int, int, int, bool]]:
    rows = zip(*(getattr(found, each.name).tolist() for each in fields(found)), strict=True)
    return {
        (RULES[nth].rule_id, point_id - 10, raised, cleared, tier, late)
        for nth, point_id, raised, cleared, tier, late, _ in rows
    }


@settings(max_examples=60, deadline=None)
@given(stream=streams())
def test_values_are_judged_as_the_oracle_judges_them_in_data_time(stream: list[Reading]) -> None:
    ordered = sorted(stream, key=lambda each: each[1])
    expected = set()
    for oracle in (test_evaluation.oracle(), test_measured_evaluation.oracle()):
        oracle.rules = [each for each in oracle.rules if each.direction != "stale"]
        for instant in sorted({each[1] for each in ordered}):
            oracle.batch(
                [(row, us(second), us(received), value, quality == Quality.SOURCE_BAD,
                  quality == Quality.BACKFILL)
                 for row, second, received, value, quality in ordered if second == instant]
            )  # fmt: skip
        oracle.tick(us(END))
        expected |= by_oracle(oracle)
    found = by_replay(replayed(stream, [], 1_000))
    apart = ("gauge.stale", "gauge.short", "group.")
    assert {each for each in found if not each[0].startswith(apart)} == expected


@settings(max_examples=60, deadline=None)
@given(stream=streams())
def test_silence_is_found_as_by_a_worker_that_looks_each_second(stream: list[Reading]) -> None:
    limits = {"gauge.stale": {1: 12.0}, "gauge.short": {2: 3.0}}
    rules = [
        OracleRule(name, at, "stale", of) for name, of in limits.items() for at in range(POINTS)
    ]
    oracle = Oracle(rules, dict.fromkeys(range(POINTS), START_US))
    for look in range(END):
        oracle.batch(
            (row, us(second), us(received), value, quality == Quality.SOURCE_BAD, False)
            for row, second, received, value, quality in stream
            if look - 1 < max(received, second) <= look
        )
        oracle.tick(us(look - 1))
    found = {each for each in by_replay(replayed(stream, [], 1_000)) if each[0] in limits}
    assert {each for each in found if each[1] < POINTS} == by_oracle(oracle)


def test_points_without_a_rule_are_left_out() -> None:
    table = compile_rules([STALE], registry([point(1), point(2, "y")]))
    rows = watched_rows(table)
    assert [part.tolist() for part in shared_out(table, rows, 4)] == [[0]]
