"""Walk: the few readings that may change something, taken one by one through the limits."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from hazardloop.alarms.group import gathered, gathered_said
from hazardloop.alarms.kernels import let_time_pass, take_value
from hazardloop.alarms.measure import Measure
from hazardloop.alarms.measuring import explained, measured
from hazardloop.alarms.memory import CellRow, Held, LateFind, Memory, cell_row
from hazardloop.alarms.profiles import Gauge
from hazardloop.alarms.rule_table import Gathering, RuleTable
from hazardloop.alarms.story import Moment, Story
from hazardloop.alarms.watch import Signal, Watch, signal_at_rest, worst_entered
from hazardloop.devices.readings import NEVER, Floats, Times


@dataclass(frozen=True, slots=True)
class _Before:
    """A signal as it was when the walk first came to it."""

    watch: Watch
    holds: tuple[bool, ...]
    since: tuple[int, ...]


@dataclass(slots=True)
class Walk:
    """Changes the memory, and knows afterwards what was changed."""

    table: RuleTable
    memory: Memory
    story: Story = field(init=False)
    before: dict[tuple[int, int], _Before] = field(default_factory=dict)
    """By row and rule."""

    def __post_init__(self) -> None:
        self.story = Story(self.table)

    def take(self, row: int, at_us: int, value: float, backfill: bool) -> None:
        """Take one usable reading; those of a point come in data time."""
        newest_us = int(self.memory.newest_at[row])
        if at_us < newest_us:
            for watch in self.table.watches(row):
                self.find_late(row, watch, Moment(at_us, value, late=True))
            return
        moment = Moment(at_us, value, backfill)
        for watch in self.table.watches(row):
            signal = self.memory.signals.get((row, watch.rule))
            if signal is None and watch.calm_low < value < watch.calm_high:
                continue
            signal = self._signal(row, watch, signal)
            if signal.pending:
                self._let_time_pass(row, watch, signal, at_us, self._stood(row))
            take_value(watch, signal, at_us, value)
            self._tell(row, watch, signal, moment)
        self.memory.newest_at[row], self.memory.newest_value[row] = at_us, value
        self.memory.newest_late[row] = backfill

    def take_measured(self, row: int, gauge: Gauge, moment: Moment, stood_late: bool) -> None:
        """Take what a measure says at a reading that its ring holds; they come in data time.

        Of a reading at which it says nothing (NaN) only the time counts.
        `stood_late`: the reading before it came as old data.
        """
        at_us, measure, says = moment.at_us, gauge.measure, not math.isnan(moment.value)
        moment = replace(moment, worked=partial(self.worked, row, measure, at_us + 1))
        for watch in gauge.watches:
            signal = self.memory.signals.get((row, watch.rule))
            if signal is None and (not says or watch.calm_low < moment.value < watch.calm_high):
                continue
            signal = self._signal(row, watch, signal)
            if signal.pending:
                stood = self._stood_measured(row, measure, at_us, stood_late)
                self._let_time_pass(row, watch, signal, at_us, stood)
            if says:
                take_value(watch, signal, at_us, moment.value)
                self._tell(row, watch, signal, moment)

    def take_gathered(self, one: Gathering, held: Held, stood: Moment | None) -> None:
        """Take what is made of the last words of a group; these come in data time.

        Args:
            one: the rule and its group.
            held: the last word of each member that had one.
            stood: what was made of them before; None: there was nothing.
        """
        row, watch, moment = one.carrier, one.watch, gathered_moment(one, held)
        signal = self.memory.signals.get((row, watch.rule))
        says = not math.isnan(moment.value)
        if signal is None and (not says or watch.calm_low < moment.value < watch.calm_high):
            return
        if signal is not None and (alarm := signal.alarm) is not None:
            over = says and worst_entered(watch, moment.value) < alarm.tier
            if over and alarm.raised_us >= moment.at_us:
                return  # no alarm begins twice at one instant: what ends it counts at the next
        signal = self._signal(row, watch, signal)
        if signal.pending and stood is not None:
            self._let_time_pass(row, watch, signal, moment.at_us, stood)
        if says:
            take_value(watch, signal, moment.at_us, moment.value)
            self._tell(row, watch, signal, moment)
        self.memory.settle(self.table, row)

    def end_delays(self, row: int, watch: Watch, signal: Signal, now_us: int) -> None:
        """Let the on-delays of a signal end that end by now."""
        self._signal(row, watch, signal)
        stood = self._stood(row)
        if watch.measure is not None:
            stood = self._stood_measured(row, watch.measure, stood.at_us + 1, stood.late)
        elif (one := self.table.gathering(row, watch.rule)) is not None:
            stood = gathered_moment(one, self.memory.held(one.rows))
        self._let_time_pass(row, watch, signal, now_us, stood)

    def _let_time_pass(
        self, row: int, watch: Watch, signal: Signal, until_us: int, stood: Moment
    ) -> None:
        """What stands until then tells of it, whoever asks: a tick, or the next reading."""
        for due_us in let_time_pass(watch, signal, until_us):
            self._tell(row, watch, signal, replace(stood, at_us=due_us))

    def _stood(self, row: int) -> Moment:
        """What the point said last."""
        memory = self.memory
        at_us, value = int(memory.newest_at[row]), float(memory.newest_value[row])
        return Moment(at_us, value, bool(memory.newest_late[row]))

    def _stood_measured(self, row: int, measure: Measure, before_us: int, late: bool) -> Moment:
        """What a measure said last at a reading before that instant."""
        while True:
            age_s, value, newest = self._window(row, measure, before_us)
            told = float(measured(measure, age_s, value)[0])
            if not math.isnan(told) or newest[0] == NEVER:
                break
            before_us = int(newest[0])
        return Moment(int(newest[0]), told, late, partial(self.worked, row, measure, before_us))

    def worked(self, row: int, measure: Measure, before_us: int) -> dict[str, Any]:
        """The arithmetic of a measure at the newest reading before that instant."""
        age_s, value, newest = self._window(row, measure, before_us)
        return explained(measure, age_s[0], value[0], int(newest[0]))

    def _window(self, row: int, measure: Measure, before_us: int) -> tuple[Floats, Floats, Times]:
        rings = self.memory.rings
        before = np.array([before_us], np.int64)
        return rings.windows(rings.of_row[[row]], measure.reach_s, before)

    def _tell(self, row: int, watch: Watch, signal: Signal, moment: Moment) -> None:
        """What the signal tells now; an alarm of old data that ends is a known find from here."""
        before = signal.alarm
        self.story.tell(row, watch, signal, moment)
        if before is None or not before.late:
            return
        if signal.alarm is None or signal.alarm.alarm_id != before.alarm_id:
            until_us = max(moment.at_us, before.raised_us)
            find = LateFind(before.raised_us, until_us, before.late)
            self.memory.keep_find(row, watch.rule, find)

    def _signal(self, row: int, watch: Watch, signal: Signal | None) -> Signal:
        """The signal, to be changed from here on."""
        key = row, watch.rule
        if signal is None:
            signal = self.memory.signals[key] = signal_at_rest(watch)
        if key not in self.before:
            self.before[key] = _Before(watch, tuple(signal.holds), tuple(signal.since))
        return signal

    def find_late(self, row: int, watch: Watch, moment: Moment) -> None:
        """What was older than the newest tells of an excursion nobody saw, and nothing else.

        The alarm ends with the newest reading. Further readings of the same trouble, if no worse,
        are no second alarm: a gateway that sends an hour of old data would raise hundreds.
        """
        signal = self.memory.signals.get((row, watch.rule))
        tier = worst_entered(watch, moment.value)
        if not tier or watch.on_delay_us > 0 or (signal is not None and signal.alarm is not None):
            return
        if not watch.looks(moment.at_us):
            return
        until_us = int(self.memory.newest_at[row])
        if not note_find(self.memory, row, watch.rule, LateFind(moment.at_us, until_us, tier)):
            return
        found = signal_at_rest(watch)
        found.holds = [limit.tier == tier for limit in watch.limits]
        self.story.tell(row, watch, found, moment)
        found.holds = [False] * len(watch.limits)
        ended = self._stood(row)
        if watch.measure is not None:
            ended = self._stood_measured(row, watch.measure, until_us + 1, True)
        self.story.tell(row, watch, found, replace(ended, at_us=until_us, late=True))

    def changed_cells(self) -> Iterator[CellRow]:
        """The limits whose memory is no longer what it was before."""
        for (row, rule), before in self.before.items():
            signal = self.memory.signals.get((row, rule)) or signal_at_rest(before.watch)
            for nth, was in enumerate(zip(before.holds, before.since, strict=True)):
                if was != (signal.holds[nth], signal.since[nth]):
                    yield cell_row(self.table, row, before.watch, signal, nth)


def gathered_moment(one: Gathering, held: Held) -> Moment:
    """What is made of the last words of a group, at the newest of them."""
    known = [held.get(row) for row in one.members]
    newest = max((each for each in known if each is not None), key=lambda each: each[0])
    at_us = newest[0]
    off = np.array([row in held and not held[row][1] for row in one.service])
    age_s = np.array([[math.nan if each is None else (at_us - each[0]) / 1e6 for each in known]])
    age_s[0, off] = math.nan  # who is switched off has nothing to say
    value = np.array([[math.nan if each is None else each[1] for each in known]])
    told = float(gathered(one.group, age_s, value, np.array(one.signs))[0])
    worked = partial(gathered_said, one.group, age_s[0], value[0], off)
    return Moment(at_us, told, newest[2], worked)


def note_find(memory: Memory, row: int, rule: int, find: LateFind) -> bool:
    """Whether this tells of an excursion that no earlier find has told of; then it is noted."""
    finds = memory.finds.get((row, rule), ())
    if any(
        each.raised_us <= find.raised_us <= each.until_us and find.tier <= each.tier
        for each in finds
    ):
        return False
    memory.keep_find(row, rule, find)
    return True
