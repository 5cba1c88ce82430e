"""What a client sends to take a step, and what it gets to see of a case."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final, Self
from uuid import UUID

from pydantic import ConfigDict, Field, model_validator

from hazardloop.alarms.alarm import Action, Actor, Party, Stage, Step, Verdict
from hazardloop.alarms.deadlines import Duty
from hazardloop.service.api.schema import Body, Instant, Out, Ref, Text

TAKES: Final[Mapping[Action, frozenset[str]]] = {
    Action.VERIFY: frozenset({"verdict"}),
    Action.SUBMIT: frozenset({"cause", "measures", "responsible", "funds", "deadline", "plan"}),
    Action.ATTACH: frozenset({"permit"}),
}
"""What an action takes beside revision and note; anything else it is sent is a mistake."""

CONTENT: Final = tuple(sorted(frozenset[str]().union(*TAKES.values())))

STEP_EXAMPLES: Final[dict[str, Any]] = {
    "sign": {"summary": "Receipt of one side", "value": {"action": "sign", "revision": 2}},
    "verify": {
        "summary": "What it turned out to be",
        "value": {"action": "verify", "revision": 4, "verdict": "real", "note": "现场闻到异味"},
    },
    "handle": {"summary": "Taken in hand", "value": {"action": "handle", "revision": 5}},
    "submit": {
        "summary": "Report of a red case, with the five (五落实)",
        "value": {
            "action": "submit",
            "revision": 7,
            "cause": "3号罐进料法兰垫片老化泄漏",
            "measures": "停止进料，更换垫片，复测合格",
            "responsible": "张三",
            "funds": "2000 元",
            "deadline": "2026-12-01",
            "plan": "全罐区同批垫片一周内更换",
        },
    },
    "close": {
        "summary": "Review passed",
        "value": {"action": "close", "revision": 8, "note": "照片与复测数据齐全"},
    },
    "return": {
        "summary": "Review not passed",
        "value": {"action": "return", "revision": 8, "note": "缺复测数据"},
    },
    "reopen": {
        "summary": "Closed too early",
        "value": {"action": "reopen", "revision": 9, "note": "再次泄漏"},
    },
    "permit": {
        "summary": "A supervisor allows closing under an active signal",
        "value": {"action": "attach", "revision": 8, "permit": "探头损坏，已报修并停用"},
    },
}


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

    @model_validator(mode="after")
    def _brings_what_it_takes(self) -> Self:
        takes = TAKES.get(self.action, frozenset())
        for name in CONTENT:
            if getattr(self, name) is not None and name not in takes:
                raise ValueError(f"{self.action} takes no {name}")
        if self.action is Action.ATTACH and self.permit is None:
            raise ValueError("attach takes a permit here; a file goes to /cases/{id}/evidence")
        return self

    def step(self, actor: Actor, now: datetime) -> Step:
        """As the disposal loop knows it."""
        return Step(actor=actor, taken_at=now, **dict(self))


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
    """One side's charge: its receipt and its clock."""

    party: Party
    assigned_to: str
    dispatched_at: Instant
    sign_due_at: Instant
    signed_at: Instant | None
    signed_by: str | None


class DueOut(Out):
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


EVIDENCE_EXAMPLE: Final[dict[str, Any]] = {
    "id": "7b0c2f6e-3f0f-4a3c-9a59-5a2f3c1d9e10",
    "file_name": "更换后的垫片.jpg",
    "media_type": "image/jpeg",
    "size_bytes": 348211,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "uploaded_by": "zhangsan",
    "uploaded_at": "2026-11-22T01:40:00.000Z",
}


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


CASE_EXAMPLE: Final[dict[str, Any]] = {
    "id": "0e8a9f3c-5a41-5b0e-8d4e-2f6b7a1c9d20",
    "alarm_id": "5d3f0c7a-9f5e-5c9b-8f43-1f2f9f0b7a55",
    "stage": "dispatched",
    "revision": 3,
    "tier": "red",
    "enterprise": {"id": 3, "code": "E003", "name": "示范化工有限公司"},
    "alarm": {
        "id": "5d3f0c7a-9f5e-5c9b-8f43-1f2f9f0b7a55",
        "tier_now": "red",
        "condition": "active",
        "point": "SD-9.smoke",
        "device": {"id": 109, "code": "SD-9", "name": "感烟探测器"},
        "kind": "smoke_detector",
        "location": "2号库房",
        "rule": "smoke_detector.smoke",
        "name": {"zh": "烟雾报警", "en": "Smoke"},
        "value": 1.0,
        "limit": 1.0,
        "unit": "1",
        "direction": "state",
        "raised_at": "2026-11-22T01:12:07.120Z",
        "cleared_at": None,
        "found_late": False,
        "drill": False,
    },
    "opened_at": "2026-11-22T01:12:07.410Z",
    "stage_at": "2026-11-22T01:12:07.410Z",
    "due": {"stage": "sign", "at": "2026-11-22T01:17:07.410Z", "overdue": False},
    "assignments": [
        {
            "party": "enterprise",
            "assigned_to": "示范化工有限公司",
            "dispatched_at": "2026-11-22T01:12:07.410Z",
            "sign_due_at": "2026-11-22T01:17:07.410Z",
            "signed_at": "2026-11-22T01:13:40.000Z",
            "signed_by": "zhangsan",
        },
        {
            "party": "authority",
            "assigned_to": "城东监管所",
            "dispatched_at": "2026-11-22T01:12:07.410Z",
            "sign_due_at": "2026-11-22T01:17:07.410Z",
            "signed_at": None,
            "signed_by": None,
        },
    ],
    "verdict": None,
    "cause": None,
    "measures": None,
    "responsible": None,
    "funds": None,
    "deadline": None,
    "plan": None,
    "handlers": [],
    "submitted_by": None,
    "closed_by": None,
    "closed_at": None,
    "reopened": 0,
    "returned": 0,
    "bypass_permit": None,
    "allowed_actions": ["sign", "comment", "attach", "escalate"],
}


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
    due: DueOut | None
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
    allowed_actions: list[Action] = Field(description="Of who asks, as the case stands.")


class CaseOut(CaseBrief):
    """The handling of one alarm with all that was done."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                CASE_EXAMPLE
                | {
                    "deadlines": [
                        {
                            "stage": "sign",
                            "due_at": "2026-11-22T01:17:07.410Z",
                            "done_at": None,
                            "overdue": False,
                        }
                    ],
                    "steps": [
                        {
                            "revision": 3,
                            "action": "sign",
                            "actor": "zhangsan",
                            "actor_role": "enterprise",
                            "taken_at": "2026-11-22T01:13:40.000Z",
                            "note": None,
                            "body": {"stage": "dispatched"},
                        }
                    ],
                    "evidence": [EVIDENCE_EXAMPLE],
                }
            ]
        }
    )
    deadlines: list[DeadlineOut]
    steps: list[StepOut]
    evidence: list[EvidenceOut]
