"""Which readings of a batch were delivered before."""

from dataclasses import dataclass

import numpy as np

from hazardloop.devices.readings import Bools, Readings, Times


@dataclass(frozen=True, slots=True)
class Novelty:
    """What the times alone tell of each reading of a batch."""

    repeated: Bools
    """(n,) an earlier reading of this very batch has the same point and time."""
    doubtful: Bools
    """(n,) not newer than what was seen of its point: stored already, or late. Ask the table."""


def novelty(readings: Readings, newest: Times) -> Novelty:
    """How new each reading is.

    Args:
        readings: n of them, in the order they came.
        newest: (rows,) us of the newest reading seen of each point; NEVER = none.
    """
    order = np.lexsort((np.arange(len(readings)), readings.observed_at, readings.row))
    row, observed_at = readings.row[order], readings.observed_at[order]
    repeated = np.zeros(len(readings), np.bool_)
    repeated[order[1:]] = (row[1:] == row[:-1]) & (observed_at[1:] == observed_at[:-1])
    return Novelty(repeated, (readings.observed_at <= newest[readings.row]) & ~repeated)


def see(readings: Readings, newest: Times) -> None:
    """Raises `newest` in place to the newest of these readings."""
    np.maximum.at(newest, readings.row, readings.observed_at)
