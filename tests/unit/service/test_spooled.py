"""Work that went to the disk comes back as it was, whatever became of the registry."""

from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hazardloop.alarms.alarm import Change, ChangeKind, Direction, Tier
from hazardloop.alarms.evaluation import Find, Outcome
from hazardloop.alarms.memory import CellRow
from hazardloop.devices.drafting import build_registry
from hazardloop.devices.readings import Readings
from hazardloop.devices.registry import GatewayRecord, PointRecord, Registry
from hazardloop.ingest.arrivals import Arrivals
from hazardloop.ingest.opening import StatusSaid
from hazardloop.ingest.retries import RetryOutcome
from hazardloop.ingest.store import CountedLetters, DeadLetter
from hazardloop.service.spooled import pack_aside, pack_work, unpack_aside, unpack_work
from hazardloop.service.work import Aside, SpokenAgain, Work, one_work


def registry_of(point_ids: list[int]) -> Registry:
    points = [
        PointRecord(
            point_id=each, quantity="lel", unit="%{LEL}", type="number", low=-5, high=110,
            interval_s=10, registered_at_us=0, device_id=each, device=f"GD-{each}",
            kind="gas_detector", tags={}, gateway_id=1, gateway="G1", enterprise_id=1,
            enterprise="E1", grade=0,
        )
        for each in point_ids
    ]  # fmt: skip
    return build_registry(1, [GatewayRecord(1, "G1", 1, "E1")], points)


HERE = registry_of([11, 12, 13, 14])
LATER = registry_of([2, 3, 11, 12, 13, 14, 99])
"""The same points on other rows."""

int64 = st.integers(-(2**63), 2**63 - 1)
int32 = st.integers(0, 2**31 - 1)
text = st.text(max_size=8)
instants = st.datetimes(timezones=st.just(UTC))


@st.composite
def readings(draw: st.DrawFn) -> Readings:
    n = draw(st.integers(0, 6))

    def column(values: st.SearchStrategy[Any], kind: type) -> Any:
        return np.array(draw(st.lists(values, min_size=n, max_size=n)), kind)

    return Readings(
        column(st.integers(0, 3), np.int32),
        column(int64, np.int64),
        column(int64, np.int64),
        column(st.floats(), np.float64),
        column(st.integers(-(2**15), 2**15 - 1), np.int16),
        column(st.integers(-1, 2**31 - 1), np.int32),
    )


@st.composite
def changes(draw: st.DrawFn) -> Change:
    row = draw(st.integers(0, 3))
    return Change(
        draw(st.sampled_from(ChangeKind)), draw(st.uuids()), row, int(HERE.point_id[row]),
        draw(text), draw(int32), draw(st.sampled_from(Tier)), draw(st.sampled_from(Tier)),
        draw(st.floats(allow_nan=False)), draw(st.floats(allow_nan=False)),
        draw(st.sampled_from(Direction)), draw(int64), draw(int64), draw(st.booleans()),
    )  # fmt: skip


@st.composite
def arrivals(draw: st.DrawFn) -> Arrivals:
    n = draw(st.integers(0, 4))
    kinds = [np.int32, np.int32, np.int64, np.int32, np.int16]
    return Arrivals(
        *(np.array(draw(st.lists(st.integers(0, 99), min_size=n, max_size=n)), k) for k in kinds)
    )


works = st.builds(
    Work,
    st.just(HERE),
    st.builds(
        Outcome,
        st.lists(changes(), max_size=3).map(tuple),
        st.lists(
            st.builds(
                CellRow, text, st.integers(11, 14), st.integers(1, 4), st.booleans(),
                st.none() | int64,
            ),
            max_size=3,
        ).map(tuple),
    ),
    readings=readings(),
    letters=st.lists(
        st.builds(
            DeadLetter, instants, text, text, text, st.none() | int32, st.none() | int32,
            st.binary(max_size=20), int32, int32,
        ),
        max_size=2,
    ),
    statuses=st.lists(
        st.builds(StatusSaid, int32, st.booleans(), int64, st.none() | text), max_size=2
    ),
    duplicates=int32,
    arrivals=arrivals(),
    counted=st.lists(
        st.builds(CountedLetters, instants, text, st.none(), st.none() | int32, int32, int32),
        max_size=2,
    ),
    retries=st.lists(
        st.builds(RetryOutcome, int32, int32, int32, st.none() | text, st.none() | text),
        max_size=2,
    ),
)  # fmt: skip


def require_same_columns(one: object, other: object) -> None:
    for column in fields(one):  # type: ignore[arg-type]
        a, b = getattr(one, column.name), getattr(other, column.name)
        assert (a.dtype, column.name) == (b.dtype, column.name)
        np.testing.assert_array_equal(a, b)


def at_home(those: Readings) -> Readings:
    """The rows of LATER as those of HERE."""
    rows = [HERE.row_of.get(int(LATER.point_id[row])) for row in those.row]
    return replace(those, row=np.array(rows, np.int32))


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], max_examples=60)
@given(works)
def test_work_comes_back_over_the_rows_of_another_registry(work: Work) -> None:
    back = unpack_work(pack_work(work), LATER)
    require_same_columns(at_home(back.readings), work.readings)
    require_same_columns(back.arrivals, work.arrivals)
    for there, here in zip(back.outcome.changes, work.outcome.changes, strict=True):
        assert LATER.point_id[there.row] == here.point_id
        assert replace(there, row=here.row) == here
    assert back.outcome.cells == work.outcome.cells
    for name in ("letters", "statuses", "duplicates", "counted", "retries"):
        assert getattr(back, name) == getattr(work, name)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_work_are_told_so(body: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        unpack_work(body + b"\xc1", HERE)


def some_readings() -> Readings:
    at = np.arange(3) + 100
    zeros = np.zeros(3, np.int16)
    return Readings(
        np.array([0, 1, 3], np.int32), at, at, np.array([1.0, np.nan, 3.0]), zeros,
        np.array([0, 0, 1], np.int32),
    )  # fmt: skip


def some_change(kind: ChangeKind, row: int = 1) -> Change:
    return Change(
        kind, UUID(int=7), row, int(HERE.point_id[row]), "rule", 1, Tier.RED, Tier.NONE, 1.0, 2.0,
        Direction.HIGH, 5, 5, True,
    )  # fmt: skip


def test_what_a_removed_point_said_is_set_aside_and_costs_its_neighbours_nothing() -> None:
    outcome = Outcome((some_change(ChangeKind.RAISED), some_change(ChangeKind.RAISED, 0)))
    work = Work(HERE, outcome, readings=some_readings())
    back = unpack_work(pack_work(work), registry_of([11, 14]))
    assert back.readings.value.tolist() == [1.0, 3.0]
    assert [change.point_id for change in back.outcome.changes] == [11]
    (letter,) = back.letters
    assert (letter.reason, letter.readings) == ("unknown_point", 1)
    assert "removed" in letter.detail


def test_what_cannot_be_utf_8_does_not_stop_the_spool() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    letter = DeadLetter(now, "bad_shape", "\ud800 x", "t", None, None, b"\xff", 1, 1)
    back = unpack_work(pack_work(Work(HERE, Outcome(), letters=[letter])), HERE)
    assert back.letters[0].detail == "? x"


def test_an_aside_comes_back_with_what_it_would_find() -> None:
    find = Find(some_change(ChangeKind.RAISED), some_change(ChangeKind.CLEARED))
    runs = Arrivals(
        np.array([1, 1], np.int32), np.array([5, 5], np.int32), np.array([8, 9]),
        np.array([1, 1], np.int32), np.array([1, 5], np.int16),
    )  # fmt: skip
    aside = Aside(
        some_readings(),
        (SpokenAgain(b"t", b"{}", 100, False), SpokenAgain(b"t", b"", 101, True)),
        finds=((1, find),),
        arrivals=runs,
        place=np.array([0, 1], np.int32),
    )
    back = unpack_aside(pack_aside(aside, HERE), LATER)
    require_same_columns(at_home(back.readings), aside.readings)
    assert (back.messages, back.finds[0][0]) == (aside.messages, 1)
    assert back.finds[0][1].raised.row == LATER.row_of.get(12)
    told = back.arrivals_with(back.readings.take(np.array([True, False, False])))
    assert told.kind.tolist() == [0, 5]  # stored; a duplicate that the broker sent again


def test_several_works_are_one_in_their_order() -> None:
    first = Work(HERE, Outcome((some_change(ChangeKind.RAISED),)), readings=some_readings())
    second = Work(HERE, Outcome((some_change(ChangeKind.CLEARED),)), duplicates=2)
    both = one_work([first, second])
    assert [change.kind for change in both.outcome.changes] == ["raised", "cleared"]
    assert (len(both.readings), both.duplicates) == (3, 2)
