"""What people were told, over which channel, when, and what came of it."""

from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import ConfigDict, Field

from hazardloop.alarms import ledger_store, notice_store
from hazardloop.alarms.alarm import Tier
from hazardloop.alarms.ledger_store import Act
from hazardloop.service.api import lookup
from hazardloop.service.api.access import Actor, Conn, Now, require
from hazardloop.service.api.paging import Listing, Paging, listing
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.rows import fetch
from hazardloop.service.api.schema import Instant, Out
from hazardloop.service.database import Connection
from hazardloop.service.notification.delivering import delivery_key

router = APIRouter(tags=["notices"])

State = Literal["waiting", "held", "sending", "sent", "undeliverable"]
SHOWN: Final[dict[str, Any]] = {
    "id": 815,
    "kind": "dispatched",
    "tier": "red",
    "case_id": "0e8a9f3c-5a41-5b0e-8d4e-2f6b7a1c9d20",
    "alarm_id": "3b4e9a1c-5a41-5b0e-8d4e-2f6b7a1c9d21",
    "enterprise": "E003",
    "party": "enterprise",
    "post": "assignee",
    "due_at": "2026-11-22T01:17:07.120Z",
    "queued_at": "2026-11-22T01:12:07.131Z",
    "state": "sent",
    "reason": None,
    "messages": [
        {
            "id": 402,
            "contact": 7,
            "name": "王芳",
            "tier": "red",
            "state": "sent",
            "send_at": "2026-11-22T01:12:07.140Z",
            "sent_at": "2026-11-22T01:12:07.610Z",
            "too_few": False,
            "read_at": "2026-11-22T01:13:20.000Z",
            "read_by": "link",
            "notices": 1,
            "deliveries": [
                {
                    "key": "HL-402-11",
                    "channel": "sms",
                    "shown": "138…5678",
                    "attempt": 1,
                    "began_at": "2026-11-22T01:12:07.150Z",
                    "ended_at": "2026-11-22T01:12:07.600Z",
                    "result": "delivered",
                    "answer": '200 {"code":"OK"}',
                }
            ],
        }
    ],
}


class DeliveryOut(Out):
    """One attempt over one channel."""

    key: str = Field(description="The same for each attempt of a message over a channel.")
    channel: str
    shown: str
    attempt: int
    began_at: Instant
    ended_at: Instant | None
    result: str = Field(
        description="`sending`, `delivered`, `failed`; `interrupted`: the clerk ended meanwhile, it"
        " may have arrived and is repeated under the same key."
    )
    answer: str | None = Field(description="Of the provider, cut.")


class MessageOut(Out):
    """What one contact got or will get."""

    id: int
    contact: int
    name: str
    tier: str
    state: str
    send_at: Instant
    sent_at: Instant | None
    too_few: bool = Field(description="Red, and fewer than two channels could take it.")
    read_at: Instant | None
    read_by: str | None = Field(description="`link`: opened; `sign`: the case was signed.")
    notices: int = Field(description="That it carries; more than one where they were grouped.")
    deliveries: list[DeliveryOut]


class NoticeOut(Out):
    """What somebody had to know, and how they were told."""

    model_config = ConfigDict(json_schema_extra={"examples": [SHOWN]})
    id: int
    kind: str
    tier: str
    case_id: UUID | None
    alarm_id: UUID | None
    enterprise: str | None
    party: str | None
    post: str
    due_at: Instant | None
    queued_at: Instant
    state: State
    reason: str | None = Field(
        description="`no_contact`: nobody stands at the post; `no_channel`; `given_up` after 24 h;"
        " `too_few_channels`: sent, though red went out over one only; `silenced`: held."
    )
    messages: list[MessageOut]


NOTICES: Final = """
    SELECT n.notice_id AS id, n.kind, n.tier, n.case_id, n.alarm_id, e.code AS enterprise, n.party,
           n.post, n.due_at, n.queued_at, n.state, n.reason
      FROM notice n LEFT JOIN enterprise e USING (enterprise_id)"""
LIST: Final = f"""{NOTICES}
     WHERE (%(state)s::text IS NULL OR n.state = %(state)s)
       AND (%(kind)s::text IS NULL OR n.kind = %(kind)s)
       AND (%(case)s::uuid IS NULL OR n.case_id = %(case)s)
       AND (%(alarm)s::uuid IS NULL OR n.alarm_id = %(alarm)s)
       AND {lookup.matches("enterprise", "enterprise")}
       AND (%(too_few)s::boolean IS NULL
            OR coalesce(n.reason = 'too_few_channels', false) = %(too_few)s)
       AND (%(before)s::bigint IS NULL OR n.notice_id < %(before)s)
     ORDER BY n.notice_id DESC LIMIT %(limit)s"""
OF_CASE: Final = f"{NOTICES} WHERE n.case_id = %(case_id)s ORDER BY n.notice_id DESC LIMIT 200"
MESSAGES: Final = """
    SELECT i.notice_id, m.message_id AS id, m.contact_id AS contact, c.name, m.tier, m.state,
           m.send_at, m.sent_at, m.too_few, m.read_at, m.read_by,
           (SELECT count(*) FROM notice_in_message o WHERE o.message_id = m.message_id) AS notices
      FROM notice_in_message i JOIN notice_message m USING (message_id)
           JOIN contact c USING (contact_id)
     WHERE i.notice_id = ANY (%(ids)s::bigint[]) ORDER BY m.message_id"""
DELIVERIES: Final = """
    SELECT d.message_id, d.channel_id, h.kind AS channel, h.shown, d.attempt, d.began_at,
           d.ended_at, d.result, d.answer
      FROM notice_delivery d JOIN contact_channel h USING (channel_id)
     WHERE d.message_id = ANY (%(ids)s::bigint[]) ORDER BY d.began_at, d.channel_id"""


@router.get("/notifications", dependencies=[require("notices.read")])
async def list_notifications(
    conn: Conn,
    page: Paging,
    state: Annotated[
        State | None, Query(description="`undeliverable`: nobody could be told; see the reason.")
    ] = None,
    kind: Annotated[str | None, Query(max_length=40)] = None,
    case: UUID | None = None,
    alarm: UUID | None = None,
    enterprise: Annotated[str | None, Query(description="Id or code.")] = None,
    too_few: Annotated[
        bool | None, Query(description="Red that went out over one channel only.")
    ] = None,
) -> Listing[NoticeOut]:
    """Notices, newest first, with each message and attempt."""
    wanted = {
        "state": state,
        "kind": kind,
        "case": case,
        "alarm": alarm,
        "enterprise": enterprise,
        "too_few": too_few,
        "before": page.after[0] if page.after else None,
        "limit": page.limit + 1,
    }
    notices = await _whole(conn, await fetch(conn, LIST, wanted))
    return listing(notices, page, key=lambda one: (one.id,))


@router.get(
    "/cases/{case_id}/notices",
    dependencies=[require("notices.read")],
)
async def list_case_notices(case_id: UUID, conn: Conn) -> Listing[NoticeOut]:
    """Who was told of a case, newest first; the last 200."""
    return Listing(items=await _whole(conn, await fetch(conn, OF_CASE, {"case_id": case_id})))


AGAIN: Final = """
    UPDATE notice SET state = 'waiting', reason = NULL
     WHERE notice_id = %(id)s AND state IN ('sent', 'undeliverable') RETURNING enterprise_id"""
ONE: Final = f"{NOTICES} WHERE n.notice_id = %(id)s"


@router.post(
    "/notifications/{notice_id}/resend",
    status_code=202,
    dependencies=[require("notices.resend")],
    responses=problems("not_found", "still_under_way"),
)
async def resend_notification(notice_id: int, conn: Conn, actor: Actor, now: Now) -> NoticeOut:
    """Tell it again, to whoever stands at the post now, in a new message."""
    rows = await fetch(conn, ONE, {"id": notice_id})
    if not rows:
        raise Problem("not_found", f"no notice {notice_id} is known here")
    again = await fetch(conn, AGAIN, {"id": notice_id})
    if not again:
        raise Problem("still_under_way", f"notice {notice_id} is {rows[0]['state']}")
    await notice_store.send(conn, [notice_id])
    act = Act(
        "notice",
        str(notice_id),
        "resend",
        actor.username,
        actor.role,
        now,
        enterprise_id=again[0]["enterprise_id"],
    )
    await ledger_store.note_act(conn, act)
    return (await _whole(conn, await fetch(conn, ONE, {"id": notice_id})))[0]


async def _whole(conn: Connection, rows: list[dict[str, Any]]) -> list[NoticeOut]:
    """Notices with their messages and attempts, as far as the asker may see them."""
    messages = await fetch(conn, MESSAGES, {"ids": [row["id"] for row in rows]})
    ids = list({message["id"] for message in messages})
    tried: dict[int, list[DeliveryOut]] = {}
    for row in await fetch(conn, DELIVERIES, {"ids": ids}):
        key = delivery_key(row["message_id"], row["channel_id"])
        tried.setdefault(row["message_id"], []).append(DeliveryOut(**row, key=key))
    told: dict[int, list[MessageOut]] = {}
    for row in messages:
        shown = row | {"tier": Tier(row["tier"]).wire, "deliveries": tried.get(row["id"], [])}
        told.setdefault(row["notice_id"], []).append(MessageOut(**shown))
    return [
        NoticeOut(**row | {"tier": Tier(row["tier"]).wire, "messages": told.get(row["id"], [])})
        for row in rows
    ]
