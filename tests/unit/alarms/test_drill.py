"""Which alarms are a drill's, and what came of a point."""

from typing import Any

import pytest

from hazardloop.alarms.alarm import Change, ChangeKind, Direction, Tier, alarm_id_of
from hazardloop.alarms.drill import Drill, Result, marked, result_of
from hazardloop.alarms.evaluation import Outcome

DRILL = Drill(7, 1_000, 2_000, {1: Tier.ORANGE, 2: Tier.RED})


def raised(**changes: Any) -> Change:
    plain: dict[str, Any] = {
        "kind": ChangeKind.RAISED, "alarm_id": alarm_id_of("r", 1, 1_500), "row": 0, "point_id": 1,
        "rule_id": "r", "rule_version": 1, "tier": Tier.ORANGE, "tier_before": Tier.NONE,
        "value": 1.0, "limit": 1.0, "direction": Direction.HIGH, "changed_at_us": 1_500,
        "raised_at_us": 1_500,
    }  # fmt: skip
    return Change(**plain | changes)


@pytest.mark.parametrize(
    ("change", "now_us", "expected"),
    [
        pytest.param(raised(), 1_500, 7, id="inside"),
        pytest.param(raised(raised_at_us=1_000), 1_000, 7, id="as it begins"),
        pytest.param(raised(raised_at_us=999), 1_500, None, id="measured before"),
        pytest.param(raised(raised_at_us=2_000), 1_999, None, id="measured as it is over"),
        pytest.param(raised(), 2_000, None, id="received after"),
        pytest.param(raised(), 999, None, id="received before"),
        pytest.param(raised(point_id=3), 1_500, None, id="another point"),
        pytest.param(raised(tier=Tier.RED), 1_500, None, id="worse than announced"),
        pytest.param(raised(tier=Tier.RED, point_id=2), 1_500, 7, id="as bad as announced"),
        pytest.param(raised(kind=ChangeKind.CLEARED), 1_500, None, id="no raise"),
    ],
)
def test_a_raise_is_marked_exactly_where_it_was_announced(
    change: Change, now_us: int, expected: int | None
) -> None:
    (after,) = marked(Outcome((change,)), (DRILL,), now_us).changes
    assert after.drill_id == expected


@pytest.mark.parametrize(
    ("expected", "tier", "alarms", "result"),
    [
        pytest.param(True, 3, [(3, True)], Result.PASSED, id="as expected"),
        pytest.param(True, None, [(1, True)], Result.PASSED, id="any tier"),
        pytest.param(True, 3, [(1, True), (3, True)], Result.PASSED, id="one of several"),
        pytest.param(True, 3, [(2, True)], Result.TOO_LOW, id="a lower tier"),
        pytest.param(True, None, [], Result.MISSING, id="none"),
        pytest.param(True, 3, [(3, True), (4, False)], Result.EXCEEDED, id="one is real"),
        pytest.param(False, None, [(1, True)], Result.UNEXPECTED, id="not expected"),
    ],
)
def test_what_came_of_a_point(
    expected: bool, tier: int | None, alarms: list[tuple[int, bool]], result: Result
) -> None:
    assert result_of(expected, tier, alarms) is result
