"""What the rules remember between batches, and how it survives a restart or a change of rules."""

import heapq
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias, TypeVar
from uuid import UUID

import numpy as np

from hazardloop.alarms.alarm import Tier
from hazardloop.alarms.kernels import calm_band, next_due
from hazardloop.alarms.rings import Rings, empty_rings, take_over
from hazardloop.alarms.rule_table import RuleTable
from hazardloop.alarms.watch import Signal, Standing, Watch, signal_at_rest
from hazardloop.devices.readings import NEVER, Bools, Floats, Rows, Times

Key = TypeVar("Key")
Kept = TypeVar("Kept")

Held: TypeAlias = Mapping[int, tuple[int, float, bool]]
"""By row: when its newest usable reading was (us), its value, whether it came as old data."""

FINDS_KEPT: Final = 32
"""Late finds remembered of one signal; more would be a gateway gone wild."""


@dataclass(frozen=True, slots=True)
class CellRow:
    """What is remembered of one limit at one point, as it is stored."""

    rule_id: str
    point_id: int
    tier: int
    holds: bool
    since_us: int | None
    """Data time at which the opposite of `holds` began; None = it has not."""

    @property
    def at_rest(self) -> bool:
        """Nothing to remember: its stored row is to be removed."""
        return not self.holds and self.since_us is None


@dataclass(frozen=True, slots=True)
class OpenAlarmRow:
    """An alarm as far as the rules must know it."""

    alarm_id: UUID
    rule_id: str
    point_id: int
    tier: int
    """It has now; of a cleared one the worst it had."""
    raised_us: int
    cleared_us: int | None = None
    late: int = 0
    """Worst tier it has had, if old data raised it."""


@dataclass(frozen=True, slots=True)
class Heard:
    """The newest usable reading of each point that has one: equal-length columns."""

    point_id: Rows
    observed_at: Times
    received_at: Times
    value: Floats
    late: Bools
    """It was kept by the gateway while it was offline."""


@dataclass(frozen=True, slots=True)
class LateFind:
    """An excursion that a late reading told of: later readings of the same one are no news."""

    raised_us: int
    until_us: int
    tier: Tier


@dataclass(slots=True)
class Memory:
    """Everything remembered; changed in place by evaluation. Columns are (n,) over dense rows."""

    calm_low: Floats
    """Values above this (in the point's unit) ..."""
    calm_high: Floats
    """... and below this change nothing at the point, as things stand."""
    newest_at: Times
    """Observed time of the newest usable reading that was evaluated; NEVER = none."""
    newest_value: Floats
    """Its value; NaN = none."""
    newest_late: Bools
    """It came as old data: so does what follows from its standing."""
    heard_at: Times
    """Receipt of the newest usable reading; NEVER = none."""
    missed: Bools
    """Points with an alarm for silence."""
    silent_open: Bools
    """(m,) over the silences of the table: an alarm stands."""
    gauged: Bools
    """Points where some rule that compares what is worked out of readings is not at rest."""
    rings: Rings
    """The readings lately of the points whose rules look back."""
    silent_after: int = NEVER
    """Until then (us) no further point can have been silent for too long: nobody need look."""
    signals: dict[tuple[int, int], Signal] = field(default_factory=dict)
    """By row and rule: those not at rest."""
    silences: dict[int, dict[int, Standing]] = field(default_factory=dict)
    """By row and rule."""
    finds: dict[tuple[int, int], list[LateFind]] = field(default_factory=dict)
    """By row and rule."""
    due: list[tuple[int, int, int]] = field(default_factory=list)
    """Heap of (data time, row, rule) at which an on-delay may end; some are out of date."""
    orphans: list[OpenAlarmRow] = field(default_factory=list)
    """Alarms that no rule of the table stands for any more; the next tick clears them."""
    leftovers: list[CellRow] = field(default_factory=list)
    """Rest rows of limits that are no more; the next tick gives them out."""

    def keep_find(self, row: int, rule: int, find: LateFind) -> None:
        """Knows an excursion of that signal; the first of too many is forgotten."""
        finds = self.finds.setdefault((row, rule), [])
        finds[:] = [*finds[-FINDS_KEPT + 1 :], find]

    def held(self, rows: Iterable[int]) -> dict[int, tuple[int, float, bool]]:
        """The last words of these points, of those that had one."""
        return {
            row: (
                int(self.newest_at[row]),
                float(self.newest_value[row]),
                bool(self.newest_late[row]),
            )
            for row in rows
            if self.newest_at[row] != NEVER
        }

    def last_to_speak(self, rows: Sequence[int]) -> int:
        """Which of these points has the newest reading; the first of several."""
        return max(rows, key=lambda row: int(self.newest_at[row]))

    def settle(self, table: RuleTable, row: int) -> None:
        """Bring the calm band of `row` and the list of ends of delays up to date."""
        watched = [(watch, self.signals.get((row, watch.rule))) for watch in table.watches(row)]
        self._settle(row, watched)
        self.calm_low[row], self.calm_high[row] = calm_band(watched)
        if gauges := table.gauges(row):
            measured = [
                (watch, self.signals.get((row, watch.rule)))
                for gauge in gauges
                for watch in gauge.watches
            ]
            self._settle(row, measured)
            self.gauged[row] = any((row, watch.rule) in self.signals for watch, _ in measured)
        if carried := table.carried.get(row):
            watches = [one.watch for one in carried]
            self._settle(row, [(each, self.signals.get((row, each.rule))) for each in watches])

    def _settle(self, row: int, watched: Sequence[tuple[Watch, Signal | None]]) -> None:
        for watch, signal in watched:
            if signal is None:
                continue
            if signal.resting:
                del self.signals[row, watch.rule]
                continue
            due_us = next_due(watch, signal)
            if due_us is not None and due_us != signal.due_us:
                heapq.heappush(self.due, (due_us, row, watch.rule))
            # Where none runs, the next may end at the very instant of the last one.
            signal.due_us = NEVER if due_us is None else due_us


def is_active(table: RuleTable, memory: Memory, rows: Iterable[int], rule_id: str) -> bool:
    """Whether an alarm of that rule stands at one of these rows."""
    rule = table.index.get(rule_id)
    return rule is not None and any(
        rule in memory.silences.get(row, ())
        or ((signal := memory.signals.get((row, rule))) is not None and signal.alarm is not None)
        for row in rows
    )


HEARD: Final = ("newest_at", "newest_value", "newest_late", "heard_at")
"""Columns of `Memory` that belong to a point, whatever watches it."""


def new_memory(table: RuleTable) -> Memory:
    """A memory in which nothing has happened yet."""
    points = len(table.point_id)
    return Memory(
        calm_low=table.calm_low.copy(),
        calm_high=table.calm_high.copy(),
        newest_at=np.full(points, NEVER, np.int64),
        newest_value=np.full(points, np.nan),
        newest_late=np.zeros(points, np.bool_),
        heard_at=np.full(points, NEVER, np.int64),
        missed=np.zeros(points, np.bool_),
        silent_open=np.zeros(len(table.silent_row), np.bool_),
        gauged=np.zeros(points, np.bool_),
        rings=empty_rings(table.ringed_row, table.ringed_room, points),
    )


def restore(
    table: RuleTable,
    cells: Iterable[CellRow] = (),
    open_alarms: Iterable[OpenAlarmRow] = (),
    newest: Heard | None = None,
    found_late: Iterable[OpenAlarmRow] = (),
    rings: Rings | None = None,
) -> Memory:
    """The memory that was, from what was stored of it.

    Args:
        table: the rules as they are now; what they no longer watch is given up by the next tick.
        cells: all rows stored of limits.
        open_alarms: all alarms not cleared.
        newest: what each point said last that was usable.
        found_late: cleared alarms that old data raised, as they ended: these are not found again.
        rings: of the same table, with the readings lately; None = there are none.
    """
    memory = new_memory(table)
    if rings is not None:
        memory.rings = rings
    if newest is not None:
        rows = table.row_of.many(newest.point_id)
        known = rows >= 0
        rows = rows[known]
        memory.newest_at[rows] = newest.observed_at[known]
        memory.newest_value[rows] = newest.value[known]
        memory.newest_late[rows] = newest.late[known]
        memory.heard_at[rows] = newest.received_at[known]
    _recall(table, memory, cells, open_alarms, found_late)
    return memory


def carry_over(
    old_table: RuleTable, memory: Memory, new_table: RuleTable, touched: Rows | None = None
) -> Memory:
    """The memory under another registry or other rules; points and rules keep their ids.

    Args:
        old_table: under which `memory` was made; not to be used with it any more.
        memory: is used up.
        new_table: the rules as they are now.
        touched: rows at which anything may differ, where all others are and mean what they did;
            None = points may have moved to other rows, or rules have changed.
    """
    carried = new_memory(new_table)
    if touched is not None:
        anew = np.zeros(len(new_table.point_id), np.bool_)
        anew[touched] = anew[_carrying_otherwise(old_table, new_table)] = True
        touched = np.flatnonzero(anew).astype(np.int32)
    if touched is not None:
        _keep_untouched(old_table, memory, new_table, carried, touched)
    _keep_heard(old_table, memory, new_table, carried, touched)
    _keep_rings(old_table, memory, new_table, carried)
    cells, alarms, finds = told(old_table, memory)
    _recall(new_table, carried, cells, alarms, finds)
    carried.orphans += memory.orphans
    carried.leftovers += memory.leftovers
    return carried


def _keep_heard(
    old_table: RuleTable,
    memory: Memory,
    new_table: RuleTable,
    carried: Memory,
    touched: Rows | None,
) -> None:
    """Gives `carried` what was heard of each point, by its id; untouched rows have it already."""
    rows = np.arange(len(new_table.point_id), dtype=np.int32) if touched is None else touched
    old_rows = rows
    if new_table.point_id is not old_table.point_id:
        old_rows = old_table.row_of.many(new_table.point_id[rows])
        rows, old_rows = rows[old_rows >= 0], old_rows[old_rows >= 0]
    for column in HEARD:
        getattr(carried, column)[rows] = getattr(memory, column)[old_rows]


def _carrying_otherwise(old: RuleTable, new: RuleTable) -> Rows:
    """Rows whose points carry the alarms of other groups than they did."""
    rows = old.carried.keys() | new.carried.keys()
    changed = [row for row in rows if old.carried.get(row) != new.carried.get(row)]
    return np.array(sorted(changed), np.int32)


def _keep_rings(
    old_table: RuleTable, memory: Memory, new_table: RuleTable, carried: Memory
) -> None:
    """Gives `carried` the readings lately of each point, by its id."""
    old, new = memory.rings, carried.rings
    old_row = old_table.row_of.many(new_table.point_id[new.row])
    if np.array_equal(old.room, new.room) and np.array_equal(old.row, old_row):
        of_row = new.of_row
        carried.rings = replace(old, row=new.row, of_row=of_row)
    else:
        take_over(new, old, old_row)


def _keep_untouched(
    old_table: RuleTable, memory: Memory, new_table: RuleTable, carried: Memory, touched: Rows
) -> None:
    """Moves to `carried` what `memory` has of rows that stay as they are."""
    length = len(memory.calm_low)
    for name in (*HEARD, "calm_low", "calm_high", "gauged"):
        column = getattr(carried, name)
        here = column[touched]
        column[:length] = getattr(memory, name)
        column[touched] = here
    carried.missed[:length] = memory.missed
    carried.missed[touched] = False
    carried.due = memory.due
    changed = np.zeros(len(carried.missed), np.bool_)
    changed[touched] = True
    carried.signals, memory.signals = _parted(memory.signals, lambda key: bool(changed[key[0]]))
    carried.finds, memory.finds = _parted(memory.finds, lambda key: bool(changed[key[0]]))
    carried.silences, memory.silences = _parted(memory.silences, lambda row: bool(changed[row]))
    if carried.silences:
        rules = len(new_table.rules)  # places of rules are never fewer
        old, new = _silence_keys(old_table, rules), _silence_keys(new_table, rules)
        at = np.minimum(old.searchsorted(new), len(old) - 1)
        carried.silent_open[:] = (old[at] == new) & memory.silent_open[at]
        carried.silent_open &= carried.missed[new_table.silent_row]


def _silence_keys(table: RuleTable, rules: int) -> Times:
    """(m,) ascending, one number for each row and rule."""
    return table.silent_row.astype(np.int64) * rules + table.silent_rule


def _parted(
    found: dict[Key, Kept], leaves: Callable[[Key], bool]
) -> tuple[dict[Key, Kept], dict[Key, Kept]]:
    """Those that stay, in the very dictionary they came in, and those that leave."""
    left = {key: found.pop(key) for key in [key for key in found if leaves(key)]}
    return found, left


def told(
    table: RuleTable, memory: Memory
) -> tuple[list[CellRow], list[OpenAlarmRow], list[OpenAlarmRow]]:
    """All that is remembered, in ids: cells, open alarms, late finds."""
    cells: list[CellRow] = []
    alarms: list[OpenAlarmRow] = []
    for (row, rule), signal in memory.signals.items():
        watch = watch_of(table, row, rule)
        assert watch is not None
        cells += [cell_row(table, row, watch, signal, n) for n in range(len(watch.limits))]
        if signal.alarm is not None:
            alarms.append(_open_row(table, row, rule, signal.alarm))
    for row, standing in memory.silences.items():
        for rule, alarm in standing.items():
            alarms.append(_open_row(table, row, rule, alarm))
    finds = [
        OpenAlarmRow(
            UUID(int=0),
            table.rules[rule].rule_id,
            int(table.point_id[row]),
            find.tier,
            find.raised_us,
            find.until_us,
        )
        for (row, rule), found in memory.finds.items()
        for find in found
    ]
    return cells, alarms, finds


def _open_row(table: RuleTable, row: int, rule: int, alarm: Standing) -> OpenAlarmRow:
    return OpenAlarmRow(
        alarm.alarm_id,
        table.rules[rule].rule_id,
        int(table.point_id[row]),
        alarm.tier,
        alarm.raised_us,
        late=alarm.late,
    )


def cell_row(table: RuleTable, row: int, watch: Watch, signal: Signal, nth: int) -> CellRow:
    """The `nth` limit of a signal as it is stored."""
    since_us = signal.since[nth]
    return CellRow(
        rule_id=table.rules[watch.rule].rule_id,
        point_id=int(table.point_id[row]),
        tier=int(watch.limits[nth].tier),
        holds=signal.holds[nth],
        since_us=None if since_us == NEVER else since_us,
    )


def watch_of(table: RuleTable, row: int, rule: int) -> Watch | None:
    """That rule at that point, if it is watched there."""
    found = next((watch for watch in table.watches(row) if watch.rule == rule), None)
    if found is not None:
        return found
    measured = (watch for gauge in table.gauges(row) for watch in gauge.watches)
    carried = (one.watch for one in table.carried.get(row, ()))
    others = itertools.chain(measured, carried)
    return next((watch for watch in others if watch.rule == rule), None)


def _recall(
    table: RuleTable,
    memory: Memory,
    cells: Iterable[CellRow],
    alarms: Iterable[OpenAlarmRow],
    finds: Iterable[OpenAlarmRow],
) -> None:
    stirred: set[int] = set()
    for cell in cells:
        row, rule = table.row_of.get(cell.point_id), table.index.get(cell.rule_id)
        watch = watch_of(table, row, rule) if row is not None and rule is not None else None
        tiers = [int(limit.tier) for limit in watch.limits] if watch else []
        if watch is None or row is None or cell.tier not in tiers:
            memory.leftovers.append(CellRow(cell.rule_id, cell.point_id, cell.tier, False, None))
            continue
        signal = memory.signals.setdefault((row, watch.rule), signal_at_rest(watch))
        nth = tiers.index(cell.tier)
        signal.holds[nth] = cell.holds
        signal.since[nth] = NEVER if cell.since_us is None else cell.since_us
        stirred.add(row)
    for alarm in alarms:
        row, rule = table.row_of.get(alarm.point_id), table.index.get(alarm.rule_id)
        standing = Standing(alarm.alarm_id, alarm.raised_us, Tier(alarm.tier), Tier(alarm.late))
        if row is None or rule is None:
            memory.orphans.append(alarm)
        elif (watch := watch_of(table, row, rule)) is not None:
            memory.signals.setdefault((row, rule), signal_at_rest(watch)).alarm = standing
            stirred.add(row)
        elif (nth_silence := silence_at(table, row, rule)) is not None:
            memory.silences.setdefault(row, {})[rule] = standing
            memory.silent_open[nth_silence] = memory.missed[row] = True
        else:
            memory.orphans.append(alarm)
    for find in finds:
        row, rule = table.row_of.get(find.point_id), table.index.get(find.rule_id)
        if row is not None and rule is not None and find.cleared_us is not None:
            memory.keep_find(row, rule, LateFind(find.raised_us, find.cleared_us, Tier(find.tier)))
    for row in stirred:
        memory.settle(table, row)


def silence_at(table: RuleTable, row: int, rule: int) -> int | None:
    """Place of that rule at that point in the silences of the table, if it is one of them."""
    first, last = table.silent_row.searchsorted(np.array([row, row + 1], np.int32))
    found = np.flatnonzero(table.silent_rule[first:last] == rule)
    return int(first + found[0]) if len(found) else None
