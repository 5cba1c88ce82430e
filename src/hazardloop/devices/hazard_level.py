"""S, R and the grade of a hazard unit by GB 18218-2018, from what it holds.

The tables of the standard stand in catalogue/gb18218_*.csv. Sums are exact fractions of the
decimals that were given: 0.3 + 0.7 of a threshold is 1, and 1 is a major hazard.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib import resources
from itertools import pairwise

from hazardloop.devices.catalog import Text


@dataclass(frozen=True, slots=True)
class Substance:
    """One row of table 1."""

    code: str
    name: Text
    cas: str
    threshold_t: float
    """Q, in t."""
    hazard_class: str
    """Symbol of table 2 that its beta is taken from, as far as we know; may be wrong: likely."""
    beta: float | None
    """Of table 3, else of its class; None: the class must be given."""
    in_table_3: bool


@dataclass(frozen=True, slots=True)
class HazardClass:
    """One row of table 2, with its beta of table 4."""

    symbol: str
    name: Text
    threshold_t: float
    beta: float
    definition: str


@dataclass(frozen=True, slots=True)
class Tables:
    """All that the standard gives in tables."""

    substances: Mapping[str, Substance]
    classes: Mapping[str, HazardClass]
    alphas: tuple[tuple[int, float], ...]
    """Table 5: from so many people on, alpha; ascending."""
    grades: tuple[tuple[float, int], ...]
    """Table 6: from this R on, the grade; descending R."""

    def alpha(self, people: int | None) -> float:
        """Of so many residents within 500 m of the site; not counted (None): the worst."""
        if people is None:
            return self.alphas[-1][1]
        return next(alpha for least, alpha in reversed(self.alphas) if people >= least)

    def weight(self, substance: str | None, hazard_class: str | None) -> tuple[float, float]:
        """Q in t and beta. A name of table 1 goes before the class; KeyError: not in the tables.

        Raises:
            ValueError: neither is given, or the beta of the name is not known without a class.
        """
        given = self.classes[hazard_class] if hazard_class else None
        if substance is None:
            if given is None:
                raise ValueError("either a substance of table 1 or a class of table 2 is needed")
            return given.threshold_t, given.beta
        named = self.substances[substance]
        if given is not None and not named.in_table_3:
            return named.threshold_t, given.beta
        if named.beta is None:
            raise ValueError(f"{substance}: its beta follows from its class, which must be given")
        return named.threshold_t, named.beta


@dataclass(frozen=True, slots=True)
class Held:
    """What a unit holds of one substance."""

    name: str
    mass_t: float
    threshold_t: float
    beta: float


@dataclass(frozen=True, slots=True)
class Level:
    """Where a unit stands."""

    s: float
    """Sum of q/Q; from 1 on the unit is a major hazard."""
    weighted: float
    """Sum of beta q/Q."""
    alpha: float
    r: float
    """alpha times the weighted sum."""
    grade: int | None
    """1 is the worst of four; None: no major hazard."""
    next_at: float | None
    """The R (of a unit without a grade: the S) from which it is one worse; None: there is none."""
    to_next: float
    """How near that is: R / next_at (S where it has no grade); 1 = there. Of grade 1: inf."""


def level_of(held: Sequence[Held], people: int | None, tables: Tables) -> Level:
    """The level of a unit that holds this, with so many residents around; GB 18218 4.2, 4.3."""
    s = sum((_exact(one.mass_t) / _exact(one.threshold_t) for one in held), Fraction(0))
    weighted = sum(
        (_exact(one.beta) * _exact(one.mass_t) / _exact(one.threshold_t) for one in held),
        Fraction(0),
    )
    alpha = tables.alpha(people)
    r = _exact(alpha) * weighted
    if s < 1:
        return Level(float(s), float(weighted), alpha, float(r), None, 1.0, float(s))
    nth = next(nth for nth, (least, _) in enumerate(tables.grades) if r >= _exact(least))
    grade = tables.grades[nth][1]
    next_at = tables.grades[nth - 1][0] if nth else None
    to_next = math.inf if next_at is None else float(r / _exact(next_at))
    return Level(float(s), float(weighted), alpha, float(r), grade, next_at, to_next)


def worse(grade: int | None, than: int | None) -> bool:
    """Whether a grade is graver than another; None is no major hazard, the least grave."""
    return (grade or 5) < (than or 5)


@dataclass(frozen=True, slots=True)
class Tank:
    """What turns the level of a tank into a mass."""

    strapping: tuple[tuple[float, float], ...]
    """(level m, volume m3), both ascending; at least two."""
    density_t_m3: float
    density_at_cel: float = 20.0
    expansion_per_k: float = 0.0
    """Of the volume, 1/K; 0: the density is taken as it is."""

    def volume_m3(self, level_m: float) -> float:
        """Between the rows of the table on a straight line; beyond them, its first or last row."""
        rows = self.strapping
        if level_m <= rows[0][0]:
            return rows[0][1]
        for (low, less), (high, more) in pairwise(rows):
            if level_m <= high:
                return less + (more - less) * (level_m - low) / (high - low)
        return rows[-1][1]

    def density(self, celsius: float | None) -> float:
        """t/m3 at that temperature; not known (None): as given."""
        if celsius is None:
            return self.density_t_m3
        return self.density_t_m3 / (1 + self.expansion_per_k * (celsius - self.density_at_cel))

    def mass_t(self, level_m: float, celsius: float | None) -> float:
        """What is in it, to the kilogram."""
        return round(self.volume_m3(level_m) * self.density(celsius), 3)

    @property
    def full_t(self) -> float:
        """What is in it at the last row of its table."""
        return self.mass_t(self.strapping[-1][0], None)


def shipped_tables() -> Tables:
    """The tables of GB 18218-2018."""
    return Tables(
        substances={row["code"]: _substance(row) for row in _rows("substances")},
        classes={row["symbol"]: _class(row) for row in _rows("classes")},
        alphas=tuple((int(row["people_min"]), float(row["alpha"])) for row in _rows("exposure")),
        grades=tuple((float(row["r_min"]), int(row["grade"])) for row in _rows("grades")),
    )


def _rows(table: str) -> list[dict[str, str]]:
    file = resources.files("hazardloop") / "catalogue" / f"gb18218_{table}.csv"
    return list(csv.DictReader(file.read_text("utf-8").splitlines()))


def _substance(row: Mapping[str, str]) -> Substance:
    beta = float(row["beta"]) if row["beta"] else None
    name = Text(row["zh"], row["en"])
    threshold_t, in_table_3 = float(row["q_t"]), row["beta_from"] == "table 3"
    return Substance(row["code"], name, row["cas"], threshold_t, row["class"], beta, in_table_3)


def _class(row: Mapping[str, str]) -> HazardClass:
    name = Text(row["zh"], row["en"])
    return HazardClass(
        row["symbol"], name, float(row["q_t"]), float(row["beta"]), row["definition"]
    )


def _exact(number: float) -> Fraction:
    return Fraction(str(number))
