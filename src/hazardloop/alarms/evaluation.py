"""Readings and the passing of time to changes of alarms, each with its reason.

A batch must be evaluated once: memory is changed in place. What it gives is to be stored in one
transaction; if that fails, store the same outcome again.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from hazardloop.alarms.alarm import Change
from hazardloop.alarms.kernels import let_time_pass, silent_from, stirring, take_value, usable
from hazardloop.alarms.memory import CellRow, LateFind, Memory, cell_rows, watch_of
from hazardloop.alarms.rule_table import US_PER_S, RuleTable
from hazardloop.alarms.story import Moment, Story
from hazardloop.alarms.watch import Signal, Watch, signal_at_rest
from hazardloop.devices.readings import NEVER, Quality, Readings

FINDS_KEPT: Final = 32
"""Late finds remembered of one signal; more would be a gateway gone wild."""

_Touched: TypeAlias = dict[tuple[int, int], tuple[CellRow, ...]]
"""Signals by row and rule, with what was remembered of their limits before."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a batch, or the passing of time, changed."""

    changes: tuple[Change, ...] = ()
    """By data time; an alarm is cleared before the next of its signal is raised."""
    cells: tuple[CellRow, ...] = ()
    """What is to be stored of limits: as it is now, each limit once."""


def merge(first: Outcome, second: Outcome) -> Outcome:
    """Both, to be stored in one transaction; `second` came after."""
    cells = {(cell.rule_id, cell.point_id, cell.tier): cell for cell in first.cells + second.cells}
    return Outcome(first.changes + second.changes, tuple(cells.values()))


def evaluate(table: RuleTable, memory: Memory, readings: Readings) -> Outcome:
    """What these readings change; in data time per point, whatever their order in the batch.

    Args:
        table: the rules.
        memory: changed in place.
        readings: each point and instant once, and never one that was evaluated before.
    """
    spoken = usable(readings.value, readings.quality)
    heard = readings if spoken.all() else readings.take(spoken)
    story = Story(table)
    _end_silences(table, memory, heard, story)
    np.maximum.at(memory.heard_at, heard.row, heard.received_at)
    touched: _Touched = {}
    stirs = stirring(heard.value, memory.calm_low[heard.row], memory.calm_high[heard.row])
    if stirs.any():
        stirred = np.zeros(len(table.point_id), np.bool_)
        stirred[heard.row[stirs]] = True
        walked = stirred[heard.row]
        touched = _walk(table, memory, heard.take(walked), story)
        heard = heard.take(~walked)
    np.maximum.at(memory.newest_at, heard.row, heard.observed_at)
    newest = heard.observed_at == memory.newest_at[heard.row]
    memory.newest_value[heard.row[newest]] = heard.value[newest]
    return _outcome(table, memory, touched, story)


def _walk(table: RuleTable, memory: Memory, readings: Readings, story: Story) -> _Touched:
    """Take these readings one by one, by point and data time."""
    touched: _Touched = {}
    order = np.lexsort((readings.observed_at, readings.row))
    backfilled = (readings.quality & int(Quality.BACKFILL)) != 0
    columns = (readings.row, readings.observed_at, readings.value, backfilled)
    last_row = -1
    for row, at_us, value, backfill in zip(*(c[order].tolist() for c in columns), strict=True):
        if row != last_row and last_row >= 0:
            memory.settle(table, last_row)
        last_row = row
        late = at_us < memory.newest_at[row]
        for watch in table.watches(row):
            if late:
                _find_late(table, memory, row, watch, at_us, value, story)
                continue
            signal = _signal(table, memory, row, watch, touched)
            stood = float(memory.newest_value[row])
            for due_us in let_time_pass(watch, signal, at_us):
                story.tell(row, watch, signal, Moment(due_us, stood, backfill))
            take_value(watch, signal, at_us, value)
            story.tell(row, watch, signal, Moment(at_us, value, backfill))
        if not late:
            memory.newest_at[row], memory.newest_value[row] = at_us, value
    if last_row >= 0:
        memory.settle(table, last_row)
    return touched


def _signal(table: RuleTable, memory: Memory, row: int, watch: Watch, touched: _Touched) -> Signal:
    """The signal to be changed; what it was is kept in `touched`."""
    signal = memory.signals.get((row, watch.rule))
    if signal is None:
        signal = memory.signals[row, watch.rule] = signal_at_rest(watch)
    if (row, watch.rule) not in touched:
        touched[row, watch.rule] = tuple(cell_rows(table, row, watch, signal))
    return signal


def _find_late(
    table: RuleTable,
    memory: Memory,
    row: int,
    watch: Watch,
    at_us: int,
    value: float,
    story: Story,
) -> None:
    """A reading older than the newest: it can tell of an excursion nobody saw, and nothing else.

    The alarm ends with the newest reading. Readings of the same time of trouble, if no worse, are
    no second alarm: a gateway that sends an hour of old data would otherwise raise hundreds.
    """
    signal = memory.signals.get((row, watch.rule))
    if watch.on_delay_us > 0 or (signal is not None and signal.alarm is not None):
        return
    entered = [x for x in watch.limits if x.enter_low <= value <= x.enter_high]
    if not entered:
        return
    tier = max(limit.tier for limit in entered)
    finds = memory.finds.setdefault((row, watch.rule), [])
    if any(each.raised_us <= at_us <= each.until_us and tier <= each.tier for each in finds):
        return
    until_us = int(memory.newest_at[row])
    finds[:] = [*finds[-FINDS_KEPT + 1 :], LateFind(at_us, until_us, tier)]
    found = signal_at_rest(watch)
    found.holds = [limit.tier == tier for limit in watch.limits]
    story.tell(row, watch, found, Moment(at_us, value, late=True))
    found.holds = [False] * len(watch.limits)
    ended = Moment(until_us, float(memory.newest_value[row]), late=True)
    story.tell(row, watch, found, ended)


def _end_silences(table: RuleTable, memory: Memory, heard: Readings, story: Story) -> None:
    """Clear the alarms of points that have spoken again."""
    if not memory.silences:
        return
    backfilled = (heard.quality & int(Quality.BACKFILL)) != 0
    for nth in np.flatnonzero(memory.missed[heard.row]).tolist():
        row, at_us = int(heard.row[nth]), int(heard.received_at[nth])
        silent_us = at_us - max(int(memory.heard_at[row]), int(table.registered_at[row]))
        moment = Moment(at_us, silent_us / US_PER_S, bool(backfilled[nth]))
        for nth_silence, alarm in memory.silences.pop(row, {}).items():
            memory.silent_open[nth_silence] = memory.missed[row] = False
            story.speak_again(row, nth_silence, alarm, moment)


def tick(table: RuleTable, memory: Memory, now_us: int, deaf_until_us: int = 0) -> Outcome:
    """What has changed by the passing of time alone: delays that ended, points that fell silent.

    Args:
        table: the rules.
        memory: changed in place.
        now_us: the time up to which readings have had their chance to arrive.
        deaf_until_us: until then the service did not listen: silence counts from there.
    """
    story = Story(table)
    touched: _Touched = {}
    while memory.due and memory.due[0][0] <= now_us:
        due_us, row, rule = heapq.heappop(memory.due)
        watch, signal = watch_of(table, row, rule), memory.signals.get((row, rule))
        if watch is None or signal is None:
            continue
        if signal.due_us == due_us:
            signal.due_us = NEVER
        _signal(table, memory, row, watch, touched)
        for ended_us in let_time_pass(watch, signal, now_us):
            stood = float(memory.newest_value[row])
            story.tell(row, watch, signal, Moment(ended_us, stood))
        memory.settle(table, row)
    _begin_silences(table, memory, now_us, deaf_until_us, story)
    for orphan in memory.orphans:
        story.abandon(orphan, now_us)
    outcome = _outcome(table, memory, touched, story)
    outcome = merge(Outcome(cells=tuple(memory.leftovers)), outcome)
    memory.orphans, memory.leftovers = [], []
    return outcome


def _begin_silences(
    table: RuleTable, memory: Memory, now_us: int, deaf_until_us: int, story: Story
) -> None:
    """Raise an alarm for each point that has been silent for too long."""
    rows = table.silent_row
    heard_at, registered_at = memory.heard_at[rows], table.registered_at[rows]
    from_us = silent_from(heard_at, registered_at, deaf_until_us, table.silent_limit_us)
    for nth in np.flatnonzero((from_us < now_us) & ~memory.silent_open).tolist():
        row = int(rows[nth])
        last_us = max(int(heard_at[nth]), int(registered_at[nth]))
        alarm = story.fall_silent(row, nth, int(from_us[nth]), last_us)
        memory.silences.setdefault(row, {})[nth] = alarm
        memory.silent_open[nth] = memory.missed[row] = True


def _outcome(table: RuleTable, memory: Memory, touched: _Touched, story: Story) -> Outcome:
    return Outcome(story.changes(), tuple(_changed_cells(table, memory, touched)))


def _changed_cells(table: RuleTable, memory: Memory, touched: _Touched) -> Iterator[CellRow]:
    for (row, rule), before in touched.items():
        watch = watch_of(table, row, rule)
        assert watch is not None
        signal = memory.signals.get((row, rule)) or signal_at_rest(watch)
        for old, new in zip(before, cell_rows(table, row, watch, signal), strict=True):
            if old != new:
                yield new
