"""What withholds an alarm is told without the database as the database tells it."""

from dataclasses import replace

import pytest

from hazardloop.alarms.alarm import Change, ChangeKind, Direction, Tier, alarm_id_of
from hazardloop.alarms.signal import Hold
from hazardloop.alarms.withholding import StandingHold, overtaken, withheld

NOW = 1_800_000_000_000_000
RULE = "gas_detector.lel.high"
SHELF = StandingHold(1, Hold.SHELVED, 7, 70, RULE, None, Tier.YELLOW, NOW + 1, (8, 9))
WORK = StandingHold(2, Hold.OUT_OF_SERVICE, 7, None, None, None, Tier.ORANGE, NOW + 1)
DESIGN = StandingHold(3, Hold.SUPPRESSED, 7, None, None, "tank.pump", Tier.ORANGE, NOW + 1)


def change(
    kind: ChangeKind = ChangeKind.RAISED, tier: Tier = Tier.YELLOW, point_id: int = 70
) -> Change:
    before = Tier.NONE if kind is ChangeKind.RAISED else Tier.BLUE
    alarm_id = alarm_id_of(RULE, point_id, NOW)
    return Change(kind, alarm_id, 0, point_id, RULE, 1, tier, before, 30.0, 25.0, Direction.HIGH,
                  NOW, NOW)  # fmt: skip


@pytest.mark.parametrize(
    ("holds", "told", "expected"),
    [
        ([SHELF], change(), Hold.SHELVED),
        ([SHELF, WORK], change(), Hold.OUT_OF_SERVICE),
        ([SHELF, DESIGN], change(), Hold.SUPPRESSED),
        ([SHELF], change(tier=Tier.ORANGE), None),
        ([SHELF], change(point_id=71), None),
        ([WORK], change(point_id=71), Hold.OUT_OF_SERVICE),
        ([replace(SHELF, rule_id="another")], change(), None),
        ([replace(SHELF, until_us=NOW)], change(), None),
        ([replace(SHELF, device_id=8)], change(), None),
        ([replace(DESIGN, while_rule=RULE)], change(), None),
        ([SHELF], replace(change(ChangeKind.CLEARED, Tier.NONE), tier_before=Tier.RED), None),
    ],
)
def test_a_hold_withholds_what_it_was_granted_for(
    holds: list[StandingHold], told: Change, expected: Hold | None
) -> None:
    assert withheld(holds, told, 7, NOW, lambda *_: True) is expected


def test_one_by_design_withholds_only_while_its_rule_stands() -> None:
    asked = []

    def active(device_id: int, rule_id: str) -> bool:
        asked.append((device_id, rule_id))
        return False

    assert withheld([DESIGN], change(), 7, NOW, active) is None
    assert asked == [(7, "tank.pump")]


@pytest.mark.parametrize(
    ("told", "device_id", "ends"),
    [
        (change(), 7, False),
        (change(tier=Tier.ORANGE), 7, True),
        (change(ChangeKind.ROSE, Tier.RED), 7, True),
        (change(ChangeKind.FELL, Tier.RED), 7, False),
        (change(point_id=80), 8, True),
        (change(ChangeKind.ROSE, point_id=80), 8, False),
        (change(point_id=60), 6, False),
        (replace(change(point_id=80), rule_id="another"), 8, False),
    ],
)
def test_a_shelf_ends_with_what_is_worse_or_confirmed(
    told: Change, device_id: int, ends: bool
) -> None:
    assert overtaken([SHELF, WORK], [(told, device_id)]) == ({1} if ends else set())
