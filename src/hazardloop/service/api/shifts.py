"""Watches of the centre: who stands them, how they are handed over, and their log."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from psycopg import errors
from pydantic import AwareDatetime, ConfigDict, Field

from hazardloop.alarms import ledger_store, shift_store
from hazardloop.alarms.handover import ALLOWED, Sheet, SheetState, SheetStep, not_by, not_now
from hazardloop.alarms.ledger_store import Act
from hazardloop.service.api.access import Account, Actor, Conn, Now, require
from hazardloop.service.api.paging import Listing, Paging, listing
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.rows import fetch
from hazardloop.service.api.schema import Body, Instant, Name, Out, Text
from hazardloop.service.database import Connection

router = APIRouter(tags=["shifts"])

MOST_SHIFTS: Final = 400
STANDS: Final[dict[str, Any]] = {
    "post": "duty_supervisor",
    "username": "wang",
    "display_name": "王五",
}
SECTION: Final[dict[str, Any]] = {"total": 0, "items": []}
SHIFT: Final[dict[str, Any]] = {
    "id": 7,
    "name": "白班",
    "starts_at": "2026-11-22T00:00:00.000Z",
    "ends_at": "2026-11-22T12:00:00.000Z",
    "roster": [STANDS],
    "state": "draft",
    "notes": "3 号罐检修中",
    "submitted_by": None,
    "submitted_at": None,
    "accepted_by": None,
    "accepted_at": None,
    "allowed": ["write", "submit"],
}


class Stands(Body):
    """Who stands a watch, and as what."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"post": "operator", "username": "li"}]}
    )
    post: Literal["operator", "duty_supervisor"]
    username: Name


class ShiftIn(Body):
    """A watch to come."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "白班",
                    "starts_at": "2026-11-22T00:00:00Z",
                    "ends_at": "2026-11-22T12:00:00Z",
                    "roster": [{"post": "duty_supervisor", "username": "wang"}],
                }
            ]
        }
    )
    name: Name
    starts_at: AwareDatetime
    ends_at: AwareDatetime = Field(description="At most 24 h after the start.")
    roster: list[Stands] = Field(min_length=1, max_length=50)


class StandsOut(Out):
    """One of the roster."""

    model_config = ConfigDict(json_schema_extra={"examples": [STANDS]})
    post: str
    username: str
    display_name: str


class ShiftOut(Out):
    """A watch and how far its sheet is."""

    model_config = ConfigDict(json_schema_extra={"examples": [SHIFT]})
    id: int
    name: str
    starts_at: Instant
    ends_at: Instant
    roster: list[StandsOut]
    state: SheetState
    notes: str
    submitted_by: str | None
    submitted_at: Instant | None
    accepted_by: str | None
    accepted_at: Instant | None
    allowed: list[SheetStep] = Field(description="What may be done with the sheet now.")


class SheetOut(ShiftOut):
    """A watch with its sheet."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [SHIFT | {"sheet": dict.fromkeys(shift_store.SECTIONS, SECTION)}]
        }
    )
    sheet: dict[str, Any] = Field(
        description="What stands open, by section with its total; as it is until the sheet is"
        " signed, then as it was."
    )


class CurrentOut(Out):
    """Who stands watch now."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"shift": SHIFT, "duty_supervisor": STANDS, "next": None}]}
    )
    shift: ShiftOut | None = Field(description="null: nobody was entered for now.")
    duty_supervisor: StandsOut | None
    next: ShiftOut | None


class NotesIn(Body):
    """What the outgoing operator has to say."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"notes": "3 号罐检修中"}]})
    notes: Text


def _state(row: dict[str, Any]) -> SheetState:
    if row["accepted_at"]:
        return SheetState.ACCEPTED
    return SheetState.SUBMITTED if row["submitted_at"] else SheetState.DRAFT


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    state = _state(row)
    return row | {"id": row["shift_id"], "state": state, "allowed": list(ALLOWED[state])}


@router.get("/shifts", dependencies=[require("shifts.read")])
async def list_shifts(
    conn: Conn,
    now: Now,
    start: Annotated[AwareDatetime | None, Query(alias="from", description="A day ago.")] = None,
    end: Annotated[AwareDatetime | None, Query(alias="to", description="In a fortnight.")] = None,
) -> Listing[ShiftOut]:
    """The watches of a period, in order; at most 400."""
    rows = await shift_store.between(
        conn, start or now - timedelta(days=1), end or now + timedelta(days=14), MOST_SHIFTS
    )
    return Listing(items=[ShiftOut.model_validate(_shown(row)) for row in rows])


@router.post(
    "/shifts",
    status_code=201,
    dependencies=[require("shifts.write")],
    responses=problems("exists", "invalid"),
)
async def post_shift(body: ShiftIn, conn: Conn, actor: Actor, now: Now) -> ShiftOut:
    """Enter a watch and who stands it; watches follow one another and never overlap."""
    if not timedelta() < body.ends_at - body.starts_at <= timedelta(hours=24):
        raise Problem("invalid", "a shift ends after it starts, at most 24 h later")
    if sum(one.post == "duty_supervisor" for one in body.roster) > 1:
        raise Problem("invalid", "a shift has one duty supervisor")
    roster = list(dict.fromkeys((one.post, one.username) for one in body.roster))
    values = body.model_dump(exclude={"roster"}) | {"by": actor.username, "now": now}
    try:
        shift_id, standing = await shift_store.plan(conn, values, roster)
    except errors.ExclusionViolation as error:
        raise Problem("exists", "another shift stands watch in part of that time") from error
    if standing < len(roster):
        raise Problem(
            "invalid",
            "a watch is stood by active users who are operator or supervisor,"
            " and its duty supervisor is a supervisor",
        )
    await _note(conn, actor, now, shift_id, "plan", body.model_dump(mode="json"))
    return ShiftOut.model_validate(_shown(await _held(conn, shift_id)))


@router.get("/shifts/current", dependencies=[require("shifts.read")])
async def get_current(conn: Conn, now: Now) -> CurrentOut:
    """Who stands watch now, who is duty supervisor, and who comes next."""
    row = await shift_store.current(conn, now)
    coming = await shift_store.following(conn, row["ends_at"] if row else now)
    stand = [one for one in row["roster"] if one["post"] == "duty_supervisor"] if row else []
    return CurrentOut(
        shift=ShiftOut.model_validate(_shown(row)) if row else None,
        duty_supervisor=StandsOut.model_validate(stand[0]) if stand else None,
        next=ShiftOut.model_validate(_shown(coming)) if coming else None,
    )


@router.get(
    "/shifts/{shift_id}", dependencies=[require("shifts.read")], responses=problems("not_found")
)
async def get_shift(shift_id: int, conn: Conn, now: Now) -> SheetOut:
    """A watch with its sheet."""
    return await _sheet(conn, await _held(conn, shift_id), now)


@router.put(
    "/shifts/{shift_id}",
    dependencies=[require("shifts.hand_over")],
    responses=problems("forbidden", "not_found", "sheet_refused"),
)
async def put_notes(shift_id: int, body: NotesIn, conn: Conn, actor: Actor, now: Now) -> SheetOut:
    """Write the notes of a sheet, until it is submitted."""
    await _allow(conn, shift_id, SheetStep.WRITE, actor)
    await shift_store.keep_notes(conn, shift_id, body.notes)
    return await _sheet(conn, await _held(conn, shift_id), now)


@router.post(
    "/shifts/{shift_id}/submit",
    dependencies=[require("shifts.hand_over")],
    responses=problems("forbidden", "not_found", "sheet_refused"),
)
async def submit_shift(shift_id: int, conn: Conn, actor: Actor, now: Now) -> SheetOut:
    """Sign as the outgoing operator: what stands open is frozen on the sheet."""
    await _allow(conn, shift_id, SheetStep.SUBMIT, actor)
    await shift_store.submit(conn, shift_id, actor.username, now)
    return await _signed(conn, actor, now, shift_id, SheetStep.SUBMIT)


@router.post(
    "/shifts/{shift_id}/accept",
    dependencies=[require("shifts.hand_over")],
    responses=problems("forbidden", "not_found", "sheet_refused"),
)
async def accept_shift(shift_id: int, conn: Conn, actor: Actor, now: Now) -> SheetOut:
    """Sign as the incoming operator, another person: the sheet does not change any more."""
    await _allow(conn, shift_id, SheetStep.ACCEPT, actor)
    await shift_store.accept(conn, shift_id, actor.username, now)
    return await _signed(conn, actor, now, shift_id, SheetStep.ACCEPT)


async def _held(conn: Connection, shift_id: int) -> dict[str, Any]:
    row = await shift_store.held(conn, shift_id) if shift_id < 2**31 else None
    if row is None:
        raise Problem("not_found", f"shift {shift_id} is not known here")
    return row


async def _allow(conn: Connection, shift_id: int, step: SheetStep, actor: Account) -> None:
    """Holds the shift. Problem sheet_refused, forbidden: the step is not for now, not for them."""
    row = await _held(conn, shift_id)
    coming = await shift_store.following(conn, row["ends_at"])
    sheet = Sheet(
        _state(row),
        row["submitted_by"],
        [one["username"] for one in row["roster"]],
        [one["username"] for one in coming["roster"]] if coming else [],
    )
    if reason := not_now(sheet, step):
        raise Problem(
            "sheet_refused", reason, state=sheet.state, allowed=list(ALLOWED[sheet.state])
        )
    if reason := not_by(sheet, step, actor.as_actor):
        raise Problem("forbidden", reason)


async def _sheet(conn: Connection, row: dict[str, Any], now: datetime) -> SheetOut:
    sheet = row["snapshot"] or await shift_store.snapshot(conn, now)
    return SheetOut.model_validate(_shown(row) | {"sheet": sheet})


async def _signed(
    conn: Connection, actor: Account, now: datetime, shift_id: int, step: SheetStep
) -> SheetOut:
    row = await _held(conn, shift_id)
    totals = {name: section["total"] for name, section in row["snapshot"].items()}
    await _note(conn, actor, now, shift_id, step, {"notes": row["notes"], "totals": totals})
    return await _sheet(conn, row, now)


async def _note(
    conn: Connection,
    actor: Account,
    now: datetime,
    shift_id: int,
    action: str,
    body: dict[str, Any],
) -> None:
    act = Act("shift", str(shift_id), action, actor.username, actor.role, now, body=body)
    await ledger_store.note_act(conn, act)


LINE: Final[dict[str, Any]] = {
    "id": 12,
    "shift_id": 7,
    "category": "call",
    "text": "已电话通知企业值班员",
    "alarm_id": None,
    "written_by": "li",
    "written_at": "2026-11-22T01:20:00.000Z",
}


class LineIn(Body):
    """Something worth writing down."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"category": "call", "text": "已电话通知企业值班员"}]}
    )
    category: str = Field(pattern=r"^[a-z_]{1,40}$", examples=["call"])
    text: Text = Field(min_length=1)
    alarm_id: UUID | None = None


class LineOut(Out):
    """A line of the log."""

    model_config = ConfigDict(json_schema_extra={"examples": [LINE]})
    id: int
    shift_id: int | None
    category: str
    text: str
    alarm_id: UUID | None
    written_by: str
    written_at: Instant


_LINE: Final = """
    log_id AS id, shift_id, category, body AS text, alarm_id, written_by, written_at"""
LINES: Final = f"""
    SELECT {_LINE} FROM duty_log
     WHERE (%(shift)s::int IS NULL OR shift_id = %(shift)s)
       AND (%(category)s::text IS NULL OR category = %(category)s)
       AND (%(words)s::text IS NULL OR position(%(words)s IN body) > 0)
       AND (%(after)s::bigint IS NULL OR log_id < %(after)s)
     ORDER BY log_id DESC LIMIT %(limit)s"""
WRITE_LINE: Final = f"""
    INSERT INTO duty_log (shift_id, category, body, alarm_id, written_by, written_at)
    VALUES ((SELECT shift_id FROM shift WHERE starts_at <= %(now)s AND ends_at > %(now)s),
            %(category)s, %(text)s, %(alarm_id)s, %(by)s, %(now)s)
    RETURNING {_LINE}"""


@router.get("/log", dependencies=[require("shifts.read")])
async def list_log(
    conn: Conn,
    page: Paging,
    shift: Annotated[int | None, Query(ge=1, lt=2**31)] = None,
    category: str | None = None,
    q: Annotated[str | None, Query(max_length=200, description="Words in the text.")] = None,
) -> Listing[LineOut]:
    """The log of the watch, newest first."""
    if page.after and not isinstance(page.after[0], int):
        raise Problem("bad_request", "this cursor is none that this list gave")
    wanted = {
        "shift": shift,
        "category": category,
        "words": q,
        "after": page.after[0] if page.after else None,
        "limit": page.limit + 1,
    }
    rows = [LineOut.model_validate(row) for row in await fetch(conn, LINES, wanted)]
    return listing(rows, page, key=lambda line: (line.id,))


@router.post(
    "/log",
    status_code=201,
    dependencies=[require("shifts.hand_over")],
    responses=problems("not_found"),
)
async def post_line(body: LineIn, conn: Conn, actor: Actor, now: Now) -> LineOut:
    """Write a line; it belongs to the watch that stands now, and nobody changes it."""
    values = body.model_dump() | {"by": actor.username, "now": now}
    try:
        (row,) = await fetch(conn, WRITE_LINE, values)
    except errors.ForeignKeyViolation as error:
        raise Problem("not_found", f"alarm {body.alarm_id} is not known here") from error
    return LineOut.model_validate(row)
