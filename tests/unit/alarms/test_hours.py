"""Hours: the local part of the day, over midnight, by weekday, where clocks are changed."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazardloop.alarms.alarm import Tier
from hazardloop.alarms.hours import Hours, opening_from
from hazardloop.alarms.rule import Bits, Match


def us(text: str, tz: str = "Asia/Shanghai") -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(tz)).timestamp()) * 1_000_000


def said(hours: Hours, at: str, tz: str = "Asia/Shanghai") -> list[str]:
    return [
        datetime.fromtimestamp(each / 1e6, UTC).astimezone(ZoneInfo(tz)).strftime("%m-%d %H:%M")
        for each in opening_from(hours, tz, us(at, tz))
    ]


NIGHT = Hours(2 * 60, 5 * 60)
LATE = Hours(22 * 60, 6 * 60)
FRIDAYS = Hours(22 * 60, 6 * 60, (4,))


@pytest.mark.parametrize(
    ("hours", "at", "expected"),
    [
        pytest.param(NIGHT, "2026-11-20 01:59", ["11-20 02:00", "11-20 05:00"], id="before"),
        pytest.param(NIGHT, "2026-11-20 02:00", ["11-20 02:00", "11-20 05:00"], id="as it opens"),
        pytest.param(NIGHT, "2026-11-20 04:59", ["11-20 02:00", "11-20 05:00"], id="inside"),
        pytest.param(NIGHT, "2026-11-20 05:00", ["11-21 02:00", "11-21 05:00"], id="as it closes"),
        pytest.param(LATE, "2026-11-20 03:00", ["11-19 22:00", "11-20 06:00"], id="over midnight"),
        pytest.param(LATE, "2026-11-20 06:00", ["11-20 22:00", "11-21 06:00"], id="from tonight"),
        pytest.param(FRIDAYS, "2026-11-21 05:59", ["11-20 22:00", "11-21 06:00"],
                     id="the night of Friday lasts into Saturday"),
        pytest.param(FRIDAYS, "2026-11-21 06:00", ["11-27 22:00", "11-28 06:00"],
                     id="a week later"),
        pytest.param(Hours(0, 0), "2026-11-20 13:00", ["11-20 00:00", "11-21 00:00"],
                     id="from midnight to midnight is the whole day"),
    ],
)  # fmt: skip
def test_an_opening_is_the_one_we_are_in_or_the_next(
    hours: Hours, at: str, expected: list[str]
) -> None:
    assert said(hours, at) == expected


def test_hours_follow_clocks_that_are_changed() -> None:
    berlin = "Europe/Berlin"
    opens, closes = opening_from(Hours(60, 4 * 60), berlin, us("2026-03-29 00:30", berlin))
    assert closes - opens == 2 * 3600 * 1_000_000  # the hour from two to three was left out
    opens, closes = opening_from(Hours(60, 4 * 60), berlin, us("2026-10-25 00:30", berlin))
    assert closes - opens == 4 * 3600 * 1_000_000
    # Hours that lie in what was left out do not open on that day.
    gap = said(Hours(2 * 60, 3 * 60), "2026-03-29 00:30", berlin)
    assert gap == ["03-30 02:00", "03-30 03:00"]


@given(
    st.integers(0, 1439), st.integers(0, 1439), st.sets(st.integers(0, 6)),
    st.integers(1_790_000_000, 1_800_000_000),
)  # fmt: skip
def test_a_minute_lies_in_hours_by_plain_clock_reading(
    opens: int, closes: int, days: set[int], second: int
) -> None:
    """Oracle: what a person reads off calendar and clock in China, which are never changed."""
    hours = Hours(opens, closes, tuple(sorted(days)))
    days_since, of_day = divmod(second + 8 * 3600, 86_400)
    weekday, minute = (days_since + 3) % 7, of_day // 60  # 1970-01-01 was a Thursday
    on = days or set(range(7))
    if opens < closes:
        expected = weekday in on and opens <= minute < closes
    else:
        expected = (weekday in on and minute >= opens) or (
            (weekday - 1) % 7 in on and minute < closes
        )
    begins, ends = opening_from(hours, "Asia/Shanghai", second * 1_000_000)
    assert (begins <= second * 1_000_000) == expected
    assert second * 1_000_000 < ends
    assert begins < ends


@given(st.sets(st.integers(0, 12), min_size=1), st.sampled_from(list(Match)), st.integers(-9, 8192))
def test_bits_are_found_one_by_one(bits: set[int], match: Match, word: int) -> None:
    are_set = [word // 2**bit % 2 == 1 for bit in bits]
    expected = {
        Match.ANY_SET: any(are_set),
        Match.ALL_SET: all(are_set),
        Match.ANY_CLEAR: not all(are_set),
        Match.ALL_CLEAR: not any(are_set),
    }[match]
    assert Bits(tuple(sorted(bits)), match, Tier.BLUE).found(float(word)) == expected
