"""What the API's description shows of cases is what the API takes and gives."""

import pytest

from hazardloop.alarms.alarm import Action, Actor, Role, Step
from hazardloop.service.api import figures
from hazardloop.service.api.case_examples import (
    CASE_EXAMPLE,
    EVIDENCE_EXAMPLE,
    STEP_EXAMPLES,
    WHOLE_CASE_EXAMPLE,
)
from hazardloop.service.api.case_forms import (
    CONTENT,
    CaseBrief,
    CaseWithSteps,
    EvidenceOut,
    StepIn,
)
from tests.cases import RAISED_AT

ACTOR = Actor("li", "李四", Role.AUTHORITY)


@pytest.mark.parametrize("name", STEP_EXAMPLES)
def test_every_step_of_the_description_is_one(name: str) -> None:
    shown = STEP_EXAMPLES[name]["value"]
    step = StepIn.model_validate(shown).step(ACTOR, RAISED_AT)
    assert (step.actor, step.taken_at, step.action) == (ACTOR, RAISED_AT, shown["action"])


def test_the_answers_of_the_description_are_answers() -> None:
    for model, shown in (
        (CaseBrief, CASE_EXAMPLE),
        (CaseWithSteps, WHOLE_CASE_EXAMPLE),
        (EvidenceOut, EVIDENCE_EXAMPLE),
        (figures.HandlingOut, figures.EXAMPLE),
    ):
        told = model.model_validate(shown).model_dump(mode="json", by_alias=True)
        assert told == shown


def test_everything_a_step_can_bring_can_be_sent() -> None:
    assert {"action", "revision", "note", *CONTENT} == set(StepIn.model_fields)
    assert set(Step.__slots__) == set(StepIn.model_fields) | {"actor", "taken_at"}


def test_every_action_can_be_asked_for() -> None:
    """Also those that are refused: the answer is then about the case, not about spelling."""
    for action in set(Action) - {Action.MERGE, Action.SPLIT}:  # have addresses of their own
        content = {"permit": "x"} if action is Action.ATTACH else {}
        assert StepIn(action=action, revision=1, **content).action is action
