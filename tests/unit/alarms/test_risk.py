"""The colour of a risk: of what a place is, what rings there, and whether anybody sees it."""

from datetime import timedelta

import pytest

from hazardloop.alarms.alarm import Tier
from hazardloop.alarms.risk import BLIND_AFTER, Cause, Risk, Signs, risk_of, risk_over

CALM = timedelta(0)


@pytest.mark.parametrize(
    ("signs", "colour", "causes"),
    [
        pytest.param(Signs(None, Tier.NONE, CALM), Tier.BLUE, [Cause.GRADE], id="nothing"),
        pytest.param(Signs(4, Tier.NONE, CALM), Tier.BLUE, [Cause.GRADE], id="grade 4"),
        pytest.param(Signs(3, Tier.NONE, CALM), Tier.YELLOW, [Cause.GRADE], id="grade 3"),
        pytest.param(Signs(2, Tier.NONE, CALM), Tier.ORANGE, [Cause.GRADE], id="grade 2"),
        pytest.param(Signs(1, Tier.NONE, CALM), Tier.RED, [Cause.GRADE], id="grade 1"),
        pytest.param(Signs(3, Tier.RED, CALM), Tier.RED, [Cause.ALARM], id="an alarm above it"),
        pytest.param(Signs(2, Tier.BLUE, CALM), Tier.ORANGE, [Cause.GRADE], id="an alarm below it"),
        pytest.param(
            Signs(2, Tier.ORANGE, CALM), Tier.ORANGE, [Cause.GRADE, Cause.ALARM], id="both as much"
        ),
        pytest.param(
            Signs(3, Tier.BLUE, BLIND_AFTER), Tier.ORANGE, [Cause.BLIND], id="nobody sees it"
        ),
        pytest.param(
            Signs(3, Tier.BLUE, BLIND_AFTER - timedelta(seconds=1)), Tier.YELLOW, [Cause.GRADE],
            id="not seen for a while",
        ),
        pytest.param(
            Signs(1, Tier.NONE, BLIND_AFTER), Tier.RED, [Cause.GRADE, Cause.BLIND],
            id="nothing is worse than red",
        ),
    ],
)  # fmt: skip
def test_the_worst_sign_makes_the_colour(signs: Signs, colour: Tier, causes: list[Cause]) -> None:
    assert risk_of(signs) == Risk(colour, tuple(causes), signs.warning)


def test_a_whole_is_as_bad_as_its_worst_part() -> None:
    own = risk_of(Signs(None, Tier.YELLOW, CALM))
    calm, red = risk_of(Signs(4, Tier.NONE, CALM)), risk_of(Signs(2, Tier.RED, CALM))
    assert risk_over(own, []) == own
    assert risk_over(own, [calm]) == own
    assert risk_over(own, [calm, red]) == Risk(Tier.RED, (Cause.PART,), Tier.RED)
    ringing = Risk(Tier.RED, (Cause.ALARM,), Tier.RED)
    assert risk_over(ringing, [red]).causes == (Cause.ALARM, Cause.PART)


def test_risk_and_warning_are_two_things() -> None:
    quiet, loud = risk_of(Signs(1, Tier.NONE, CALM)), risk_of(Signs(1, Tier.YELLOW, CALM))
    assert (quiet.colour, quiet.warning) == (Tier.RED, Tier.NONE)
    assert (loud.colour, loud.warning) == (Tier.RED, Tier.YELLOW)
