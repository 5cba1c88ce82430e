"""What is sent as a canary, and how it is known when it is announced."""

import json

import pytest

from hazardloop.devices import wire
from hazardloop.devices.instants import rfc3339, utc
from hazardloop.service.canary_line import canary, canary_in

AT_MS = 1_796_000_000_123
TOLD = {"rule": "platform.canary", "change": "raised", "raised_at": rfc3339(utc(AT_MS * 1000))}


def test_a_canary_begins_and_ends_within_one_message() -> None:
    begins, ends = wire.decode_events(canary(AT_MS))
    assert (begins.ts, ends.ts) == (AT_MS, AT_MS + 1)
    assert begins.data != {"active": False} == ends.data


def test_it_is_known_by_its_time() -> None:
    assert canary_in(json.dumps(TOLD).encode()) == AT_MS * 1000


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff",
        b"[]",
        b"3",
        b"{}",
        json.dumps(TOLD | {"change": "cleared"}).encode(),
        json.dumps(TOLD | {"rule": "platform.spool_fill.high"}).encode(),
        json.dumps(TOLD | {"raised_at": "yesterday"}).encode(),
        json.dumps(TOLD | {"raised_at": None}).encode(),
    ],
)
def test_nothing_else_is_taken_for_one(payload: bytes) -> None:
    assert canary_in(payload) is None
