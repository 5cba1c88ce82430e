"""Tier, Change, Case, Stage, Action, Step: the records of an alarm and of its handling."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import IntEnum, StrEnum
from typing import Any, Final
from uuid import UUID, uuid5

ALARM_NAMESPACE: Final = UUID("6f2c3f43-9a0e-5d0b-8a53-0c7a6d1f7b10")
CASE_NAMESPACE: Final = UUID("d0b7c6f4-4c55-5b1e-9d52-6a1f0a9f2c31")


class Tier(IntEnum):
    """How bad: a larger number is worse (蓝黄橙红; CAP 1.2 severity minor to extreme)."""

    NONE = 0
    BLUE = 1
    YELLOW = 2
    ORANGE = 3
    RED = 4

    @property
    def wire(self) -> str:
        """The name in payloads and over HTTP."""
        return self.name.lower()


TIER_BY_NAME: Final = {tier.wire: tier for tier in Tier if tier}


class Direction(StrEnum):
    """Which way a limit is crossed."""

    HIGH = "high"
    LOW = "low"
    STATE = "state"
    STALE = "stale"


class ChangeKind(StrEnum):
    """What happened to a signal."""

    RAISED = "raised"
    ROSE = "rose"
    FELL = "fell"
    CLEARED = "cleared"


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one signal, with the reason."""

    kind: ChangeKind
    alarm_id: UUID
    row: int
    """Dense row of its point."""
    point_id: int
    rule_id: str
    rule_version: int
    tier: Tier
    """After the change; NONE when cleared."""
    tier_before: Tier
    value: float
    """That did it, in `unit`; of a stale alarm the seconds of silence."""
    limit: float
    """It crossed."""
    direction: Direction
    changed_at_us: int
    """Data time, us since the Unix epoch."""
    raised_at_us: int
    """Of the alarm, data time."""
    found_late: bool = False
    drill_id: int | None = None
    """Of a raise: the drill that announced it."""
    unit: str | None = None
    """UCUM, of value and limit; None: the point's, or none at all."""
    arithmetic: Mapping[str, Any] | None = None
    """Of a raise or rise: how the value was worked out of readings; None: it is one reading's."""


def alarm_id_of(rule_id: str, point_id: int, raised_at_us: int) -> UUID:
    """The id of the alarm that this rule raised at this point then; a repeat is the same alarm."""
    return uuid5(ALARM_NAMESPACE, f"{rule_id}|{point_id}|{raised_at_us}")


def case_id_of(alarm_id: UUID) -> UUID:
    """The id of the case that handles an alarm."""
    return uuid5(CASE_NAMESPACE, str(alarm_id))


class Role(StrEnum):
    """Who somebody is to the service; each may do what is listed for it and nothing else."""

    ADMIN = "admin"
    SUPERVISOR = "supervisor"
    OPERATOR = "operator"
    AUTHORITY = "authority"
    ENTERPRISE = "enterprise"
    AUDITOR = "auditor"
    TESTER = "tester"


class Party(StrEnum):
    """The two sides charged with a case at the same instant (双重交办)."""

    ENTERPRISE = "enterprise"
    AUTHORITY = "authority"


ASSIGNEE: Final = "assignee"
"""The post that is charged where nothing else is said."""


class Stage(StrEnum):
    """Where the handling of an alarm stands."""

    RAISED = "raised"
    DISPATCHED = "dispatched"
    SIGNED = "signed"
    VERIFIED = "verified"
    HANDLING = "handling"
    SUBMITTED = "submitted"
    CLOSED = "closed"


class Action(StrEnum):
    """One act on a case."""

    DISPATCH = "dispatch"
    SIGN = "sign"
    VERIFY = "verify"
    HANDLE = "handle"
    SUBMIT = "submit"
    RETURN = "return"
    CLOSE = "close"
    REOPEN = "reopen"
    COMMENT = "comment"
    ATTACH = "attach"
    ESCALATE = "escalate"
    TICK = "tick"
    UNTICK = "untick"
    AMEND = "amend"
    MERGE = "merge"
    SPLIT = "split"


class Verdict(StrEnum):
    """What an alarm turned out to be."""

    REAL = "real"
    FALSE_ALARM = "false_alarm"
    TEST = "test"
    MAINTENANCE = "maintenance"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who takes a step."""

    username: str
    display_name: str
    role: Role
    enterprise_id: int | None = None


@dataclass(frozen=True, slots=True)
class Assignment:
    """One charge: its receipt and its clock."""

    party: Party
    assigned_to: str
    dispatched_at: datetime
    sign_due_at: datetime
    signed_at: datetime | None = None
    signed_by: str | None = None
    post: str = ASSIGNEE
    """Which of the side's posts is charged: of a lift both its user and its maintenance unit."""


@dataclass(frozen=True, slots=True)
class Check:
    """One item of the response plan that the case got when it opened."""

    item: str
    required: bool
    ticked_at: datetime | None = None
    ticked_by: str | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """The handling of one alarm, with what its guards must know of the signal."""

    case_id: UUID
    alarm_id: UUID
    enterprise_id: int
    tier: Tier
    signal_active: bool
    stage: Stage
    revision: int
    opened_at: datetime
    stage_at: datetime
    stage_due_at: datetime | None
    assignments: tuple[Assignment, ...]
    evidence: int = 0
    """How many files it has, with those of the case that leads it."""
    verdict: Verdict | None = None
    cause: str | None = None
    measures: str | None = None
    responsible: str | None = None
    funds: str | None = None
    deadline: date | None = None
    plan: str | None = None
    handlers: tuple[str, ...] = ()
    """User names of those who handled or submitted."""
    submitted_by: str | None = None
    closed_by: str | None = None
    closed_at: datetime | None = None
    reopened: int = 0
    returned: int = 0
    bypass_permit: bool = False
    """A supervisor allowed closing although the signal does not rest."""
    rests_at: datetime | None = None
    """From when on a signal that cleared counts as back to normal for good."""
    checks: tuple[Check, ...] = ()
    lead_case_id: UUID | None = None
    """The case under which this one is handled."""
    members: tuple[UUID, ...] = ()
    """Cases that are handled under this one."""


@dataclass(frozen=True, slots=True)
class Step:
    """One act somebody wants to take on a case."""

    action: Action
    actor: Actor
    revision: int
    taken_at: datetime
    note: str | None = None
    verdict: Verdict | None = None
    cause: str | None = None
    measures: str | None = None
    responsible: str | None = None
    funds: str | None = None
    deadline: date | None = None
    plan: str | None = None
    permit: str | None = None
    """Reason of a bypass permit; with `attach`, by a supervisor."""
    post: str | None = None
    """With `sign`: for which post of the side; else for the first that has not signed."""
    item: str | None = None
    """With `tick` and `untick`: of the response plan."""
