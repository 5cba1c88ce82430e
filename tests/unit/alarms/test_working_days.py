"""Times counted in working days."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazardloop.alarms.working_days import Calendar, due_after_working_days

SHANGHAI = ZoneInfo("Asia/Shanghai")
PLAIN = Calendar({}, frozenset(range(2000, 2100)))
NATIONAL = Calendar(
    {date(2026, 10, day): False for day in range(1, 8)}
    | {date(2026, 9, 20): True, date(2026, 10, 10): True},
    frozenset({2026}),
)  # 国务院办公厅 2026: 1..7 October off, 20 September and 10 October made up for


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)


@pytest.mark.parametrize(
    ("start", "n", "last"),
    [
        pytest.param("2026-11-20T09:00", 1, date(2026, 11, 23), id="over a weekend"),
        pytest.param("2026-11-21T09:00", 5, date(2026, 11, 27), id="begun on a Saturday"),
        pytest.param("2026-09-30T17:00", 5, date(2026, 10, 13), id="over the national holiday"),
        pytest.param("2026-09-18T08:00", 1, date(2026, 9, 20), id="a Sunday made up for"),
        pytest.param("2026-11-22T23:59", 1, date(2026, 11, 23), id="a minute before midnight"),
    ],
)
def test_the_first_day_does_not_count_and_the_last_counts_whole(
    start: str, n: int, last: date
) -> None:
    due = due_after_working_days(at(start), n, NATIONAL, SHANGHAI)
    assert due.last_day == last
    assert due.at.astimezone(SHANGHAI) == at((last + timedelta(days=1)).isoformat())
    assert due.guessed_years == ()


def test_the_day_is_that_of_the_district_not_of_utc() -> None:
    evening = datetime(2026, 11, 22, 16, 30, tzinfo=UTC)  # 00:30 on Monday in Shanghai
    assert due_after_working_days(evening, 1, PLAIN, SHANGHAI).last_day == date(2026, 11, 24)
    assert due_after_working_days(evening, 1, PLAIN, ZoneInfo("UTC")).last_day == date(2026, 11, 23)


def test_a_year_that_nobody_knows_is_named() -> None:
    due = due_after_working_days(at("2026-12-30T09:00"), 7, NATIONAL, SHANGHAI)
    assert due.guessed_years == (2027,)


@pytest.mark.parametrize("n", [0, -1, 251])
def test_a_count_that_is_none_is_refused(n: int) -> None:
    with pytest.raises(ValueError, match=r"1\.\.250"):
        due_after_working_days(at("2026-11-22T09:00"), n, PLAIN, SHANGHAI)


@given(
    start=st.datetimes(
        datetime(2024, 1, 1), datetime(2028, 1, 1), timezones=st.just(ZoneInfo("Asia/Shanghai"))
    ),
    n=st.integers(1, 60),
    special=st.dictionaries(st.dates(date(2024, 1, 1), date(2028, 6, 1)), st.booleans()),
)
def test_exactly_n_working_days_lie_between(
    start: datetime, n: int, special: dict[date, bool]
) -> None:
    calendar = Calendar(special, frozenset())
    due = due_after_working_days(start, n, calendar, SHANGHAI)
    days = [start.date() + timedelta(k) for k in range(1, (due.last_day - start.date()).days + 1)]
    assert sum(special.get(day, day.weekday() < 5) for day in days) == n
    assert calendar.is_working(due.last_day)
