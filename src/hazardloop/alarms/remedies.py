"""What would calm a bad actor: the least deadband or off-delay that would have merged its alarms.

Both only put off the end of an alarm, so no alarm would have begun a moment later than it did: what
is left is each first of a row of alarms, at its own time. Worked out from the episodes and the
readings between them, not by running the rule again.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from hazardloop.alarms.health import CHATTERS_AT, FLEETING_US, SECOND_US, Bools, Times
from hazardloop.devices.readings import Floats

STEPS_S: Final = (5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Off-delays that are suggested. A longer one would hide that a thing has come back; house."""
WIDEST: Final = 0.2
"""Of the limit: a wider deadband is a question for whoever set the limit; house."""
LEAST: Final = 3
"""Of fewer alarms nothing is concluded."""


class Setting(StrEnum):
    """Which part of a rule."""

    DEADBAND = "deadband"
    OFF_DELAY = "off_delay_s"


@dataclass(frozen=True, slots=True)
class Remedy:
    """A change of a rule, and what it would have come to."""

    setting: Setting
    now: float
    suggested: float
    """In the point's unit, or in seconds."""
    alarms: int
    alarms_then: int


@dataclass(frozen=True, slots=True)
class Course:
    """The alarms of one rule at one point, and what lay between them; gap i is before alarm i+1."""

    raised_us: Times
    """(n,) ascending."""
    away_s: Floats
    """(n-1,) how long the condition was normal in each gap."""
    back: Floats
    """(n-1,) how far past the limit a value came back at most, >= 0, in the point's unit; NaN =
    no reading is left."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The rule as it is."""

    off_delay_s: float
    deadband: float | None
    """None: a deadband means nothing to it."""
    widest: float = 0.0
    """A deadband must be narrower."""


def away(raised_us: Times, cleared_us: Times, on_delay_s: float, off_delay_s: float) -> Floats:
    """(n-1,) seconds that the condition was normal before each next alarm."""
    told_s = (raised_us[1:] - cleared_us[:-1]) / SECOND_US
    gaps: Floats = np.maximum(told_s + off_delay_s - on_delay_s, 0.0)
    return gaps


def suggested(course: Course, settings: Settings) -> Remedy | None:
    """The least change that halves the alarms at least and ends the chattering; None: none does.

    A deadband is preferred: an alarm then ends at a value, not some time after it.
    """
    if len(course.raised_us) < LEAST:
        return None
    return _deadband(course, settings) or _off_delay(course, settings)


def _off_delay(course: Course, settings: Settings) -> Remedy | None:
    for step in STEPS_S:
        merged = course.away_s < step
        if step > settings.off_delay_s and calms(course.raised_us, merged):
            return _remedy(course, Setting.OFF_DELAY, settings.off_delay_s, step, merged)
    return None


def _deadband(course: Course, settings: Settings) -> Remedy | None:
    if settings.deadband is None:
        return None
    for deepest in np.unique(course.back[~np.isnan(course.back)]).tolist():
        width = rounded_up(deepest)
        if width >= settings.widest:
            return None
        merged = course.back < width
        if width > settings.deadband and calms(course.raised_us, merged):
            return _remedy(course, Setting.DEADBAND, settings.deadband, width, merged)
    return None


def _remedy(course: Course, setting: Setting, now: float, then: float, merged: Bools) -> Remedy:
    alarms = len(course.raised_us)
    return Remedy(setting, now, then, alarms, alarms - int(np.count_nonzero(merged)))


def calms(raised_us: Times, merged: Bools) -> bool:
    """Whether what is left when alarms become one with those before them is half and no chatter."""
    left = raised_us[np.concatenate(([True], ~merged))]
    apart = CHATTERS_AT - 1
    chatter = bool((left[apart:] - left[:-apart] < FLEETING_US).any())
    return 2 * len(left) <= len(raised_us) and not chatter


def rounded_up(width: float) -> float:
    """A little more than `width`, in two digits."""
    if width <= 0:
        return 0.0
    step = 10.0 ** (np.floor(np.log10(width)) - 1)
    return float(f"{(np.floor(width / step + 1e-9) + 1) * step:.9g}")
