"""A window that got its past late is the one that a start would have made."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hazardloop.alarms.measure import Measure, Method
from hazardloop.alarms.rings import Lately, empty_rings, lay_among, push_all
from hazardloop.alarms.rule import Derived, Select
from hazardloop.alarms.rule_table import RuleTable, compile_rules
from hazardloop.service.windows import Refill, grown
from tests.unit.alarms.site import high, point, registry, rule


def table(tags: list[str], over_s: float) -> RuleTable:
    """Points with these tags, of which `a` is looked at in a window of that length."""
    points = registry(point(10 + nth, tags={tag: "1"}) for nth, tag in enumerate(tags))
    looking = Derived(Measure(Method.MAX, over_s), high(yellow=1.0), "1")
    return compile_rules([rule(looking, select=Select(tags={"a": True}))], points)


@given(
    seconds=st.lists(st.integers(0, 40), unique=True, max_size=30),
    known=st.sets(st.integers(0, 40)),
)
def test_a_ring_with_its_past_laid_in_is_that_of_all_readings(
    seconds: list[int], known: set[int]
) -> None:
    room, row = np.array([16], np.int32), np.zeros(1, np.int32)
    whole, late = empty_rings(row, room, 1), empty_rings(row, room, 1)
    for second in seconds:
        for rings in (whole,) if second in known else (whole, late):
            push_all(rings, row, np.array([second], np.int64), np.array([float(second)]))
    past = np.array(sorted(seconds), np.int64)[-16:]  # as the store has it, the newest that fit
    count = np.array([len(past)], np.int32)
    lay_among(late, Lately(row, count, past, past.astype(np.float64)))
    assert [each.tolist() for each in late.told(0)] == [each.tolist() for each in whole.told(0)]


def test_points_wait_for_their_past_when_a_window_begins_or_grows() -> None:
    before, tagged, longer = table(["b", "a"], 60), table(["a", "a"], 60), table(["a", "a"], 6e4)
    assert grown(before, before).tolist() == []
    assert grown(before, tagged).tolist() == [0]
    assert grown(tagged, longer).tolist() == [0, 1]
    assert grown(longer, tagged).tolist() == []
    refill = Refill()
    refill.follow(before, tagged)
    refill.follow(tagged, tagged)
    assert refill.rows.tolist() == [0], "nothing has filled it yet"
    refill.follow(tagged, table(["b", "a"], 60))
    assert refill.rows.tolist() == [], "it has no window any more"
