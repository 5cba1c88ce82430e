"""Which clocks run for a case, and what climbs when."""

from datetime import UTC, datetime, timedelta

import pytest

from hazardloop.alarms.alarm import Stage, Tier
from hazardloop.alarms.deadlines import PROJECT_DEADLINES, Duty
from hazardloop.alarms.escalation import (
    LEVELS,
    PROJECT_LADDER,
    Charge,
    Clock,
    Standing,
    clocks,
    turned,
)

T0 = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def test_each_side_has_its_own_clock_until_it_signs() -> None:
    site, officer = (
        Charge(party, "assignee", T0 + 5 * MINUTE) for party in ("enterprise", "authority")
    )
    both = clocks(Standing(Stage.DISPATCHED, Tier.RED, T0 + 5 * MINUTE, (site, officer)))
    one = clocks(Standing(Stage.DISPATCHED, Tier.RED, T0 + 5 * MINUTE, (officer,)))
    assert [(clock.duty, clock.party) for clock in both] == [
        (Duty.SIGN, "enterprise"),
        (Duty.SIGN, "authority"),
    ]
    assert turned(both, one) == ((both[0],), ())


@pytest.mark.parametrize(
    ("stage", "duty", "party"),
    [
        pytest.param(Stage.SIGNED, Duty.VERIFY, "enterprise", id="the site verifies"),
        pytest.param(Stage.VERIFIED, Duty.SUBMIT, "enterprise", id="the site reports"),
        pytest.param(Stage.HANDLING, Duty.SUBMIT, "enterprise", id="handling is the same duty"),
        pytest.param(Stage.SUBMITTED, Duty.REVIEW, "authority", id="the authority reviews"),
    ],
)
def test_one_clock_runs_for_the_duty_of_a_stage(stage: Stage, duty: Duty, party: str) -> None:
    assert clocks(Standing(stage, Tier.BLUE, T0)) == (
        Clock(duty, party, "assignee", Tier.BLUE, T0),
    )


@pytest.mark.parametrize("stage", [Stage.RAISED, Stage.CLOSED])
def test_nothing_is_owed_before_dispatch_and_after_closing(stage: Stage) -> None:
    assert clocks(Standing(stage, Tier.RED, None)) == ()


def test_a_ladder_climbs_from_who_owes_it_to_the_district() -> None:
    clock = Clock(Duty.SIGN, "enterprise", "maintenance_unit", Tier.RED, T0)
    assert [(rung.level, rung.post, rung.due_at) for rung in PROJECT_LADDER.rungs(clock)] == [
        (1, "maintenance_unit", T0),
        (2, "superior", T0 + 2 * MINUTE),
        (3, "duty_supervisor", T0 + 4 * MINUTE),
        (4, "district_leader", T0 + 6 * MINUTE),
    ]


def test_a_district_sets_waits_of_its_own_and_leaves_the_others() -> None:
    own = PROJECT_LADDER.but([(Duty.SIGN, Tier.RED, MINUTE)])
    red, orange = (
        [rung.due_at - T0 for rung in own.rungs(Clock(Duty.SIGN, "authority", "a", tier, T0))]
        for tier in (Tier.RED, Tier.ORANGE)
    )
    assert red == [level * MINUTE for level in range(LEVELS)]
    assert orange == [level * 5 * MINUTE for level in range(LEVELS)]


@pytest.mark.parametrize("duty", Duty)
def test_worse_tiers_never_wait_longer(duty: Duty) -> None:
    for times in (PROJECT_LADDER.waits[duty], PROJECT_DEADLINES.times[duty]):
        assert times[Tier.RED] <= times[Tier.ORANGE] <= times[Tier.YELLOW] <= times[Tier.BLUE]
