"""The limits that stand at one point, each with where it comes from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hazardloop.alarms.alarm import Direction, Tier
from hazardloop.alarms.rule import Grouped, Rule, Silence
from hazardloop.alarms.rule_watches import (
    PointFacts,
    limits_in,
    scale_at,
    selects,
    watch_of,
)
from hazardloop.alarms.watch import Watch


@dataclass(frozen=True, slots=True)
class ScaledBy:
    """The tag of the device that a limit is a part of."""

    tag: str
    value: float
    """What the device says, or what stands in for it."""
    stands_in: bool
    """The device has no such tag that can be used."""


@dataclass(frozen=True, slots=True)
class PointLimit:
    """One limit of one rule as it stands at a point."""

    rule: Rule
    tier: Tier
    """As it counts there: in some grades of hazard unit it is one worse than written."""
    direction: Direction
    limit: float
    """In `unit`; of silence in seconds; of bits the word in which just these are set."""
    leaves_at: float | None
    """A value beyond the limit must come back past this; None: whatever is no longer beyond it."""
    unit: str | None
    """Of what is compared; None: the point's."""
    scaled: ScaledBy | None = None


def limits_at(
    rules: Sequence[Rule], facts: PointFacts, interval_s: float, tz: str
) -> tuple[list[PointLimit], list[str]]:
    """All limits at such a point in the order of the rules, and what of its tags is not understood.

    Args:
        rules: of any kind of device and quantity.
        facts: what rules ask about the point.
        interval_s: how often its device should report.
        tz: time zone of the house.
    """
    found: list[PointLimit] = []
    problems: list[str] = []
    for index, rule in enumerate(rules):
        if not selects(rule, facts):
            continue
        if isinstance(rule.condition, Silence):
            found.append(_silence(rule, rule.condition, facts, interval_s))
            continue
        if isinstance(rule.condition, Grouped) and not rule.condition.group.sign(facts.tags):
            continue
        scale, problem = scale_at(rule, facts.tags)
        problems += [problem] if problem else []
        if scale is not None:
            watch = watch_of(rule, index, facts.grade, scale, tz)
            found += _of_watch(rule, watch, _scaled(rule, scale, facts))
    return found, problems


def _silence(rule: Rule, silence: Silence, facts: PointFacts, interval_s: float) -> PointLimit:
    limit_s = float(silence.limit_s(np.array([interval_s]))[0])
    tier = rule.tier_in(facts.grade, silence.tier)
    return PointLimit(rule, tier, Direction.STALE, limit_s, None, "s")


def _of_watch(rule: Rule, watch: Watch, scaled: ScaledBy | None) -> Iterator[PointLimit]:
    for each in watch.limits:
        back = {Direction.HIGH: each.stay_low, Direction.LOW: each.stay_high}
        leaves_at = back.get(watch.direction)
        unit = "" if watch.bits is not None else watch.unit
        yield PointLimit(rule, each.tier, watch.direction, each.value, leaves_at, unit, scaled)


def _scaled(rule: Rule, scale: float, facts: PointFacts) -> ScaledBy | None:
    limits = limits_in(rule.condition)
    if limits is None or limits.of is None:
        return None
    given = str(facts.tags.get(limits.of, ""))
    try:
        stands_in = float(given) != scale
    except ValueError:
        stands_in = True
    return ScaledBy(limits.of, scale, stands_in)
