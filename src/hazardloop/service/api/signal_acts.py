"""What people do to an alarm's signal: acknowledge it, take that back, reset a latch."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from fastapi import APIRouter
from pydantic import ConfigDict, Field, model_validator

from hazardloop.alarms.alarm import Tier
from hazardloop.alarms.errors import SignalRefused
from hazardloop.alarms.signal import Event, next_state, state_of
from hazardloop.service.api.access import Account, Actor, Conn, Now, require
from hazardloop.service.api.alarm_views import (
    SELECT,
    UNDO_WITHIN,
    Alarm,
    allowed_acts,
    may_undo,
    signal_of,
)
from hazardloop.service.api.alarms import alarm_by_id
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.rows import fetch_one
from hazardloop.service.api.schema import Body, Text
from hazardloop.service.database import Connection

router = APIRouter(tags=["alarms"])


class PlaceIn(Body):
    """Where somebody is: in words, on the map, or both."""

    text: str | None = Field(default=None, min_length=1, max_length=200, pattern=r"^[^\x00]*$")
    latitude: float | None = Field(default=None, ge=-90, le=90, description="Degrees, WGS 84.")
    longitude: float | None = Field(default=None, ge=-180, le=180)

    @model_validator(mode="after")
    def _says_where(self) -> "PlaceIn":
        if (self.latitude is None) != (self.longitude is None):
            raise ValueError("latitude and longitude go together")
        if self.text is None and self.latitude is None:
            raise ValueError("a place is a text, or latitude and longitude")
        return self


class AcknowledgeIn(Body):
    """That a person saw an alarm."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"version": 3, "note": "已电话核实", "place": {"text": "中控室 2 号席"}}]
        }
    )
    version: int | None = Field(
        default=None,
        ge=1,
        le=2**31 - 1,
        description="What was seen; refused if the tier rose since.",
    )
    note: Text | None = None
    place: PlaceIn | None = None


class UnacknowledgeIn(Body):
    """That it was a mistake."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"note": "误点"}]})
    note: Text | None = None


class ResetIn(Body):
    """That a latched alarm may leave the list."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"note": "现场已复位"}]})
    note: Text | None = None
    acknowledge: bool = Field(
        default=False, description="Acknowledges with the same act what nobody has acknowledged."
    )


LOCK: Final = "SELECT FROM alarm WHERE alarm_id = %(id)s FOR NO KEY UPDATE"
TIER_SEEN: Final = """
    SELECT max(tier) FROM alarm_change
     WHERE alarm_id = %(id)s AND change IN ('raised', 'tier')
       AND (%(seen)s::int IS NULL OR version <= %(seen)s)"""


async def locked(conn: Connection, alarm_id: UUID, now: datetime) -> dict[str, Any]:
    """The alarm's row of SELECT, kept until the transaction ends. Problem not_found."""
    await conn.execute(LOCK, {"id": alarm_id})
    query = f"{SELECT} WHERE a.alarm_id = %(id)s"
    row = await fetch_one(conn, query, {"id": alarm_id, "now": now})
    if row is None:
        raise Problem("not_found", f"no alarm {alarm_id} is known here")
    return row


def refuse_unless(event: Event, row: dict[str, Any], account: Account, now: datetime) -> None:
    """SignalRefused: the signal, as it stands, does not take `event`."""
    signal = signal_of(row)
    if next_state(signal, event) is None:
        state = state_of(signal)
        raise SignalRefused(
            f"{event.value} has no place while the signal is {state.value}",
            state,
            tuple(allowed_acts(row, account, now)),
        )


async def refuse_if_unseen(
    conn: Connection, row: dict[str, Any], version: int | None, account: Account, now: datetime
) -> None:
    """Problem changed: the tier is higher than what was seen at `version`."""
    found = await conn.execute(TIER_SEEN, {"id": row["alarm_id"], "seen": version})
    (seen,) = await found.fetchone() or (None,)
    if row["tier"] > (seen or 0):
        current = await alarm_by_id(conn, row["alarm_id"], account, now)
        raise Problem(
            "changed",
            f"the tier rose to {Tier(row['tier']).wire} since version {version}",
            current=current.model_dump(mode="json"),
        )


NOTE: Final = """
    WITH changed AS (
        UPDATE alarm SET {set}, version = version + 1
         WHERE alarm_id = %(id)s RETURNING alarm_id, version, tier_now
    ) INSERT INTO alarm_change (alarm_id, version, change, tier, changed_at, actor, note, place,
                                latitude, longitude)
      SELECT alarm_id, version, %(change)s, tier_now, %(now)s, %(by)s, %(note)s, %(place)s,
             %(latitude)s, %(longitude)s FROM changed"""
SEEN: Final = """acknowledged_at = %(now)s, acknowledged_by = %(by)s, acknowledge_note = %(note)s"""
UNSEEN: Final = "acknowledged_at = NULL, acknowledged_by = NULL, acknowledge_note = NULL"


async def _done(
    conn: Connection,
    alarm_id: UUID,
    account: Account,
    now: datetime,
    acts: list[tuple[str, str]],
    note: str | None,
    place: PlaceIn | None = None,
) -> Alarm:
    """The alarm after these acts: (what is set, its word in the history), told to the live list."""
    where = place or PlaceIn.model_construct(text=None, latitude=None, longitude=None)
    said = {"id": alarm_id, "now": now, "by": account.username, "note": note} | {
        "place": where.text,
        "latitude": where.latitude,
        "longitude": where.longitude,
    }
    for columns, change in acts:
        await conn.execute(NOTE.format(set=columns), said | {"change": change})
    alarm = await alarm_by_id(conn, alarm_id, account, now)
    await conn.execute("SELECT note_live_changes(%s::uuid[])", [[alarm_id]])
    return alarm


@router.post(
    "/alarms/{alarm_id}/acknowledge",
    dependencies=[require("alarms.acknowledge")],
    responses=problems("not_found", "changed", "already_acknowledged", "signal_refused"),
)
async def acknowledge(
    alarm_id: UUID, body: AcknowledgeIn, conn: Conn, account: Actor, now: Now
) -> Alarm:
    """Say that you saw it: it stops flashing for everybody. Handling it goes on by itself.

    409 `changed` with the alarm as `current`: its tier rose above what you saw at `version`.
    A tier that rises later takes the acknowledgement away again.
    """
    row = await locked(conn, alarm_id, now)
    if row["acknowledged_at"] is not None and not row["back_unseen"]:
        current = await alarm_by_id(conn, alarm_id, account, now)
        raise Problem(
            "already_acknowledged",
            f"by {row['acknowledged_by']}",
            current=current.model_dump(mode="json"),
        )
    await refuse_if_unseen(conn, row, body.version, account, now)
    refuse_unless(Event.ACKNOWLEDGE, row, account, now)
    acts = [(SEEN, "acknowledged")]
    return await _done(conn, alarm_id, account, now, acts, body.note, body.place)


@router.post(
    "/alarms/{alarm_id}/unacknowledge",
    dependencies=[require("alarms.acknowledge")],
    responses=problems("not_found", "signal_refused"),
)
async def unacknowledge(
    alarm_id: UUID, body: UnacknowledgeIn, conn: Conn, account: Actor, now: Now
) -> Alarm:
    """Take your own acknowledgement back, within a minute; both stay in the history."""
    row = await locked(conn, alarm_id, now)
    refuse_unless(Event.UNACKNOWLEDGE, row, account, now)
    if not may_undo(row, account, now):
        within = int(UNDO_WITHIN.total_seconds())
        raise SignalRefused(
            f"who acknowledged takes it back, within {within} s: {row['acknowledged_by']} did",
            state_of(signal_of(row)),
            tuple(allowed_acts(row, account, now)),
        )
    acts = [(UNSEEN, "unacknowledged")]
    return await _done(conn, alarm_id, account, now, acts, body.note)


@router.post(
    "/alarms/{alarm_id}/reset",
    dependencies=[require("alarms.reset")],
    responses=problems("not_found", "signal_refused"),
)
async def reset(alarm_id: UUID, body: ResetIn, conn: Conn, account: Actor, now: Now) -> Alarm:
    """Let go of the latch of an alarm whose condition is normal: it leaves the list.

    Its case is handled and closed all the same. One that nobody acknowledged is reset with
    `acknowledge`, which does both.
    """
    row = await locked(conn, alarm_id, now)
    event = Event.RESET_UNSEEN if body.acknowledge and _unseen(row) else Event.RESET
    refuse_unless(event, row, account, now)
    acts = [("latched = false", "reset")]
    if event is Event.RESET_UNSEEN:
        acts.insert(0, (SEEN, "acknowledged"))
    return await _done(conn, alarm_id, account, now, acts, body.note)


def _unseen(row: dict[str, Any]) -> bool:
    return not signal_of(row).acknowledged
