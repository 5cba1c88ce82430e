"""Holds in PostgreSQL; the caller owns the transaction.

Locks are taken in one order everywhere: alarm, hold, case, live counter. People's acts on a hold
cannot know its alarms beforehand, so they give way (`case_store.GIVE_WAY`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg.rows import class_row, kwargs_row

from hazardloop.alarms import jobs, ledger_store
from hazardloop.alarms.alarm import Actor, Tier
from hazardloop.alarms.case_store import GIVE_WAY, Connection
from hazardloop.alarms.errors import HoldRefused, HoldUnknown
from hazardloop.alarms.hold import Ending, Wish, needs_another, refuse_grant
from hazardloop.alarms.ledger_store import Act
from hazardloop.alarms.signal import Hold
from hazardloop.alarms.withholding import StandingHold
from hazardloop.devices.instants import rfc3339

SYSTEM: Final = "system"


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose alarms are withheld."""

    enterprise_id: int
    device_id: int
    point_id: int | None = None
    """None: of all points of the device."""
    rule_id: str | None = None
    """None: of all rules."""
    while_rule: str | None = None
    """Only while an alarm of this rule is active at the device."""


@dataclass(frozen=True, slots=True)
class Permit:
    """Under which work alarms are withheld."""

    permit: str | None = None
    responsible: str | None = None
    replacement: str | None = None


@dataclass(frozen=True, slots=True)
class HoldRow:
    """A hold as far as deciding on it needs it."""

    hold_id: int
    kind: str
    enterprise_id: int
    device_id: int
    tier: int
    reason: str
    until: datetime
    asked_by: str
    granted_at: datetime | None
    ended_at: datetime | None


_COLUMNS: Final = ", ".join(HoldRow.__slots__)

ASK: Final = f"""
    INSERT INTO alarm_hold (kind, enterprise_id, device_id, point_id, rule_id, while_rule, tier,
                            reason, permit, responsible, replacement, asked_at, asked_by,
                            asked_role, approver, granted_at, granted_by, granted_role, until)
    VALUES (%(kind)s, %(enterprise_id)s, %(device_id)s, %(point_id)s, %(rule_id)s, %(while_rule)s,
            %(tier)s, %(reason)s, %(permit)s, %(responsible)s, %(replacement)s, %(now)s, %(by)s,
            %(role)s, %(approver)s, %(granted_at)s, %(granted_by)s, %(granted_role)s, %(until)s)
    RETURNING {_COLUMNS}"""


async def ask(
    conn: Connection, wish: Wish, scope: Scope, permit: Permit, actor: Actor, now: datetime
) -> HoldRow:
    """The hold; in force at once where `actor` may grant it alone, else somebody has to."""
    await conn.execute(GIVE_WAY)
    alone = not needs_another(actor, wish.tier)
    parameters = {name: getattr(scope, name) for name in Scope.__slots__} | {
        "kind": wish.kind,
        "tier": int(wish.tier),
        "reason": wish.reason,
        "until": wish.until,
        "approver": wish.approver,
        "permit": permit.permit,
        "responsible": permit.responsible,
        "replacement": permit.replacement,
        "now": now,
        "by": actor.username,
        "role": actor.role,
        "granted_at": now if alone else None,
        "granted_by": actor.username if alone else None,
        "granted_role": actor.role if alone else None,
    }
    hold = await _one(conn, ASK, parameters)
    assert hold is not None  # INSERT ... RETURNING
    await _note(conn, hold, "grant" if alone else "ask", actor, now)
    return hold


GRANT: Final = f"""
    UPDATE alarm_hold SET granted_at = %(now)s, granted_by = %(by)s, granted_role = %(role)s
     WHERE hold_id = %(hold_id)s AND granted_at IS NULL AND ended_at IS NULL AND until > %(now)s
    RETURNING {_COLUMNS}"""


async def grant(conn: Connection, hold_id: int, actor: Actor, now: datetime) -> HoldRow:
    """The hold, in force from now. HoldUnknown, HoldRefused: granted or over; HoldForbidden."""
    await conn.execute(GIVE_WAY)
    hold = await load(conn, hold_id)
    refuse_grant(actor, hold.asked_by, _tier(hold))
    granted = await _one(
        conn, GRANT, {"hold_id": hold_id, "now": now, "by": actor.username, "role": actor.role}
    )
    if granted is None:
        raise HoldRefused(f"hold {hold_id} {_standing(hold, now)}: there is nothing to grant")
    await _note(conn, granted, "grant", actor, now)
    return granted


END: Final = f"""
    UPDATE alarm_hold SET ended_at = %(now)s, ended_by = %(by)s, ended_why = %(why)s,
           end_note = %(note)s
     WHERE hold_id = %(hold_id)s AND ended_at IS NULL
    RETURNING {_COLUMNS}"""


async def end(
    conn: Connection,
    hold_id: int,
    why: Ending,
    actor: Actor,
    now: datetime,
    note: str | None = None,
) -> HoldRow:
    """The hold, over from now. HoldUnknown; HoldRefused: it was over before."""
    await conn.execute(GIVE_WAY)
    hold = await load(conn, hold_id)
    parameters = {"hold_id": hold_id, "now": now, "by": actor.username, "why": why, "note": note}
    ended = await _one(conn, END, parameters)
    if ended is None:
        raise HoldRefused(f"hold {hold_id} {_standing(hold, now)}")
    await _note(conn, ended, why, actor, now, note)
    return ended


async def load(conn: Connection, hold_id: int) -> HoldRow:
    """The hold. HoldUnknown: there is none, or it may not be seen."""
    query = f"SELECT {_COLUMNS} FROM alarm_hold WHERE hold_id = %(hold_id)s"
    hold = await _one(conn, query, {"hold_id": hold_id})
    if hold is None:
        raise HoldUnknown(f"no hold {hold_id} is known here")
    return hold


# A shelf was granted for what was seen: what is worse, or confirmed by another sensor, was not.
OVERTAKEN: Final = f"""
    WITH sounded AS (
        SELECT a.alarm_id, a.point_id, a.rule_id, a.tier, a.device_id, d.hazard_unit_id
          FROM alarm a JOIN device d USING (device_id)
         WHERE a.alarm_id = ANY (%(alarm_ids)s::uuid[])
    ), worse AS (
        SELECT h.hold_id, '{Ending.TIER_ROSE}' AS why
          FROM alarm_hold h JOIN sounded s ON (s.point_id, s.rule_id) = (h.point_id, h.rule_id)
         WHERE h.kind = 'shelved' AND h.ended_at IS NULL AND s.tier > h.tier
    ), confirmed AS (
        SELECT DISTINCT h.hold_id, '{Ending.SECOND_SENSOR}' AS why
          FROM sounded s JOIN device d ON d.hazard_unit_id = s.hazard_unit_id
               JOIN alarm_hold h ON h.device_id = d.device_id AND h.device_id <> s.device_id
                                AND h.rule_id = s.rule_id
         WHERE h.kind = 'shelved' AND h.ended_at IS NULL AND s.alarm_id = ANY (%(raised)s::uuid[])
    )
    UPDATE alarm_hold h SET ended_at = %(now)s, ended_by = '{SYSTEM}', ended_why = over.why
      FROM (SELECT hold_id, min(why) AS why
              FROM (SELECT * FROM worse UNION ALL SELECT * FROM confirmed) AS each
             GROUP BY hold_id) AS over
     WHERE h.hold_id = over.hold_id
    RETURNING {", ".join(f"h.{name}" for name in HoldRow.__slots__)}, h.ended_why"""


async def end_overtaken(
    conn: Connection, raised: Sequence[UUID], risen: Sequence[UUID], now: datetime
) -> list[int]:
    """Device ids of the shelves that alarms just raised or risen have ended."""
    parameters = {"alarm_ids": [*raised, *risen], "raised": list(raised), "now": now}
    rows = await (await conn.execute(OVERTAKEN, parameters)).fetchall()
    for *columns, why in rows:
        await _note_end(conn, HoldRow(*columns), why, now)
    return [HoldRow(*columns).device_id for *columns, _ in rows]


DUE: Final = f"""
    SELECT {_COLUMNS} FROM alarm_hold
     WHERE ended_at IS NULL AND until <= %(now)s ORDER BY until, hold_id LIMIT %(most)s"""
# Not FOR UPDATE, here and in settle_holds: whoever only points at an alarm (a notice, a line of the
# ledger) must not wait for who holds it, and perhaps waits for them.
HOLD_ALARMS: Final = """
    SELECT alarm_id FROM alarm WHERE hold_id = %(hold_id)s ORDER BY alarm_id FOR NO KEY UPDATE"""
END_DUE: Final = f"""
    UPDATE alarm_hold SET ended_at = %(now)s, ended_by = '{SYSTEM}', ended_why = %(why)s
     WHERE hold_id = %(hold_id)s AND ended_at IS NULL AND until <= %(now)s"""

DUE_AT_ONCE: Final = 100
"""Holds that are ended in one round."""


async def end_due(conn: Connection, now: datetime) -> int:
    """How many holds whose time is over were written down as over, each in a transaction.

    They ceased to be in force at their time; this brings history and live list in line.
    """
    async with conn.cursor(row_factory=class_row(HoldRow)) as cursor:
        await cursor.execute(DUE, {"now": now, "most": DUE_AT_ONCE})
        due = await cursor.fetchall()
    ended = 0
    for hold in due:
        async with conn.transaction():
            ended += await _end_one_due(conn, hold, now)
    return ended


async def _end_one_due(conn: Connection, hold: HoldRow, now: datetime) -> int:
    why = Ending.LAPSED if hold.granted_at is None else Ending.TIMED_OUT
    await conn.execute(HOLD_ALARMS, {"hold_id": hold.hold_id})
    done = await conn.execute(END_DUE, {"hold_id": hold.hold_id, "now": now, "why": why})
    if done.rowcount == 0:
        return 0  # another clerk, or a person, was faster
    await _note_end(conn, hold, why, now)
    await tell(conn, await settle(conn, [hold.device_id], now))
    return 1


STANDING: Final = """
    SELECT hold_id, kind, device_id, point_id, rule_id, while_rule, tier,
           (extract(epoch FROM until) * 1e6)::bigint AS until_us,
           CASE WHEN kind = 'shelved' THEN ARRAY(
               SELECT other.device_id FROM device own JOIN device other USING (hazard_unit_id)
                WHERE own.device_id = alarm_hold.device_id AND other.device_id <> own.device_id
           ) ELSE '{}' END AS siblings
      FROM alarm_hold
     WHERE granted_at IS NOT NULL AND ended_at IS NULL AND until > clock_timestamp()"""


async def standing(conn: Connection) -> list[StandingHold]:
    """The holds that are granted and not over."""
    async with conn.cursor(row_factory=kwargs_row(_in_force)) as cursor:
        await cursor.execute(STANDING)
        return await cursor.fetchall()


def _in_force(kind: str, tier: int, siblings: list[int], **rest: Any) -> StandingHold:
    return StandingHold(kind=Hold(kind), tier=Tier(tier), siblings=tuple(siblings), **rest)


SETTLE: Final = "SELECT settle_holds(%(devices)s::int[], %(alarms)s::uuid[], %(now)s)"


# Their notices were held back; what is over needs none any more, and the sender sees that.
BACK: Final = "SELECT alarm_id::text FROM alarm WHERE alarm_id = ANY (%s) AND hold_id IS NULL"


async def settle(
    conn: Connection, devices: Sequence[int], now: datetime, alarms: Sequence[UUID] = ()
) -> list[UUID]:
    """Ids of the alarms at these devices that fell under a hold or came back from one.

    The alarms named are looked at although their signal has cleared. Notices that were held back
    go out for those that came back.
    """
    parameters = {"devices": list(devices), "alarms": list(alarms), "now": now}
    row = await (await conn.execute(SETTLE, parameters)).fetchone()
    moved = list(row[0]) if row else []
    back = await (await conn.execute(BACK, [moved])).fetchall() if moved else []
    if back:
        await jobs.defer(conn, "send_notices", {"alarm_ids": [one for (one,) in back]})
    return moved


async def tell(conn: Connection, alarm_ids: Sequence[UUID]) -> None:
    """Tells the live list; takes its counter, so nothing that waits may come after it."""
    if alarm_ids:
        await conn.execute("SELECT note_live_changes(%s::uuid[])", [list(alarm_ids)])


async def _one(conn: Connection, query: str, parameters: dict[str, Any]) -> HoldRow | None:
    async with conn.cursor(row_factory=class_row(HoldRow)) as cursor:
        await cursor.execute(query, parameters)
        return await cursor.fetchone()


async def _note(
    conn: Connection,
    hold: HoldRow,
    action: str,
    actor: Actor,
    now: datetime,
    note: str | None = None,
) -> None:
    await ledger_store.note_act(conn, _act(hold, action, actor.username, actor.role, now, note))


async def _note_end(conn: Connection, hold: HoldRow, why: str, now: datetime) -> None:
    await ledger_store.note_act(conn, _act(hold, why, SYSTEM, SYSTEM, now, None))


def _act(hold: HoldRow, action: str, actor: str, role: str, now: datetime, note: str | None) -> Act:
    body = {
        "kind": hold.kind,
        "device_id": hold.device_id,
        "tier": _tier(hold).wire,
        "reason": hold.reason,
        "asked_by": hold.asked_by,
        "until": rfc3339(hold.until),
    }
    return Act("hold", str(hold.hold_id), action, actor, role, now, note, body, hold.enterprise_id)


def _tier(hold: HoldRow) -> Tier:
    return Tier(hold.tier)


def _standing(hold: HoldRow, now: datetime) -> str:
    if hold.ended_at is not None:
        return f"was over at {rfc3339(hold.ended_at)}"
    if hold.until <= now:
        return f"was over at {rfc3339(hold.until)}"
    return "is in force" if hold.granted_at is not None else "waits to be granted"
