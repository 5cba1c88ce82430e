"""The table of disposal steps: what may follow what, by whom, and on which conditions."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final, TypeAlias

from hazardloop.alarms.alarm import Action, Actor, Case, Party, Role, Stage, Step, Tier
from hazardloop.alarms.deadlines import PROJECT_DEADLINES, Deadlines, ends_duty
from hazardloop.alarms.errors import CaseOvertaken, StepForbidden, StepRefused

TRANSITIONS: Final[Mapping[tuple[Stage, Action], Stage]] = (
    {
        (Stage.RAISED, Action.DISPATCH): Stage.DISPATCHED,
        (Stage.DISPATCHED, Action.SIGN): Stage.SIGNED,
        (Stage.SIGNED, Action.VERIFY): Stage.VERIFIED,
        (Stage.VERIFIED, Action.HANDLE): Stage.HANDLING,
        (Stage.HANDLING, Action.SUBMIT): Stage.SUBMITTED,
        (Stage.SUBMITTED, Action.RETURN): Stage.HANDLING,
        (Stage.SUBMITTED, Action.CLOSE): Stage.CLOSED,
        (Stage.CLOSED, Action.REOPEN): Stage.HANDLING,
    }
    | {
        (stage, action): stage
        for stage in Stage
        for action in (Action.COMMENT, Action.ATTACH, Action.ESCALATE)
        if (stage, action) != (Stage.CLOSED, Action.ESCALATE)
    }
    | {
        (stage, action): stage
        for action, stages in (
            (Action.TICK, (Stage.SIGNED, Stage.VERIFIED, Stage.HANDLING)),
            (Action.UNTICK, (Stage.SIGNED, Stage.VERIFIED, Stage.HANDLING)),
            (Action.AMEND, (Stage.VERIFIED, Stage.HANDLING, Stage.SUBMITTED)),
            (Action.MERGE, (Stage.DISPATCHED, Stage.SIGNED, Stage.VERIFIED, Stage.HANDLING)),
            (Action.SPLIT, (Stage.DISPATCHED, Stage.SIGNED, Stage.VERIFIED, Stage.HANDLING)),
        )
        for stage in stages
    }
)  # a pair that is not here is refused

_SITE: Final = frozenset({Role.ENTERPRISE, Role.OPERATOR, Role.SUPERVISOR})
_REVIEW: Final = frozenset({Role.AUTHORITY, Role.SUPERVISOR})

PERMITTED: Final[Mapping[Action, frozenset[Role]]] = {
    Action.SIGN: frozenset({Role.ENTERPRISE, Role.AUTHORITY}),
    Action.VERIFY: _SITE,
    Action.HANDLE: _SITE,
    Action.SUBMIT: _SITE,
    Action.RETURN: _REVIEW,
    Action.CLOSE: _REVIEW,
    Action.REOPEN: _REVIEW,
    Action.COMMENT: _SITE | _REVIEW,
    Action.ATTACH: _SITE | _REVIEW,
    Action.ESCALATE: frozenset({Role.OPERATOR, Role.SUPERVISOR, Role.AUTHORITY}),
    Action.TICK: _SITE,
    Action.UNTICK: _SITE,
    Action.AMEND: _SITE,
    Action.MERGE: frozenset({Role.OPERATOR, Role.SUPERVISOR}),
    Action.SPLIT: frozenset({Role.OPERATOR, Role.SUPERVISOR}),
}  # who is not here may not; dispatch is the service's own act, at the instant of the alarm

PARTIES: Final[Mapping[Role, Party]] = {
    Role.ENTERPRISE: Party.ENTERPRISE,
    Role.AUTHORITY: Party.AUTHORITY,
}
"""For which side a role signs."""

FIVE: Final = ("responsible", "measures", "funds", "deadline", "plan")
"""What a red case must have settled before it is submitted (五落实)."""


def advance(case: Case, step: Step, deadlines: Deadlines = PROJECT_DEADLINES) -> Case:
    """`case` after `step`, one revision on.

    Raises:
        StepForbidden: this person may never take it.
        CaseOvertaken: the step was made on another revision.
        StepRefused: no such step from this stage, or a guard of it does not hold.
    """
    if reason := not_for(case, step.actor, step.action) or permit_not_for(step):
        raise StepForbidden(case, step, reason)
    if step.revision != case.revision:
        allowed = allowed_actions(case, step.actor, step.taken_at)
        raise CaseOvertaken(case.case_id, case.revision, step.revision, allowed)
    after = TRANSITIONS.get((case.stage, step.action))
    if after is None or step.action is Action.DISPATCH:
        raise StepRefused(case, step, f"from here only {', '.join(steps_from(case.stage))}")
    for stands in STANDING.get(step.action, ()):
        if reason := stands(case, step.actor, step.taken_at):
            raise StepRefused(case, step, reason)
    if missing := missing_fields(case, step):
        raise StepRefused(case, step, f"it needs {', '.join(missing)}", missing)
    for holds in CONTENT.get(step.action, ()):
        if reason := holds(case, step):
            raise StepRefused(case, step, reason)
    moved = EFFECTS.get(step.action, _unchanged)(case, step)
    if step.action is Action.SIGN and not all(one.signed_at for one in moved.assignments):
        after = case.stage  # the other side has still to sign
    return _clocked(case, replace(moved, stage=after, revision=case.revision + 1), step, deadlines)


def allowed_actions(case: Case, actor: Actor, now: datetime) -> tuple[Action, ...]:
    """What `actor` may do with `case` as it stands at `now`, in the order of the steps.

    A step is here if only its content (verdict, measures, evidence, ...) is still to be given.
    """
    return tuple(
        action
        for action in Action
        if (case.stage, action) in TRANSITIONS
        and action in PERMITTED
        and not not_for(case, actor, action)
        and not any(stands(case, actor, now) for stands in STANDING.get(action, ()))
    )


def steps_from(stage: Stage) -> tuple[str, ...]:
    """Names of the steps that somebody can take at `stage`."""
    return tuple(a for a in Action if (stage, a) in TRANSITIONS and a in PERMITTED)


def not_for(case: Case, actor: Actor, action: Action) -> str | None:
    """Why this action on this case is not for this person at all; None if it may be."""
    permitted = PERMITTED.get(action)
    if permitted is None:
        return None  # nobody's step: refused by the table, not for who asks
    if actor.role not in permitted:
        return f"it is for {', '.join(sorted(permitted))}"
    if actor.role is Role.ENTERPRISE and actor.enterprise_id != case.enterprise_id:
        return "the case belongs to another enterprise"
    return None


def permit_not_for(step: Step) -> str | None:
    """Why this person may not grant a bypass permit; None if none is granted or they may."""
    if step.permit is None or step.actor.role is Role.SUPERVISOR:
        return None
    return "a bypass permit is granted by a supervisor"


# Standing guards: what must be so whatever is filled in; None, or why it is not.


Standing: TypeAlias = Callable[[Case, Actor, datetime], str | None]


def _not_signed_yet(case: Case, actor: Actor, now: datetime) -> str | None:
    charged = [one for one in case.assignments if one.party == PARTIES.get(actor.role)]
    if not charged:
        return f"the case is not assigned to the {PARTIES.get(actor.role)}"
    if any(one.signed_at is None for one in charged):
        return None
    last = charged[-1]
    return f"{last.party} has signed already, by {last.signed_by} at {last.signed_at}"


def _reviewer_handled_nothing(case: Case, actor: Actor, now: datetime) -> str | None:
    if actor.username in case.handlers:
        return f"{actor.username} handled or submitted this case; another person reviews it"
    return None


def _signal_rests_or_permit(case: Case, actor: Actor, now: datetime) -> str | None:
    if case.bypass_permit:
        return None
    if case.signal_active:
        return "the signal is still active; it must clear, or a supervisor attaches a bypass permit"
    if case.rests_at is not None and now < case.rests_at:
        return (
            f"the signal is normal, but must stay so until {case.rests_at:%Y-%m-%dT%H:%M:%SZ}"
            ", or a supervisor attaches a bypass permit"
        )
    return None


def _report_fits_the_tier(case: Case, actor: Actor, now: datetime) -> str | None:
    """A tier that rose after the report asks for what the report did not have to bring."""
    lacking = [name for name in FIVE if not str(getattr(case, name) or "").strip()]
    if case.tier is Tier.RED and lacking:
        return f"it is red by now and its report lacks {', '.join(lacking)}: amend or return it"
    if case.tier >= Tier.ORANGE and case.evidence == 0:
        return f"it is {case.tier.wire} by now and has no evidence: attach some"
    return None


def _leads_itself(case: Case, actor: Actor, now: datetime) -> str | None:
    if case.lead_case_id is not None:
        return f"it is handled under case {case.lead_case_id}: take the step there"
    return None


def _in_time_to_change(case: Case, actor: Actor, now: datetime) -> str | None:
    if case.stage_due_at is not None and now > case.stage_due_at:
        return (
            f"what was given can be changed until {case.stage_due_at:%Y-%m-%dT%H:%M:%SZ}, which is"
            " past; what is missing goes into a comment, or the reviewer returns the case"
        )
    return None


def _has_checks(case: Case, actor: Actor, now: datetime) -> str | None:
    return None if case.checks else "it has no response plan"


def _has_members(case: Case, actor: Actor, now: datetime) -> str | None:
    return None if case.members else "no case is handled under it"


STANDING: Final[Mapping[Action, tuple[Standing, ...]]] = {
    Action.SIGN: (_leads_itself, _not_signed_yet),
    Action.VERIFY: (_leads_itself,),
    Action.HANDLE: (_leads_itself,),
    Action.SUBMIT: (_leads_itself,),
    Action.RETURN: (_leads_itself, _reviewer_handled_nothing),
    Action.CLOSE: (
        _leads_itself,
        _reviewer_handled_nothing,
        _signal_rests_or_permit,
        _report_fits_the_tier,
    ),
    Action.REOPEN: (_leads_itself,),
    Action.TICK: (_has_checks,),
    Action.UNTICK: (_has_checks, _in_time_to_change),
    Action.AMEND: (_in_time_to_change,),
    Action.MERGE: (_leads_itself,),
    Action.SPLIT: (_has_members,),
}

# Content guards: what the step itself must bring.

NEEDED: Final[Mapping[Action, tuple[str, ...]]] = {
    Action.VERIFY: ("verdict",),
    Action.SUBMIT: ("cause", "measures"),
    Action.RETURN: ("note",),
    Action.COMMENT: ("note",),
    Action.TICK: ("item",),
    Action.UNTICK: ("item",),
}
"""Fields without which a step of any tier is refused."""


def missing_fields(case: Case, step: Step) -> tuple[str, ...]:
    """Names of what the step must bring and does not; blank text is nothing."""
    needed = NEEDED.get(step.action, ())
    if step.action is Action.SUBMIT and case.tier is Tier.RED:
        needed = tuple(dict.fromkeys(needed + FIVE))
    return tuple(name for name in needed if not str(getattr(step, name) or "").strip())


def _has_evidence(case: Case, step: Step) -> str | None:
    if case.tier >= Tier.ORANGE and case.evidence == 0:
        return f"a {case.tier.wire} case needs evidence, at least one file; it has none"
    return None


def _plan_is_worked(case: Case, step: Step) -> str | None:
    open_items = [one.item for one in case.checks if one.required and one.ticked_at is None]
    if open_items:
        return f"of the response plan are still to be ticked: {', '.join(open_items)}"
    return None


def permit_called_for(case: Case, at: datetime) -> bool:
    """Whether closing the case would take a bypass permit."""
    resting = case.rests_at is None or case.rests_at <= at
    return case.stage is not Stage.CLOSED and (case.signal_active or not resting)


def _permit_is_called_for(case: Case, step: Step) -> str | None:
    if step.permit is None:
        return None
    if not permit_called_for(case, step.taken_at):
        return "a bypass permit is for an open case whose signal is not back to normal"
    return None if step.permit.strip() else "a bypass permit needs a reason"


def _post_is_charged(case: Case, step: Step) -> str | None:
    own = [one for one in case.assignments if one.party == PARTIES.get(step.actor.role)]
    waiting = [one.post for one in own if one.signed_at is None]
    if step.post is None or step.post in waiting:
        return None
    return f"post {step.post} has nothing to sign; still to sign: {', '.join(waiting)}"


def _item_is_of_the_plan(case: Case, step: Step) -> str | None:
    ticked = step.action is Action.UNTICK
    fitting = [one.item for one in case.checks if (one.ticked_at is not None) is ticked]
    if step.item in fitting:
        return None
    return f"{step.item} is no item to {step.action}; there are: {', '.join(fitting) or 'none'}"


FINDINGS: Final = ("verdict", "cause", "measures", *FIVE[:1], *FIVE[2:])
"""What `verify` and `submit` found, which `amend` may correct in time."""


def _amends_what_was_given(case: Case, step: Step) -> str | None:
    given = {name: getattr(step, name) for name in FINDINGS if getattr(step, name) is not None}
    if not given:
        return f"it needs at least one of {', '.join(FINDINGS)}"
    if case.stage is not Stage.SUBMITTED and given.keys() != {"verdict"}:
        return "before the report only the verdict can be amended"
    blank = [name for name, value in given.items() if not str(value).strip()]
    return f"{', '.join(blank)} cannot be emptied" if blank else None


CONTENT: Final[Mapping[Action, tuple[Callable[[Case, Step], str | None], ...]]] = {
    Action.SIGN: (_post_is_charged,),
    Action.SUBMIT: (_has_evidence, _plan_is_worked),
    Action.ATTACH: (_permit_is_called_for,),
    Action.TICK: (_item_is_of_the_plan,),
    Action.UNTICK: (_item_is_of_the_plan,),
    Action.AMEND: (_amends_what_was_given,),
}

# Effects: what a step leaves on the case beside its stage.


def _unchanged(case: Case, step: Step) -> Case:
    return case


def _signed(case: Case, step: Step) -> Case:
    party = PARTIES[step.actor.role]
    signing = next(
        one
        for one in case.assignments
        if one.party == party and one.signed_at is None and step.post in (None, one.post)
    )
    signed = replace(signing, signed_at=step.taken_at, signed_by=step.actor.username)
    return replace(
        case, assignments=tuple(signed if one is signing else one for one in case.assignments)
    )


def _verified(case: Case, step: Step) -> Case:
    return replace(case, verdict=step.verdict)


def _handled(case: Case, step: Step) -> Case:
    return replace(case, handlers=tuple(dict.fromkeys((*case.handlers, step.actor.username))))


def _submitted(case: Case, step: Step) -> Case:
    return replace(
        _handled(case, step),
        submitted_by=step.actor.username,
        cause=step.cause,
        measures=step.measures,
        responsible=step.responsible,
        funds=step.funds,
        deadline=step.deadline,
        plan=step.plan,
    )


def _returned(case: Case, step: Step) -> Case:
    return replace(case, returned=case.returned + 1)


def _closed(case: Case, step: Step) -> Case:
    return replace(case, closed_by=step.actor.username, closed_at=step.taken_at)


def _reopened(case: Case, step: Step) -> Case:
    # A permit was for one closing; the next, while the signal is active, needs its own.
    return replace(
        case, reopened=case.reopened + 1, closed_by=None, closed_at=None, bypass_permit=False
    )


def _attached(case: Case, step: Step) -> Case:
    return replace(case, bypass_permit=case.bypass_permit or step.permit is not None)


def _ticked(case: Case, step: Step) -> Case:
    ticked = step.action is Action.TICK
    at, by = (step.taken_at, step.actor.username) if ticked else (None, None)
    return replace(
        case,
        checks=tuple(
            replace(one, ticked_at=at, ticked_by=by) if one.item == step.item else one
            for one in case.checks
        ),
    )


def _amended(case: Case, step: Step) -> Case:
    given = {name: getattr(step, name) for name in FINDINGS if getattr(step, name) is not None}
    amended = replace(case, **given)
    return _handled(amended, step) if case.stage is Stage.SUBMITTED else amended


EFFECTS: Final[Mapping[Action, Callable[[Case, Step], Case]]] = {
    Action.SIGN: _signed,
    Action.VERIFY: _verified,
    Action.HANDLE: _handled,
    Action.SUBMIT: _submitted,
    Action.RETURN: _returned,
    Action.CLOSE: _closed,
    Action.REOPEN: _reopened,
    Action.ATTACH: _attached,
    Action.TICK: _ticked,
    Action.UNTICK: _ticked,
    Action.AMEND: _amended,
}


def _clocked(before: Case, after: Case, step: Step, deadlines: Deadlines) -> Case:
    """`after` with the clock of its duty: a new one where a new duty begins, else the old."""
    if before.stage is after.stage:
        return after
    if not ends_duty(before.stage, after.stage):
        return replace(after, stage_at=step.taken_at)
    due_at = deadlines.due_at(after.stage, after.tier, step.taken_at)
    return replace(after, stage_at=step.taken_at, stage_due_at=due_at)
