"""What the times on its messages tell of a gateway's clock."""

from collections.abc import Iterable

import numpy as np
import pytest

from hazardloop.ingest.clocks import TOLERANCE_US, Clocks, Stamps

S = 1_000_000
START = 1_795_300_000 * S
YEAR_S = 365 * 86_400


def hear(clocks: Clocks, said: Iterable[tuple[int, float, float]]) -> None:
    """One batch of (gateway, seconds after START of receipt, seconds its clock seems ahead)."""
    told = list(said)
    received = np.array([START + round(at_s * S) for _, at_s, _ in told], np.int64)
    ahead = np.array([round(ahead_s * S) for *_, ahead_s in told], np.int64)
    gateway = np.array([gateway for gateway, *_ in told], np.int32)
    message = np.arange(len(told), dtype=np.int32)
    clocks.hear(Stamps(message, gateway, received + ahead), received)


def offsets(said: Iterable[tuple[float, float]]) -> list[float | None]:
    """The offset in s after each message of one gateway: (receipt, apparent offset) in s."""
    clocks, known = Clocks(), []
    for at_s, ahead_s in said:
        hear(clocks, [(7, at_s, ahead_s)])
        told = clocks.estimate().tolist()
        known.append(float(clocks.offset[7]) / S if told else None)
    return known


@pytest.mark.parametrize(
    "off_s",
    [
        pytest.param(100.0, id="ahead"),
        pytest.param(-0.2, id="right"),
    ],
)
def test_an_offset_is_known_once_two_windows_agree(off_s: float) -> None:
    assert offsets((nth * 10.0, off_s) for nth in range(8)) == [None] * 3 + [off_s] * 5


@pytest.mark.parametrize("interval_s", [1.0, 10.0, 70.0, 3600.0])
def test_a_clock_behind_is_known_once_two_windows_agree_on_it(interval_s: float) -> None:
    known = offsets((nth * interval_s, -100.0) for nth in range(round(60 / interval_s) + 2))
    assert known[0] is None
    assert known[-1] == -100.0


def test_slow_messages_do_not_put_a_clock_back() -> None:
    known = offsets((nth * 10.0, -20.0 if nth % 3 else -0.1) for nth in range(30))
    assert set(known[3:]) == {-0.1}


def test_a_backlog_that_is_worked_off_is_no_clock() -> None:
    """An hour of messages comes in within four minutes; then all is live again."""
    drained = [(at_s, -3600.0 + 15.0 * at_s) for at_s in np.arange(0.0, 240.0, 2.0)]
    live = [(240.0 + at_s, -0.1) for at_s in np.arange(0.0, 60.0, 2.0)]
    known = [each for each in offsets(drained + live) if each is not None]
    assert known
    assert all(abs(each) <= 30 for each in known)


def test_one_message_ahead_is_no_clock() -> None:
    known = offsets((nth * 5.0, 200.0 if nth == 10 else -0.1) for nth in range(40))
    assert {each for each in known if each is not None} <= {-0.1, 0.0}


@pytest.mark.parametrize(
    "off_s",
    [
        pytest.param(301.0, id="quarantined"),
        pytest.param(80.0 * YEAR_S, id="beyond 2100"),
        pytest.param(-56.0 * YEAR_S, id="1970"),
    ],
)
def test_a_time_that_cannot_be_used_is_known_at_once_and_until_it_is_mended(off_s: float) -> None:
    known = offsets([(0.0, off_s), (10.0, off_s), *((20.0 + nth * 5, -0.1) for nth in range(14))])
    assert known[:2] == [off_s, off_s]
    assert known[-1] == -0.1
    assert set(known) == {off_s, -0.1}


def test_a_clock_that_is_set_right_is_right_within_a_window() -> None:
    known = offsets(
        [*((n * 10.0, 100.0) for n in range(12)), *((120.0 + n, -0.1) for n in range(40))]
    )
    assert known[11] == 100.0
    assert known[-1] == pytest.approx(0.0, abs=0.1)
    assert abs(known[12 + 31] or 0.0) < 1


def test_gateways_do_not_touch_each_other_and_only_those_heard_are_told() -> None:
    clocks = Clocks()
    for nth in range(6):
        hear(clocks, [(1, nth * 20.0, 60.0), (900, nth * 20.0, 0.0), (1, nth * 20.0 + 1, 59.0)])
    hear(clocks, [(5, 0.0, 60.0)])
    assert clocks.estimate().tolist() == [1, 900]
    assert np.flatnonzero(clocks.is_off()).tolist() == [1]
    hear(clocks, [(900, 130.0, 0.0)])
    assert clocks.estimate().tolist() == [900]


def test_what_an_earlier_worker_knew_holds_until_something_else_is_known() -> None:
    clocks = Clocks()
    clocks.remember(3, 2.0 * TOLERANCE_US)
    assert clocks.is_off()[3]
    hear(clocks, [(3, 0.0, 60.0)])
    assert clocks.estimate().tolist() == [3]
    assert clocks.offset[3] == 2.0 * TOLERANCE_US
    for nth in range(1, 5):
        hear(clocks, [(3, nth * 20.0, 0.0)])
    clocks.estimate()
    assert clocks.offset[3] == 0.0


def test_a_batch_without_times_says_nothing() -> None:
    clocks = Clocks()
    hear(clocks, [])
    assert clocks.estimate().size == 0
