"""Rule: when to raise an alarm at which points, why, and what to do about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, TypeAlias

import numpy as np

from hazardloop.alarms.alarm import Direction, Tier
from hazardloop.alarms.group import Group
from hazardloop.alarms.hours import Hours
from hazardloop.alarms.measure import Measure
from hazardloop.devices.catalog import Text
from hazardloop.devices.readings import Floats

TagTest: TypeAlias = Literal[True] | tuple[str, ...]
"""True: the device has the tag, whatever it says; texts: its value is one of them."""


class RuleKind(StrEnum):
    """What a rule compares."""

    THRESHOLD = "threshold"
    STATE = "state"
    STALE = "stale"
    RATE_OF_CHANGE = "rate_of_change"
    DEVIATION = "deviation"
    AGGREGATE = "aggregate"
    FREQUENCY = "frequency"
    TIME_TO_LIMIT = "time_to_limit"
    STUCK = "stuck"
    VOTING = "voting"
    BALANCE = "balance"


class Match(StrEnum):
    """How many of the bits asked for must be how."""

    ANY_SET = "any_set"
    ALL_SET = "all_set"
    ANY_CLEAR = "any_clear"
    ALL_CLEAR = "all_clear"


@dataclass(frozen=True, slots=True)
class Select:
    """Which devices of its kind a rule is for; an empty field selects all."""

    grades: tuple[int, ...] = ()
    """Of the hazard unit by GB 18218, 1..4; 0 = belongs to none."""
    enterprises: tuple[str, ...] = ()
    tags: Mapping[str, TagTest] = field(default_factory=dict)
    except_tags: Mapping[str, TagTest] = field(default_factory=dict)
    """A device that meets one of these is left out."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A value at or beyond a limit."""

    direction: Direction
    limits: tuple[tuple[Tier, float], ...]
    """By rising tier, in the point's unit, or in parts of `of`."""
    deadband: float
    """How far back past a limit a value must be to leave it, as `limits`."""
    of: str | None = None
    """Device tag that the limits are parts of."""
    default_of: float | None = None
    """Stands in where a device has no such tag; None: no limits there."""


@dataclass(frozen=True, slots=True)
class State:
    """A value that is exactly this one."""

    equals: float
    tier: Tier


@dataclass(frozen=True, slots=True)
class Bits:
    """Some bits of a status word that are set, or clear."""

    bits: tuple[int, ...]
    """Ascending; 0 = the least."""
    match: Match
    tier: Tier

    @property
    def mask(self) -> int:
        """The word in which just these bits are set."""
        return sum(1 << bit for bit in self.bits)

    def found(self, value: float) -> bool:
        """Whether a word says so; what is behind the point of `value` is no part of it."""
        word = int(value) & self.mask
        return {
            Match.ANY_SET: word != 0,
            Match.ALL_SET: word == self.mask,
            Match.ANY_CLEAR: word != self.mask,
            Match.ALL_CLEAR: word == 0,
        }[self.match]


@dataclass(frozen=True, slots=True)
class Silence:
    """No usable reading for so long."""

    tier: Tier
    after_s: float | None
    after_intervals: float | None
    """Times the expected interval of the device; one of both is given."""
    min_s: float
    """Never less than this, however short the interval."""

    def limit_s(self, interval_s: Floats) -> Floats:
        """(n,) seconds of silence that devices reporting every `interval_s` are allowed."""
        if self.after_intervals is None:
            return np.full(len(interval_s), max(self.after_s or 0.0, self.min_s))
        return np.maximum(self.after_intervals * interval_s, self.min_s)


@dataclass(frozen=True, slots=True)
class Derived:
    """What a measure makes of the readings lately, at or beyond a limit."""

    measure: Measure
    threshold: Threshold
    """In `unit`; its `of` scales `measure.at`, not the limits."""
    unit: str
    """UCUM."""


@dataclass(frozen=True, slots=True)
class Grouped:
    """What is made of the last words of a group of points, at or beyond a limit."""

    group: Group
    threshold: Threshold
    """In `unit`."""
    unit: str
    """UCUM."""


Condition: TypeAlias = Threshold | State | Bits | Silence | Derived | Grouped


@dataclass(frozen=True, slots=True)
class PlanItem:
    """One thing to do about an alarm, ticked on its case when done."""

    item: str
    text: Text
    required: bool
    """Without it the case cannot be submitted."""


@dataclass(frozen=True, slots=True)
class Rule:
    """When to raise an alarm at which points, why, and what to do about it."""

    rule_id: str
    kind: RuleKind
    device_kind: str
    quantity: str
    name: Text
    guidance: Text
    """What the operator does, in one or two sentences."""
    source: str
    """The standard or decision that the numbers come from."""
    confidence: str
    """sure, likely, check, or house: our own proposal."""
    select: Select
    condition: Condition
    on_delay_s: float = 0.0
    off_delay_s: float = 0.0
    latch: bool = False
    """Its alarm stays on the list, once the condition is normal, until a person resets it."""
    re_alarm_s: float = 0.0
    """After so long an alarm that is still active is unacknowledged again; 0 = never."""
    worse_in_grades: tuple[int, ...] = ()
    """Grades of hazard unit in which each tier is one worse than written."""
    plan: tuple[PlanItem, ...] = ()
    """The response plan (处置卡), in the order of its items; copied to each case."""
    hours: Hours | None = None
    """What is measured outside them neither begins nor keeps up an alarm; None = at any time."""
    body: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """As it was written, with its kind of device: JSON values only."""

    def tier_in(self, grade: int, tier: Tier) -> Tier:
        """What the written `tier` means in a hazard unit of `grade`."""
        return Tier(tier + 1) if grade in self.worse_in_grades else tier
