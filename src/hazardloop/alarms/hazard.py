"""A hazard (隐患): found, registered, put right, reported, closed; no station is skipped.

It outlives the alarm that may have shown it, and has a ledger of its own: list, dispatch, ledger,
close-out, notice and clear-to-zero (一单五制). Source: 隐患排查治理 of local safety plans.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final

from hazardloop.alarms.alarm import Actor, Role
from hazardloop.alarms.errors import HazardForbidden, HazardOvertaken, HazardRefused


class Grade(StrEnum):
    """How grave a hazard is."""

    GENERAL = "general"
    MAJOR = "major"
    """重大: the five are settled before it is put right, and it is notified publicly."""


class Origin(StrEnum):
    """How it was found (企业自查、属地排查、县级核查, 举报)."""

    ALARM = "alarm"
    SELF_INSPECTION = "self_inspection"
    LOCAL_INSPECTION = "local_inspection"
    COUNTY_INSPECTION = "county_inspection"
    REPORT = "report"


class Station(StrEnum):
    """Where it stands: 排查、登记、治理、报告、销号."""

    FOUND = "found"
    REGISTERED = "registered"
    RECTIFYING = "rectifying"
    REPORTED = "reported"
    CLOSED = "closed"


class Act(StrEnum):
    """One act on a hazard."""

    REGISTER = "register"
    RECTIFY = "rectify"
    REPORT = "report"
    CLOSE = "close"
    RETURN = "return"
    NOTIFY = "notify"
    """Tell the public or the district of it (通报)."""
    SUPERVISE = "supervise"
    """List it as supervised (挂牌督办)."""
    RELEASE = "release"
    """Take it from that list (摘牌)."""
    RECHECK = "recheck"
    """Look again after it was closed ("回头看")."""


class Regime(StrEnum):
    """What each hazard must have a record of; which of them is configuration."""

    DISPATCH = "dispatch"
    LEDGER = "ledger"
    CLOSE_OUT = "close_out"
    NOTICE = "notice"
    CLEAR_TO_ZERO = "clear_to_zero"


ALL_REGIMES: Final = tuple(Regime)

RECHECK_AFTER: Final = timedelta(days=30)
"""House; a district sets its own day with the closing."""

FIVE: Final = ("responsible", "measures", "funds", "deadline", "plan")
"""What is settled before a major hazard leaves `registered` (五落实)."""


@dataclass(frozen=True, slots=True)
class Hazard:
    """One hazard as it stands."""

    hazard_id: int
    enterprise_id: int
    grade: Grade
    origin: Origin
    station: Station
    revision: int
    found_by: str
    settled: Mapping[str, str | date | None]
    """The five, by name."""
    fixers: tuple[str, ...] = ()
    """User names of those who put it right or reported it."""
    notified: bool = False
    supervised: bool = False
    returned: int = 0
    recurred: int = 0
    """Times a recheck found it again."""
    recheck_due: date | None = None
    closed_by: str | None = None


@dataclass(frozen=True, slots=True)
class Deed:
    """One act that somebody wants to take."""

    act: Act
    actor: Actor
    revision: int
    taken_at: datetime
    note: str | None = None
    settled: Mapping[str, str | date | None] | None = None
    recurred: bool = False
    """Of a recheck: it is there again."""
    recheck_due: date | None = None
    """Of a closing."""


_AUTHORITY: Final = frozenset({Role.AUTHORITY, Role.SUPERVISOR})
_SITE: Final = frozenset({Role.ENTERPRISE, Role.OPERATOR, Role.SUPERVISOR})
_ANY: Final = frozenset(Station)
_OPEN: Final = _ANY - {Station.CLOSED}

ACTS: Final[Mapping[Act, tuple[frozenset[Station], Station | None, frozenset[Role]]]] = {
    Act.REGISTER: (frozenset({Station.FOUND}), Station.REGISTERED, _SITE | _AUTHORITY),
    Act.RECTIFY: (frozenset({Station.REGISTERED}), Station.RECTIFYING, _SITE),
    Act.REPORT: (frozenset({Station.RECTIFYING}), Station.REPORTED, _SITE),
    Act.CLOSE: (frozenset({Station.REPORTED}), Station.CLOSED, _AUTHORITY),
    Act.RETURN: (frozenset({Station.REPORTED}), Station.RECTIFYING, _AUTHORITY),
    Act.NOTIFY: (_ANY - {Station.FOUND}, None, _AUTHORITY),
    Act.SUPERVISE: (_OPEN - {Station.FOUND}, None, _AUTHORITY),
    Act.RELEASE: (frozenset({Station.CLOSED}), None, _AUTHORITY),
    Act.RECHECK: (frozenset({Station.CLOSED}), None, _AUTHORITY),
}
"""Of each act: from where, to where (None: it stays), and who may."""


def advance(hazard: Hazard, deed: Deed, regimes: tuple[Regime, ...] = ALL_REGIMES) -> Hazard:
    """`hazard` after `deed`, one revision on.

    Raises:
        HazardForbidden: this person may never do that to it.
        HazardOvertaken: it was decided on another revision.
        HazardRefused: no such act from here, or a guard of it does not hold.
    """
    stations, after, _ = ACTS[deed.act]
    if reason := not_for(hazard, deed.actor, deed.act):
        raise HazardForbidden(f"{deed.act} is not for {deed.actor.username}: {reason}")
    if deed.revision != hazard.revision:
        raise HazardOvertaken(hazard.hazard_id, hazard.revision)
    if hazard.station not in stations:
        raise HazardRefused(f"no {deed.act} at {hazard.station}", allowed(hazard, deed.actor))
    moved = EFFECTS.get(deed.act, _unchanged)(hazard, deed)
    for stands in GUARDS.get(deed.act, ()):
        if reason := stands(moved, deed, regimes):
            raise HazardRefused(f"{deed.act}: {reason}", allowed(hazard, deed.actor))
    station = moved.station if after is None else after
    return replace(moved, station=station, revision=hazard.revision + 1)


def allowed(hazard: Hazard, actor: Actor) -> tuple[Act, ...]:
    """What `actor` may do with it now, if only its content is still to be given."""
    return tuple(
        act
        for act, (stations, _, _) in ACTS.items()
        if hazard.station in stations and not not_for(hazard, actor, act)
    )


def not_for(hazard: Hazard, actor: Actor, act: Act) -> str | None:
    """Why this act on it is not for this person; None if it is."""
    roles = ACTS[act][2]
    if actor.role not in roles:
        return f"it is for {', '.join(sorted(roles))}"
    if actor.role is Role.ENTERPRISE and actor.enterprise_id != hazard.enterprise_id:
        return "it belongs to another enterprise"
    if act in _REVIEWS and actor.username in hazard.fixers:
        return "who put it right does not review it"
    return None


_REVIEWS: Final = frozenset({Act.CLOSE, Act.RETURN, Act.RECHECK})

Guard = Callable[[Hazard, Deed, tuple[Regime, ...]], str | None]


def _five_are_settled(hazard: Hazard, deed: Deed, regimes: tuple[Regime, ...]) -> str | None:
    if hazard.grade is not Grade.MAJOR:
        return None
    missing = [name for name in FIVE if not str(hazard.settled.get(name) or "").strip()]
    return f"a major hazard needs {', '.join(missing)} first" if missing else None


def _says_something(hazard: Hazard, deed: Deed, regimes: tuple[Regime, ...]) -> str | None:
    return None if (deed.note or "").strip() else "it needs a note"


def _is_notified(hazard: Hazard, deed: Deed, regimes: tuple[Regime, ...]) -> str | None:
    if hazard.grade is Grade.MAJOR and Regime.NOTICE in regimes and not hazard.notified:
        return "a major hazard is notified before it is closed"
    return None


GUARDS: Final[Mapping[Act, tuple[Guard, ...]]] = {
    Act.RECTIFY: (_five_are_settled,),
    Act.REPORT: (_says_something,),
    Act.RETURN: (_says_something,),
    Act.NOTIFY: (_says_something,),
    Act.SUPERVISE: (_says_something,),
    Act.RELEASE: (_says_something,),
    Act.RECHECK: (_says_something,),
    Act.CLOSE: (_five_are_settled, _is_notified),
}


def _unchanged(hazard: Hazard, deed: Deed) -> Hazard:
    return hazard


def _settled(hazard: Hazard, deed: Deed) -> Hazard:
    return replace(hazard, settled={**hazard.settled, **(deed.settled or {})})


def _fixed(hazard: Hazard, deed: Deed) -> Hazard:
    fixers = tuple(dict.fromkeys((*hazard.fixers, deed.actor.username)))
    return replace(_settled(hazard, deed), fixers=fixers)


def _closed(hazard: Hazard, deed: Deed) -> Hazard:
    due = deed.recheck_due or (deed.taken_at + RECHECK_AFTER).date()
    return replace(hazard, closed_by=deed.actor.username, recheck_due=due)


def _rechecked(hazard: Hazard, deed: Deed) -> Hazard:
    if not deed.recurred:
        return replace(hazard, recheck_due=None)
    return replace(
        hazard,
        station=Station.REGISTERED,
        recurred=hazard.recurred + 1,
        recheck_due=None,
        closed_by=None,
    )


EFFECTS: Final[Mapping[Act, Callable[[Hazard, Deed], Hazard]]] = {
    Act.REGISTER: _settled,
    Act.RECTIFY: _fixed,
    Act.REPORT: _fixed,
    Act.CLOSE: _closed,
    Act.RETURN: lambda hazard, deed: replace(hazard, returned=hazard.returned + 1),
    Act.NOTIFY: lambda hazard, deed: replace(hazard, notified=True),
    Act.SUPERVISE: lambda hazard, deed: replace(hazard, supervised=True),
    Act.RELEASE: lambda hazard, deed: replace(hazard, supervised=False),
    Act.RECHECK: _rechecked,
}


def records(hazard: Hazard) -> Mapping[Regime, bool]:
    """Which regimes have their record: what is queried of 一单五制."""
    registered = hazard.station is not Station.FOUND
    closed = hazard.station is Station.CLOSED
    return {
        Regime.DISPATCH: registered,
        Regime.LEDGER: registered,
        Regime.CLOSE_OUT: closed,
        Regime.NOTICE: hazard.notified,
        Regime.CLEAR_TO_ZERO: closed and not hazard.supervised,
    }
