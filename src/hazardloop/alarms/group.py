"""Group: points whose last words are compared together, and what is made of them."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np

from hazardloop.devices.readings import Bools, Floats


class Together(StrEnum):
    """How the last words of the members become one number."""

    VOTES = "votes"
    """How many members say `at`..`to`."""
    MEAN = "mean"
    MAX = "max"
    MIN = "min"
    SUM = "sum"
    SPREAD = "spread"
    """The largest less the least."""
    BALANCE = "balance"
    """What goes in less what goes out; nothing can be said unless all have something to say."""


@dataclass(frozen=True, slots=True)
class Group:
    """Points of one enterprise and quantity whose devices say the same of some tags."""

    by: tuple[str, ...]
    """The tags; devices without one of them belong to no group. None: all of an enterprise."""
    method: Together
    max_age_s: float
    """Who has said nothing usable for so long, in seconds, has nothing to say."""
    at: float = math.nan
    """Of votes: from here ..."""
    to: float = math.nan
    """... to here, in the quantity's unit."""
    absent_vote: bool = False
    """Who has nothing to say votes for the alarm."""
    least: int = 1
    """Of fewer members with something to say nothing is concluded."""
    role: str = ""
    """Of a balance: the tag that says `in` or `out` of a device; who says neither is no member."""

    def sign(self, tags: Mapping[str, Any]) -> float:
        """How a device counts: 1, of a balance -1 if it leads out, 0 if it is no member."""
        if any(tag not in tags for tag in self.by):
            return 0.0
        return SIGNS.get(str(tags.get(self.role)), 0.0) if self.role else 1.0

    @property
    def shared(self) -> str:
        """What its members share, in words."""
        return ", ".join(self.by) or "enterprise"

    def key(self, enterprise: str, tags: Mapping[str, Any]) -> str:
        """What the members of a group have in common, of a device that is one."""
        return "|".join([enterprise, *(str(tags[tag]) for tag in self.by)])


SIGNS: Final = {"in": 1.0, "out": -1.0}
IN_SERVICE: Final = "in_service"
"""The quantity with which a device says that it is switched off: then it has nothing to say."""


def gathered(group: Group, age_s: Floats, value: Floats, sign: Floats) -> Floats:
    """What is made of each row of last words; NaN = nothing can be said.

    Args:
        group: how.
        age_s: (n, w) seconds since each member's last usable word; NaN = there was none.
        value: (n, w) it, in the quantity's unit.
        sign: (w,) 1 or -1: how each member counts.
    Returns: (n,) a number of members, or in the quantity's unit.
    """
    heard = age_s <= group.max_age_s
    told = _METHODS[group.method](group, value * sign, heard)
    if group.method is Together.VOTES and group.absent_vote:
        return told
    least = len(sign) if group.method is Together.BALANCE else group.least
    return np.where(np.count_nonzero(heard, axis=1) >= least, told, np.nan)


def gathered_said(group: Group, age_s: Floats, value: Floats, off: Bools) -> dict[str, Any]:
    """The arithmetic of one row, as it is kept with an alarm: JSON values only.

    `off`: (w,) whose device said that it is out of service.
    """
    heard = age_s <= group.max_age_s
    said: dict[str, Any] = {
        "method": str(group.method),
        "members": len(value),
        "heard": int(np.count_nonzero(heard)),
        "degraded": not bool(heard.all()),
        "max_age_s": group.max_age_s,
        "values": [float(x) if there else None for x, there in zip(value, heard, strict=True)],
    }
    if off.any():
        said["out_of_service"] = int(np.count_nonzero(off))
    asked = {name: getattr(group, name) for name in ("at", "to")}
    return said | {name: each for name, each in asked.items() if math.isfinite(each)}


def _votes(group: Group, value: Floats, heard: Bools) -> Floats:
    for_it = heard & (value >= group.at) & (value <= group.to)
    if group.absent_vote:
        for_it |= ~heard
    count: Floats = np.count_nonzero(for_it, axis=1).astype(np.float64)
    return count


def _sum(group: Group, value: Floats, heard: Bools) -> Floats:
    """One after the other, in the order of members: the same to the last bit anywhere."""
    total: Floats = np.cumsum(np.where(heard, value, 0.0), axis=1)[:, -1]
    return total


def _mean(group: Group, value: Floats, heard: Bools) -> Floats:
    mean: Floats = _sum(group, value, heard) / np.maximum(np.count_nonzero(heard, axis=1), 1)
    return mean


def _max(group: Group, value: Floats, heard: Bools) -> Floats:
    most: Floats = np.where(heard, value, -np.inf).max(axis=1)
    return most


def _min(group: Group, value: Floats, heard: Bools) -> Floats:
    least: Floats = np.where(heard, value, np.inf).min(axis=1)
    return least


def _spread(group: Group, value: Floats, heard: Bools) -> Floats:
    with np.errstate(invalid="ignore"):  # of nobody
        return _max(group, value, heard) - _min(group, value, heard)


_METHODS: Final[Mapping[Together, Callable[[Group, Floats, Bools], Floats]]] = {
    Together.VOTES: _votes,
    Together.MEAN: _mean,
    Together.MAX: _max,
    Together.MIN: _min,
    Together.SUM: _sum,
    Together.SPREAD: _spread,
    Together.BALANCE: _sum,
}
