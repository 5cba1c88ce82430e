"""What a project sets about its cases."""

from datetime import timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter
from pydantic import ConfigDict, Field

from hazardloop.alarms import ledger_store
from hazardloop.alarms.ledger_store import Act
from hazardloop.service.api.access import Actor, Conn, Now, require
from hazardloop.service.api.rows import fetch_one
from hazardloop.service.api.schema import Body, Out

router = APIRouter(prefix="/case-policy", tags=["cases"])

Minutes = Annotated[float, Field(ge=0, le=1_440, allow_inf_nan=False)]
EXAMPLE: Final[dict[str, Any]] = {
    "rest_minutes": 5,
    "related_within_minutes": 10,
    "window_before_minutes": 30,
    "window_after_minutes": 30,
}
COLUMNS: Final = {
    "rest_minutes": "rest",
    "related_within_minutes": "related_within",
    "window_before_minutes": "window_before",
    "window_after_minutes": "window_after",
}


class CasePolicy(Out):
    """Times of cases. The defaults are project decisions; no standard gives them."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})
    rest_minutes: Minutes = Field(
        description="How long a signal must be normal before its case may be closed; 0: at once."
    )
    related_within_minutes: Minutes = Field(
        description="How near in time alarms of one unit are proposed to be handled together."
    )
    window_before_minutes: Minutes = Field(
        description="Readings kept with a case: so long before its alarm was raised and cleared."
    )
    window_after_minutes: Minutes = Field(description="And so long after.")


class CasePolicyChange(Body):
    """What to change; what is left out stays. Windows of cases that are open already stay."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"rest_minutes": 10}]})
    rest_minutes: Minutes | None = None
    related_within_minutes: Minutes | None = None
    window_before_minutes: Minutes | None = None
    window_after_minutes: Minutes | None = None


ONE: Final = "SELECT rest, related_within, window_before, window_after FROM case_policy"


@router.get("", dependencies=[require("cases.read")])
async def get_case_policy(conn: Conn) -> CasePolicy:
    """The times as they are set."""
    row = await fetch_one(conn, ONE)
    assert row is not None
    return CasePolicy.model_validate(
        {name: row[column].total_seconds() / 60 for name, column in COLUMNS.items()}
    )


CHANGE: Final = """
    UPDATE case_policy SET rest = coalesce(%(rest)s, rest),
           related_within = coalesce(%(related_within)s, related_within),
           window_before = coalesce(%(window_before)s, window_before),
           window_after = coalesce(%(window_after)s, window_after)"""


@router.patch("", dependencies=[require("case_policy.write")])
async def change_case_policy(
    body: CasePolicyChange, conn: Conn, actor: Actor, now: Now
) -> CasePolicy:
    """Change them; the ledger says who did."""
    given = body.model_dump(exclude_none=True)
    wanted = {
        column: timedelta(minutes=given[name]) if name in given else None
        for name, column in COLUMNS.items()
    }
    await conn.execute(CHANGE, wanted)
    act = Act("case_policy", "1", "change", actor.username, actor.role, now, body=given)
    await ledger_store.note_act(conn, act)
    return await get_case_policy(conn)
