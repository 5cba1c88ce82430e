"""The table of disposal steps, walked from end to end and attacked at random."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hazardloop.alarms.alarm import (
    Action,
    Actor,
    Assignment,
    Case,
    Check,
    Party,
    Role,
    Stage,
    Step,
    Tier,
    Verdict,
)
from hazardloop.alarms.deadlines import DUTIES, PROJECT_DEADLINES, Duty, Passage, duty_runs
from hazardloop.alarms.errors import CaseOvertaken, StepForbidden, StepRefused
from hazardloop.alarms.lifecycle import (
    NEEDED,
    PERMITTED,
    TRANSITIONS,
    advance,
    allowed_actions,
    missing_fields,
)

NOW = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)
HOME = 7

SITE = Actor("zhang", "张三", Role.ENTERPRISE, HOME)
STRANGER = Actor("qian", "钱七", Role.ENTERPRISE, HOME + 1)
OFFICER = Actor("li", "李四", Role.AUTHORITY)
SUPERVISOR = Actor("wang", "王五", Role.SUPERVISOR)
OPERATOR = Actor("zhao", "赵六", Role.OPERATOR)
PEOPLE = (
    SITE,
    STRANGER,
    OFFICER,
    SUPERVISOR,
    OPERATOR,
    *(Actor(role, role, role) for role in (Role.ADMIN, Role.AUDITOR, Role.TESTER)),
)

FULL: dict[str, Any] = {
    "note": "现场已确认",
    "verdict": Verdict.REAL,
    "cause": "法兰泄漏",
    "measures": "更换垫片",
    "responsible": "张三",
    "funds": "2000 元",
    "deadline": date(2026, 12, 1),
    "plan": "停车检修",
    "item": "shut",
}


def fit(stage: Stage, action: Action) -> Case:
    """A case at `stage` that lacks nothing for `action` but what the step brings."""
    ticked = (None, None) if action is Action.TICK else (NOW, "zhang")
    return case_at(stage, checks=(Check("shut", True, *ticked),), members=(UUID(int=3),))


def content(stage: Stage, action: Action) -> dict[str, Any]:
    """What fills in every form; before the report only the verdict can be amended."""
    if action is Action.AMEND and stage is not Stage.SUBMITTED:
        return {"verdict": Verdict.TEST}
    return FULL


def case_at(stage: Stage, **changes: Any) -> Case:
    """A yellow case as it would stand at `stage`, its signal back to normal."""
    signed = (
        {"signed_at": NOW, "signed_by": "someone"}
        if stage
        not in (
            Stage.RAISED,
            Stage.DISPATCHED,
        )
        else {}
    )
    case = Case(
        case_id=UUID(int=1),
        alarm_id=UUID(int=2),
        enterprise_id=HOME,
        tier=Tier.YELLOW,
        signal_active=False,
        stage=stage,
        revision=5,
        opened_at=NOW,
        stage_at=NOW,
        stage_due_at=PROJECT_DEADLINES.due_at(stage, Tier.YELLOW, NOW),
        assignments=(
            Assignment(Party.ENTERPRISE, "示范化工", NOW, NOW, **signed),
            Assignment(Party.AUTHORITY, "城东监管所", NOW, NOW, **signed),
        ),
        verdict=Verdict.REAL,
    )
    return replace(case, **changes)


def take(case: Case, action: Action, actor: Actor, **content: Any) -> Case:
    """`case` after one step of `actor` on the revision as it is."""
    content.setdefault("taken_at", NOW)
    content.setdefault("revision", case.revision)
    return advance(case, Step(action, actor, **content))


# who could take the step if nothing else were against it
TAKERS = {
    Action.SIGN: SITE,
    Action.VERIFY: SITE,
    Action.HANDLE: SITE,
    Action.SUBMIT: SITE,
    Action.RETURN: OFFICER,
    Action.CLOSE: OFFICER,
    Action.REOPEN: OFFICER,
    Action.COMMENT: OFFICER,
    Action.ATTACH: SITE,
    Action.ESCALATE: OPERATOR,
    Action.DISPATCH: OPERATOR,
    Action.TICK: SITE,
    Action.UNTICK: SITE,
    Action.AMEND: SITE,
    Action.MERGE: OPERATOR,
    Action.SPLIT: OPERATOR,
}


@pytest.mark.parametrize(("stage", "action"), list(product(Stage, Action)))
def test_only_pairs_of_the_table_are_steps(stage: Stage, action: Action) -> None:
    case = fit(stage, action)
    if (stage, action) in TRANSITIONS and action is not Action.DISPATCH:
        after = take(case, action, TAKERS[action], **content(stage, action))
        awaited = case.stage if action is Action.SIGN else TRANSITIONS[stage, action]
        assert (after.stage, after.revision) == (awaited, case.revision + 1)
    else:
        with pytest.raises(StepRefused, match=f"{action} is refused at stage {stage}"):
            take(case, action, TAKERS[action], **FULL)


def test_a_refusal_says_what_is_possible_instead() -> None:
    with pytest.raises(StepRefused, match="only return, close, comment, attach, escalate"):
        take(case_at(Stage.SUBMITTED), Action.HANDLE, SITE)


@pytest.mark.parametrize(("actor", "action"), list(product(PEOPLE, PERMITTED)))
def test_a_step_is_for_the_roles_of_the_table_and_an_enterprise_for_its_own_cases(
    actor: Actor, action: Action
) -> None:
    stage = next(stage for stage, of in TRANSITIONS if of is action)
    may = actor.role in PERMITTED[action] and actor is not STRANGER
    case = fit(stage, action)
    assert (action in allowed_actions(case, actor, NOW)) is may
    if not may:
        with pytest.raises(StepForbidden, match=actor.username):
            take(case, action, actor, **content(stage, action))
    else:
        take(case, action, actor, **content(stage, action))


@pytest.mark.parametrize("role", [Role.ADMIN, Role.AUDITOR, Role.TESTER])
def test_who_configures_audits_or_tests_takes_no_step(role: Role) -> None:
    actor = Actor("x", "x", role)
    assert [stage for stage in Stage if allowed_actions(case_at(stage), actor, NOW)] == []


def test_a_case_is_signed_when_both_sides_have_signed() -> None:
    first = take(case_at(Stage.DISPATCHED), Action.SIGN, OFFICER, taken_at=NOW)
    assert first.stage is Stage.DISPATCHED
    assert [one.signed_by for one in first.assignments] == [None, "li"]
    second = take(first, Action.SIGN, SITE, taken_at=NOW + timedelta(minutes=3))
    assert second.stage is Stage.SIGNED
    assert [one.signed_by for one in second.assignments] == ["zhang", "li"]


def test_a_side_signs_once() -> None:
    signed = take(case_at(Stage.DISPATCHED), Action.SIGN, OFFICER)
    with pytest.raises(StepRefused, match="authority has signed already, by li"):
        take(signed, Action.SIGN, Actor("he", "何", Role.AUTHORITY))


@pytest.mark.parametrize("revision", [4, 6])
def test_a_step_on_another_revision_is_told_the_present_one(revision: int) -> None:
    with pytest.raises(CaseOvertaken, match="is at revision 5") as caught:
        take(case_at(Stage.SIGNED), Action.VERIFY, SITE, verdict=Verdict.REAL, revision=revision)
    assert caught.value.revision == 5


@pytest.mark.parametrize(
    ("action", "field"), [(action, field) for action in NEEDED for field in NEEDED[action]]
)
@pytest.mark.parametrize("empty", [None, "", "  "])
def test_a_step_without_its_content_is_refused(
    action: Action, field: str, empty: str | None
) -> None:
    stage = next(stage for stage, of in TRANSITIONS if of is action)
    with pytest.raises(StepRefused, match=field) as caught:
        take(fit(stage, action), action, TAKERS[action], **FULL | {field: empty})
    assert caught.value.missing == (field,)


@pytest.mark.parametrize("field", ["responsible", "measures", "funds", "deadline", "plan"])
@pytest.mark.parametrize("tier", [tier for tier in Tier if tier])
def test_red_needs_the_five_and_other_tiers_only_cause_and_measures(tier: Tier, field: str) -> None:
    case = case_at(Stage.HANDLING, tier=tier, evidence=1)
    step = Step(Action.SUBMIT, SITE, 5, NOW, **FULL | {field: None})
    assert missing_fields(case, step) == (
        (field,) if tier is Tier.RED or field == "measures" else ()
    )


@pytest.mark.parametrize(
    ("tier", "needed"),
    [(Tier.BLUE, False), (Tier.YELLOW, False), (Tier.ORANGE, True), (Tier.RED, True)],
)
def test_orange_and_red_are_submitted_with_evidence(tier: Tier, needed: bool) -> None:
    case = case_at(Stage.HANDLING, tier=tier)
    if needed:
        with pytest.raises(StepRefused, match=f"{tier.wire} case needs evidence"):
            take(case, Action.SUBMIT, SITE, **FULL)
        case = replace(case, evidence=1)
    assert take(case, Action.SUBMIT, SITE, **FULL).stage is Stage.SUBMITTED


@pytest.mark.parametrize("action", [Action.CLOSE, Action.RETURN])
@pytest.mark.parametrize("handled", [Action.HANDLE, Action.SUBMIT])
def test_who_handled_or_submitted_reviews_nothing(action: Action, handled: Action) -> None:
    case = case_at(Stage.VERIFIED)
    case = take(case, Action.HANDLE, SUPERVISOR if handled is Action.HANDLE else SITE)
    case = take(case, Action.SUBMIT, SUPERVISOR if handled is Action.SUBMIT else SITE, **FULL)
    assert action not in allowed_actions(case, SUPERVISOR, NOW)
    with pytest.raises(StepRefused, match="wang handled or submitted this case"):
        take(case, action, SUPERVISOR, note="好")
    assert action in allowed_actions(case, OFFICER, NOW)


def test_having_handled_before_a_return_is_not_forgotten() -> None:
    case = take(case_at(Stage.HANDLING), Action.SUBMIT, SUPERVISOR, **FULL)
    case = take(case, Action.RETURN, OFFICER, note="照片不清")
    case = take(case, Action.SUBMIT, SITE, **FULL)
    with pytest.raises(StepRefused, match="another person"):
        take(case, Action.CLOSE, SUPERVISOR)


def test_an_active_signal_keeps_its_case_open_unless_a_supervisor_permits() -> None:
    case = case_at(Stage.SUBMITTED, signal_active=True)
    assert Action.CLOSE not in allowed_actions(case, OFFICER, NOW)
    with pytest.raises(StepRefused, match="still active"):
        take(case, Action.CLOSE, OFFICER)
    permitted = take(case, Action.ATTACH, SUPERVISOR, permit="探头损坏，已停用")
    closed = take(permitted, Action.CLOSE, OFFICER)
    assert closed.stage is Stage.CLOSED
    reopened = take(closed, Action.REOPEN, OFFICER)
    assert not reopened.bypass_permit, "a permit was for one closing"


def test_a_tier_that_rose_after_the_report_is_not_closed_with_the_report_of_a_lower_one() -> None:
    case = take(case_at(Stage.HANDLING), Action.SUBMIT, SITE, cause="法兰泄漏", measures="更换垫片")
    risen = replace(case, tier=Tier.RED)
    assert Action.CLOSE not in allowed_actions(risen, OFFICER, NOW)
    with pytest.raises(StepRefused, match="lacks responsible, funds, deadline, plan"):
        take(risen, Action.CLOSE, OFFICER)
    five = {name: FULL[name] for name in ("responsible", "funds", "deadline", "plan")}
    amended = take(risen, Action.AMEND, SITE, **five)
    with pytest.raises(StepRefused, match="no evidence"):
        take(amended, Action.CLOSE, OFFICER)
    assert take(replace(amended, evidence=1), Action.CLOSE, OFFICER).stage is Stage.CLOSED
    assert take(case, Action.CLOSE, OFFICER).stage is Stage.CLOSED


@pytest.mark.parametrize("actor", [SITE, OFFICER, OPERATOR])
def test_nobody_but_a_supervisor_permits(actor: Actor) -> None:
    with pytest.raises(StepForbidden, match="granted by a supervisor"):
        take(case_at(Stage.HANDLING, signal_active=True), Action.ATTACH, actor, permit="x")


@pytest.mark.parametrize(
    ("case", "permit"),
    [
        pytest.param(case_at(Stage.HANDLING), "x", id="the signal is normal"),
        pytest.param(case_at(Stage.CLOSED, signal_active=True), "x", id="the case is closed"),
        pytest.param(case_at(Stage.HANDLING, signal_active=True), " ", id="no reason is given"),
    ],
)
def test_a_permit_without_cause_is_refused(case: Case, permit: str) -> None:
    with pytest.raises(StepRefused, match="bypass permit"):
        take(case, Action.ATTACH, SUPERVISOR, permit=permit)


def test_return_and_reopening_are_counted_and_lead_back_to_handling() -> None:
    case = take(case_at(Stage.SUBMITTED), Action.RETURN, OFFICER, note="原因不明")
    assert (case.stage, case.returned) == (Stage.HANDLING, 1)
    case = take(take(case, Action.SUBMIT, SITE, **FULL), Action.CLOSE, OFFICER)
    assert (case.closed_by, case.closed_at) == ("li", NOW)
    case = take(case, Action.REOPEN, SUPERVISOR)
    assert (case.stage, case.reopened, case.closed_by) == (Stage.HANDLING, 1, None)


def test_each_duty_has_its_clock_and_taking_in_hand_does_not_stop_the_report_s() -> None:
    def due_after(case: Case, action: Action, actor: Actor, minutes: int) -> Case:
        return take(case, action, actor, taken_at=NOW + timedelta(minutes=minutes), **FULL)

    case = case_at(Stage.DISPATCHED, tier=Tier.RED, evidence=1)
    case = due_after(due_after(case, Action.SIGN, SITE, 1), Action.SIGN, OFFICER, 2)
    assert case.stage_due_at == NOW + timedelta(minutes=2 + 15)
    case = due_after(case, Action.VERIFY, SITE, 10)
    assert case.stage_due_at == NOW + timedelta(minutes=10, hours=4)
    case = due_after(case, Action.HANDLE, SITE, 20)
    assert case.stage_due_at == NOW + timedelta(minutes=10, hours=4)
    case = due_after(case, Action.COMMENT, SITE, 25)
    assert case.stage_due_at == NOW + timedelta(minutes=10, hours=4)
    case = due_after(case, Action.SUBMIT, SITE, 30)
    assert case.stage_due_at == NOW + timedelta(minutes=30, hours=24)
    returned = due_after(case, Action.RETURN, OFFICER, 40)
    assert returned.stage_due_at == NOW + timedelta(minutes=40, hours=4)
    closed = due_after(case, Action.CLOSE, OFFICER, 40)
    assert closed.stage_due_at is None


def test_every_duty_has_a_time_for_every_tier_and_worse_is_never_slower() -> None:
    assert set(PROJECT_DEADLINES.times) == set(Duty) == set(DUTIES.values())
    for times in PROJECT_DEADLINES.times.values():
        ordered = [times[tier] for tier in Tier if tier]
        assert ordered == sorted(ordered, reverse=True)


def test_the_duties_of_a_case_are_read_back_from_its_ledger() -> None:
    def at(minutes: int) -> datetime:
        return NOW + timedelta(minutes=minutes)

    ledger = [
        Passage("raise", Stage.RAISED, None, at(0)),
        Passage("dispatch", Stage.DISPATCHED, at(10), at(0)),
        Passage("sign", Stage.DISPATCHED, None, at(1)),
        Passage("tighten", Stage.DISPATCHED, at(7), at(2)),
        Passage("sign", Stage.SIGNED, at(30), at(8)),
        Passage("verify", Stage.VERIFIED, at(300), at(20)),
        Passage("handle", Stage.HANDLING, None, at(25)),
        Passage("comment", Stage.HANDLING, None, at(26)),
        Passage("submit", Stage.SUBMITTED, at(900), at(290)),
        Passage("return", Stage.HANDLING, at(600), at(400)),
    ]
    runs = duty_runs(ledger, at(700))
    assert [(run.duty, run.due_at, run.done_at, run.overdue) for run in runs] == [
        (Duty.SIGN, at(7), at(8), True),
        (Duty.VERIFY, at(30), at(20), False),
        (Duty.SUBMIT, at(300), at(290), False),
        (Duty.REVIEW, at(900), at(400), False),
        (Duty.SUBMIT, at(600), None, True),
    ]


class Disposal(RuleBasedStateMachine):
    """People of all roles, with and without content, step on one case in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.case = case_at(Stage.DISPATCHED, verdict=None, signal_active=True)
        self.path: list[tuple[Stage, Action, Stage]] = []
        self.reviewed_by_another = True

    @rule(tier=st.sampled_from([Tier.ORANGE, Tier.RED]))
    def the_tier_rises(self, tier: Tier) -> None:
        self.case = replace(self.case, tier=max(self.case.tier, tier))

    @rule()
    def the_signal_clears(self) -> None:
        before = self.case
        self.case = replace(self.case, signal_active=False)
        assert self.case.stage is before.stage, "a signal that clears closes no case"

    @rule()
    def evidence_is_added(self) -> None:
        self.case = replace(self.case, evidence=self.case.evidence + 1)

    @rule(
        action=st.sampled_from(Action),
        actor=st.sampled_from(PEOPLE),
        left_out=st.sets(st.sampled_from(sorted(FULL)), max_size=2),
        permit=st.sampled_from([None, None, "探头损坏"]),
        stale=st.sampled_from([0, 0, 0, 0, -1]),
    )
    def somebody_steps(
        self, action: Action, actor: Actor, left_out: set[str], permit: str | None, stale: int
    ) -> None:
        self._try(action, actor, left_out, permit, stale)

    @rule(data=st.data(), actor=st.sampled_from(PEOPLE[:5]), left_out=st.sampled_from(sorted(FULL)))
    def somebody_does_what_is_allowed(
        self, data: st.DataObject, actor: Actor, left_out: str
    ) -> None:
        allowed = [
            a
            for a in allowed_actions(self.case, actor, NOW)
            if TRANSITIONS.get((self.case.stage, a)) != self.case.stage
        ]
        if not allowed:
            return
        action = data.draw(st.sampled_from(allowed))
        self._try(action, actor, data.draw(st.sampled_from([set(), {left_out}])), None, 0)

    def _try(
        self, action: Action, actor: Actor, left_out: set[str], permit: str | None, stale: int
    ) -> None:
        content = {name: value for name, value in FULL.items() if name not in left_out}
        offered = action in allowed_actions(self.case, actor, NOW)
        step = Step(action, actor, self.case.revision + stale, NOW, permit=permit, **content)
        before = self.case
        try:
            self.case = advance(before, step)
        except (StepRefused, StepForbidden, CaseOvertaken):
            return
        assert offered, "what is not offered does not work either"
        assert self.case.revision == before.revision + 1
        if before.stage is not self.case.stage:
            self.path.append((before.stage, action, self.case.stage))
        if action is Action.CLOSE:
            assert actor.username not in before.handlers
            assert not before.signal_active or before.bypass_permit

    @invariant()
    def the_path_is_unbroken_and_of_the_table(self) -> None:
        here = Stage.DISPATCHED
        for before, action, after in self.path:
            assert before is here
            assert TRANSITIONS[before, action] is after
            here = after
        assert here is self.case.stage

    @invariant()
    def a_closed_case_went_through_everything(self) -> None:
        if self.case.stage is not Stage.CLOSED:
            return
        taken = {action for _, action, _ in self.path}
        assert taken >= {Action.SIGN, Action.VERIFY, Action.HANDLE, Action.SUBMIT, Action.CLOSE}
        assert all(one.signed_at for one in self.case.assignments)
        assert self.case.verdict
        assert self.case.cause
        assert self.case.measures
        assert self.case.closed_by not in self.case.handlers
        assert self.case.submitted_by in self.case.handlers


Disposal.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
test_no_path_skips_a_step_or_lets_somebody_review_himself = Disposal.TestCase
