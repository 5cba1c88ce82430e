"""Measure: what a rule compares instead of the value itself, worked out of the readings lately."""

import math
from dataclasses import dataclass
from enum import StrEnum


class Method(StrEnum):
    """How readings become the one number that limits are compared with."""

    SLOPE = "slope"
    """Change in `per_s` seconds: the median of slopes between the two halves of the window."""
    FROM_MEDIAN = "from_median"
    """How far the newest value lies above the median of those before it."""
    FROM_MEAN = "from_mean"
    FROM_SET_POINT = "from_set_point"
    """How far it lies above `at`."""
    MEAN = "mean"
    MAX = "max"
    MIN = "min"
    PERCENTILE = "percentile"
    """The value that `at` percent of the readings do not exceed (nearest rank)."""
    TIME_ABOVE = "time_above"
    """Minutes at or above `at`."""
    DOSE = "dose"
    """Value times minutes; what is below zero counts as zero."""
    COUNT = "count"
    """How often the value became, or jumped into, `at`..`to`."""
    OCCURRENCES = "occurrences"
    """How many readings say `at`..`to`: of events, of which each is one."""
    TIME_TO = "time_to"
    """Minutes until `at` is reached at the present slope; `FOREVER_MIN` if it is not."""
    STILL = "still"
    """Seconds that the value has stood within `at` of where it stands now."""


FOREVER_MIN = 10_080.0
"""A week, in minutes: the farthest that is looked ahead."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A number worked out of one reading and those before it."""

    method: Method
    over_s: float
    """How far back, in seconds; a reading just so old no longer counts."""
    at: float = math.nan
    """What `method` says of it, in the point's unit, or in percent."""
    to: float = math.nan
    """The other end of a span; the same unit. Of TIME_TO: -inf = `at` is reached from above."""
    but: float = math.nan
    """Where a value may stand still for ever."""
    per_s: float = 60.0
    """What a slope is the change in, in seconds."""
    gap_s: float = 0.0
    """A value stands no longer than this, in seconds, if no other follows."""
    least: int = 1
    """Of fewer readings nothing is concluded."""
    size: bool = False
    """Its size alone counts, not which way it points."""

    @property
    def reach_s(self) -> float:
        """How far back the oldest reading lies that may matter, in seconds."""
        return self.over_s + self.gap_s
