"""By when each duty of a case is due, per tier, and how the duties of a case went."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from hazardloop.alarms.alarm import Stage, Tier


class Duty(StrEnum):
    """What somebody owes a case while it stands at a stage."""

    SIGN = "sign"
    VERIFY = "verify"
    SUBMIT = "submit"
    REVIEW = "review"


DUTIES: Final[Mapping[Stage, Duty]] = {
    Stage.DISPATCHED: Duty.SIGN,
    Stage.SIGNED: Duty.VERIFY,
    Stage.VERIFIED: Duty.SUBMIT,
    Stage.HANDLING: Duty.SUBMIT,
    Stage.SUBMITTED: Duty.REVIEW,
}  # a stage that is not here owes nothing

TierTimes = Mapping[Tier, timedelta]


def _tiers(unit: timedelta, red: int, orange: int, yellow: int, blue: int) -> TierTimes:
    """One time per tier."""
    return {
        Tier.RED: red * unit,
        Tier.ORANGE: orange * unit,
        Tier.YELLOW: yellow * unit,
        Tier.BLUE: blue * unit,
    }


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long each duty may take, by tier; counted from when the duty began."""

    times: Mapping[Duty, TierTimes]

    def due_at(self, stage: Stage, tier: Tier, since: datetime) -> datetime | None:
        """When the duty of `stage` is due if it began at `since`; None where nothing is owed."""
        duty = DUTIES.get(stage)
        return None if duty is None else since + self.times[duty][tier]


_MINUTE: Final = timedelta(minutes=1)
_HOUR: Final = timedelta(hours=1)

PROJECT_DEADLINES: Final = Deadlines(
    {
        Duty.SIGN: _tiers(_MINUTE, 5, 10, 30, 60),
        Duty.VERIFY: _tiers(_MINUTE, 15, 30, 60, 240),
        Duty.SUBMIT: _tiers(_HOUR, 4, 24, 72, 168),
        Duty.REVIEW: _tiers(_HOUR, 24, 24, 24, 24),
    }
)  # source: project decision; the standards leave these times to the district


@dataclass(frozen=True, slots=True)
class Passage:
    """One line of the ledger, as far as clocks are concerned."""

    action: str
    stage: Stage
    """After the line."""
    due_at: datetime | None
    """Of the duty that stands after the line."""
    taken_at: datetime


@dataclass(frozen=True, slots=True)
class DutyRun:
    """One duty that a case owed or owes."""

    duty: Duty
    due_at: datetime
    done_at: datetime | None
    overdue: bool
    """Done after it was due, or still not done by then."""


def duty_runs(passages: Sequence[Passage], now: datetime) -> tuple[DutyRun, ...]:
    """Every duty of a case in order, from its ledger; the last has no `done_at` while it stands.

    A duty that comes back (a return, a reopening) is a run of its own; tightened by a higher tier
    it is one run with the later, shorter, deadline.
    """
    runs: list[DutyRun] = []
    running: Passage | None = None
    for passage in passages:
        if running is not None and ends_duty(running.stage, passage.stage):
            runs.append(_run(running, passage.taken_at, now))
            running = None
        if passage.due_at is not None:
            running = passage
    if running is not None:
        runs.append(_run(running, None, now))
    return tuple(runs)


def ends_duty(before: Stage, after: Stage) -> bool:
    """Whether going from one stage to another fulfils the duty of the first.

    Verified and handling owe the same report: taking the case in hand does not stop that clock.
    """
    return DUTIES.get(before) is not DUTIES.get(after)


def _run(running: Passage, done_at: datetime | None, now: datetime) -> DutyRun:
    assert running.due_at is not None
    return DutyRun(
        DUTIES[running.stage], running.due_at, done_at, (done_at or now) > running.due_at
    )
