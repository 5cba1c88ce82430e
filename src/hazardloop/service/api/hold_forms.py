"""What a client sends to have alarms withheld, and what it sees of holds."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, ConfigDict, Field, StringConstraints, model_validator

from hazardloop.alarms.alarm import Tier
from hazardloop.service.api.schema import Body, Instant, Name, Out, Ref, Text

Said = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=2, max_length=500),
    Field(pattern=r"^[^\x00]*$"),
]  # fmt: skip


class _Span(Body):
    """Until when: an instant, or minutes from now."""

    until: AwareDatetime | None = None
    minutes: int | None = Field(default=None, ge=1, le=129_600)

    @model_validator(mode="after")
    def _one_end(self) -> "_Span":
        if (self.until is None) == (self.minutes is None):
            raise ValueError("either until or minutes is needed: nothing is withheld for ever")
        return self

    def end(self, now: datetime) -> datetime:
        """The instant at which it is over."""
        if self.until is not None:
            return self.until
        return now + timedelta(minutes=self.minutes or 0)


class ShelveIn(_Span):
    """That an alarm, and others of the same rule at the same point, keep quiet for a while."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"minutes": 60, "reason": "探头受潮抖动，维保 14 点到场"}]}
    )
    reason: Said
    approver: Name | None = Field(
        default=None, description="Of red: the supervisor, another than you, who is to grant it."
    )
    version: int | None = Field(
        default=None, ge=1, le=2**31 - 1, description="As seen; refused if the tier rose since."
    )


class OutOfServiceIn(_Span):
    """That a point or device is being worked on."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "minutes": 240,
                    "permit": "JX-2026-118",
                    "responsible": "张三",
                    "replacement": "便携式检测仪，每十分钟一次",
                    "reason": "探头标定",
                }
            ]
        }
    )
    permit: Said = Field(description="Number of the work permit.")
    responsible: Said = Field(description="Who does the work.")
    replacement: Said = Field(description="What watches in the meantime.")
    reason: Said
    red: bool = Field(
        default=False,
        description="Red alarms are withheld, too: granted by a supervisor other than you, for 24 h"
        " at most. Without it they go out as ever.",
    )


class SuppressIn(_Span):
    """That by design alarms of a device mean nothing while another alarm of it is active."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "while_rule": "gas_detector.in_service",
                    "permit": "TC-2026-031",
                    "reason": "装置停车检修，探测器按票停用",
                    "minutes": 43200,
                }
            ]
        }
    )
    while_rule: str = Field(max_length=96, description="Rule whose alarm is the condition.")
    permit: Said = Field(description="Number of the permit that the design stands on.")
    reason: Said


class EndIn(Body):
    """Why it ends now."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"note": "已更换，复测正常"}]})
    note: Text | None = None


HoldState = Literal["asked", "in_force", "ended"]
EXAMPLE: Final[dict[str, Any]] = {
    "id": 12,
    "kind": "shelved",
    "state": "in_force",
    "tier": "yellow",
    "enterprise": {"id": 3, "code": "E003", "name": "示范化工有限公司"},
    "device": {"id": 101, "code": "GD-101", "name": "可燃气体探测器"},
    "point": "GD-101.lel",
    "rule": "gas_detector.lel.high",
    "while_rule": None,
    "applies": True,
    "reason": "探头受潮抖动，维保 14 点到场",
    "permit": None,
    "responsible": None,
    "replacement": None,
    "asked_at": "2026-11-22T01:12:07.120Z",
    "asked_by": "operator",
    "asked_role": "operator",
    "approver": None,
    "granted_at": "2026-11-22T01:12:07.120Z",
    "granted_by": "operator",
    "until": "2026-11-22T02:12:07.120Z",
    "ended_at": None,
    "ended_by": None,
    "ended_why": None,
    "end_note": None,
    "alarms": 2,
    "allowed_actions": ["release"],
}


class HoldOut(Out):
    """Something that withholds alarms: who, why, until when."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})
    id: int
    kind: str = Field(description="`shelved`, `suppressed` or `out_of_service`.")
    state: HoldState
    tier: str = Field(description="The worst that it withholds; what is worse goes out.")
    enterprise: Ref
    device: Ref
    point: str | None = Field(description="Null: all points of the device.")
    rule: str | None = Field(description="Null: all rules.")
    while_rule: str | None = Field(description="Only while an alarm of this rule is active there.")
    applies: bool = Field(description="It is in force, and its condition, if one, is met.")
    reason: str
    permit: str | None
    responsible: str | None
    replacement: str | None
    asked_at: Instant
    asked_by: str
    asked_role: str
    approver: str | None
    granted_at: Instant | None
    granted_by: str | None
    until: Instant
    ended_at: Instant | None
    ended_by: str | None
    ended_why: str | None
    end_note: str | None
    alarms: int = Field(description="That would have sounded: raised before or behind it.")
    allowed_actions: list[str] = Field(description="`approve`, `decline`, `release`, `withdraw`.")


def hold_out(row: dict[str, Any], allowed: list[str], now: datetime) -> HoldOut:
    """A row of the list of holds as it is shown."""
    over = row["ended_at"] is not None or row["until"] <= now
    state: HoldState = "ended" if over else "in_force" if row["granted_at"] else "asked"
    return HoldOut(
        **{name: row[name] for name in HoldOut.model_fields if name in row and name not in MADE},
        id=row["hold_id"],
        state=state,
        tier=Tier(row["tier"]).wire,
        enterprise=Ref(
            id=row["enterprise_id"], code=row["enterprise_code"], name=row["enterprise_name"]
        ),
        device=Ref(id=row["device_id"], code=row["device_code"], name=row["device_name"]),
        point=row["quantity"] and f"{row['device_code']}.{row['quantity']}",
        rule=row["rule_id"],
        allowed_actions=allowed,
    )


MADE: Final = frozenset({"tier"})
"""Shown otherwise than stored."""
