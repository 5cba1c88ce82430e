"""The states of a signal: the standard's table row by row, and columns that never leave it."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hazardloop.alarms.signal import (
    ANNUNCIATED,
    LISTED,
    TRANSITIONS,
    Event,
    Hold,
    Signal,
    State,
    after,
    holds,
    next_state,
    state_of,
)

A = Signal()
B = Signal(active=True, acknowledged=False)
C = Signal(active=True)
D = Signal(acknowledged=False)
E = Signal(acknowledged=False, latched=True)
F = Signal(latched=True)
B_LATCHING = Signal(active=True, acknowledged=False, latched=True)
C_LATCHING = Signal(active=True, latched=True)


def shelved(signal: Signal) -> Signal:
    return after(signal, Event.SHELVE)


def suppressed(signal: Signal) -> Signal:
    return after(signal, Event.SUPPRESS)


def removed(signal: Signal) -> Signal:
    return after(signal, Event.REMOVE)


STANDARD = [
    # from, to, trigger, guard: the rows of ISA-18.2 / IEC 62682 in their order
    pytest.param(A, Event.RAISE, B, id="A to B: condition true for the on-delay"),
    pytest.param(B, Event.ACKNOWLEDGE, C, id="B to C: acknowledged"),
    pytest.param(B, Event.CLEAR, D, id="B to D: back past the deadband, non-latching"),
    pytest.param(B_LATCHING, Event.CLEAR, E, id="B to E: the same, latching"),
    pytest.param(C, Event.CLEAR, A, id="C to A: the same, non-latching"),
    pytest.param(C_LATCHING, Event.CLEAR, F, id="C to F: the same, latching"),
    pytest.param(C, Event.RE_ALARM, B, id="C to B: re-alarm timer"),
    pytest.param(D, Event.ACKNOWLEDGE, A, id="D to A: acknowledged"),
    pytest.param(D, Event.RAISE, B, id="D to B: condition true again"),
    pytest.param(E, Event.ACKNOWLEDGE, F, id="E to F: acknowledged"),
    pytest.param(E, Event.RAISE, B, id="E to B: condition true again"),
    pytest.param(F, Event.RESET, A, id="F to A: reset, condition normal"),
    pytest.param(E, Event.RESET_UNSEEN, A, id="E to A: reset that acknowledges"),
    pytest.param(F, Event.RAISE, B, id="F to B: condition true again, a new alarm"),
    *(pytest.param(signal, Event.SHELVE, shelved(signal), id=f"{letter} to G: shelved")
      for letter, signal in zip("ABCDEF", (A, B, C, D, E, F), strict=True)),
    pytest.param(shelved(C), Event.UNSHELVE, B, id="G to B: over, condition true"),
    pytest.param(shelved(A), Event.UNSHELVE, A, id="G to A: over, condition normal"),
    *(pytest.param(signal, Event.SUPPRESS, suppressed(signal), id=f"{letter} to H: designed logic")
      for letter, signal in zip("ABCDEFG", (A, B, C, D, E, F, shelved(B)), strict=True)),
    pytest.param(suppressed(C), Event.UNSUPPRESS, B, id="H to B: logic false, condition true"),
    pytest.param(suppressed(A), Event.UNSUPPRESS, A, id="H to A: logic false, condition normal"),
    *(pytest.param(signal, Event.REMOVE, removed(signal), id=f"{letter} to I: maintenance removal")
      for letter, signal in zip("ABCDEFGH",
                                (A, B, C, D, E, F, shelved(B), suppressed(B)), strict=True)),
    pytest.param(removed(C), Event.RETURN, B, id="I to B: returned, condition true"),
    pytest.param(removed(A), Event.RETURN, A, id="I to A: returned, condition normal"),
]  # fmt: skip
HOUSE = [
    pytest.param(C, Event.UNACKNOWLEDGE, B, id="an acknowledgement taken back, active"),
    pytest.param(A, Event.UNACKNOWLEDGE, D, id="an acknowledgement taken back, cleared"),
    pytest.param(F, Event.UNACKNOWLEDGE, E, id="an acknowledgement taken back, latched"),
    pytest.param(shelved(D), Event.UNSHELVE, D, id="what nobody saw is unseen after the shelf"),
    pytest.param(suppressed(E), Event.UNSUPPRESS, E, id="a latch outlasts suppression, unseen"),
    pytest.param(removed(F), Event.RETURN, F, id="a latch outlasts being out of service, seen"),
    pytest.param(shelved(A), Event.RAISE, shelved(B), id="raised on the shelf it stays there"),
    pytest.param(removed(C), Event.CLEAR, removed(A), id="an alarm clears out of service"),
]  # fmt: skip


@pytest.mark.parametrize(("signal", "event", "expected"), STANDARD + HOUSE)
def test_table_and_columns_agree_on_every_row(
    signal: Signal, event: Event, expected: Signal
) -> None:
    assert next_state(signal, event) is state_of(expected)
    moved = after(signal, event, latching=signal.latched)
    assert state_of(moved) is state_of(expected)


def test_the_rows_above_are_the_whole_table() -> None:
    walked = {
        (state_of(param.values[0]), param.values[1])  # type: ignore[arg-type]
        for param in STANDARD + HOUSE
    }
    held = {(state, event) for state in (State.SHELVED, State.SUPPRESSED, State.OUT_OF_SERVICE)
            for event in (Event.RAISE, Event.CLEAR)}  # fmt: skip
    assert walked | held == set(TRANSITIONS)


@pytest.mark.parametrize("state", State)
def test_what_the_table_lacks_has_no_place(state: State) -> None:
    signals = {state_of(signal): signal for signal in
               (A, B, C, D, E, F, shelved(B), suppressed(B), removed(B))}  # fmt: skip
    for event in Event:
        if (state, event) not in TRANSITIONS:
            assert next_state(signals[state], event) is None


def test_lists_and_sound_are_as_the_standard_says() -> None:
    assert {State.UNACKNOWLEDGED, State.LATCHED_UNACKNOWLEDGED} == ANNUNCIATED
    assert set(State) - LISTED == {
        State.NORMAL, State.SHELVED, State.SUPPRESSED, State.OUT_OF_SERVICE
    }  # fmt: skip


class SignalMachine(RuleBasedStateMachine):
    """Any course of events: the columns always stand where the table leads."""

    @initialize(latching=st.booleans())
    def start(self, latching: bool) -> None:
        self.latching = latching
        self.signal = Signal()
        self.raised = 0

    @rule(event=st.sampled_from(Event))
    def happen(self, event: Event) -> None:
        led_to = next_state(self.signal, event)
        if led_to is None:
            return
        before = self.signal
        self.signal = after(before, event, self.latching)
        assert state_of(self.signal) is led_to
        self.raised += event is Event.RAISE
        if before.hold is None and self.signal.hold is None and not before.acknowledged:
            seen = event in (Event.ACKNOWLEDGE, Event.RESET_UNSEEN)
            assert self.signal.acknowledged is seen, "nothing but a person acknowledges"

    @precondition(lambda self: self.signal.hold is not None)
    @rule()
    def come_back(self) -> None:
        ends = {
            Hold.SHELVED: Event.UNSHELVE,
            Hold.SUPPRESSED: Event.UNSUPPRESS,
            Hold.OUT_OF_SERVICE: Event.RETURN,
        }
        assert self.signal.hold is not None
        active = self.signal.active
        led_to = next_state(self.signal, ends[self.signal.hold])
        self.signal = after(self.signal, ends[self.signal.hold], self.latching)
        assert state_of(self.signal) is led_to
        assert not active or led_to is State.UNACKNOWLEDGED, "it is annunciated anew"

    @invariant()
    def a_latch_is_let_go_by_reset_alone(self) -> None:
        if self.raised and self.signal.active and self.latching:
            assert self.signal.latched

    @invariant()
    def one_guard_of_a_transition_is_met_and_no_second(self) -> None:
        for event in Event:
            targets = TRANSITIONS.get((state_of(self.signal), event))
            assert targets is None or sum(holds(guard, self.signal) for guard in targets) == 1


TestSignalMachine = SignalMachine.TestCase
TestSignalMachine.settings = settings(max_examples=100, stateful_step_count=30)
