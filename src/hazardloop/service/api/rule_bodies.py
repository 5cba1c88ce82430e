"""Bodies and answers about rules."""

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from hazardloop.service.api.device_kinds import Words
from hazardloop.service.api.schema import Body, Instant, Out, Text

RULE: Final[dict[str, Any]] = {
    "id": "plant.level.high",
    "kind": "threshold",
    "quantity": "level",
    "select": {"kind": "tank", "tags": {"area": "north"}},
    "name": {"zh": "液位高", "en": "Level high"},
    "high": {"yellow": 8.0, "orange": 9.0},
    "deadband": 0.1,
    "unit": "m",
    "source": "house",
    "confidence": "house",
    "guidance": {"zh": "停止进料。", "en": "Stop the feed."},
}
DRAFT: Final[dict[str, Any]] = {
    "id": 12,
    "rule": "plant.level.high",
    "retires": False,
    "body": RULE,
    "effective_from": None,
    "reason": "北区罐改造后液位上限下调",
    "reach": 14,
    "warnings": ["overlaps rule tank.level.high in tier yellow, orange at 14 points"],
    "base_version": 2,
    "drafted_at": "2026-11-22T01:02:03.123Z",
    "drafted_by": "zhao",
    "decision": None,
    "decided_at": None,
    "decided_by": None,
    "decision_note": None,
    "version": None,
}
VERSION: Final[dict[str, Any]] = {
    "version": 3,
    "origin": "api",
    "retired": False,
    "body": RULE,
    "created_at": "2026-11-22T02:00:00.000Z",
    "effective_from": "2026-11-22T02:00:00.000Z",
    "drafted_by": "zhao",
    "approved_by": "qian",
    "reason": "北区罐改造后液位上限下调",
}


class RuleIn(BaseModel):
    """The rule as it stands in a YAML file, and beside it why it is changed, and from when on."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"examples": [RULE | {"reason": "北区罐改造后液位上限下调"}]},
    )
    reason: str = Field(min_length=1, max_length=2000, pattern=r"[^\s]")
    effective_from: Instant | None = Field(default=None, description="Null: once it is approved.")

    @property
    def rule(self) -> dict[str, Any]:
        """What belongs to the rule."""
        return dict(self.model_extra or {})


class RetireIn(Body):
    """Why a rule is to be no more, and from when on."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "罐区已拆除"}]})
    reason: str = Field(min_length=1, max_length=2000, pattern=r"[^\s]")
    effective_from: Instant | None = None


class DecisionIn(Body):
    """What is said to a decision."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"note": "已核对设计文件"}]})
    note: Text | None = None


class DraftOut(Out):
    """A change of a rule that somebody wants."""

    model_config = ConfigDict(json_schema_extra={"examples": [DRAFT]})
    id: int
    rule: str
    retires: bool = Field(description="From then on the rule is none.")
    body: dict[str, Any]
    effective_from: Instant | None = Field(description="Null: once it is approved.")
    reason: str
    reach: int = Field(description="Points that it selected when it was drafted.")
    warnings: list[str]
    base_version: int = Field(description="Newest version when it was drafted; 0 = none.")
    drafted_at: Instant
    drafted_by: str
    decision: str | None = Field(
        description="`approved`, `declined`, `withdrawn`, `replaced`; null = it waits."
    )
    decided_at: Instant | None
    decided_by: str | None
    decision_note: str | None
    version: int | None = Field(description="That it became.")


class RuleLine(Out):
    """A rule as it is in force."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "plant.level.high",
                    "version": 3,
                    "origin": "api",
                    "kind": "threshold",
                    "device_kind": "tank",
                    "quantity": "level",
                    "name": {"zh": "液位高", "en": "Level high"},
                    "retired": False,
                    "effective_from": "2026-11-22T02:00:00.000Z",
                    "body": RULE,
                    "drafted_by": "zhao",
                    "approved_by": "qian",
                    "waiting": None,
                    "draft": None,
                    "conflict": None,
                }
            ]
        }
    )
    id: str
    version: int | None = Field(description="In force; null: its first one waits, or is a draft.")
    origin: str = Field(description="`file`: the deployment brought it; `api`: people decided it.")
    kind: str
    device_kind: str
    quantity: str
    name: Words
    retired: bool = Field(description="It was withdrawn and watches nothing.")
    effective_from: Instant | None
    body: dict[str, Any] | None = Field(description="Null: made before it was kept as written.")
    drafted_by: str | None = Field(description="Null: no person did, or not yours to see.")
    approved_by: str | None
    waiting: int | None = Field(description="The version that comes into force later.")
    draft: int | None = Field(description="The draft that waits to be decided.")
    conflict: int | None = Field(
        description="The version that a changed file brought after people had decided otherwise;"
        " it is held back until they decide anew."
    )


class VersionOut(Out):
    """One version of a rule; none is ever removed."""

    model_config = ConfigDict(json_schema_extra={"examples": [VERSION]})
    version: int
    origin: str
    retired: bool
    body: dict[str, Any] | None = Field(description="Null: made before it was kept as written.")
    created_at: Instant
    effective_from: Instant | None = Field(description="Null: held back, see `conflict`.")
    drafted_by: str | None
    approved_by: str | None
    reason: str | None


class RuleLife(Out):
    """A rule with all that became of it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "plant.level.high",
                    "version": 3,
                    "waiting": None,
                    "conflict": None,
                    "reach": 14,
                    "versions": [VERSION],
                    "drafts": [DRAFT],
                }
            ]
        }
    )
    id: str
    version: int | None
    waiting: int | None
    conflict: int | None
    reach: int = Field(description="Points that it selects now, of those that you may see.")
    versions: list[VersionOut]
    drafts: list[DraftOut] = Field(description="The newest first; the centre's alone to see.")
