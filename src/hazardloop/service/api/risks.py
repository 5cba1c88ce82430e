"""The four-colour risk of units, enterprises and areas, and how it changed."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query
from pydantic import ConfigDict, Field

from hazardloop.alarms import risk_store
from hazardloop.alarms.alarm import Role
from hazardloop.alarms.risk import Cause
from hazardloop.service.api import lookup
from hazardloop.service.api.access import Actor, Conn, Now, require
from hazardloop.service.api.problems import problems
from hazardloop.service.api.rows import fetch
from hazardloop.service.api.schema import Instant, Out

router = APIRouter(tags=["registry"])

Colour = Literal["blue", "yellow", "orange", "red"]
EXAMPLE: Final[dict[str, Any]] = {
    "subject": "unit:7",
    "level": "unit",
    "name": "液氨罐区",
    "enterprise": "E003",
    "colour": "orange",
    "causes": ["alarm"],
    "warning": "orange",
    "since": "2026-11-22T01:00:00.000Z",
    "was": "yellow",
}


class RiskOut(Out):
    """How great the risk of a place is now. `colour` is a risk, `warning` an urgency."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})
    subject: str = Field(description="For `/risk-history`.")
    level: Literal["unit", "enterprise", "area"]
    name: str
    enterprise: str | None = Field(description="Its code; of an area null.")
    colour: Colour
    causes: list[Cause] = Field(description="All that make it this colour.")
    warning: Colour | None = Field(description="Of the worst active alarm; null = none is active.")
    since: Instant | None = Field(description="When this colour was noted; null = just now.")
    was: Colour | None = Field(description="The colour before it; null = not noted.")


class RiskChange(Out):
    """One change of a risk."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {name: EXAMPLE[name] for name in ("colour", "was", "causes", "warning")}
                | {"at": EXAMPLE["since"]}
            ]
        }
    )
    at: Instant
    colour: Colour
    was: Colour | None
    causes: list[Cause]
    warning: Colour | None


@router.get("/risks", dependencies=[require("registry.read")], responses=problems("not_found"))
async def list_risks(
    conn: Conn,
    account: Actor,
    now: Now,
    level: Literal["unit", "enterprise", "area"] | None = None,
    enterprise: Annotated[str | None, Query(description="Id or code.")] = None,
) -> list[RiskOut]:
    """Units, then enterprises, then areas; an enterprise's user is told of no area."""
    only = await lookup.enterprise_id(conn, enterprise) if enterprise else None
    if account.role is Role.ENTERPRISE:
        only = account.enterprise_id
    places = await risk_store.risks(conn, now, only)
    noted = await risk_store.last_noted(conn, places)
    return [
        RiskOut.model_validate(_told(place, noted.get(place.subject)))
        for place in places
        if level in (None, place.level)
    ]


def _told(place: risk_store.Place, last: dict[str, Any] | None) -> dict[str, Any]:
    said = risk_store.told(place.risk)
    if last is None or last["body"]["colour"] != said["colour"]:
        since, was = None, last and last["body"]["colour"]
    else:
        since, was = last["taken_at"], last["body"]["was"]
    where = {name: getattr(place, name) for name in ("subject", "level", "name", "enterprise")}
    return where | said | {"since": since, "was": was}


HISTORY: Final = """
    SELECT taken_at AS at, body->>'colour' AS colour, body->>'was' AS was, body->'causes' AS causes,
           body->>'warning' AS warning
      FROM ledger WHERE subject = 'risk' AND subject_id = %(subject)s
     ORDER BY entry_id DESC LIMIT %(limit)s"""


@router.get("/risk-history", dependencies=[require("registry.read")])
async def list_risk_changes(
    conn: Conn,
    subject: Annotated[str, Query(max_length=300, examples=["unit:7"])],
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[RiskChange]:
    """How one risk changed, the newest first: when, why, and what it was before."""
    rows = await fetch(conn, HISTORY, {"subject": subject, "limit": limit})
    return [RiskChange.model_validate(row) for row in rows]
