"""Which channel is tried when, until somebody was told or a day has passed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from hazardloop.alarms.alarm import Tier
from hazardloop.alarms.notice_attempts import (
    GIVE_UP,
    LONGEST_REST,
    ROUND,
    Course,
    NextTries,
    Verdict,
    next_tries,
)

NOW = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)


def tries(tier: Tier, *courses: Course, now: datetime = NOW, every: bool = False) -> NextTries:
    return next_tries(tier, courses, NOW, now, every=every)


def test_the_first_channel_is_tried_first_and_red_over_two_at_once() -> None:
    three = (Course(1), Course(2), Course(3))
    assert tries(Tier.YELLOW, *three).channels == (1,)
    assert tries(Tier.RED, *three).channels == (1, 2)
    assert tries(Tier.NONE, *three, every=True).channels == (1, 2, 3)


def test_red_over_one_channel_goes_out_and_is_marked() -> None:
    assert tries(Tier.RED, Course(1)) == NextTries((1,), None, None, too_few=True)
    done = tries(Tier.RED, Course(1, delivered=True))
    assert (done.verdict, done.too_few) == (Verdict.SENT, True)
    both = tries(Tier.RED, Course(1, delivered=True), Course(2, delivered=True))
    assert (both.verdict, both.too_few) == (Verdict.SENT, False)


def test_a_failed_channel_waits_and_after_a_round_the_next_one_has_its_turn() -> None:
    failed = Course(1, 1, NOW)
    waiting = tries(Tier.YELLOW, failed, Course(2))
    assert (waiting.channels, waiting.again_at) == ((), NOW + timedelta(seconds=5))
    assert tries(Tier.YELLOW, replace(failed, attempts=ROUND), Course(2)).channels == (2,)
    assert tries(
        Tier.RED, replace(failed, attempts=ROUND), Course(2, delivered=True), Course(3)
    ) == (NextTries((3,), None, None, too_few=False))


def test_who_has_no_channel_cannot_be_told() -> None:
    assert tries(Tier.BLUE).verdict is Verdict.UNDELIVERABLE


@given(
    tier=st.sampled_from([tier for tier in Tier if tier]),
    channels=st.integers(1, 4),
    luck=st.lists(st.booleans(), max_size=300),
)
def test_a_message_is_sent_as_soon_as_enough_took_it_and_given_up_after_a_day(
    tier: Tier, channels: int, luck: list[bool]
) -> None:
    courses = {number: Course(number) for number in range(channels)}
    chances = iter(luck)
    now = NOW
    for _ in range(5_000):
        plan = tries(tier, *courses.values(), now=now)
        if plan.verdict is not None:
            break
        assert plan.channels or plan.again_at is not None
        for number in plan.channels:
            was = courses[number]
            assert not was.delivered
            taken = next(chances, False)
            courses[number] = replace(
                was,
                attempts=was.attempts + (not taken),
                delivered=taken,
                last_ended_at=now + timedelta(seconds=1),
            )
        if not plan.channels:
            assert plan.again_at is not None
            assert now < plan.again_at <= now + LONGEST_REST + timedelta(seconds=1)
            now = plan.again_at
    else:
        raise AssertionError("it never ends")
    delivered = sum(course.delivered for course in courses.values())
    wanted = min(channels, 2 if tier is Tier.RED else 1)
    assert (plan.verdict is Verdict.SENT) == (delivered > 0)
    assert delivered >= wanted or now >= NOW + GIVE_UP
    assert plan.too_few == (tier is Tier.RED and delivered < 2)
