"""How well the alarm system serves those who watch it: load, floods, chattering, bad actors.

Source: EEMUA 191, ISA-18.2 and IEC 62682 as `docs/standards.md` and the figures' limits quote them;
per operator position ("seat").
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Times: TypeAlias = npt.NDArray[np.int64]
Codes: TypeAlias = npt.NDArray[np.int32]
Bools: TypeAlias = npt.NDArray[np.bool_]
Indices: TypeAlias = npt.NDArray[np.intp]

SECOND_US: Final = 1_000_000
TEN_MINUTES_US: Final = 600 * SECOND_US
DAY_US: Final = 86_400 * SECOND_US

BEGINNING: Final = -(2**62)
"""Before every instant."""
FLOOD_FROM: Final = 10
"""Alarms in 10 minutes per seat with which a flood begins."""
FLOOD_TO: Final = 5
"""It ends with fewer than so many in 10 minutes per seat."""
CHATTERS_AT: Final = 3
"""Raises of one source within a minute."""
FLEETING_US: Final = 60 * SECOND_US
"""An alarm that was over sooner, with nobody having acknowledged it; a house choice."""
STALE_US: Final = DAY_US
"""Active for longer."""
TOP: Final = 10


@dataclass(frozen=True, slots=True)
class History:
    """Alarms that were raised in a period or still stood at its start; equal-length columns."""

    raised_us: Times
    """(n,) data time, ascending."""
    cleared_us: Times
    """(n,) data time; 0 = still active."""
    acknowledged: Bools
    source: Codes
    """(n,) which (rule, point) raised it, numbered from 0."""
    tier: npt.NDArray[np.uint8]
    """(n,) worst reached, 1..4."""


@dataclass(frozen=True, slots=True)
class Flood:
    """A time with more new alarms than can be dealt with."""

    from_us: int
    """The raise that made it one."""
    to_us: int
    """When the last 10 minutes had few again, or the period ended."""
    over: bool
    """Whether they had few again."""
    alarms: int
    """Raised in it, those that made it one included."""
    peak: int
    """Most in any 10 minutes."""
    first_out: int
    """Place in the history of the alarm with which it began."""


def floods(
    raised_us: Times, end_us: int, seats: int, *, since_us: int = BEGINNING, flooded: bool = False
) -> list[Flood]:
    """Every flood in ascending raises, oldest first.

    A window of 10 minutes moves over the raises; a flood begins when it holds FLOOD_FROM per seat
    and ends when it holds fewer than FLOOD_TO per seat. Source: ISA-18.2, flood.
    What came before `since_us` only fills the window; `flooded`: there was a flood then, which
    is told from `since_us` on.
    """
    n = len(raised_us)
    # What leaves the window at an instant leaves before what comes at it.
    at = np.concatenate(([since_us], raised_us + TEN_MINUTES_US, raised_us))
    step = np.repeat(np.array([0, -1, 1]), (1, n, n))
    order = np.lexsort((step, at))
    at, held = at[order], np.cumsum(step[order])
    at, held = at[at >= since_us], held[at >= since_us]
    opens, closes = held >= FLOOD_FROM * seats, held < FLOOD_TO * seats
    decided = np.where(opens | closes, np.arange(len(held)), -1)
    latest = np.maximum.accumulate(decided)
    now = np.where(latest < 0, flooded, opens[latest])
    edges = np.append(np.flatnonzero(np.diff(now, prepend=False)), len(held))
    told = []
    for begins, ends in zip(edges[:-1:2], edges[1::2], strict=True):
        over = ends < len(held) and at[ends] <= end_us
        from_us, to_us = int(at[begins]), int(at[ends]) if over else end_us
        first = int(np.searchsorted(raised_us, from_us - TEN_MINUTES_US, "right"))
        past = int(np.searchsorted(raised_us, to_us, "left"))
        peak = int(held[begins:ends].max())
        told.append(Flood(from_us, to_us, bool(over), past - first, peak, first))
    return told


@dataclass(frozen=True, slots=True)
class Load:
    """How many new alarms came, per seat and 10 minutes."""

    alarms: int
    per_10_min: float
    """Mean per seat."""
    peak_10_min: int
    """Most in one bin of 10 minutes, all seats together."""
    over_10: float
    """Share of the bins with more than 10 per seat."""


def load(raised_us: Times, start_us: int, end_us: int, seats: int) -> Load:
    """The load of [start, end), in bins of 10 minutes from its start."""
    inside = raised_us[(raised_us >= start_us) & (raised_us < end_us)]
    bins = -(-(end_us - start_us) // TEN_MINUTES_US)
    found = np.bincount((inside - start_us) // TEN_MINUTES_US, minlength=bins)
    return Load(
        len(inside),
        len(inside) / bins / seats,
        int(found.max()),
        float(np.count_nonzero(found > 10 * seats)) / bins,
    )


def chattering(history: History) -> Bools:
    """(sources,) which sources raised CHATTERS_AT alarms within a minute, ever in the history."""
    sources = int(history.source.max(initial=-1)) + 1
    order = np.lexsort((history.raised_us, history.source))
    source, raised_us = history.source[order], history.raised_us[order]
    apart = CHATTERS_AT - 1
    near = (source[apart:] == source[:-apart]) & (
        raised_us[apart:] - raised_us[:-apart] < FLEETING_US
    )
    found = np.zeros(sources, np.bool_)
    found[source[apart:][near]] = True
    return found


def fleeting(history: History) -> Bools:
    """(n,) which alarms were over within FLEETING_US, unacknowledged, of no chattering source."""
    short = (history.cleared_us > 0) & (history.cleared_us - history.raised_us < FLEETING_US)
    return short & ~history.acknowledged & ~chattering(history)[history.source]


def stale(history: History, end_us: int) -> Bools:
    """(n,) which alarms were, or at `end_us` are, active for more than STALE_US."""
    until = np.where(history.cleared_us > 0, np.minimum(history.cleared_us, end_us), end_us)
    found: Bools = until - history.raised_us > STALE_US
    return found


def standing(history: History, at_us: int) -> Bools:
    """(n,) which alarms were active at an instant."""
    begun = history.raised_us <= at_us
    goes_on: Bools = (history.cleared_us == 0) | (history.cleared_us > at_us)
    return begun & goes_on


def bad_actors(history: History, start_us: int) -> list[tuple[int, int]]:
    """(source, alarms) of the TOP sources by alarms raised since `start_us`; ties by number."""
    counted = np.bincount(history.source[history.raised_us >= start_us])
    order = np.lexsort((np.arange(len(counted)), -counted))[:TOP]
    return [(int(source), int(counted[source])) for source in order if counted[source]]
