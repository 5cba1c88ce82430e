"""When the path counts as broken, and when as whole; and what a canary says."""

import pytest

from hazardloop.alarms.path import Course, Leg

WITHIN_S = 90.0
EVERYWHERE = tuple(Leg)


def course(*ways: tuple[float, tuple[Leg, ...]]) -> Course:
    """A watch that began at 0, and canaries by when each was sent and how far it came."""
    made = Course(0.0)
    for sent_s, legs in ways:
        made.begin(us(sent_s), sent_s, WITHIN_S)
        for leg in legs:
            made.reach(leg, us(sent_s))
    return made


def us(sent_s: float) -> int:
    """A canary's own time; its clock is another than the one that judges."""
    return 1_796_000_000_000_000 + int(sent_s * 1e6)


def test_a_watch_that_has_just_begun_knows_nothing_yet() -> None:
    made = course((0.0, (Leg.SENT,)))
    assert not made.broken_legs(WITHIN_S, WITHIN_S)
    assert not made.is_whole(WITHIN_S, WITHIN_S)
    assert made.arrived_us is None


def test_one_that_came_the_whole_way_makes_it_whole_for_a_while() -> None:
    made = course((30.0, EVERYWHERE))
    assert made.is_whole(30.0 + WITHIN_S, WITHIN_S)
    assert made.arrived_us == us(30.0)
    assert not made.is_whole(30.1 + WITHIN_S, WITHIN_S)
    assert made.broken_legs(30.1 + WITHIN_S, WITHIN_S) == EVERYWHERE


@pytest.mark.parametrize("missing", EVERYWHERE)
def test_the_leg_at_which_canaries_end_is_named(missing: Leg) -> None:
    others = tuple(leg for leg in Leg if leg is not missing)
    made = course((0.0, EVERYWHERE), *((at, others) for at in (30.0, 60.0, 90.0)))
    assert not made.broken_legs(90.0, WITHIN_S)
    assert made.broken_legs(91.0, WITHIN_S) == (missing,)
    assert made.arrived_us == us(0.0)


def test_what_is_long_under_way_does_not_make_it_whole() -> None:
    made = course((0.0, (Leg.SENT,)), (100.0, (Leg.SENT,)))
    for leg in Leg:
        made.reach(leg, us(0.0))
    assert set(made.broken_legs(100.0, WITHIN_S)) == set(Leg) - {Leg.SENT}, "alarms come that late"
    for leg in Leg:
        made.reach(leg, us(100.0))
    assert made.is_whole(101.0, WITHIN_S)


def test_canaries_that_overtake_each_other_count_as_the_newest_that_came() -> None:
    made = course((0.0, EVERYWHERE), (30.0, (Leg.SENT,)))
    made.begin(us(60.0), 60.0, WITHIN_S)
    for leg in Leg:
        made.reach(leg, us(60.0))
        made.reach(leg, us(30.0))
    assert made.arrived_us == us(60.0)


def test_canaries_of_another_watch_and_none_tell_nothing() -> None:
    made = course((0.0, ()))
    for leg in Leg:
        made.reach(leg, us(5.0))
        made.reach(leg, None)
    assert made.arrived_us is None


def test_however_long_it_is_broken_no_more_is_remembered_than_counts() -> None:
    made = course(*((30.0 * nth, ()) for nth in range(10_000)))
    assert len(made._sent) <= WITHIN_S / 30 + 1
