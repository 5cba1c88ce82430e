"""What is kept of refused messages, and what gateways are told of them."""

import json

import numpy as np

from hazardloop.devices.drafting import build_registry
from hazardloop.devices.instants import MINUTE_US
from hazardloop.devices.registry import GatewayRecord
from hazardloop.devices.wire import Reason
from hazardloop.ingest.batching import Batch
from hazardloop.ingest.judging import Reject
from hazardloop.ingest.letters import Notes, Quota, Sorted, sort_letters
from hazardloop.ingest.messages import Oversized
from hazardloop.ingest.texts import Texts

REGISTRY = build_registry(1, [GatewayRecord(7, "G7", 1, "E1"), GatewayRecord(8, "G8", 2, "E2")], [])
G7, G8 = b"hl/v1/E1/G7/telemetry", b"hl/v1/E2/G8/telemetry"


def refused(quota: Quota, *topics: bytes, minute: int = 3, readings: int = 0) -> Sorted:
    n = len(topics)
    batch = Batch(
        1, 1, Texts.of(topics), Texts.of(b"%d" % nth for nth in range(n)), bytes(n),
        np.full(n, minute * MINUTE_US, np.int64) + np.arange(n),
    )  # fmt: skip
    rejects = [Reject(nth, Reason.NOT_JSON, f"no {nth}", readings) for nth in range(n)]
    return sort_letters(rejects, batch, REGISTRY, quota)


def test_a_broken_gateway_floods_nobody_and_every_message_is_counted() -> None:
    quota = Quota(most=3)
    first = refused(quota, *[G7] * 5, G8)
    again = refused(quota, *[G7] * 4, G8, readings=2)
    assert [letter.gateway_id for letter in first.letters] == [7, 7, 7, 8]
    assert [(c.gateway_id, c.enterprise_id, c.messages) for c in first.counted] == [(7, 1, 2)]
    assert [letter.gateway_id for letter in again.letters] == [8]
    assert [(c.gateway_id, c.messages, c.readings) for c in again.counted] == [(7, 4, 8)]
    assert (first.figures, again.figures) == ({"not_json": 6}, {"not_json": 10})
    later = refused(quota, *[G7] * 2, minute=4)
    assert (len(later.letters), later.counted) == (2, [])


def test_strangers_share_what_is_kept_of_one() -> None:
    found = refused(Quota(most=2), *(b"hl/v1/E1/X%d/telemetry" % nth for nth in range(9)))
    assert len(found.letters) == 2
    assert [(c.gateway_id, c.messages) for c in found.counted] == [(None, 7)]
    assert found.refusals == []


def test_the_quota_forgets_minutes_that_are_over() -> None:
    quota = Quota(most=1)
    for minute in range(100):
        refused(quota, G7, G8, minute=minute)
    assert len(quota._kept) <= 4


def test_oversized_messages_are_among_them_and_a_long_topic_is_cut() -> None:
    batch = Batch(1, 1, oversized=[Oversized(b"x" * 60_000, 1, 0, 10**6, b"head", MINUTE_US)])
    (letter,) = sort_letters([], batch, REGISTRY, Quota()).letters
    assert (letter.reason, letter.payload, letter.payload_bytes) == ("too_large", b"head", 10**6)
    assert len(letter.topic) == 1_000


def test_a_gateway_is_told_once_a_second_with_the_count_of_the_rest() -> None:
    notes, quota = Notes(), Quota(most=1)
    told = []
    for at_us in (0, 400_000, 1_000_000, 5_000_000):
        found = refused(quota, *[G7] * 3)
        told.append(notes.due(found.refusals, REGISTRY, at_us))
    bodies = [[json.loads(payload) for _, payload in one] for one in told]
    assert [[body["others"] for body in one] for one in bodies] == [[0], [], [5], [2]]
    assert bodies[0][0]["detail"] == "no 0"
    assert told[0][0][0] == "hl/v1/E1/G7/reject"
