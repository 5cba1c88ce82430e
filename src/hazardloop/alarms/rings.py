"""Rings: the readings lately of the points whose rules look back, bounded for each point.

A ring holds the newest readings of its point by data time, whatever order they came in. So it
follows from the readings alone: taken from the table again it is the same, and late ones are in
their place for whatever is worked out next.
"""

from dataclasses import dataclass, field, fields
from typing import Final

import numpy as np

from hazardloop.devices.readings import NEVER, Bools, Floats, Rows, Times

MOST: Final = 4096
"""Readings in a ring."""
LEAST: Final = 16
SLACK: Final = 2.0
"""A point may report so many times faster than expected before its ring is too short."""
US_PER_S: Final = 1_000_000


def room_for(reach_s: Floats, interval_s: Floats) -> Rows:
    """(n,) readings to be kept of points that report every `interval_s`, looking back `reach_s`."""
    wanted = np.ceil(SLACK * reach_s / interval_s) + LEAST
    room: Rows = np.minimum(wanted, MOST).astype(np.int32)
    return room


@dataclass(frozen=True, slots=True)
class Lately:
    """Readings of some rings: ring by ring, each by rising data time."""

    ring: Rows
    """(m,) which."""
    count: Rows
    """(m,) readings of each."""
    at: Times
    """(sum of count,) us."""
    value: Floats


@dataclass(slots=True)
class Rings:
    """Columns are (r,) over rings, in the order of their rows; changed in place."""

    row: Rows
    """Dense row of each ring's point, ascending."""
    room: Rows
    """Readings that fit."""
    start: Times
    """Where each begins in `at` and `value`."""
    count: Rows
    """Readings in it."""
    head: Rows
    """Where in it the newest stands."""
    newest: Times
    """us of the newest; NEVER = none."""
    at: Times
    """(sum of room,) us."""
    value: Floats
    """(sum of room,) in each point's unit."""
    of_row: Rows = field(repr=False)
    """(n,) ring of each row of the table; -1 = none."""

    def __len__(self) -> int:
        return len(self.row)

    def copy(self) -> "Rings":
        """One that later readings do not change."""
        return Rings(*(getattr(self, each.name).copy() for each in fields(self)))

    def push(self, ring: Rows, at_us: Times, value: Floats) -> None:
        """Takes one reading for each of these rings, each ring at most once.

        A second reading of one instant is none; what is older than all of a full ring is dropped.
        """
        later = at_us > self.newest[ring]
        for nth in np.flatnonzero(~later).tolist():
            self._insert(int(ring[nth]), int(at_us[nth]), float(value[nth]))
        ring, at_us, value = ring[later], at_us[later], value[later]
        self.head[ring] = (self.head[ring] + 1) % self.room[ring]
        place = self.start[ring] + self.head[ring]
        self.at[place], self.value[place] = at_us, value
        self.count[ring] = np.minimum(self.count[ring] + 1, self.room[ring])
        self.newest[ring] = at_us

    def told(self, ring: int) -> tuple[Times, Floats]:
        """What one ring holds, by rising data time."""
        count, room = int(self.count[ring]), int(self.room[ring])
        back = np.arange(count - 1, -1, -1)
        place = int(self.start[ring]) + (int(self.head[ring]) - back) % room
        return self.at[place], self.value[place]

    def lay(self, ring: int, at_us: Times, value: Floats) -> None:
        """Puts readings, by rising data time, in place of what it holds; the newest that fit."""
        at_us, value = at_us[-int(self.room[ring]) :], value[-int(self.room[ring]) :]
        start, count = int(self.start[ring]), len(at_us)
        self.at[start : start + count], self.value[start : start + count] = at_us, value
        self.count[ring], self.head[ring] = count, max(count - 1, 0)
        self.newest[ring] = at_us[-1] if count else NEVER

    def windows(self, ring: Rows, reach_s: float, before: Times) -> tuple[Floats, Floats, Times]:
        """What these rings hold of the time before these instants, newest first.

        Args:
            ring: (n,).
            reach_s: no reading is older than the first one of its row by so much, in seconds.
            before: (n,) us; only what is older than this.
        Returns: (n, w) ages in seconds before the first one, (n, w) values, both NaN where there is
            nothing; (n,) us of the first one, NEVER = there is none.
        """
        width = max(1, int(self.count[ring].max(initial=0)))
        back = np.arange(width)[None, :]
        place = (
            self.start[ring][:, None] + (self.head[ring][:, None] - back) % self.room[ring][:, None]
        )
        there = (back < self.count[ring][:, None]) & (self.at[place] < before[:, None])
        skipped = np.argmax(there, axis=1)
        if skipped.any():  # bring the first one to the front
            back = np.minimum(back + skipped[:, None], width - 1)
            kept = np.arange(width)[None, :] < width - skipped[:, None]
            place = np.take_along_axis(place, back, 1)
            there = np.take_along_axis(there, back, 1) & kept
        newest = np.where(there[:, 0], self.at[place[:, 0]], NEVER)
        age_s = np.where(there, newest[:, None] - self.at[place], 0) / US_PER_S
        there &= age_s < max(reach_s, 1e-9)
        most = max(1, int(np.count_nonzero(there, axis=1).max(initial=0)))
        kept_s = np.where(there, age_s, np.nan)[:, :most]
        return kept_s, np.where(there, self.value[place], np.nan)[:, :most], newest

    def _insert(self, ring: int, at_us: int, value: float) -> None:
        known, values = self.told(ring)
        place = int(known.searchsorted(at_us))
        if place < len(known) and known[place] == at_us:
            return
        self.lay(ring, np.insert(known, place, at_us), np.insert(values, place, value))


def empty_rings(row: Rows, room: Rows, points: int) -> Rings:
    """Rings for these rows, ascending, of a table of so many, in which nothing is yet."""
    of_row = np.full(points, -1, np.int32)
    of_row[row] = np.arange(len(row), dtype=np.int32)
    whole = int(room.sum(dtype=np.int64))
    nothing = np.zeros(len(row), np.int32)
    start = np.concatenate([[0], np.cumsum(room, dtype=np.int64)])[:-1]
    return Rings(
        row=row,
        room=room,
        start=start.astype(np.int64),
        count=nothing.copy(),
        head=nothing.copy(),
        newest=np.full(len(row), NEVER, np.int64),
        at=np.full(whole, NEVER, np.int64),
        value=np.full(whole, np.nan),
        of_row=of_row,
    )


def take_over(rings: Rings, old: Rings, old_row: Rows) -> None:
    """Gives `rings` what `old` held of the same points; `old_row` is (r,), -1 = it had none."""
    had = np.where(old_row >= 0, old.of_row[old_row], np.int32(-1))
    kept = lately(old, had[had >= 0])
    lay_all(
        rings, Lately(np.flatnonzero(had >= 0).astype(np.int32), kept.count, kept.at, kept.value)
    )


def lately(rings: Rings, ring: Rows) -> Lately:
    """What these rings hold."""
    count = rings.count[ring]
    counts: Times = np.repeat(count.astype(np.int64), count)
    back = counts - 1 - _steps(count)
    head: Times = np.repeat(rings.head[ring].astype(np.int64), count)
    room: Times = np.repeat(rings.room[ring].astype(np.int64), count)
    place = np.repeat(rings.start[ring], count) + (head - back) % room
    return Lately(ring, count, rings.at[place], rings.value[place])


def lay_all(rings: Rings, given: Lately) -> None:
    """Puts readings in place of what rings hold; the newest that fit."""
    if (given.count > rings.room[given.ring]).any():
        ends = np.cumsum(given.count)
        for ring, count, end in zip(given.ring, given.count, ends, strict=True):
            rings.lay(int(ring), given.at[end - count : end], given.value[end - count : end])
        return
    place = np.repeat(rings.start[given.ring], given.count) + _steps(given.count)
    rings.at[place], rings.value[place] = given.at, given.value
    rings.count[given.ring], rings.head[given.ring] = given.count, np.maximum(given.count - 1, 0)
    some = given.count > 0
    rings.newest[given.ring] = NEVER
    rings.newest[given.ring[some]] = given.at[np.cumsum(given.count)[some] - 1]


def lay_among(rings: Rings, given: Lately) -> None:
    """Puts readings among what rings hold; the newest that fit, one of each instant."""
    ends = np.cumsum(given.count)
    for ring, count, end in zip(given.ring.tolist(), given.count.tolist(), ends, strict=True):
        held = rings.told(ring)
        at = np.concatenate([held[0], given.at[end - count : end]])
        value = np.concatenate([held[1], given.value[end - count : end]])
        at, first = np.unique(at, return_index=True)
        rings.lay(ring, at, value[first])


def renumbered(rings: Rings, rows: Rows) -> Rings:
    """The same for a table whose n-th row is the one of these; what it holds is shared."""
    row_of = np.full(len(rings.of_row), -1, np.int32)
    row_of[rows] = np.arange(len(rows), dtype=np.int32)
    row = row_of[rings.row]
    order = np.argsort(row, kind="stable")
    order = order[row[order] >= 0]
    of_row = np.full(len(rows), -1, np.int32)
    of_row[row[order]] = np.arange(len(order), dtype=np.int32)
    return Rings(
        row=row[order],
        room=rings.room[order],
        start=rings.start[order],
        count=rings.count[order],
        head=rings.head[order],
        newest=rings.newest[order],
        at=rings.at,
        value=rings.value,
        of_row=of_row,
    )


def _steps(count: Rows) -> Times:
    """0, 1, ... up to each count, one after the other."""
    ends: Times = np.cumsum(count, dtype=np.int64)
    every: Times = np.arange(int(ends[-1]) if len(ends) else 0, dtype=np.int64)
    return every - np.repeat(ends - count, count)


def push_all(rings: Rings, row: Rows, at_us: Times, value: Floats) -> None:
    """Takes usable readings of any points; those without a ring are left out."""
    for which in rounds(row, at_us, rings.of_row[row] >= 0):
        rings.push(rings.of_row[row[which]], at_us[which], value[which])


def rounds(row: Rows, at_us: Times, wanted: Bools) -> list[Rows]:
    """Indices of the wanted readings in turns: one of each row, the oldest first."""
    here = np.flatnonzero(wanted)
    here = here[np.lexsort((at_us[here], row[here]))]
    if not len(here):
        return []
    starts = np.flatnonzero(np.concatenate([[True], row[here][1:] != row[here][:-1]]))
    turn = np.arange(len(here)) - np.repeat(starts, np.diff(np.append(starts, len(here))))
    by_turn = np.argsort(turn, kind="stable")
    ends = np.cumsum(np.bincount(turn))[:-1]
    return [each.astype(np.int32) for each in np.split(here[by_turn], ends)]
