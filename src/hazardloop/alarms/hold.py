"""What withholds the annunciation of alarms: how long it may, and who may grant it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from hazardloop.alarms.alarm import Actor, Role, Tier
from hazardloop.alarms.errors import HoldForbidden, HoldRefused
from hazardloop.alarms.signal import Hold

GRANTERS: Final = frozenset({Role.OPERATOR, Role.SUPERVISOR})
"""Who may grant that alarms keep quiet; an enterprise may ask for it."""


class Ending(StrEnum):
    """Why a hold is over."""

    RELEASED = "released"
    TIMED_OUT = "timed_out"
    TIER_ROSE = "tier_rose"
    """The alarm became worse than what was shelved."""
    SECOND_SENSOR = "second_sensor"
    """The same rule raised an alarm at another device of the same hazard unit."""
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"
    """By who asked, before it was granted."""
    LAPSED = "lapsed"
    """Its time was over before anybody granted it."""


Longest = Mapping[tuple[Hold, Tier], timedelta]
"""Longest time from the asking to the end; a pair that is not here is never withheld."""

_SHIFT: Final = timedelta(hours=8)
LONGEST: Final[Longest] = {
    (Hold.SHELVED, Tier.BLUE): _SHIFT,
    (Hold.SHELVED, Tier.YELLOW): _SHIFT,
    (Hold.SHELVED, Tier.ORANGE): timedelta(hours=1),
    (Hold.SHELVED, Tier.RED): timedelta(hours=1),
    (Hold.SUPPRESSED, Tier.ORANGE): timedelta(days=90),
    (Hold.OUT_OF_SERVICE, Tier.ORANGE): timedelta(days=7),
    (Hold.OUT_OF_SERVICE, Tier.RED): timedelta(days=1),
}
"""House limits (ISA-18.2 asks for some); `hold_ends_by_itself` of the table repeats them."""


@dataclass(frozen=True, slots=True)
class Wish:
    """That alarms be withheld, as somebody asks for it."""

    kind: Hold
    tier: Tier
    """The worst that is to be withheld."""
    until: datetime
    reason: str
    approver: str | None = None
    """Who is asked to grant it."""


def longest_with(red_minutes: int) -> Longest:
    """The limits where a red alarm may be shelved for so long; 0 = never."""
    limits = {key: limit for key, limit in LONGEST.items() if key != (Hold.SHELVED, Tier.RED)}
    red = {(Hold.SHELVED, Tier.RED): timedelta(minutes=red_minutes)} if red_minutes else {}
    return limits | red


def refuse_excess(wish: Wish, now: datetime, longest: Longest) -> None:
    """HoldRefused: it ends in the past, lasts too long, or is on what never keeps quiet."""
    limit = longest.get((wish.kind, wish.tier))
    if limit is None:
        raise HoldRefused(f"{wish.tier.wire} alarms are never {_word(wish.kind)}")
    if wish.until <= now:
        raise HoldRefused(f"it would end at {wish.until.isoformat()}, which is past")
    if wish.until - now > limit:
        raise HoldRefused(
            f"{wish.tier.wire} may be {_word(wish.kind)} for {_told(limit)} at most,"
            f" asked were {_told(wish.until - now)}"
        )


def needs_another(asked_by: Actor, tier: Tier) -> bool:
    """Whether somebody other than who asks must grant it."""
    return tier is Tier.RED or asked_by.role not in GRANTERS


def refuse_grant(granter: Actor, asked_by: str, tier: Tier) -> None:
    """HoldForbidden: this person may not grant what that one asked for."""
    if granter.role not in GRANTERS:
        raise HoldForbidden(f"{granter.role} may ask for it, not grant it")
    if tier is Tier.RED and granter.role is not Role.SUPERVISOR:
        raise HoldForbidden("on red it takes a supervisor")
    if tier is Tier.RED and granter.username == asked_by:
        raise HoldForbidden("on red it takes a supervisor other than who asked")


def _word(kind: Hold) -> str:
    return kind.value.replace("_", " ")


def _told(span: timedelta) -> str:
    minutes = round(span.total_seconds() / 60)
    return f"{minutes / 60:g} h" if minutes >= 60 and minutes % 30 == 0 else f"{minutes} min"
