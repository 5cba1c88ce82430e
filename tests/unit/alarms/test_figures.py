"""Published figures: what counts and when a rate says all, each against a plain loop."""

import math
from collections import Counter
from dataclasses import dataclass
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazardloop.alarms.alarm import TIER_BY_NAME, Verdict
from hazardloop.alarms.facts import (
    MARKS,
    TIMES,
    VERDICTS,
    Facts,
    Mark,
    Table,
    together,
    unpacked,
)
from hazardloop.alarms.figures import (
    FIGURES,
    RESPONSE_S,
    STAGES,
    GroupBy,
    counts,
    floored_share,
    grouped,
    spreads,
    whole,
)

WORDS = {1: "城东", 2: "城西", 3: "gas_detector", 4: "tank", 5: "", 6: "zhao"}
ENTERPRISES = {1: "E1", 2: "E2"}


@dataclass(frozen=True)
class One:
    """One alarm, as a person would write it down."""

    nth: int
    raised_us: int
    enterprise: int
    area: int
    kind: int
    operator: int
    flags: int
    tier: int
    verdict: Verdict | None
    returned: int
    reopened: int
    times: tuple[float, ...]

    def has(self, mark: Mark) -> bool:
        return bool(self.flags & mark)

    @property
    def counted(self) -> bool:
        return not self.has(Mark.DRILL)

    def seconds(self, name: str) -> float:
        if name == "signed":
            both = (self.seconds("signed_by_enterprise"), self.seconds("signed_by_authority"))
            return math.nan if any(map(math.isnan, both)) else max(both)
        return self.times[list(TIMES.names or ()).index(name)]


seconds = st.one_of(st.just(math.nan), st.sampled_from([0.0, 60.0, RESPONSE_S, RESPONSE_S + 1]))
alarms = st.lists(
    st.builds(
        One,
        nth=st.integers(1, 2**32),
        raised_us=st.one_of(st.integers(0, 2), st.integers(0, 2**50)),
        enterprise=st.sampled_from([1, 2]),
        area=st.sampled_from([1, 2]),
        kind=st.sampled_from([3, 4]),
        operator=st.sampled_from([5, 6]),
        flags=st.integers(0, sum(Mark)),
        tier=st.integers(1, 4),
        verdict=st.sampled_from([None, *Verdict]),
        returned=st.integers(0, 3),
        reopened=st.integers(0, 3),
        times=st.tuples(*[seconds] * len(TIMES.names or ())),
    ),
    unique_by=lambda one: one.nth,
)


def facts_of(ones: list[One]) -> Facts:
    marks = [
        (
            *(one.raised_us, one.enterprise, one.area, one.kind, one.operator, one.flags, one.tier),
            *(VERDICTS[one.verdict and one.verdict.value], one.returned, one.reopened),
        )
        for one in ones
    ]
    ids = b"".join(UUID(int=one.nth).bytes for one in ones)
    times = np.array([one.times for one in ones], TIMES)
    return unpacked(
        {
            Table.MARKS: np.array(marks, MARKS).tobytes(),
            Table.TIMES: times.tobytes(),
            Table.IDS: ids,
        },
        WORDS,
    )


ORACLE = {
    "raised": lambda one: True,
    "closed": lambda one: one.has(Mark.CLOSED),
    "open": lambda one: not one.has(Mark.CLOSED),
    "on_time": lambda one: (
        one.has(Mark.CLOSED) and not one.has(Mark.LATE_SUBMIT) and not one.has(Mark.LATE_REVIEW)
    ),
    "found_late": lambda one: one.has(Mark.FOUND_LATE),
    "returned": lambda one: one.returned > 0,
    "reopened": lambda one: one.reopened > 0,
    "late_sign_enterprise": lambda one: one.has(Mark.LATE_SIGN_ENTERPRISE),
    "late_sign_authority": lambda one: one.has(Mark.LATE_SIGN_AUTHORITY),
    "late_verify": lambda one: one.has(Mark.LATE_VERIFY),
    "late_submit": lambda one: one.has(Mark.LATE_SUBMIT),
    "late_review": lambda one: one.has(Mark.LATE_REVIEW),
    "responded": lambda one: one.seconds("signed") <= 1800,
    "responded_enterprise": lambda one: one.seconds("signed_by_enterprise") <= 1800,
    "responded_authority": lambda one: one.seconds("signed_by_authority") <= 1800,
    "verified_30": lambda one: one.seconds("verified") <= 1800,
}


def in_figure(name: str, one: One) -> bool:
    if name == "drills":
        return one.has(Mark.DRILL)
    if name.startswith("verdict_"):
        return one.counted and one.verdict == name.removeprefix("verdict_")
    return one.counted and ORACLE[name](one)


def key_of(one: One, group_by: GroupBy) -> str:
    if group_by is GroupBy.ENTERPRISE:
        return ENTERPRISES[one.enterprise]
    if group_by is GroupBy.TIER:
        return next(name for name, tier in TIER_BY_NAME.items() if tier == one.tier)
    return WORDS[getattr(one, group_by.value)]


@given(alarms, st.sampled_from(GroupBy))
def test_each_figure_counts_what_a_loop_counts_in_every_group(
    ones: list[One], group_by: GroupBy
) -> None:
    facts = facts_of(ones)
    groups = grouped(facts, group_by, ENTERPRISES)
    assert list(groups.keys) == sorted({key_of(one, group_by) for one in ones})
    found = counts(facts, groups, tuple(FIGURES))
    for name in FIGURES:
        expected = Counter(key_of(one, group_by) for one in ones if in_figure(name, one))
        assert {key: one[name] for key, one in zip(groups.keys, found, strict=True)} == {
            key: expected[key] for key in groups.keys
        }


@given(alarms, st.sampled_from(sorted(FIGURES)))
def test_a_figure_lists_its_members_oldest_first(ones: list[One], name: str) -> None:
    facts = facts_of(ones)
    listed = facts.alarm_ids(facts.in_order(FIGURES[name](facts)))
    members = sorted((one.raised_us, one.nth) for one in ones if in_figure(name, one))
    assert [each.int for each in listed] == [nth for _, nth in members]


@given(alarms, st.sampled_from(sorted(FIGURES)), st.integers(1, 5))
def test_members_come_in_pages_that_miss_none_and_repeat_none(
    ones: list[One], name: str, size: int
) -> None:
    facts = facts_of(ones)
    keep = FIGURES[name](facts)
    listed: list[UUID] = []
    left = keep
    while len(page := facts.first(left, size)):
        listed += facts.alarm_ids(page)
        last = int(facts.column("raised_us")[page[-1]])
        left = keep & facts.after(last, str(listed[-1]))
    assert listed == facts.alarm_ids(facts.in_order(keep))


@given(alarms)
def test_alarms_are_known_again_by_their_ids(ones: list[One]) -> None:
    among = facts_of(ones).among(facts_of(ones[::2]))
    assert among.tolist() == [nth % 2 == 0 for nth in range(len(ones))]


@given(alarms, st.sampled_from(GroupBy))
def test_the_spread_of_a_station_is_of_those_that_reached_it(
    ones: list[One], group_by: GroupBy
) -> None:
    facts = facts_of(ones)
    groups = grouped(facts, group_by, ENTERPRISES)
    for key, found in zip(groups.keys, spreads(facts, groups), strict=True):
        for name in STAGES:
            reached = [
                one.seconds(name)
                for one in ones
                if key_of(one, group_by) == key
                and one.counted
                and not math.isnan(one.seconds(name))
            ]
            spread = found[name]
            assert spread.of == len(reached)
            assert spread.worst_s == (max(reached) if reached else None)
            if reached:
                assert spread.p50_s == pytest.approx(np.percentile(reached, 50))
                assert spread.p90_s == pytest.approx(np.percentile(reached, 90))


@given(alarms)
def test_groups_add_up_and_open_and_closed_are_all(ones: list[One]) -> None:
    facts = facts_of(ones)
    (everything,) = counts(facts, whole(facts), tuple(FIGURES))
    assert everything["open"] + everything["closed"] == everything["raised"]
    assert everything["raised"] + everything["drills"] == len(ones)


@given(alarms, alarms)
def test_packed_and_joined_facts_tell_the_same(first: list[One], second: list[One]) -> None:
    parts = [facts_of(first), facts_of(second)]
    joined = together(parts, WORDS)
    again = unpacked({table: joined.packed(table) for table in Table}, WORDS)
    names = tuple(FIGURES)
    totals = [counts(one, whole(one), names)[0] for one in (again, *parts)]
    assert totals[0] == {name: totals[1][name] + totals[2][name] for name in names}


def test_bytes_of_unequal_length_are_no_block() -> None:
    facts = facts_of([])
    with pytest.raises(ValueError, match="different numbers"):
        unpacked(
            {Table.IDS: bytes(16), Table.MARKS: facts.packed(Table.MARKS), Table.TIMES: b""}, WORDS
        )


@pytest.mark.parametrize(
    ("part", "whole", "share"),
    [
        pytest.param(0, 0, None, id="nothing raised has no rate"),
        pytest.param(0, 3, 0.0, id="nothing closed"),
        pytest.param(2, 3, 0.6666, id="cut, not rounded"),
        pytest.param(99_999, 100_000, 0.9999, id="one missing of many is not all"),
        pytest.param(100_000, 100_000, 1.0, id="all"),
        pytest.param(9_999_999_999, 10_000_000_000, 0.9999, id="one missing of very many"),
    ],
)
def test_a_share_is_cut_after_four_places(part: int, whole: int, share: float | None) -> None:
    assert floored_share(part, whole) == share


@given(st.integers(0, 10**12), st.integers(1, 10**12))
def test_a_rate_of_one_means_every_single_one(part: int, whole: int) -> None:
    share = floored_share(min(part, whole), whole)
    assert (share == 1.0) == (part >= whole)
