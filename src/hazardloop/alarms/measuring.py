"""Readings lately to the numbers that rules compare: one row of columns for each reading.

Windows are (n, w): newest reading first, then back in time; what is not there is NaN. Whatever a
measure says follows from these alone, so it is the same however readings were cut into batches.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from hazardloop.alarms.measure import FOREVER_MIN, Measure, Method
from hazardloop.devices.readings import Bools, Floats

S_PER_MIN: Final = 60.0


def measured(measure: Measure, age_s: Floats, value: Floats) -> Floats:
    """What the measure says of each row; NaN = of so few readings nothing.

    Args:
        measure: which.
        age_s: (n, w) seconds before the newest reading, rising; the first is 0, NaN = no reading.
        value: (n, w) in each point's unit.
    Returns: (n,) in the measure's unit.
    """
    inside = age_s < max(measure.over_s, math.ulp(0.0))  # of no window the newest alone
    told = _METHODS[measure.method](measure, age_s, value, inside)
    enough: Bools = np.count_nonzero(inside, axis=1) >= measure.least
    if measure.method in (Method.SLOPE, Method.TIME_TO):
        enough &= np.where(inside, age_s, 0.0).max(axis=1) >= measure.over_s / 2
    told = np.where(enough, told, np.nan)
    return np.abs(told) if measure.size else told


def explained(measure: Measure, age_s: Floats, value: Floats, newest_us: int) -> dict[str, Any]:
    """The arithmetic of one row, as it is kept with an alarm: JSON values only."""
    inside = age_s < max(measure.over_s, math.ulp(0.0))
    ages, values = age_s[inside], value[inside]
    said: dict[str, Any] = {
        "method": str(measure.method),
        "over_s": measure.over_s,
        "readings": int(inside.sum()),
        "newest": float(values[0]),
        "oldest": float(values[-1]),
        "oldest_at_us": newest_us - round(float(ages[-1]) * 1e6),
        "newest_at_us": newest_us,
        "least": float(values.min()),
        "most": float(values.max()),
    }
    asked = {name: getattr(measure, name) for name in ("at", "to", "but", "gap_s")}
    said |= {name: each for name, each in asked.items() if math.isfinite(each)}
    if measure.method in (Method.SLOPE, Method.TIME_TO):
        slope = _slope(measure, age_s[None, :], value[None, :], inside[None, :])
        said |= {"per_s": measure.per_s, "slope": float(slope[0])}
    if measure.method in (Method.FROM_MEDIAN, Method.FROM_MEAN):
        said["reference"] = float(_reference(measure, value[None, :], inside[None, :])[0])
    return said


def _slope(measure: Measure, age_s: Floats, value: Floats, inside: Bools) -> Floats:
    """Median of the slopes from each reading of the older half to its counterpart in the newer.

    One wild value spoils one of these slopes. Source: Theil 1950, the incomplete method.
    """
    count = np.count_nonzero(inside, axis=1)
    half = (count + 1) // 2
    newer = np.arange(age_s.shape[1])[None, :]
    older = np.minimum(newer + half[:, None], age_s.shape[1] - 1)
    paired = newer + half[:, None] < count[:, None]
    dt = np.take_along_axis(age_s, older, 1) - age_s
    dv = value - np.take_along_axis(value, older, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = np.where(paired, dv / dt, np.nan)
    return _median(slopes, count - half) * measure.per_s


def _median(values: Floats, count: Any) -> Floats:
    """(n,) of the `count` numbers of each row; the others are NaN."""
    ordered = np.sort(values, axis=1)  # NaN last
    last = max(ordered.shape[1] - 1, 0)
    low, high = np.clip((count - 1) // 2, 0, last), np.clip(count // 2, 0, last)
    both = np.take_along_axis(ordered, np.stack([low, high], axis=1), 1)
    return np.where(count > 0, both[:, 0] + (both[:, 1] - both[:, 0]) / 2, np.nan)


def _reference(measure: Measure, value: Floats, inside: Bools) -> Floats:
    """What is usual: of the readings before the newest."""
    before = inside.copy()
    before[:, 0] = False
    count = np.count_nonzero(before, axis=1)
    kept = np.where(before, value, np.nan)
    if measure.method is Method.FROM_MEDIAN:
        return _median(kept, count)
    return _divided(_sums(kept), count)


def _deviation(measure: Measure, age_s: Floats, value: Floats, inside: Bools) -> Floats:
    return value[:, 0] - _reference(measure, value, inside)


def _off_set_point(measure: Measure, age_s: Floats, value: Floats, inside: Bools) -> Floats:
    return value[:, 0] - measure.at


def _mean(measure: Measure, age_s: Floats, value: Floats, inside: Bools) -> Floats:
    return _divided(_sums(np.where(inside, value, np.nan)), np.count_nonzero(inside, axis=1))


def _sums(values: Floats) -> Floats:
    """(n,) by rising age, one after the other: the same to the last bit for any width of rows."""
    return np.cumsum(np.nan_to_num(values), axis=1)[:, -1]


def _divided(total: Floats, count: Any) -> Floats:
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _max(measure: Measure, age_s: Floats, value: Floats, inside: Bools) -> Floats:
    most: Floats = np.where(inside, value, -np.inf).max(axis=1)
    return most


def _min(measure: Measure, age_s: Floats, value: Floats, inside: Bools) -> Floats:
    most: Floats = np.where(inside, value, np.inf).min(axis=1)
    return most


def _percentile(measure: Measure, age_s: Floats, value: Floats, inside: Bools) -> Floats:
    count = np.count_nonzero(inside, axis=1)
    ordered = np.sort(np.where(inside, value, np.nan), axis=1)
    rank = np.clip(np.ceil(measure.at * count / 100).astype(np.intp) - 1, 0, None)
    return np.take_along_axis(ordered, rank[:, None], 1)[:, 0]


def _stood_min(measure: Measure, age_s: Floats) -> Floats:
    """(n, w) minutes of the window in which each reading was the last word."""
    began = np.minimum(age_s, measure.over_s)
    next_age = np.concatenate([np.zeros((len(age_s), 1)), age_s[:, :-1]], axis=1)
    ended = np.maximum(next_age, age_s - measure.gap_s)
    stood: Floats = np.nan_to_num(np.maximum(began - ended, 0.0)) / S_PER_MIN
    return stood


def _time_above(measure: Measure, age_s: Floats, value: Floats, inside: Bools) -> Floats:
    return _sums(np.where(value >= measure.at, _stood_min(measure, age_s), 0.0))


def _dose(measure: Measure, age_s: Floats, value: Floats, inside: Bools) -> Floats:
    return _sums(np.maximum(np.nan_to_num(value), 0.0) * _stood_min(measure, age_s))


def _count(measure: Measure, age_s: Floats, value: Floats, inside: Bools) -> Floats:
    there = (value >= measure.at) & (value <= measure.to)
    before = np.concatenate([there[:, 1:], np.zeros((len(there), 1), np.bool_)], axis=1)
    return _counted(there & ~before & inside)


def _occurrences(measure: Measure, age_s: Floats, value: Floats, inside: Bools) -> Floats:
    there = (value >= measure.at) & (value <= measure.to)
    return _counted(there & inside)


def _counted(there: Bools) -> Floats:
    count: Floats = np.count_nonzero(there, axis=1).astype(np.float64)
    return count


def _time_to(measure: Measure, age_s: Floats, value: Floats, inside: Bools) -> Floats:
    slope = _slope(measure, age_s, value, inside)
    left = measure.at - value[:, 0]
    falling = measure.to < measure.at
    with np.errstate(divide="ignore", invalid="ignore"):
        minutes = left / slope * (measure.per_s / S_PER_MIN)
    coming = slope < 0 if falling else slope > 0
    there = left >= 0 if falling else left <= 0
    ahead = np.where(coming & (minutes < FOREVER_MIN), minutes, FOREVER_MIN)
    return np.where(there, 0.0, ahead)


def _still(measure: Measure, age_s: Floats, value: Floats, inside: Bools) -> Floats:
    """Since the oldest reading of the unbroken run; where it may stand, it has not begun."""
    same = np.abs(value - value[:, :1]) <= measure.at
    unbroken = np.logical_and.accumulate(same, axis=1)
    since = np.where(unbroken, age_s, 0.0).max(axis=1)
    return np.where(np.abs(value[:, 0] - measure.but) <= measure.at, 0.0, since)


_METHODS: Final[Mapping[Method, Callable[[Measure, Floats, Floats, Bools], Floats]]] = {
    Method.SLOPE: _slope,
    Method.FROM_MEDIAN: _deviation,
    Method.FROM_MEAN: _deviation,
    Method.FROM_SET_POINT: _off_set_point,
    Method.MEAN: _mean,
    Method.MAX: _max,
    Method.MIN: _min,
    Method.PERCENTILE: _percentile,
    Method.TIME_ABOVE: _time_above,
    Method.DOSE: _dose,
    Method.COUNT: _count,
    Method.OCCURRENCES: _occurrences,
    Method.TIME_TO: _time_to,
    Method.STILL: _still,
}
