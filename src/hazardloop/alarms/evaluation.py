"""Readings and the passing of time to changes of alarms, each with its reason.

A batch must be evaluated once: memory is changed in place. What it gives is to be stored in one
transaction; if that fails, store the same outcome again.
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

import numpy as np

from hazardloop.alarms.alarm import Change
from hazardloop.alarms.kernels import silent_from, stirring, usable
from hazardloop.alarms.late_windows import CELLS_AT_ONCE, take_late
from hazardloop.alarms.measuring import measured
from hazardloop.alarms.memory import CellRow, LateFind, Memory, silence_at, watch_of
from hazardloop.alarms.profiles import Gauge
from hazardloop.alarms.rings import push_all, rounds
from hazardloop.alarms.rule_table import RuleTable
from hazardloop.alarms.rule_watches import US_PER_S
from hazardloop.alarms.story import Moment, Story
from hazardloop.alarms.walk import Walk, gathered_moment, note_find
from hazardloop.devices.readings import NEVER, Bools, Quality, Readings

FOREVER: Final = np.iinfo(np.int64).max
"""After all instants (us)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a batch, or the passing of time, changed."""

    changes: tuple[Change, ...] = ()
    """By data time; an alarm is cleared before the next of its signal is raised."""
    cells: tuple[CellRow, ...] = ()
    """What is to be stored of limits: as it is now, each limit once."""


@dataclass(frozen=True, slots=True)
class Find:
    """An alarm that one late reading tells of, if it is new: raised and cleared at once."""

    raised: Change
    cleared: Change

    def __iter__(self) -> Iterator[Change]:
        """Both changes, in order."""
        yield self.raised
        yield self.cleared


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
    walk = Walk(table, memory)
    _end_silences(table, memory, heard, walk.story)
    row = heard.row.astype(np.intp)  # indexing by the platform's own integer is twice as fast
    np.maximum.at(memory.heard_at, row, heard.received_at)
    if len(memory.rings):
        _measure(walk, heard)
    if len(table.member_row):
        _gather(walk, heard)
    stirs = stirring(heard.value, memory.calm_low.take(row), memory.calm_high.take(row))
    if stirs.any():
        walked = np.isin(row, row[stirs])
        _walk(walk, heard.take(walked))
        heard, row = heard.take(~walked), row[~walked]
    np.maximum.at(memory.newest_at, row, heard.observed_at)
    older = heard.observed_at != memory.newest_at.take(row)
    if older.any():
        heard, row = heard.take(~older), row[~older]
    memory.newest_value[row] = heard.value
    memory.newest_late[row] = _kept_offline(heard)
    return _outcome(walk)


def recollect(table: RuleTable, memory: Memory, readings: Readings) -> Outcome:
    """Gives late readings their place among those lately; the excursions that they show.

    For readings that `evaluate` does not see; what they tell by themselves is for `foresee`.
    """
    spoken = usable(readings.value, readings.quality)
    spoken &= memory.rings.of_row[readings.row] >= 0
    late = readings.observed_at < memory.newest_at[readings.row]
    newer = readings.take(spoken & ~late)
    push_all(memory.rings, newer.row, newer.observed_at, newer.value)
    walk = Walk(table, memory)
    if (spoken & late).any():
        take_late(walk, readings.take(spoken & late))
    return _outcome(walk)


def foresee(table: RuleTable, memory: Memory, readings: Readings) -> tuple[tuple[int, Find], ...]:
    """Index of each late reading that would tell of an alarm now, and the alarm.

    Nothing is changed: whether a reading is new, and whether another has told of the same already,
    is for `discover`.
    """
    spoken = usable(readings.value, readings.quality)
    row = readings.row.astype(np.intp)
    late = spoken & (readings.observed_at < memory.newest_at.take(row))
    foreseen: list[tuple[int, Find]] = []
    for nth in np.flatnonzero(late).tolist():
        walk = Walk(table, replace(memory, finds={}))
        walk.take(int(row[nth]), int(readings.observed_at[nth]), float(readings.value[nth]), True)
        changes = walk.story.changes()
        by_alarm = {change.alarm_id: change for change in changes if change.tier}
        foreseen += [(nth, Find(by_alarm[c.alarm_id], c)) for c in changes if not c.tier]
    return tuple(foreseen)


def discover(table: RuleTable, memory: Memory, finds: Iterable[Find]) -> Outcome:
    """The changes of those finds that no other late reading has told of; memory notes them.

    In data time, as if their readings had been evaluated together.
    """
    changes: list[Change] = []
    for find in sorted(finds, key=lambda each: each.raised.raised_at_us):
        row, rule = find.raised.row, table.index.get(find.raised.rule_id)
        if rule is None:
            continue
        late = LateFind(find.raised.raised_at_us, find.cleared.changed_at_us, find.raised.tier)
        # One noted before, and yet to be recorded: told again it is the same alarm.
        if note_find(memory, row, rule, late) or late in memory.finds[row, rule]:
            changes += find
    return Outcome(tuple(changes))


def _walk(walk: Walk, readings: Readings) -> None:
    """Take these readings by point and data time; then bring their points up to date."""
    order = np.lexsort((readings.observed_at, readings.row))
    columns = (readings.row, readings.observed_at, readings.value, _kept_offline(readings))
    for row, at_us, value, backfill in zip(*(x[order].tolist() for x in columns), strict=True):
        walk.take(row, at_us, value, backfill)
    for row in np.unique(readings.row).tolist():
        walk.memory.settle(walk.table, row)


def _measure(walk: Walk, heard: Readings) -> None:
    """Take what measures make of these readings, by point and data time.

    Late ones only take their place among the readings lately, and tell of what was missed.
    """
    table, memory = walk.table, walk.memory
    rings, stood_late, offline = memory.rings, memory.newest_late.copy(), _kept_offline(heard)
    ringed = rings.of_row[heard.row] >= 0
    late = ringed & (heard.observed_at < memory.newest_at[heard.row])
    if late.any():
        take_late(walk, heard.take(late))
    for turn in rounds(heard.row, heard.observed_at, ringed & ~late):
        row, profile = heard.row[turn], table.profile[heard.row[turn]]
        rings.push(rings.of_row[row], heard.observed_at[turn], heard.value[turn])
        for place in np.unique(profile).tolist():
            here = turn[profile == place]
            for gauge in table.profiles.made[place].gauges:
                _take_gauge(walk, gauge, heard.take(here), offline[here], stood_late)
        stood_late[row] = offline[turn]


def _take_gauge(
    walk: Walk, gauge: Gauge, heard: Readings, offline: Bools, stood_late: Bools
) -> None:
    """Take what one measure says at these readings, one of each point, all in their rings."""
    memory, row = walk.memory, heard.row
    ring = memory.rings.of_row[row]
    step = max(1, CELLS_AT_ONCE // max(1, int(memory.rings.count[ring].max(initial=0))))
    for start in range(0, len(row), step):
        here = slice(start, start + step)
        age_s, value, _ = memory.rings.windows(
            ring[here], gauge.measure.reach_s, heard.observed_at[here] + 1
        )
        told = measured(gauge.measure, age_s, value)
        stirs = memory.gauged[row[here]] | stirring(told, *gauge.calm)
        for nth in np.flatnonzero(stirs).tolist():
            at = start + nth
            moment = Moment(int(heard.observed_at[at]), float(told[nth]), bool(offline[at]))
            walk.take_measured(int(row[at]), gauge, moment, bool(stood_late[row[at]]))
            memory.settle(walk.table, int(row[at]))


def _gather(walk: Walk, heard: Readings) -> None:
    """Take what is made of groups' last words, at each instant at which a member speaks.

    A late reading is nobody's last word.
    """
    table, memory = walk.table, walk.memory
    here = heard.take(np.isin(heard.row, table.member_row))
    order = np.lexsort((here.row, here.observed_at))
    columns = (here.observed_at, here.row, here.value, _kept_offline(here))
    told = zip(*(column[order].tolist() for column in columns), strict=True)
    groups = [one for row in np.unique(here.row).tolist() for one in table.gathered[row]]
    held = memory.held({row for one in groups for row in one.rows})
    for _, said in groupby(told, key=lambda each: each[0]):
        spoken = [each for each in said if each[1] not in held or held[each[1]][0] <= each[0]]
        concerned = {
            (one.watch.rule, one.carrier): one
            for _, row, _, _ in spoken
            for one in table.gathered[row]
        }
        stood = {
            key: gathered_moment(one, held) if held.keys() & set(one.members) else None
            for key, one in concerned.items()
        }
        held.update({row: (at_us, value, late) for at_us, row, value, late in spoken})
        for key in sorted(concerned):
            walk.take_gathered(concerned[key], held, stood[key])


def _kept_offline(readings: Readings) -> Bools:
    """(n,) which the gateway kept while it was offline."""
    kept: Bools = (readings.quality & int(Quality.BACKFILL)) != 0
    return kept


def _end_silences(table: RuleTable, memory: Memory, heard: Readings, story: Story) -> None:
    """Clear the alarms of points that have spoken again."""
    if not memory.silences:
        return
    backfilled = _kept_offline(heard)
    for nth in np.flatnonzero(memory.missed[heard.row]).tolist():
        row, at_us = int(heard.row[nth]), int(heard.received_at[nth])
        silent_us = at_us - max(int(memory.heard_at[row]), int(table.registered_at[row]))
        moment = Moment(at_us, silent_us / US_PER_S, bool(backfilled[nth]))
        memory.missed[row] = False
        for rule, alarm in memory.silences.pop(row, {}).items():
            nth_silence = silence_at(table, row, rule)
            assert nth_silence is not None  # or no alarm would stand for it
            memory.silent_open[nth_silence] = False
            again_us = at_us + int(table.silent_limit_us[nth_silence])
            memory.silent_after = min(memory.silent_after, again_us)
            story.speak_again(row, nth_silence, alarm, moment)


def tick(table: RuleTable, memory: Memory, now_us: int, deaf_until_us: int = 0) -> Outcome:
    """What has changed by the passing of time alone: delays that ended, points that fell silent.

    Args:
        table: the rules.
        memory: changed in place.
        now_us: the time up to which readings have had their chance to arrive.
        deaf_until_us: until then the service did not listen: silence counts from there.
    """
    walk = Walk(table, memory)
    while memory.due and memory.due[0][0] <= now_us:
        _, row, rule = heapq.heappop(memory.due)
        watch, signal = watch_of(table, row, rule), memory.signals.get((row, rule))
        if watch is None or signal is None:
            continue
        gathering = table.gathering(row, rule)
        speaker = row if gathering is None else memory.last_to_speak(gathering.members)
        if memory.newest_late[speaker]:
            # More that was kept offline may be on its way: the next reading tells, not the clock.
            signal.due_us = NEVER
            continue
        walk.end_delays(row, watch, signal, now_us)
        memory.settle(table, row)
    _begin_silences(table, memory, now_us, deaf_until_us, walk.story)
    for orphan in memory.orphans:
        walk.story.abandon(orphan, now_us)
    outcome = merge(Outcome(cells=tuple(memory.leftovers)), _outcome(walk))
    memory.orphans, memory.leftovers = [], []
    return outcome


def _begin_silences(
    table: RuleTable, memory: Memory, now_us: int, deaf_until_us: int, story: Story
) -> None:
    """Raise an alarm for each point that has been silent for too long."""
    if now_us <= memory.silent_after:
        return
    rows, limit_us = table.silent_row, table.silent_limit_us
    heard_at, registered_at = memory.heard_at[rows], table.registered_at[rows]
    # By what is heard it only moves on; who was deaf may be said to have been so for less.
    soonest = silent_from(heard_at, registered_at, NEVER, limit_us)
    silent = np.flatnonzero((soonest < now_us) & ~memory.silent_open)
    from_us = np.maximum(soonest[silent], deaf_until_us + limit_us[silent])
    for nth, at_us in zip(silent.tolist(), from_us.tolist(), strict=True):
        if at_us >= now_us:
            continue
        row = int(rows[nth])
        last_us = max(int(heard_at[nth]), int(registered_at[nth]))
        alarm = story.fall_silent(row, nth, at_us, last_us)
        memory.silences.setdefault(row, {})[int(table.silent_rule[nth])] = alarm
        memory.silent_open[nth] = memory.missed[row] = True
    memory.silent_after = int(soonest.min(initial=FOREVER, where=~memory.silent_open))


def _outcome(walk: Walk) -> Outcome:
    return Outcome(walk.story.changes(), tuple(walk.changed_cells()))
