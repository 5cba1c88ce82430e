"""The rules' semantics once more, one reading and one limit at a time: slow, and plain to see.

Written from the text of the semantics and sharing no code with the service: what it says of a
stream is what evaluation must say, however the stream was cut.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

NO_TIME = None
DAY_US = 86_400 * 1_000_000


@dataclass(frozen=True)
class OracleRule:
    """One rule at one point."""

    name: str
    point: int
    direction: str  # high, low, state, stale, bits
    limits: dict[int, float]  # tier to limit; of stale: seconds of silence
    deadband: float = 0.0
    on_delay_us: int = 0
    off_delay_us: int = 0
    opens_s: int | None = None  # seconds after midnight, eight hours east of Greenwich, each day
    closes_s: int = 0
    measure: Callable[[Sequence[tuple[int, float]]], float | None] | None = None
    """Of all readings of the point up to one, by rising time; None: it says nothing."""
    members: tuple[int, ...] = ()
    """Points of a group; `point` carries its alarms."""
    gather: Callable[[dict[int, tuple[float, float]]], float | None] | None = None
    """Of (age in s, value) of each member that had a last word."""

    def looks(self, at: int) -> bool:
        return self.opens_s is None or self.next_opening(at) == at

    def next_opening(self, at: int) -> int:
        """`at` if it lies in the hours, else when they next begin."""
        if self.opens_s is None:
            return at
        of_day = (at + 8 * 3600 * 1_000_000) % DAY_US
        opens = self.opens_s * 1_000_000
        length = (self.closes_s * 1_000_000 - opens) % DAY_US
        return at if (of_day - opens) % DAY_US < length else at + (opens - of_day) % DAY_US

    def counts_from(self, at: int) -> int:
        opened = self.next_opening(at)
        if self.opens_s is None or (
            self.looks(opened + self.on_delay_us)
            and (self.on_delay_us < (self.closes_s - self.opens_s) % 86_400 * 1_000_000)
        ):
            return opened
        while self.looks(opened):  # too late in these hours: in the next
            opened += 1_000_000 - opened % 1_000_000
        return self.next_opening(opened)

    def enters(self, tier: int, value: float) -> bool:
        limit = self.limits[tier]
        return {
            "high": value >= limit,
            "low": value <= limit,
            "state": value == limit,
            "bits": int(value) & int(limit) != 0,
        }[self.direction]

    def leaves(self, tier: int, value: float) -> bool:
        limit = self.limits[tier]
        return {
            "high": value < limit - self.deadband,
            "low": value > limit + self.deadband,
            "state": value != limit,
            "bits": int(value) & int(limit) == 0,
        }[self.direction]


@dataclass(frozen=True)
class OracleChange:
    """What is compared."""

    rule: str
    point: int
    kind: str
    before: int
    tier: int
    value: float
    limit: float
    changed_at: int
    raised_at: int
    late: bool


@dataclass
class _Signal:
    holds: dict[int, bool]
    since: dict[int, int | None]
    tier: int = 0
    raised_at: int = 0
    late: bool = False
    """Old data raised the alarm that stands."""
    worst: int = 0
    """Tier that alarm has had."""
    finds: list[tuple[int, int, int]] = field(default_factory=list)


class Oracle:
    """Takes readings in the order they are to be evaluated, and ticks."""

    def __init__(self, rules: Iterable[OracleRule], registered_at: dict[int, int]) -> None:
        self.rules = list(rules)
        self.registered_at = registered_at
        self.newest: dict[int, tuple[int, float, bool]] = {}
        self.history: dict[int, dict[int, float]] = {}
        self.heard: dict[int, int] = {}
        self.changes: list[OracleChange] = []
        self.signals = {
            (rule.name, rule.point): _Signal(
                dict.fromkeys(rule.limits, False), dict.fromkeys(rule.limits, NO_TIME)
            )
            for rule in self.rules
        }

    def batch(self, readings: Iterable[tuple[int, int, int, float, bool, bool]]) -> None:
        """(point, observed, received, value, bad, backfill) of one batch, in order of receipt."""
        heard = [each for each in readings if not each[4] and math.isfinite(each[3])]
        spoken: set[int] = set()
        for point, _, received, _, _, backfill in heard:
            if point not in spoken:
                self._speak(point, received, backfill)
            spoken.add(point)
        for point, _, received, _, _, _ in heard:
            self.heard[point] = max(received, self.heard.get(point, received))
        for rule in self.rules:
            if rule.gather is not None:
                self._gather(rule, heard)
        for point in spoken & self.newest.keys():
            newest = self.newest[point][0]
            late = {at: value for one, at, _, value, _, _ in heard if one == point and at < newest}
            if late:
                self._look_back(point, late)
        for point, observed, _, value, _, backfill in sorted(heard, key=lambda each: each[:2]):
            self._take(point, observed, value, backfill)

    def tick(self, now: int, deaf_until: int = 0) -> None:
        for rule in self.rules:
            signal = self.signals[rule.name, rule.point]
            if rule.direction == "stale":
                ((tier, limit_s),) = rule.limits.items()
                last = max(self.heard.get(rule.point, 0), self.registered_at[rule.point])
                due = max(last, deaf_until) + int(limit_s * 1_000_000)
                if now > due and not signal.tier:
                    self._tell(rule, signal, tier, (due - last) / 1_000_000, due, False)
            elif rule.gather is not None:
                words = {each: self.newest[each] for each in rule.members if each in self.newest}
                if words and not self._newest_of(rule, words)[2]:
                    self._let_group_delays_end(rule, signal, now, words)
            elif rule.point in self.newest and not self.newest[rule.point][2]:
                self._let_delays_end(rule, signal, now)

    def _speak(self, point: int, received: int, backfill: bool) -> None:
        for rule in self.rules:
            signal = self.signals[rule.name, rule.point]
            if rule.point == point and rule.direction == "stale" and signal.tier:
                last = max(self.heard.get(point, 0), self.registered_at[point])
                self._tell(rule, signal, 0, (received - last) / 1_000_000, received, backfill)

    def _said(self, rule: OracleRule, at: int) -> float | None:
        """What a measure says at a reading; late ones are in their place from when they came."""
        assert rule.measure is not None
        known = self.history[rule.point]
        return rule.measure([(each, known[each]) for each in sorted(known) if each <= at])

    def _stood(self, rule: OracleRule) -> float:
        """What the rule compared last, of what has been taken so far."""
        if rule.measure is None:
            return self.newest[rule.point][1]
        newest = self.newest[rule.point][0]
        times = [at for at in sorted(self.history[rule.point], reverse=True) if at <= newest]
        said = (self._said(rule, at) for at in times)
        return next(each for each in said if each is not None)

    def _take(self, point: int, at: int, value: float, backfill: bool) -> None:
        self.history.setdefault(point, {})[at] = value
        late = point in self.newest and at < self.newest[point][0]
        for rule in self.rules:
            if rule.point != point or rule.direction == "stale" or rule.gather is not None:
                continue
            signal = self.signals[rule.name, point]
            if late:
                if rule.measure is None:
                    self._take_late(rule, signal, at, value)
                continue
            if point in self.newest:
                self._let_delays_end(rule, signal, at)
            compared = value if rule.measure is None else self._said(rule, at)
            if compared is None:
                continue
            for tier in rule.limits:
                self._move(rule, signal, tier, at, compared)
            self._tell(rule, signal, self._worst(signal), compared, at, backfill)
        if not late:
            self.newest[point] = at, value, backfill

    def _move(self, rule: OracleRule, signal: _Signal, tier: int, at: int, value: float) -> None:
        if not signal.holds[tier]:
            if not rule.enters(tier, value):
                signal.since[tier] = NO_TIME
                return
            if signal.since[tier] is NO_TIME:
                signal.since[tier] = rule.counts_from(at)
            if at - signal.since[tier] >= rule.on_delay_us:
                signal.holds[tier], signal.since[tier] = True, NO_TIME
        else:
            if signal.tier and at < signal.raised_at:
                return  # on its way as the clock raised it
            if rule.looks(at) and not rule.leaves(tier, value):
                signal.since[tier] = NO_TIME
                return
            if signal.since[tier] is NO_TIME:
                signal.since[tier] = at
            if at - signal.since[tier] >= rule.off_delay_us:
                signal.holds[tier], signal.since[tier] = False, NO_TIME
                if rule.enters(tier, value):  # its hours are over, and the value stands
                    signal.since[tier] = rule.counts_from(at)

    def _gather(
        self, rule: OracleRule, heard: Sequence[tuple[int, int, int, float, bool, bool]]
    ) -> None:
        """At each instant at which members speak: what is made of the last words of all."""
        signal = self.signals[rule.name, rule.point]
        words = {each: self.newest[each] for each in rule.members if each in self.newest}
        spoken = [each for each in heard if each[0] in rule.members]
        for at in sorted({each[1] for each in spoken}):
            before = dict(words)
            news = [
                each for each in spoken
                if each[1] == at and (each[0] not in words or words[each[0]][0] <= at)
            ]  # fmt: skip
            for point, _, _, value, _, backfill in news:
                words[point] = at, value, backfill
            if not news:
                continue
            now, _, late = self._newest_of(rule, words)
            said = self._made(rule, words)
            worst = max((t for t in rule.limits if said is not None and rule.enters(t, said)),
                        default=0)  # fmt: skip
            if said is not None and signal.tier > worst and signal.raised_at >= now:
                continue
            if before:
                self._let_group_delays_end(rule, signal, now, before)
            if said is None:
                continue
            for tier in rule.limits:
                self._move(rule, signal, tier, now, said)
            self._tell(rule, signal, self._worst(signal), said, now, late)

    @staticmethod
    def _newest_of(
        rule: OracleRule, words: dict[int, tuple[int, float, bool]]
    ) -> tuple[int, float, bool]:
        return max((words[m] for m in rule.members if m in words), key=lambda each: each[0])

    @staticmethod
    def _made(rule: OracleRule, words: dict[int, tuple[int, float, bool]]) -> float | None:
        assert rule.gather is not None
        now = max(at for at, _, _ in words.values())
        return rule.gather(
            {each: ((now - at) / 1e6, value) for each, (at, value, _) in words.items()}
        )

    def _let_group_delays_end(
        self,
        rule: OracleRule,
        signal: _Signal,
        until: int,
        words: dict[int, tuple[int, float, bool]],
    ) -> None:
        made, late = self._made(rule, words), self._newest_of(rule, words)[2]
        self._end_delays(rule, signal, until, math.nan if made is None else made, late)

    def _let_delays_end(self, rule: OracleRule, signal: _Signal, until: int) -> None:
        """What stands tells: late if it came as old data."""
        running = any(
            since is not NO_TIME and not signal.holds[tier] for tier, since in signal.since.items()
        )
        if running:
            self._end_delays(rule, signal, until, self._stood(rule), self.newest[rule.point][2])

    def _end_delays(
        self, rule: OracleRule, signal: _Signal, until: int, stood: float, late: bool
    ) -> None:
        ends = {
            since + rule.on_delay_us
            for tier, since in signal.since.items()
            if since is not NO_TIME and not signal.holds[tier]
        }
        for end in sorted(ends):
            if end > until:
                break
            for tier, since in list(signal.since.items()):
                running = since is not NO_TIME and not signal.holds[tier]
                if running and since + rule.on_delay_us == end:
                    signal.holds[tier], signal.since[tier] = True, NO_TIME
            self._tell(rule, signal, self._worst(signal), stood, end, late)

    def _take_late(self, rule: OracleRule, signal: _Signal, at: int, value: float) -> None:
        entered = [tier for tier in rule.limits if rule.enters(tier, value)]
        if rule.on_delay_us or signal.tier or not entered or not rule.looks(at):
            return
        tier, (until, newest_value, _) = max(entered), self.newest[rule.point]
        for raised, ended, worst in signal.finds:
            if raised <= at <= ended and tier <= worst:
                return
        self._tell(rule, signal, tier, value, at, True)
        self._tell(rule, signal, 0, newest_value, until, True)

    def _look_back(self, point: int, late: dict[int, float]) -> None:
        """At each instant from the first late one on, what is said with them and without."""
        old = self.history[point]
        known = self.history[point] = old | late
        for rule in self.rules:
            signal = self.signals[rule.name, rule.point]
            if rule.point != point or rule.measure is None or rule.on_delay_us:
                continue
            for at in sorted(known):
                if not min(late) <= at < self.newest[point][0] or signal.tier or not rule.looks(at):
                    continue
                was, said = (
                    rule.measure(past) if (past := [e for e in sorted(all_.items()) if e[0] <= at])
                    else None
                    for all_ in (old, known)
                )  # fmt: skip
                tier, before = (
                    max((t for t in rule.limits if one is not None and rule.enters(t, one)),
                        default=0)
                    for one in (said, was)
                )  # fmt: skip
                told = any(r <= at <= e and tier <= worst for r, e, worst in signal.finds)
                if tier > before and not told:
                    assert said is not None
                    self._tell(rule, signal, tier, said, at, True)
                    self._tell(rule, signal, 0, self._stood(rule), self.newest[point][0], True)

    @staticmethod
    def _worst(signal: _Signal) -> int:
        return max((tier for tier, holds in signal.holds.items() if holds), default=0)

    def _tell(
        self, rule: OracleRule, signal: _Signal, tier: int, value: float, at: int, late: bool
    ) -> None:
        held = any(signal.holds[each] and signal.since[each] is NO_TIME for each in rule.limits)
        if signal.tier and tier and signal.late and not late and held and at > signal.raised_at:
            # Old data raised it, and nobody was alarmed: what is said live holds it.
            self._tell(rule, signal, 0, value, at, late)
        before = signal.tier
        if tier == before:
            return
        if not before:
            kind, signal.raised_at, signal.late, signal.worst = "raised", at, late, 0
        else:
            kind = "cleared" if not tier else "rose" if tier > before else "fell"
        signal.tier = tier
        signal.worst = max(signal.worst, tier)
        changed = max(at, signal.raised_at)
        if kind == "cleared" and signal.late:
            signal.finds.append((signal.raised_at, changed, signal.worst))
        limit = rule.limits[tier or before]
        self.changes.append(
            OracleChange(
                rule.name,
                rule.point,
                kind,
                before,
                tier,
                value,
                limit,
                changed,
                signal.raised_at,
                late,
            )
        )
