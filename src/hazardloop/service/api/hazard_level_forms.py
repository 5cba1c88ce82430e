"""What is sent and told of what hazard units hold, and of their level."""

from itertools import pairwise
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, model_validator

from hazardloop.devices.hazard_level import Tank
from hazardloop.devices.unit_stock import Known, Limit
from hazardloop.service.api.schema import Body, Instant, Name, Out, Ref

Tonnes = Annotated[float, Field(ge=0, le=10_000_000, allow_inf_nan=False)]
Row = tuple[
    Annotated[float, Field(ge=-10, le=1000, allow_inf_nan=False)],
    Annotated[float, Field(ge=0, le=10_000_000, allow_inf_nan=False)],
]
TANK_EXAMPLE: Final[dict[str, Any]] = {
    "device": "TK-201",
    "strapping": [[0, 0], [1, 52.1], [10, 530.4]],
    "density_t_m3": 0.61,
    "density_at_cel": 20,
    "expansion_per_k": 0.0025,
}
INVENTORY_EXAMPLE: Final[dict[str, Any]] = {
    "revision": 0,
    "people": 60,
    "substances": [
        {"name": "液氨", "substance": "ammonia", "design_t": 300, "tanks": [TANK_EXAMPLE]},
        {"name": "丙烯", "class": "W2", "design_t": 8},
    ],
}


class TankIn(Body):
    """A tank that measures a substance."""

    model_config = ConfigDict(json_schema_extra={"examples": [TANK_EXAMPLE]})
    device: str = Field(description="A device of the unit's enterprise that measures level in m.")
    strapping: list[Row] = Field(
        min_length=2, max_length=5000, description="Level in m and volume in m3, both rising."
    )
    density_t_m3: float = Field(gt=0, le=25)
    density_at_cel: float = Field(default=20, ge=-273, le=1000)
    expansion_per_k: float = Field(
        default=0, ge=0, le=0.01, description="Of the volume; 0 = the density is taken as it is."
    )

    @model_validator(mode="after")
    def _rises(self) -> "TankIn":
        for (low, less), (high, more) in pairwise(self.strapping):
            if not (low < high and less <= more):
                raise ValueError(f"strapping: {[high, more]} must lie above {[low, less]}")
        return self

    def tank(self) -> Tank:
        """The core's form of it."""
        return Tank(
            tuple(self.strapping), self.density_t_m3, self.density_at_cel, self.expansion_per_k
        )


class SubstanceIn(Body):
    """A substance of a unit: a name of table 1 of GB 18218, else a class of its table 2."""

    name: Name = Field(description="As people call it; once in a unit.")
    substance: str | None = Field(default=None, description="Its code in `gb18218_substances.csv`.")
    hazard_class: str | None = Field(
        default=None,
        alias="class",
        description="Symbol such as W5.3; with a name it corrects our mapping of its beta.",
    )
    design_t: Tonnes = Field(description="The largest quantity by design.")
    tanks: list[TankIn] = Field(
        default=[], max_length=500, description="None: it counts with its design quantity."
    )


class InventoryIn(Body):
    """All that a unit holds, in place of what was known before."""

    model_config = ConfigDict(json_schema_extra={"examples": [INVENTORY_EXAMPLE]})
    revision: int = Field(ge=0, description="As seen; 0 where nothing is known yet.")
    people: int | None = Field(
        default=None,
        ge=0,
        le=100_000_000,
        description="Residents within 500 m of the site; null = not counted, the worst alpha.",
    )
    substances: list[SubstanceIn] = Field(max_length=200)

    @model_validator(mode="after")
    def _named_once(self) -> "InventoryIn":
        for what, given in (
            ("substances", [one.name for one in self.substances]),
            ("tanks", [tank.device for one in self.substances for tank in one.tanks]),
        ):
            if twice := sorted({one for one in given if given.count(one) > 1}):
                raise ValueError(f"{what}: {twice[0]} stands there twice")
        return self


class TankOut(Out):
    """A tank of a substance, with its newest usable readings."""

    device: str
    strapping: list[tuple[float, float]]
    density_t_m3: float
    density_at_cel: float
    expansion_per_k: float
    level_m: float | None = Field(description="Null: none within a day; the tank counts as full.")
    read_at: Instant | None
    celsius: float | None
    mass_t: float
    full_t: float
    known: Known


class SubstanceOut(Out):
    """A substance of a unit, with what it contributes."""

    name: str
    substance: str | None
    hazard_class: str | None = Field(serialization_alias="class")
    threshold_t: float = Field(description="Q of GB 18218.")
    beta: float
    design_t: float
    live_t: float
    known: Known = Field(description="How the live quantity is known, by its least known part.")
    tanks: list[TankOut]


class InventoryOut(Out):
    """What a unit holds."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                INVENTORY_EXAMPLE
                | {
                    "revision": 3,
                    "changed_at": "2026-11-22T01:00:00.000Z",
                    "changed_by": "admin",
                    "substances": [],
                }
            ]
        }
    )
    revision: int
    people: int | None
    changed_at: Instant | None
    changed_by: str | None
    substances: list[SubstanceOut]


class LevelPart(Out):
    """S, R and grade with the arithmetic."""

    s: float
    alpha: float
    r: float
    grade: int | None = Field(description="1 is the worst of four; null = no major hazard.")
    next_at: float | None = Field(
        description="The R, of a unit without a grade the S, from which it is one grade worse."
    )
    arithmetic: list[str] = Field(description="S and R written out.")


LEVEL_EXAMPLE: Final[dict[str, Any]] = {
    "s": 4.0,
    "alpha": 1.5,
    "r": 24.0,
    "grade": 3,
    "next_at": 50.0,
    "arithmetic": ["S = 20/5 = 4", "R = 1.5 × (4 × 20/5) = 24"],
}


class UnitLevelOut(Out):
    """The grade a unit is registered with beside those of its design and of what it holds now."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "hazard_unit": {"id": 7, "code": "HU-2", "name": "液氯库"},
                    "registered_grade": 3,
                    "people": 60,
                    "design": LEVEL_EXAMPLE,
                    "live": LEVEL_EXAMPLE,
                    "at": "2026-11-22T01:00:00.000Z",
                    "substances": [],
                }
            ]
        }
    )
    hazard_unit: Ref
    registered_grade: int | None
    people: int | None = Field(description="Null: not counted, alpha is the worst.")
    design: LevelPart = Field(description="By the design quantities: the grade of the standard.")
    live: LevelPart = Field(description="By what is there now: shown beside it, not instead.")
    at: Instant
    substances: list[SubstanceOut]


class ChangeIn(Body):
    """So much more, or less, of a substance."""

    name: Name
    add_t: float = Field(ge=-10_000_000, le=10_000_000, allow_inf_nan=False)
    device: str | None = Field(default=None, description="The tank it goes to.")


class WhatIfIn(Body):
    """What is to come in or go out."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"changes": [{"name": "液氨", "add_t": 28, "device": "TK-201"}]}]
        }
    )
    changes: list[ChangeIn] = Field(min_length=1, max_length=100)


class CrossingOut(Out):
    """A limit that would be crossed."""

    limit: Limit
    subject: str = Field(description="The substance, the tank, or the quantity R or S.")
    at: float | None
    would_be: float | None


class WhatIfOut(Out):
    """Whether it may be, and what would become of the unit."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "allowed": False,
                    "crossings": [{"limit": "grade", "subject": "R", "at": 50.0, "would_be": 57.6}],
                    "before": LEVEL_EXAMPLE,
                    "after": LEVEL_EXAMPLE | {"s": 9.6, "r": 57.6, "grade": 2, "next_at": 100.0},
                }
            ]
        }
    )
    allowed: bool
    crossings: list[CrossingOut]
    before: LevelPart
    after: LevelPart


class NotedOut(Out):
    """A line of the history of a unit's live level."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "noted_at": "2026-11-22T01:00:00.000Z",
                    "reason": "grade",
                    "s": 9.6,
                    "r": 57.6,
                    "alpha": 1.5,
                    "grade": 2,
                    "was_r": 48.0,
                    "was_grade": 3,
                    "quantities": {"液氯": [48.0, "measured"]},
                }
            ]
        }
    )
    noted_at: Instant
    reason: str = Field(description="`inventory`, `grade` or `quantity`: what changed.")
    s: float
    r: float
    alpha: float
    grade: int | None
    was_r: float | None
    was_grade: int | None
    quantities: dict[str, tuple[float, Known]]
