"""Hours: the part of the local day in which a rule looks at values at all."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

LOCAL_TZ: Final = "Asia/Shanghai"
"""Where nothing else is said; the default of HAZARDLOOP_TZ."""
MINUTES_OF_DAY: Final = 1440
US_PER_S: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Hours:
    """From one local time of day to another, on some days of the week."""

    opens_min: int
    """Minutes after local midnight, 0..1439."""
    closes_min: int
    """The same; at or before `opens_min`: of the day after."""
    days: tuple[int, ...] = ()
    """On which it opens, Monday 0 to Sunday 6, ascending; none = every day."""

    @property
    def length_s(self) -> int:
        """Seconds from opening to closing by a clock that is not changed in between."""
        return 60 * ((self.closes_min - self.opens_min - 1) % MINUTES_OF_DAY + 1)


def opening_from(hours: Hours, tz: str, at_us: int) -> tuple[int, int]:
    """The opening that `at_us` lies in, else the next one: [opens, closes) in us since 1970 UTC.

    Where clocks are put forward over either end, it is the instant that the zone's rules give.
    """
    today = datetime.fromtimestamp(at_us // US_PER_S, ZoneInfo(tz)).date()
    for nth in range(-1, 9):  # yesterday's may last until today; a week and a day later is another
        opening = _opening_on(hours, tz, today + timedelta(days=nth))
        if opening is not None and at_us < opening[1]:
            return opening
    raise AssertionError(hours)


@lru_cache(maxsize=1024)
def _opening_on(hours: Hours, tz: str, day: date) -> tuple[int, int] | None:
    if hours.days and day.weekday() not in hours.days:
        return None
    over = day if hours.closes_min > hours.opens_min else day + timedelta(days=1)
    opens, closes = _instant(day, hours.opens_min, tz), _instant(over, hours.closes_min, tz)
    return (opens, closes) if opens < closes else None


def _instant(day: date, minute: int, tz: str) -> int:
    local = datetime.combine(day, time(minute // 60, minute % 60), ZoneInfo(tz))
    return round(local.astimezone(UTC).timestamp()) * US_PER_S
