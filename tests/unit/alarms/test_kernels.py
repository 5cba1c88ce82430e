"""Kernels, each against a plain loop."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazardloop.alarms.alarm import Tier, alarm_id_of
from hazardloop.alarms.kernels import (
    calm_band,
    let_time_pass,
    next_due,
    silent_from,
    stirring,
    take_value,
    usable,
)
from hazardloop.alarms.rule import Condition, State
from hazardloop.alarms.rule_table import compile_rules
from hazardloop.alarms.watch import Signal, Standing, Watch, signal_at_rest, worst_held
from hazardloop.devices.readings import NEVER, Quality
from tests.unit.alarms.site import high, low, point, registry, rule

S = 1_000_000


def watch(condition: Condition, on_delay_s: float = 0, off_delay_s: float = 0) -> Watch:
    each = rule(condition, on_delay_s=on_delay_s, off_delay_s=off_delay_s)
    return compile_rules([each], registry([point(1)])).watches(0)[0]


@given(
    st.lists(
        st.tuples(st.floats(), st.integers(0, 255)),
        max_size=30,
    )
)
def test_usable_is_a_finite_value_that_nothing_calls_bad(given_: list[tuple[float, int]]) -> None:
    value = np.array([value for value, _ in given_])
    quality = np.array([quality for _, quality in given_], np.int16)
    bad = Quality.NOT_A_NUMBER | Quality.OUT_OF_RANGE | Quality.SOURCE_BAD
    expected = [math.isfinite(value) and not quality & bad for value, quality in given_]
    assert usable(value, quality).tolist() == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(24.9, False, id="between both limits"),
        pytest.param(25.0, True, id="on the high limit"),
        pytest.param(5.0, True, id="on the low limit"),
        pytest.param(5.1, False, id="just above the low limit"),
        pytest.param(-1e9, True, id="far below"),
    ],
)
def test_a_value_stirs_at_a_limit_and_beyond(value: float, expected: bool) -> None:
    found = stirring(np.array([value]), np.array([5.0]), np.array([25.0]))
    assert found.tolist() == [expected]


@given(
    st.lists(
        st.tuples(
            st.one_of(st.just(NEVER), st.integers(0, 100)), st.integers(0, 100), st.integers(1, 50)
        ),
        max_size=20,
    ),
    st.integers(0, 100),
)
def test_silence_begins_with_the_last_word_or_the_first_day_of_listening(
    points: list[tuple[int, int, int]], deaf_until: int
) -> None:
    columns = [np.array([each[nth] for each in points], np.int64) for nth in range(3)]
    found = silent_from(columns[0], columns[1], deaf_until, columns[2])
    assert found.tolist() == [
        max(heard, known, deaf_until) + limit for heard, known, limit in points
    ]


CONDITIONS = [
    high(2.0, yellow=10.0, orange=20.0),
    high(0.0, blue=10.0),
    low(1.0, yellow=5.0, red=-5.0),
    State(1.0, Tier.RED),
    State(0.0, Tier.BLUE),
    State(-3.0, Tier.BLUE),
]
values = st.sampled_from([-6.0, -5.0, -3.0, 0.0, 1.0, 5.0, 6.0, 6.5, 8.0, 9.0, 10.0, 18.0, 20.0])


@settings(max_examples=300)
@given(
    conditions=st.lists(st.sampled_from(CONDITIONS), min_size=1, max_size=3),
    past=st.lists(values, max_size=6),
    value=values,
    delay_s=st.sampled_from([0, 3]),
)
def test_a_value_inside_the_calm_band_changes_nothing(
    conditions: list[Condition], past: list[float], value: float, delay_s: float
) -> None:
    watched: list[tuple[Watch, Signal | None]] = []
    for condition in conditions:
        each = watch(condition, off_delay_s=delay_s)
        signal = signal_at_rest(each)
        for second, earlier in enumerate(past):
            take_value(each, signal, second * S, earlier)
        if tier := worst_held(each, signal):
            signal.alarm = Standing(alarm_id_of("r", 1, 0), 0, tier)
        watched.append((each, None if signal.resting else signal))
    below, above = calm_band(watched)
    if not below < value < above:
        return
    for each, remembered in watched:
        signal = remembered or signal_at_rest(each)
        before = list(signal.holds), list(signal.since)
        take_value(each, signal, 100 * S, value)
        assert (signal.holds, signal.since) == before


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        pytest.param(high(2.0, yellow=10.0, red=20.0), (-math.inf, 10.0), id="under a high limit"),
        pytest.param(low(2.0, yellow=10.0, red=5.0), (10.0, math.inf), id="over a low limit"),
        pytest.param(State(1.0, Tier.RED), (-math.inf, 1.0), id="a switch that is off"),
        pytest.param(State(0.0, Tier.RED), (0.0, math.inf), id="a switch that is on"),
    ],
)
def test_at_rest_the_calm_band_is(condition: Condition, expected: tuple[float, float]) -> None:
    assert calm_band([(watch(condition), None)]) == expected


def test_while_an_alarm_stands_values_that_keep_it_are_calm() -> None:
    each = watch(high(2.0, yellow=10.0, red=20.0))
    signal = signal_at_rest(each)
    take_value(each, signal, 0, 12.0)
    signal.alarm = Standing(alarm_id_of("r", 1, 0), 0, Tier.YELLOW)
    below, above = calm_band([(each, signal)])
    assert math.nextafter(8.0, -math.inf) == below
    assert above == 20.0


def test_while_a_delay_runs_no_value_is_calm() -> None:
    each = watch(high(yellow=10.0), on_delay_s=5)
    signal = signal_at_rest(each)
    take_value(each, signal, 0, 12.0)
    assert calm_band([(each, signal)]) == (math.inf, -math.inf)


def test_an_alarm_that_says_another_tier_than_its_limits_is_not_calm() -> None:
    each = watch(high(yellow=10.0))
    signal = Signal([False], [NEVER], Standing(alarm_id_of("r", 1, 0), 0, Tier.YELLOW))
    assert calm_band([(each, signal)]) == (math.inf, -math.inf)


def test_delays_end_in_order_and_each_at_its_own_time() -> None:
    each = watch(high(yellow=10.0, orange=20.0), on_delay_s=5)
    signal = signal_at_rest(each)
    take_value(each, signal, 1 * S, 12.0)
    take_value(each, signal, 3 * S, 25.0)
    assert next_due(each, signal) == 6 * S
    assert list(let_time_pass(each, signal, 7 * S)) == [6 * S]
    assert signal.holds == [True, False]
    assert list(let_time_pass(each, signal, 8 * S)) == [8 * S]
    assert signal.holds == [True, True]
    assert next_due(each, signal) is None


def test_an_off_delay_never_ends_by_itself() -> None:
    each = watch(high(yellow=10.0), off_delay_s=5)
    signal = signal_at_rest(each)
    take_value(each, signal, 0, 12.0)
    take_value(each, signal, 1 * S, 1.0)
    assert list(let_time_pass(each, signal, 1000 * S)) == []
    assert signal.holds == [True]
