"""Which readings of a batch were delivered before, and which come after newer ones."""

from dataclasses import dataclass

import numpy as np

from hazardloop.devices.readings import NEVER, Bools, Readings, Times, placed_by


@dataclass(frozen=True, slots=True)
class Novelty:
    """What the times alone tell of each reading of a batch."""

    repeated: Bools
    """(n,) an earlier reading of this very batch has the same point and time."""
    doubtful: Bools
    """(n,) not newer than what was seen of its point before this batch: stored already, or late.
    Ask the table."""
    late: Bools
    """(n,) older than something of its point that came before it, in this batch or earlier."""


def novelty(readings: Readings, newest: Times) -> Novelty:
    """How new each reading is.

    Args:
        readings: n of them, in the order they came; it is quickest where they are by point.
        newest: (rows,) us of the newest reading seen of each point; NEVER = none.
    """
    n = len(readings)
    if n == 0:
        nothing = np.zeros(0, np.bool_)
        return Novelty(nothing, nothing, nothing)
    row, at = readings.row, readings.observed_at
    before = newest.take(row)
    if ((row[1:] > row[:-1]) | ((row[1:] == row[:-1]) & (at[1:] > at[:-1]))).all():
        # By point, and each speaks in the order of time, as nearly always.
        return Novelty(np.zeros(n, np.bool_), at <= before, at < before)
    order = np.lexsort((readings.observed_at, readings.row))
    row, observed_at = readings.row[order], readings.observed_at[order]
    repeated = np.zeros(n, np.bool_)
    repeated[order[1:]] = (row[1:] == row[:-1]) & (observed_at[1:] == observed_at[:-1])
    doubtful = (readings.observed_at <= before) & ~repeated
    late = (readings.observed_at < before) | _overtaken(readings)
    return Novelty(repeated, doubtful, late)


def _overtaken(readings: Readings) -> Bools:
    """(n,) a newer reading of the same point came before, in this batch."""
    order = placed_by(readings.row)
    # One number line for all points, each on its own stretch, so that one running maximum serves
    # all. Ranks, not times: dead letters taken again are months apart.
    rank = np.unique(readings.observed_at, return_inverse=True)[1]
    line = (readings.row.astype(np.int64) << 32 | rank)[order]
    overtaken = np.empty(len(readings), np.bool_)
    overtaken[order] = line < np.maximum.accumulate(line)
    return overtaken


def see(readings: Readings, newest: Times) -> None:
    """Raises `newest` in place to the newest of these readings."""
    np.maximum.at(newest, readings.row, readings.observed_at)


def nothing_seen(points: int) -> Times:
    """(points,) no point has been heard."""
    return np.full(points, NEVER, np.int64)
