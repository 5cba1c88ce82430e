"""What follows from a change of a case, in the transaction of the change."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from hazardloop.alarms import escalation_store
from hazardloop.alarms.alarm import Case, Step
from hazardloop.alarms.case_store import Connection


async def of_step(conn: Connection, before: Case, after: Case, step: Step) -> None:
    """The clocks that the step stopped are cancelled, those that it started are planned.

    To be called once the step is saved, before the live list is told.
    """
    if _clocked(before) != _clocked(after):
        await escalation_store.settle(conn, [after.alarm_id], step.taken_at)


async def of_opening(conn: Connection, alarm_ids: Sequence[UUID], now: datetime) -> None:
    """The clocks of cases just opened, or tightened because their alarm rose, are planned."""
    if alarm_ids:
        await escalation_store.settle(conn, alarm_ids, now)


def _clocked(case: Case) -> tuple[object, ...]:
    """All of a case on which its clocks depend."""
    return case.stage, case.tier, case.stage_due_at, case.assignments
