"""The changes of one evaluation, in order: what each signal tells after what it told before."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hazardloop.alarms.alarm import Change, ChangeKind, Direction, Tier, alarm_id_of
from hazardloop.alarms.memory import OpenAlarmRow
from hazardloop.alarms.rule import Bits, Derived, Grouped, Rule, Silence, State, Threshold
from hazardloop.alarms.rule_table import RuleTable
from hazardloop.alarms.rule_watches import US_PER_S
from hazardloop.alarms.watch import Signal, Standing, Watch, worst_held
from hazardloop.devices.readings import NEVER


@dataclass(frozen=True, slots=True)
class Moment:
    """When something was so, and the value that made it so."""

    at_us: int
    """Data time; of silence, time of receipt."""
    value: float
    late: bool = False
    """It is told from old data."""
    worked: Callable[[], Mapping[str, Any]] | None = None
    """Says how the value was worked out of readings; None: it is one reading's."""


@dataclass(slots=True)
class Story:
    """Collects the changes of signals."""

    table: RuleTable
    told: list[tuple[int, str, Change]] = field(default_factory=list)
    """(not before this time, rule, change) as they came; those of one signal are in order."""
    latest: dict[tuple[int, str], int] = field(default_factory=dict)
    """By point and rule: when its latest change was, which its next one may not precede."""

    def changes(self) -> tuple[Change, ...]:
        """All changes by data time, then row and rule; those of one signal as they came."""
        ordered = sorted(self.told, key=lambda each: (each[0], each[2].row, each[1]))
        return tuple(change for _, _, change in ordered)

    def tell(self, row: int, watch: Watch, signal: Signal, moment: Moment) -> None:
        """The change of the signal's alarm, if its tier is no longer what was last told.

        `signal.alarm` is brought up to date. An alarm of old data sounded nowhere: once what is
        said live holds it, it ends, and the trouble is raised as what it is now.
        """
        if signal.alarm is not None and _confirmed(signal, signal.alarm, moment):
            self._tell(row, watch, signal, Tier.NONE, moment)
        self._tell(row, watch, signal, worst_held(watch, signal), moment)

    def _tell(self, row: int, watch: Watch, signal: Signal, tier: Tier, moment: Moment) -> None:
        before = signal.alarm.tier if signal.alarm else Tier.NONE
        if tier == before:
            return
        rule = self.table.rules[watch.rule]
        alarm = signal.alarm or self._raised(row, rule, moment.at_us, tier)
        limits = {limit.tier: limit.value for limit in watch.limits}
        limit = limits.get(tier or before, math.nan)
        self._add(
            row, watch.rule, alarm, (before, tier), limit, watch.direction, moment, watch.unit
        )
        late = max(alarm.late, tier) if alarm.late or (moment.late and not before) else Tier.NONE
        signal.alarm = Standing(alarm.alarm_id, alarm.raised_us, tier, late) if tier else None

    def fall_silent(self, row: int, nth: int, at_us: int, last_us: int) -> Standing:
        """The alarm for a silence since `last_us` that is too long from `at_us` on.

        `nth` is its place in the silences of the table.
        """
        index = int(self.table.silent_rule[nth])
        rule = self.table.rules[index]
        alarm = self._raised(row, rule, at_us, Tier(int(self.table.silent_tier[nth])))
        moment = Moment(at_us, (at_us - last_us) / US_PER_S)
        self._add_silence(row, nth, alarm, (Tier.NONE, alarm.tier), moment)
        return alarm

    def speak_again(self, row: int, nth: int, alarm: Standing, moment: Moment) -> None:
        """The end of an alarm for silence."""
        self._add_silence(row, nth, alarm, (alarm.tier, Tier.NONE), moment)

    def abandon(self, orphan: OpenAlarmRow, now_us: int) -> None:
        """The end of an alarm that no rule stands for any more."""
        row = self.table.row_of.get(orphan.point_id, -1)
        index = self.table.index.get(orphan.rule_id)
        change = Change(
            kind=ChangeKind.CLEARED,
            alarm_id=orphan.alarm_id,
            row=row,
            point_id=orphan.point_id,
            rule_id=orphan.rule_id,
            rule_version=1 if index is None else self.table.versions[index],
            tier=Tier.NONE,
            tier_before=Tier(orphan.tier),
            value=math.nan,
            limit=math.nan,
            direction=Direction.STATE if index is None else _direction(self.table.rules[index]),
            changed_at_us=max(now_us, orphan.raised_us),
            raised_at_us=orphan.raised_us,
        )
        self.told.append((change.changed_at_us, orphan.rule_id, change))

    def _raised(self, row: int, rule: Rule, at_us: int, tier: Tier) -> Standing:
        alarm_id = alarm_id_of(rule.rule_id, int(self.table.point_id[row]), at_us)
        return Standing(alarm_id, at_us, tier)

    def _add_silence(
        self, row: int, nth: int, alarm: Standing, tiers: tuple[Tier, Tier], moment: Moment
    ) -> None:
        limit_s = int(self.table.silent_limit_us[nth]) / US_PER_S
        index = int(self.table.silent_rule[nth])
        self._add(row, index, alarm, tiers, limit_s, Direction.STALE, moment)

    def _add(
        self,
        row: int,
        index: int,
        alarm: Standing,
        tiers: tuple[Tier, Tier],
        limit: float,
        direction: Direction,
        moment: Moment,
        unit: str | None = None,
    ) -> None:
        rule_id, (before, tier) = self.table.rules[index].rule_id, tiers
        # A tick may have raised it at a time that a reading on its way had not reached yet.
        changed_at_us = max(moment.at_us, alarm.raised_us)
        not_before_us = max(changed_at_us, self.latest.get((row, rule_id), changed_at_us))
        self.latest[row, rule_id] = not_before_us
        change = Change(
            kind=_kind(before, tier),
            alarm_id=alarm.alarm_id,
            row=row,
            point_id=int(self.table.point_id[row]),
            rule_id=rule_id,
            rule_version=self.table.versions[index],
            tier=tier,
            tier_before=before,
            value=moment.value,
            limit=limit,
            direction=direction,
            changed_at_us=changed_at_us,
            raised_at_us=alarm.raised_us,
            found_late=moment.late,
            unit=unit,
            arithmetic=moment.worked() if moment.worked is not None and tier > before else None,
        )
        self.told.append((not_before_us, rule_id, change))


def _confirmed(signal: Signal, alarm: Standing, moment: Moment) -> bool:
    """Whether this is the first word since old data raised the alarm that holds it live.

    Nobody is alarmed by what is already on its way to end, and no alarm begins twice at an instant.
    """
    live = bool(alarm.late) and not moment.late and moment.at_us > alarm.raised_us
    return live and any(
        holds and since_us == NEVER
        for holds, since_us in zip(signal.holds, signal.since, strict=True)
    )


def _kind(before: Tier, tier: Tier) -> ChangeKind:
    if not before:
        return ChangeKind.RAISED
    if not tier:
        return ChangeKind.CLEARED
    return ChangeKind.ROSE if tier > before else ChangeKind.FELL


def _direction(rule: Rule) -> Direction:
    match rule.condition:
        case Threshold():
            return rule.condition.direction
        case Derived() | Grouped():
            return rule.condition.threshold.direction
        case State() | Bits():
            return Direction.STATE
        case Silence():
            return Direction.STALE
