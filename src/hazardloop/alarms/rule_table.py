"""Rules laid over a registry: which limits stand at which point, ready for evaluation.

Points that are alike (same kind, grade and tags as far as rules ask) share one tuple of watches, so
that a table of 440,000 points stays small; only what every reading passes is a column per point.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from hazardloop.alarms.alarm import Direction, Tier
from hazardloop.alarms.kernels import calm_band, span_not_entered
from hazardloop.alarms.rule import Rule, Silence, State, TagTest, Threshold
from hazardloop.alarms.watch import Limit, Watch
from hazardloop.devices.readings import Floats, Rows, Tiers, Times
from hazardloop.devices.registry import Registry

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


@dataclass(frozen=True, slots=True)
class EffectiveLimit:
    """A limit that stands at a point, as people are shown it."""

    rule_id: str
    tier: Tier
    limit: float
    direction: Direction


@dataclass(frozen=True, slots=True)
class RuleTable:
    """Rules and what they watch; columns are (n,) over dense rows of the registry."""

    rules: tuple[Rule, ...]
    versions: tuple[int, ...]
    index: Mapping[str, int]
    """Rule id to its place in `rules`."""
    profiles: tuple[tuple[Watch, ...], ...]
    profile: Rows
    """Which of the profiles a point has."""
    calm_low: Floats
    """A point at rest stays so while its value is above this (in its unit) ..."""
    calm_high: Floats
    """... and below this."""
    point_id: Rows
    registered_at: Times
    row_of: Mapping[int, int]
    silent_row: Rows
    """(m,) points watched for silence, one element per rule and point."""
    silent_rule: Rows
    """(m,) index of the rule."""
    silent_tier: Tiers
    """(m,) of the alarm."""
    silent_limit_us: Times
    """(m,) how long the point may be silent."""
    problems: tuple[str, ...]
    """What devices carry that rules cannot use, each with what was done instead."""

    def watches(self, row: int) -> tuple[Watch, ...]:
        """The rules that compare values at this point."""
        return self.profiles[self.profile[row]]


def compile_rules(
    rules: Sequence[Rule],
    registry: Registry,
    versions: Mapping[str, int] = MappingProxyType({}),
) -> RuleTable:
    """The table of these rules over these points.

    Args:
        rules: with ids that differ.
        registry: whose dense rows the table follows.
        versions: rule id to its version; 1 where it is not in there.
    """
    by_quantity: dict[tuple[str, str], list[int]] = {}
    for index, rule in enumerate(rules):
        by_quantity.setdefault((rule.device_kind, rule.quantity), []).append(index)
    asked = {key: _tags_asked(rules[i] for i in found) for key, found in by_quantity.items()}
    profiles: dict[tuple[Watch, ...], int] = {(): 0}
    alike: dict[tuple[Any, ...], tuple[int, tuple[int, ...]]] = {}
    profile = np.zeros(len(registry), np.int32)
    silent: list[tuple[int, int, int, int]] = []
    problems: list[str] = []
    for row, point in enumerate(registry.points):
        key = (point.kind, point.quantity)
        if key not in by_quantity:
            continue
        tags = tuple(str(point.tags.get(tag, "")) for tag in asked[key])
        likeness = (key, point.grade, point.enterprise, tags)
        if likeness not in alike:
            facts = PointFacts(*key, point.grade, point.tags, point.enterprise)
            watches, odd = watches_of(rules, by_quantity[key], facts)
            problems += [f"device {point.device}: {each}" for each in odd]
            silences = tuple(
                index
                for index in by_quantity[key]
                if isinstance(rules[index].condition, Silence) and selects(rules[index], facts)
            )
            alike[likeness] = profiles.setdefault(watches, len(profiles)), silences
        profile[row], silences = alike[likeness]
        for index in silences:
            condition = rules[index].condition
            assert isinstance(condition, Silence)
            tier = rules[index].tier_in(point.grade, condition.tier)
            limit_us = round(condition.limit_s(point.interval_s) * US_PER_S)
            silent.append((row, index, int(tier), limit_us))
    bands = np.array([calm_band([(watch, None) for watch in each]) for each in profiles])
    silences_by_column = np.array(silent, np.int64).reshape(-1, 4)
    return RuleTable(
        rules=tuple(rules),
        versions=tuple(versions.get(rule.rule_id, 1) for rule in rules),
        index={rule.rule_id: index for index, rule in enumerate(rules)},
        profiles=tuple(profiles),
        profile=profile,
        calm_low=np.ascontiguousarray(bands[profile, 0]),
        calm_high=np.ascontiguousarray(bands[profile, 1]),
        point_id=registry.point_id,
        registered_at=registry.registered_at,
        row_of=registry.row_of,
        silent_row=silences_by_column[:, 0].astype(np.int32),
        silent_rule=silences_by_column[:, 1].astype(np.int32),
        silent_tier=silences_by_column[:, 2].astype(np.uint8),
        silent_limit_us=np.ascontiguousarray(silences_by_column[:, 3]),
        problems=tuple(problems),
    )


def _tags_asked(rules: Any) -> tuple[str, ...]:
    asked: set[str] = set()
    for rule in rules:
        asked |= {*rule.select.tags, *rule.select.except_tags}
        if isinstance(rule.condition, Threshold) and rule.condition.of is not None:
            asked.add(rule.condition.of)
    return tuple(sorted(asked))


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
    rules: Sequence[Rule], indices: Sequence[int], facts: PointFacts
) -> tuple[tuple[Watch, ...], list[str]]:
    """What compares values at such a point, and what of its tags could not be used."""
    watches: list[Watch] = []
    problems: list[str] = []
    for index in indices:
        rule = rules[index]
        if isinstance(rule.condition, Silence) or not selects(rule, facts):
            continue
        scale: float | None = 1.0
        if isinstance(rule.condition, Threshold) and rule.condition.of is not None:
            scale, problem = _scale(rule.condition, facts.tags)
            problems += [f"{problem} (rule {rule.rule_id})"] if problem else []
        if scale is not None:
            watches.append(_watch(rule, index, facts.grade, scale))
    return tuple(watches), problems


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


def _watch(rule: Rule, index: int, grade: int, scale: float) -> Watch:
    condition = rule.condition
    assert not isinstance(condition, Silence)
    if isinstance(condition, State):
        tier = rule.tier_in(grade, condition.tier)
        limits: tuple[Limit, ...] = (Limit(tier, *[condition.equals] * 5),)
        direction = Direction.STATE
    else:
        deadband = _tidy(condition.deadband * scale)
        direction = condition.direction
        limits = tuple(
            _limit(direction, rule.tier_in(grade, tier), _tidy(part * scale), deadband)
            for tier, part in condition.limits
        )
    on_delay_us, off_delay_us = (round(s * US_PER_S) for s in (rule.on_delay_s, rule.off_delay_s))
    spans = [span_not_entered(limit) for limit in limits]
    calm_low, calm_high = max(low for low, _ in spans), min(high for _, high in spans)
    return Watch(index, direction, limits, on_delay_us, off_delay_us, calm_low, calm_high)


def _limit(direction: Direction, tier: Tier, value: float, deadband: float) -> Limit:
    if direction is Direction.HIGH:
        return Limit(tier, value, value, math.inf, _tidy(value - deadband), math.inf)
    return Limit(tier, value, -math.inf, value, -math.inf, _tidy(value + deadband))


def _tidy(value: float) -> float:
    """`value` to nine digits: 0.85 of 7 m is 5.95 m, not 5.949999999999999 m."""
    return float(f"{value:.9g}")


def effective_limits(table: RuleTable, row: int) -> list[EffectiveLimit]:
    """The limits that values of this point are compared with, by rule and rising tier."""
    return _shown(table.rules, table.watches(row))


def limits_for(rules: Sequence[Rule], facts: PointFacts) -> list[EffectiveLimit]:
    """The same for a point that is known by its facts only."""
    return _shown(rules, watches_of(rules, range(len(rules)), facts)[0])


def _shown(rules: Sequence[Rule], watches: Sequence[Watch]) -> list[EffectiveLimit]:
    return [
        EffectiveLimit(rules[watch.rule].rule_id, limit.tier, limit.value, watch.direction)
        for watch in watches
        for limit in watch.limits
    ]
