"""What a batch leaves for the balance."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from hazardloop.devices.drafting import build_registry
from hazardloop.devices.readings import Readings
from hazardloop.devices.registry import GatewayRecord
from hazardloop.ingest.arrivals import (
    AGAIN,
    MINUTE_US,
    UNNUMBERED,
    Arrivals,
    Fate,
    Senders,
    arrivals_of,
    fates,
    in_runs,
    numbers_in,
)
from hazardloop.ingest.batching import Batch
from hazardloop.ingest.messages import DUP, Oversized
from hazardloop.ingest.texts import Texts

REGISTRY = build_registry(1, [GatewayRecord(7, "G7", 1, "E1"), GatewayRecord(8, "G8", 1, "E1")], [])
G7, G8, STRANGER = b"hl/v1/E1/G7/telemetry", b"hl/v1/E1/G8/event", b"hl/v1/E9/G9/telemetry"


@dataclass
class Numbers:
    message: npt.NDArray[np.int32]
    gateway_id: npt.NDArray[np.int32]
    seq: npt.NDArray[np.int64]


def numbers(*rows: tuple[int, int, int]) -> Numbers:
    columns = np.array(rows, np.int64).reshape(-1, 3).T
    return Numbers(columns[0].astype(np.int32), columns[1].astype(np.int32), columns[2])


def batch_of(messages: Sequence[tuple[bytes, bytes, int]], minute: int = 5) -> Batch:
    n = len(messages)
    return Batch(
        1, 1, Texts.of(topic for topic, _, _ in messages),
        Texts.of(payload for _, payload, _ in messages), bytes(flags for _, _, flags in messages),
        np.full(n, minute * MINUTE_US, np.int64) + np.arange(n),
    )  # fmt: skip


def runs(batch: Batch, numbered: Numbers, fate: Sequence[int]) -> list[tuple[int, ...]]:
    senders = Senders(REGISTRY.gateways)
    _, arrivals = arrivals_of(batch, numbered, np.array(fate, np.int16), senders)
    return list(in_runs(arrivals).runs())


def test_messages_that_follow_each_other_are_one_run_however_gateways_take_turns() -> None:
    batch = batch_of([(G7, b"", 0), (G8, b"", 0)] * 3)
    numbered = numbers((0, 7, 1), (1, 8, 9), (2, 7, 2), (3, 8, 10), (4, 7, 3), (5, 8, 12))
    assert runs(batch, numbered, [0] * 6) == [(7, 5, 1, 3, 0), (8, 5, 9, 2, 0), (8, 5, 12, 1, 0)]


def test_an_array_brings_several_numbers_that_share_their_message_s_fate() -> None:
    batch = batch_of([(G7, b"", 0), (G7, b"", 0)])
    numbered = numbers((0, 7, 1), (0, 7, 2), (1, 7, 3), (1, 7, 4))
    assert runs(batch, numbered, [0, 2]) == [(7, 5, 1, 2, 0), (7, 5, 3, 2, 2)]


def test_the_numbers_of_an_array_do_not_hide_a_message_that_has_none() -> None:
    batch = batch_of([(G7, b"", 0), (G8, b"", 0)])
    assert runs(batch, numbers((0, 7, 1), (0, 7, 2)), [0, 0]) == [
        (7, 5, 1, 2, 0),
        (8, 5, 0, 1, UNNUMBERED),
    ]


def test_without_a_number_messages_are_counted_and_strangers_are_not() -> None:
    batch = batch_of([(G7, b"", 0), (STRANGER, b"", 0), (G7, b"", 0), (G8, b"", DUP)])
    assert runs(batch, numbers(), [0, 2, 0, 1]) == [
        (7, 5, 0, 2, UNNUMBERED),
        (8, 5, 0, 1, UNNUMBERED | AGAIN | Fate.DUPLICATE),
    ]


def test_the_number_of_a_broken_payload_is_read_where_it_can_be() -> None:
    cut = b'[{"ts": 1, "seq": 41, "values": {"A.x": 1}}, {"ts": 2, "seq" :42, "val'
    batch = batch_of([(G7, cut, 0), (G7, b"\xff\xfe", 0)])
    batch.oversized.append(Oversized(G8, 1, 0, 10**6, b'{"seq":7,', 5 * MINUTE_US))
    assert runs(batch, numbers(), [2, 2]) == [
        (7, 5, 41, 2, 2),
        (7, 5, 0, 1, UNNUMBERED | 2),
        (8, 5, 7, 1, 2),
    ]
    assert numbers_in(b'{"seq": 1.5, "seq": -3, "seq": 1e5, "seq": 99999999999999999999}') == []


@given(
    st.lists(
        st.tuples(
            st.integers(1, 3),
            st.integers(5, 6),
            st.integers(1, 6),
            st.sampled_from([0, 1, AGAIN, UNNUMBERED]),
        ),
        max_size=40,
    )
)
def test_runs_hold_what_single_messages_held_and_keep_the_order_of_each_gateway(
    rows: list[tuple[int, int, int, int]],
) -> None:
    types = (np.int32, np.int32, np.int64, np.int16)
    columns = np.array(rows, np.int64).reshape(-1, 4).T
    gateway_id, minute, first, kind = (c.astype(t) for c, t in zip(columns, types, strict=True))
    first = np.where(kind & UNNUMBERED, 0, first)
    ones = np.ones(len(rows), np.int32)
    found = in_runs(Arrivals(gateway_id, minute, first, ones, kind))  # type: ignore[arg-type]
    for gateway in (1, 2, 3):
        wanted = [(m, 0 if k & UNNUMBERED else n, k) for g, m, n, k in rows if g == gateway]
        single = [
            (m, 0 if k & UNNUMBERED else f + nth, k)
            for g, m, f, count, k in found.runs()
            if g == gateway
            for nth in range(count)
        ]
        assert single == wanted
    assert Counter(found.gateway_id.tolist()).keys() == {g for g, *_ in rows}


def test_a_message_is_stored_if_anything_of_it_is_new() -> None:
    def readings(*message: int) -> Readings:
        n = len(message)
        times = np.zeros(n, np.int64)
        of = np.array(message, np.int32)
        return Readings(of, times, times, np.zeros(n), np.zeros(n, np.int16), of)

    fate = fates(5, readings(0, 0, 1, 2), readings(0, 2), [2, 3])
    assert fate.tolist() == [Fate.STORED, Fate.DUPLICATE, Fate.STORED, Fate.REJECTED, Fate.STORED]
