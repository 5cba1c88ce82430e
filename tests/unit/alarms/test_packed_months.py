"""Months kept in memory: as many as there is room for."""

from datetime import date

import numpy as np

from hazardloop.alarms.facts import Columns, Table
from hazardloop.alarms.packed_months import PackedMonths, View


def view(nth: int) -> View:
    return View(date(2026, nth, 1), bytes([nth]), Table.MARKS)


def columns(size: int) -> Columns:
    return {"flags": np.zeros(size, np.uint8)}


def test_the_month_that_was_not_asked_for_the_longest_goes_first() -> None:
    months = PackedMonths(most_bytes=200)
    months.keep(view(1), columns(100))
    months.keep(view(2), columns(100))
    assert months.get(view(1)) is not None
    months.keep(view(3), columns(100))
    assert months.get(view(2)) is None
    assert months.get(view(1)) is not None
    assert months.bytes == 200


def test_what_is_kept_again_counts_once_and_what_is_too_large_not_at_all() -> None:
    months = PackedMonths(most_bytes=200)
    for _ in range(3):
        months.keep(view(1), columns(150))
    assert months.bytes == 150
    months.keep(view(2), columns(201))
    assert (months.get(view(1)), months.get(view(2)), months.bytes) == (None, None, 0)


def test_a_month_in_another_state_is_another_month() -> None:
    months = PackedMonths()
    months.keep(view(1), columns(1))
    assert months.get(View(view(1).month, b"other", Table.MARKS)) is None
    assert months.get(View(view(1).month, view(1).blocks, Table.IDS)) is None
