"""Watch: one rule at a point; Signal: what is remembered of it between readings."""

from dataclasses import dataclass
from uuid import UUID

from hazardloop.alarms.alarm import Direction, Tier
from hazardloop.alarms.hours import Hours, opening_from
from hazardloop.alarms.measure import Measure
from hazardloop.alarms.rule import Bits
from hazardloop.devices.readings import NEVER


@dataclass(frozen=True, slots=True)
class Limit:
    """One tier's limit at a point: holds once a value entered it, until one leaves it.

    Both are closed spans: a high limit of 25 less 2 is entered in [25, inf], kept in [23, inf].
    """

    tier: Tier
    value: float
    """The limit itself, in the point's unit."""
    enter_low: float
    enter_high: float
    stay_low: float
    stay_high: float


@dataclass(frozen=True, slots=True)
class Watch:
    """One rule at a point: its limits there by rising tier, and its delays."""

    rule: int
    """Index in the table's rules."""
    direction: Direction
    limits: tuple[Limit, ...]
    on_delay_us: int
    off_delay_us: int
    calm_low: float
    """At rest, values above this ..."""
    calm_high: float
    """... and below this change nothing."""
    bits: Bits | None = None
    """What is compared with the limits is not the value but whether it has them: 1 or 0."""
    hours: Hours | None = None
    tz: str = ""
    """Whose local time `hours` are in."""
    measure: Measure | None = None
    """What is compared instead of the value."""
    unit: str | None = None
    """Of what is compared; None: the point's."""

    def compared(self, value: float) -> float:
        """What the limits are compared with."""
        return value if self.bits is None else float(self.bits.found(value))

    def looks(self, at_us: int) -> bool:
        """Whether the rule looks at what is measured then."""
        return self.hours is None or opening_from(self.hours, self.tz, at_us)[0] <= at_us

    def begins(self, at_us: int) -> int:
        """From when on a value counts that was beyond a limit at `at_us`, and stays so.

        Not before the rule looks, and in hours that leave time for the on-delay to end in them.
        """
        if self.hours is None:
            return at_us
        opens, closes = opening_from(self.hours, self.tz, at_us)
        if max(at_us, opens) + self.on_delay_us < closes:
            return max(at_us, opens)
        return opening_from(self.hours, self.tz, closes)[0]


@dataclass(frozen=True, slots=True)
class Standing:
    """An alarm that has been raised and not cleared."""

    alarm_id: UUID
    raised_us: int
    tier: Tier
    """As it was last told."""
    late: Tier = Tier.NONE
    """Worst tier it has had, if old data raised it: cleared, it is a known find."""


@dataclass(slots=True)
class Signal:
    """One rule at one point: a flip-flop per limit, and the alarm it stands for."""

    holds: list[bool]
    since: list[int]
    """Data time in us at which the opposite of `holds` began; NEVER = it has not."""
    alarm: Standing | None = None
    due_us: int = NEVER
    """End of an on-delay that is already on the list of those to come."""

    @property
    def resting(self) -> bool:
        """Nothing holds, nothing is under way: forgetting it changes nothing."""
        return self.alarm is None and not any(self.holds) and not self.pending

    @property
    def pending(self) -> bool:
        """Some limit is on its way to hold, or to hold no longer."""
        return max(self.since) != NEVER


def signal_at_rest(watch: Watch) -> Signal:
    """What is remembered before the first reading."""
    return Signal([False] * len(watch.limits), [NEVER] * len(watch.limits))


def worst_held(watch: Watch, signal: Signal) -> Tier:
    """Tier of a signal: that of its worst limit that holds."""
    for nth in range(len(watch.limits) - 1, -1, -1):
        if signal.holds[nth]:
            return watch.limits[nth].tier
    return Tier.NONE


def worst_entered(watch: Watch, value: float) -> Tier:
    """Tier of the worst limit that `value` is at or beyond."""
    value = watch.compared(value)
    for limit in reversed(watch.limits):
        if limit.enter_low <= value <= limit.enter_high:
            return limit.tier
    return Tier.NONE
