"""A small site for tests of rules: points made to order, rules in one line, time in seconds."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from hazardloop.alarms.alarm import TIER_BY_NAME, Change, Direction
from hazardloop.alarms.hours import Hours
from hazardloop.alarms.rule import (
    Bits,
    Condition,
    Derived,
    Grouped,
    Rule,
    RuleKind,
    Select,
    Silence,
    State,
    Threshold,
)
from hazardloop.alarms.rule_watches import US_PER_S
from hazardloop.devices.catalog import Text
from hazardloop.devices.drafting import build_registry
from hazardloop.devices.readings import Readings
from hazardloop.devices.registry import GatewayRecord, PointRecord, Registry

START_US = 1_795_300_000 * US_PER_S
"""Second 0 of a test."""


def point(
    point_id: int,
    quantity: str = "x",
    *,
    kind: str = "gauge",
    tags: Mapping[str, Any] | None = None,
    grade: int = 0,
    interval_s: float = 30.0,
    registered_s: float = 0.0,
) -> PointRecord:
    return PointRecord(
        point_id=point_id,
        quantity=quantity,
        unit="1",
        type="number",
        low=-math.inf,
        high=math.inf,
        interval_s=interval_s,
        registered_at_us=us(registered_s),
        device_id=point_id,
        device=f"D-{point_id}",
        kind=kind,
        tags=tags or {},
        gateway_id=1,
        gateway="GW-1",
        enterprise_id=1,
        enterprise="ACME",
        grade=grade,
    )


def registry(points: Iterable[PointRecord]) -> Registry:
    return build_registry(1, [GatewayRecord(1, "GW-1", 1, "ACME")], points)


def rule(
    condition: Condition,
    rule_id: str = "gauge.rule",
    *,
    quantity: str = "x",
    on_delay_s: float = 0.0,
    off_delay_s: float = 0.0,
    select: Select | None = None,
    kind: str = "gauge",
    worse_in_grades: tuple[int, ...] = (),
    hours: Hours | None = None,
) -> Rule:
    kinds = {
        Threshold: RuleKind.THRESHOLD,
        State: RuleKind.STATE,
        Bits: RuleKind.STATE,
        Silence: RuleKind.STALE,
        Derived: RuleKind.AGGREGATE,
        Grouped: RuleKind.VOTING,
    }
    words = Text("测试", "test")
    return Rule(
        rule_id=rule_id,
        kind=kinds[type(condition)],
        device_kind=kind,
        quantity=quantity,
        name=words,
        guidance=words,
        source="test",
        confidence="house",
        select=select or Select(),
        condition=condition,
        on_delay_s=on_delay_s,
        off_delay_s=off_delay_s,
        worse_in_grades=worse_in_grades,
        hours=hours,
    )


def high(deadband: float = 0.0, **limits: float) -> Threshold:
    return _threshold(Direction.HIGH, deadband, limits)


def low(deadband: float = 0.0, **limits: float) -> Threshold:
    return _threshold(Direction.LOW, deadband, limits)


def _threshold(direction: Direction, deadband: float, limits: Mapping[str, float]) -> Threshold:
    by_tier = sorted((TIER_BY_NAME[name], limit) for name, limit in limits.items())
    return Threshold(direction, tuple(by_tier), deadband)


def readings(
    rows: Sequence[tuple[int, float, float]],
    *,
    received_s: Sequence[float] | None = None,
    quality: Sequence[int] | int = 0,
) -> Readings:
    """Readings of (row, second, value), received when they were observed unless said otherwise."""
    row, second, value = ([each[nth] for each in rows] for nth in range(3))
    observed = np.array([us(s) for s in second], np.int64)
    received = observed if received_s is None else np.array([us(s) for s in received_s], np.int64)
    return Readings(
        row=np.array(row, np.int32),
        observed_at=observed,
        received_at=received,
        value=np.array(value, np.float64),
        quality=np.broadcast_to(np.array(quality, np.int16), len(rows)).copy(),
        message=np.zeros(len(rows), np.int32),
    )


def us(second: float) -> int:
    return START_US + round(second * US_PER_S)


def told(changes: Iterable[Change]) -> list[tuple[str, str, float]]:
    """(kind, tier, second) of each change; of a cleared alarm the tier it had."""
    return [
        (
            change.kind.value,
            (change.tier or change.tier_before).wire,
            (change.changed_at_us - START_US) / US_PER_S,
        )
        for change in changes
    ]
