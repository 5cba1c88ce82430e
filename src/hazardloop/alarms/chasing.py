"""Telling the next one up that a duty is overdue: row, ledger and notice in one transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from hazardloop.alarms import escalation_store, ledger_store, notice_store, shift_store
from hazardloop.alarms.alarm import Tier
from hazardloop.alarms.case_store import Connection
from hazardloop.alarms.escalation import DISTRICT, DUTY_SUPERVISOR
from hazardloop.alarms.escalation_store import Due
from hazardloop.alarms.ledger_store import Act
from hazardloop.alarms.notices import Notice, NoticeKind

AT_ONCE: Final = 200
"""Levels of one transaction: a storm is worked off in pieces that nobody waits long for."""

TELL_LIVE: Final = "SELECT note_live_changes(%s::uuid[])"


async def chase(conn: Connection, now: datetime, most: int = AT_ONCE) -> int:
    """How many levels that were due at `now` ended, at most `most`; told, each exactly once.

    0 where another is at it: whoever is goes on until nothing is due.
    """
    async with conn.transaction():
        if not await escalation_store.our_turn(conn):
            return 0
        due = await escalation_store.due(conn, now, most)
        fired = [one for one in due if one.owed]
        if len(fired) < len(due):
            await escalation_store.note_moot(conn, [one for one in due if not one.owed], now)
        if fired:
            await _fire(conn, fired, now)
    return len(due)


async def _fire(conn: Connection, fired: Sequence[Due], now: datetime) -> None:
    await ledger_store.note_acts(conn, [_act(one, now) for one in fired])
    on_duty = await shift_store.duty_supervisor(conn, now)
    notices = await notice_store.queue(conn, [_notice(one, now, on_duty) for one in fired])
    await escalation_store.note_fired(conn, fired, notices, now)
    await conn.execute(TELL_LIVE, [list(dict.fromkeys(one.alarm_id for one in fired))])


def _act(one: Due, now: datetime) -> Act:
    """The line of the ledger: what is not done, who is told now, and how late that is."""
    return Act(
        subject="escalation",
        subject_id=str(one.case_id),
        action="escalate",
        actor="system",
        actor_role="system",
        taken_at=now,
        body={
            "escalation_id": one.escalation_id,
            "alarm_id": str(one.alarm_id),
            "duty": one.duty,
            "party": one.party,
            "level": one.level,
            "post": one.post,
            "due_at": one.due_at.isoformat(),
            "late_by_s": (now - one.due_at).total_seconds(),
        },
        enterprise_id=one.enterprise_id,
    )


def _notice(one: Due, now: datetime, on_duty: int | None) -> Notice:
    """To whoever stands at the post; the duty supervisor is who stands watch now."""
    return Notice(
        kind=NoticeKind.OVERDUE,
        case_id=one.case_id,
        alarm_id=one.alarm_id,
        party=None if one.post in DISTRICT else one.party,
        post=one.post,
        tier=Tier(one.tier),
        due_at=one.duty_due_at,
        body={
            "duty": one.duty,
            "party": one.party,
            "level": one.level,
            "late_by_s": (now - one.duty_due_at).total_seconds(),
        },
        contact_id=on_duty if one.post == DUTY_SUPERVISOR else None,
    )
