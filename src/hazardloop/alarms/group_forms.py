"""The forms of rules over groups of points: what may be written, and the group that comes of it."""

import math
from abc import abstractmethod
from collections.abc import Iterable
from typing import Annotated, Final, Literal

from pydantic import BaseModel, Field, model_validator

from hazardloop.alarms.alarm import Direction
from hazardloop.alarms.group import Group, Together
from hazardloop.alarms.measure_forms import INTERVALS_STOOD
from hazardloop.alarms.rule import Grouped, Threshold
from hazardloop.alarms.rule_forms import LimitsForm, misfits_of_limits
from hazardloop.devices.catalog import STRICT, Quantity, QuantityType

Members = Annotated[int, Field(ge=1, le=1000)]


Tag = Annotated[str, Field(min_length=1, max_length=64)]
ENTERPRISE: Final = "enterprise"


class GroupForm(BaseModel):
    """Who belongs together: `{by: zone, max_age_s: 90}`, `{by: [plant, zone]}`."""

    model_config = STRICT

    by: Tag | Annotated[list[Tag], Field(min_length=1, max_length=5)]
    max_age_s: Annotated[float, Field(gt=0, le=86_400)] | None = None

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags that members share; none: they share their enterprise alone."""
        if self.by == ENTERPRISE:
            return ()
        return (self.by,) if isinstance(self.by, str) else tuple(self.by)


class VoteForm(BaseModel):
    """What a member says that votes for the alarm."""

    model_config = STRICT

    high: float | None = None
    low: float | None = None
    equals: bool | float | None = None

    @property
    def span(self) -> tuple[float, float]:
        """From and to where a value votes."""
        if self.equals is not None:
            return float(self.equals), float(self.equals)
        return (
            -math.inf if self.high is None else self.high,
            math.inf if self.low is None else self.low,
        )

    @model_validator(mode="after")
    def _one_of_them(self) -> "VoteForm":
        if [self.high, self.low, self.equals].count(None) != 2:
            raise ValueError("one of high, low and equals says who votes")
        return self


class GroupedForm(LimitsForm):
    """Limits of what is made of a group's last words."""

    group: GroupForm
    min_members: Members = 1

    @abstractmethod
    def made(self, quantity: Quantity, interval_s: float) -> Group:
        """The group, of points that report every `interval_s`."""

    @abstractmethod
    def span(self, quantity: Quantity) -> tuple[float, float, str]:
        """The least and the most that can come of it, and its unit."""

    def grouped(self, quantity: Quantity, interval_s: float) -> Grouped:
        """The condition that it stands for."""
        side = Direction.HIGH if self.high else Direction.LOW
        limits = Threshold(side, tuple(sorted(self.limits().items())), self.deadband)
        return Grouped(self.made(quantity, interval_s), limits, self.span(quantity)[2])

    def misfits(self, quantity: Quantity) -> Iterable[tuple[str, str]]:
        """What of it cannot be at such a quantity: (field, why)."""
        yield from misfits_of_limits(self, self.span(quantity), "what is made of it")

    def age_s(self, interval_s: float) -> float:
        """How long a word counts."""
        return self.group.max_age_s or INTERVALS_STOOD * interval_s


class VotingForm(GroupedForm):
    """How many of a group say so."""

    vote: VoteForm
    absent: Literal["ignore", "vote"] = "ignore"

    def made(self, quantity: Quantity, interval_s: float) -> Group:
        """Its votes."""
        at, to = self.vote.span
        return Group(
            self.group.tags, Together.VOTES, self.age_s(interval_s), at, to,
            self.absent == "vote", self.min_members,
        )  # fmt: skip

    def span(self, quantity: Quantity) -> tuple[float, float, str]:
        """Members."""
        return 0.0, 1000.0, "1"

    def misfits(self, quantity: Quantity) -> Iterable[tuple[str, str]]:
        """With a vote that nobody can give."""
        yield from super().misfits(quantity)
        at, to = self.vote.span
        if at > quantity.high or to < quantity.low:
            span = f"{quantity.low:g}..{quantity.high:g} {quantity.unit}"
            yield "vote", f"vote: outside {span}: {self.quantity} never is there"

    @model_validator(mode="after")
    def _more_is_worse(self) -> "VotingForm":
        if self.high is None:
            raise ValueError("of votes more is worse: write high")
        return self


class BalanceForm(GroupedForm):
    """What goes into a group less what goes out of it; `role` is the tag that says which."""

    role: Annotated[str, Field(min_length=1, max_length=64)]
    min_members: Literal[2] = 2

    def made(self, quantity: Quantity, interval_s: float) -> Group:
        """Its balance, of all its members."""
        age_s = self.age_s(interval_s)
        return Group(self.group.tags, Together.BALANCE, age_s, least=2, role=self.role)

    def span(self, quantity: Quantity) -> tuple[float, float, str]:
        """Nothing bounds it."""
        return -math.inf, math.inf, quantity.unit

    def misfits(self, quantity: Quantity) -> Iterable[tuple[str, str]]:
        """With what is no number."""
        if quantity.type is not QuantityType.NUMBER:
            yield "quantity", f"{self.quantity} is a {quantity.type}: nothing of it goes in or out"
            return
        yield from super().misfits(quantity)


class GroupAggregateForm(GroupedForm):
    """A mean, an extreme, a sum or the spread of a group's last words."""

    take: Literal["mean", "max", "min", "sum", "spread"]

    def made(self, quantity: Quantity, interval_s: float) -> Group:
        """What is taken of it."""
        age_s = self.age_s(interval_s)
        return Group(self.group.tags, Together(self.take), age_s, least=self.min_members)

    def span(self, quantity: Quantity) -> tuple[float, float, str]:
        """The range, as wide as it is, or nothing bounds it."""
        bounds = {
            "sum": (-math.inf, math.inf),
            "spread": (0.0, quantity.high - quantity.low),
        }.get(self.take, (quantity.low, quantity.high))
        return *bounds, quantity.unit

    def misfits(self, quantity: Quantity) -> Iterable[tuple[str, str]]:
        """With what is no number."""
        if quantity.type is not QuantityType.NUMBER:
            yield "quantity", f"{self.quantity} is a {quantity.type}: use kind: voting"
            return
        yield from super().misfits(quantity)
