"""Shelves, suppression by design, out of service: asked, granted, listed, ended."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Path, Query
from psycopg import errors

from hazardloop.alarms import hold_store
from hazardloop.alarms.alarm import Role, Tier
from hazardloop.alarms.errors import HoldRefused
from hazardloop.alarms.hold import Ending, Wish, longest_with, needs_another, refuse_excess
from hazardloop.alarms.hold_store import HoldRow, Permit, Scope
from hazardloop.alarms.signal import Event, Hold
from hazardloop.service.api import lookup
from hazardloop.service.api.access import Account, Actor, Conn, Here, Now, require
from hazardloop.service.api.alarm_views import Alarm
from hazardloop.service.api.alarms import alarm_by_id
from hazardloop.service.api.devices import DeviceRef
from hazardloop.service.api.hold_forms import (
    EndIn,
    HoldOut,
    HoldState,
    OutOfServiceIn,
    ShelveIn,
    SuppressIn,
    hold_out,
)
from hazardloop.service.api.paging import Listing, Paging, listing
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.rows import fetch, fetch_one
from hazardloop.service.api.signal_acts import locked, refuse_if_unseen, refuse_unless
from hazardloop.service.database import Connection

router = APIRouter(tags=["alarms"])

HoldId = Annotated[int, Path(ge=1, le=2**62)]
PointRef = Annotated[
    str, Path(description="Id, DEVICE.quantity or ENTERPRISE:that.", examples=["GD-101.lel"])
]

SELECT: Final = """
    SELECT hold.*, e.code AS enterprise_code, e.name AS enterprise_name, x.code AS device_code,
           x.name AS device_name, p.quantity, hold_in_force(hold, %(now)s) AS applies,
           (SELECT count(DISTINCT alarm_id) FROM alarm_change
             WHERE alarm_change.hold_id = hold.hold_id) AS alarms
      FROM alarm_hold hold JOIN device x USING (device_id)
           JOIN enterprise e ON e.enterprise_id = hold.enterprise_id
           LEFT JOIN point p ON p.point_id = hold.point_id"""
STATES: Final = {
    None: "hold.ended_at IS NULL AND hold.until > %(now)s",
    "asked": "hold.ended_at IS NULL AND hold.until > %(now)s AND hold.granted_at IS NULL",
    "in_force": "hold.ended_at IS NULL AND hold.until > %(now)s AND hold.granted_at IS NOT NULL",
    "ended": "(hold.ended_at IS NOT NULL OR hold.until <= %(now)s)",
}
LIST: Final = f"""{SELECT}
     WHERE {lookup.matches("enterprise", "enterprise")} AND {lookup.matches("device", "device")}
       AND (%(kind)s::text IS NULL OR hold.kind = %(kind)s)
       AND (%(before)s::bigint IS NULL OR hold.hold_id < %(before)s) AND {{state}}
     ORDER BY hold.hold_id DESC LIMIT %(limit)s"""


@router.get("/shelves", dependencies=[require("alarms.read")])
async def list_holds(
    conn: Conn,
    page: Paging,
    account: Actor,
    now: Now,
    state: Annotated[
        HoldState | None, Query(description="Without it: what is asked or in force.")
    ] = None,
    kind: Annotated[Hold | None, Query()] = None,
    enterprise: str | None = None,
    device: str | None = None,
) -> Listing[HoldOut]:
    """What is shelved, suppressed and out of service: who, why, until when. Newest first."""
    before = page.after[0] if page.after else None
    if not isinstance(before, int | None):
        raise Problem("bad_request", "this cursor is of another list")
    wanted = {"enterprise": enterprise, "device": device, "kind": kind, "before": before}
    rows = await fetch(
        conn, LIST.format(state=STATES[state]), wanted | {"limit": page.limit + 1, "now": now}
    )
    shown = [hold_out(row, allowed(row, account, now), now) for row in rows]
    return listing(shown, page, key=lambda one: (one.id,))


def allowed(row: dict[str, Any], account: Account, now: datetime) -> list[str]:
    """What `account` may do to a hold now."""
    if row["ended_at"] is not None or row["until"] <= now:
        return []
    mine = row["asked_by"] == account.username
    if row["granted_at"] is not None:
        return ["release"] if account.may("alarms.grant") else []
    two = row["tier"] == Tier.RED and (mine or account.role is not Role.SUPERVISOR)
    grants = ["approve", "decline"] if account.may("alarms.grant") and not two else []
    return grants + (["withdraw"] if mine else [])


async def hold_by_id(conn: Connection, hold_id: int, account: Account, now: datetime) -> HoldOut:
    """The hold as `account` is shown it. Problem not_found."""
    query = f"{SELECT} WHERE hold.hold_id = %(id)s"
    row = await fetch_one(conn, query, {"id": hold_id, "now": now})
    if row is None:
        raise Problem("not_found", f"no hold {hold_id} is known here")
    return hold_out(row, allowed(row, account, now), now)


@router.post(
    "/alarms/{alarm_id}/shelve",
    status_code=201,
    dependencies=[require("alarms.shelve")],
    responses=problems("not_found", "changed", "signal_refused", "hold_refused", "invalid"),
)
async def shelve(
    alarm_id: UUID, body: ShelveIn, conn: Conn, account: Actor, here: Here, now: Now
) -> HoldOut:
    """Keep an alarm quiet for a while, and further ones of its rule at its point.

    They are raised, recorded and handled as ever; only sound, flash and notices are withheld. Blue
    and yellow for 8 h at most, orange for 1 h. Red, and what an enterprise asks for, waits as
    `asked` until somebody in the centre, for red a supervisor other than who asks, approves it. It
    ends by itself, and at once when the tier rises or the same rule raises an alarm at another
    device of the same hazard unit.
    """
    row = await locked(conn, alarm_id, now)
    await refuse_if_unseen(conn, row, body.version, account, now)
    refuse_unless(Event.SHELVE, row, account, now)
    wish = Wish(Hold.SHELVED, Tier(row["tier"]), body.end(now), body.reason, body.approver)
    refuse_excess(wish, now, longest_with(here.settings.shelve_red_minutes))
    await _refuse_approver(conn, wish, account)
    scope = Scope(row["enterprise_id"], row["device_id"], row["point_id"], row["rule_id"])
    return await _asked(conn, wish, scope, Permit(), account, now, [alarm_id])


APPROVER: Final = """
    SELECT FROM user_account
     WHERE username = %(username)s AND role = 'supervisor' AND active"""


async def _refuse_approver(conn: Connection, wish: Wish, account: Account) -> None:
    if wish.approver is None:
        if wish.tier is Tier.RED:
            raise Problem("invalid", "approver: red is shelved only with a second person's leave")
        return
    cursor = await conn.execute(APPROVER, {"username": wish.approver})
    if wish.approver == account.username or await cursor.fetchone() is None:
        raise Problem("invalid", "approver: a supervisor other than who asks is needed")


async def _asked(
    conn: Connection,
    wish: Wish,
    scope: Scope,
    permit: Permit,
    account: Account,
    now: datetime,
    alarms: Sequence[UUID] = (),
) -> HoldOut:
    try:
        hold = await hold_store.ask(conn, wish, scope, permit, account.as_actor, now)
    except errors.UniqueViolation:
        raise HoldRefused(
            f"it is {wish.kind.replace('_', ' ')}, or asked to be, already: see /shelves;"
            " one whose time is over can be followed by another within seconds"
        ) from None
    shown = await hold_by_id(conn, hold.hold_id, account, now)
    if hold.granted_at is not None:
        await hold_store.tell(conn, await hold_store.settle(conn, [hold.device_id], now, alarms))
        shown = await hold_by_id(conn, hold.hold_id, account, now)
    return shown


SHELF: Final = """
    SELECT hold.hold_id FROM alarm_hold hold JOIN alarm USING (point_id, rule_id)
     WHERE alarm_id = %(id)s AND hold.kind = 'shelved' AND hold.ended_at IS NULL
       AND hold.until > %(now)s"""


@router.post(
    "/alarms/{alarm_id}/unshelve",
    dependencies=[require("alarms.grant")],
    responses=problems("not_found", "hold_refused"),
)
async def unshelve(alarm_id: UUID, body: EndIn, conn: Conn, account: Actor, now: Now) -> Alarm:
    """End the shelf of an alarm: one that is active is unacknowledged and sounds again."""
    await locked(conn, alarm_id, now)
    found = await fetch_one(conn, SHELF, {"id": alarm_id, "now": now})
    if found is None:
        raise HoldRefused(f"alarm {alarm_id} is not shelved")
    await _end(conn, found["hold_id"], Ending.RELEASED, account, now, body.note)
    return await alarm_by_id(conn, alarm_id, account, now)


@router.post(
    "/shelves/{hold_id}/approve",
    dependencies=[require("alarms.grant")],
    responses=problems("not_found", "hold_refused"),
)
async def approve(hold_id: HoldId, conn: Conn, account: Actor, now: Now) -> HoldOut:
    """Grant what somebody asked for; on red as a supervisor, and not what you asked yourself."""
    hold = await hold_store.grant(conn, hold_id, account.as_actor, now)
    shown = await hold_by_id(conn, hold_id, account, now)
    await hold_store.tell(conn, await hold_store.settle(conn, [hold.device_id], now))
    return shown


@router.post(
    "/shelves/{hold_id}/release",
    dependencies=[require("alarms.shelve")],
    responses=problems("not_found", "hold_refused"),
)
async def release(hold_id: HoldId, body: EndIn, conn: Conn, account: Actor, now: Now) -> HoldOut:
    """End what is in force, decline what was asked, or withdraw what you asked yourself."""
    hold = await hold_store.load(conn, hold_id)
    why = _ending(hold, account)
    await _end(conn, hold_id, why, account, now, body.note)
    return await hold_by_id(conn, hold_id, account, now)


def _ending(hold: HoldRow, account: Account) -> Ending:
    if hold.granted_at is None and hold.asked_by == account.username:
        return Ending.WITHDRAWN
    if not account.may("alarms.grant"):
        raise Problem("forbidden", f"{account.role} may withdraw what it asked, nothing else")
    return Ending.RELEASED if hold.granted_at is not None else Ending.DECLINED


async def _end(
    conn: Connection, hold_id: int, why: Ending, account: Account, now: datetime, note: str | None
) -> None:
    hold = await hold_store.end(conn, hold_id, why, account.as_actor, now, note)
    await hold_store.tell(conn, await hold_store.settle(conn, [hold.device_id], now))


POINT_HOME: Final = "SELECT enterprise_id, device_id FROM point WHERE point_id = %(id)s"
DEVICE_HOME: Final = "SELECT enterprise_id FROM device WHERE device_id = %(id)s"


async def _point(conn: Connection, ref: str) -> Scope:
    point_id = await lookup.point_id(conn, ref)
    row = await fetch_one(conn, POINT_HOME, {"id": point_id})
    assert row is not None  # looked up in this transaction
    return Scope(row["enterprise_id"], row["device_id"], point_id)


async def _device(conn: Connection, ref: str, while_rule: str | None = None) -> Scope:
    device_id = await lookup.device_id(conn, ref)
    row = await fetch_one(conn, DEVICE_HOME, {"id": device_id})
    assert row is not None  # looked up in this transaction
    return Scope(row["enterprise_id"], device_id, while_rule=while_rule)


async def _remove(
    conn: Connection,
    scope: Scope,
    body: OutOfServiceIn,
    account: Account,
    here: Here,
    now: datetime,
) -> HoldOut:
    tier = Tier.RED if body.red else Tier.ORANGE
    wish = Wish(Hold.OUT_OF_SERVICE, tier, body.end(now), body.reason)
    refuse_excess(wish, now, longest_with(here.settings.shelve_red_minutes))
    permit = Permit(body.permit, body.responsible, body.replacement)
    return await _asked(conn, wish, scope, permit, account, now)


@router.post(
    "/points/{point}/out-of-service",
    status_code=201,
    dependencies=[require("alarms.shelve")],
    responses=problems("not_found", "ambiguous", "hold_refused"),
)
async def remove_point(
    point: PointRef, body: OutOfServiceIn, conn: Conn, account: Actor, here: Here, now: Now
) -> HoldOut:
    """Take a point out of service under a work permit, for 7 days at most.

    Its alarms are raised, recorded and handled as ever; sound, flash and notices of those below red
    are withheld. Red ones go out, unless `red` is asked for and another supervisor approves it.
    """
    return await _remove(conn, await _point(conn, point), body, account, here, now)


@router.post(
    "/devices/{device}/out-of-service",
    status_code=201,
    dependencies=[require("alarms.shelve")],
    responses=problems("not_found", "ambiguous", "hold_refused"),
)
async def remove_device(
    device: DeviceRef, body: OutOfServiceIn, conn: Conn, account: Actor, here: Here, now: Now
) -> HoldOut:
    """Take all points of a device out of service under a work permit, as for a point."""
    return await _remove(conn, await _device(conn, device), body, account, here, now)


REMOVED: Final = """
    SELECT hold_id FROM alarm_hold
     WHERE kind = 'out_of_service' AND device_id = %(device)s AND ended_at IS NULL
       AND point_id IS NOT DISTINCT FROM %(point)s"""


async def _return(
    conn: Connection, scope: Scope, ref: str, body: EndIn, account: Account, now: datetime
) -> HoldOut:
    wanted = {"device": scope.device_id, "point": scope.point_id}
    found = await fetch_one(conn, REMOVED, wanted)
    if found is None:
        raise HoldRefused(f"{ref} is not out of service")
    await _end(conn, found["hold_id"], Ending.RELEASED, account, now, body.note)
    return await hold_by_id(conn, found["hold_id"], account, now)


@router.post(
    "/points/{point}/return-to-service",
    dependencies=[require("alarms.grant")],
    responses=problems("not_found", "ambiguous", "hold_refused"),
)
async def return_point(
    point: PointRef, body: EndIn, conn: Conn, account: Actor, now: Now
) -> HoldOut:
    """The work is done: an alarm that is active sounds from now on."""
    return await _return(conn, await _point(conn, point), point, body, account, now)


@router.post(
    "/devices/{device}/return-to-service",
    dependencies=[require("alarms.grant")],
    responses=problems("not_found", "ambiguous", "hold_refused"),
)
async def return_device(
    device: DeviceRef, body: EndIn, conn: Conn, account: Actor, now: Now
) -> HoldOut:
    """The work is done, as for a point."""
    return await _return(conn, await _device(conn, device), device, body, account, now)


KNOWN_RULE: Final = """
    SELECT FROM rule_version JOIN device ON device.kind = definition ->> 'device_kind'
     WHERE rule_id = %(rule)s AND device_id = %(device)s LIMIT 1"""


@router.post(
    "/devices/{device}/suppression",
    status_code=201,
    dependencies=[require("alarms.suppress")],
    responses=problems("not_found", "ambiguous", "hold_refused", "invalid"),
)
async def suppress(
    device: DeviceRef, body: SuppressIn, conn: Conn, account: Actor, here: Here, now: Now
) -> HoldOut:
    """Declare that alarms of a device mean nothing while another one of it is active.

    As where a unit is shut down by permit and its detectors say that they are not in service: while
    the alarm of `while_rule` is active, alarms below red of other rules there are raised and
    recorded, and not annunciated. To be reviewed and declared anew after 90 days at most.
    """
    scope = await _device(conn, device, body.while_rule)
    known = await fetch_one(conn, KNOWN_RULE, {"rule": body.while_rule, "device": scope.device_id})
    if known is None:
        raise Problem("invalid", f"while_rule: no rule {body.while_rule} is for this kind")
    wish = Wish(Hold.SUPPRESSED, Tier.ORANGE, body.end(now), body.reason)
    refuse_excess(wish, now, longest_with(here.settings.shelve_red_minutes))
    assert not needs_another(account.as_actor, wish.tier)  # as the permission says
    return await _asked(conn, wish, scope, Permit(body.permit), account, now)
