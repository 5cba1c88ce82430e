"""The fold against a loop over single messages and plain sets, and the cases one by one."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazardloop.ingest import balance
from hazardloop.ingest.arrivals import AGAIN, UNNUMBERED, Fate
from hazardloop.ingest.balance import AHEAD, FAR, Account, Tally, folded

STORED, DUPLICATE, REJECTED = (int(fate) for fate in Fate)
Run = tuple[int, int, int, int]
"""minute, first, messages, kind"""


@dataclass
class PlainSeries:
    """Every number that was heard, with the minute in which it was."""

    heard: dict[int, int] = field(default_factory=dict)

    def distance(self, number: int) -> int:
        """How far from the nearest that was heard; 0 also for whatever lies between two."""
        return max(min(self.heard) - number - 1, number - max(self.heard) - 1, 0)

    def tally(self) -> Counter[tuple[int, str]]:
        """Numbers and missing, by minute."""
        found: Counter[tuple[int, str]] = Counter()
        minute = 0
        for number in range(max(self.heard), min(self.heard) - 1, -1):
            if number in self.heard:
                minute = self.heard[number]
            else:
                found[minute, "missing"] += 1
            found[minute, "numbers"] += 1
        return found


def oracle(runs: Iterable[Run]) -> Counter[tuple[int, str]]:
    """The balance of one gateway by single messages and plain sets."""
    every: list[PlainSeries] = []
    found: Counter[tuple[int, str]] = Counter()
    for minute, first, messages, kind in runs:
        fate = ("stored", "duplicate", "rejected")[kind & 3]
        for number in range(first, first + messages):
            if kind & UNNUMBERED:
                again = kind & AGAIN and fate == "duplicate"
                found[minute, "redelivered" if again else "unnumbered_" + fate] += 1
                continue
            heard = [one for one in every if number in one.heard]
            fits = [one for one in every if number not in one.heard and one.distance(number) == 0]
            near = [
                one
                for one in every
                if number not in one.heard
                and min(one.heard) - number <= FAR
                and number - max(one.heard) <= AHEAD
            ]
            near.sort(key=lambda one: one.distance(number))
            old = bool(kind & AGAIN) or fate == "duplicate"
            order = heard + fits if old else fits + heard
            if order and not (
                order[0] in heard
                and not old
                and fate == "stored"
                and (number <= 1 or max(order[0].heard) - number >= FAR)
            ):
                series = order[0]
            elif not order and near:
                series = near[0]
            else:
                series = PlainSeries()
                every.append(series)
            every.remove(series)
            every.insert(0, series)
            again = number in series.heard
            series.heard.setdefault(number, minute)
            if again and kind & AGAIN:
                found[minute, "redelivered"] += 1
                continue
            found[minute, fate] += 1
            found[minute, "repeated"] += again
    for series in every:
        found += series.tally()
    return +found


def balance_of(runs: Iterable[Run]) -> Counter[tuple[int, str]]:
    accounts: dict[int, Account] = {}
    folded(((7, *run) for run in runs), accounts)
    found = {
        (minute, name): count
        for account in accounts.values()
        for minute, tally in account.changes.items()
        for name, count in asdict(tally).items()
    }
    assert min(found.values(), default=0) >= 0
    return +Counter(found)


def sums(account: Account) -> Iterable[tuple[int, int]]:
    for tally in account.changes.values():
        yield tally.sent, tally.stored + tally.duplicate + tally.rejected + tally.missing


KINDS = st.sampled_from([STORED] * 6 + [DUPLICATE, REJECTED, AGAIN, AGAIN | 1, AGAIN | 2])
NUMBERS = st.one_of(st.integers(0, 40), st.integers(100, 400), st.integers(700, 720))
RUNS = st.lists(st.tuples(st.integers(1, 5), NUMBERS, st.integers(1, 60), KINDS), max_size=14)


@given(RUNS)
@settings(max_examples=500)
def test_any_runs_in_any_order_give_the_balance_that_single_messages_give(runs: list[Run]) -> None:
    assert balance_of(runs) == oracle(runs)


@given(RUNS, st.randoms(use_true_random=False))
def test_it_does_not_matter_how_runs_were_split_or_folded_bit_by_bit(
    runs: list[Run], chance: object
) -> None:
    pieces: list[Run] = []
    for minute, first, messages, kind in runs:
        cut = chance.randint(0, messages)  # type: ignore[attr-defined]
        pieces += [(minute, first, cut, kind), (minute, first + cut, messages - cut, kind)]
    assert balance_of(pieces) == balance_of(runs)


@given(RUNS)
def test_in_every_minute_the_sum_holds_and_both_ways_lead_to_it(runs: list[Run]) -> None:
    accounts = {7: Account()}
    folded(((7, *run) for run in runs), accounts)
    for sent, accounted in sums(accounts[7]):
        assert sent == accounted


@st.composite
def a_day_with_crashes(draw: st.DrawFn) -> tuple[list[Run], int, int]:
    """What a gateway sends in order, delivered with losses, overtaking and redelivery."""
    sent = draw(st.integers(1, 120))
    start = draw(st.sampled_from([0, 1, 500]))
    lost = (
        draw(st.sets(st.integers(start + 1, start + sent - 1), max_size=10)) if sent > 1 else set()
    )
    lost -= {start + sent - 1}
    numbers = [number for number in range(start, start + sent) if number not in lost]
    for at in draw(st.lists(st.integers(0, max(0, len(numbers) - 2)), max_size=8)):
        if 0 < at < len(numbers) - 2:
            numbers[at], numbers[at + 1] = numbers[at + 1], numbers[at]
    runs: list[Run] = []
    for crash_at in sorted(draw(st.lists(st.integers(1, len(numbers)), max_size=4))):
        back = draw(st.integers(0, min(30, crash_at)))
        runs += [
            (2, number, 1, AGAIN | DUPLICATE) for number in numbers[crash_at - back : crash_at]
        ]
    live = [(1 + nth // 40, number, 1, STORED) for nth, number in enumerate(numbers)]
    return live + runs, sent, len(lost)


@given(a_day_with_crashes())
def test_redelivery_after_crashes_changes_nothing_of_what_was_sent(
    day: tuple[list[Run], int, int],
) -> None:
    runs, sent, lost = day
    total = Counter[str]()
    for (_, name), count in balance_of(runs).items():
        total[name] += count
    assert total["numbers"] == sent
    assert total["missing"] == lost
    assert total["stored"] == sent - lost
    assert (total["repeated"], total["duplicate"]) == (0, 0)


def totals(*runs: Run) -> dict[str, int]:
    total: Counter[str] = Counter()
    for (_, name), count in balance_of(runs).items():
        total[name] += count
    return dict(+total)


CASES = [
    pytest.param([(1, 5, 10, STORED)], {"numbers": 10, "stored": 10}, id="in order"),
    pytest.param(
        [(1, 1, 3, STORED), (1, 6, 1, STORED)],
        {"numbers": 6, "stored": 4, "missing": 2},
        id="a gap is missing",
    ),
    pytest.param(
        [(1, 1, 3, STORED), (1, 6, 1, STORED), (3, 4, 2, STORED)],
        {"numbers": 6, "stored": 6},
        id="what comes late closes its gap",
    ),
    pytest.param(
        [(1, 1, 3, STORED), (1, 3, 1, DUPLICATE)],
        {"numbers": 3, "repeated": 1, "stored": 3, "duplicate": 1},
        id="a repeat by the gateway is sent and duplicate",
    ),
    pytest.param(
        [(1, 1, 3, STORED), (1, 2, 2, AGAIN | DUPLICATE)],
        {"numbers": 3, "stored": 3, "redelivered": 2},
        id="a repeat by the broker was not sent",
    ),
    pytest.param(
        [(1, 1, 3, AGAIN | STORED)],
        {"numbers": 3, "stored": 3},
        id="what the broker flags and nobody heard was sent",
    ),
    pytest.param(
        [(1, 1, 50, STORED), (2, 1, 20, STORED), (3, 21, 1, STORED)],
        {"numbers": 71, "stored": 71},
        id="a gateway that counts anew from 1",
    ),
    pytest.param(
        [(1, 1, 5_000, STORED), (2, 4_000, 20, STORED)],
        {"numbers": 5_020, "stored": 5_020},
        id="a gateway that falls back far",
    ),
    pytest.param(
        [(1, 1, 50, STORED), (2, 40, 20, STORED)],
        {"numbers": 59, "repeated": 11, "stored": 70},
        id="numbers used again close by are sent, and none is missing",
    ),
    pytest.param(
        [(1, 5_000, 10, STORED), (1, 1, 4_999, STORED), (2, 5_012, 1, STORED)],
        {"numbers": 5_012, "stored": 5_010, "missing": 2},
        id="a backlog sent after live messages",
    ),
    pytest.param(
        [(1, 7, 1, STORED), (1, 7 + 2 * AHEAD, 1, STORED)],
        {"numbers": 2, "stored": 2},
        id="a wild leap is no loss of millions",
    ),
    pytest.param(
        [(1, 0, 3, UNNUMBERED), (1, 0, 2, UNNUMBERED | 2), (1, 0, 1, UNNUMBERED | AGAIN | 1)],
        {"unnumbered_stored": 3, "unnumbered_rejected": 2, "redelivered": 1},
        id="without numbers they are only counted",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("runs", "expected"), CASES)
def test_what_the_numbers_tell(runs: list[Run], expected: dict[str, int]) -> None:
    assert totals(*runs) == expected


def test_a_gap_is_booked_when_the_next_number_came_and_late_ones_when_they_came() -> None:
    account = Account()
    for run in [(1, 1, 3, STORED), (2, 8, 1, STORED), (5, 6, 1, STORED)]:
        account.take(*run)
    assert account.changes == {
        1: Tally(numbers=3, stored=3),
        2: Tally(numbers=2, stored=1, missing=1),
        5: Tally(numbers=3, stored=1, missing=2),
    }


def test_what_is_remembered_is_bounded_and_the_sum_holds_beyond() -> None:
    account = Account()
    for number in range(0, 4 * balance.MOST_GAPS, 2):
        account.take(1, number, 1, STORED)
    for start in range(1, 20):
        account.take(2, start * 10 * AHEAD, 1, STORED)
    account.take(3, 1, 1, STORED)
    assert len(account.series) == balance.MOST_SERIES
    assert sum(len(series.gaps) for series in account.series) <= balance.MOST_GAPS
    assert all(sent == accounted for sent, accounted in sums(account))
