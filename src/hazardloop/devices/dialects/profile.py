"""What a gateway's profile may say of names, whatever its dialect; checked, with paths."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
)

from hazardloop.devices.units import Linear, known_unit

MOST_NAMES: Final = 20_000
MOST_PATTERNS: Final = 64

STRICT: Final = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


def _known(unit: str, info: ValidationInfo) -> str:
    """A unit of the table, or one that the catalogue itself uses (context `units`)."""
    if known_unit(unit) is None and unit not in (info.context or {}).get("units", ()):
        raise ValueError(f"{unit!r} is no unit known here; UCUM such as kPa, mm, Cel, %, [ppm]")
    return unit


def _not_zero(scale: float) -> float:
    if scale == 0:
        raise ValueError("0 would make every value the same")
    return scale


Device = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Quantity = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Point = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}\.[a-z][a-z0-9_]{0,63}$")]
"""DEVICE.quantity."""
Foreign = Annotated[str, StringConstraints(min_length=1, max_length=300)]
Unit = Annotated[str, StringConstraints(min_length=1, max_length=40), AfterValidator(_known)]
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=300)]


class Taking(BaseModel):
    """How the values of a point are written."""

    model_config = STRICT
    unit: Unit | None = None
    scale: Annotated[float, AfterValidator(_not_zero)] = 1.0
    offset: float = 0.0
    values: Annotated[dict[Foreign, float | bool], Field(min_length=1, max_length=500)] | None = (
        None
    )

    @property
    def linear(self) -> Linear:
        """Value sent * scale + offset = value in `unit`."""
        return Linear(self.scale, self.offset)


class _OfPoint(Taking):
    point: Point


class _OfQuantity(Taking):
    quantity: Quantity


def under(key: str) -> BeforeValidator:
    """A text alone stands for an object with only that."""
    return BeforeValidator(lambda given: {key: given} if isinstance(given, str) else given)


class NamingIn(BaseModel):
    """Names in the payload to ours."""

    model_config = STRICT
    device: Device | None = None
    """Whose the values are that name no device."""
    names: Annotated[
        dict[Foreign, Annotated[_OfPoint, under("point")]], Field(max_length=MOST_NAMES)
    ] = Field(default_factory=dict)
    """Full name to point."""
    devices: Annotated[dict[Foreign, Device], Field(max_length=MOST_NAMES)] = Field(
        default_factory=dict
    )
    """A device's name to its code."""
    quantities: Annotated[
        dict[Foreign, Annotated[_OfQuantity, under("quantity")]], Field(max_length=MOST_NAMES)
    ] = Field(default_factory=dict)
    """A quantity's name to ours, of every device."""
    ignore: Annotated[list[Pattern], Field(max_length=MOST_PATTERNS)] = Field(default_factory=list)
    """Full names that are passed over; `*` stands for anything."""


class ProfileRefused(ValueError):
    """A profile that its dialect cannot use: each problem with its path inside the profile."""

    def __init__(self, problems: list[tuple[tuple[str | int, ...], str]]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, path))}: {why}" for path, why in problems))
        self.problems = problems


def finite(value: Any) -> bool:
    """Whether it is a number that one can calculate with."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


Profile = Mapping[str, Any]
"""As the registry keeps it."""
