"""Instants as columns hold them, and as the edges speak of them."""

from datetime import UTC, datetime, timedelta
from typing import Final

MINUTE_US: Final = 60_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def utc(at_us: int) -> datetime:
    """The aware instant of microseconds since the Unix epoch."""
    return _EPOCH + timedelta(microseconds=at_us)


def microseconds_of(instant: datetime) -> int:
    """Microseconds since the Unix epoch of an aware instant."""
    return (instant - _EPOCH) // timedelta(microseconds=1)


def rfc3339(instant: datetime) -> str:
    """UTC with milliseconds and Z, as payloads and API say it."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
