"""What was planned, told and cancelled because duties of a case were not done; and its waits."""

from datetime import timedelta
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter
from pydantic import ConfigDict, Field

from hazardloop.alarms import case_store, escalation_store, ledger_store
from hazardloop.alarms.alarm import TIER_BY_NAME, Tier
from hazardloop.alarms.deadlines import Duty
from hazardloop.alarms.ledger_store import Act
from hazardloop.service.api.access import Actor, Conn, Now, require
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.rows import fetch
from hazardloop.service.api.schema import Body, Instant, Out

router = APIRouter(tags=["cases"])

LEVEL: Final[dict[str, Any]] = {
    "duty": "sign",
    "party": "enterprise",
    "owed_by": "assignee",
    "tier": "red",
    "level": 2,
    "post": "superior",
    "due_at": "2026-11-22T01:07:00.000Z",
    "planned_at": "2026-11-22T01:00:00.000Z",
    "fired_at": "2026-11-22T01:07:00.412Z",
    "late_by_s": 0.412,
    "notices": [41],
    "cancelled_at": None,
    "cancelled_by_revision": None,
}


class EscalationOut(Out):
    """One level of a duty's ladder: planned, told, or cancelled."""

    model_config = ConfigDict(json_schema_extra={"examples": [LEVEL]})
    duty: Duty
    party: str
    owed_by: str
    tier: str
    level: int
    post: str
    due_at: Instant
    planned_at: Instant
    fired_at: Instant | None
    late_by_s: float | None
    notices: list[int] = Field(description="What went out because of it.")
    cancelled_at: Instant | None
    cancelled_by_revision: int | None


class Escalations(Out):
    """All levels of a case, in the order in which they are due."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [LEVEL]}]})
    items: list[EscalationOut]


OF_CASE: Final = """
    SELECT duty, party, owed_by, tier, level, post, due_at, planned_at, fired_at,
           extract(epoch FROM late_by)::float8 AS late_by_s, coalesce(receipt, '{}') AS notices,
           cancelled_at, cancelled_by_revision
      FROM escalation WHERE case_id = %(case_id)s ORDER BY due_at, escalation_id"""


@router.get(
    "/cases/{case_id}/escalations",
    dependencies=[require("cases.read")],
    responses=problems("not_found"),
)
async def list_escalations(case_id: UUID, conn: Conn) -> Escalations:
    """Whom the duties of a case were, are or will be taken to, and when."""
    if await case_store.load_case(conn, case_id) is None:
        raise Problem("not_found", f"case {case_id} is not known here")
    rows = await fetch(conn, OF_CASE, {"case_id": case_id})
    return Escalations(
        items=[EscalationOut.model_validate(row | {"tier": Tier(row["tier"]).wire}) for row in rows]
    )


WAITS: Final[dict[str, Any]] = {"sign": {"red": 2, "orange": 5, "yellow": 15, "blue": 30}}
TierName = Annotated[str, Field(pattern="^(red|orange|yellow|blue)$")]
Minutes = Annotated[int, Field(ge=1, le=43_200)]


class Waits(Body):
    """Minutes that each level waits for the one below, by duty and tier."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra={"examples": [{"minutes": WAITS}]}
    )
    minutes: dict[Duty, dict[TierName, Minutes]]


@router.get("/escalation-waits", dependencies=[require("cases.read")])
async def get_waits(conn: Conn) -> Waits:
    """The waits that count: the district's own, else the project's."""
    ladder = await escalation_store.ladder(conn)
    return Waits(
        minutes={
            duty: {tier.wire: int(wait.total_seconds() // 60) for tier, wait in times.items()}
            for duty, times in ladder.waits.items()
        }
    )


SET_WAIT: Final = """
    INSERT INTO escalation_wait (duty, tier, wait, set_by, set_at)
    VALUES (%(duty)s, %(tier)s, %(wait)s, %(by)s, %(now)s)
    ON CONFLICT (duty, tier) DO UPDATE SET wait = excluded.wait, set_by = excluded.set_by,
                                           set_at = excluded.set_at"""


@router.put("/escalation-waits", dependencies=[require("escalation.write")])
async def put_waits(body: Waits, conn: Conn, actor: Actor, now: Now) -> Waits:
    """Set some of them; they count for duties that begin from now on."""
    said: dict[str, Any] = body.model_dump(mode="json")
    for duty, times in body.minutes.items():
        for tier, minutes in times.items():
            await conn.execute(
                SET_WAIT,
                {
                    "duty": duty,
                    "tier": int(TIER_BY_NAME[tier]),
                    "wait": timedelta(minutes=minutes),
                    "by": actor.username,
                    "now": now,
                },
            )
    act = Act("escalation_waits", "all", "set", actor.username, actor.role, now, body=said)
    await ledger_store.note_act(conn, act)
    return await get_waits(conn)
