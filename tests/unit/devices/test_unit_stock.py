"""What a unit holds by its tanks, and whether more may come in."""

from datetime import UTC, datetime, timedelta

import pytest

from hazardloop.devices.hazard_level import Tank, shipped_tables
from hazardloop.devices.unit_stock import (
    FRESH,
    Change,
    Crossing,
    Gauge,
    Inventory,
    Known,
    Limit,
    Noted,
    Stock,
    prospect,
    reason_to_note,
)

TABLES = shipped_tables()
NOW = datetime(2026, 11, 22, 1, tzinfo=UTC)
TANK = Tank(((0.0, 0.0), (10.0, 100.0)), 1.0)
"""100 t when full, 10 t a metre."""


def gauge(
    level_m: float | None = 2.0, age: timedelta = timedelta(0), device: str = "TK-1"
) -> Gauge:
    return Gauge(device, TANK, level_m, None if level_m is None else NOW - age)


def ammonia(*gauges: Gauge, design_t: float = 45.0) -> Stock:
    return Stock("氨", *TABLES.weight("ammonia", None), design_t, gauges)


def unit(*stocks: Stock, people: int | None = 10, registered: int | None = None) -> Inventory:
    return Inventory(people, registered, stocks)


@pytest.mark.parametrize(
    ("gauges", "expected", "cautious"),
    [
        pytest.param([], (45, Known.DESIGN), 45, id="no tank measures it"),
        pytest.param([gauge()], (20, Known.MEASURED), 20, id="a level"),
        pytest.param([gauge(age=FRESH)], (20, Known.MEASURED), 20, id="still fresh"),
        pytest.param(
            [gauge(age=FRESH + timedelta(seconds=1))], (20, Known.STALE), 100, id="an old level"
        ),
        pytest.param([gauge(None)], (100, Known.FULL), 100, id="no level at all"),
        pytest.param(
            [gauge(), gauge(None, device="TK-2")], (120, Known.FULL), 120, id="one tank of two"
        ),
    ],
)
def test_what_is_there_is_known_by_its_least_known_tank(
    gauges: list[Gauge], expected: tuple[float, Known], cautious: float
) -> None:
    stock = ammonia(*gauges)
    assert stock.live(NOW) == expected
    assert stock.live(NOW, cautious=True)[0] == cautious


def test_the_live_grade_stands_beside_that_of_the_design() -> None:
    one = unit(ammonia(gauge()))
    assert (one.design_level(TABLES).s, one.live_level(NOW, TABLES).s) == (4.5, 2.0)
    assert (one.design_level(TABLES).r, one.live_level(NOW, TABLES).r) == (9.0, 4.0)


def asked(inventory: Inventory, *changes: Change) -> list[Crossing]:
    found = prospect(inventory, changes, NOW, TABLES)
    assert found.allowed == (not found.crossings)
    return list(found.crossings)


def test_a_truck_may_unload_what_the_design_allows() -> None:
    one = unit(ammonia(gauge()))
    found = prospect(one, [Change("氨", 25, "TK-1")], NOW, TABLES)
    assert found.allowed
    assert (found.before.s, found.after.s, found.after.r) == (2.0, 4.5, 9.0)


@pytest.mark.parametrize(
    ("inventory", "change", "expected"),
    [
        pytest.param(
            unit(ammonia(gauge())), Change("氨", 25.001), [(Limit.DESIGN, "氨", 45, 45.001)],
            id="more than the design",
        ),
        pytest.param(
            unit(ammonia(gauge(), design_t=500), registered=4), Change("氨", 30),
            [(Limit.GRADE, "R", 10, 10)], id="a graver grade than registered",
        ),
        pytest.param(
            unit(ammonia(gauge(), design_t=500), registered=4), Change("氨", 29.999), [],
            id="a kilogram below",
        ),
        pytest.param(
            unit(ammonia(gauge(), design_t=500), registered=2, people=200), Change("氨", 230),
            [(Limit.GRADE, "R", 100, 100)], id="the worst grade there is",
        ),
        pytest.param(
            unit(ammonia(gauge(0.5), design_t=9.0)), Change("氨", 6),
            [(Limit.DESIGN, "氨", 9, 11), (Limit.THRESHOLD, "S", 1, 1.1)],
            id="becomes a major hazard",
        ),
        pytest.param(
            unit(ammonia(gauge(), design_t=500), registered=1), Change("氨", 81, "TK-1"),
            [(Limit.TANK, "TK-1", 100, 101)], id="does not go in",
        ),
        pytest.param(
            unit(ammonia(gauge(age=timedelta(hours=1)), design_t=500)), Change("氨", 1),
            [(Limit.NOT_READ, "TK-1", None, None)], id="nobody knows the level",
        ),
        pytest.param(
            unit(ammonia(), registered=1), Change("氨", 1),
            [(Limit.NOT_READ, "氨", None, None), (Limit.DESIGN, "氨", 45, 46)],
            id="no tank measures it",
        ),
        pytest.param(unit(ammonia()), Change("氨", -5), [], id="less of it is always allowed"),
    ],
)  # fmt: skip
def test_a_change_says_which_limit_it_would_cross(
    inventory: Inventory, change: Change, expected: list[tuple[Limit, str, float, float]]
) -> None:
    assert asked(inventory, change) == [Crossing(*one) for one in expected]


def test_what_goes_out_makes_room_for_what_comes_in() -> None:
    acid = Stock("酸", 1.0, 1.0, 5.0, (Gauge("TK-9", TANK, 0.5, NOW),))
    one = unit(ammonia(gauge(), design_t=500), acid, registered=4)
    assert asked(one, Change("酸", 4)) != []
    swapped = asked(one, Change("氨", -20), Change("酸", 0))
    assert swapped == []


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(KeyError):
        asked(unit(ammonia(gauge())), Change("氯", 1))
    with pytest.raises(KeyError):
        asked(unit(ammonia(gauge())), Change("氨", 1, "TK-7"))
    with pytest.raises(ValueError, match="t are not there"):
        asked(unit(ammonia(gauge())), Change("氨", -20.5))


@pytest.mark.parametrize(
    ("last", "now", "reason"),
    [
        pytest.param(None, Noted(1, 20, 3), "inventory", id="the first"),
        pytest.param(Noted(1, 20, 3), Noted(2, 20, 3), "inventory", id="an inventory changed"),
        pytest.param(Noted(1, 49.9, 3), Noted(1, 50, 2), "grade", id="a grade changed"),
        pytest.param(Noted(1, 0.9, None), Noted(1, 1.0, 4), "grade", id="became a major hazard"),
        pytest.param(Noted(1, 20, 3), Noted(1, 21.01, 3), "quantity", id="more of it"),
        pytest.param(Noted(1, 20, 3), Noted(1, 18.99, 3), "quantity", id="less of it"),
        pytest.param(Noted(1, 20, 3), Noted(1, 21, 3), None, id="hardly more"),
        pytest.param(Noted(1, 0, None), Noted(1, 0, None), None, id="empty as before"),
        pytest.param(Noted(1, 0, None), Noted(1, 0.1, None), "quantity", id="no longer empty"),
    ],
)
def test_a_level_is_written_down_when_it_changed(
    last: Noted | None, now: Noted, reason: str | None
) -> None:
    assert reason_to_note(last, now) == reason
