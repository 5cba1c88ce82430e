"""What withholds alarms, as a worker goes by it while the database cannot say.

The same as `hold_of`, `hold_in_force` and `hold_store.OVERTAKEN` there: when all is recorded the
database's word counts.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from hazardloop.alarms.alarm import Change, ChangeKind, Tier
from hazardloop.alarms.signal import Hold


@dataclass(frozen=True, slots=True)
class StandingHold:
    """A hold that was granted and has not ended."""

    hold_id: int
    kind: Hold
    device_id: int
    point_id: int | None
    """None: of all points of the device."""
    rule_id: str | None
    """None: of all rules."""
    while_rule: str | None
    """Only while an alarm of this rule is active at the device."""
    tier: Tier
    """The worst that it withholds."""
    until_us: int
    """It ends by itself then, us since the Unix epoch."""
    siblings: tuple[int, ...] = ()
    """Of a shelf: the other devices of the hazard unit; the same rule at one of them ends it."""


HARDEST_TO_END: Final = (Hold.OUT_OF_SERVICE, Hold.SUPPRESSED, Hold.SHELVED)


def withheld(
    holds: Iterable[StandingHold],
    change: Change,
    device_id: int,
    now_us: int,
    active: Callable[[int, str], bool],
) -> Hold | None:
    """What withholds the alarm of this change; of several the one that is hardest to end.

    Args:
        holds: in force or not; of any device.
        change: of an alarm at `device_id`.
        device_id: whose alarm it is.
        now_us: us since the Unix epoch.
        active: whether an alarm of that rule is active at that device.
    """
    worst = max(change.tier, change.tier_before)
    kinds = {
        hold.kind
        for hold in holds
        if hold.device_id == device_id
        and hold.point_id in (None, change.point_id)
        and hold.rule_id in (None, change.rule_id)
        and hold.while_rule != change.rule_id
        and hold.tier >= worst
        and hold.until_us > now_us
        and (hold.while_rule is None or active(device_id, hold.while_rule))
    }
    return next((kind for kind in HARDEST_TO_END if kind in kinds), None)


def overtaken(
    holds: Iterable[StandingHold], changes: Iterable[tuple[Change, int]]
) -> frozenset[int]:
    """Ids of the shelves that end with these changes, each with the id of its device.

    A shelf was granted for what was seen: what is worse, or confirmed by another sensor, was not.
    """
    shelves = [hold for hold in holds if hold.kind is Hold.SHELVED]
    if not shelves:
        return frozenset()
    new = [each for each in changes if each[0].kind in (ChangeKind.RAISED, ChangeKind.ROSE)]
    return frozenset(
        hold.hold_id
        for hold in shelves
        if any(_overtakes(change, device_id, hold) for change, device_id in new)
    )


def _overtakes(change: Change, device_id: int, shelf: StandingHold) -> bool:
    if change.rule_id != shelf.rule_id:
        return False
    if change.point_id == shelf.point_id:
        return change.tier > shelf.tier
    return change.kind is ChangeKind.RAISED and device_id in shelf.siblings
