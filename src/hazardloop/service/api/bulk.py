"""Several alarms acknowledged at once, or that taken back: each is judged by itself, red never."""

from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import ConfigDict, Field, field_validator

from hazardloop.alarms.alarm import Tier
from hazardloop.alarms.signal import Event, next_state
from hazardloop.service.api.access import Account, Actor, Conn, Now, require
from hazardloop.service.api.alarm_queries import flood_now
from hazardloop.service.api.alarm_views import ID, SELECT, may_undo, signal_of
from hazardloop.service.api.problems import problems
from hazardloop.service.api.rows import fetch
from hazardloop.service.api.schema import Body, Out, Text
from hazardloop.service.api.signal_acts import SEEN, UNSEEN, PlaceIn
from hazardloop.service.database import Connection

router = APIRouter(tags=["alarms"])

MOST: Final = 200
"""Alarms in one act; above it a person no longer knows what is acknowledged."""


class SeenIn(Body):
    """One alarm as it was seen."""

    id: UUID
    version: int = Field(ge=1, le=2**31 - 1, description="Refused if the tier rose since.")


class BulkIn(Body):
    """What is to be done to which alarms."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "action": "acknowledge",
                    "items": [{"id": ID, "version": 3}],
                    "place": {"text": "2 号席"},
                }
            ]
        }
    )
    action: Literal["acknowledge", "unacknowledge"]
    items: list[SeenIn] = Field(min_length=1, max_length=MOST)
    note: Text | None = None
    place: PlaceIn | None = None

    @field_validator("items")
    @classmethod
    def _each_once(cls, items: list[SeenIn]) -> list[SeenIn]:
        if len({one.id for one in items}) < len(items):
            raise ValueError("an alarm is named twice")
        return items


Skipped = Literal["not_found", "one_by_one", "changed", "already_acknowledged", "signal_refused"]


class ResultOut(Out):
    """What became of one of them."""

    id: UUID
    ok: bool
    code: Skipped | None = Field(
        description="Why not. `one_by_one`: red, in a flood orange too, is acknowledged by itself."
    )
    by: str | None = Field(description="With `already_acknowledged`: who was first.")
    tier: str | None = Field(description="As it is now; null with `not_found`.")
    version: int | None


class BulkOut(Out):
    """What became of each, in the order asked."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "done": 1,
                    "results": [
                        {
                            "id": ID,
                            "ok": True,
                            "code": None,
                            "by": None,
                            "tier": "orange",
                            "version": 4,
                        }
                    ],
                }
            ]
        }
    )
    done: int
    results: list[ResultOut]


LOCK: Final = """
    SELECT FROM alarm WHERE alarm_id = ANY (%(ids)s) ORDER BY alarm_id FOR NO KEY UPDATE"""
FOUND: Final = f"{SELECT} WHERE a.alarm_id = ANY (%(ids)s)"
TIERS_SEEN: Final = """
    SELECT asked.id, max(c.tier) AS tier
      FROM unnest(%(ids)s::uuid[], %(versions)s::int[]) asked (id, version)
           JOIN alarm_change c ON c.alarm_id = asked.id AND c.version <= asked.version
     WHERE c.change IN ('raised', 'tier') GROUP BY asked.id"""
ACTS: Final = {"acknowledge": (SEEN, "acknowledged"), "unacknowledge": (UNSEEN, "unacknowledged")}
"""What is set, and its word in the history."""
DONE: Final = """
    WITH changed AS (
        UPDATE alarm SET {set}, version = version + 1
         WHERE alarm_id = ANY (%(done)s) RETURNING alarm_id, version, tier_now
    ) INSERT INTO alarm_change (alarm_id, version, change, tier, changed_at, actor, note, place,
                                latitude, longitude)
      SELECT alarm_id, version, %(change)s, tier_now, %(now)s, %(by)s, %(note)s, %(place)s,
             %(latitude)s, %(longitude)s FROM changed"""


@router.post(
    "/alarms/bulk", dependencies=[require("alarms.acknowledge")], responses=problems("invalid")
)
async def bulk(body: BulkIn, conn: Conn, account: Actor, now: Now) -> BulkOut:
    """Say that you saw these: up to 200, in one transaction, each as if asked for alone.

    What cannot be done is skipped with its reason and stays as it is; a red alarm always is, in an
    alarm flood an orange one, too.
    `unacknowledge` takes your own acknowledgements back, within a minute.
    """
    rows = await _locked(conn, body, now)
    seen = await _tiers_seen(conn, body)
    single = Tier.ORANGE if (await flood_now(conn)).on else Tier.RED
    results = []
    for one in body.items:
        row = rows.get(one.id)
        back = body.action == "unacknowledge"
        code = (
            _irrevocable(row, account, now) if back else _refusal(row, seen.get(one.id, 0), single)
        )
        results.append(_result(one.id, row, code))
    done = [one.id for one in results if one.ok]
    if done:
        columns, change = ACTS[body.action]
        said = _said(body, account, now) | {"done": done, "change": change}
        await conn.execute(DONE.format(set=columns), said)
        # Last: from here on others wait for the number of this change.
        await conn.execute("SELECT note_live_changes(%s::uuid[])", [done])
    return BulkOut(done=len(done), results=results)


async def _locked(conn: Connection, body: BulkIn, now: datetime) -> dict[UUID, dict[str, Any]]:
    """The rows of SELECT by id, kept until the transaction ends."""
    wanted = {"ids": [one.id for one in body.items], "now": now}
    await conn.execute(LOCK, wanted)
    return {row["alarm_id"]: row for row in await fetch(conn, FOUND, wanted)}


async def _tiers_seen(conn: Connection, body: BulkIn) -> dict[UUID, int]:
    """The worst tier that the asker saw of each alarm."""
    asked = {
        "ids": [one.id for one in body.items],
        "versions": [one.version for one in body.items],
    }
    return {row["id"]: row["tier"] for row in await fetch(conn, TIERS_SEEN, asked)}


def _refusal(row: dict[str, Any] | None, seen: int, single: Tier) -> Skipped | None:
    """Why an alarm whose worst seen tier is `seen` is not acknowledged here.

    From `single` on each is looked at by itself.
    """
    if row is None:
        return "not_found"
    signal = signal_of(row)
    if signal.acknowledged:
        return "already_acknowledged"
    if row["tier"] >= single:
        return "one_by_one"
    if row["tier"] > seen:
        return "changed"
    return "signal_refused" if next_state(signal, Event.ACKNOWLEDGE) is None else None


def _irrevocable(row: dict[str, Any] | None, account: Account, now: datetime) -> Skipped | None:
    """Why an acknowledgement is not taken back."""
    if row is None:
        return "not_found"
    open_to_it = next_state(signal_of(row), Event.UNACKNOWLEDGE) is not None
    return None if open_to_it and may_undo(row, account, now) else "signal_refused"


def _result(alarm_id: UUID, row: dict[str, Any] | None, code: Skipped | None) -> ResultOut:
    known = row or {}
    return ResultOut(
        id=alarm_id,
        ok=code is None,
        code=code,
        by=known["acknowledged_by"] if code == "already_acknowledged" else None,
        tier=Tier(known["tier"]).wire if known else None,
        version=known["version"] + (code is None) if known else None,
    )


def _said(body: BulkIn, account: Account, now: datetime) -> dict[str, Any]:
    """What the history and the alarms keep of the act."""
    where = body.place
    return {
        "now": now,
        "by": account.username,
        "note": body.note,
        "place": where and where.text,
        "latitude": where and where.latitude,
        "longitude": where and where.longitude,
    }
