"""Published figures: handling rate (处置率), response and their companions, counted from facts.

A figure is the number of alarms that one predicate holds for, so each has its members by itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from hazardloop.alarms.alarm import TIER_BY_NAME, Verdict
from hazardloop.alarms.facts import VERDICTS, Bools, Codes, Facts, Mark, Seconds

FORMULA: Final = (
    "rate = alarms raised in [from, to) whose case is closed with a verdict / alarms raised in"
    " [from, to), floored to 4 places; counted by when they were raised, in data time; drills are"
    " apart. on_time = closed ones whose every report came within its submit deadline and every"
    " review within its review deadline. open = raised - closed."
)

RESPONSE_FORMULA: Final = (
    "responded = dispatched to both sides and signed by every post of both within 30 minutes;"
    " response_rate = responded / raised, floored to 4 places: who has not signed has not"
    " responded. verified_30 = verified on site within 30 minutes of dispatch. Times are seconds"
    " from dispatch to the first signature, verification and report, and to the last close; p50"
    " and p90 are taken over the alarms that have got so far (of), the others are in `raised`."
)

RESPONSE_S: Final = 1_800.0
"""Within it an alarm is to be answered; source: 30分钟响应率 of local safety plans."""


def _raised(facts: Facts) -> Bools:
    return ~facts.has(Mark.DRILL)


def _closed(facts: Facts) -> Bools:
    return _raised(facts) & facts.has(Mark.CLOSED)


def _given(verdict: Verdict) -> Callable[[Facts], Bools]:
    return lambda facts: _raised(facts) & (facts.column("verdict") == VERDICTS[verdict])


def _late(mark: Mark) -> Callable[[Facts], Bools]:
    return lambda facts: _raised(facts) & facts.has(mark)


def _within(name: str) -> Callable[[Facts], Bools]:
    return lambda facts: _raised(facts) & (STAGES[name](facts) <= RESPONSE_S)


def _counted(name: str) -> Callable[[Facts], Bools]:
    return lambda facts: _raised(facts) & (facts.column(name) > 0)


FIGURES: Final[Mapping[str, Callable[[Facts], Bools]]] = {
    "raised": _raised,
    "closed": _closed,
    "open": lambda facts: _raised(facts) & ~facts.has(Mark.CLOSED),
    "on_time": lambda facts: _closed(facts) & ~facts.has(Mark.LATE_SUBMIT | Mark.LATE_REVIEW),
    "drills": lambda facts: facts.has(Mark.DRILL),
    "found_late": _late(Mark.FOUND_LATE),
    "returned": _counted("returned"),
    "reopened": _counted("reopened"),
    "late_sign_enterprise": _late(Mark.LATE_SIGN_ENTERPRISE),
    "late_sign_authority": _late(Mark.LATE_SIGN_AUTHORITY),
    "late_verify": _late(Mark.LATE_VERIFY),
    "late_submit": _late(Mark.LATE_SUBMIT),
    "late_review": _late(Mark.LATE_REVIEW),
    "responded": _within("signed"),
    "responded_enterprise": _within("signed_by_enterprise"),
    "responded_authority": _within("signed_by_authority"),
    "verified_30": _within("verified"),
} | {f"verdict_{verdict}": _given(verdict) for verdict in Verdict}
"""Each figure by its name, and of which alarms it holds; what counts in one period, counts once."""


def _column(name: str) -> Callable[[Facts], Seconds]:
    return lambda facts: facts.column(name).astype(np.float32, copy=False)


def _signed(facts: Facts) -> Seconds:
    # NaN of either side stays NaN: one signature of two is no response yet.
    return np.maximum(_column("signed_by_enterprise")(facts), _column("signed_by_authority")(facts))


STAGES: Final[Mapping[str, Callable[[Facts], Seconds]]] = {
    "signed": _signed,
    "signed_by_enterprise": _column("signed_by_enterprise"),
    "signed_by_authority": _column("signed_by_authority"),
    "verified": _column("verified"),
    "submitted": _column("submitted"),
    "closed": _column("closed"),
    "acknowledged": _column("acknowledged"),
}
"""Seconds from dispatch to each station of the handling; NaN = it did not get there."""


class GroupBy(StrEnum):
    """By what a figure may be split."""

    ENTERPRISE = "enterprise"
    AREA = "area"
    KIND = "kind"
    TIER = "tier"
    OPERATOR = "operator"
    """Who acknowledged the alarm first; empty: nobody has."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Facts split up: `keys` sorted, `codes` (n,) which of them each alarm belongs to."""

    keys: tuple[str, ...]
    codes: Codes


def grouped(facts: Facts, group_by: GroupBy, enterprises: Mapping[int, str]) -> Groups:
    """Every alarm in exactly one group; `enterprises` names them by id."""
    numbers, inverse = _distinct(facts.column(group_by.value))
    names = {
        GroupBy.ENTERPRISE: enterprises,
        GroupBy.TIER: {int(tier): name for name, tier in TIER_BY_NAME.items()},
    }.get(group_by, facts.words)
    keys = [names[int(number)] for number in numbers]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    place = np.empty(len(keys), np.int32)
    place[order] = np.arange(len(keys), dtype=np.int32)
    return Groups(tuple(keys[nth] for nth in order), place[inverse])


def _distinct(numbers: Codes) -> tuple[Codes, Codes]:
    """The numbers that occur, ascending, and which of them each is; n small integers close by."""
    if len(numbers) == 0:
        return np.empty(0, np.int32), np.empty(0, np.int32)
    least = int(numbers.min())
    if int(numbers.max()) - least > len(numbers) + 2**16:  # far apart: a table would be too large
        found, inverse = np.unique(numbers, return_inverse=True)
        return found.astype(np.int32), inverse.astype(np.int32)
    offsets = numbers.astype(np.intp) - least
    there = np.bincount(offsets) > 0
    place = np.cumsum(there, dtype=np.int32) - 1
    return (np.flatnonzero(there) + least).astype(np.int32), place[offsets]


def whole(facts: Facts) -> Groups:
    """All of them in one group."""
    return Groups(("",), np.zeros(len(facts), np.int32))


def counts(facts: Facts, groups: Groups, names: tuple[str, ...]) -> list[dict[str, int]]:
    """Of each group, how many alarms each figure of `names` holds for."""
    columns = {name: _per_group(groups, FIGURES[name](facts)) for name in names}
    return [
        {name: int(column[nth]) for name, column in columns.items()}
        for nth in range(len(groups.keys))
    ]


def _per_group(groups: Groups, counted: Bools) -> npt.NDArray[np.intp]:
    if len(groups.keys) == 1:
        return np.array([np.count_nonzero(counted)])
    return np.bincount(groups.codes[counted], minlength=len(groups.keys))


@dataclass(frozen=True, slots=True)
class Spread:
    """How long a station took: over `of` alarms that reached it, in seconds; None of none."""

    of: int
    p50_s: float | None
    p90_s: float | None
    worst_s: float | None


def spreads(facts: Facts, groups: Groups) -> list[dict[str, Spread]]:
    """Of each group, the spread of every station of STAGES; drills are left out."""
    counted = _raised(facts)
    found: list[dict[str, Spread]] = [{} for _ in groups.keys]
    for name, stage in STAGES.items():
        seconds = stage(facts)
        reached = counted & ~np.isnan(seconds)
        order = np.argsort(groups.codes[reached], kind="stable")
        sorted_s = seconds[reached][order]
        bounds = np.searchsorted(groups.codes[reached][order], np.arange(len(groups.keys) + 1))
        for nth, (first, past) in enumerate(pairwise(bounds)):
            found[nth][name] = _spread(sorted_s[first:past])
    return found


def _spread(seconds: Seconds) -> Spread:
    if len(seconds) == 0:
        return Spread(0, None, None, None)
    p50, p90, worst = np.percentile(seconds, (50, 90, 100))
    return Spread(len(seconds), float(p50), float(p90), float(worst))


def floored_share(part: int, whole: int) -> float | None:
    """`part` ÷ `whole` cut after 4 places, so that 1.0 means all; None of nothing."""
    return None if whole == 0 else part * 10_000 // whole / 10_000
