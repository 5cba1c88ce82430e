"""Each reason for which a rule did not alarm is told, with the numbers that were lacking."""

from typing import Any

import numpy as np
import pytest

from hazardloop.alarms.alarm import Tier
from hazardloop.alarms.hours import LOCAL_TZ, Hours
from hazardloop.alarms.measure import Measure, Method
from hazardloop.alarms.rule import Condition, Derived, Select, Silence
from hazardloop.devices.readings import Quality
from hazardloop.replay.run import Span
from hazardloop.replay.why_not import Raised, judged, readings_said
from tests.unit.alarms.site import high, low, point, readings, registry, rule, us

SPAN = Span(us(-100), us(0), us(300))
MEAN = Derived(Measure(Method.MEAN, 60.0, least=5), high(yellow=10.0), "1")
NEVER_OPEN = Hours(60, 120)
"""Far from the seconds of the tests, in China."""
DID = Raised("A", "gauge.rule", us(30), False)
CLIMB = [(0, 0, 1.0), (0, 30, 9.5), (0, 60, 3.0)]
PEAK = [(0, 0, 1.0), (0, 30, 12.0), (0, 40, 12.0), (0, 60, 3.0)]


def told(condition: Condition, said: list[tuple[int, float, float]], **more: Any) -> dict[str, Any]:
    quality, alarms = more.pop("quality", 0), more.pop("alarms", [])
    received_s = more.pop("received_s", None)
    here = readings(said, quality=quality, received_s=received_s)
    known = registry([point(7, tags={"place": "a"})])
    (one,) = judged([rule(condition, **more)], known, here, SPAN, LOCAL_TZ, alarms)
    return one


@pytest.mark.parametrize(
    ("condition", "said", "more", "expected"),
    [
        pytest.param(high(yellow=10.0, red=20.0), CLIMB, {},
                     {"outcome": "not_reached", "value": 9.5, "limit": 10.0, "short_by": 0.5},
                     id="a value that comes close"),
        pytest.param(low(yellow=0.5), CLIMB, {},
                     {"outcome": "not_reached", "value": 1.0, "short_by": 0.5}, id="from above"),
        pytest.param(high(yellow=10.0), PEAK, {"on_delay_s": 60},
                     {"outcome": "delay_not_reached", "longest_s": 30.0, "on_delay_s": 60.0,
                      "value": 12.0, "times": 1}, id="not for long enough"),
        pytest.param(high(yellow=10.0), PEAK, {"hours": NEVER_OPEN},
                     {"outcome": "outside_hours", "readings": 2, "value": 12.0},
                     id="when nobody looks"),
        pytest.param(high(yellow=10.0), PEAK, {"quality": [0, 4, 4, 0]},
                     {"outcome": "only_bad_readings_beyond", "readings": 2, "quality": 4},
                     id="only by readings that are bad"),
        pytest.param(high(yellow=10.0), [], {}, {"outcome": "no_readings"}, id="nothing came"),
        pytest.param(MEAN, PEAK, {}, {"outcome": "too_few_readings", "readings": 4, "needed": 5},
                     id="too little to conclude from"),
        pytest.param(Silence(Tier.BLUE, 400.0, None, 0.0), CLIMB, {},
                     {"outcome": "never_silent_for_so_long", "longest_s": 240.0, "limit_s": 400.0},
                     id="a silence that is too short"),
        pytest.param(high(yellow=10.0), PEAK, {"select": Select(tags={"place": ("b",)})},
                     {"outcome": "not_selected", "lacking": ["tags.place"]}, id="another's rule"),
        pytest.param(high(yellow=10.0), PEAK, {"received_s": [0, 930, 940, 60]},
                     {"outcome": "would_alarm_now", "received_s_later": 900.0},
                     id="by what came too late"),
        pytest.param(high(yellow=10.0), PEAK, {"alarms": [DID]}, {"outcome": "alarmed"},
                     id="it did"),
    ],
)  # fmt: skip
def test_what_was_lacking(
    condition: Condition,
    said: list[tuple[int, float, float]],
    more: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    one = told(condition, said, **more)
    assert {key: one[key] for key in expected} == expected
    if one["outcome"] in ("not_reached", "delay_not_reached"):
        assert one["limits"][0]["tier"] == "yellow"


def test_what_came_is_counted_against_what_was_expected() -> None:
    late = int(Quality.LATE)
    here = readings(
        [(0, -30, 1), (0, 0, 1), (0, 30, np.nan), (0, 60, 1), (0, 240, 1)],
        quality=[0, 0, int(Quality.NOT_A_NUMBER), late, 0],
        received_s=[-30, 0, 30, 100, 240],
    )
    said = readings_said(here, 30.0, us(0), us(300))
    assert {key: said[key] for key in said if key != "longest_gap_from"} == {
        "expected": 10, "seen": 4, "usable": 3, "bad": 1, "late": 1, "missing": 6,
        "latest_by_s": 40.0, "longest_gap_s": 180.0,
    }  # fmt: skip
