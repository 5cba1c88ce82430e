"""Messages that were set aside, each with its reason."""

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, ConfigDict, Field

from hazardloop.service.api.access import Conn, require
from hazardloop.service.api.paging import Listing, Paging, listing
from hazardloop.service.api.problems import Problem
from hazardloop.service.api.rows import fetch
from hazardloop.service.api.schema import Instant, Out

router = APIRouter(tags=["intake"])


class DeadLetter(Out):
    """One message set aside."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
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
                }
            ]
        }
    )
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


LIST: Final = """
    SELECT l.dead_letter_id AS id, l.received_at, l.reason, l.detail, l.topic, e.code AS enterprise,
           g.code AS gateway, l.payload, l.payload_bytes, l.readings
      FROM dead_letter l LEFT JOIN gateway g USING (gateway_id)
           LEFT JOIN enterprise e ON e.enterprise_id = l.enterprise_id
     WHERE (%(gateway)s::text IS NULL OR g.code = %(gateway)s OR g.gateway_id::text = %(gateway)s
            OR e.code || ':' || g.code = %(gateway)s)
       AND (%(enterprise)s::text IS NULL OR e.code = %(enterprise)s
            OR e.enterprise_id::text = %(enterprise)s)
       AND (%(reason)s::text IS NULL OR l.reason = %(reason)s)
       AND (%(from)s::timestamptz IS NULL OR l.received_at >= %(from)s)
       AND (%(to)s::timestamptz IS NULL OR l.received_at < %(to)s)
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


def _letter(row: dict[str, Any]) -> DeadLetter:
    return DeadLetter(**row | {"payload": row["payload"].decode("utf-8", "replace")})
