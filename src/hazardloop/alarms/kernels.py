"""What rules compute: over whole columns where every reading passes, limit by limit where few do.

A reading that leaves the calm band of its point may change something and is walked through the
point's limits one by one; all others are proven, in one comparison per column, to change nothing.
"""

import math
from collections.abc import Iterable, Iterator

import numpy as np

from hazardloop.alarms.watch import Limit, Signal, Watch, worst_held
from hazardloop.devices.readings import BAD, NEVER, Bools, Flags, Floats, Times


def usable(value: Floats, quality: Flags) -> Bools:
    """Which readings say anything: finite and not bad.

    Args:
        value: (n,) in each point's unit; NaN and infinities say nothing.
        quality: (n,) bits of `Quality`.
    Returns: (n,).
    """
    good: Bools = (quality & int(BAD)) == 0
    return good & np.isfinite(value)


def stirring(value: Floats, calm_low: Floats | float, calm_high: Floats | float) -> Bools:
    """Which readings may change what is remembered of their point.

    Args:
        value: (n,) in each point's unit, finite.
        calm_low: (n,) or one for all, same unit; -inf = nothing below it matters; +inf = every
            reading may matter.
        calm_high: (n,) same unit.
    Returns: (n,); False is a promise, True a suspicion.
    """
    return (value <= calm_low) | (value >= calm_high)


def silent_from(
    heard_at: Times, registered_at: Times, deaf_until_us: int, limit_us: Times
) -> Times:
    """When each point has been silent for too long, unless it is heard before.

    Args:
        heard_at: (n,) us, receipt of the newest usable reading; NEVER = none yet.
        registered_at: (n,) us; nobody can be missed before.
        deaf_until_us: until then nobody listened, so nobody is blamed.
        limit_us: (n,) allowed silence.
    Returns: (n,) us.
    """
    return np.maximum(np.maximum(heard_at, registered_at), deaf_until_us) + limit_us


def calm_band(watched: Iterable[tuple[Watch, Signal | None]]) -> tuple[float, float]:
    """The open span of values that change nothing at a point; empty (inf, -inf) if any might.

    Args:
        watched: all rules at the point, each with what is remembered of it (None = at rest).
    """
    low, high = -math.inf, math.inf
    for watch, signal in watched:
        if signal is None:
            low, high = max(low, watch.calm_low), min(high, watch.calm_high)
            continue
        if _restless(watch, signal):
            return math.inf, -math.inf
        for limit, holds in zip(watch.limits, signal.holds, strict=True):
            calm_low, calm_high = span_kept(limit) if holds else span_not_entered(limit)
            low, high = max(low, calm_low), min(high, calm_high)
    return low, high


def span_kept(limit: Limit) -> tuple[float, float]:
    """The open span of values with which a limit that holds goes on holding."""
    return math.nextafter(limit.stay_low, -math.inf), math.nextafter(limit.stay_high, math.inf)


def span_not_entered(limit: Limit) -> tuple[float, float]:
    """An open span of values that do not enter a limit."""
    if limit.enter_high == math.inf:
        return -math.inf, limit.enter_low
    if limit.enter_low == -math.inf:
        return limit.enter_high, math.inf
    # A state leaves two sides; the one with 0 is where a value mostly rests.
    above = limit.enter_low <= 0
    return (limit.enter_high, math.inf) if above else (-math.inf, limit.enter_low)


def _restless(watch: Watch, signal: Signal) -> bool:
    """Whether any reading at all may change it, whatever its value."""
    if signal.alarm is not None and signal.alarm.late:
        return True  # the next word that is live confirms it
    told = signal.alarm.tier if signal.alarm else 0
    if signal.pending or told != worst_held(watch, signal):
        return True  # a delay runs, or its alarm says another tier
    return any(signal.holds) and (watch.bits is not None or watch.hours is not None)


def let_time_pass(watch: Watch, signal: Signal, until_us: int) -> Iterator[int]:
    """Let every on-delay that ends by then end; yields the data time of each, in order.

    The last known value stood until then (zero-order hold), so a limit that it entered holds from
    the end of the delay on, whatever comes next. `signal` is changed before each yield.
    """
    while (due_us := next_due(watch, signal)) is not None and due_us <= until_us:
        for nth, since_us in enumerate(signal.since):
            if not signal.holds[nth] and since_us == due_us - watch.on_delay_us:
                signal.holds[nth] = True
                signal.since[nth] = NEVER
        yield due_us


def next_due(watch: Watch, signal: Signal) -> int | None:
    """Data time at which the next on-delay ends if no reading comes; None = none runs."""
    running = [
        since_us
        for holds, since_us in zip(signal.holds, signal.since, strict=True)
        if not holds and since_us != NEVER
    ]
    return min(running) + watch.on_delay_us if running else None


def take_value(watch: Watch, signal: Signal, at_us: int, value: float) -> None:
    """Change `signal` by one usable reading, no older than the last one it took.

    A limit that does not hold is entered at or beyond it and holds once entered for the on-delay.
    One that holds is left beyond its deadband and ends at a reading that is still beyond it after
    the off-delay: silence is not recovery. On-delays that ended before are to be passed first.
    Outside its hours a rule is left, and a value that is beyond a limit then waits for them. A
    reading older than the raise, on its way when the clock ended the delay, is no end of the alarm.
    Source: deadband and delays, IEC 62682.
    """
    older = signal.alarm is not None and at_us < signal.alarm.raised_us
    looks, compared = watch.looks(at_us), watch.compared(value)
    for nth, limit in enumerate(watch.limits):
        entered = limit.enter_low <= compared <= limit.enter_high
        if signal.holds[nth] and (older or not _left(watch, signal, nth, at_us, compared, looks)):
            continue
        if not entered:
            signal.since[nth] = NEVER
            continue
        if signal.since[nth] == NEVER:
            signal.since[nth] = watch.begins(at_us)
        if at_us - signal.since[nth] >= watch.on_delay_us:
            signal.holds[nth] = True
            signal.since[nth] = NEVER


def _left(watch: Watch, signal: Signal, nth: int, at_us: int, compared: float, looks: bool) -> bool:
    """Whether a limit that held is left by this reading; `signal` is changed."""
    limit = watch.limits[nth]
    if looks and limit.stay_low <= compared <= limit.stay_high:
        signal.since[nth] = NEVER
        return False
    if signal.since[nth] == NEVER:
        signal.since[nth] = at_us
    if at_us - signal.since[nth] < watch.off_delay_us:
        return False
    signal.holds[nth], signal.since[nth] = False, NEVER
    return True
