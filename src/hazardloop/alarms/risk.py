"""The four-colour risk of a unit, an enterprise, an area: from grade, open alarms and blind time.

Red, orange, yellow and blue mean two things: how great a risk is (双重预防) and how urgent a
warning is. They are two fields here, and one never stands for the other. How they are combined is
house; the colours of the grades are those in use.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from hazardloop.alarms.alarm import Tier

OF_GRADE: Final[Mapping[int | None, Tier]] = {
    1: Tier.RED,
    2: Tier.ORANGE,
    3: Tier.YELLOW,
    4: Tier.BLUE,
    None: Tier.BLUE,
}
"""Colour of a grade by GB 18218; no major hazard is of the least."""
BLIND_AFTER: Final = timedelta(minutes=30)
"""After so long without a device's word its place is one colour worse (house)."""


class Cause(StrEnum):
    """What makes a risk as great as it is."""

    GRADE = "grade"
    """Of what the unit holds, by R."""
    ALARM = "alarm"
    """An alarm that is active there."""
    BLIND = "blind"
    """Nobody sees what happens there: one colour worse than the grade."""
    PART = "part"
    """One of its units or enterprises."""


@dataclass(frozen=True, slots=True)
class Signs:
    """What is known of a place."""

    grade: int | None
    """The live grade of a unit, else the registered one."""
    warning: Tier
    """Of its worst active alarm; drills are none."""
    blind: timedelta
    """How long the device that is silent for longest has been."""


@dataclass(frozen=True, slots=True)
class Risk:
    """How great a risk is, and why."""

    colour: Tier
    causes: tuple[Cause, ...]
    """All that make it this colour."""
    warning: Tier
    """How urgent its worst active alarm is; NONE: there is none."""


def risk_of(signs: Signs) -> Risk:
    """The risk of a place by itself."""
    grade = OF_GRADE[signs.grade]
    colours = {Cause.GRADE: grade}
    if signs.warning:
        colours[Cause.ALARM] = signs.warning
    if signs.blind >= BLIND_AFTER:
        colours[Cause.BLIND] = Tier(min(grade + 1, Tier.RED))
    colour = max(colours.values())
    causes = tuple(cause for cause, of_it in colours.items() if of_it == colour)
    return Risk(colour, causes, signs.warning)


def risk_over(own: Risk, parts: Iterable[Risk]) -> Risk:
    """The risk of what has parts: its own, or that of the worst of them."""
    found = list(parts)
    colour = max([own.colour, *(part.colour for part in found)])
    warning = max([own.warning, *(part.warning for part in found)])
    causes = own.causes if own.colour == colour else ()
    if any(part.colour == colour for part in found):
        causes = (*(cause for cause in causes if cause is not Cause.GRADE), Cause.PART)
    return Risk(colour, causes, warning)
