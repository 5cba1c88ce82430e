"""Flags on the course of a point: what each means; columns say what a plain loop says."""

import math
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazardloop.devices.catalog import Plausible
from hazardloop.devices.readings import BAD, Quality, Readings
from hazardloop.ingest.quality import Courses, expectations, flag, nothing_heard, restore, with_room

S = 1_000_000
START = 1_795_300_000 * S
LEL = Plausible(gap_s=120, per_s=25, step=30, still_s=600, at_rest=0)
"""As a combustible detector, but told stuck after ten minutes."""
NONE = Quality(0)


def column(said: list[tuple[int, float, float, Quality]]) -> Readings:
    """Readings of (row, seconds after START, value, flags)."""
    row = np.array([each[0] for each in said], np.int32)
    at = START + np.array([round(each[1] * S) for each in said], np.int64)
    value = np.array([each[2] for each in said], np.float64)
    quality = np.array([int(each[3]) for each in said], np.int16)
    return Readings(row, at, at, value, quality, np.zeros(len(said), np.int32))


def told(course: list[tuple[float, float]], expected: Plausible = LEL) -> list[Quality]:
    """The flags of a point that said these values at these seconds."""
    readings = column([(0, at_s, value, NONE) for at_s, value in course])
    flag(readings, expectations([0], [expected]), nothing_heard(1))
    return [Quality(each) for each in readings.quality.tolist()]


def every(interval_s: float, values: list[float]) -> list[tuple[float, float]]:
    return [(nth * interval_s, value) for nth, value in enumerate(values)]


def test_a_reading_that_leaves_and_returns_is_a_spike_and_the_return_is_none() -> None:
    flags = told(every(30, [1.0, 1.1, 1.0, 90.0, 1.1, 1.0, 1.2]))
    assert flags == [NONE, NONE, NONE, Quality.SPIKE, NONE, NONE, NONE]


def test_a_jump_that_stays_is_a_spike_for_two_readings_only() -> None:
    flags = told(every(30, [1.0, 1.1, 1.0, 60.0, 61.0, 60.0, 62.0]))
    assert flags == [NONE, NONE, NONE, Quality.SPIKE, Quality.SPIKE, NONE, NONE]


def test_a_steady_rise_is_neither_spike_nor_too_fast() -> None:
    assert told(every(1, [float(value) for value in range(0, 100, 12)])) == [NONE] * 9


@pytest.mark.parametrize(
    ("after_s", "value", "expected"),
    [
        pytest.param(2.0, 51.0, NONE, id="25 a second is what it can"),
        pytest.param(2.0, 51.1, Quality.RATE, id="more is too fast"),
        pytest.param(2.0, -49.1, Quality.RATE, id="downwards as well"),
        pytest.param(0.001, 20.0, NONE, id="neighbours may differ by what a second allows"),
        pytest.param(0.001, 30.0, Quality.RATE, id="and by no more"),
        pytest.param(3600.0, 99.0, NONE, id="in an hour anything may happen"),
    ],
)
def test_rate(after_s: float, value: float, expected: Quality) -> None:
    assert told([(0.0, 1.0), (after_s, value)]) == [NONE, expected]


def test_a_standstill_is_stuck_once_it_is_longer_than_the_quantity_can_stand_still() -> None:
    flags = told(every(60, [12.3] * 13))
    assert flags == [NONE] * 11 + [Quality.STUCK] * 2
    flags = told(every(60, [12.3] * 12 + [12.4, 12.4]))
    assert flags == [NONE] * 11 + [Quality.STUCK, NONE, NONE]


def test_at_rest_it_may_stand_still_for_ever() -> None:
    assert told(every(60, [0.0] * 30)) == [NONE] * 30


def test_what_is_never_told_to_move_may_stand_still() -> None:
    tank = Plausible(gap_s=120, per_s=0.05, step=2, still_s=None, at_rest=None)
    assert told(every(60, [7.5] * 2000), tank) == [NONE] * 2000


def test_the_same_value_on_both_sides_of_a_gap_is_no_standstill() -> None:
    course = [*every(60, [12.3] * 10), *((2000 + at_s, v) for at_s, v in every(60, [12.3] * 10))]
    assert told(course) == [NONE] * 20


def test_after_a_gap_another_level_is_no_spike() -> None:
    course = [(0.0, 1.0), (30.0, 1.0), (60.0, 1.0), (600.0, 80.0), (630.0, 80.0), (660.0, 81.0)]
    assert told(course) == [NONE] * 6


def test_what_is_late_or_bad_is_neither_judged_nor_remembered() -> None:
    said = [(0, 30.0 * nth, 1.0, NONE) for nth in range(3)]
    said += [(0, 91.0, 90.0, Quality.LATE), (0, 92.0, math.nan, Quality.NOT_A_NUMBER)]
    said += [(0, 93.0, 900.0, Quality.OUT_OF_RANGE), (0, 120.0, 1.0, Quality.BACKFILL)]
    readings = column(said)
    before = readings.quality.copy()
    flag(readings, expectations([0], [LEL]), nothing_heard(1))
    assert readings.quality.tolist() == before.tolist()


def test_nothing_is_expected_of_what_the_catalogue_does_not_describe() -> None:
    readings = column([(0, float(nth), 1000.0 * (nth % 2), NONE) for nth in range(50)])
    flag(readings, expectations([0], [None]), nothing_heard(1))
    assert not readings.quality.any()


@dataclass
class Loop:
    """What the columns must say, reading by reading and point by point."""

    expected: list[Plausible | None]
    said: dict[int, list[tuple[int, float]]] = field(default_factory=dict)
    """Of each point, since its last gap; the last before a gap comes first."""
    since: dict[int, int] = field(default_factory=dict)

    def take(self, row: int, at_us: int, value: float, quality: int) -> int:
        """The flags of the next reading."""
        expected = self.expected[row]
        if expected is None or quality & int(BAD | Quality.LATE):
            return 0
        run, flags = self.said.get(row, []), NONE
        if run:
            waited_us = at_us - run[-1][0]
            if expected.per_s is not None:
                allowed = expected.per_s / 1e6 * max(waited_us, 1e6)
                flags |= Quality.RATE if abs(value - run[-1][1]) > allowed else NONE
            if waited_us > expected.gap_s * 1e6:
                run = []
        if not run or run[-1][1] != value:
            self.since[row] = at_us
        if expected.step is not None and len(run) >= 3:
            usual = median(each for _, each in run[-3:])
            flags |= Quality.SPIKE if abs(value - usual) > expected.step else NONE
        if (
            expected.still_s is not None
            and value != expected.at_rest
            and at_us - self.since[row] > expected.still_s * 1e6
        ):
            flags |= Quality.STUCK
        self.said[row] = [*run, (at_us, value)]
        return int(flags)


KINDS: list[Plausible | None] = [
    None,
    Plausible(3, 1.0, 2.0, 4.0, 0.0),
    Plausible(2, None, 1.0, None, None),
    Plausible(5, None, None, 3.0, None),
    Plausible(1, 0.5, None, None, None),
]
ROWS = [0, 1, 1, 2, 3, 4]
"""What is expected of each of six points."""

VALUES = st.one_of(
    st.sampled_from([0.0, 1.0, 1.0, 2.0, 5.0, -3.0, math.nan]),
    st.floats(-10, 10, allow_nan=False),
)
STEPS = st.sampled_from([0, 1, 400_000, S, S, S, 2 * S, 3 * S, 6 * S, -2 * S])
"""Between neighbours in arrival, us: the same instant again, the next one, a gap, a step back."""
SAID = st.lists(st.tuples(st.integers(0, 5), STEPS, VALUES, st.booleans()), max_size=60)


def arrivals(said: list[tuple[int, int, float, bool]]) -> Readings:
    """As they leave the repeats: each instant of a point once, the older ones marked late."""
    newest: dict[int, int] = {}
    seen: set[tuple[int, int]] = set()
    kept, now = [], START
    for row, step, value, backfill in said:
        now += step
        if (row, now) in seen:
            continue
        seen.add((row, now))
        quality = Quality.BACKFILL if backfill else NONE
        quality |= Quality.NOT_A_NUMBER if math.isnan(value) else NONE
        quality |= Quality.LATE if now < newest.get(row, 0) else NONE
        newest[row] = max(now, newest.get(row, 0))
        kept.append((row, (now - START) / S, value, quality))
    return column(kept)


def in_batches(readings: Readings, cuts: list[int]) -> tuple[list[int], Courses]:
    """The flags when the batch ends at each of `cuts`, and what is remembered at the end."""
    courses, expected = nothing_heard(len(ROWS)), expectations(ROWS, KINDS)
    flags: list[int] = []
    edges = [0, *sorted(min(cut, len(readings)) for cut in cuts), len(readings)]
    for start, end in pairwise(edges):
        batch = readings.take(np.arange(start, end))
        flag(batch, expected, courses)
        flags += batch.quality.tolist()
    return flags, courses


@given(SAID, st.lists(st.integers(0, 60), max_size=8))
def test_columns_say_what_a_loop_says_however_the_stream_is_cut(
    said: list[tuple[int, int, float, bool]], cuts: list[int]
) -> None:
    readings = arrivals(said)
    loop = Loop([KINDS[kind] for kind in ROWS])
    columns = (readings.row, readings.observed_at, readings.value, readings.quality)
    expected = [
        int(quality) | loop.take(int(row), int(at), float(value), int(quality))
        for row, at, value, quality in zip(*columns, strict=True)
    ]
    assert in_batches(readings, cuts)[0] == expected
    assert in_batches(readings, [])[0] == expected


@given(SAID, SAID)
def test_after_a_restart_spikes_and_rates_are_as_if_there_had_been_none(
    before: list[tuple[int, int, float, bool]], after: list[tuple[int, int, float, bool]]
) -> None:
    readings = arrivals(before + after)
    cut = len(arrivals(before))
    undisturbed, _ = in_batches(readings, [])
    stored = readings.take(np.arange(cut))
    stored.quality[:] = undisturbed[:cut]
    courses = restore(newest_three(stored), expectations(ROWS, KINDS))
    later = readings.take(np.arange(cut, len(readings)))
    flag(later, expectations(ROWS, KINDS), courses)
    seen = int(Quality.SPIKE | Quality.RATE)
    assert [each & seen for each in later.quality.tolist()] == [
        each & seen for each in undisturbed[cut:]
    ]


def newest_three(stored: Readings) -> Readings:
    """The newest three readings of each point that were judged, as the table gives them."""
    judged = stored.take((stored.quality & int(BAD | Quality.LATE)) == 0)
    judged = judged.take(np.lexsort((judged.observed_at, judged.row)))
    rank = [int((judged.row[nth + 1 :] == row).sum()) for nth, row in enumerate(judged.row)]
    return judged.take(np.array(rank, np.intp) < 3)


def test_what_was_stuck_is_stuck_after_a_restart() -> None:
    readings = column([(0, 60.0 * nth, 12.3, NONE) for nth in range(15)])
    flag(readings, expectations([0], [LEL]), nothing_heard(1))
    courses = restore(newest_three(readings), expectations([0], [LEL]))
    later = column([(0, 900.0, 12.3, NONE), (0, 960.0, 12.4, NONE)])
    flag(later, expectations([0], [LEL]), courses)
    assert later.quality.tolist() == [int(Quality.STUCK), 0]


def test_points_that_are_added_have_said_nothing_and_the_others_go_on() -> None:
    _, courses = in_batches(arrivals([(1, S, float(nth), False) for nth in range(5)]), [])
    more = with_room(courses, 9)
    assert (more.value[1], more.second[1], more.third[1]) == (4.0, 3.0, 2.0)
    assert np.isnan(more.value[6:]).all()
    assert (more.at_us[6:] == -np.inf).all()
