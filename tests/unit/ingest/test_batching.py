"""When a batch is due, what is in it, and what may be acknowledged after it."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazardloop.ingest.acknowledging import Outstanding
from hazardloop.ingest.batching import DUE_NOW, Batch, BatchLimits, Gathering
from hazardloop.ingest.messages import Messages, Oversized
from hazardloop.ingest.texts import Texts, side_by_side


def messages(numbers: range, received_at: int = 0, size: int = 10) -> Messages:
    topics, payloads = side_by_side([b"t%d" % n for n in numbers], [b"p%d" % n for n in numbers])
    return Messages(
        topics=topics,
        payloads=payloads,
        packet_ids=np.array(numbers, np.intp),
        flags=bytes(n % 16 for n in numbers),
        received_at=received_at,
        wire_bytes=size * len(numbers),
    )


def oversized(packet_id: int) -> Oversized:
    return Oversized(b"t", packet_id, 2, 10**6, b"head", 5)


LIMITS = BatchLimits(max_messages=10, max_age_s=0.5, max_bytes=1000)


def test_nothing_waits_until_something_came() -> None:
    gathering = Gathering(LIMITS)
    assert gathering.due_at is None
    assert len(gathering.take()) == 0


def test_a_batch_is_due_by_the_age_of_its_first_message() -> None:
    gathering = Gathering(LIMITS)
    gathering.add(messages(range(1, 3)), 1, now=100.0)
    gathering.add(messages(range(3, 5)), 1, now=100.4)
    assert gathering.due_at == 100.5
    assert gathering.take().due.tolist() == [1, 2, 3, 4]
    assert gathering.due_at is None


@pytest.mark.parametrize(
    ("count", "size"),
    [pytest.param(10, 1, id="by count"), pytest.param(2, 500, id="by bytes")],
)
def test_a_full_batch_is_due_at_once(count: int, size: int) -> None:
    gathering = Gathering(LIMITS)
    gathering.add(messages(range(1, count), size=size), 1, now=0.0)
    assert gathering.due_at == 0.5
    gathering.add(messages(range(count, count + 1), size=size), 1, now=0.0)
    assert gathering.due_at == DUE_NOW


def test_where_many_come_a_batch_gathers_for_longer() -> None:
    limits = BatchLimits(max_messages=1000, max_age_s=0.5, max_bytes=6000)

    def age_after(*came: tuple[float, int]) -> float:
        gathering = Gathering(limits)
        for at, size in came:
            gathering.add(messages(range(1, 2), size=size), 1, now=100.0 + at)
        gathering.take()
        gathering.add(messages(range(2, 3)), 1, now=200.0)
        assert gathering.due_at is not None
        return gathering.due_at - 200.0

    assert age_after((0.0, 999)) == 0.5
    assert age_after((0.0, 1000)) == 1.5
    assert age_after((0.0, 500), (0.4, 500)) == 1.5
    assert age_after((0.0, 1000), (1.4, 1000)) == 0.5  # no more than 715 in half a second
    assert age_after((0.0, 1500), (1.4, 1500)) == 1.5  # many still: it stays patient


def test_what_is_left_of_a_large_read_keeps_its_age() -> None:
    gathering = Gathering(LIMITS)
    gathering.add(messages(range(1, 24), received_at=7), 1, now=100.0)
    assert gathering.take().due.tolist() == list(range(1, 11))
    assert gathering.take().due.tolist() == list(range(11, 21))
    assert gathering.due_at == 100.5
    last = gathering.take()
    assert last.due.tolist() == [21, 22, 23]
    assert [*last.topics] == [b"t21", b"t22", b"t23"]
    assert last.received_at.tolist() == [27, 28, 29]  # 7, and one more for each before it
    assert last.number == 3


def test_instants_go_back_with_a_clock_that_is_set_back() -> None:
    gathering = Gathering(LIMITS)
    hour_us = 3_600_000_000
    gathering.add(messages(range(1, 3), received_at=2 * hour_us), 1, now=0.0)
    gathering.add(messages(range(3, 5), received_at=hour_us), 1, now=0.1)
    first = gathering.take().received_at.tolist()
    assert first == [2 * hour_us + nth for nth in range(4)]
    gathering.add(messages(range(5, 7), received_at=hour_us), 1, now=0.2)
    assert gathering.take().received_at.tolist() == [hour_us, hour_us + 1]


def test_a_batch_ends_where_its_connection_ended() -> None:
    gathering = Gathering(LIMITS)
    gathering.add(messages(range(1, 3)), 1, now=100.0)
    gathering.add(messages(range(1, 4)), 2, now=100.1)
    assert gathering.due_at == DUE_NOW
    first, second = gathering.take(), gathering.take()
    assert (first.generation, first.due.tolist()) == (1, [1, 2])
    assert (second.generation, second.due.tolist()) == (2, [1, 2, 3])


def test_oversized_messages_are_apart_but_acknowledged_in_their_place() -> None:
    gathering = Gathering(LIMITS)
    gathering.add(messages(range(1, 3)), 1, now=0.0)
    gathering.add(oversized(9), 1, now=0.0)
    gathering.add(messages(range(3, 4)), 1, now=0.0)
    assert gathering.count == 4
    batch = gathering.take()
    assert (len(batch), len(batch.due), batch.oversized) == (3, 4, [oversized(9)])
    assert batch.due.tolist() == [1, 2, 9, 3]


def test_flags_are_readable_as_columns() -> None:
    gathering = Gathering(LIMITS)
    given_flags = bytes([0b0000, 0b0010, 0b1011, 0b1100])
    gathering.add(
        Messages(*side_by_side([b"t"] * 4, [b""] * 4), np.arange(4), given_flags), 1, now=0.0
    )
    batch = gathering.take()
    assert batch.dup.tolist() == [False, False, True, True]
    assert batch.retained.tolist() == [False, False, True, False]


@pytest.mark.parametrize("wrong", [{"max_messages": 0}, {"max_bytes": 0}, {"max_age_s": -1.0}])
def test_limits_that_allow_no_message_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="allow no message"):
        Gathering(BatchLimits(**wrong))


@given(
    st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.booleans()), max_size=30),
    st.integers(1, 40),
    st.integers(1, 400),
)
@settings(max_examples=200, deadline=None)
def test_batches_are_all_that_came_in_order_and_within_the_limits(
    reads: list[tuple[int, bool, bool]], most: int, largest: int
) -> None:
    gathering = Gathering(BatchLimits(most, 0.1, largest))
    came: list[tuple[int, int, int]] = []
    generation, number = 1, 0
    for at, (count, large, reconnected) in enumerate(reads):
        generation += reconnected
        if large:
            gathering.add(oversized(number := number + 1), generation, now=float(at))
            came.append((generation, number, 5))
        elif count:
            numbers = range(number + 1, number + 1 + count)
            gathering.add(messages(numbers, received_at=at * 10_000), generation, now=float(at))
            came += [(generation, n, at) for n in numbers]
            number += count
    got: list[tuple[int, int, int]] = []
    told: list[int] = []
    while gathering.due_at is not None:
        before = gathering.count
        batch = gathering.take()
        taken = before - gathering.count
        assert 1 <= taken <= most
        assert taken == len(batch) + len(batch.oversized) == len(batch.due)
        assert len(batch.topics) == len(batch.flags) == batch.received_at.size == len(batch)
        assert batch.received_at.dtype == np.int64
        told += batch.received_at.tolist()
        reads_of = (batch.received_at // 10_000).tolist()
        large = {each.packet_id for each in batch.oversized}
        due = batch.due.tolist()
        instants = dict(zip((n for n in due if n not in large), reads_of, strict=True))
        got += [(batch.generation, n, instants.get(n, 5)) for n in due]
    assert got == came
    assert gathering.count == 0
    assert all(earlier < later for earlier, later in pairwise(told))


def batch(number: int, generation: int, due: list[int]) -> Batch:
    return Batch(number, generation, topics=Texts.of([b"t"] * len(due)), due=np.array(due, np.intp))


class TestOutstanding:
    """Acknowledging: in order, once, and on the right connection only."""

    def test_a_settled_batch_gives_its_packet_ids_once(self) -> None:
        outstanding = Outstanding()
        outstanding.hand_out(batch(1, 1, [4, 5]))
        settled = outstanding.settle(1, 1)
        assert (settled.count, settled.stale, settled.due.tolist()) == (2, 0, [4, 5])
        assert outstanding.settle(1, 1).count == 0

    def test_a_batch_waits_for_those_before_it(self) -> None:
        outstanding = Outstanding()
        for number in (1, 2, 3):
            outstanding.hand_out(batch(number, 1, [number]))
        assert outstanding.settle(2, 1).due.tolist() == []
        assert outstanding.settle(1, 1).due.tolist() == [1, 2]
        assert outstanding.settle(3, 1).due.tolist() == [3]

    def test_packet_ids_of_an_earlier_connection_are_never_given(self) -> None:
        outstanding = Outstanding()
        outstanding.hand_out(batch(1, 1, [1, 2, 3]))
        outstanding.hand_out(batch(2, 2, [1]))
        first = outstanding.settle(1, 2)
        assert (first.count, first.stale, first.due.tolist()) == (3, 3, [])
        assert outstanding.settle(2, 2).due.tolist() == [1]

    def test_without_a_connection_nothing_is_given(self) -> None:
        outstanding = Outstanding()
        outstanding.hand_out(batch(1, 1, [1]))
        assert outstanding.settle(1, 0).due.tolist() == []
