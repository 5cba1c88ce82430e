"""Every measure once more, one reading at a time: written from its words, in plain Python."""

import math
from collections.abc import Sequence
from statistics import median_high, median_low

from hazardloop.alarms.measure import FOREVER_MIN, Measure, Method

Past = Sequence[tuple[int, float]]
"""(us, value) by rising time; the last one is the reading it is about."""


def says(measure: Measure, past: Past) -> float | None:
    """What `measure` says at the last reading of `past`; None = nothing."""
    now = past[-1][0]
    known = [(at, value) for at, value in past if (now - at) / 1e6 < max(measure.reach_s, 1e-9)]
    inside = [each for each in known if each == known[-1] or (now - each[0]) / 1e6 < measure.over_s]
    if len(inside) < measure.least:
        return None
    told = _told(measure, known, inside)
    return told if told is None else abs(told) if measure.size else told


def _told(measure: Measure, known: Past, inside: Past) -> float | None:
    values, newest = [value for _, value in inside], inside[-1][1]
    match measure.method:
        case Method.SLOPE:
            return _slope(measure, inside)
        case Method.TIME_TO:
            return _minutes_to_go(measure, inside)
        case Method.FROM_MEDIAN:
            return newest - _median(values[:-1]) if len(values) > 1 else None
        case Method.FROM_MEAN:
            return newest - _mean(values[:-1]) if len(values) > 1 else None
        case Method.FROM_SET_POINT:
            return newest - measure.at
        case Method.MEAN:
            return _mean(values)
        case Method.MAX:
            return max(values)
        case Method.MIN:
            return min(values)
        case Method.PERCENTILE:
            return next(
                each
                for nth, each in enumerate(sorted(values), 1)
                if nth >= measure.at * len(values) / 100
            )
        case Method.TIME_ABOVE:
            return _sum(stood for value, stood in _stands(measure, known) if value >= measure.at)
        case Method.DOSE:
            return _sum(max(value, 0.0) * stood for value, stood in _stands(measure, known))
        case Method.COUNT:
            return float(
                sum(
                    measure.at <= value <= measure.to
                    and (at, value) in inside
                    and not (nth and measure.at <= known[nth - 1][1] <= measure.to)
                    for nth, (at, value) in enumerate(known)
                )
            )
        case Method.OCCURRENCES:
            return float(sum(measure.at <= value <= measure.to for value in values))
        case Method.STILL:
            return _stands_still_s(measure, known)


def _mean(values: Sequence[float]) -> float:
    return _sum(reversed(values)) / len(values)


def _sum(values: object) -> float:
    total = 0.0
    for each in values:  # type: ignore[attr-defined]
        total += each
    return total


def _median(values: Sequence[float]) -> float:
    low, high = median_low(values), median_high(values)
    return low + (high - low) / 2


def _slope(measure: Measure, inside: Past) -> float | None:
    if (inside[-1][0] - inside[0][0]) / 1e6 < measure.over_s / 2:
        return None
    half = (len(inside) + 1) // 2
    slopes = []
    for (before, was), (at, value) in zip(inside, inside[half:], strict=False):
        now = inside[-1][0]
        slopes.append((value - was) / ((now - before) / 1e6 - (now - at) / 1e6))
    return _median(slopes) * measure.per_s if slopes else None


def _minutes_to_go(measure: Measure, inside: Past) -> float | None:
    slope, falling = _slope(measure, inside), measure.to < measure.at
    if slope is None:
        return None
    left = measure.at - inside[-1][1]
    if (left >= 0) if falling else (left <= 0):
        return 0.0
    if (slope >= 0) if falling else (slope <= 0):
        return FOREVER_MIN
    return min(left / slope * (measure.per_s / 60), FOREVER_MIN)


def _stands(measure: Measure, known: Past) -> list[tuple[float, float]]:
    """Value and minutes in the window that it stood, newest first."""
    now, stands = known[-1][0], []
    for nth in range(len(known) - 1, -1, -1):
        at, value = known[nth]
        age = (now - at) / 1e6
        until = (now - known[nth + 1][0]) / 1e6 if nth + 1 < len(known) else 0.0
        stood = min(age, measure.over_s) - max(until, age - measure.gap_s)
        stands.append((value, max(stood, 0.0) / 60))
    return stands


def _stands_still_s(measure: Measure, known: Past) -> float:
    now, newest = known[-1]
    if not math.isnan(measure.but) and abs(newest - measure.but) <= measure.at:
        return 0.0
    since = now
    for at, value in reversed(known):
        if abs(value - newest) > measure.at:
            break
        since = at
    return (now - since) / 1e6
