"""S, R and grade by GB 18218-2018: its tables, worked examples, and what stands at a limit."""

import math

import pytest

from hazardloop.devices.hazard_level import Held, Level, Tank, level_of, shipped_tables, worse

TABLES = shipped_tables()


def held(**tonnes: float) -> list[Held]:
    return [Held(code, mass, *TABLES.weight(code, None)) for code, mass in tonnes.items()]


EXAMPLES = [
    pytest.param({"chlorine": 20}, 60, (4.0, 16.0, 24.0, 3), id="chlorine tank"),
    pytest.param({"lpg": 1000}, 120, (20.0, 30.0, 60.0, 2), id="LPG farm"),
    pytest.param({"ammonia": 100}, 10, (10.0, 20.0, 20.0, 3), id="ammonia store"),
    pytest.param({"phosgene": 3}, 20, (10.0, 200.0, 200.0, 1), id="phosgene unit"),
    pytest.param({"gasoline": 2000, "ethanol": 1000}, 35, (12.0, 12.0, 14.4, 3), id="mixed farm"),
    pytest.param({"hydrogen": 6}, 0, (1.2, 1.8, 0.9, 4), id="small hydrogen store"),
    pytest.param(
        {"toluene": 300, "gasoline": 60}, 80, (0.9, 0.9, 1.35, None), id="below the threshold"
    ),
]


@pytest.mark.parametrize(("tonnes", "people", "expected"), EXAMPLES)
def test_worked_examples_come_out_exactly(
    tonnes: dict[str, float], people: int, expected: tuple[float, float, float, int | None]
) -> None:
    level = level_of(held(**tonnes), people, TABLES)
    assert (level.s, level.weighted, level.r, level.grade) == expected


@pytest.mark.parametrize(
    ("people", "alpha"),
    [(0, 0.5), (1, 1), (29, 1), (30, 1.2), (49, 1.2), (50, 1.5), (99, 1.5), (100, 2), (9999, 2)],
)
def test_alpha_steps_with_the_people_around(people: int, alpha: float) -> None:
    assert TABLES.alpha(people) == alpha


def test_residents_that_nobody_counted_weigh_most() -> None:
    assert TABLES.alpha(None) == 2


@pytest.mark.parametrize(
    ("tonnes", "grade"),
    [(50, 1), (49.999, 2), (25, 2), (24.999, 3), (5, 3), (4.999, None)],
)
def test_a_unit_on_a_bound_has_the_worse_grade(tonnes: float, grade: int | None) -> None:
    """One resident; R is twice the mass."""
    unit = [Held("x", tonnes, 5.0, 10.0)]
    level = level_of(unit, 1, TABLES)
    assert level.grade == grade
    assert level.r == tonnes * 2


def test_parts_that_add_up_to_the_threshold_are_a_major_hazard() -> None:
    tenths = [Held(str(nth), mass, 1.0, 1.0) for nth, mass in enumerate((0.1, 0.2, 0.7))]
    level = level_of(tenths, 5, TABLES)
    assert (level.s, level.grade) == (1.0, 4)


def test_how_near_the_next_grade_is() -> None:
    near = level_of(held(lpg=1000), 120, TABLES)
    assert (near.next_at, near.to_next) == (100, 0.6)
    small = level_of(held(hydrogen=4.5), 0, TABLES)
    assert (small.grade, small.next_at, small.to_next) == (None, 1.0, 0.9)
    worst = level_of(held(phosgene=3), 20, TABLES)
    assert (worst.next_at, worst.to_next) == (None, math.inf)


def test_an_empty_unit_is_no_hazard() -> None:
    assert level_of([], 100, TABLES) == Level(0, 0, 2, 0, None, 1.0, 0)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [(1, 2, True), (2, 1, False), (4, None, True), (None, 4, False), (None, None, False)],
)
def test_one_is_the_worst_of_four(one: int | None, other: int | None, expected: bool) -> None:
    assert worse(one, other) is expected


@pytest.mark.parametrize(
    ("substance", "hazard_class", "expected"),
    [
        pytest.param("chlorine", None, (5, 4), id="a name"),
        pytest.param(None, "W2", (10, 1.5), id="a class: propylene"),
        pytest.param("chlorine", "J1", (5, 4), id="table 3 stands whatever the class"),
        pytest.param("benzene", "W5.1", (50, 1.5), id="a class corrects our own mapping"),
        pytest.param("bromine", "J2", (20, 1), id="a name without beta takes it of its class"),
        pytest.param("methyl_isocyanate", None, (0.75, 20), id="named in table 3 alone"),
        pytest.param(None, "J2", (50, 1), id="often copied wrongly as 2"),
    ],
)
def test_names_go_before_classes(
    substance: str | None, hazard_class: str | None, expected: tuple[float, float]
) -> None:
    assert TABLES.weight(substance, hazard_class) == expected


@pytest.mark.parametrize(
    ("substance", "hazard_class", "error"),
    [
        pytest.param(None, None, "either a substance", id="neither"),
        pytest.param("bromine", None, "its beta follows from its class", id="no beta"),
    ],
)
def test_what_cannot_be_weighed_is_refused(
    substance: str | None, hazard_class: str | None, error: str
) -> None:
    with pytest.raises(ValueError, match=error):
        TABLES.weight(substance, hazard_class)


def test_the_tables_are_whole() -> None:
    assert len(TABLES.substances) == 85
    assert len(TABLES.classes) == 24
    for one in TABLES.substances.values():
        assert one.threshold_t > 0
        assert not one.hazard_class or one.hazard_class in TABLES.classes
        if one.beta is not None and not one.in_table_3:
            assert one.beta == TABLES.classes[one.hazard_class].beta, one.code
        digits = one.cas.replace("-", "")
        weighed = sum(nth * int(digit) for nth, digit in enumerate(reversed(digits[:-1]), 1))
        assert not digits or weighed % 10 == int(digits[-1]), one.code


TANK = Tank(((0.0, 0.0), (1.0, 10.0), (3.0, 50.0)), 0.6, 20.0, 0.002)


@pytest.mark.parametrize(
    ("level_m", "volume_m3"),
    [(-1, 0), (0, 0), (0.5, 5), (1, 10), (2, 30), (3, 50), (9, 50)],
)
def test_a_strapping_table_turns_a_level_into_a_volume(level_m: float, volume_m3: float) -> None:
    assert TANK.volume_m3(level_m) == volume_m3


def test_a_warm_liquid_is_lighter() -> None:
    assert TANK.mass_t(2, 20) == 18
    assert TANK.mass_t(2, None) == 18
    assert TANK.mass_t(2, 45) == round(30 * 0.6 / 1.05, 3)
    assert TANK.mass_t(2, 0) > 18
    assert TANK.full_t == 30
