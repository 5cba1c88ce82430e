"""Storm control: what is grouped, what never is, and that nothing is lost or told too often."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from hazardloop.alarms.alarm import Tier
from hazardloop.alarms.notices import STORM, Addressed, Message, plan_messages

NOW = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)
TIERS = st.sampled_from([tier for tier in Tier if tier])


def one(
    notice_id: int, tier: Tier, contact_id: int = 1, site: int | None = 1, *, alone: bool = False
) -> Addressed:
    return Addressed(notice_id, contact_id, site, tier, alone)


def test_yellow_and_blue_of_a_site_become_one_message_a_little_later() -> None:
    planned = plan_messages(
        [one(1, Tier.YELLOW), one(2, Tier.BLUE), one(3, Tier.YELLOW, site=2)], [], NOW
    )
    assert [(message.site, message.notice_ids) for message in planned] == [(1, (1, 2)), (2, (3,))]
    assert {message.send_at for message in planned} == {NOW + STORM.gather}


def test_what_comes_before_a_message_leaves_joins_it_and_what_comes_after_does_not() -> None:
    standing = Message(1, 1, Tier.BLUE, NOW + timedelta(seconds=30), True, message_id=7)
    (joined,) = plan_messages([one(1, Tier.YELLOW)], [standing], NOW)
    assert (joined.message_id, joined.tier, joined.send_at) == (7, Tier.YELLOW, standing.send_at)
    (fresh,) = plan_messages([one(1, Tier.YELLOW)], [standing], standing.send_at)
    assert fresh.message_id is None


def test_orange_goes_alone_until_it_is_a_flood() -> None:
    planned = plan_messages([one(n, Tier.ORANGE) for n in range(30)], [], NOW)
    alone = [message for message in planned if not message.gathers]
    assert len(alone) == STORM.orange_alone
    assert {message.send_at for message in alone} == {NOW}
    assert [len(message.notice_ids) for message in planned if message.gathers] == [20]


def test_five_thousand_alarms_at_once_are_few_messages_and_every_red_one_its_own() -> None:
    tiers = [Tier.RED] * 50 + [Tier.ORANGE] * 450 + [Tier.YELLOW] * 4_500
    planned = plan_messages([one(n, tier, site=n % 300) for n, tier in enumerate(tiers)], [], NOW)
    red = [message for message in planned if message.tier is Tier.RED]
    assert len(red) == 50
    assert all(len(message.notice_ids) == 1 and message.send_at == NOW for message in red)
    assert len(planned) - len(red) <= STORM.most + 1
    assert sum(len(message.notice_ids) for message in planned) == 5_000


def test_a_test_goes_alone_and_at_once() -> None:
    (message,) = plan_messages([one(1, Tier.NONE, alone=True)], [], NOW)
    assert (message.send_at, message.gathers) == (NOW, False)


BURSTS = st.lists(
    st.tuples(
        st.integers(0, 400),
        st.lists(st.tuples(TIERS, st.integers(1, 2), st.integers(1, 5)), max_size=40),
    ),
    max_size=12,
)
"""Seconds since the burst before, and its notices: tier, contact, site."""


@given(BURSTS)
def test_whatever_comes_red_is_at_once_all_is_told_once_and_nobody_is_flooded(
    bursts: list[tuple[int, list[tuple[Tier, int, int]]]],
) -> None:
    messages: dict[int, Message] = {}
    carried: dict[int, list[int]] = {}
    asked: dict[int, Addressed] = {}
    now = NOW
    for pause_s, burst in bursts:
        now += timedelta(seconds=pause_s)
        addressed = [one(len(asked) + n, *notice) for n, notice in enumerate(burst)]
        asked |= {each.notice_id: each for each in addressed}
        recent = [each for each in messages.values() if each.send_at > now - STORM.window]
        for message in plan_messages(addressed, recent, now):
            home = len(messages) if message.message_id is None else message.message_id
            kept = Message(
                message.contact_id, message.site, message.tier, message.send_at, message.gathers,
                message_id=home,
            )  # fmt: skip
            if message.message_id is not None:
                assert message.send_at == messages[home].send_at > now
            assert message.send_at >= now
            messages[home] = kept
            carried.setdefault(home, []).extend(message.notice_ids)
        for each in addressed:
            if each.tier is Tier.RED:
                (home,) = [key for key, ids in carried.items() if each.notice_id in ids]
                assert carried[home] == [each.notice_id]
                assert messages[home].send_at == now
    told = Counter(notice_id for ids in carried.values() for notice_id in ids)
    assert told == Counter(asked.keys())
    for home, ids in carried.items():
        assert {asked[notice_id].contact_id for notice_id in ids} == {messages[home].contact_id}
        assert messages[home].tier == max(asked[notice_id].tier for notice_id in ids)
        if messages[home].site is not None:
            assert {asked[notice_id].site for notice_id in ids} == {messages[home].site}
    for contact_id in (1, 2):
        times = sorted(
            each.send_at
            for each in messages.values()
            if each.contact_id == contact_id and each.tier is not Tier.RED
        )
        for first, later in zip(times, times[STORM.most :], strict=False):
            assert later - first >= STORM.window
