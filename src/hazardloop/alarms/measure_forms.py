"""The forms of rules that look back: what may be written, and the measure that comes of it."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar, Final, Literal, TypeVar

from pydantic import Field, model_validator

from hazardloop.alarms.alarm import Direction
from hazardloop.alarms.measure import FOREVER_MIN, Measure, Method
from hazardloop.alarms.rings import MOST
from hazardloop.alarms.rule import Derived, Threshold
from hazardloop.alarms.rule_forms import LimitsForm, RuleForm, misfits_of_limits
from hazardloop.devices.catalog import STRICT, Quantity, QuantityType

INTERVALS_STOOD: Final = 3.0
"""So many times its expected interval a value stands, if nothing else is said. House."""
PER_S: Final = {"s": 1.0, "min": 60.0, "h": 3600.0}

Window = Annotated[float, Field(gt=0, le=604_800)]
Form = TypeVar("Form", bound="MeasuredForm")
LeastReadings = Annotated[int, Field(ge=1, le=1000)]


class MeasuredForm(LimitsForm):
    """Limits of what a measure makes of the readings lately, in the unit that it has."""

    types: ClassVar[tuple[QuantityType, ...]] = (QuantityType.NUMBER,)

    @abstractmethod
    def measure(self, quantity: Quantity, interval_s: float) -> Measure:
        """What is worked out, of points that report every `interval_s`."""

    @abstractmethod
    def unit(self, quantity: Quantity) -> str:
        """UCUM, of what is worked out."""

    @abstractmethod
    def span(self, quantity: Quantity) -> tuple[float, float]:
        """The least and the most that can come of it."""

    @property
    def parts(self) -> tuple[str | None, float | None]:
        """The tag that the measure is a part of, and what stands in for it."""
        return None, None

    def derived(self, quantity: Quantity, interval_s: float) -> Derived:
        """The condition that it stands for."""
        side = Direction.HIGH if self.high else Direction.LOW
        limits = tuple(sorted(self.limits().items()))
        threshold = Threshold(side, limits, self.deadband, *self.parts)
        return Derived(self.measure(quantity, interval_s), threshold, self.unit(quantity))

    def misfits(self, quantity: Quantity, interval_s: float) -> Iterable[tuple[str, str]]:
        """What of it cannot be at such a quantity: (field, why)."""
        if quantity.type not in self.types:
            yield "quantity", f"{self.quantity} is a {quantity.type}: {self.kind} is not for it"
            return
        measure = self.measure(quantity, interval_s)
        span = (*self.span(quantity), self.unit(quantity))
        yield from misfits_of_limits(self, span, "what is worked out of it")
        readings = measure.reach_s / interval_s
        if readings > MOST:
            yield (
                "over_s",
                (
                    f"over_s: {measure.reach_s:g} s at one reading each {interval_s:g} s are"
                    f" {readings:.0f} readings, at most {MOST} are kept"
                ),
            )
        if measure.over_s and measure.over_s < measure.least * interval_s:
            yield (
                "over_s",
                (
                    f"over_s: {measure.over_s:g} s hold {measure.over_s / interval_s:.0f} readings"
                    f" at one each {interval_s:g} s, min_readings is {measure.least}"
                ),
            )


class RateForm(MeasuredForm):
    """How fast a value changes: a slope that a few wild readings do not move."""

    over_s: Window
    per: Literal["s", "min", "h"] = "min"
    min_readings: Annotated[int, Field(ge=4, le=1000)] = 6

    def measure(self, quantity: Quantity, interval_s: float) -> Measure:
        """Its slope."""
        per_s = PER_S[self.per]
        return Measure(Method.SLOPE, self.over_s, per_s=per_s, least=self.min_readings)

    def unit(self, quantity: Quantity) -> str:
        """Of the quantity, in a time."""
        return f"{'' if quantity.unit == '1' else quantity.unit}/{self.per}"

    def span(self, quantity: Quantity) -> tuple[float, float]:
        """Any."""
        return float("-inf"), float("inf")


class DeviationForm(MeasuredForm):
    """How far a value lies from what is usual for its point, or from a set point."""

    model_config = STRICT | {"populate_by_name": True}

    start: Annotated[Literal["median", "mean"] | float, Field(alias="from")]
    over_s: Window | None = None
    either_side: bool = False
    min_readings: LeastReadings = 6

    def measure(self, quantity: Quantity, interval_s: float) -> Measure:
        """Its distance from there."""
        if isinstance(self.start, float):
            return Measure(Method.FROM_SET_POINT, 0.0, at=self.start, size=self.either_side)
        method = Method.FROM_MEDIAN if self.start == "median" else Method.FROM_MEAN
        over_s = self.over_s or 0.0
        return Measure(method, over_s, least=self.min_readings, size=self.either_side)

    def unit(self, quantity: Quantity) -> str:
        """Of the quantity."""
        return quantity.unit

    def span(self, quantity: Quantity) -> tuple[float, float]:
        """As far as the range is wide."""
        wide = quantity.high - quantity.low
        return 0.0 if self.either_side else -wide, wide

    @model_validator(mode="after")
    def _window_of_what_is_usual(self) -> "DeviationForm":
        if (self.over_s is None) != isinstance(self.start, float):
            raise ValueError("over_s is needed for median and mean, and has no use for a set point")
        if self.either_side and self.low is not None:
            raise ValueError("either_side: how far it lies off has a high limit")
        return self


class AggregateForm(MeasuredForm):
    """A mean, an extreme, a percentile, a time or a dose of the readings lately."""

    take: Literal["mean", "max", "min", "percentile", "time_above", "dose"]
    over_s: Window
    percentile: Annotated[float, Field(gt=0, le=100)] | None = None
    above: float | None = None
    max_gap_s: Annotated[float, Field(gt=0, le=86_400)] | None = None
    min_readings: LeastReadings = 1

    def measure(self, quantity: Quantity, interval_s: float) -> Measure:
        """What is taken of the window."""
        stands = self.take in ("time_above", "dose")
        at = {"percentile": self.percentile, "time_above": self.above}.get(self.take)
        return Measure(
            Method(self.take),
            self.over_s,
            at=float("nan") if at is None else at,
            gap_s=(self.max_gap_s or INTERVALS_STOOD * interval_s) if stands else 0.0,
            least=self.min_readings,
        )

    def unit(self, quantity: Quantity) -> str:
        """Of the quantity; minutes; or both."""
        if self.take == "time_above" or (self.take == "dose" and quantity.unit == "1"):
            return "min"
        return f"{quantity.unit}.min" if self.take == "dose" else quantity.unit

    def span(self, quantity: Quantity) -> tuple[float, float]:
        """The range, the window, or nothing bounds it."""
        if self.take == "time_above":
            return 0.0, self.over_s / 60
        return (0.0, float("inf")) if self.take == "dose" else (quantity.low, quantity.high)

    @model_validator(mode="after")
    def _of_what(self) -> "AggregateForm":
        for name, of in (("percentile", "percentile"), ("above", "time_above")):
            if (getattr(self, name) is not None) != (self.take == of):
                raise ValueError(f"{name} goes with take: {of}, and only with it")
        if self.max_gap_s is not None and self.take not in ("time_above", "dose"):
            raise ValueError("max_gap_s goes with take: time_above or dose")
        return self


class FrequencyForm(MeasuredForm):
    """How often something happened: events, or a value that came to be there."""

    types: ClassVar[tuple[QuantityType, ...]] = tuple(QuantityType)
    over_s: Window
    equals: bool | float | None = None
    above: float | None = None
    below: float | None = None

    def measure(self, quantity: Quantity, interval_s: float) -> Measure:
        """Its count."""
        event = quantity.type is QuantityType.EVENT
        at, to = float("-inf"), float("inf")
        if self.equals is not None:
            at = to = float(self.equals)
        elif self.above is not None:
            at = self.above
        elif self.below is not None:
            to = self.below
        gap_s = 0.0 if event else INTERVALS_STOOD * interval_s
        return Measure(
            Method.OCCURRENCES if event else Method.COUNT, self.over_s, at=at, to=to, gap_s=gap_s
        )

    def unit(self, quantity: Quantity) -> str:
        """A number."""
        return "1"

    def span(self, quantity: Quantity) -> tuple[float, float]:
        """None, or any number."""
        return 0.0, float("inf")

    @model_validator(mode="after")
    def _what_is_counted(self) -> "FrequencyForm":
        if [self.equals, self.above, self.below].count(None) != 2:
            raise ValueError("one of equals, above and below says what is counted")
        return _high_only(self)


class TimeToLimitForm(MeasuredForm):
    """Minutes until a level is reached, if it goes on as it does."""

    reach: float
    of: str | None = None
    default_of: Annotated[float, Field(gt=0)] | None = None
    side: Literal["rising", "falling"] = "rising"
    over_s: Window
    min_readings: Annotated[int, Field(ge=4, le=1000)] = 6

    @property
    def parts(self) -> tuple[str | None, float | None]:
        """`reach` may be a part of a tag of the device."""
        return self.of, self.default_of

    def measure(self, quantity: Quantity, interval_s: float) -> Measure:
        """Its time to go."""
        to = float("-inf" if self.side == "falling" else "inf")
        return Measure(Method.TIME_TO, self.over_s, at=self.reach, to=to, least=self.min_readings)

    def unit(self, quantity: Quantity) -> str:
        """Minutes."""
        return "min"

    def span(self, quantity: Quantity) -> tuple[float, float]:
        """A week is the farthest that is looked ahead."""
        return 0.0, FOREVER_MIN

    def misfits(self, quantity: Quantity, interval_s: float) -> Iterable[tuple[str, str]]:
        """With a level that is never reached."""
        yield from super().misfits(quantity, interval_s)
        if self.of is None and not quantity.low <= self.reach <= quantity.high:
            span = f"{quantity.low:g}..{quantity.high:g} {quantity.unit}"
            yield "reach", f"reach: {self.reach:g} outside {span}: {self.quantity} never is there"

    @model_validator(mode="after")
    def _less_is_worse(self) -> "TimeToLimitForm":
        if self.low is None:
            raise ValueError("the limits are minutes to go, of which less is worse: write low")
        return self


class StuckForm(MeasuredForm):
    """Seconds that a number has not moved, or that something has been in one state."""

    types: ClassVar[tuple[QuantityType, ...]] = (QuantityType.NUMBER, QuantityType.BOOLEAN)
    tolerance: Annotated[float, Field(ge=0)] = 0.0
    at_rest: float | None = None
    state: bool | None = None

    def measure(self, quantity: Quantity, interval_s: float) -> Measure:
        """How long it stands."""
        may = self.at_rest if self.state is None else float(not self.state)
        return Measure(
            Method.STILL,
            max(self.limits().values()),
            at=self.tolerance,
            but=float("nan") if may is None else may,
            gap_s=INTERVALS_STOOD * interval_s,
        )

    def unit(self, quantity: Quantity) -> str:
        """Seconds."""
        return "s"

    def span(self, quantity: Quantity) -> tuple[float, float]:
        """Any time."""
        return 0.0, float("inf")

    def misfits(self, quantity: Quantity, interval_s: float) -> Iterable[tuple[str, str]]:
        """With what is asked of numbers, or of states, alone."""
        yield from super().misfits(quantity, interval_s)
        number = quantity.type is QuantityType.NUMBER
        if number == (self.state is not None):
            what = f"state: {self.quantity} is a {quantity.type}"
            needs = "a number has none" if number else "name the one that it may not stand in"
            yield "state", f"{what}: {needs}"
        if not number and (self.tolerance or self.at_rest is not None):
            yield "tolerance", f"tolerance and at_rest are for numbers, {self.quantity} is none"

    @model_validator(mode="after")
    def _longer_is_worse(self) -> "StuckForm":
        return _high_only(self)


def _high_only(form: Form) -> Form:
    if form.high is None:
        raise ValueError("of what is counted more is worse: write high")
    return form


MEASURED_FORMS: Final[Mapping[str, type[RuleForm]]] = {
    "rate_of_change": RateForm,
    "deviation": DeviationForm,
    "aggregate": AggregateForm,
    "frequency": FrequencyForm,
    "time_to_limit": TimeToLimitForm,
    "stuck": StuckForm,
}
"""Kinds of rule that look back, by name."""
