"""Run: the engine of the worker over stored readings, in the order of data time.

Values are evaluated in the order in which they were measured, so a reading that came late stands
where it belongs: what is found is what a network without faults would have found. Silence is of
receipts, as in the worker: points that fall silent are looked for at whole seconds of the time of
receipt, and only at those at which one can have fallen silent. What a clock that runs ahead has
measured counts as received when it says. Nothing depends on how the readings are handed over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from hazardloop.alarms.alarm import Change
from hazardloop.alarms.evaluation import evaluate, tick
from hazardloop.alarms.kernels import usable
from hazardloop.alarms.memory import new_memory
from hazardloop.alarms.rule import Derived, Rule, RuleKind, Silence
from hazardloop.alarms.rule_table import RuleTable, compile_rules
from hazardloop.alarms.rule_watches import US_PER_S
from hazardloop.devices.readings import Readings, Rows, Times
from hazardloop.devices.registry import Registry
from hazardloop.replay.episodes import Collector, Episodes, episodes_of

AT_ONCE: Final = 65_536
"""Readings that are evaluated together: columns that fit the processor's cache."""
GRACE_US: Final = 1 * US_PER_S
"""A worker gives a reading in flight so much time before it misses it."""
DAY_S: Final = 86_400.0
LONGEST_WARM_S: Final = 3 * DAY_S


@dataclass(frozen=True, slots=True)
class Span:
    """What is replayed, us since 1970 UTC."""

    warm_us: int
    """Readings are evaluated from here on, so that what stands and what rules look back on is
    known when the period begins."""
    start_us: int
    end_us: int
    """First instant after it."""


def span_of(rules: Sequence[Rule], intervals_s: float, start_us: int, end_us: int) -> Span:
    """The span of a period: warm from as far back as any of the rules remembers.

    `intervals_s`: the longest in which a point that is watched is expected to report.
    """
    warm_s = 3_600.0 + 3 * intervals_s + max(map(_remembers_s, rules), default=0.0)
    return Span(start_us - round(min(warm_s, LONGEST_WARM_S) * US_PER_S), start_us, end_us)


def _remembers_s(rule: Rule) -> float:
    condition, back_s = rule.condition, 0.0
    if isinstance(condition, Derived):
        back_s = 2 * condition.measure.reach_s
    elif isinstance(condition, Silence):
        back_s = max(condition.after_s or 0.0, condition.min_s)
    return back_s + rule.on_delay_s + rule.off_delay_s


class Run:
    """One replay of some rules over some points; readings are handed over in pieces of time."""

    def __init__(
        self,
        rules: Sequence[Rule],
        registry: Registry,
        span: Span,
        tz: str,
        *,
        at_once: int = AT_ONCE,
    ) -> None:
        """`rules`: with ids that differ; episodes name them by their place."""
        place = {rule.rule_id: nth for nth, rule in enumerate(rules)}
        silent = [rule for rule in rules if rule.kind is RuleKind.STALE]
        others = [rule for rule in rules if rule.kind is not RuleKind.STALE]
        self._values = _Values(compile_rules(others, registry, tz=tz), Collector(place), at_once)
        self._silences = _Silences(
            compile_rules(silent, registry, tz=tz), Collector(place), span.warm_us
        )
        self._span = span

    def take(self, readings: Readings, until_us: int) -> None:
        """All readings that were measured before `until_us` and not handed over yet, in any order.

        Their rows are those of the registry. TooManyEpisodes.
        """
        readings = readings.take(np.argsort(readings.observed_at, kind="stable"))
        self._values.take(readings)
        self._silences.take(readings, min(until_us, self._span.end_us))

    def end(self) -> Episodes:
        """All that was found; called once, after the last readings."""
        self._values.pass_time(self._span.end_us - 1)
        self._silences.take(None, self._span.end_us)
        return episodes_of([self._values.found, self._silences.found])


class _Values:
    """Rules that compare values, or what is worked out of them."""

    def __init__(self, table: RuleTable, found: Collector, at_once: int) -> None:
        self.found = found
        self._table, self._at_once = table, at_once
        self._memory = new_memory(table)

    def take(self, readings: Readings) -> None:
        if not self._table.rules or not len(readings):
            return
        at, start = readings.observed_at, 0
        while start < len(at):
            # Of one instant all together: groups are made of what their members say at it.
            last = at[min(start + self._at_once, len(at)) - 1]
            end = int(at.searchsorted(last, "right"))
            batch = readings.part(slice(start, end))
            self.found.take(evaluate(self._table, self._memory, batch).changes)
            self.pass_time(int(last))
            start = end

    def pass_time(self, now_us: int) -> None:
        """Delays that end by then end."""
        if self._memory.due:
            self.found.take(tick(self._table, self._memory, now_us).changes)


class _Silences:
    """Rules that watch for silence, by times of receipt."""

    def __init__(self, table: RuleTable, found: Collector, deaf_until_us: int) -> None:
        self.found = found
        self._table = table
        self._memory = new_memory(table)
        self._memory.heard_at[:] = self._memory.silent_after = deaf_until_us  # it counts from there
        self._watched = np.zeros(len(table.point_id), np.bool_)
        self._watched[table.silent_row] = True
        self._soonest_us = int(table.silent_limit_us.min(initial=np.iinfo(np.int64).max))
        self._row: Rows = np.empty(0, np.int32)
        self._received: Times = np.empty(0, np.int64)
        """Receipts yet to come, of readings that were handed over."""

    def take(self, readings: Readings | None, until_us: int) -> None:
        """Time passes until then; every receipt before it has been handed over with these."""
        if not len(self._table.silent_row):
            return
        if readings is not None:
            here = self._watched[readings.row] & usable(readings.value, readings.quality)
            received = np.maximum(readings.received_at[here], readings.observed_at[here])
            self._row = np.concatenate([self._row, readings.row[here]])
            self._received = np.concatenate([self._received, received])
            order = np.argsort(self._received, kind="stable")
            self._row, self._received = self._row[order], self._received[order]
        taken = self._pass(until_us)
        # What a gateway kept for hours comes in few messages: a receipt of each point is enough.
        row, received = self._row[taken:], self._received[taken:]
        order = np.lexsort((row, received))
        row, received = row[order], received[order]
        again = (np.diff(row, prepend=-1) == 0) & (np.diff(received, prepend=-1) == 0)
        self._row, self._received = row[~again], received[~again]

    def _pass(self, until_us: int) -> int:
        """Lets time pass; how many receipts were taken."""
        taken = 0
        while True:
            look_us = _look_after(self._memory.silent_after)
            first = int(self._received[taken]) if taken < len(self._received) else until_us
            # A point that speaks now cannot be missed sooner than this.
            upto_us = min(look_us, until_us - 1, first + self._soonest_us)
            end = int(self._received.searchsorted(upto_us, "right"))
            if end > taken:
                self.found.take(self._heard(slice(taken, end)))
                taken = end
            if look_us < until_us and look_us <= upto_us:
                now_us = look_us - GRACE_US
                self.found.take(tick(self._table, self._memory, now_us).changes)
            elif upto_us == until_us - 1:
                return taken

    def _heard(self, which: slice) -> Sequence[Change]:
        row, received = self._row[which], self._received[which]
        nothing = np.zeros(len(row), np.int32)
        said = Readings(
            row, received, received, nothing.astype(np.float64), nothing.astype(np.int16), nothing
        )
        return evaluate(self._table, self._memory, said).changes


def _look_after(silent_after_us: int) -> int:
    """The first whole second at which a worker may miss a point (us)."""
    return ((silent_after_us + GRACE_US) // US_PER_S + 1) * US_PER_S
