"""Where two accounts of all alarms differ: alarm by alarm, and in which published figures."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import numpy as np
import numpy.typing as npt

from hazardloop.alarms.alarm import TIER_BY_NAME
from hazardloop.alarms.facts import VERDICTS, Facts, Mark
from hazardloop.alarms.figures import FIGURES, Groups, counts, floored_share, spreads
from hazardloop.devices.instants import rfc3339, utc

Places = npt.NDArray[np.intp]

NAMED_MOST: Final = 20
"""So many alarms are named of a difference."""

RATES: Final = {"handling rate": "closed", "on-time rate": "on_time", "response rate": "responded"}
"""Published rates by the figure that is their numerator; `raised` is their denominator."""


@dataclass(frozen=True, slots=True)
class Matched:
    """Two accounts of the same alarms, row by row."""

    one: Facts
    other: Facts
    in_one: Places
    """(n,) places of the alarms that both tell of."""
    in_other: Places
    """(n,) the same alarms there."""
    only_one: Places
    only_other: Places


def match(one: Facts, other: Facts) -> Matched:
    """Which alarms both tell of, and where; by their ids."""
    place = {each: nth for nth, each in enumerate(other.column("alarm_id").tolist())}
    found = np.array(
        [place.pop(each, -1) for each in one.column("alarm_id").tolist()], dtype=np.intp
    )
    return Matched(
        one,
        other,
        np.flatnonzero(found >= 0),
        found[found >= 0],
        np.flatnonzero(found < 0),
        np.array(sorted(place.values()), dtype=np.intp),
    )


@dataclass(frozen=True, slots=True)
class Difference:
    """An alarm of which the two do not say the same; None: they do not know it."""

    alarm_id: UUID
    one: dict[str, Any] | None
    other: dict[str, Any] | None


def differences(matched: Matched, most: int = NAMED_MOST) -> list[Difference]:
    """Of the first `most` alarms, what either says of them where they differ."""
    one, other = matched.one, matched.other
    unlike = {
        name: _unlike(one.column(name)[matched.in_one], other.column(name)[matched.in_other])
        for name in one.columns
    }
    rows = np.flatnonzero(np.any(list(unlike.values()), axis=0))[:most]
    found = []
    for row in rows:
        names = [name for name, column in unlike.items() if column[row]]
        at, there = matched.in_one[row], matched.in_other[row]
        found.append(Difference(_id(one, at), _said(one, at, names), _said(other, there, names)))
    brief = ("raised_us", "enterprise", "tier", "flags")
    found += [Difference(_id(one, at), _said(one, at, brief), None) for at in matched.only_one]
    found += [
        Difference(_id(other, at), None, _said(other, at, brief)) for at in matched.only_other
    ]
    return found[:most]


def _unlike(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    if one.dtype.kind == "f":
        unlike: npt.NDArray[np.bool_] = ~((one == other) | (np.isnan(one) & np.isnan(other)))
        return unlike
    return np.asarray(one != other, np.bool_)


def _id(facts: Facts, at: int) -> UUID:
    return facts.alarm_ids(np.array([at]))[0]


_TIERS: Final = {int(tier): name for name, tier in TIER_BY_NAME.items()}
_VERDICTS: Final = {number: name for name, number in VERDICTS.items()}


def _said(facts: Facts, at: int, names: tuple[str, ...] | list[str]) -> dict[str, Any]:
    """Some facts of one alarm in words."""
    said: dict[str, Any] = {}
    for name in names:
        value = facts.column(name)[at].item()
        match name:
            case "raised_us":
                said["raised_at"] = rfc3339(utc(value))
            case "area" | "kind" | "operator":
                said[name] = facts.words[value]
            case "flags":
                said |= {mark.name.lower(): bool(value & mark) for mark in Mark if mark.name}
            case "tier":
                said[name] = _TIERS.get(value, value)
            case "verdict":
                said[name] = _VERDICTS.get(value, value)
            case _:
                said[name] = None if value != value else value
    return said


@dataclass(frozen=True, slots=True)
class FigureDiffers:
    """A figure of a month that the two accounts give otherwise."""

    month: str
    figure: str
    one: int | float | None
    other: int | float | None
    members: tuple[UUID, ...] = ()
    """Some of the alarms that one of them counts and the other does not."""


@dataclass(frozen=True, slots=True)
class Month:
    """Every figure and station of a UTC month."""

    counted: dict[str, int]
    spreads: dict[str, Any]

    @property
    def rates(self) -> dict[str, float | None]:
        """Each published rate."""
        raised = self.counted["raised"]
        return {name: floored_share(self.counted[part], raised) for name, part in RATES.items()}


def months(facts: Facts) -> dict[str, Month]:
    """By their names, as `2026-11`."""
    groups = _by_month(facts)
    return {
        key: Month(counted, stations)
        for key, counted, stations in zip(
            groups.keys, counts(facts, groups, tuple(FIGURES)), spreads(facts, groups), strict=True
        )
    }


def _by_month(facts: Facts) -> Groups:
    months = facts.column("raised_us").view("M8[us]").astype("M8[M]")
    found, codes = np.unique(months, return_inverse=True)
    return Groups(tuple(str(one) for one in found), codes.astype(np.int32))


def figures_that_differ(matched: Matched) -> Iterator[FigureDiffers]:
    """Each figure of each month whose members are not the same, and each time that differs.

    Also where the numbers are: one alarm closed by hand and another one hidden is a difference.
    """
    one, other = months(matched.one), months(matched.other)
    nothing = Month(dict.fromkeys(FIGURES, 0), {})
    for month, figure, members in _members_that_differ(matched):
        yield FigureDiffers(
            month,
            figure,
            one.get(month, nothing).counted[figure],
            other.get(month, nothing).counted[figure],
            members,
        )
    for month in sorted(one.keys() & other.keys()):
        for name, spread in one[month].spreads.items():
            published = other[month].spreads[name]
            for part in ("p50_s", "p90_s", "worst_s"):
                if getattr(spread, part) != getattr(published, part):
                    yield FigureDiffers(
                        month, f"{name} {part}", getattr(spread, part), getattr(published, part)
                    )


def _members_that_differ(matched: Matched) -> Iterator[tuple[str, str, tuple[UUID, ...]]]:
    for figure, counted in FIGURES.items():
        ours, theirs = counted(matched.one), counted(matched.other)
        moved = matched.one.column("raised_us")[matched.in_one].view("M8[us]").astype("M8[M]")
        there = matched.other.column("raised_us")[matched.in_other].view("M8[us]").astype("M8[M]")
        unlike = (ours[matched.in_one] != theirs[matched.in_other]) | (
            ours[matched.in_one] & (moved != there)
        )
        by_month: dict[str, list[UUID]] = {}
        for facts, places in (
            (matched.one, matched.in_one[unlike & ours[matched.in_one]]),
            (matched.one, matched.only_one[ours[matched.only_one]]),
            (matched.other, matched.in_other[unlike & theirs[matched.in_other]]),
            (matched.other, matched.only_other[theirs[matched.only_other]]),
        ):
            raised = facts.column("raised_us")[places].view("M8[us]").astype("M8[M]")
            for at, month in zip(places, raised, strict=True):
                by_month.setdefault(str(month), []).append(_id(facts, at))
        for month in sorted(by_month):
            yield month, figure, tuple(by_month[month][:NAMED_MOST])
