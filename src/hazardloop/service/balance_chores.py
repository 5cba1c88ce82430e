"""The clerk's part of the message balance: what workers appended becomes minutes and days."""

import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from hazardloop.ingest import balance_store
from hazardloop.service.database import Connection
from hazardloop.service.settings import Settings

FOLD_EVERY_S: Final = 5.0
MINUTES_A_DAY: Final = 1_440


def days_in(tz: str) -> Callable[[int], date]:
    """The day of a minute (since the Unix epoch) by the clocks of that time zone."""
    zone = ZoneInfo(tz)

    @lru_cache(maxsize=10_000)
    def day_of(minute: int) -> date:
        return datetime.fromtimestamp(minute * 60, UTC).astimezone(zone).date()

    return day_of


async def fold_balance(connection: Connection, settings: Settings) -> int:
    """How many batches were folded: all that there were, unless another clerk is at it."""
    kept = (settings.balance_minute_days - 1) * MINUTES_A_DAY
    day_of = days_in(settings.tz)
    folded = 0
    while batches := await balance_store.fold(connection, day_of, int(time.time()) // 60 - kept):
        folded += batches
    return folded


async def forget_balance(connection: Connection, settings: Settings) -> int:
    """How many minutes and days were removed because their time is over."""
    minutes = await connection.execute(
        balance_store.FORGET_MINUTES, {"days": settings.balance_minute_days}
    )
    days = await connection.execute(balance_store.FORGET_DAYS, {"days": settings.balance_days})
    return minutes.rowcount + days.rowcount
