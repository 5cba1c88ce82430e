"""Periods in the service's own time zone."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from hazardloop.reports.period import Kind, following, period_of, preceding, slices

SHANGHAI = ZoneInfo("Asia/Shanghai")


@pytest.mark.parametrize(
    ("kind", "first", "last"),
    [
        pytest.param(Kind.DAILY, date(2026, 12, 31), date(2026, 12, 31), id="a day"),
        pytest.param(Kind.WEEKLY, date(2026, 12, 28), date(2027, 1, 3), id="a week over New Year"),
        pytest.param(Kind.MONTHLY, date(2026, 12, 1), date(2026, 12, 31), id="a month"),
    ],
)
def test_a_day_lies_in_one_period_of_each_kind(kind: Kind, first: date, last: date) -> None:
    period = period_of(kind, date(2026, 12, 31))
    assert (period.first, period.last) == (first, last)
    assert preceding(following(period)) == period
    assert (following(period).first - period.last).days == 1


def test_a_month_of_29_days_ends_in_time() -> None:
    assert period_of(Kind.MONTHLY, date(2028, 2, 29)).last == date(2028, 2, 29)


def test_a_local_day_begins_at_local_midnight() -> None:
    start, end = period_of(Kind.DAILY, date(2026, 11, 22)).bounds(SHANGHAI)
    assert start == datetime(2026, 11, 21, 16, tzinfo=UTC)
    assert end == datetime(2026, 11, 22, 16, tzinfo=UTC)


def test_a_day_is_cut_into_its_hours_and_a_month_into_its_days() -> None:
    for kind, parts in ((Kind.DAILY, 24), (Kind.WEEKLY, 7), (Kind.MONTHLY, 30)):
        period = period_of(kind, date(2026, 11, 22))
        edges = slices(period, SHANGHAI)
        assert len(edges) == parts + 1
        assert (edges[0], edges[-1]) == period.bounds(SHANGHAI)
        assert edges == sorted(edges)


def test_a_day_on_which_the_clocks_change_has_its_own_number_of_hours() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    long, short = date(2026, 10, 25), date(2026, 3, 29)
    assert len(slices(period_of(Kind.DAILY, long), berlin)) == 26
    assert len(slices(period_of(Kind.DAILY, short), berlin)) == 24
    weeks = slices(period_of(Kind.WEEKLY, long), berlin)
    assert weeks[-1] - weeks[-2] == datetime(1, 1, 2, 1) - datetime(1, 1, 1)
