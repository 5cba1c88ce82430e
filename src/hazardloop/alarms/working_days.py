"""Working days: which days they are, and when a time counted in them is over."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

SATURDAY: Final = 5
MOST_DAYS: Final = 250
"""The longest time that is counted so: about a year."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """Days that do not go by the day of the week, and the years for which they are all known."""

    days: Mapping[date, bool]
    """True: work is done on it (a Saturday made up for), False: a holiday."""
    years: frozenset[int]

    def is_working(self, day: date) -> bool:
        """Whether work is done on that day; where the year is not known, Monday to Friday."""
        return self.days.get(day, day.weekday() < SATURDAY)


@dataclass(frozen=True, slots=True)
class Due:
    """When a time is over, and on what ground."""

    at: datetime
    """UTC; the midnight with which the last working day ends."""
    last_day: date
    guessed_years: tuple[int, ...]
    """Counted Monday to Friday, because nobody told their holidays yet."""


def due_after_working_days(start: datetime, n: int, calendar: Calendar, tz: ZoneInfo) -> Due:
    """When `n` working days after `start` are over.

    The day of `start` does not count and the last one counts whole, as times in days are counted in
    civil law (民法典 201, 203). ValueError: `n` is not 1..250, or `start` has no time zone.
    """
    if not 1 <= n <= MOST_DAYS:
        raise ValueError(f"{n} working days: 1..{MOST_DAYS} can be counted")
    if start.tzinfo is None:
        raise ValueError(f"{start}: say in which time zone")
    day = first = start.astimezone(tz).date()
    left = n
    while left:
        day += timedelta(days=1)
        left -= calendar.is_working(day)
    midnight = datetime.combine(day + timedelta(days=1), time(), tzinfo=tz)
    years = range(first.year, day.year + 1)
    return Due(
        midnight.astimezone(UTC), day, tuple(year for year in years if year not in calendar.years)
    )
