"""Floods, chattering and load, each against a plain loop over the alarms."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazardloop.alarms.health import (
    DAY_US,
    FLEETING_US,
    TEN_MINUTES_US,
    History,
    bad_actors,
    chattering,
    fleeting,
    floods,
    load,
    stale,
    standing,
)

MINUTE = 60_000_000
END = 400 * MINUTE

instants = st.lists(st.integers(0, 399).map(lambda m: m * MINUTE // 2), max_size=120).map(sorted)


def column(values: list[int]) -> np.ndarray:
    return np.array(values, np.int64)


def flood_oracle(raised: list[int], seats: int) -> list[tuple[int, int, int, int]]:
    """The same by stepping through every half minute and counting the last ten minutes."""
    found, began, peak = [], None, 0
    for at in range(0, END + 1, MINUTE // 2):
        held = sum(at - TEN_MINUTES_US < one <= at for one in raised)
        if began is None and held >= 10 * seats:
            began, peak = at, 0
        if began is not None:
            if held < 5 * seats or at == END:
                counted = sum(began - TEN_MINUTES_US < one < at for one in raised)
                found.append((began, at, counted, peak))
                began = None
            else:
                peak = max(peak, held)
    return found


@given(instants, st.integers(1, 2))
def test_a_flood_begins_at_ten_and_ends_below_five_in_ten_minutes(
    raised: list[int], seats: int
) -> None:
    told = floods(column(raised), END, seats)
    assert [(one.from_us, one.to_us, one.alarms, one.peak) for one in told] == flood_oracle(
        raised, seats
    )
    for one in told:
        assert raised[one.first_out] > one.from_us - TEN_MINUTES_US
        assert all(at <= one.from_us - TEN_MINUTES_US for at in raised[: one.first_out])


def test_one_more_than_none_is_no_flood_and_ten_at_once_are() -> None:
    assert floods(column([]), END, 1) == []
    assert floods(column([0] * 9), END, 1) == []
    (flood,) = floods(column([0] * 10), END, 1)
    assert (flood.from_us, flood.to_us, flood.alarms, flood.peak) == (0, TEN_MINUTES_US, 10, 10)
    assert floods(column([0] * 10), END, 2) == []


alarms = st.lists(
    st.tuples(
        st.integers(0, 3 * DAY_US // MINUTE).map(lambda m: m * MINUTE // 3),
        st.one_of(st.none(), st.sampled_from([1, 30, 59, 60, 61, 2000, 86_400, 86_401])),
        st.booleans(),
        st.integers(0, 3),
        st.integers(1, 4),
    ),
    max_size=60,
).map(lambda ones: sorted(ones, key=lambda one: one[0]))


def history_of(ones: list[tuple[int, int | None, bool, int, int]]) -> History:
    raised = column([one[0] for one in ones])
    lasted = [0 if one[1] is None else one[0] + one[1] * 1_000_000 for one in ones]
    return History(
        raised,
        column(lasted),
        np.array([one[2] for one in ones], np.bool_),
        np.array([one[3] for one in ones], np.int32),
        np.array([one[4] for one in ones], np.uint8),
    )


@given(alarms, st.integers(0, 4 * DAY_US))
def test_chattering_fleeting_stale_standing_and_bad_actors_are_what_a_loop_finds(
    ones: list[tuple[int, int | None, bool, int, int]], now: int
) -> None:
    history = history_of(ones)
    by_source = defaultdict(list)
    for one in ones:
        by_source[one[3]].append(one[0])
    chatters = {
        source
        for source, raised in by_source.items()
        if any(sum(at <= one < at + FLEETING_US for one in raised) >= 3 for at in raised)
    }
    assert set(np.flatnonzero(chattering(history))) == chatters
    assert fleeting(history).tolist() == [
        lasted is not None and lasted < 60 and not seen and source not in chatters
        for _, lasted, seen, source, _ in ones
    ]

    def ended(one: tuple[int, int | None, bool, int, int]) -> float:
        return np.inf if one[1] is None else one[0] + one[1] * 1e6

    assert stale(history, now).tolist() == [min(ended(one), now) - one[0] > DAY_US for one in ones]
    assert standing(history, now).tolist() == [one[0] <= now < ended(one) for one in ones]
    counted = Counter(one[3] for one in ones if one[0] >= now)
    expected = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))[:10]
    assert bad_actors(history, now) == expected


@given(instants, st.integers(1, 3))
def test_load_is_counted_in_bins_of_ten_minutes(raised: list[int], seats: int) -> None:
    start, end = 15 * MINUTE, 215 * MINUTE
    bins = [
        sum(at <= one < at + TEN_MINUTES_US for one in raised)
        for at in range(start, end, TEN_MINUTES_US)
    ]
    found = load(column(raised), start, end, seats)
    assert (found.alarms, found.peak_10_min) == (sum(bins), max(bins))
    assert found.per_10_min == pytest.approx(sum(bins) / len(bins) / seats)
    assert found.over_10 == pytest.approx(sum(one > 10 * seats for one in bins) / len(bins))


@given(instants, st.integers(1, 2), st.integers(0, 399))
def test_floods_judged_in_two_parts_are_those_judged_at_once(
    raised: list[int], seats: int, half_minutes: int
) -> None:
    since = half_minutes * MINUTE // 2
    whole = floods(column(raised), END, seats)
    first = floods(column([at for at in raised if at <= since]), since, seats)
    goes_on = bool(first) and not first[-1].over
    later = floods(
        column([at for at in raised if at > since - TEN_MINUTES_US]),
        END,
        seats,
        since_us=since,
        flooded=goes_on,
    )
    joined = [(one.from_us, one.to_us, one.over, one.peak) for one in first]
    for one in later:
        if goes_on and one.from_us == since:
            from_us, _, _, peak = joined.pop()
            joined.append((from_us, one.to_us, one.over, max(peak, one.peak)))
        elif one.from_us > since:
            joined.append((one.from_us, one.to_us, one.over, one.peak))
    assert joined == [(one.from_us, one.to_us, one.over, one.peak) for one in whole]
