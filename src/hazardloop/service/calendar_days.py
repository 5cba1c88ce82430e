"""The calendar of this district: what chinesecalendar knows, and what people put in over it."""

from collections.abc import Mapping
from datetime import date
from functools import cache
from typing import Final

from hazardloop.alarms.working_days import SATURDAY, Calendar
from hazardloop.service.database import Connection

OWN_DAYS: Final = "SELECT day, kind, name FROM calendar_day"


@cache
def published() -> Mapping[date, tuple[bool, str]]:
    """Days of the years that the library knows: whether work is done on them, and their name."""
    from chinese_calendar import constants

    off = {day: (False, str(name)) for day, name in constants.holidays.items()}
    made_up = {day: (True, f"{name} (made up)") for day, name in constants.workdays.items()}
    return off | made_up


async def calendar_of(connection: Connection) -> Calendar:
    """All of it; a year counts as known once one of its holidays is."""
    days = {day: working for day, (working, _) in published().items()}
    for day, kind, _ in await (await connection.execute(OWN_DAYS)).fetchall():
        days[day] = kind == "workday"
    holidays = {day.year for day, working in days.items() if not working}
    return Calendar(days, frozenset(holidays))


def usual(day: date) -> bool:
    """Whether work would be done on that day in a week without holidays."""
    return day.weekday() < SATURDAY
