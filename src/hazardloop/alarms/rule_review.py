"""What is to be said of a rule beside the others at the same points, before it takes effect."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from hazardloop.alarms.alarm import Tier
from hazardloop.alarms.rule import Bits, Condition, Derived, Grouped, Rule, Silence, State
from hazardloop.alarms.rules import low_above_high


@dataclass(frozen=True, slots=True)
class Clash:
    """Two rules that meet, if they select the same points."""

    other: Rule
    field: str
    message: str
    refused: bool
    """It cannot be so; else it is only to be known."""


def clashes(rule: Rule, others: Iterable[Rule]) -> Iterator[Clash]:
    """How a rule would meet the others for its kind of device and quantity."""
    for other in others:
        if other.rule_id == rule.rule_id:
            continue
        if (other.device_kind, other.quantity) != (rule.device_kind, rule.quantity):
            continue
        if why := low_above_high(rule, other):
            yield Clash(other, "limits", why, refused=True)
        if tiers := shared_tiers(rule, other):
            named = ", ".join(tier.wire for tier in tiers)
            why = f"overlaps rule {other.rule_id} in tier {named}"
            yield Clash(other, "select", why, refused=False)


def shared_tiers(one: Rule, other: Rule) -> tuple[Tier, ...]:
    """The tiers in which two rules say the same thing of the same points; none: they do not."""
    mine, theirs = one.condition, other.condition
    if type(mine) is not type(theirs) or _compared(mine) != _compared(theirs):
        return ()
    return tuple(sorted(_tiers(mine) & _tiers(theirs)))


def _compared(condition: Condition) -> object:
    """What is compared, and from which side, without the limits."""
    match condition:
        case Derived():
            return condition.measure, condition.threshold.direction
        case Grouped():
            return condition.group, condition.threshold.direction
        case State():
            return condition.equals
        case Bits():
            return replace(condition, tier=Tier.NONE)
        case Silence():
            return None
    return condition.direction


def _tiers(condition: Condition) -> set[Tier]:
    match condition:
        case Derived() | Grouped():
            return {tier for tier, _ in condition.threshold.limits}
        case State() | Bits() | Silence():
            return {condition.tier}
    return {tier for tier, _ in condition.limits}
