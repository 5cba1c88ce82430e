"""What a worker goes by beside its registry and rules, as a snapshot keeps it.

With what was spooled since added to it, it is exactly what the worker knew when it died: each work
brings its readings, what became of limits, and the changes of alarms.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TypeAlias
from uuid import UUID

import numpy as np

from hazardloop.alarms.alarm import Change, ChangeKind
from hazardloop.alarms.drill import Drill
from hazardloop.alarms.kernels import usable
from hazardloop.alarms.memory import CellRow, Heard, Memory, OpenAlarmRow, restore, told
from hazardloop.alarms.rings import Rings, push_all, renumbered
from hazardloop.alarms.withholding import StandingHold, overtaken
from hazardloop.devices.readings import NEVER, Bools, Floats, Quality, Readings, Rows, Times
from hazardloop.ingest import quality
from hazardloop.ingest.quality import Courses, Expectations
from hazardloop.ingest.repeats import see
from hazardloop.service.doubts import Doubts
from hazardloop.service.holding import placed
from hazardloop.service.site import Site
from hazardloop.service.work import Work

Place: TypeAlias = tuple[str, int, int]
"""Rule, point and tier of a limit."""


@dataclass(slots=True)
class Known:
    """Columns are (n,) over the rows of the registry that it goes with."""

    seen: Times
    """us of the newest reading of each point, usable or not; NEVER = none."""
    newest_at: Times
    """Of the newest usable one; the next three as in the memory."""
    newest_value: Floats
    newest_late: Bools
    heard_at: Times
    courses: Courses
    clocks: Floats
    """(gateway_id,) us that each clock is off; NaN = not known."""
    rings: Rings
    """As in the memory."""
    cells: dict[Place, CellRow] = field(default_factory=dict)
    alarms: dict[UUID, OpenAlarmRow] = field(default_factory=dict)
    """Those that stand."""
    finds: list[OpenAlarmRow] = field(default_factory=list)
    """Those that late readings told of, cleared."""
    drills: tuple[Drill, ...] = ()
    holds: tuple[StandingHold, ...] = ()

    def add(self, work: Work, expected: Expectations) -> None:
        """Knows this work, too; `expected` is of the registry whose rows it speaks of."""
        see(work.readings, self.seen)
        quality.flag(work.readings, expected, self.courses)
        self._hear(work.readings)
        self.cells.update(_by_place(work.outcome.cells))
        for change in work.outcome.changes:
            self._follow(change)
        ended = overtaken(self.holds, placed(work.outcome.changes, work.registry))
        self.holds = tuple(hold for hold in self.holds if hold.hold_id not in ended)

    def _hear(self, readings: Readings) -> None:
        heard = readings.take(usable(readings.value, readings.quality))
        push_all(self.rings, heard.row, heard.observed_at, heard.value)
        row = heard.row.astype(np.intp)
        np.maximum.at(self.heard_at, row, heard.received_at)
        np.maximum.at(self.newest_at, row, heard.observed_at)
        newest = heard.observed_at == self.newest_at.take(row)
        self.newest_value[row[newest]] = heard.value[newest]
        self.newest_late[row[newest]] = (heard.quality[newest] & int(Quality.BACKFILL)) != 0

    def _follow(self, change: Change) -> None:
        before = self.alarms.pop(change.alarm_id, None)
        if change.kind is not ChangeKind.CLEARED:
            self.alarms[change.alarm_id] = OpenAlarmRow(
                change.alarm_id,
                change.rule_id,
                change.point_id,
                int(change.tier),
                change.raised_at_us,
                late=_late(change, before),
            )
        elif before is not None and before.late:
            ended = replace(before, tier=before.late, cleared_us=change.changed_at_us, late=0)
            self.finds.append(ended)


@dataclass(frozen=True, slots=True)
class Still:
    """What a worker goes by at one instant: a copy that later batches do not change."""

    memory: Memory
    seen: Times
    courses: Courses
    clocks: Floats
    drills: tuple[Drill, ...] = ()
    holds: tuple[StandingHold, ...] = ()


def still(
    memory: Memory,
    seen: Times,
    doubts: Doubts,
    drills: tuple[Drill, ...] = (),
    holds: tuple[StandingHold, ...] = (),
) -> Still:
    """A copy, made in milliseconds."""
    columns = {
        each.name: getattr(memory, each.name).copy()
        for each in fields(Memory)
        if isinstance(getattr(memory, each.name), np.ndarray)
    }
    signals = {
        place: replace(signal, holds=[*signal.holds], since=[*signal.since])
        for place, signal in memory.signals.items()
    }
    copied = replace(
        memory,
        **columns,
        signals=signals,
        silences={row: dict(standing) for row, standing in memory.silences.items()},
        finds={place: [*found] for place, found in memory.finds.items()},
        rings=memory.rings.copy(),
        orphans=[*memory.orphans],
        leftovers=[*memory.leftovers],
    )
    courses, clocks = doubts.kept()
    everyone = quality.of_rows(courses, slice(None))
    return Still(copied, seen.copy(), everyone, clocks.copy(), drills, holds)


def known_of(site: Site, then: Still, rows: Rows) -> Known:
    """The same in ids, of the points of these rows of the site."""
    memory = then.memory
    cells, alarms, finds = told(site.table, memory)
    return Known(
        then.seen[rows],
        memory.newest_at[rows],
        memory.newest_value[rows],
        memory.newest_late[rows],
        memory.heard_at[rows],
        quality.of_rows(then.courses, rows),
        then.clocks,
        renumbered(memory.rings, rows),
        _by_place(cells + memory.leftovers),
        {alarm.alarm_id: alarm for alarm in alarms + memory.orphans},
        finds,
        then.drills,
        then.holds,
    )


def recalled(site: Site, known: Known) -> tuple[Memory, Times, Doubts]:
    """The memory, the newest reading of each point and the doubts that a worker goes on with."""
    heard = _heard(site, known)
    stored = (known.cells.values(), known.alarms.values(), heard, known.finds)
    memory = restore(site.table, *stored, known.rings)
    doubts = Doubts(site.registry, site.catalog)
    doubts.resume(known.courses, known.clocks)
    return memory, known.seen, doubts


def as_recorded(
    site: Site, memory: Memory, cells: Sequence[CellRow], alarms: Sequence[OpenAlarmRow]
) -> Memory | None:
    """The memory that the database's rows make; None: it is the one we have.

    Args:
        site: of `memory`.
        memory: all that it follows from is recorded.
        cells: all rows stored of limits.
        alarms: that stand, and lately cleared ones of late readings.
    """
    our_cells, our_alarms, _ = told(site.table, memory)
    standing = [alarm for alarm in alarms if alarm.cleared_us is None]
    if _stirred(our_cells) == _stirred(cells) and (
        _tiers(our_alarms + memory.orphans) == _tiers(standing)
    ):
        return None
    late = [alarm for alarm in alarms if alarm.cleared_us is not None]
    return restore(site.table, cells, standing, _heard(site, memory), late, memory.rings)


def _late(change: Change, before: OpenAlarmRow | None) -> int:
    """Worst tier of the alarm with this change, if old data raised it."""
    if change.kind is ChangeKind.RAISED:
        return int(change.tier) if change.found_late else 0
    return max(before.late, int(change.tier)) if before is not None and before.late else 0


def _heard(site: Site, of: Memory | Known) -> Heard:
    spoken = np.flatnonzero(of.newest_at != NEVER)
    return Heard(
        site.registry.point_id[spoken],
        of.newest_at[spoken],
        of.heard_at[spoken],
        of.newest_value[spoken],
        of.newest_late[spoken],
    )


def _stirred(cells: Iterable[CellRow]) -> set[CellRow]:
    return {cell for cell in cells if not cell.at_rest}


def _tiers(alarms: Iterable[OpenAlarmRow]) -> dict[UUID, int]:
    return {alarm.alarm_id: int(alarm.tier) for alarm in alarms}


def _by_place(cells: Iterable[CellRow]) -> dict[Place, CellRow]:
    return {(cell.rule_id, cell.point_id, cell.tier): cell for cell in cells}
