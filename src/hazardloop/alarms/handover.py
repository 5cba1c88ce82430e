"""Handing over a watch: who may write, sign and accept its sheet, and in which order."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from hazardloop.alarms.alarm import Actor, Role


class SheetStep(StrEnum):
    """What is done with the sheet of a shift."""

    WRITE = "write"
    SUBMIT = "submit"
    ACCEPT = "accept"


class SheetState(StrEnum):
    """How far the sheet is."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    ACCEPTED = "accepted"


ALLOWED = {
    SheetState.DRAFT: (SheetStep.WRITE, SheetStep.SUBMIT),
    SheetState.SUBMITTED: (SheetStep.ACCEPT,),
    SheetState.ACCEPTED: (),
}
"""What may be done with a sheet as it stands."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """The sheet of a shift, and who stands the watch and the next one."""

    state: SheetState
    submitted_by: str | None
    outgoing: Collection[str]
    """User names."""
    incoming: Collection[str]


def not_now(sheet: Sheet, step: SheetStep) -> str | None:
    """Why the sheet is not in the state for `step`; None if it is."""
    if step in ALLOWED[sheet.state]:
        return None
    allowed = " or ".join(ALLOWED[sheet.state]) or "nothing: it is signed by both"
    return f"the sheet is {sheet.state}; allowed now: {allowed}"


def not_by(sheet: Sheet, step: SheetStep, actor: Actor) -> str | None:
    """Why `actor` may not take `step`; None if they may."""
    if step is SheetStep.ACCEPT and actor.username == sheet.submitted_by:
        return f"{actor.username} signed as the outgoing operator; another person accepts"
    if actor.role is Role.SUPERVISOR:
        return None
    stand = sheet.incoming if step is SheetStep.ACCEPT else sheet.outgoing
    if actor.username in stand:
        return None
    watch = "the next shift" if step is SheetStep.ACCEPT else "this shift"
    names = ", ".join(sorted(stand)) or "nobody yet"
    return f"{watch} is stood by {names}; they do it, or a supervisor"
