"""Alarm floods at the centre's desk: the one that goes on, those that were, and a note on each."""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, ConfigDict, Field

from hazardloop.alarms import flood_store
from hazardloop.service.api.access import Actor, Conn, Now, require
from hazardloop.service.api.paging import Listing, Paging, listing
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.rows import fetch
from hazardloop.service.api.schema import Body, Instant, Out, Text
from hazardloop.service.database import Connection

router = APIRouter(tags=["alarms"])

FLOOD: Final[dict[str, Any]] = {
    "id": 3,
    "from": "2026-11-22T01:12:07.120Z",
    "to": "2026-11-22T01:41:00.000Z",
    "seats": 1,
    "alarms": 37,
    "peak": 21,
    "first_out": "6f2c3f43-7c0e-5b0a-9a56-0d4c36f0c0de",
    "note": "全厂停电，UPS 供电恢复后逐台复位",
    "noted_by": "li",
    "noted_at": "2026-11-22T02:05:00.000Z",
}


FLOOD_NOW: Final[dict[str, Any]] = {
    "on": True,
    "id": 3,
    "since": FLOOD["from"],
    "n": 12,
    "peak": 12,
    "seats": 1,
    "first_out": FLOOD["first_out"],
}


class FloodNowOut(Out):
    """Whether there is an alarm flood (ISA-18.2), and how bad it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [FLOOD_NOW]})
    on: bool
    id: int | None = Field(description="As in `/alarm-floods`.")
    since: Instant | None
    n: int = Field(description="Alarms raised in it.")
    peak: int = Field(description="Most in any 10 minutes.")
    seats: int = Field(description="Operators who shared it when it began.")
    first_out: UUID | None = Field(description="The alarm with which it began.")


class FloodOut(Out):
    """A time with more new alarms than the operators on watch can deal with."""

    model_config = ConfigDict(json_schema_extra={"examples": [FLOOD]})
    id: int
    start: Instant = Field(alias="from", description="The raise that made it one.")
    end: Instant | None = Field(alias="to", description="null: it goes on.")
    seats: int = Field(description="Operators on the roster when it began; 1 where there is none.")
    alarms: int = Field(description="Raised in it, those that made it one included.")
    peak: int = Field(description="Most in any 10 minutes.")
    first_out: UUID = Field(description="The alarm with which it began.")
    note: str | None
    noted_by: str | None
    noted_at: Instant | None


class FloodNote(Body):
    """What it was, and what is to be done so that it does not come again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"note": FLOOD["note"]}]})
    note: Text = Field(min_length=1)


FLOODS: Final = """
    SELECT * FROM alarm_flood
     WHERE (ended_at IS NULL OR ended_at >= %(from)s OR %(from)s::timestamptz IS NULL)
       AND (began_at < %(to)s OR %(to)s::timestamptz IS NULL)
       AND (flood_id < %(before)s OR %(before)s::int IS NULL)
     ORDER BY flood_id DESC LIMIT %(limit)s"""


def shown(row: dict[str, Any]) -> FloodOut:
    """A row of the table as it is told."""
    told = row | {"id": row["flood_id"], "from": row["began_at"], "to": row["ended_at"]}
    return FloodOut.model_validate(told)


async def floods_between(conn: Connection, start: datetime, end: datetime) -> list[FloodOut]:
    """Floods of which some part lies in [start, end), newest first; at most 1,000."""
    asked = {"from": start, "to": end, "before": None, "limit": 1_000}
    return [shown(row) for row in await fetch(conn, FLOODS, asked)]


@router.get(
    "/alarm-floods",
    dependencies=[require("shifts.read")],
    responses=problems("bad_request"),
)
async def list_floods(
    conn: Conn,
    page: Paging,
    start: Annotated[AwareDatetime | None, Query(alias="from", description="Not over by.")] = None,
    end: Annotated[AwareDatetime | None, Query(alias="to", description="Begun before.")] = None,
) -> Listing[FloodOut]:
    """Floods as they were written down, newest first; the first has no `to` while it goes on."""
    if page.after and [type(part) for part in page.after] != [int]:
        raise Problem("bad_request", "this cursor is none that this list gave")
    before = page.after[0] if page.after else None
    asked = {"from": start, "to": end, "before": before, "limit": page.limit + 1}
    rows = await fetch(conn, FLOODS, asked)
    return listing([shown(row) for row in rows], page, lambda one: (one.id,))


@router.post(
    "/alarm-floods/{flood_id}/note",
    dependencies=[require("shifts.hand_over")],
    responses=problems("not_found", "changed"),
)
async def post_note(flood_id: int, body: FloodNote, conn: Conn, actor: Actor, now: Now) -> FloodOut:
    """Close the record of a flood that is over with a note; it is written once."""
    before = await flood_store.kept(conn, flood_id) if flood_id < 2**31 else None
    if before is None:
        raise Problem("not_found", f"flood {flood_id} is not known here")
    row = await flood_store.note(conn, flood_id, body.note, (actor.username, actor.role), now)
    if row is None:
        why = "it goes on: note it when it is over" if before["ended_at"] is None else "it has one"
        raise Problem("changed", f"flood {flood_id} takes no note: {why}")
    return shown(row)
