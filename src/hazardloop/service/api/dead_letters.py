"""Messages that were set aside, each with its reason; and taking them again."""

import base64
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, ConfigDict, Field

from hazardloop.service.api.access import Actor, Conn, Now, require
from hazardloop.service.api.paging import Listing, Paging, listing
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.rows import fetch, fetch_one
from hazardloop.service.api.schema import Body, Instant, Out
from hazardloop.service.database import Connection

router = APIRouter(tags=["intake"])

MOST_AT_ONCE: Final = 1_000
"""Letters that one request may ask for."""
LETTER: Final[dict[str, Any]] = {
    "id": 17,
    "received_at": "2026-11-22T01:12:07.120Z",
    "reason": "unknown_point",
    "detail": "GD-999.lel is not registered",
    "topic": "hl/v1/E003/GW-12/telemetry",
    "enterprise": "E003",
    "gateway": "GW-12",
    "payload": '{"ts": 1795300000123, "values": {"GD-999.lel": 1}}',
    "payload_bytes": 51,
    "readings": 1,
    "messages": 1,
    "state": "stored",
}
RETRY: Final[dict[str, Any]] = {
    "asked_at": "2026-11-22T02:00:00.000Z",
    "asked_by": "supervisor",
    "done_at": "2026-11-22T02:00:01.000Z",
    "stored": 1,
    "duplicates": 0,
    "reason": None,
    "detail": None,
}


class DeadLetter(Out):
    """One message set aside, or what stands for many that were only counted."""

    model_config = ConfigDict(json_schema_extra={"examples": [LETTER]})
    id: int
    received_at: Instant
    reason: str
    detail: str
    topic: str
    enterprise: str | None
    gateway: str | None
    payload: str = Field(description="Its first 4,096 bytes; what is not UTF-8 shows as �.")
    payload_bytes: int = Field(description="Its whole length.")
    readings: int = Field(description="How many readings of the message it concerns.")
    messages: int = Field(
        description="1; or how many more there were of this gateway, minute and reason, counted and"
        " not kept."
    )
    state: str = Field(
        description="`kept`; `waiting` to be taken again; `stored` then, in whole or part;"
        " `refused_again`; `stored_before`: it held nothing new; `counted`: there is no payload."
    )


class Retry(Out):
    """That somebody asked for a letter to be taken again, and what came of it."""

    asked_at: Instant
    asked_by: str
    done_at: Instant | None
    stored: int | None = Field(description="Readings.")
    duplicates: int | None = Field(description="Readings that had been stored before.")
    reason: str | None
    detail: str | None


class DeadLetterDetail(DeadLetter):
    """One message set aside, with its bytes and its story."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                LETTER
                | {
                    "payload_base64": "eyJ0cyI6IDE3OTUzMDAwMDAxMjMsIC4uLn0=",
                    "payload_hex": "7b227473223a20313739353330303030303132332c202e2e2e7d",
                    "not_retryable": None,
                    "retries": [RETRY],
                }
            ]
        }
    )
    payload_base64: str
    payload_hex: str
    not_retryable: str | None = Field(description="Why it cannot be taken again; null: it can.")
    retries: list[Retry] = Field(description="Newest last.")


STATE: Final = """CASE
        WHEN l.counted THEN 'counted' WHEN r.retry_id IS NULL THEN 'kept'
        WHEN r.done_at IS NULL THEN 'waiting' WHEN r.stored > 0 THEN 'stored'
        WHEN r.reason IS NOT NULL THEN 'refused_again' ELSE 'stored_before' END"""
LETTERS: Final = f"""
    SELECT l.dead_letter_id AS id, l.received_at, l.reason, l.detail, l.topic, e.code AS enterprise,
           g.code AS gateway, l.payload, l.payload_bytes, l.readings, l.messages, l.counted,
           {STATE} AS state
      FROM dead_letter l LEFT JOIN gateway g USING (gateway_id)
           LEFT JOIN enterprise e ON e.enterprise_id = l.enterprise_id
           LEFT JOIN LATERAL (SELECT retry_id, done_at, stored, reason FROM dead_letter_retry
                               WHERE dead_letter_id = l.dead_letter_id
                               ORDER BY retry_id DESC LIMIT 1) r ON true"""
CHOSEN: Final = """
     WHERE (%(gateway)s::text IS NULL OR g.code = %(gateway)s OR g.gateway_id::text = %(gateway)s
            OR e.code || ':' || g.code = %(gateway)s)
       AND (%(enterprise)s::text IS NULL OR e.code = %(enterprise)s
            OR e.enterprise_id::text = %(enterprise)s)
       AND (%(reason)s::text IS NULL OR l.reason = %(reason)s)
       AND (%(from)s::timestamptz IS NULL OR l.received_at >= %(from)s)
       AND (%(to)s::timestamptz IS NULL OR l.received_at < %(to)s)"""
LIST: Final = f"""{LETTERS}{CHOSEN}
       AND (%(at)s::timestamptz IS NULL
            OR (l.received_at, l.dead_letter_id) < (%(at)s, %(before)s))
     ORDER BY l.received_at DESC, l.dead_letter_id DESC LIMIT %(limit)s"""


@router.get("/dead-letters", dependencies=[require("dead_letters.read")])
async def list_dead_letters(
    conn: Conn,
    page: Paging,
    gateway: str | None = None,
    enterprise: str | None = None,
    reason: str | None = None,
    since: Annotated[AwareDatetime | None, Query(alias="from")] = None,
    until: Annotated[AwareDatetime | None, Query(alias="to")] = None,
) -> Listing[DeadLetter]:
    """Messages set aside, newest first; an enterprise user sees those of its gateways."""
    after = page.after or (None, None)
    if len(after) != 2 or not (after[0] is None or isinstance(after[0], datetime)):
        raise Problem("bad_request", "this cursor is of another list")
    rows = await fetch(
        conn,
        LIST,
        {
            "gateway": gateway,
            "enterprise": enterprise,
            "reason": reason,
            "from": since,
            "to": until,
            "at": after[0],
            "before": after[1],
            "limit": page.limit + 1,
        },
    )
    return listing([_letter(row) for row in rows], page, key=lambda one: (one.received_at, one.id))


@router.get(
    "/dead-letters/{dead_letter_id}",
    dependencies=[require("dead_letters.read")],
    responses=problems("not_found"),
)
async def get_dead_letter(dead_letter_id: int, conn: Conn) -> DeadLetterDetail:
    """One message set aside: its bytes as they came, who sent it, and what became of it."""
    return await _detail(conn, dead_letter_id)


# One open request a letter: asking again while one is open changes nothing.
ASK: Final = """
    INSERT INTO dead_letter_retry (dead_letter_id, asked_at, asked_by)
    SELECT id, %(now)s, %(asked_by)s FROM unnest(%(ids)s::bigint[]) AS id
    ON CONFLICT (dead_letter_id) WHERE done_at IS NULL DO NOTHING"""


@router.post(
    "/dead-letters/{dead_letter_id}/retry",
    status_code=202,
    dependencies=[require("dead_letters.retry")],
    responses=problems("not_found", "not_retryable"),
)
async def retry_dead_letter(
    dead_letter_id: int, conn: Conn, actor: Actor, now: Now
) -> DeadLetterDetail:
    """Have a message taken again, by the registry as it is now; a worker does so within seconds.

    It counts as received when it was, its alarms as found late. Asking twice is harmless: what was
    stored stays stored once. What comes of it stands in `retries`.
    """
    letter = await _detail(conn, dead_letter_id)
    if letter.not_retryable:
        raise Problem("not_retryable", letter.not_retryable)
    settled = letter.state == "stored" and letter.retries[-1].reason is None
    if letter.state != "waiting" and not settled:
        await _ask(conn, [letter.id], actor.user_id, now)
        letter = await _detail(conn, dead_letter_id)
    return letter


class RetryIn(Body):
    """Which messages to take again: all that fit, oldest first."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"gateway": "E003:GW-12", "reason": "unknown_point"}]}
    )
    gateway: str | None = None
    enterprise: str | None = None
    reason: str | None = None
    since: AwareDatetime | None = Field(default=None, alias="from")
    until: AwareDatetime | None = Field(default=None, alias="to")
    limit: int = Field(default=MOST_AT_ONCE, ge=1, le=MOST_AT_ONCE)


class RetryOut(Out):
    """How many were asked for."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"asked": 118, "left": 0}]})
    asked: int
    left: int = Field(description="That fit as well, beyond the limit: ask again.")


# What was taken again without success may be tried again, but not by the dozen in one request.
FITTING: Final = f"""
    SELECT id, count(*) OVER () AS fitting FROM ({LETTERS}{CHOSEN}
       AND NOT l.counted AND l.payload_bytes = octet_length(l.payload) AND l.payload_bytes > 0) x
     WHERE state = 'kept' OR state = 'refused_again' AND id NOT IN (
           SELECT dead_letter_id FROM dead_letter_retry WHERE done_at > %(now)s - interval '1 min')
     ORDER BY received_at, id LIMIT %(limit)s"""


@router.post(
    "/dead-letters/retry",
    status_code=202,
    dependencies=[require("dead_letters.retry")],
    responses=problems("invalid"),
)
async def retry_dead_letters(body: RetryIn, conn: Conn, actor: Actor, now: Now) -> RetryOut:
    """Have all messages of a gateway, enterprise or reason taken again, at most 1,000 at once.

    Those cut, only counted, waiting or stored already are left out; so are those that were refused
    again within the last minute.
    """
    if not (body.gateway or body.enterprise or body.reason):
        raise Problem("invalid", "gateway, enterprise, reason: name at least one of them")
    chosen = body.model_dump(by_alias=True) | {"now": now}
    rows = await fetch(conn, FITTING, chosen)
    asked = await _ask(conn, [row["id"] for row in rows], actor.user_id, now)
    return RetryOut(asked=asked, left=rows[0]["fitting"] - len(rows) if rows else 0)


async def _ask(conn: Connection, letters: list[int], user_id: int, now: datetime) -> int:
    cursor = await conn.execute(ASK, {"ids": letters, "asked_by": user_id, "now": now})
    return cursor.rowcount


RETRIES: Final = """
    SELECT asked_at, username AS asked_by, done_at, stored, duplicates, reason, detail
      FROM dead_letter_retry JOIN user_account ON user_id = asked_by
     WHERE dead_letter_id = %(id)s ORDER BY retry_id"""


async def _detail(conn: Connection, dead_letter_id: int) -> DeadLetterDetail:
    row = await fetch_one(conn, f"{LETTERS} WHERE dead_letter_id = %(id)s", {"id": dead_letter_id})
    if row is None:
        raise Problem("not_found", f"no dead letter {dead_letter_id} is known here")
    return DeadLetterDetail(
        **_letter(row).model_dump(),
        payload_base64=base64.b64encode(row["payload"]).decode(),
        payload_hex=row["payload"].hex(),
        not_retryable=_why_not(row),
        retries=[Retry(**one) for one in await fetch(conn, RETRIES, {"id": dead_letter_id})],
    )


def _why_not(row: dict[str, Any]) -> str | None:
    kept, whole = len(row["payload"]), row["payload_bytes"]
    if row["counted"]:
        return f"{row['messages']} messages were counted here and not kept"
    if kept == 0:
        return "there is no payload: the broker dropped it, or it was empty"
    if kept < whole:
        return f"only {kept} of its {whole} bytes were kept"
    return None


def _letter(row: dict[str, Any]) -> DeadLetter:
    return DeadLetter(**row | {"payload": row["payload"].decode("utf-8", "replace")})
