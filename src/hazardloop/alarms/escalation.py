"""Who is told, and when, that a duty is not done: the ladder from who owes it to the district."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from hazardloop.alarms.alarm import Party, Stage, Tier
from hazardloop.alarms.deadlines import DUTIES, Duty, TierTimes

ASSIGNEE: Final = "assignee"
DUTY_SUPERVISOR: Final = "duty_supervisor"

ABOVE: Final = ("superior", DUTY_SUPERVISOR, "district_leader")
"""Posts above whoever owes a duty, in the order in which they are told."""
DISTRICT: Final = frozenset({DUTY_SUPERVISOR, "district_leader"})
"""Posts of the district, not of a party."""
LEVELS: Final = 1 + len(ABOVE)

OWED_BY: Final[Mapping[Duty, Party]] = {
    Duty.VERIFY: Party.ENTERPRISE,
    Duty.SUBMIT: Party.ENTERPRISE,
    Duty.REVIEW: Party.AUTHORITY,
}
"""Which side owes a duty; each signs for itself."""


@dataclass(frozen=True, slots=True)
class Charge:
    """A post that has not signed yet, and by when it must."""

    party: str
    post: str
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """How a case stands, as far as clocks are concerned."""

    stage: Stage
    tier: Tier
    due_at: datetime | None
    unsigned: tuple[Charge, ...] = ()


@dataclass(frozen=True, slots=True)
class Clock:
    """One duty that one post owes; with another due time or tier it is another clock."""

    duty: Duty
    party: str
    owed_by: str
    tier: Tier
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Rung:
    """One level of a ladder."""

    level: int
    """1: who owes it is told again; 2, 3, 4: those above."""
    post: str
    due_at: datetime


def clocks(case: Standing) -> tuple[Clock, ...]:
    """The clocks that run for a case as it stands."""
    duty = DUTIES.get(case.stage)
    if duty is Duty.SIGN:
        return tuple(
            Clock(duty, one.party, one.post, case.tier, one.due_at) for one in case.unsigned
        )
    if duty is None or case.due_at is None:
        return ()
    return (Clock(duty, OWED_BY[duty], ASSIGNEE, case.tier, case.due_at),)


@dataclass(frozen=True, slots=True)
class Ladder:
    """How long each level waits for the one below to have an effect."""

    waits: Mapping[Duty, TierTimes]

    def rungs(self, clock: Clock) -> tuple[Rung, ...]:
        """The levels of `clock`, the first at the moment in which its duty is overdue."""
        wait = self.waits[clock.duty][clock.tier]
        posts = (clock.owed_by, *ABOVE)
        return tuple(
            Rung(level, post, clock.due_at + (level - 1) * wait)
            for level, post in enumerate(posts, start=1)
        )

    def but(self, waits: Iterable[tuple[Duty, Tier, timedelta]]) -> "Ladder":
        """This ladder with some of its waits replaced."""
        changed = {duty: dict(times) for duty, times in self.waits.items()}
        for duty, tier, wait in waits:
            changed[duty][tier] = wait
        return Ladder(changed)


def _tiers(red: int, orange: int, yellow: int, blue: int) -> TierTimes:
    times = {Tier.RED: red, Tier.ORANGE: orange, Tier.YELLOW: yellow, Tier.BLUE: blue}
    return {tier: timedelta(minutes=minutes) for tier, minutes in times.items()}


PROJECT_LADDER: Final = Ladder(
    {
        Duty.SIGN: _tiers(2, 5, 15, 30),
        Duty.VERIFY: _tiers(5, 10, 30, 60),
        Duty.SUBMIT: _tiers(60, 240, 720, 1440),
        Duty.REVIEW: _tiers(120, 240, 720, 1440),
    }
)  # min; source: project decision; the standards leave these times to the district


def turned(
    known: Iterable[Clock], running: Sequence[Clock]
) -> tuple[tuple[Clock, ...], tuple[Clock, ...]]:
    """Which of the clocks that were planned have ended, and which that run are not planned yet."""
    planned = set(known)
    return tuple(planned - set(running)), tuple(one for one in running if one not in planned)
