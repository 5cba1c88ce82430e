"""What watches one point: the rules that select it, with their limits as they stand there."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from hazardloop.alarms.alarm import Direction, Tier
from hazardloop.alarms.kernels import span_not_entered
from hazardloop.alarms.measure import Measure
from hazardloop.alarms.rule import (
    Bits,
    Condition,
    Derived,
    Grouped,
    Match,
    Rule,
    Silence,
    State,
    TagTest,
    Threshold,
)
from hazardloop.alarms.watch import Limit, Watch

US_PER_S: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class PointFacts:
    """What rules ask about a point."""

    kind: str
    quantity: str
    grade: int
    """Of its hazard unit, 1..4; 0 = none."""
    tags: Mapping[str, Any]
    enterprise: str


def limits_in(condition: Condition) -> Threshold | None:
    """The limits of a condition that has some."""
    if isinstance(condition, Derived):
        return condition.threshold
    return condition if isinstance(condition, Threshold) else None


def selects(rule: Rule, facts: PointFacts) -> bool:
    """Whether the rule is for this point, as far as `select` says."""
    select = rule.select
    return (
        (rule.device_kind, rule.quantity) == (facts.kind, facts.quantity)
        and (not select.grades or facts.grade in select.grades)
        and (not select.enterprises or facts.enterprise in select.enterprises)
        and all(_meets(facts.tags, tag, test) for tag, test in select.tags.items())
        and not any(_meets(facts.tags, tag, test) for tag, test in select.except_tags.items())
    )


def _meets(tags: Mapping[str, Any], tag: str, test: TagTest) -> bool:
    return tag in tags and (test is True or str(tags[tag]) in test)


def watches_of(
    rules: Sequence[Rule], indices: Sequence[int], facts: PointFacts, tz: str
) -> tuple[tuple[Watch, ...], list[str]]:
    """What compares values at such a point, and what of its tags could not be used."""
    watches: list[Watch] = []
    problems: list[str] = []
    for index in indices:
        rule = rules[index]
        if isinstance(rule.condition, Silence | Grouped) or not selects(rule, facts):
            continue
        scale, problem = scale_at(rule, facts.tags)
        problems += [problem] if problem else []
        if scale is not None:
            watches.append(watch_of(rule, index, facts.grade, scale, tz))
    return tuple(watches), problems


def scale_at(rule: Rule, tags: Mapping[str, Any]) -> tuple[float | None, str | None]:
    """What its limits are parts of at a device of these tags, and what of them cannot be used.

    1 where they are parts of nothing; None: there are no limits there.
    """
    limits = limits_in(rule.condition)
    if limits is None or limits.of is None:
        return 1.0, None
    scale, problem = _scale(limits, tags)
    return scale, f"{problem} (rule {rule.rule_id})" if problem else None


def _scale(condition: Threshold, tags: Mapping[str, Any]) -> tuple[float | None, str | None]:
    """What the limits are parts of at this device (None = no limits there), and what is odd."""
    given = tags.get(condition.of or "")
    if given is None:
        return condition.default_of, None
    try:
        scale = float(given)
    except (TypeError, ValueError):
        scale = math.nan
    if 0 < scale < math.inf:
        return scale, None
    instead = "no limits" if condition.default_of is None else f"{condition.default_of:g} is used"
    return condition.default_of, f"tag {condition.of}: {given!r} is no positive number: {instead}"


def watch_of(rule: Rule, index: int, grade: int, scale: float, tz: str) -> Watch:
    """The rule, which watches no silence, in a hazard unit of that grade; `scale` of its limits."""
    condition = rule.condition
    assert not isinstance(condition, Silence)
    bits: Bits | None = None
    measure: Measure | None = None
    unit: str | None = None
    if isinstance(condition, State):
        tier = rule.tier_in(grade, condition.tier)
        limits: tuple[Limit, ...] = (Limit(tier, *[condition.equals] * 5),)
        direction = Direction.STATE
    elif isinstance(condition, Bits):
        tier = rule.tier_in(grade, condition.tier)
        bits, limits = condition, (Limit(tier, float(condition.mask), 1.0, 1.0, 1.0, 1.0),)
        direction = Direction.STATE
    else:
        if isinstance(condition, Grouped):
            unit = condition.unit
            condition = condition.threshold
        elif isinstance(condition, Derived):
            unit = condition.unit
            measure = replace(condition.measure, at=_tidy(condition.measure.at * scale))
            condition, scale = condition.threshold, 1.0
        deadband = _tidy(condition.deadband * scale)
        direction = condition.direction
        limits = tuple(
            _limit(direction, rule.tier_in(grade, tier), _tidy(part * scale), deadband)
            for tier, part in condition.limits
        )
    on_delay_us, off_delay_us = (round(s * US_PER_S) for s in (rule.on_delay_s, rule.off_delay_s))
    spans = [_words_not_found(bits)] if bits else [span_not_entered(limit) for limit in limits]
    calm_low, calm_high = max(low for low, _ in spans), min(high for _, high in spans)
    return Watch(
        index, direction, limits, on_delay_us, off_delay_us, calm_low, calm_high,
        bits, rule.hours, tz, measure, unit,
    )  # fmt: skip


def _words_not_found(bits: Bits) -> tuple[float, float]:
    """An open span of words that cannot have the bits as asked; empty where any might."""
    match bits.match:
        case Match.ANY_SET:
            return -1.0, float(1 << bits.bits[0])
        case Match.ALL_SET:
            return -1.0, float(bits.mask)
    return math.inf, -math.inf


def _limit(direction: Direction, tier: Tier, value: float, deadband: float) -> Limit:
    if direction is Direction.HIGH:
        return Limit(tier, value, value, math.inf, _tidy(value - deadband), math.inf)
    return Limit(tier, value, -math.inf, value, -math.inf, _tidy(value + deadband))


def _tidy(value: float) -> float:
    """`value` to nine digits: 0.85 of 7 m is 5.95 m, not 5.949999999999999 m."""
    return float(f"{value:.9g}")
