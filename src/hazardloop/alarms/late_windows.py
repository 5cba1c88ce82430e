"""Late readings of points whose rules look back: what would have been seen, had they come in time.

They take their place among the readings lately. Then every instant whose window one of them lies in
is worked out again; where that reaches a tier that was not reached without them, an excursion has
been found.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from hazardloop.alarms.measuring import measured
from hazardloop.alarms.profiles import Gauge
from hazardloop.alarms.story import Moment
from hazardloop.alarms.walk import Walk
from hazardloop.alarms.watch import worst_entered
from hazardloop.devices.readings import Floats, Readings, Times

CELLS_AT_ONCE: Final = 1 << 20
"""Readings of windows that are looked at together."""


@dataclass(frozen=True, slots=True)
class _Looked:
    """What a measure said at some instants before the late readings were known."""

    gauge: Gauge
    at_us: Times
    """(n,) ascending."""
    said: Floats
    """(n,) at the newest reading by then; NaN = nothing."""


def take_late(walk: Walk, late: Readings) -> None:
    """Gives these readings their place; tells of the excursions that they show.

    Args:
        walk: changed; its points' newest readings are all later.
        late: usable, of points with a ring, each point and instant once.
    """
    order = np.lexsort((late.observed_at, late.row))
    late = late.take(order)
    rows, starts = np.unique(late.row, return_index=True)
    for row, mine in zip(rows.tolist(), np.split(np.arange(len(late)), starts[1:]), strict=True):
        _take(walk, row, late.observed_at[mine], late.value[mine])


def _take(walk: Walk, row: int, at_us: Times, value: Floats) -> None:
    rings, newest_us = walk.memory.rings, int(walk.memory.newest_at[row])
    ring = int(rings.of_row[row])
    every = np.union1d(rings.told(ring)[0], at_us)
    every = every[(every >= at_us[0]) & (every < newest_us)]
    age_us = every - at_us[np.searchsorted(at_us, every, "right") - 1]
    looked = []
    for gauge in walk.table.profiles.made[int(walk.table.profile[row])].gauges:
        touched = every[age_us / 1e6 < max(gauge.measure.reach_s, 1e-9)]
        looked.append(_Looked(gauge, touched, _said(walk, ring, gauge, touched)))
    one = np.array([ring], np.int32)
    for nth in range(len(at_us)):
        rings.push(one, at_us[nth : nth + 1], value[nth : nth + 1])
    for each in looked:
        _find(walk, row, each)


def _find(walk: Walk, row: int, looked: _Looked) -> None:
    """Tell of instants at which the measure now reaches a worse tier than it did."""
    gauge, rings = looked.gauge, walk.memory.rings
    ring = int(rings.of_row[row])
    held = np.isin(looked.at_us, rings.told(ring)[0])  # a full ring drops what is older than all
    said = _said(walk, ring, gauge, looked.at_us)
    for nth in np.flatnonzero(held & ~np.isnan(said) & (said != looked.said)).tolist():
        at_us, now, before = int(looked.at_us[nth]), float(said[nth]), float(looked.said[nth])
        worked = partial(walk.worked, row, gauge.measure, at_us + 1)
        for watch in gauge.watches:
            reached = 0 if math.isnan(before) else worst_entered(watch, before)
            if worst_entered(watch, now) > reached:
                walk.find_late(row, watch, Moment(at_us, now, late=True, worked=worked))


def _said(walk: Walk, ring: int, gauge: Gauge, at_us: Times) -> Floats:
    """(n,) what the measure says at the newest readings by those instants, as they are known."""
    rings = walk.memory.rings
    step = max(1, CELLS_AT_ONCE // max(1, int(rings.count[ring])))
    told = [
        measured(
            gauge.measure,
            *rings.windows(np.full(len(part), ring, np.int32), gauge.measure.reach_s, part + 1)[:2],
        )
        for part in np.split(at_us, np.arange(step, len(at_us), step))
    ]
    return np.concatenate(told) if len(at_us) else np.empty(0)
