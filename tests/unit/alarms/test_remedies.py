"""Remedies for bad actors: each against the signal that a rule with them would have followed."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazardloop.alarms.health import SECOND_US
from hazardloop.alarms.remedies import (
    Course,
    Remedy,
    Setting,
    Settings,
    away,
    rounded_up,
    suggested,
)

LIMIT = 25.0
EVERY_S = 10
values = st.lists(st.integers(180, 320).map(lambda n: n / 10), min_size=20, max_size=80)


def alarms(course: list[float], deadband: float, off_delay_s: float) -> list[tuple[int, int, int]]:
    """(raised, cleared, condition back) in seconds, of a high limit; what still stands is left."""
    found, raised, back = [], None, None
    for nth, value in enumerate([*course, -100.0, *[-100.0] * 120]):
        at = nth * EVERY_S
        if raised is not None and back is not None and at >= back + off_delay_s:
            found.append((raised, int(back + off_delay_s), back))
            raised = back = None
        if value >= (LIMIT if raised is None else LIMIT - deadband):
            raised, back = at if raised is None else raised, None
        elif raised is not None and back is None:
            back = at
            if off_delay_s == 0:
                found.append((raised, at, at))
                raised = back = None
    return found


def course_of(said: list[float]) -> Course:
    told = alarms(said, 0.0, 0.0)
    raised = np.array([one[0] for one in told], np.int64) * SECOND_US
    cleared = np.array([one[1] for one in told], np.int64) * SECOND_US
    back = [
        LIMIT - min(said[before[1] // EVERY_S : after[0] // EVERY_S])
        for before, after in pairwise(told)
    ]
    return Course(raised, away(raised, cleared, 0, 0), np.array(back, float))


@given(values, st.booleans())
def test_the_rule_with_the_remedy_raises_what_it_says_and_nothing_later(
    said: list[float], with_deadband: bool
) -> None:
    course = course_of(said)
    remedy = suggested(course, Settings(0.0, 0.0 if with_deadband else None, 5.0))
    if remedy is None:
        return
    deadband = remedy.suggested if remedy.setting is Setting.DEADBAND else 0.0
    off_delay = remedy.suggested if remedy.setting is Setting.OFF_DELAY else 0.0
    then = [one[0] for one in alarms(said, deadband, off_delay)]
    assert len(then) == remedy.alarms_then
    assert 2 * len(then) <= remedy.alarms == len(course.raised_us)
    assert set(then) <= set((course.raised_us // SECOND_US).tolist()), "none begins later"


@pytest.mark.parametrize(
    ("away_s", "back", "settings", "expected"),
    [
        pytest.param(
            [20, 20, 20], [0.4, 0.4, 0.4], Settings(0, 0.2, 5),
            Remedy(Setting.DEADBAND, 0.2, 0.41, 4, 1), id="a deadband a little wider",
        ),
        pytest.param(
            [20, 20, 20], [8, 8, 8], Settings(10, 0.2, 5),
            Remedy(Setting.OFF_DELAY, 10, 30, 4, 1), id="too deep for a deadband",
        ),
        pytest.param(
            [20, 20, 20], [np.nan] * 3, Settings(10, 0.2, 5),
            Remedy(Setting.OFF_DELAY, 10, 30, 4, 1), id="no reading is left",
        ),
        pytest.param([900, 900, 900], [8, 8, 8], Settings(0, None), None, id="quiet for too long"),
        pytest.param([20], [0.4], Settings(0, 0.2, 5), None, id="too few"),
    ],
)  # fmt: skip
def test_the_least_that_calms_is_suggested(
    away_s: list[float], back: list[float], settings: Settings, expected: Remedy | None
) -> None:
    raised = np.cumsum([0.0, *away_s]) * SECOND_US
    course = Course(raised.astype(np.int64), np.array(away_s, float), np.array(back, float))
    assert suggested(course, settings) == expected


@pytest.mark.parametrize(
    ("width", "expected"), [(0.4, 0.41), (1.0, 1.1), (12.34, 13.0), (0.0, 0.0)]
)
def test_a_width_is_rounded_up_past_what_was_seen(width: float, expected: float) -> None:
    assert rounded_up(width) == expected
