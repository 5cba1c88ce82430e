"""The batch of columns that everything computes on."""

from dataclasses import dataclass
from enum import IntFlag
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Rows: TypeAlias = npt.NDArray[np.int32]
Times: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.int16]
Tiers: TypeAlias = npt.NDArray[np.uint8]
Bools: TypeAlias = npt.NDArray[np.bool_]

NEVER: Final = np.iinfo(np.int64).min
"""An instant that has not been, in a column of `Times` (microseconds since 1970-01-01T00:00Z)."""


class Quality(IntFlag):
    """What speaks against a reading; 0 is good. Stored as `reading.quality`."""

    NOT_A_NUMBER = 1 << 0
    """Null, NaN or infinite: there is no value."""
    OUT_OF_RANGE = 1 << 1
    """Outside what the quantity can physically be."""
    SOURCE_BAD = 1 << 2
    """The gateway itself calls it bad."""
    SOURCE_UNCERTAIN = 1 << 3
    """The gateway itself calls it uncertain."""
    NO_TIMESTAMP = 1 << 4
    """It carried no time; the time of receipt stands in."""
    LATE = 1 << 5
    """A newer reading of its point had been seen before."""
    BACKFILL = 1 << 6
    """Kept by the gateway while it was offline."""
    CLOCK_UNSET = 1 << 7
    """Its clock was clearly not set; the time of receipt stands in."""
    SPIKE = 1 << 8
    """It stands alone: too far from what its point said just before."""
    STUCK = 1 << 9
    """Its point has said exactly this for longer than the quantity can stand still."""
    RATE = 1 << 10
    """Its point changed faster than the quantity can."""
    CLOCK_OFFSET = 1 << 11
    """Its gateway's clock was off by more than is tolerated; the time stands as it was said."""


BAD: Final = Quality.NOT_A_NUMBER | Quality.OUT_OF_RANGE | Quality.SOURCE_BAD
"""Any of these: the value is never compared with a limit."""
IMPLAUSIBLE: Final = Quality.SPIKE | Quality.STUCK | Quality.RATE
"""Any of these: the value may be wrong. It is compared with limits all the same."""
UNCERTAIN: Final = (
    Quality.SOURCE_UNCERTAIN
    | Quality.NO_TIMESTAMP
    | Quality.CLOCK_UNSET
    | Quality.CLOCK_OFFSET
    | IMPLAUSIBLE
)


def quality_word(flags: int) -> str:
    """`bad`, `uncertain` or `good`, as the contract's payload and API say it."""
    if flags & BAD:
        return "bad"
    return "uncertain" if flags & UNCERTAIN else "good"


def quality_names(flags: int) -> list[str]:
    """The names of the set bits, in lower case, least bit first."""
    return [flag.name.lower() for flag in Quality if flags & flag and flag.name]


@dataclass(frozen=True, slots=True)
class Readings:
    """Equal-length columns, one element per reading."""

    row: Rows
    """(n,) dense row of the point in the registry."""
    observed_at: Times
    """(n,) us since the Unix epoch: when it was true."""
    received_at: Times
    """(n,) us since the Unix epoch: when it reached us."""
    value: Floats
    """(n,) in the point's canonical unit; NaN = nothing usable."""
    quality: Flags
    """(n,) bits of `Quality`."""
    message: Rows
    """(n,) index of the message in its batch."""

    def __len__(self) -> int:
        return len(self.row)

    def take(self, which: npt.NDArray[np.intp] | Bools) -> "Readings":
        """The readings at `which`: (m,) indices, or an (n,) mask."""
        if which.dtype == np.bool_:
            which = np.flatnonzero(which)
        return Readings(
            self.row.take(which),
            self.observed_at.take(which),
            self.received_at.take(which),
            self.value.take(which),
            self.quality.take(which),
            self.message.take(which),
        )

    def part(self, which: slice) -> "Readings":
        """Readings that stand one after the other; their columns are shared, not copied."""
        return Readings(
            self.row[which],
            self.observed_at[which],
            self.received_at[which],
            self.value[which],
            self.quality[which],
            self.message[which],
        )


def placed_by(row: Rows) -> npt.NDArray[np.intp]:
    """(n,) places in the order of `row`, >= 0; those of one row as they stand."""
    # Row and place in one number: sorting numbers is 20 times faster than a stable argsort.
    return np.sort(row.astype(np.int64) << 32 | np.arange(len(row))) & 0xFFFF_FFFF


def by_point(readings: Readings) -> Readings:
    """The readings in the order of their rows, those of one row as they stand.

    In that order what is kept by row is reached from end to end, not here and there, and whoever
    groups or sorts by point finds it done.
    """
    row = readings.row
    return readings if (row[1:] >= row[:-1]).all() else readings.take(placed_by(row))


def no_readings() -> Readings:
    """A batch without a reading."""
    times = np.empty(0, np.int64)
    rows = np.empty(0, np.int32)
    return Readings(rows, times, times, np.empty(0), np.empty(0, np.int16), rows)
