"""One human step on a case: load, advance, save."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields
from datetime import date, datetime
from typing import Any, Final, TypeAlias
from uuid import UUID

from hazardloop.alarms import case_store, consequences, grouping, ledger_store
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

    What a lead does is done to every case handled under it in the same transaction. Raises
    CaseUnknown, and what `advance` raises; CaseOvertaken also when another step came first.
    """
    async with conn.transaction(), step_taken(conn, case_id, step, deadlines) as after:
        return after


@asynccontextmanager
async def step_taken(
    conn: Connection, case_id: UUID, step: Step, deadlines: Deadlines = PROJECT_DEADLINES
) -> AsyncIterator[Case]:
    """As `take_step`, in a transaction of the caller's that ends where it raises.

    The live list is told as the block ends: what is to be read of the case is read within, so that
    nobody else waits for it.
    """
    async with conn.pipeline():
        await conn.execute(PLANNED_ONCE)
        held = await _held(conn, case_id)
        taken = _together(held, case_id, step, deadlines)
        await _save_all(conn, taken)
        yield taken[0][1]
        await _tell(conn, taken)


PLANNED_ONCE: Final = "SELECT set_config('plan_cache_mode', 'force_generic_plan', true)"
"""All that a step asks goes by key: a plan made anew for each would cost more than the step."""


async def attach_evidence(
    conn: Connection,
    evidence: Evidence,
    actor: Actor,
    caption: str | None,
    deadlines: Deadlines = PROJECT_DEADLINES,
) -> Case:
    """The case with one more file, which is kept already.

    A photograph decides nothing, so it is never overtaken: it waits for its turn. Raises as
    `take_step`.
    """
    async with conn.transaction():
        case = (await _held(conn, evidence.case_id))[evidence.case_id]
        step = Step(Action.ATTACH, actor, case.revision, evidence.uploaded_at, note=caption)
        after = advance(case, step, deadlines)
        await ledger_store.add_evidence(conn, evidence)
        body = {
            "evidence_id": str(evidence.evidence_id),
            "file_name": evidence.file_name,
            "sha256": evidence.sha256.hex(),
        }
        taken = [(case, after, step)]
        await _save_all(conn, taken, body)
        await _tell(conn, taken)
    return after


async def merge(conn: Connection, case_id: UUID, members: Mapping[UUID, int], step: Step) -> Case:
    """The case, now leading `members` (their revisions as seen). Raises as `take_step`."""
    async with conn.transaction():
        held = await _held(conn, case_id, *members)
        lead = held[case_id]
        joining = [_one_of(held, member_id) for member_id in sorted(members)]
        after, joined = grouping.merge(lead, joining, members, step)
        await _save_bond(conn, (lead, after), list(zip(joining, joined, strict=True)), step)
    return after


async def split(conn: Connection, case_id: UUID, members: Collection[UUID], step: Step) -> Case:
    """The case, which no longer leads `members`. Raises as `take_step`."""
    async with conn.transaction():
        held = await _held(conn, case_id, *members)
        lead = held[case_id]
        leaving = [_one_of(held, member_id) for member_id in sorted(members)]
        after, left = grouping.split(lead, leaving, step)
        await _save_bond(conn, (lead, after), list(zip(leaving, left, strict=True)), step)
    return after


async def _held(conn: Connection, case_id: UUID, *others: UUID) -> Mapping[UUID, Case]:
    """The case with its members, and `others`: held. CaseUnknown."""
    held = await case_store.hold_groups(conn, [case_id, *others])
    _one_of(held, case_id)
    return held


def _one_of(held: Mapping[UUID, Case], case_id: UUID) -> Case:
    if case_id not in held:
        raise CaseUnknown(case_id)
    return held[case_id]


Taken: TypeAlias = tuple[Case, Case, Step]
"""A case before a step, after it, and the step as it was taken on it."""


def _together(
    held: Mapping[UUID, Case], case_id: UUID, step: Step, deadlines: Deadlines
) -> Sequence[Taken]:
    lead = held[case_id]
    members = [_one_of(held, member_id) for member_id in lead.members]
    return grouping.advance_together(lead, members, step, deadlines)


async def _save_all(
    conn: Connection, taken: Sequence[Taken], body: Mapping[str, Any] | None = None
) -> None:
    """Keeps steps whose alarms are held, the lead's first."""
    lead = taken[0][0]
    for before, after, step in taken:
        under = {} if before is lead else {"under": str(lead.case_id)}
        await _save(conn, before, after, step, {**(body or {}), **under})


async def _tell(conn: Connection, taken: Sequence[Taken]) -> None:
    """Tells the live list of steps that were kept: the last thing before their transaction ends."""
    await case_store.note_changes(conn, [after.alarm_id for _, after, _ in taken])


async def _save_bond(
    conn: Connection, lead: tuple[Case, Case], members: Sequence[tuple[Case, Case]], step: Step
) -> None:
    """Keeps a merge or split: a line in the ledger of the lead and of each member."""
    named = {"members": [str(after.case_id) for _, after in members]}
    under = {"under": str(lead[0].case_id)}
    for before, after in members:
        await _save(conn, before, after, step, under)
    await _save(conn, *lead, step, named)
    await case_store.note_changes(conn, [lead[1].alarm_id, *(one.alarm_id for _, one in members)])


async def _save(
    conn: Connection, before: Case, after: Case, step: Step, body: Mapping[str, Any]
) -> None:
    """Keeps a step whose alarm row is held: signature or tick, case, ledger."""
    for was, now in zip(before.assignments, after.assignments, strict=True):
        if was != now:
            await case_store.sign(conn, after.case_id, now)
    for unlike, like in zip(before.checks, after.checks, strict=True):
        if unlike != like:
            await case_store.tick(conn, after.case_id, like)
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


CONTENT_FIELDS: Final = tuple(
    field.name
    for field in fields(Step)
    if field.name not in ("action", "actor", "revision", "taken_at", "note")
)
"""What a step may bring, in the order it is written down."""


def ledger_entry(before: Case, after: Case, step: Step, body: Mapping[str, Any]) -> Entry:
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
        {**brought, **body, **_signature(before, after), **_clock(before, after, step)},
    )


def _signature(before: Case, after: Case) -> dict[str, Any]:
    """Of a step that signed: whether in time, and whether its side has now signed as a whole."""
    for was, now in zip(before.assignments, after.assignments, strict=True):
        if was.signed_at is None and now.signed_at is not None:
            side = [one for one in after.assignments if one.party is now.party]
            return {
                "sign_late": now.signed_at > now.sign_due_at,
                "side_signed": all(one.signed_at for one in side),
            }
    return {}


def _clock(before: Case, after: Case, step: Step) -> dict[str, Any]:
    """Stage after the step; the duty it fulfilled, if one, and when the next is due."""
    clock: dict[str, Any] = {"stage": after.stage}
    if before.stage is after.stage or not ends_duty(before.stage, after.stage):
        if before.stage_due_at is not None and step.taken_at > before.stage_due_at:
            clock["late"] = True
        return clock
    if after.stage_due_at is not None:
        clock["due_at"] = after.stage_due_at.isoformat()
    if before.stage_due_at is not None and before.stage is not Stage.CLOSED:
        clock["fulfilled"] = DUTIES[before.stage]
        clock["late"] = step.taken_at > before.stage_due_at
    return clock
