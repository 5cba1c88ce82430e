"""Whether the course of a point is plausible: spikes, standstill, changes faster than can be.

Each reading is judged at its arrival by what its point said before. What is late, bad, or of a
quantity of which the catalogue expects nothing, is neither judged nor remembered. The flags only
tell: a value that bears one is compared with limits like any other, as a missed alarm can kill.

- RATE: |value - the one before| > per_s x the time between them, or x 1 s if that is less.
- SPIKE: |value - median of the three before| > step. A reading that leaves and returns bears it
  alone; of a true jump the first two bear it, as nobody can know at their arrival.
- STUCK: the same value, without a gap, for longer than still_s, unless it is at_rest.

After a gap (gap_s without a reading) nothing but RATE is concluded from what was said before it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from hazardloop.devices.catalog import Plausible
from hazardloop.devices.readings import BAD, Bools, Floats, Quality, Readings, Rows

Places: TypeAlias = npt.NDArray[np.intp]

NOT_JUDGED: Final = int(BAD | Quality.LATE)
LEAST_US: Final = 1e6
"""Neighbours in time may differ by what a second allows: else the noise of two readings within a
millisecond would be a change at any speed."""


@dataclass(frozen=True, slots=True)
class Expectations:
    """What is expected of each point; columns over kinds of expectation, the first expects nothing.

    An infinite limit, or a NaN to be at rest at, is one that nothing exceeds or meets.
    """

    kind: npt.NDArray[np.int16]
    """(rows,) which of them holds for each point."""
    gap_us: Floats
    per_us: Floats
    step: Floats
    still_us: Floats
    at_rest: Floats


@dataclass(slots=True)
class Courses:
    """What is remembered of each point: its last readings that were judged. (rows,) each."""

    at_us: Floats
    """-inf = none yet. A float64 holds microseconds exactly until the year 2255."""
    value: Floats
    second: Floats
    """The value before it; NaN = none, or a gap lies between."""
    third: Floats
    since_us: Floats
    """From when it has been this value without a change or a gap."""


def expectations(
    kind: Sequence[int] | npt.NDArray[np.integer[Any]], known: Sequence[Plausible | None]
) -> Expectations:
    """Of points by row: `kind` (rows,) tells which of `known` is expected of each."""
    anything = Plausible(1.0, None, None, None, None)
    expected = [anything, *(one for one in known if one is not None)]
    place = iter(range(1, len(expected)))
    at = np.array([0 if one is None else next(place) for one in known], np.int16)

    def column(limits: Iterable[float | None], absent: float) -> Floats:
        return np.array([absent if one is None else one for one in limits])

    return Expectations(
        kind=at[np.asarray(kind, np.intp)],
        gap_us=column((one.gap_s for one in expected), np.inf) * 1e6,
        per_us=column((one.per_s for one in expected), np.inf) / 1e6,
        step=column((one.step for one in expected), np.inf),
        still_us=column((one.still_s for one in expected), np.inf) * 1e6,
        at_rest=column((one.at_rest for one in expected), np.nan),
    )


def nothing_heard(points: int) -> Courses:
    """(points,) no point has said anything."""
    nothing = (-np.inf, np.nan, np.nan, np.nan, np.inf)
    return side_by_side([np.full(points, each) for each in nothing])


def side_by_side(columns: Sequence[Floats]) -> Courses:
    """Courses of these columns, of which each point's five numbers lie together in memory.

    Among half a million points each of them would else have to be fetched by itself.
    """
    return Courses(*np.stack(columns, axis=1).T)


def flag(readings: Readings, expected: Expectations, courses: Courses) -> None:
    """Sets SPIKE, STUCK and RATE in `readings.quality`, and brings `courses` up to date.

    Args:
        readings: n of them as they came, LATE where they are; each point and instant once.
        expected: of the registry whose rows they speak of.
        courses: changed in place.
    """
    kind = expected.kind.take(readings.row)
    judged = np.flatnonzero((kind != 0) & ((readings.quality & NOT_JUDGED) == 0))
    if not judged.size:
        return
    judged, first = _by_point(readings.row, judged)
    row = readings.row[judged]
    kind = kind.take(judged)
    at = readings.observed_at[judged].astype(np.float64)
    value = readings.value[judged]
    known = row[first]
    waited = at - _before(at, first, courses.at_us[known])
    last_said = _before(value, first, courses.value[known])
    gap = waited > expected.gap_us[kind]
    one = np.where(gap, np.nan, last_said)
    two = np.where(gap, np.nan, _before(one, first, courses.second[known]))
    three = np.where(gap, np.nan, _before(two, first, courses.third[known]))
    since = _standing_since(at, value != one, first, courses.since_us[known])
    median = np.maximum(np.minimum(one, two), np.minimum(np.maximum(one, two), three))
    with np.errstate(invalid="ignore"):  # the first reading of a point: infinitely long after none
        fast = np.abs(value - last_said) > expected.per_us[kind] * np.maximum(waited, LEAST_US)
    lonely = np.abs(value - median) > expected.step[kind]
    still = (at - since > expected.still_us[kind]) & (value != expected.at_rest[kind])
    for which, said in ((fast, Quality.RATE), (lonely, Quality.SPIKE), (still, Quality.STUCK)):
        readings.quality[judged[which]] |= said
    last = np.append(first[1:], len(row)) - 1
    courses.at_us[known], courses.value[known] = at[last], value[last]
    courses.second[known], courses.third[known] = one[last], two[last]
    courses.since_us[known] = since[last]


def restore(readings: Readings, expected: Expectations) -> Courses:
    """The courses that these readings leave behind; of a run, only that it was STUCK is known.

    Args:
        readings: the newest three or more of each point that were judged once, by rising time.
        expected: of the registry whose rows they speak of.
    """
    courses = nothing_heard(len(expected.kind))
    stuck = (readings.quality & int(Quality.STUCK)) != 0
    flag(readings, expected, courses)
    newest = readings.observed_at == courses.at_us[readings.row]
    courses.since_us[readings.row[stuck & newest]] = -np.inf
    return courses


def with_room(courses: Courses, points: int) -> Courses:
    """The same with room for `points`: rows keep their points, and new ones have said nothing."""
    roomy = nothing_heard(points)
    for name in ("at_us", "value", "second", "third", "since_us"):
        column = getattr(courses, name)
        getattr(roomy, name)[: len(column)] = column
    return roomy


def of_rows(courses: Courses, rows: Rows | slice) -> Courses:
    """A copy of the courses of these rows, in this order."""
    return side_by_side([getattr(courses, each.name)[rows] for each in fields(Courses)])


def _by_point(row: npt.NDArray[np.int32], judged: Places) -> tuple[Places, Places]:
    """`judged` by row and arrival, and where in it each row begins."""
    rows = row.take(judged).astype(np.int64)
    if not (rows[1:] >= rows[:-1]).all():
        # Row and place in one number: sorting numbers is 20 times faster than a stable argsort.
        keys = np.sort((rows << 32) | judged)
        judged, rows = keys & 0xFFFF_FFFF, keys >> 32
    begins = np.empty(len(rows), np.bool_)
    begins[0] = True
    np.not_equal(rows[1:], rows[:-1], out=begins[1:])
    return judged, np.flatnonzero(begins)


def _before(column: Floats, first: Places, remembered: Floats) -> Floats:
    """What stood in `column` one reading earlier; for the first of a point, what is remembered."""
    if len(first) == len(column):
        return remembered
    before = np.empty_like(column)
    before[1:] = column[:-1]
    before[first] = remembered
    return before


def _standing_since(at: Floats, changed: Bools, first: Places, remembered: Floats) -> Floats:
    """When each reading's value began to be said; `changed`: with this very reading."""
    if len(first) == len(at):
        return np.where(changed, at, remembered)
    carried = np.empty_like(at)
    carried[first] = remembered
    begins = changed.copy()
    begins[first] = True
    nth = np.maximum.accumulate(np.where(begins, np.arange(len(at)), 0))
    return np.where(changed, at, carried).take(nth)
