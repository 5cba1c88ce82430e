"""What follows from a change of a case, in the transaction of the change."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from hazardloop.alarms import escalation_store, notice_store
from hazardloop.alarms.alarm import Action, Case, Party, Step
from hazardloop.alarms.case_store import Connection
from hazardloop.alarms.notices import Notice, NoticeKind, Post


async def of_step(conn: Connection, before: Case, after: Case, step: Step) -> None:
    """The clocks that the step stopped are cancelled, those that it started are planned; who has to
    work on the case again is told.

    To be called once the step is saved, before the live list is told.
    """
    if _clocked(before) != _clocked(after):
        await escalation_store.settle(conn, [after.alarm_id], step.taken_at)
    if step.action in (Action.RETURN, Action.REOPEN):
        await notice_store.queue(conn, [_returned(after, step)])
    if step.action is Action.SIGN:
        await notice_store.note_signed(conn, after.case_id, step.actor.username, step.taken_at)


async def of_opening(conn: Connection, alarm_ids: Sequence[UUID], now: datetime) -> None:
    """The clocks of cases just opened, or tightened because their alarm rose, are planned, and both
    sides are told.
    """
    if alarm_ids:
        await escalation_store.settle(conn, alarm_ids, now)
        await notice_store.queue_charges(conn, alarm_ids)


def _returned(case: Case, step: Step) -> Notice:
    return Notice(
        NoticeKind.RETURNED,
        case.case_id,
        case.alarm_id,
        Party.ENTERPRISE,
        Post.ASSIGNEE,
        case.tier,
        case.stage_due_at,
        {"note": step.note} if step.note else {},
    )


def _clocked(case: Case) -> tuple[object, ...]:
    """All of a case on which its clocks depend."""
    return case.stage, case.tier, case.stage_due_at, case.assignments, case.lead_case_id
