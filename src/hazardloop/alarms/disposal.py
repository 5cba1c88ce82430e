"""One human step on a case: load, advance, save."""

from dataclasses import fields
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from hazardloop.alarms import case_store, consequences, ledger_store
from hazardloop.alarms.alarm import Action, Actor, Case, Stage, Step
from hazardloop.alarms.case_store import Connection
from hazardloop.alarms.deadlines import DUTIES, PROJECT_DEADLINES, Deadlines, ends_duty
from hazardloop.alarms.errors import CaseUnknown
from hazardloop.alarms.ledger_store import Entry, Evidence
from hazardloop.alarms.lifecycle import advance


async def take_step(
    conn: Connection, case_id: UUID, step: Step, deadlines: Deadlines = PROJECT_DEADLINES
) -> Case:
    """The case after `step`, saved with its ledger line and told to the live list: all or nothing.

    Raises CaseUnknown, and what `advance` raises; CaseOvertaken also when another step came first.
    """
    async with conn.transaction():
        case = await _known(conn, case_id)
        after = advance(case, step, deadlines)
        await case_store.bump_alarm(conn, case.alarm_id)
        await _save(conn, case, after, step, {})
    return after


async def attach_evidence(
    conn: Connection,
    evidence: Evidence,
    actor: Actor,
    caption: str | None,
    deadlines: Deadlines = PROJECT_DEADLINES,
) -> Case:
    """The case with one more file, which is on disk already.

    A photograph decides nothing, so it is never overtaken: it waits for its turn. Raises as
    `take_step`.
    """
    async with conn.transaction():
        unlocked = await _known(conn, evidence.case_id)
        await case_store.bump_alarm(conn, unlocked.alarm_id)
        case = await _known(conn, evidence.case_id)
        step = Step(Action.ATTACH, actor, case.revision, evidence.uploaded_at, note=caption)
        after = advance(case, step, deadlines)
        await ledger_store.add_evidence(conn, evidence)
        body = {
            "evidence_id": str(evidence.evidence_id),
            "file_name": evidence.file_name,
            "sha256": evidence.sha256.hex(),
        }
        await _save(conn, case, after, step, body)
    return after


async def _known(conn: Connection, case_id: UUID) -> Case:
    case = await case_store.load_case(conn, case_id)
    if case is None:
        raise CaseUnknown(case_id)
    return case


async def _save(
    conn: Connection, before: Case, after: Case, step: Step, body: dict[str, Any]
) -> None:
    """Keeps a step whose alarm row is held: signature, case, ledger, and last the live list."""
    for was, now in zip(before.assignments, after.assignments, strict=True):
        if was != now:
            await case_store.sign(conn, after.case_id, now)
    permit = None
    if step.permit is not None:
        permit = {
            "granted_by": step.actor.username,
            "granted_at": step.taken_at.isoformat(),
            "reason": step.permit,
        }
    await case_store.save_case(conn, after, permit)
    await ledger_store.note_entry(conn, ledger_entry(before, after, step, body))
    await consequences.of_step(conn, before, after, step)
    await case_store.note_change(conn, after.alarm_id)


CONTENT_FIELDS: Final = tuple(
    field.name
    for field in fields(Step)
    if field.name not in ("action", "actor", "revision", "taken_at", "note")
)
"""What a step may bring, in the order it is written down."""


def ledger_entry(before: Case, after: Case, step: Step, body: dict[str, Any]) -> Entry:
    """The line of the ledger for a step: what it brought, where it led, and how its clock stood."""
    brought = {
        name: value.isoformat() if isinstance(value, date | datetime) else str(value)
        for name in CONTENT_FIELDS
        if (value := getattr(step, name)) is not None
    }
    return Entry(
        after.case_id,
        after.alarm_id,
        after.revision,
        step.action,
        step.actor.username,
        step.actor.role,
        step.taken_at,
        step.note,
        brought | body | _clock(before, after, step),
    )


def _clock(before: Case, after: Case, step: Step) -> dict[str, Any]:
    """Stage after the step; the duty it fulfilled, if one, and when the next is due."""
    clock: dict[str, Any] = {"stage": after.stage}
    if before.stage is after.stage or not ends_duty(before.stage, after.stage):
        return clock
    if after.stage_due_at is not None:
        clock["due_at"] = after.stage_due_at.isoformat()
    if before.stage_due_at is not None and before.stage is not Stage.CLOSED:
        clock["fulfilled"] = DUTIES[before.stage]
        clock["late"] = step.taken_at > before.stage_due_at
    return clock
