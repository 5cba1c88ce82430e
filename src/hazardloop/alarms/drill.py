"""Drills and proof tests: which alarms are theirs, and what came of each point."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from hazardloop.alarms.alarm import Change, ChangeKind, Tier
from hazardloop.alarms.evaluation import Outcome


@dataclass(frozen=True, slots=True)
class Drill:
    """A drill that was announced, as far as a worker must know it."""

    drill_id: int
    starts_us: int
    ends_us: int
    """First instant after it; us since the Unix epoch."""
    limits: Mapping[int, Tier]
    """By point of its scope: the worst tier that was announced there."""

    def covers(self, change: Change, now_us: int) -> bool:
        """Whether it announced this raise: by data time and by receipt, at most of its tier."""
        limit = self.limits.get(change.point_id)
        return (
            limit is not None
            and change.tier <= limit
            and self.starts_us <= change.raised_at_us < self.ends_us
            and self.starts_us <= now_us < self.ends_us
        )


def marked(outcome: Outcome, drills: Sequence[Drill], now_us: int) -> Outcome:
    """`outcome`, in which each raise that a drill announced bears its number."""
    if not drills or not outcome.changes:
        return outcome
    return replace(
        outcome, changes=tuple(_marked(change, drills, now_us) for change in outcome.changes)
    )


def _marked(change: Change, drills: Sequence[Drill], now_us: int) -> Change:
    if change.kind is not ChangeKind.RAISED:
        return change
    found = next((drill for drill in drills if drill.covers(change, now_us)), None)
    return change if found is None else replace(change, drill_id=found.drill_id)


class Result(StrEnum):
    """What came of one point of a drill."""

    PASSED = "passed"
    MISSING = "missing"
    """An alarm was expected, none came."""
    TOO_LOW = "too_low"
    """It came, and did not reach the tier that was expected."""
    EXCEEDED = "exceeded"
    """It got worse than what was announced, and was taken for real."""
    UNEXPECTED = "unexpected"
    """One came where none was expected."""


def result_of(
    expected: bool, expected_tier: int | None, alarms: Sequence[tuple[int, bool]]
) -> Result:
    """What came of a point.

    Args:
        expected: whether an alarm was announced there.
        expected_tier: which it was to reach; None = any.
        alarms: worst tier of each alarm raised there in the drill, and whether it is one of it.
    """
    if any(not drill for _, drill in alarms):
        return Result.EXCEEDED
    if not expected:
        return Result.UNEXPECTED
    if not alarms:
        return Result.MISSING
    reached = max(tier for tier, _ in alarms)
    return Result.PASSED if reached >= (expected_tier or 1) else Result.TOO_LOW
