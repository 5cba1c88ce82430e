"""Retained messages: dated ones count once, undated ones are no news."""

import numpy as np

from hazardloop.devices.wire import Reason
from hazardloop.ingest.decoding import Intake, decode
from hazardloop.ingest.retained import without_undated_replays
from hazardloop.ingest.texts import Texts
from tests.unit.ingest.test_decoding import MINE, NOW_MS, NOW_US, ROUTES


def taken(*payloads: str) -> Intake:
    received_at = np.full(len(payloads), NOW_US) + np.arange(len(payloads))
    topics = Texts.of([MINE.encode()] * len(payloads))
    return decode(topics, Texts.of(map(str.encode, payloads)), received_at, ROUTES)


def test_a_retained_reading_without_a_time_is_set_aside_and_costs_its_neighbours_nothing() -> None:
    given = taken(
        '{"values": {"GD-1.lel": 1}}',
        f'[{{"values": {{"GD-1.lel": 2}}}}, {{"ts": {NOW_MS}, "values": {{"GD-1.lel": 3}}}}]',
        f'{{"ts": {NOW_MS}, "values": {{"GD-1.lel": 4}}}}',
        '{"values": {"GD-1.lel": 5, "GD-1.in_service": true}}',
    )
    left = without_undated_replays(given, np.array([False, True, True, True]))
    assert left.readings.value.tolist() == [1, 3, 4]
    assert [(each.message, each.reason, each.readings) for each in left.rejects] == [
        (1, Reason.DUPLICATE, 1),
        (3, Reason.DUPLICATE, 2),
    ]


def test_live_messages_are_left_as_they_are() -> None:
    given = taken('{"values": {"GD-1.lel": 1}}', '{"values": {"GD-1.lel": 2}}')
    assert without_undated_replays(given, np.zeros(2, np.bool_)) is given
