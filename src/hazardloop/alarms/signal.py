"""The states of an alarm's signal, and the table of what moves it (ISA-18.2 / IEC 62682).

The handling of the alarm is another machine (`lifecycle.py`); neither moves the other. A state is
never stored: it follows from the columns of the alarm and from the hold that is in force.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final


class Hold(StrEnum):
    """Why sound, flash and notices of an alarm are withheld; it is recorded all the same."""

    SHELVED = "shelved"
    SUPPRESSED = "suppressed"
    OUT_OF_SERVICE = "out_of_service"


class State(StrEnum):
    """A to I of the standard, in its order."""

    NORMAL = "normal"
    UNACKNOWLEDGED = "unacknowledged"
    ACKNOWLEDGED = "acknowledged"
    RETURNED = "returned_unacknowledged"
    LATCHED_UNACKNOWLEDGED = "latched_unacknowledged"
    LATCHED_ACKNOWLEDGED = "latched_acknowledged"
    SHELVED = "shelved"
    SUPPRESSED = "suppressed"
    OUT_OF_SERVICE = "out_of_service"


class Event(StrEnum):
    """What can happen to a signal."""

    RAISE = "raise"
    """The condition has been true for the on-delay."""
    CLEAR = "clear"
    """It has been back past the deadband for the off-delay."""
    ACKNOWLEDGE = "acknowledge"
    UNACKNOWLEDGE = "unacknowledge"
    RE_ALARM = "re_alarm"
    RESET = "reset"
    RESET_UNSEEN = "reset_unseen"
    """Reset and acknowledged by one act."""
    SHELVE = "shelve"
    UNSHELVE = "unshelve"
    """Released, or its time is over."""
    SUPPRESS = "suppress"
    UNSUPPRESS = "unsuppress"
    REMOVE = "remove"
    """Taken out of service for maintenance."""
    RETURN = "return"


@dataclass(frozen=True, slots=True)
class Signal:
    """The columns a state follows from."""

    active: bool = False
    acknowledged: bool = True
    latched: bool = False
    """Its rule latches, and nobody has reset it since it was raised."""
    hold: Hold | None = None


_HELD: Final = {hold: State(hold.value) for hold in Hold}


def state_of(signal: Signal) -> State:
    """Where a signal stands."""
    if signal.hold is not None:
        return _HELD[signal.hold]
    if signal.active:
        return State.ACKNOWLEDGED if signal.acknowledged else State.UNACKNOWLEDGED
    if signal.latched:
        return State.LATCHED_ACKNOWLEDGED if signal.acknowledged else State.LATCHED_UNACKNOWLEDGED
    return State.NORMAL if signal.acknowledged else State.RETURNED


class Guard(StrEnum):
    """What a transition depends on."""

    ALWAYS = "always"
    LATCHING = "its rule latches"
    PLAIN = "its rule does not latch"
    ABNORMAL = "the condition is true"
    NORMAL_SEEN = "the condition is normal, acknowledged, not latched"
    NORMAL_UNSEEN = "the condition is normal, nobody acknowledged, not latched"
    LATCHED_SEEN = "the condition is normal, acknowledged, latched"
    LATCHED_UNSEEN = "the condition is normal, nobody acknowledged, latched"


def holds(guard: Guard, signal: Signal) -> bool:
    """Whether `guard` is met by what the signal is below its hold."""
    bare = state_of(replace(signal, hold=None))
    return {
        Guard.ALWAYS: True,
        Guard.LATCHING: signal.latched,
        Guard.PLAIN: not signal.latched,
        Guard.ABNORMAL: signal.active,
        Guard.NORMAL_SEEN: bare is State.NORMAL,
        Guard.NORMAL_UNSEEN: bare is State.RETURNED,
        Guard.LATCHED_SEEN: bare is State.LATCHED_ACKNOWLEDGED,
        Guard.LATCHED_UNSEEN: bare is State.LATCHED_UNACKNOWLEDGED,
    }[guard]


_A, _B, _C, _D, _E, _F, _G, _H, _I = State

# A condition that is true when the hold ends is annunciated anew, whoever acknowledged it before.
# One that is normal stands as it would without the hold: what nobody saw does not vanish behind it.
_AFTER_A_HOLD: Final = {
    Guard.ABNORMAL: _B,
    Guard.NORMAL_SEEN: _A,
    Guard.NORMAL_UNSEEN: _D,
    Guard.LATCHED_SEEN: _F,
    Guard.LATCHED_UNSEEN: _E,
}
_ANY: Final = (_A, _B, _C, _D, _E, _F)

TRANSITIONS: Final[Mapping[tuple[State, Event], Mapping[Guard, State]]] = {
    (_A, Event.RAISE): {Guard.ALWAYS: _B},
    (_B, Event.ACKNOWLEDGE): {Guard.ALWAYS: _C},
    (_B, Event.CLEAR): {Guard.PLAIN: _D, Guard.LATCHING: _E},
    (_C, Event.CLEAR): {Guard.PLAIN: _A, Guard.LATCHING: _F},
    (_C, Event.RE_ALARM): {Guard.ALWAYS: _B},
    (_D, Event.ACKNOWLEDGE): {Guard.ALWAYS: _A},
    (_D, Event.RAISE): {Guard.ALWAYS: _B},
    (_E, Event.ACKNOWLEDGE): {Guard.ALWAYS: _F},
    (_E, Event.RAISE): {Guard.ALWAYS: _B},
    (_E, Event.RESET_UNSEEN): {Guard.ALWAYS: _A},
    (_F, Event.RESET): {Guard.ALWAYS: _A},
    (_F, Event.RAISE): {Guard.ALWAYS: _B},
    # An acknowledgement given by mistake is taken back; both stay on record.
    (_C, Event.UNACKNOWLEDGE): {Guard.ALWAYS: _B},
    (_A, Event.UNACKNOWLEDGE): {Guard.ALWAYS: _D},
    (_F, Event.UNACKNOWLEDGE): {Guard.ALWAYS: _E},
    **{(state, Event.SHELVE): {Guard.ALWAYS: _G} for state in _ANY},
    **{(state, Event.SUPPRESS): {Guard.ALWAYS: _H} for state in (*_ANY, _G)},
    **{(state, Event.REMOVE): {Guard.ALWAYS: _I} for state in (*_ANY, _G, _H)},
    (_G, Event.UNSHELVE): _AFTER_A_HOLD,
    (_H, Event.UNSUPPRESS): _AFTER_A_HOLD,
    (_I, Event.RETURN): _AFTER_A_HOLD,
    # Behind a hold the condition comes and goes, is recorded and handled, and is not annunciated.
    **{(state, event): {Guard.ALWAYS: state} for state in (_G, _H, _I)
       for event in (Event.RAISE, Event.CLEAR)},
}  # fmt: skip
"""Where an event leads; a pair that is not here does not happen, or is refused where people ask."""

ANNUNCIATED: Final = frozenset({_B, _E})
"""States with sound and flash. RETURNED is shown as unacknowledged, without sound."""
LISTED: Final = frozenset({_B, _C, _D, _E, _F})
"""States on the list of active alarms; SHELVED, SUPPRESSED, OUT_OF_SERVICE have lists of theirs."""


def next_state(signal: Signal, event: Event) -> State | None:
    """Where `event` takes the signal; None: it has no place there."""
    targets = TRANSITIONS.get((state_of(signal), event), {})
    return next((state for guard, state in targets.items() if holds(guard, signal)), None)


_CHANGES: Final[Mapping[Event, Mapping[str, bool | Hold | None]]] = {
    Event.RAISE: {"active": True, "acknowledged": False},
    Event.CLEAR: {"active": False},
    Event.ACKNOWLEDGE: {"acknowledged": True},
    Event.UNACKNOWLEDGE: {"acknowledged": False},
    Event.RE_ALARM: {"acknowledged": False},
    Event.RESET: {"latched": False},
    Event.RESET_UNSEEN: {"latched": False, "acknowledged": True},
    Event.SHELVE: {"hold": Hold.SHELVED},
    Event.UNSHELVE: {"hold": None},
    Event.SUPPRESS: {"hold": Hold.SUPPRESSED},
    Event.UNSUPPRESS: {"hold": None},
    Event.REMOVE: {"hold": Hold.OUT_OF_SERVICE},
    Event.RETURN: {"hold": None},
}


def after(signal: Signal, event: Event, latching: bool = False) -> Signal:
    """The columns after an event that has its place; `latching`: what the rule of a raise says."""
    changed = replace(signal, **_CHANGES[event])  # type: ignore[arg-type]
    if event is Event.RAISE:
        return replace(changed, latched=latching)
    if signal.hold is not None and changed.hold is None and changed.active:
        return replace(changed, acknowledged=False)
    return changed
