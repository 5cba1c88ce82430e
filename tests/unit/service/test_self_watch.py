"""What the service says of itself, and how often."""

import math

import numpy as np
import pytest

from hazardloop.devices.catalog import shipped_catalog
from hazardloop.devices.drafting import build_registry
from hazardloop.devices.own_devices import PLATFORM
from hazardloop.devices.registry import GatewayRecord, PointRecord, Registry
from hazardloop.service.self_watch import AT_MOST_EVERY_US, SelfWatch

CATALOG = shipped_catalog()
NOW = 1_795_300_000_000_000
S = 1_000_000


def point(point_id: int, kind: str, quantity: str, gateway_id: int) -> PointRecord:
    known = CATALOG.kinds[kind].quantities[quantity]
    home = PLATFORM if kind == "platform" else "E1"
    return PointRecord(
        point_id, quantity, known.unit, str(known.type), known.low, known.high,
        CATALOG.kinds[kind].expected_interval_s, 0, point_id, f"D-{point_id}", kind, {},
        gateway_id, PLATFORM if kind == "platform" else f"G{gateway_id}", gateway_id, home, 0,
        internal=CATALOG.kinds[kind].internal,
    )  # fmt: skip


def site(*points: PointRecord) -> Registry:
    homes = {each.gateway_id: (each.gateway, each.enterprise) for each in points}
    gateways = [GatewayRecord(i, code, i, home) for i, (code, home) in homes.items()]
    return build_registry(1, gateways, points)


SITE = site(
    point(1, "tank", "level", 1),
    point(2, "gateway", "clock_offset", 1),
    point(3, "platform", "spool_fill", 9),
)


def told(watch: SelfWatch, now_us: int) -> dict[int, float]:
    readings = watch.due(now_us)
    assert (readings.observed_at == now_us).all()
    return dict(zip(readings.row.tolist(), readings.value.tolist(), strict=True))


@pytest.fixture
def watch() -> SelfWatch:
    return SelfWatch(SITE, CATALOG)


def test_a_first_word_is_told_at_once_and_only_once(watch: SelfWatch) -> None:
    watch.say("spool_fill", 12.0)
    watch.say("clock_offset", -3.0, 1)
    assert told(watch, NOW) == {1: -3.0, 2: 12.0}
    assert told(watch, NOW + 3600 * S) == {}


def test_what_moves_is_told_at_a_bounded_pace(watch: SelfWatch) -> None:
    seen = []
    for second in range(100):
        watch.say("spool_fill", float(second))
        seen += told(watch, NOW + second * S).values()
    assert seen == [float(second) for second in range(0, 100, AT_MOST_EVERY_US // S)]


def test_what_stands_still_is_told_once_an_interval(watch: SelfWatch) -> None:
    times = []
    for second in range(200):
        watch.say("clock_offset", 0.4 * (second % 2), 1)
        times += [second] * len(told(watch, NOW + second * S))
    assert times == [0, 60, 120, 180]


def test_what_is_not_known_is_not_said(watch: SelfWatch) -> None:
    watch.say("spool_fill", math.nan)
    watch.say("level", 5.0, 1)  # a gateway's, not ours
    watch.say("clock_offset", 5.0, 77)
    assert told(watch, NOW) == {}


def test_a_changed_registry_keeps_what_was_said(watch: SelfWatch) -> None:
    watch.say("spool_fill", 12.0)
    assert told(watch, NOW) == {2: 12.0}
    watch.say("clock_offset", 40.0, 1)
    watch.say("spool_fill", 12.0)
    after = watch.moved_to(site(*SITE.points[1:], point(4, "gateway", "clock_offset", 2)), CATALOG)
    assert told(after, NOW + S) == {0: 40.0}
    after.say("clock_offset", 1.0, 2)
    assert told(after, NOW + 2 * S) == {2: 1.0}


def test_no_gateway_can_report_a_point_of_ours() -> None:
    assert dict(SITE.gateways["E1/G1"].rows) == {"D-1.level": 0}
    assert dict(SITE.own) == {(1, "clock_offset"): 1, (9, "spool_fill"): 2}
    assert np.array_equal(SITE.point_id, [1, 2, 3])
