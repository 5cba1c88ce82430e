"""What a look at its value and its time tells of a reading, and the reject for what is wrong."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from hazardloop.devices import wire
from hazardloop.devices.readings import NEVER, Bools, Flags, Floats, Quality, Rows, Times
from hazardloop.devices.registry import Registry
from hazardloop.devices.wire import PayloadRefused, Reason, Sample, Value

FUTURE_TOLERANCE_US: Final = 5 * 60 * 1_000_000
"""A reading further ahead of its receipt is quarantined."""
OLDEST_US: Final = 30 * 86_400 * 1_000_000
"""A reading further behind its receipt is refused."""
CLOCK_SET_FROM_US: Final = 1_420_070_400 * 1_000_000
"""2015-01-01T00:00Z: a clock that says less was never set."""
CLOCK_SET_UNTIL_US: Final = 4_102_444_800 * 1_000_000
"""2100-01-01T00:00Z."""
SOURCE_QUALITY: Final = {
    None: Quality(0),
    "good": Quality(0),
    "uncertain": Quality.SOURCE_UNCERTAIN,
    "bad": Quality.SOURCE_BAD,
}
NAMED_IN_DETAIL: Final = 5
"""Readings that a reject names before it only counts."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Something of one message that was refused or set aside."""

    message: int
    reason: Reason
    detail: str
    readings: int = 1
    """How many readings it concerns; 0 where the message could not be read so far."""


def time_said(ts: int | float | str | None) -> int | None:
    """Microseconds; NEVER where there is none; None where it cannot be read."""
    if ts is None:
        return NEVER
    try:
        return wire.microseconds(ts)
    except PayloadRefused:
        return None


def values_said(
    said: list[Value],
    row: Rows,
    observed_at: Times,
    quality: Flags,
    message: Rows,
    registry: Registry,
    rejects: list[Reject],
) -> tuple[Floats, Bools]:
    """The values as numbers, and which of them are of a type that their point does not take.

    `observed_at` and `quality` are set where a sample brings its own.
    """
    kinds = set(map(type, said))
    misfit = np.zeros(len(said), np.bool_)
    if Sample in kinds:
        said = said.copy()
        for at, sample in enumerate(said):
            if isinstance(sample, Sample):
                complaint = _open_sample(at, sample, observed_at, quality)
                said[at] = sample.v
                if complaint:
                    misfit[at] = True
                    rejects.append(Reject(int(message[at]), Reason.BAD_SHAPE, complaint))
        kinds = set(map(type, said))
    if bool in kinds:
        truth = np.fromiter((type(value) is bool for value in said), np.bool_, len(said))
        wrong = truth & ~registry.boolean[row]
        misfit |= wrong
        for at in np.flatnonzero(wrong).tolist():
            code = registry.points[row[at]].code
            detail = f"{code}: {said[at]} given where a number is wanted"
            rejects.append(Reject(int(message[at]), Reason.BAD_SHAPE, detail))
    return np.array(said, np.float64), misfit


def _open_sample(at: int, sample: Sample, observed_at: Times, quality: Flags) -> str | None:
    """What is wrong with a sample; sets its own time and quality."""
    if sample.q not in SOURCE_QUALITY:
        return f"q: {sample.q!r:.40} is none of good, uncertain, bad"
    quality[at] |= SOURCE_QUALITY[sample.q]
    if sample.ts is not None:
        own = time_said(sample.ts)
        if own is None:
            return f"ts: {sample.ts!r:.40} is not milliseconds since 1970 or RFC 3339 with offset"
        observed_at[at] = own
    return None


def judge_times(
    row: Rows,
    observed_at: Times,
    received: Times,
    quality: Flags,
    message: Rows,
    registry: Registry,
    rejects: list[Reject],
) -> Bools:
    """Which readings may be stored by their time; others are quarantined, some get a stand-in."""
    absent = observed_at == NEVER
    if absent.any():
        observed_at[absent] = received[absent]
        quality[absent] |= Quality.NO_TIMESTAMP
    ahead = observed_at - received
    if not ((ahead > FUTURE_TOLERANCE_US) | (ahead < -OLDEST_US)).any():
        return np.ones(len(row), np.bool_)
    unset = (observed_at < CLOCK_SET_FROM_US) | (observed_at >= CLOCK_SET_UNTIL_US)
    future = (ahead > FUTURE_TOLERANCE_US) & ~unset
    old = (ahead < -OLDEST_US) & ~unset
    for which, reason, text in (
        (unset & (ahead > 0), Reason.FUTURE_TS, "clock not set; stored at the time of receipt"),
        (unset & (ahead < 0), Reason.TOO_OLD, "clock not set; stored at the time of receipt"),
        (future, Reason.FUTURE_TS, "more than 5 min ahead; set aside"),
        (old, Reason.TOO_OLD, "more than 30 days ago; not stored"),
    ):
        for at in np.flatnonzero(which):
            detail = f"{registry.points[row[at]].code}: {_shown(observed_at[at])}: {text}"
            rejects.append(Reject(int(message[at]), reason, detail))
    observed_at[unset] = received[unset]
    quality[unset] |= Quality.CLOCK_UNSET
    return ~(future | old)


def judge_values(
    row: Rows,
    value: Floats,
    quality: Flags,
    message: Rows,
    keep: Bools,
    registry: Registry,
    rejects: list[Reject],
) -> None:
    """Flags values that are none, or that cannot be; both are stored, as bad."""
    odd = ~((value >= registry.low[row]) & (value <= registry.high[row])) & keep
    for at in np.flatnonzero(odd):
        point = registry.points[row[at]]
        if np.isfinite(value[at]):
            quality[at] |= Quality.OUT_OF_RANGE
            detail = (
                f"{point.code}: {value[at]:g} outside {point.low:g}..{point.high:g} {point.unit}"
            )
            rejects.append(
                Reject(int(message[at]), Reason.OUT_OF_RANGE, detail + "; stored as bad")
            )
        else:
            quality[at] |= Quality.NOT_A_NUMBER
            detail = f"{point.code}: {value[at]} is no value; stored as bad"
            rejects.append(Reject(int(message[at]), Reason.BAD_SHAPE, detail))
            value[at] = np.nan


def by_message_and_reason(rejects: Iterable[Reject]) -> list[Reject]:
    """One reject for each message and reason, in their order; it names the first few readings."""
    by_reason: dict[tuple[int, Reason], list[Reject]] = {}
    for reject in sorted(rejects, key=lambda reject: reject.message):
        by_reason.setdefault((reject.message, reject.reason), []).append(reject)
    return [
        Reject(message, reason, listed([one.detail for one in same]),
               sum(one.readings for one in same))
        for (message, reason), same in by_reason.items()
    ]  # fmt: skip


def listed(details: Sequence[str]) -> str:
    more = len(details) - NAMED_IN_DETAIL
    return "; ".join(details[:NAMED_IN_DETAIL]) + (f"; and {more} more" if more > 0 else "")


def _shown(at_us: int) -> str:
    return str(np.datetime64(int(at_us), "us")) + "Z"
