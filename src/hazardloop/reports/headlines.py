"""The figures of a report, where each stands in it, and in which of them two versions differ."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final


class Form(Enum):
    """How a value is shown."""

    TEXT = auto()
    COUNT = auto()
    SHARE = auto()
    """0..1, cut after 4 places; None: of nothing, so there is no share."""
    NUMBER = auto()
    SECONDS = auto()
    INSTANT = auto()
    """RFC 3339 in UTC; shown in the report's time zone."""


@dataclass(frozen=True, slots=True)
class Headline:
    """A figure: its word, the path to it in the contents, and which figure names its members."""

    word: str
    path: tuple[str, ...]
    form: Form
    members: str | None = None
    """As `GET /reports/{id}/members` takes it; None: they are listed in the report itself."""


def _handled(word: str, members: str | None = None, form: Form = Form.COUNT) -> Headline:
    return Headline(word, ("handling", word), form, members or word)


def _answered(word: str, members: str | None = None, form: Form = Form.COUNT) -> Headline:
    return Headline(word, ("response", word), form, members or word)


HANDLED: Final = (
    _handled("raised"),
    _handled("closed"),
    _handled("rate", "closed", Form.SHARE),
    _handled("on_time"),
    _handled("on_time_rate", "on_time", Form.SHARE),
    _handled("open"),
    _handled("returned"),
    _handled("reopened"),
    _handled("found_late"),
    _handled("drills"),
)
ANSWERED: Final = (
    _answered("responded"),
    _answered("response_rate", "responded", Form.SHARE),
    _answered("responded_enterprise"),
    _answered("responded_authority"),
    _answered("verified_30"),
    _answered("late_sign_enterprise"),
    _answered("late_sign_authority"),
    _answered("late_verify"),
    _answered("late_submit"),
    _answered("late_review"),
)
ALARM_SYSTEM: Final = (
    Headline("alarms", ("alarm_system", "alarms"), Form.COUNT),
    Headline("per_10_min", ("alarm_system", "per_10_min"), Form.NUMBER),
    Headline("peak_10_min", ("alarm_system", "peak_10_min"), Form.COUNT),
    Headline("over_10", ("alarm_system", "over_10"), Form.SHARE),
    Headline("time_in_flood", ("alarm_system", "time_in_flood"), Form.SHARE),
    Headline("top10_share", ("alarm_system", "top10_share"), Form.SHARE),
    Headline("chattering", ("alarm_system", "chattering"), Form.COUNT),
    Headline("fleeting", ("alarm_system", "fleeting"), Form.COUNT),
    Headline("stale", ("alarm_system", "stale"), Form.COUNT),
    Headline("standing", ("alarm_system", "standing"), Form.COUNT),
)
CONNECTIVITY: Final = (
    Headline("hazard_units", ("connectivity", "hazard_units"), Form.COUNT),
    Headline("hazard_units_reporting", ("connectivity", "hazard_units_reporting"), Form.COUNT),
    Headline("coverage", ("connectivity", "coverage"), Form.SHARE),
    Headline("devices", ("connectivity", "devices"), Form.COUNT),
    Headline("reporting", ("connectivity", "reporting"), Form.COUNT),
    Headline("online_rate", ("connectivity", "online_rate"), Form.SHARE),
    Headline("blind_minutes", ("connectivity", "blind_minutes"), Form.COUNT),
    Headline("installed_rate", ("connectivity", "installed_rate"), Form.SHARE),
    Headline("in_service_rate", ("connectivity", "in_service_rate"), Form.SHARE),
)
HAZARDS: Final = (
    Headline("hazards_found", ("hazards", "found"), Form.COUNT),
    Headline("hazards_closed", ("hazards", "closed"), Form.COUNT),
    Headline("hazards_rate", ("hazards", "rate"), Form.SHARE),
    Headline("hazards_major", ("hazards", "major"), Form.COUNT),
    Headline("hazards_overdue", ("hazards", "overdue"), Form.COUNT),
    Headline("hazards_supervised", ("hazards", "supervised"), Form.COUNT),
    Headline("rechecks_due", ("hazards", "rechecks_due"), Form.COUNT),
)
OVERDUE: Final = Headline("overdue_cases", ("overdue", "total"), Form.COUNT)
ALL: Final = (*HANDLED, *ANSWERED, *ALARM_SYSTEM, *CONNECTIVITY, *HAZARDS, OVERDUE)
SUMMARY: Final = (
    *HANDLED,
    *(one for one in ANSWERED if one.word in ("responded", "response_rate", "verified_30")),
    *(one for one in CONNECTIVITY if one.word in ("coverage", "online_rate", "blind_minutes")),
    *(one for one in HAZARDS if one.word in ("hazards_found", "hazards_overdue")),
    OVERDUE,
)
"""What stands on the first page."""


def value_of(contents: Mapping[str, Any], headline: Headline) -> Any:
    """The figure in these contents; a list counts its members; None where it is not told."""
    found: Any = contents
    for name in headline.path:
        found = None if found is None else found.get(name)
    return len(found) if isinstance(found, list) else found


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each figure in which a version differs from the one before it: word, before, after."""
    told = ((one.word, value_of(before, one), value_of(after, one)) for one in ALL)
    return [{"figure": word, "before": was, "after": now} for word, was, now in told if was != now]
