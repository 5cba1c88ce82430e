"""The handling rate: what counts, what does not, and when it says all."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazardloop.alarms.alarm import Tier
from hazardloop.alarms.figures import GroupBy, Record, floored_share, handling, handling_by


def record(nth: int, **changes: object) -> Record:
    """An open yellow alarm of a gas detector of E1, unless changed."""
    usual = {
        "alarm_id": UUID(int=nth),
        "enterprise": "E1",
        "kind": "gas_detector",
        "tier": Tier.YELLOW,
        "drill": False,
        "closed": False,
        "in_time": True,
    }
    return Record(**usual | changes)  # type: ignore[arg-type]


records = st.lists(
    st.builds(
        Record,
        alarm_id=st.uuids(),
        enterprise=st.sampled_from(["E1", "E2", "E3"]),
        kind=st.sampled_from(["tank", "elevator"]),
        tier=st.sampled_from([tier for tier in Tier if tier]),
        drill=st.booleans(),
        closed=st.booleans(),
        in_time=st.booleans(),
    )
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


def test_drills_stand_apart() -> None:
    figures = handling(
        [
            record(1, closed=True),
            record(2),
            record(3, drill=True),
            record(4, drill=True, closed=True),
        ]
    )
    assert (figures.raised, figures.closed, figures.drills, figures.rate) == (2, 1, 2, 0.5)
    assert figures.members == (UUID(int=1), UUID(int=2))


def test_on_time_counts_closed_ones_only() -> None:
    figures = handling(
        [record(1, closed=True), record(2, closed=True, in_time=False), record(3, in_time=True)]
    )
    assert (figures.on_time, figures.closed, figures.open) == (1, 2, 1)


def test_only_drills_give_no_rate() -> None:
    assert handling([record(1, drill=True, closed=True)]).rate is None


@given(records, st.sampled_from(GroupBy))
def test_groups_add_up_to_the_whole(of: list[Record], group_by: GroupBy) -> None:
    whole, groups = handling(of), handling_by(of, group_by)
    for name in ("raised", "closed", "on_time", "open", "drills"):
        assert sum(getattr(one, name) for one in groups.values()) == getattr(whole, name)
    assert sorted(sum((one.members for one in groups.values()), ())) == sorted(whole.members)
    assert whole.raised + whole.drills == len(of)


def test_groups_are_named_as_on_the_wire() -> None:
    of = [record(1, tier=Tier.RED), record(2, enterprise="E0"), record(3, kind="tank")]
    assert list(handling_by(of, GroupBy.TIER)) == ["red", "yellow"]
    assert list(handling_by(of, GroupBy.ENTERPRISE)) == ["E0", "E1"]
    assert list(handling_by(of, GroupBy.KIND)) == ["gas_detector", "tank"]
