"""What every request of one api process shares."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import Depends, Request

from hazardloop.alarms.packed_months import PackedMonths
from hazardloop.service.api.broadcast import Broadcast
from hazardloop.service.api.throttle import Throttle
from hazardloop.service.database import Pool
from hazardloop.service.evidence import Shelf
from hazardloop.service.passwords import Passwords
from hazardloop.service.settings import Settings
from hazardloop.service.simulation_runs import Runs


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Site:
    """Built once when the api starts, handed to every request."""

    settings: Settings
    pool: Pool
    broadcast: Broadcast
    passwords: Passwords
    throttle: Throttle
    kinds: Mapping[str, Any]
    """Device kinds by code."""
    shelf: Shelf
    """Of the files of evidence."""
    packed_months: PackedMonths
    """That figures were counted from."""
    simulations: Runs


async def site_of(request: Request) -> Site:
    """The site of the app that got `request`."""
    site: Site = request.app.state.site
    return site


async def instant_of(request: Request) -> datetime:
    """Now, the same through one request."""
    clock: Callable[[], datetime] = request.app.state.clock
    return clock()


async def zone_of(request: Request) -> ZoneInfo:
    """Whose days the service counts by."""
    return ZoneInfo((await site_of(request)).settings.tz)


# Not plain functions: those would be run in a thread each, at every request.
Here = Annotated[Site, Depends(site_of)]
Now = Annotated[datetime, Depends(instant_of)]
Zone = Annotated[ZoneInfo, Depends(zone_of)]
