"""The periods that reports are of: whole days, weeks and months of the service's time zone."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

DUE_AFTER: Final = timedelta(minutes=15)
"""So long after its end a report of the calendar is due: the last minutes are counted by then."""
LATE_AFTER: Final = timedelta(hours=1)
"""One that is made so long after it was due says that it is late."""


class Kind(StrEnum):
    """How long a period is (日报、周报、月报)."""

    DAILY = "daily"
    WEEKLY = "weekly"
    """From Monday, as in ISO 8601."""
    MONTHLY = "monthly"


@dataclass(frozen=True, slots=True)
class Period:
    """Local days `first` to `last`, both in it."""

    kind: Kind
    first: date
    last: date

    def bounds(self, zone: ZoneInfo) -> tuple[datetime, datetime]:
        """Its first instant, and the first after it, in UTC."""
        return _midnight(self.first, zone), _midnight(self.last + timedelta(days=1), zone)

    def due_at(self, zone: ZoneInfo) -> datetime:
        """When the calendar wants its report."""
        return self.bounds(zone)[1] + DUE_AFTER


def period_of(kind: Kind, day: date) -> Period:
    """The period of that kind in which the local day lies."""
    if kind is Kind.DAILY:
        return Period(kind, day, day)
    if kind is Kind.WEEKLY:
        first = day - timedelta(days=day.weekday())
        return Period(kind, first, first + timedelta(days=6))
    first = day.replace(day=1)
    return Period(kind, first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1))


def following(period: Period) -> Period:
    """The next period of the same kind."""
    return period_of(period.kind, period.last + timedelta(days=1))


def preceding(period: Period) -> Period:
    """The period of the same kind before it."""
    return period_of(period.kind, period.first - timedelta(days=1))


def slices(period: Period, zone: ZoneInfo) -> list[datetime]:
    """Edges that part a day into hours, a longer period into local days; one more than slices."""
    start, end = period.bounds(zone)
    if period.kind is Kind.DAILY:
        hours = (end - start) // timedelta(hours=1)
        return [start + timedelta(hours=nth) for nth in range(hours)] + [end]
    days = (period.last - period.first).days + 1
    return [_midnight(period.first + timedelta(days=nth), zone) for nth in range(days)] + [end]


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)
