"""Measures, each against a plain loop; rings, each against a sorted list."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazardloop.alarms.measure import Measure, Method
from hazardloop.alarms.measuring import explained, measured
from hazardloop.alarms.rings import (
    Rings,
    empty_rings,
    lately,
    lay_all,
    push_all,
    renumbered,
    take_over,
)
from hazardloop.devices.readings import NEVER
from tests.unit.alarms.measure_oracle import says

MEASURES = (
    Measure(Method.SLOPE, 20.0, least=4),
    Measure(Method.SLOPE, 9.0, per_s=3600.0, least=5, size=True),
    Measure(Method.FROM_MEDIAN, 15.0, least=3),
    Measure(Method.FROM_MEAN, 15.0, least=2, size=True),
    Measure(Method.FROM_SET_POINT, 0.0, at=9.5),
    Measure(Method.MEAN, 12.0),
    Measure(Method.MAX, 12.0, least=2),
    Measure(Method.MIN, 12.0),
    Measure(Method.PERCENTILE, 30.0, at=90.0),
    Measure(Method.PERCENTILE, 30.0, at=7.0),
    Measure(Method.TIME_ABOVE, 25.0, at=9.0, gap_s=6.0),
    Measure(Method.DOSE, 25.0, gap_s=6.0),
    Measure(Method.COUNT, 18.0, at=10.0, to=math.inf, gap_s=5.0),
    Measure(Method.COUNT, 18.0, at=0.0, to=0.0),
    Measure(Method.OCCURRENCES, 18.0, at=1.0, to=1.0),
    Measure(Method.TIME_TO, 20.0, at=30.0, to=math.inf, least=4),
    Measure(Method.TIME_TO, 20.0, at=0.0, to=-math.inf, least=4),
    Measure(Method.STILL, 20.0, at=0.0, gap_s=4.0),
    Measure(Method.STILL, 20.0, at=0.5, but=0.0, gap_s=4.0),
)
NAMED = [pytest.param(each, id=f"{each.method} {nth}") for nth, each in enumerate(MEASURES)]
pasts = st.lists(
    st.tuples(
        st.integers(1, 60).map(lambda tenths: tenths * 100_000),
        st.one_of(st.sampled_from([0.0, 1.0, 1.5, 9.0, 10.0, 30.0, -5.0]), st.floats(-50, 50)),
    ),
    min_size=1,
    max_size=14,
)  # fmt: skip


def in_time(past: list[tuple[int, float]]) -> list[tuple[int, float]]:
    at = 0
    found = []
    for step, value in past:
        at += step
        found.append((at, value))
    return found


def filled(pasts: list[list[tuple[int, float]]], room: int) -> Rings:
    rows = np.arange(len(pasts), dtype=np.int32)
    rings = empty_rings(rows, np.full(len(pasts), room, np.int32), len(pasts))
    row = np.array([nth for nth, past in enumerate(pasts) for _ in past], np.int32)
    at, value = (
        np.array([each[nth] for past in pasts for each in past], dtype)
        for nth, dtype in enumerate((np.int64, np.float64))
    )
    push_all(rings, row, at, value)
    return rings


@pytest.mark.parametrize("measure", NAMED)
@settings(max_examples=60, deadline=None)
@given(given_=st.lists(pasts, min_size=1, max_size=4))
def test_a_measure_says_what_a_plain_loop_says(
    measure: Measure, given_: list[list[tuple[int, float]]]
) -> None:
    told = [in_time(past) for past in given_]
    rings = filled(told, 32)
    now = np.array([past[-1][0] for past in told])
    rows = np.arange(len(told), dtype=np.int32)
    age_s, value, newest = rings.windows(rows, measure.reach_s, now + 1)
    assert newest.tolist() == now.tolist()
    found = measured(measure, age_s, value).tolist()
    expected = [says(measure, past) for past in told]
    assert [None if math.isnan(each) else each for each in found] == expected


@pytest.mark.parametrize("measure", NAMED)
def test_the_arithmetic_can_be_kept_as_json(measure: Measure) -> None:
    past = [(nth * 1_000_000, float(nth % 7)) for nth in range(12)]
    age_s, value, newest = filled([past], 32).windows(
        np.zeros(1, np.int32), measure.reach_s, np.array([past[-1][0] + 1])
    )
    said = explained(measure, age_s[0], value[0], int(newest[0]))
    assert json.loads(json.dumps(said, allow_nan=False)) == said
    assert said["newest_at_us"] == past[-1][0]
    assert said["newest"] == past[-1][1]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40), st.floats(-9, 9)), max_size=60),
    st.integers(1, 12),
    st.lists(st.integers(1, 9), max_size=9),
)
def test_a_ring_holds_the_newest_readings_in_whatever_order_they_came(
    said: list[tuple[int, int, float]], room: int, sizes: list[int]
) -> None:
    rings = empty_rings(np.arange(3, dtype=np.int32), np.full(3, room, np.int32), 3)
    kept: dict[int, dict[int, float]] = {0: {}, 1: {}, 2: {}}
    start = 0
    for size in [*sizes, len(said)]:
        part = said[start : start + size]
        start += size
        push_all(
            rings,
            np.array([row for row, _, _ in part], np.int32),
            np.array([at for _, at, _ in part], np.int64),
            np.array([value for *_, value in part]),
        )
        # Of two readings of an instant the first counts; within a batch there are no two.
        for row, at, value in sorted(part, key=lambda each: each[:2]):
            kept[row].setdefault(at, value)
            for old in sorted(kept[row])[:-room]:
                del kept[row][old]
    for ring in range(3):
        at, value = rings.told(ring)
        assert dict(zip(at.tolist(), value.tolist(), strict=True)) == kept[ring]
        assert at.tolist() == sorted(at.tolist())
        assert rings.newest[ring] == max(kept[ring], default=NEVER)
    again = empty_rings(rings.row, rings.room, 3)
    lay_all(again, lately(rings, rings.row))
    turned = renumbered(rings, np.array([2, 0], np.int32))
    smaller = empty_rings(np.arange(2, dtype=np.int32), np.full(2, 3, np.int32), 2)
    take_over(smaller, rings, np.array([1, -1], np.int32))
    for ring in range(3):
        assert [each.tolist() for each in again.told(ring)] == [
            each.tolist() for each in rings.told(ring)
        ]
    assert turned.told(1)[0].tolist() == rings.told(0)[0].tolist()
    assert smaller.told(0)[0].tolist() == rings.told(1)[0].tolist()[-3:]
    assert len(smaller.told(1)[0]) == 0


@given(st.lists(st.integers(0, 30), min_size=1, max_size=20, unique=True), st.integers(-2, 33))
def test_a_window_ends_before_an_instant(times: list[int], before: int) -> None:
    rings = filled([[(at * 1_000_000, float(at)) for at in sorted(times)]], 20)
    age_s, value, newest = rings.windows(
        np.zeros(1, np.int32), 10.0, np.array([before * 1_000_000])
    )
    older = [at for at in sorted(times, reverse=True) if at < before]
    expected = [float(at) for at in older if older[0] - at < 10]
    assert value[0][~np.isnan(value[0])].tolist() == expected
    assert age_s[0][~np.isnan(age_s[0])].tolist() == [older[0] - at for at in expected]
    assert newest[0] == (older[0] * 1_000_000 if older else NEVER)


def test_one_wild_reading_does_not_move_a_slope() -> None:
    steady = [(nth * 30_000_000, 10.0 + nth) for nth in range(10)]
    wild = [*steady[:6], (steady[6][0], 1000.0), *steady[7:]]
    measure = Measure(Method.SLOPE, 300.0, least=6)
    found = []
    for past in (steady, wild):
        age_s, value, _ = filled([past], 32).windows(
            np.zeros(1, np.int32), 300.0, np.array([past[-1][0] + 1])
        )
        found.append(float(measured(measure, age_s, value)[0]))
    assert found == [2.0, 2.0]  # in a minute, of one each half minute
