"""What a hazard looks like to those who enter it, act on it and read it."""

from datetime import date
from typing import Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field, model_validator

from hazardloop.alarms.hazard import Act, Grade, Origin, Regime, Station
from hazardloop.service.api.schema import Body, Instant, Name, Out, Text


class HazardIn(Body):
    """What was found; with `alarm` its enterprise is the alarm's."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "enterprise": "E012",
                    "grade": "general",
                    "origin": "self_inspection",
                    "title": "3号罐区防火堤破损",
                    "place": "3号罐区",
                }
            ]
        }
    )
    enterprise: str | None = Field(default=None, description="Id or code.")
    hazard_unit: str | None = None
    alarm: UUID | None = Field(default=None, description="Promotes this alarm; once.")
    sector: str = Field(default="", max_length=64, description="Such as `fire`.")
    grade: Grade
    origin: Origin = Origin.ALARM
    title: Name
    place: Text = ""
    note: Text | None = None

    @model_validator(mode="after")
    def _found_somewhere(self) -> "HazardIn":
        if (self.alarm is None) != (self.origin is not Origin.ALARM):
            raise ValueError("origin: `alarm` goes with an alarm, and an alarm with it")
        if (self.alarm is None) == (self.enterprise is None):
            raise ValueError("one of enterprise and alarm says whose it is")
        return self


class DeedIn(Body):
    """One act on a hazard, on the revision that was seen."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"act": "register", "revision": 1},
                {
                    "act": "supervise",
                    "revision": 4,
                    "note": "第二批",
                    "level": "city",
                    "batch": "2",
                },
            ]
        }
    )
    act: Act
    revision: int = Field(ge=1, le=2**31 - 1)
    note: Text | None = None
    responsible: Text | None = None
    measures: Text | None = None
    funds: Text | None = None
    deadline: date | None = None
    plan: Text | None = None
    recurred: bool = Field(default=False, description="Of a recheck: it is there again.")
    recheck_due: date | None = Field(default=None, description="Of a closing; 30 days after it.")
    level: Literal["province", "city", "county"] | None = Field(
        default=None, description="Of a supervision."
    )
    batch: str | None = Field(default=None, max_length=64, description="Of a supervision.")


class DeedOut(Out):
    """One act that was taken."""

    revision: int
    act: str
    actor: str
    actor_role: str
    taken_at: Instant
    station: Station
    note: str | None
    body: dict[str, Any]


class HazardBrief(Out):
    """A hazard as it stands."""

    id: int
    enterprise: str
    hazard_unit: str | None
    alarm: UUID | None
    sector: str
    grade: Grade
    origin: Origin
    station: Station
    revision: int
    title: str
    place: str
    found_at: Instant
    found_by: str
    responsible: str | None
    measures: str | None
    funds: str | None
    deadline: date | None
    plan: str | None
    notified: bool
    supervised: bool
    supervision: dict[str, Any] | None
    returned: int
    recurred: int
    repeats: int = Field(description="Later alarms of the same rule at the same point.")
    recheck_due: date | None
    closed_at: Instant | None
    overdue: bool
    regimes: dict[Regime, bool] = Field(description="What is asked for, and has its record.")
    allowed_acts: list[Act]


class HazardOut(HazardBrief):
    """The same with every deed, oldest first."""

    deeds: list[DeedOut]


class HazardFigures(Out):
    """How hazards are being put right."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "found": 40,
                    "closed": 37,
                    "rate": 0.925,
                    "major": 2,
                    "major_closed": 2,
                    "major_rate": 1.0,
                    "overdue": 1,
                    "supervised": 0,
                    "recurred": 1,
                    "rechecks_due": 3,
                }
            ]
        }
    )
    found: int
    closed: int
    rate: float | None = Field(description="closed / found, cut after 4 places.")
    major: int
    major_closed: int
    major_rate: float | None
    overdue: int
    supervised: int
    recurred: int
    rechecks_due: int
