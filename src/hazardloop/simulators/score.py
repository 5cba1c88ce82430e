"""How well a service did: what had to be raised against what was."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np

from hazardloop.simulators.logbook import TruthRecord
from hazardloop.simulators.scenario_file import Thresholds

SLACK_S: Final = 0.5
"""Milliseconds are cut off on the way, and a machine may be busy for a moment."""


@dataclass(frozen=True, slots=True)
class SeenAlarm:
    """An alarm as the API tells it; instants in seconds since the Unix epoch."""

    enterprise: str
    gateway: str
    point: str
    rule: str
    tier: str
    stale: bool
    raised_s: float
    recorded_s: float


@dataclass(frozen=True, slots=True)
class Score:
    """The figures of one run; a share is 1 where there was nothing to get wrong."""

    expected: int
    found: int
    missed: tuple[str, ...]
    """Points whose alarm is missing, or has another tier."""
    alarms: int
    unexpected: tuple[str, ...]
    """Points of alarms that nothing explains."""
    duplicates: int
    recall: float
    precision: float
    delay_p50_s: float | None
    """From the first moment at which an alarm could be raised to its being recorded."""
    delay_p99_s: float | None
    lost: int
    extra: int

    def shortfalls(self, least: Thresholds) -> list[str]:
        """Each threshold that was not reached, in a line."""
        checks = (
            (self.recall >= least.recall, f"recall {self.recall:.4f}"),
            (
                self.precision >= least.precision,
                f"precision {self.precision:.4f}",
            ),
            ((self.delay_p99_s or 0.0) <= least.delay_p99_s, f"delay_p99_s {self.delay_p99_s}"),
            (self.duplicates <= least.duplicates, f"duplicates {self.duplicates}"),
            (self.lost <= least.lost, f"lost readings {self.lost}"),
            (self.extra <= least.extra, f"extra readings {self.extra}"),
        )
        return [complaint for reached, complaint in checks if not reached]


def score(
    truths: Iterable[TruthRecord],
    alarms: Sequence[SeenAlarm],
    ended_s: float,
    silent: frozenset[str] = frozenset(),
    stored: Mapping[str, tuple[int, int]] | None = None,
) -> Score:
    """The score of a run that ended at `ended_s`.

    An alarm whose time had not come by then need not be there, but may. Alarms about silence at the
    gateways `silent`, which a fault took offline, count neither way.

    Args:
        truths: what had to be raised.
        alarms: those of the run's gateways, raised while it ran.
        ended_s: seconds since the Unix epoch.
        silent: `enterprise/gateway`.
        stored: point to (readings acknowledged, readings found), for some of the points.
    """
    counted = [a for a in alarms if not (a.stale and f"{a.enterprise}/{a.gateway}" in silent)]
    explained: set[int] = set()
    delays: list[float] = []
    missed: list[str] = []
    expected = found = duplicates = 0
    for truth in truths:
        matching = [n for n, alarm in enumerate(counted) if _fits(truth, alarm)]
        explained.update(matching)
        duplicates += max(0, len(matching) - 1)
        if _seconds(truth["latest"]) > ended_s:
            continue
        expected += 1
        settled = _seconds(truth["cleared_from"]) <= ended_s
        if matching and (counted[matching[0]].tier == truth["tier"] or not settled):
            found += 1
            delays.append(counted[matching[0]].recorded_s - _seconds(truth["earliest"]))
        else:
            missed.append(truth["point"])
    unexpected = tuple(a.point for n, a in enumerate(counted) if n not in explained)
    differences = [after - before for before, after in (stored or {}).values()]
    return Score(
        expected=expected,
        found=found,
        missed=tuple(missed),
        alarms=len(counted),
        unexpected=unexpected,
        duplicates=duplicates,
        recall=found / expected if expected else 1.0,
        precision=1.0 - (len(unexpected) + duplicates) / len(counted) if counted else 1.0,
        delay_p50_s=_percentile(delays, 50),
        delay_p99_s=_percentile(delays, 99),
        lost=sum(-difference for difference in differences if difference < 0),
        extra=sum(difference for difference in differences if difference > 0),
    )


def seen_alarm(found: Mapping[str, Any], gateways: Mapping[str, str]) -> SeenAlarm:
    """An alarm of `GET /alarms`; `gateways` gives the gateway of a device."""
    return SeenAlarm(
        enterprise=found["enterprise"]["code"],
        gateway=gateways.get(found["device"]["code"], ""),
        point=found["point"]["code"],
        rule=found["rule"]["id"],
        tier=found["tier"],
        stale=found["direction"] == "stale",
        raised_s=_seconds(found["raised_at"]),
        recorded_s=_seconds(found["recorded_at"]),
    )


def _fits(truth: TruthRecord, alarm: SeenAlarm) -> bool:
    same = (alarm.enterprise, alarm.point, alarm.rule) == (
        truth["enterprise"],
        truth["point"],
        truth["rule"],
    )
    earliest, latest = _seconds(truth["earliest"]), _seconds(truth["latest"])
    return same and earliest - SLACK_S <= alarm.raised_s <= latest + SLACK_S


def _seconds(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()


def _percentile(values: list[float], share: float) -> float | None:
    return round(float(np.percentile(values, share)), 3) if values else None
