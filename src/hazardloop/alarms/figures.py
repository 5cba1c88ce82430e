"""Handling rate (处置率) and its companions, from what was raised and what became of it."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from hazardloop.alarms.alarm import Tier

FORMULA: Final = (
    "rate = alarms raised in [from, to) whose case is closed with a verdict / alarms raised in"
    " [from, to), floored to 4 places; counted by when they were raised, in data time; drills are"
    " apart. on_time = closed ones whose every report came within its submit deadline and every"
    " review within its review deadline. open = raised - closed."
)


@dataclass(frozen=True, slots=True)
class Record:
    """One alarm of a period and how far its handling has come."""

    alarm_id: UUID
    enterprise: str
    kind: str
    """Of the device."""
    tier: Tier
    """Worst reached."""
    drill: bool
    """Marked as such before it was raised."""
    closed: bool
    """Its case is closed, with a verdict."""
    in_time: bool
    """No report and no review of its case came after its deadline."""


@dataclass(frozen=True, slots=True)
class Handling:
    """How the alarms of a period, or of one group of them, were handled."""

    raised: int
    """The denominator: all of them but drills, frozen when they were raised."""
    closed: int
    on_time: int
    drills: int
    members: tuple[UUID, ...]
    """Alarms that make up `raised`."""

    @property
    def open(self) -> int:
        """Raised and not closed yet, or reopened."""
        return self.raised - self.closed

    @property
    def rate(self) -> float | None:
        """Closed ÷ raised; None where nothing was raised."""
        return floored_share(self.closed, self.raised)


def floored_share(part: int, whole: int) -> float | None:
    """`part` ÷ `whole` cut after 4 places, so that 1.0 means all; None of nothing."""
    return None if whole == 0 else part * 10_000 // whole / 10_000


def handling(records: Iterable[Record]) -> Handling:
    """How the alarms of `records` were handled, each alarm once."""
    all_of_them = tuple(records)
    counted = tuple(record for record in all_of_them if not record.drill)
    closed = tuple(record for record in counted if record.closed)
    return Handling(
        raised=len(counted),
        closed=len(closed),
        on_time=sum(record.in_time for record in closed),
        drills=len(all_of_them) - len(counted),
        members=tuple(record.alarm_id for record in counted),
    )


class GroupBy(StrEnum):
    """By what a figure may be split."""

    ENTERPRISE = "enterprise"
    KIND = "kind"
    TIER = "tier"


_KEYS: Final[Mapping[GroupBy, Callable[[Record], str]]] = {
    GroupBy.ENTERPRISE: lambda record: record.enterprise,
    GroupBy.KIND: lambda record: record.kind,
    GroupBy.TIER: lambda record: record.tier.wire,
}


def handling_by(records: Iterable[Record], group_by: GroupBy) -> Mapping[str, Handling]:
    """The same figures per group, keys sorted; the groups add up to the whole."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[_KEYS[group_by](record)].append(record)
    return {key: handling(groups[key]) for key in sorted(groups)}
