"""Cases handled together: which belong together, and steps that a lead takes for its members.

A member keeps its own row, verdict and charges; its clocks rest while it has a lead. It stands at
the stage of its lead because each step of the lead is taken on it, too, guards and all; so nothing
is closed by being merged.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from hazardloop.alarms.alarm import Action, Case, Stage, Step
from hazardloop.alarms.deadlines import PROJECT_DEADLINES, Deadlines
from hazardloop.alarms.errors import CaseOvertaken, StepRefused
from hazardloop.alarms.lifecycle import advance, permit_called_for

MOST_MEMBERS: Final = 200
"""Cases under one lead; source: project decision, one storm of one unit."""

MERGEABLE: Final = (Stage.DISPATCHED, Stage.SIGNED, Stage.VERIFIED, Stage.HANDLING)
"""Stages at which cases may be put together or taken apart."""


class Bond(StrEnum):
    """Why two alarms may be one matter."""

    DEVICE = "same_device"
    UNIT = "same_unit"


@dataclass(frozen=True, slots=True)
class Site:
    """Where and when the alarm of a case was raised."""

    case_id: UUID
    device_id: int
    hazard_unit_id: int | None
    raised_at: datetime


@dataclass(frozen=True, slots=True)
class Proposal:
    """A case that could be handled together with the one asked about."""

    case_id: UUID
    bond: Bond
    apart: timedelta
    """Between the two alarms' raising."""


def related(one: Site, others: Iterable[Site], within: timedelta) -> tuple[Proposal, ...]:
    """Which of `others` share device or hazard unit with `one` and were raised within that time.

    Those of the same device come first, then the nearest in time.
    """
    found = [
        Proposal(other.case_id, bond, abs(other.raised_at - one.raised_at))
        for other in others
        if other.case_id != one.case_id
        and abs(other.raised_at - one.raised_at) <= within
        and (bond := _bond(one, other)) is not None
    ]
    return tuple(sorted(found, key=lambda it: (it.bond is Bond.UNIT, it.apart, it.case_id)))


def _bond(one: Site, other: Site) -> Bond | None:
    if one.device_id == other.device_id:
        return Bond.DEVICE
    if one.hazard_unit_id is not None and one.hazard_unit_id == other.hazard_unit_id:
        return Bond.UNIT
    return None


def no_merge(lead: Case, member: Case) -> str | None:
    """Why `member` cannot be handled under `lead`; None if it can."""
    if member.case_id == lead.case_id:
        return "a case is not handled under itself"
    if member.enterprise_id != lead.enterprise_id:
        return f"case {member.case_id} is another enterprise's"
    if member.lead_case_id is not None:
        return f"case {member.case_id} is handled under case {member.lead_case_id} already"
    if member.members:
        return f"case {member.case_id} leads others itself: split it first"
    if lead.stage not in MERGEABLE or member.stage is not lead.stage:
        return (
            f"case {member.case_id} stands at {member.stage}, the lead at {lead.stage}: both must"
            f" stand at the same of {', '.join(MERGEABLE)}"
        )
    if _receipts(member) != _receipts(lead):
        return f"case {member.case_id}: not the same posts have signed both cases"
    return None


def _receipts(case: Case) -> set[tuple[str, str, bool]]:
    return {(one.party, one.post, one.signed_at is not None) for one in case.assignments}


def merge(
    lead: Case, members: Sequence[Case], revisions: Mapping[UUID, int], step: Step
) -> tuple[Case, tuple[Case, ...]]:
    """Lead and members, handled together from now on, each one revision on.

    Raises StepForbidden, CaseOvertaken, StepRefused: nothing is merged then.
    """
    after = advance(lead, step)
    for member in members:
        if member.revision != revisions[member.case_id]:
            raise CaseOvertaken(member.case_id, member.revision, revisions[member.case_id])
        if reason := no_merge(lead, member):
            raise StepRefused(lead, step, reason)
    if len(lead.members) + len(members) > MOST_MEMBERS:
        raise StepRefused(lead, step, f"at most {MOST_MEMBERS} cases are handled under one")
    return replace(after, members=(*lead.members, *(one.case_id for one in members))), tuple(
        replace(one, lead_case_id=lead.case_id, revision=one.revision + 1) for one in members
    )


def split(lead: Case, members: Sequence[Case], step: Step) -> tuple[Case, tuple[Case, ...]]:
    """Lead without `members`, which go on by themselves from where they stand.

    Raises StepForbidden, CaseOvertaken, StepRefused.
    """
    after = advance(lead, step)
    for member in members:
        if member.lead_case_id != lead.case_id:
            raise StepRefused(lead, step, f"case {member.case_id} is not handled under it")
    gone = {member.case_id for member in members}
    return replace(after, members=tuple(one for one in lead.members if one not in gone)), tuple(
        replace(one, lead_case_id=None, revision=one.revision + 1) for one in members
    )


FOR_ALL: Final = frozenset(
    {
        Action.SIGN,
        Action.VERIFY,
        Action.HANDLE,
        Action.SUBMIT,
        Action.RETURN,
        Action.CLOSE,
        Action.REOPEN,
    }
)
"""Steps that a lead takes for every member."""


def advance_together(
    lead: Case, members: Sequence[Case], step: Step, deadlines: Deadlines = PROJECT_DEADLINES
) -> tuple[tuple[Case, Case, Step], ...]:
    """Each case that the step changes: before, after, and the step as taken on it; the lead first.

    Raises what `advance` raises, also for a member: then nothing is changed at all.
    """
    taken = [(lead, advance(lead, step, deadlines), step)]
    for member in members:
        if not _is_for(member, step):
            continue
        own = replace(step, revision=member.revision)
        alone = advance(replace(member, lead_case_id=None), own, deadlines)
        taken.append((member, replace(alone, lead_case_id=member.lead_case_id), own))
    return tuple(taken)


def _is_for(member: Case, step: Step) -> bool:
    """Whether a step of the lead is taken on this member, too."""
    if step.action is Action.ATTACH:
        return step.permit is not None and permit_called_for(member, step.taken_at)
    if step.action in (Action.TICK, Action.UNTICK):
        ticked = step.action is Action.UNTICK
        return any(
            one.item == step.item and (one.ticked_at is not None) is ticked for one in member.checks
        )
    return step.action in FOR_ALL
