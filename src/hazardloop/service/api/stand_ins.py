"""Who stands in for whom, and whether messages reach me: what a person on duty looks after."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, ConfigDict, Field

from hazardloop.alarms import ledger_store, notice_store
from hazardloop.alarms.alarm import Tier
from hazardloop.alarms.ledger_store import Act
from hazardloop.alarms.notices import Notice, NoticeKind
from hazardloop.service.api.access import Account, Actor, Conn, Now, require
from hazardloop.service.api.contacts import Queued
from hazardloop.service.api.paging import Listing, Paging, listing
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.rows import fetch, fetch_one
from hazardloop.service.api.schema import Body, Instant, Out, Text
from hazardloop.service.database import Connection

router = APIRouter(tags=["notices"])

LONGEST: Final = timedelta(days=60)
TEST_EVERY: Final = timedelta(minutes=1)
"""How often somebody may have a test sent to themselves: each costs messages."""
SHOWN: Final[dict[str, Any]] = {
    "id": 3,
    "contact": 7,
    "name": "王芳",
    "deputy": 9,
    "deputy_name": "李强",
    "starts_at": "2026-11-22T00:00:00.000Z",
    "ends_at": "2026-11-24T00:00:00.000Z",
    "reason": "外出培训",
    "made_by": "wangfang",
    "made_at": "2026-11-21T08:00:00.000Z",
}


class StandIn(Out):
    """One person is told instead of another for a time."""

    model_config = ConfigDict(json_schema_extra={"examples": [SHOWN]})
    id: int
    contact: int
    name: str
    deputy: int
    deputy_name: str
    starts_at: Instant
    ends_at: Instant
    reason: str
    made_by: str
    made_at: Instant


class StandInIn(Body):
    """Who stands in for whom, and for how long."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "contact": 7,
                    "deputy": 9,
                    "starts_at": "2026-11-22T00:00:00Z",
                    "ends_at": "2026-11-24T00:00:00Z",
                    "reason": "外出培训",
                }
            ]
        }
    )
    contact: int = Field(ge=1, le=2**31 - 1)
    deputy: int = Field(ge=1, le=2**31 - 1)
    starts_at: AwareDatetime | None = Field(default=None, description="Left out: now.")
    ends_at: AwareDatetime
    reason: Text = ""


STAND_INS: Final = """
    SELECT s.stand_in_id AS id, s.contact_id AS contact, c.name, s.deputy_id AS deputy,
           d.name AS deputy_name, s.starts_at, s.ends_at, s.reason, s.made_by, s.made_at,
           c.enterprise_id
      FROM stand_in s JOIN contact c USING (contact_id)
           JOIN contact d ON d.contact_id = s.deputy_id"""
LIST: Final = f"""{STAND_INS}
     WHERE (%(over)s OR s.ends_at > %(now)s) AND s.stand_in_id < %(before)s
     ORDER BY s.stand_in_id DESC LIMIT %(limit)s"""
ONE: Final = f"{STAND_INS} WHERE s.stand_in_id = %(id)s"


@router.get("/stand-ins", dependencies=[require("contacts.read")])
async def list_stand_ins(
    conn: Conn,
    page: Paging,
    now: Now,
    over: Annotated[bool, Query(description="Also those that have ended.")] = False,
) -> Listing[StandIn]:
    """Who stands in for whom now and later, newest first; an enterprise user sees its own only."""
    before = page.after[0] if page.after else 2**31 - 1
    wanted = {"over": over, "now": now, "before": before, "limit": page.limit + 1}
    rows = await fetch(conn, LIST, wanted)
    return listing([StandIn(**row) for row in rows], page, key=lambda one: (one.id,))


BOTH: Final = """
    SELECT contact_id, enterprise_id,
           active AND EXISTS (SELECT FROM contact_channel h
                               WHERE h.contact_id = c.contact_id AND h.active) AS reachable
      FROM contact c WHERE contact_id IN (%(contact)s, %(deputy)s) FOR SHARE"""
# Nobody stands in who is away, and nobody goes away who stands in: somebody is always told.
CROSSING: Final = """
    SELECT FROM stand_in
     WHERE (contact_id IN (%(contact)s, %(deputy)s) OR deputy_id = %(contact)s)
       AND starts_at < %(ends_at)s AND ends_at > %(starts_at)s LIMIT 1"""
ADD: Final = """
    INSERT INTO stand_in (contact_id, deputy_id, starts_at, ends_at, reason, made_by, made_at)
    VALUES (%(contact)s, %(deputy)s, %(starts_at)s, %(ends_at)s, %(reason)s, %(made_by)s, %(now)s)
    RETURNING stand_in_id"""
TURN: Final = "SELECT pg_advisory_xact_lock(hashtext('hazardloop.stand_ins'))"


@router.post(
    "/stand-ins",
    status_code=201,
    dependencies=[require("stand_ins.write")],
    responses=problems("not_found", "invalid", "exists"),
)
async def add_stand_in(body: StandInIn, conn: Conn, actor: Actor, now: Now) -> StandIn:
    """From then until then the deputy is told instead. Both are of one side, the deputy reachable.

    Nobody stands in who is away at that time, and nobody goes away who stands in.
    """
    starts_at = body.starts_at or now
    if not starts_at < body.ends_at <= starts_at + LONGEST or body.ends_at <= now:
        raise Problem("invalid", f"ends_at: later than it starts, by at most {LONGEST.days} days")
    if body.contact == body.deputy:
        raise Problem("invalid", "deputy: nobody stands in for themselves")
    values = body.model_dump() | {"starts_at": starts_at, "made_by": actor.username, "now": now}
    await conn.execute(TURN)
    found = {row["contact_id"]: row for row in await fetch(conn, BOTH, values)}
    if len(found) < 2:
        raise Problem("not_found", "contact or deputy is not known here")
    if found[body.contact]["enterprise_id"] != found[body.deputy]["enterprise_id"]:
        raise Problem("invalid", "deputy: of another side")
    if not found[body.deputy]["reachable"]:
        raise Problem("invalid", "deputy: has no channel over which to be told")
    if await fetch_one(conn, CROSSING, values) is not None:
        raise Problem("exists", "one of the two is away or stands in already at that time")
    row = await fetch_one(conn, ADD, values)
    assert row is not None
    return await _noted(conn, row["stand_in_id"], "stand_in", actor, now)


END: Final = """
    UPDATE stand_in SET ends_at = greatest(starts_at, %(now)s)
     WHERE stand_in_id = %(id)s AND ends_at > %(now)s"""


@router.post(
    "/stand-ins/{stand_in}/end",
    dependencies=[require("stand_ins.write")],
    responses=problems("not_found"),
)
async def end_stand_in(stand_in: int, conn: Conn, actor: Actor, now: Now) -> StandIn:
    """Ends it now, or has it not begin; from then on the contact itself is told again."""
    ended = await conn.execute(END, {"id": stand_in, "now": now})
    if ended.rowcount:
        return await _noted(conn, stand_in, "end_stand_in", actor, now)
    row = await fetch_one(conn, ONE, {"id": stand_in})
    if row is None:
        raise Problem("not_found", f"no stand-in {stand_in} is known here")
    return StandIn(**row)


async def _noted(
    conn: Connection, stand_in: int, action: str, actor: Account, now: datetime
) -> StandIn:
    row = await fetch_one(conn, ONE, {"id": stand_in})
    assert row is not None
    shown = StandIn(**row)
    body = shown.model_dump(mode="json", exclude={"made_by", "made_at"})
    await ledger_store.note_act(
        conn,
        Act(
            "contact",
            str(shown.contact),
            action,
            actor.username,
            actor.role,
            now,
            body=body,
            enterprise_id=row["enterprise_id"],
        ),
    )
    return shown


OWN: Final = """
    SELECT c.contact_id, c.post,
           EXISTS (SELECT FROM notice n WHERE n.contact_id = c.contact_id AND n.kind = 'test'
                      AND n.queued_at > clock_timestamp() - %(every)s) AS lately
      FROM contact c WHERE c.user_id = %(user_id)s AND c.active
     ORDER BY c.contact_id FOR UPDATE"""


@router.post(
    "/me/test-notice",
    status_code=202,
    dependencies=[require("notices.read")],
    responses=problems("not_found", "too_many_requests"),
)
async def test_my_notices(conn: Conn, actor: Actor, now: Now) -> Queued:
    """Send yourself a marked test message over every channel; see /notifications for how it went.

    At most one a minute. Where several contacts are yours, the first is tested.
    """
    row = await fetch_one(conn, OWN, {"user_id": actor.user_id, "every": TEST_EVERY})
    if row is None:
        raise Problem("not_found", "you are in no list of contacts: nothing reaches you")
    if row["lately"]:
        raise Problem(
            "too_many_requests",
            "a test was sent within the last minute",
            headers={"Retry-After": str(int(TEST_EVERY.total_seconds()))},
        )
    contact_id = row["contact_id"]
    notice = Notice(NoticeKind.TEST, None, None, None, row["post"], Tier.NONE, None, {}, contact_id)
    (notice_id,) = await notice_store.queue(conn, [notice])
    act = Act("contact", str(contact_id), "test", actor.username, actor.role, now,
              enterprise_id=actor.enterprise_id)  # fmt: skip
    await ledger_store.note_act(conn, act)
    return Queued(notice=notice_id)
