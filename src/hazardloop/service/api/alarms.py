"""Alarms: history, detail, and the snapshot of the live list."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from hazardloop.service.api import alarm_queries
from hazardloop.service.api.access import Account, Actor, Conn, Now, require
from hazardloop.service.api.alarm_choice import MATCHES, STATES, Chosen, TierName
from hazardloop.service.api.alarm_queries import MOST_OPEN, Counts, compact
from hazardloop.service.api.alarm_views import (
    ID,
    SELECT,
    Alarm,
    AlarmLine,
    alarm_line,
    episode,
)
from hazardloop.service.api.floods import FLOOD_NOW, FloodNowOut
from hazardloop.service.api.live_feed import encode
from hazardloop.service.api.paging import Listing, Paging, listing
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.rows import fetch, fetch_one
from hazardloop.service.database import Connection

router = APIRouter(tags=["alarms"])


LIST: Final = f"""{SELECT}
     WHERE {MATCHES}
       AND (%(at)s::timestamptz IS NULL OR (a.raised_at, a.alarm_id) < (%(at)s, %(before)s::uuid))
       {{state}}
     ORDER BY a.raised_at DESC, a.alarm_id DESC LIMIT %(limit)s"""


@router.get("/alarms", dependencies=[require("alarms.read")])
async def list_alarms(
    conn: Conn, page: Paging, account: Actor, now: Now, chosen: Chosen
) -> Listing[AlarmLine]:
    """Alarms, newest first; an enterprise user sees its own only."""
    at, before = _after(page.after)
    asked = chosen.arguments | {"at": at, "before": before, "limit": page.limit + 1, "now": now}
    rows = await fetch(conn, LIST.format(state=STATES[chosen.state]), asked)
    lines = [alarm_line(row, account, now) for row in rows]
    return listing(lines, page, key=lambda one: (one.raised_at, one.id))


def _after(key: tuple[Any, ...] | None) -> tuple[datetime | None, str | None]:
    match key:
        case None:
            return None, None
        case (datetime() as at, str() as before):
            return at, before
    raise Problem("bad_request", "this cursor is of another list")


class SnapshotOut(BaseModel):
    """All open alarms at once; goes with the stream."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "seq": 41,
                    "epoch": "3f0c2b1e-6a57-4f0e-9a55-0f6a3f1c2d4e",
                    "as_of": "2026-11-22T01:12:07.120Z",
                    "total": 1,
                    "truncated": False,
                    "items": [
                        {
                            "id": ID,
                            "ver": 2,
                            "tier": "orange",
                            "kind": "gas_detector.lel.high",
                            "cond": "active",
                            "wf": "new",
                            "ent": ["E003", "示范化工有限公司"],
                            "dev": ["GD-101", "可燃气体探测器"],
                            "pt": "GD-101.lel",
                            "dir": "high",
                            "raised": "2026-11-22T01:12:07.120Z",
                            "upd": "2026-11-22T01:12:07.180Z",
                            "tier_now": "orange",
                            "stage": "dispatched",
                            "loc": "3号罐区东侧",
                            "val": 62.4,
                            "unit": "%{LEL}",
                            "lim": 50.0,
                            "case": "d0b7c6f4-4c55-5b1e-9d52-6a1f0a9f2c31",
                            "rev": 2,
                            "due": ["sign", "2026-11-22T01:22:07.120Z"],
                        }
                    ],
                }
            ]
        }
    )
    seq: int = Field(description="The stream's events up to this number are in it.")
    epoch: UUID
    as_of: datetime
    total: int
    truncated: bool = Field(description=f"There are more than {MOST_OPEN}; the least severe lack.")
    items: list[dict[str, Any]] = Field(description="Compact alarms; what is empty is left out.")


class Snapshot(msgspec.Struct, frozen=True):
    """The same, as it is encoded."""

    seq: int
    epoch: UUID
    as_of: datetime
    total: int
    truncated: bool
    items: list[alarm_queries.Compact]


@router.get(
    "/alarms/open",
    dependencies=[require("alarms.read")],
    responses={200: {"model": SnapshotOut}},
)
async def open_alarms(conn: Conn, now: Now) -> Response:
    """The live list: every alarm whose signal is active or whose case is not closed.

    Worst tier first, then newest. `seq` is read before the alarms, so that nothing can be missing
    between this and the stream; what the stream repeats changes nothing.
    """
    epoch, seq = await alarm_queries.live_position(conn)
    found = await alarm_queries.open_alarms(conn, now)
    truncated = len(found) > MOST_OPEN
    snapshot = Snapshot(
        seq=seq,
        epoch=epoch,
        as_of=now,
        total=await alarm_queries.count_open(conn) if truncated else len(found),
        truncated=truncated,
        items=[compact(facts) for facts in found[:MOST_OPEN]],
    )
    return Response(encode(snapshot), media_type="application/json")


class TierCounts(BaseModel):
    """How many open alarms of one tier."""

    open: int
    unacked: int
    overdue: int = Field(description="Whose case has a duty that is past its time.")


class RateOut(BaseModel):
    """How fast alarms come, drills and what was found late apart."""

    m1: int = Field(description="Raised in the last minute.")
    m10: int = Field(description="In the last ten.")


class CountsOut(BaseModel):
    """How many alarms are open, by tier, and how fast they come."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "tiers": {
                        "red": {"open": 1, "unacked": 1, "overdue": 0},
                        "orange": {"open": 3, "unacked": 0, "overdue": 1},
                        "yellow": {"open": 8, "unacked": 5, "overdue": 0},
                        "blue": {"open": 2, "unacked": 0, "overdue": 0},
                    },
                    "shelved": 1,
                    "rate": {"m1": 2, "m10": 12},
                    "flood": FLOOD_NOW,
                    "seq": 41,
                }
            ]
        }
    )
    tiers: dict[TierName, TierCounts]
    shelved: int = Field(description="Open, but sound and flash are withheld; not in `unacked`.")
    rate: RateOut
    flood: FloodNowOut | None = Field(description="Of the centre's desk; null to an enterprise.")
    seq: int


@router.get("/alarms/counts", dependencies=[require("alarms.read")])
async def count_alarms(conn: Conn, now: Now, account: Actor) -> CountsOut:
    """Open, unacknowledged and overdue alarms by tier, as the stream's `counts`."""
    _, seq = await alarm_queries.live_position(conn)
    counts = await alarm_queries.counts(conn, now)
    own = counts.get(account.enterprise_id) or Counts()
    told = msgspec.to_builtins(own, builtin_types=(datetime, UUID))
    return CountsOut.model_validate(told | {"seq": seq})


@router.get(
    "/alarms/{alarm_id}",
    dependencies=[require("alarms.read")],
    responses=problems("not_found"),
)
async def get_alarm(alarm_id: UUID, conn: Conn, account: Actor, now: Now) -> Alarm:
    """One alarm with its limits, its episodes, its case, and what the asker may do now."""
    return await alarm_by_id(conn, alarm_id, account, now)


EPISODES: Final = "SELECT * FROM alarm_change WHERE alarm_id = %(id)s ORDER BY version"


async def alarm_by_id(conn: Connection, alarm_id: UUID, account: Account, now: datetime) -> Alarm:
    """The alarm as `account` is shown it. Problem not_found."""
    query = f"{SELECT} WHERE a.alarm_id = %(id)s"
    row = await fetch_one(conn, query, {"id": alarm_id, "now": now})
    if row is None:
        raise Problem("not_found", f"no alarm {alarm_id} is known here")
    episodes = await fetch(conn, EPISODES, {"id": alarm_id})
    line = alarm_line(row, account, now)
    arithmetic = row["arithmetic"]
    return Alarm(**dict(line), arithmetic=arithmetic, episodes=[episode(one) for one in episodes])
