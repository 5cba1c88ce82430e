"""What a client sends to take a step, and what it gets to see of a case."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, Final, Self
from uuid import UUID

from pydantic import ConfigDict, Field, model_validator

from hazardloop.alarms.alarm import Action, Actor, Party, Stage, Step, Verdict
from hazardloop.alarms.deadlines import Duty
from hazardloop.alarms.grouping import MOST_MEMBERS, Bond
from hazardloop.alarms.lifecycle import FINDINGS
from hazardloop.service.api.case_examples import (
    CASE_EXAMPLE,
    EVIDENCE_EXAMPLE,
    WHOLE_CASE_EXAMPLE,
)
from hazardloop.service.api.schema import Body, Instant, Out, Ref, Text

TAKES: Final[Mapping[Action, frozenset[str]]] = {
    Action.VERIFY: frozenset({"verdict"}),
    Action.SUBMIT: frozenset({"cause", "measures", "responsible", "funds", "deadline", "plan"}),
    Action.ATTACH: frozenset({"permit"}),
    Action.SIGN: frozenset({"post"}),
    Action.TICK: frozenset({"item"}),
    Action.UNTICK: frozenset({"item"}),
    Action.AMEND: frozenset(FINDINGS),
}
"""What an action takes beside revision and note; anything else it is sent is a mistake."""

CONTENT: Final = tuple(sorted(frozenset[str]().union(*TAKES.values())))


Post = Annotated[str, Field(pattern=r"^[a-z][a-z_]{0,39}$")]
Item = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class StepIn(Body):
    """One step on a case, taken on the revision that the person saw."""

    action: Action
    revision: int = Field(ge=1, le=2**31 - 1, description="Of the case as it was seen.")
    note: Text | None = None
    verdict: Verdict | None = Field(default=None, description="With `verify`.")
    cause: Text | None = Field(default=None, description="With `submit`.")
    measures: Text | None = Field(default=None, description="With `submit`.")
    responsible: Text | None = Field(default=None, description="With `submit`; needed for red.")
    funds: Text | None = Field(default=None, description="With `submit`; needed for red.")
    deadline: date | None = Field(default=None, description="With `submit`; needed for red.")
    plan: Text | None = Field(default=None, description="With `submit`; needed for red.")
    permit: Text | None = Field(
        default=None, description="With `attach`: reason of a bypass permit; by a supervisor."
    )
    post: Post | None = Field(
        default=None,
        description="With `sign`: for which charged post; else the first that has not signed.",
    )
    item: Item | None = Field(
        default=None, description="With `tick` and `untick`: of the response plan."
    )

    @model_validator(mode="after")
    def _brings_what_it_takes(self) -> Self:
        takes = TAKES.get(self.action, frozenset())
        for name in CONTENT:
            if getattr(self, name) is not None and name not in takes:
                raise ValueError(f"{self.action} takes no {name}")
        if self.action is Action.ATTACH and self.permit is None:
            raise ValueError("attach takes a permit here; a file goes to /cases/{id}/evidence")
        if self.action in (Action.MERGE, Action.SPLIT):
            raise ValueError(f"{self.action} goes to /cases/{{id}}/{self.action}")
        return self

    def step(self, actor: Actor, now: datetime) -> Step:
        """As the disposal loop knows it."""
        return Step(actor=actor, taken_at=now, **dict(self))


Revision = Annotated[int, Field(ge=1, le=2**31 - 1)]


class MemberIn(Body):
    """A case, as it was seen."""

    id: UUID
    revision: Revision


class MergeIn(Body):
    """Cases to be handled under this one from now on."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "revision": 2,
                    "members": [{"id": "1c0c7e0e-4a8e-5a0f-9b0d-7d1f2b3c4d5e", "revision": 2}],
                    "note": "同一储罐区同时报警",
                }
            ]
        }
    )
    revision: Revision
    members: list[MemberIn] = Field(min_length=1, max_length=MOST_MEMBERS)
    note: Text | None = None


class SplitIn(Body):
    """Members that are to go on by themselves."""

    revision: Revision
    members: list[UUID] = Field(min_length=1, max_length=MOST_MEMBERS)
    note: Text | None = None


class RelatedOut(Out):
    """A case that could be handled together with the one asked about."""

    case: "CaseBrief"
    because: Bond
    apart_s: float = Field(description="Seconds between the raising of the two alarms.")
    obstacle: str | None = Field(description="Why they cannot be merged as they stand; null: can.")


class RelatedList(Out):
    """Proposals; nobody merges them but a person."""

    within_s: float = Field(description="How near in time alarms of one unit are proposed.")
    items: list[RelatedOut]


class CheckOut(Out):
    """An item of the response plan."""

    item: str
    text: dict[str, str] = Field(description="Per language.")
    required: bool
    ticked_at: Instant | None
    ticked_by: str | None


class AlarmFacts(Out):
    """What a case says of its alarm; the rest is at /alarms/{id}."""

    id: UUID
    tier_now: str | None = Field(description="Of the signal; null once it has cleared.")
    condition: str = Field(description="`active` or `cleared`.")
    point: str
    device: Ref
    kind: str
    location: str
    rule: str
    name: dict[str, str] = Field(description="Of the rule, per language; empty if it has none.")
    value: float | None
    limit: float
    unit: str
    direction: str
    raised_at: Instant
    cleared_at: Instant | None
    found_late: bool
    drill: bool


class AssignmentOut(Out):
    """One charge: its receipt and its clock."""

    party: Party
    post: str = Field(description="`assignee`, or which of the side's posts.")
    assigned_to: str
    dispatched_at: Instant
    sign_due_at: Instant
    signed_at: Instant | None
    signed_by: str | None


class DutyOut(Out):
    """What is owed next, and by when."""

    stage: Duty
    at: Instant
    overdue: bool


class DeadlineOut(Out):
    """One duty of the case and how it went; it comes again after a return or a reopening."""

    stage: Duty
    due_at: Instant
    done_at: Instant | None
    overdue: bool = Field(description="Done too late, or not done and already due.")


class StepOut(Out):
    """One line of the ledger."""

    revision: int
    action: str = Field(description="An action, or the service's own: raise, dispatch, tighten.")
    actor: str
    actor_role: str
    taken_at: Instant
    note: str | None
    body: dict[str, Any]


class EvidenceOut(Out):
    """A file of evidence; its content is at /evidence/{id}."""

    id: UUID
    file_name: str
    media_type: str
    size_bytes: int
    sha256: str
    uploaded_by: str
    uploaded_at: Instant


class EvidenceKept(EvidenceOut):
    """A file just added, and the case's revision since."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                EVIDENCE_EXAMPLE
                | {"case_id": "0e8a9f3c-5a41-5b0e-8d4e-2f6b7a1c9d20", "revision": 7}
            ]
        }
    )
    case_id: UUID
    revision: int


class PermitOut(Out):
    """Who allowed the case to be closed while its signal is active, and why."""

    granted_by: str
    granted_at: Instant
    reason: str


class CaseBrief(Out):
    """The handling of one alarm, as lists show it."""

    model_config = ConfigDict(json_schema_extra={"examples": [CASE_EXAMPLE]})
    id: UUID
    alarm_id: UUID
    stage: Stage
    revision: int = Field(description="Counts every change; give it back with the next step.")
    tier: str = Field(description="Worst that the alarm reached.")
    enterprise: Ref
    alarm: AlarmFacts
    opened_at: Instant
    stage_at: Instant
    due: DutyOut | None
    assignments: list[AssignmentOut]
    verdict: Verdict | None
    cause: str | None
    measures: str | None
    responsible: str | None
    funds: str | None
    deadline: date | None
    plan: str | None
    handlers: list[str] = Field(description="Who handled or submitted; none of them reviews.")
    submitted_by: str | None
    closed_by: str | None
    closed_at: Instant | None
    reopened: int
    returned: int
    bypass_permit: PermitOut | None
    lead_case_id: UUID | None = Field(description="The case under which this one is handled.")
    members: list[UUID] = Field(description="Cases that are handled under this one.")
    allowed_actions: list[Action] = Field(description="Of who asks, as the case stands.")


class CaseWithSteps(CaseBrief):
    """The handling of one alarm with all that was done."""

    model_config = ConfigDict(json_schema_extra={"examples": [WHOLE_CASE_EXAMPLE]})
    deadlines: list[DeadlineOut]
    steps: list[StepOut]
    evidence: list[EvidenceOut]
    checks: list[CheckOut] = Field(description="The response plan, item by item.")
