"""Repeats and lateness against a loop that is obviously right."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hazardloop.devices.readings import NEVER, Readings
from hazardloop.ingest.repeats import nothing_seen, novelty, see

ROWS = 4
SOME_READINGS = st.lists(st.tuples(st.integers(0, ROWS - 1), st.integers(100, 110)), max_size=30)


def batch_of(pairs: list[tuple[int, int]]) -> Readings:
    n = len(pairs)
    row = np.array([row for row, _ in pairs], np.int32)
    at = np.array([at for _, at in pairs], np.int64)
    zeros = np.zeros(n, np.int32)
    return Readings(row, at, at, np.zeros(n), np.zeros(n, np.int16), zeros)


def test_what_lies_years_apart_in_a_large_district_is_told_apart() -> None:
    row, year_us = 300_000, 366 * 86_400_000_000
    pairs = [(row, year_us), (row, 0), (row, 0), (row + 1, 0), (row + 1, year_us), (1, 5)]
    found = novelty(batch_of(pairs), nothing_seen(row + 2))
    assert found.late.tolist() == [False, True, True, False, False, False]
    assert found.repeated.tolist() == [False, False, True, False, False, False]


@given(st.lists(SOME_READINGS, max_size=4))
def test_novelty_is_what_a_loop_over_the_readings_finds(
    batches: list[list[tuple[int, int]]],
) -> None:
    newest = nothing_seen(ROWS)
    seen_before: dict[int, int] = {}
    for pairs in batches:
        found = novelty(batch_of(pairs), newest)
        seen_now = dict(seen_before)
        in_batch: set[tuple[int, int]] = set()
        for at, (row, observed) in enumerate(pairs):
            assert found.repeated[at] == ((row, observed) in in_batch)
            in_batch.add((row, observed))
            assert found.late[at] == (observed < seen_now.get(row, NEVER))
            doubt = observed <= seen_before.get(row, NEVER) and not found.repeated[at]
            assert found.doubtful[at] == doubt
            seen_now[row] = max(observed, seen_now.get(row, NEVER))
        see(batch_of(pairs), newest)
        seen_before = seen_now
