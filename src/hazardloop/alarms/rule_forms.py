"""The forms of a rule in a file, one per kind: what may be written, what it must obey."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from hazardloop.alarms.alarm import TIER_BY_NAME, Tier
from hazardloop.alarms.hours import Hours
from hazardloop.alarms.rule import Bits, Match
from hazardloop.devices.catalog import STRICT, Code, TextIn, Words

RuleId = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$", max_length=96)
]
Seconds = Annotated[float, Field(ge=0, le=86_400)]
TierName = Literal["blue", "yellow", "orange", "red"]


def _no_unquoted_no(value: Any) -> Any:
    """`value`; refused where YAML made a boolean of a text, as of the unquoted gas NO."""
    if value is False:
        raise ValueError("found false, a text is expected: quote it, YAML reads NO as a boolean")
    return value


TagText = Annotated[str, BeforeValidator(_no_unquoted_no)]
Tags = dict[str, Annotated[Literal[True] | str | list[TagText], BeforeValidator(_no_unquoted_no)]]


class SelectForm(BaseModel):
    """Which devices a rule is for."""

    model_config = STRICT

    kind: Code | None = None
    grade: list[Annotated[int, Field(ge=0, le=4)]] | None = None
    enterprise: list[str] | None = None
    tags: Tags | None = None
    except_tags: Tags | None = None


class PlanItemForm(BaseModel):
    """One item of a response plan."""

    model_config = STRICT

    item: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
    text: TextIn
    required: bool = True


DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]


class WindowForm(BaseModel):
    """Part of the local day, as `{from: "22:00", to: "06:00", days: [fri, sat]}`."""

    model_config = STRICT | {"populate_by_name": True}

    opens: Annotated[TimeOfDay, Field(alias="from")]
    closes: Annotated[TimeOfDay, Field(alias="to")]
    days: (
        Annotated[
            list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]], Field(min_length=1)
        ]
        | None
    ) = None

    def hours(self) -> Hours:
        """The core's form of it."""
        opens, closes = (int(t[:2]) * 60 + int(t[3:]) for t in (self.opens, self.closes))
        return Hours(opens, closes, tuple(sorted({DAYS.index(day) for day in self.days or ()})))

    @field_validator("opens", "closes", mode="before")
    @classmethod
    def _quoted(cls, value: Any) -> Any:
        if isinstance(value, int):
            raise ValueError(f"found {value}: quote a time of day, YAML reads 22:00 as a number")
        return value


class RuleForm(BaseModel, ABC):
    """What every rule says, whatever its kind."""

    model_config = STRICT

    id: RuleId
    kind: str
    quantity: Code
    name: TextIn
    guidance: TextIn
    source: Words
    confidence: Literal["sure", "likely", "check", "house"]
    select: SelectForm = SelectForm()
    on_delay_s: Seconds = 0.0
    off_delay_s: Seconds = 0.0
    latch: bool = False
    re_alarm_s: Seconds = 0.0
    worse_in_grades: list[Annotated[int, Field(ge=1, le=4)]] = []
    plan: Annotated[list[PlanItemForm], Field(max_length=20)] = []
    window: WindowForm | None = None
    unit_said: Annotated[str | None, Field(alias="unit")] = None
    """That its limits are in, where somebody wants it checked."""

    @abstractmethod
    def tiers(self) -> set[Tier]:
        """All tiers that it names."""

    @field_validator("plan")
    @classmethod
    def _items_are_named_once(cls, plan: list[PlanItemForm]) -> list[PlanItemForm]:
        names = [one.item for one in plan]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"item {twice[0]} stands twice in the plan")
        return plan

    @model_validator(mode="after")
    def _delay_ends_in_its_window(self) -> "RuleForm":
        if self.window and self.on_delay_s >= (length_s := self.window.hours().length_s):
            raise ValueError(
                f"on_delay_s: found {self.on_delay_s:g}, the window is open for {length_s} s"
            )
        return self

    @model_validator(mode="after")
    def _nothing_is_worse_than_red(self) -> "RuleForm":
        if self.worse_in_grades and Tier.RED in self.tiers():
            raise ValueError("worse_in_grades: red cannot get worse, write a rule for each grade")
        return self


class LimitsForm(RuleForm, ABC):
    """`high` or `low` limits by tier."""

    high: Annotated[dict[TierName, float], Field(min_length=1)] | None = None
    low: Annotated[dict[TierName, float], Field(min_length=1)] | None = None
    deadband: Annotated[float, Field(ge=0)] = 0.0

    def tiers(self) -> set[Tier]:
        """All tiers that it names."""
        return set(self.limits())

    def limits(self) -> dict[Tier, float]:
        """Its limits by tier."""
        return {TIER_BY_NAME[name]: limit for name, limit in (self.high or self.low or {}).items()}

    @model_validator(mode="after")
    def _limits_worsen(self) -> "LimitsForm":
        if (self.high is None) == (self.low is None):
            raise ValueError("either high or low is needed; for both sides write two rules")
        limits = [limit for _, limit in sorted(self.limits().items())]
        if limits != sorted(set(limits), reverse=self.high is None):
            order = "rise" if self.high else "fall"
            raise ValueError(f"limits must {order} from blue to red, found {limits}")
        return self


class ThresholdForm(LimitsForm):
    """Limits of a value; `of` makes them parts of a tag of the device."""

    deadband_percent: Annotated[float, Field(gt=0, lt=100)] | None = None
    """Of the span of the quantity, or of `of`."""
    of: str | None = None
    default_of: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _says_it_once(self) -> "ThresholdForm":
        if self.default_of is not None and self.of is None:
            raise ValueError("default_of stands in for a missing tag: name the tag in 'of'")
        if self.deadband and self.deadband_percent is not None:
            raise ValueError("deadband and deadband_percent say the same: write one of them")
        return self


def misfits_of_limits(
    form: LimitsForm, span: tuple[float, float, str], what: str, deadband: float | None = None
) -> Iterable[tuple[str, str]]:
    """What of its limits cannot be: (field, why).

    Args:
        form: whose.
        span: the least and the most that what is compared can be, and its unit.
        what: is compared, in words.
        deadband: in the unit; None: as it is written.
    """
    low, high, unit = span
    side, limits = "high" if form.high else "low", sorted(form.limits().values())
    for limit in form.limits().values():
        if not low <= limit <= high:
            yield side, f"limit {limit:g} outside {low:g}..{high:g} {unit}: {what} never reaches it"
    field = "deadband" if deadband is None else "deadband_percent"
    deadband = form.deadband if deadband is None else deadband
    band = limits[0] - low if form.high else high - limits[-1]
    for one, next_one in itertools.pairwise(limits):
        band = min(band, next_one - one)
    if deadband and deadband >= band:
        yield field, f"{field}: {deadband:g} is no narrower than the band of {band:g} it lies in"


class StateForm(RuleForm):
    """A value that is the alarm by itself, or bits of a status word."""

    equals: bool | float | None = None
    bits: Annotated[list[Annotated[int, Field(ge=0, le=51)]], Field(min_length=1)] | None = None
    match: Literal["any_set", "all_set", "any_clear", "all_clear"] | None = None
    tier: TierName

    def tiers(self) -> set[Tier]:
        """Its one tier."""
        return {TIER_BY_NAME[self.tier]}

    def found_bits(self) -> Bits | None:
        """The bits it looks for; None: it looks for one value."""
        if self.bits is None:
            return None
        how = Match(self.match or Match.ANY_SET)
        return Bits(tuple(sorted(set(self.bits))), how, TIER_BY_NAME[self.tier])

    @model_validator(mode="after")
    def _one_thing(self) -> "StateForm":
        if (self.equals is None) == (self.bits is None):
            raise ValueError("either equals or bits is needed")
        if self.match is not None and self.bits is None:
            raise ValueError("match says how bits are to be: name them in 'bits'")
        return self


class StaleForm(RuleForm):
    """Silence; delays have no meaning for it."""

    on_delay_s: Literal[0] = 0
    off_delay_s: Literal[0] = 0
    window: None = None
    after_s: Annotated[float, Field(gt=0)] | None = None
    after_intervals: Annotated[float, Field(gt=0)] | None = None
    min_s: Annotated[float, Field(ge=0)] = 0.0
    tier: TierName

    def tiers(self) -> set[Tier]:
        """Its one tier."""
        return {TIER_BY_NAME[self.tier]}

    @model_validator(mode="after")
    def _one_measure(self) -> "StaleForm":
        if (self.after_s is None) == (self.after_intervals is None):
            raise ValueError("either after_s or after_intervals is needed")
        return self


FORMS: Final[Mapping[str, type[RuleForm]]] = {
    "threshold": ThresholdForm,
    "state": StateForm,
    "stale": StaleForm,
}
"""Kinds of rule that look at one reading, or at none, by name."""
