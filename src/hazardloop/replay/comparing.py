"""What a replay says of rules: how often they alarm, and against others what is lost and gained."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from hazardloop.alarms import health
from hazardloop.alarms.alarm import Tier
from hazardloop.alarms.rule_watches import US_PER_S
from hazardloop.devices.instants import rfc3339, utc
from hazardloop.devices.readings import Bools, Floats, Rows, Times
from hazardloop.replay.episodes import STANDS, Episodes
from hazardloop.replay.run import Span

HOUR_US: Final = 3_600 * US_PER_S
SHIFT_H: Final = 8
"""Hours of a shift."""
NAMED: Final = 50
"""Episodes that are listed one by one; of the others only the number is told."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Alarms that people gave a verdict on: equal-length columns."""

    point_id: Rows
    from_us: Times
    to_us: Times
    """STANDS = it is still active."""
    real: Bools
    """True: something was there; False: a false alarm."""


@dataclass(frozen=True, slots=True)
class Period:
    """What is counted, and by how many it is dealt with."""

    span: Span
    tz: str
    seats: int
    """Operator positions that share the load."""

    @property
    def hours(self) -> float:
        """How long it is."""
        return (self.span.end_us - self.span.start_us) / HOUR_US


def load_of(found: Episodes, period: Period) -> dict[str, Any]:
    """How often one set of rules alarms in a period.

    Counted is what was raised in it by live data: what a gateway had kept rang nobody up.
    """
    inside = raised_in(found, period.span)
    heard = found.take(inside & ~found.late)
    n, hours = len(heard), period.hours
    tiers = np.bincount(heard.tier, minlength=len(Tier))
    chattering = _chattering(heard)
    return {
        "alarms": n,
        "per_day": round(24 * n / hours, 3),
        "per_operator_hour": round(n / hours / period.seats, 4),
        "per_shift": round(SHIFT_H * n / hours / period.seats, 3),
        "tiers": {tier.wire: int(tiers[tier]) for tier in reversed(Tier) if tier},
        "days": _days(heard.raised_us, period.tz),
        "chattering": {"sources": chattering[0], "alarms": chattering[1]},
        "points": len(np.unique(heard.point_id)),
        "found_late": int(np.count_nonzero(inside & found.late)),
        "standing_before": int(np.count_nonzero(found.raised_us < period.span.start_us)),
    }


def raised_in(found: Episodes, span: Span) -> Bools:
    """(n,) which were raised in the period."""
    inside: Bools = (found.raised_us >= span.start_us) & (found.raised_us < span.end_us)
    return inside


def _chattering(heard: Episodes) -> tuple[int, int]:
    """How many (rule, point) chattered, and how many alarms they raised."""
    key = heard.rule.astype(np.int64) << 32 | heard.point_id
    sources, source = np.unique(key, return_inverse=True)
    if not len(sources):
        return 0, 0
    cleared = np.where(heard.cleared_us == STANDS, 0, heard.cleared_us)
    unread = np.zeros(len(heard), np.bool_)
    history = health.History(heard.raised_us, cleared, unread, source.astype(np.int32), heard.tier)
    chatters = health.chattering(history)
    return int(chatters.sum()), int(chatters[source].sum())


def _days(raised_us: Times, tz: str) -> list[dict[str, Any]]:
    """Alarms of each local day that had any."""
    zone = ZoneInfo(tz)
    hours, counts = np.unique(raised_us // HOUR_US, return_counts=True)
    days: dict[str, int] = {}
    for hour, count in zip(hours.tolist(), counts.tolist(), strict=True):
        day = datetime.fromtimestamp(hour * 3_600, zone).date().isoformat()
        days[day] = days.get(day, 0) + count
    return [{"day": day, "alarms": count} for day, count in sorted(days.items())]


def first_at_once(of: tuple[Rows, Times, Times], found: Episodes) -> Rows:
    """(m,) place in `found` of the earliest raised that stands at a time of each; -1 = none does.

    Args:
        of: (m,) points, from when and until when (us).
        found: of any rules; only those of the same point are looked at.
    """
    point_id, from_us, to_us = of
    order = np.lexsort((found.raised_us, found.point_id))
    points, raised = found.point_id[order], found.raised_us[order]
    place = np.full(len(point_id), -1, np.int32)
    for point in np.unique(point_id).tolist():
        first, last = points.searchsorted([point, point + 1])
        if first == last:
            continue
        # Of those raised so far, the latest end: the first that reaches an instant stands at it.
        until = np.maximum.accumulate(found.cleared_us[order[first:last]])
        here = np.flatnonzero(point_id == point)
        nth = until.searchsorted(from_us[here])
        there = nth < last - first
        there[there] = raised[first + nth[there]] <= to_us[here[there]]
        place[here[there]] = order[first + nth[there]]
    return place


def compared(today: Episodes, candidate: Episodes, span: Span) -> dict[str, Any]:
    """Episodes that only one of two sets of rules has, by point and overlapping time.

    `added_delay_s`: of those that both have, how much later the candidate tells; less than 0 =
    sooner.
    """
    was, new = (each.take(raised_in(each, span)) for each in (today, candidate))
    met = first_at_once(_when(was), candidate)
    known = first_at_once(_when(new), today)
    kept = met >= 0
    later_s = (candidate.raised_us[met[kept]] - was.raised_us[kept]) / US_PER_S
    return {
        "today": len(was),
        "candidate": len(new),
        "kept": int(kept.sum()),
        "lost": int((~kept).sum()),
        "gained": int((known < 0).sum()),
        "added_delay_s": _spread(later_s),
        "lost_episodes": _named(was.take(~kept)),
        "gained_episodes": _named(new.take(known < 0)),
    }


def against_verdicts(judged: Judged, found: Episodes) -> dict[str, Any]:
    """What became of alarms with a verdict: real ones that would have been missed, false ones that
    would have been spared.
    """
    met = first_at_once((judged.point_id, judged.from_us, judged.to_us), found) >= 0
    real = judged.real
    later_s = _later_s(judged, found)
    return {
        "true_events": int(real.sum()),
        "missed_true_events": int((real & ~met).sum()),
        "false_alarms": int((~real).sum()),
        "spared_false_alarms": int((~real & ~met).sum()),
        "true_event_delay_s": _spread(later_s),
    }


def _later_s(judged: Judged, found: Episodes) -> Floats:
    met = first_at_once((judged.point_id, judged.from_us, judged.to_us), found)
    told = judged.real & (met >= 0)
    return (found.raised_us[met[told]] - judged.from_us[told]) / US_PER_S


def pareto(table: Sequence[dict[str, Any]]) -> list[bool]:
    """Which lines no other beats: none has fewer alarms and misses no more, or the other way."""
    costs = [(one["alarms"], one["missed_true_events"]) for one in table]
    return [
        not any(other[0] <= mine[0] and other[1] <= mine[1] and other != mine for other in costs)
        for mine in costs
    ]


def _when(of: Episodes) -> tuple[Rows, Times, Times]:
    return of.point_id, of.raised_us, of.cleared_us


def _spread(seconds: Floats) -> dict[str, float] | None:
    """Median, 95th percentile, least and most; None: there are none."""
    if not len(seconds):
        return None
    told = np.percentile(seconds, [50, 95, 0, 100], method="inverted_cdf")
    return dict(zip(("p50", "p95", "least", "most"), told.round(3).tolist(), strict=True))


def _named(some: Episodes) -> list[dict[str, Any]]:
    """The first of them, by raise."""
    order = np.lexsort((some.point_id, some.raised_us))[:NAMED].tolist()
    return [
        {
            "point_id": int(some.point_id[nth]),
            "raised_at": rfc3339(utc(int(some.raised_us[nth]))),
            "cleared_at": None
            if some.cleared_us[nth] == STANDS
            else rfc3339(utc(int(some.cleared_us[nth]))),
            "tier": Tier(int(some.tier[nth])).wire,
            "value": float(some.value[nth]),
        }
        for nth in order
    ]
