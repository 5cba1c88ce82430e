"""Published figures: how much of what was raised has been handled."""

from datetime import timedelta
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, ConfigDict, Field

from hazardloop.alarms import figure_store
from hazardloop.alarms.figures import FORMULA, GroupBy, Handling, handling, handling_by
from hazardloop.service.api import lookup
from hazardloop.service.api.access import Conn, Now, require
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.schema import Instant, Out

router = APIRouter(tags=["figures"])

USUAL_PERIOD: Final = timedelta(days=30)
LONGEST_PERIOD: Final = timedelta(days=366)


class Figures(Out):
    """How the alarms of a period were handled."""

    raised: int = Field(description="Denominator, without drills; frozen when they were raised.")
    closed: int = Field(description="Numerator: their case is closed, with a verdict.")
    rate: float | None = Field(
        description="Cut after 4 places; 1.0 only if all are closed, null if none was raised."
    )
    on_time: int = Field(description="Closed, and no report or review came after its deadline.")
    open: int
    drills: int = Field(description="Apart from all of the above.")
    members: list[UUID] | None = Field(
        default=None, description="Alarms that make up `raised`; with `members=true`."
    )


class Group(Figures):
    """The same for one enterprise, kind of device or tier."""

    key: str


EXAMPLE: Final[dict[str, Any]] = {
    "from": "2026-10-23T02:00:00.000Z",
    "to": "2026-11-22T02:00:00.000Z",
    "raised": 412,
    "closed": 398,
    "rate": 0.966,
    "on_time": 391,
    "open": 14,
    "drills": 3,
    "members": None,
    "groups": [
        {
            "key": "red",
            "raised": 6,
            "closed": 6,
            "rate": 1.0,
            "on_time": 6,
            "open": 0,
            "drills": 0,
            "members": None,
        }
    ],
    "formula": FORMULA,
}


class HandlingOut(Figures):
    """Handling rate (处置率) of a period with its numerator, denominator and formula."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})
    start: Instant = Field(alias="from")
    end: Instant = Field(alias="to")
    groups: list[Group]
    formula: str


@router.get(
    "/kpi/handling",
    dependencies=[require("figures.read")],
    responses=problems("not_found", "invalid"),
)
async def get_handling(
    conn: Conn,
    now: Now,
    start: Annotated[
        AwareDatetime | None, Query(alias="from", description="Raised since; 30 days before `to`.")
    ] = None,
    end: Annotated[
        AwareDatetime | None, Query(alias="to", description="Raised before; now.")
    ] = None,
    group_by: GroupBy | None = None,
    enterprise: Annotated[str | None, Query(description="Id or code.")] = None,
    members: Annotated[bool, Query(description="Name the alarms behind each figure.")] = False,
) -> HandlingOut:
    """Share of the alarms raised in a period whose case is closed with a verdict."""
    end = end or now
    start = start or end - USUAL_PERIOD
    if not start < end <= start + LONGEST_PERIOD:
        raise Problem("invalid", "from, to: a period of up to 366 days, its start before its end")
    only = None if enterprise is None else await lookup.enterprise_id(conn, enterprise)
    records = await figure_store.raised_in(conn, start, end, only)
    groups = {} if group_by is None else handling_by(records, group_by)
    return HandlingOut.model_validate(
        _figures(handling(records), members)
        | {
            "from": start,
            "to": end,
            "groups": [{"key": key} | _figures(one, members) for key, one in groups.items()],
            "formula": FORMULA,
        }
    )


def _figures(figures: Handling, members: bool) -> dict[str, Any]:
    shown = ("raised", "closed", "rate", "on_time", "open", "drills")
    return {name: getattr(figures, name) for name in shown} | {
        "members": list(figures.members) if members else None
    }
