"""Bent packets and bent captures of real brokers: a small share of `benchmarks.fuzz_mqtt`."""

import random

import pytest

from benchmarks import fuzz_mqtt
from hazardloop.ingest.events import Connected, Granted, ProtocolViolation
from hazardloop.ingest.messages import Messages
from hazardloop.ingest.mqtt import Session


@pytest.mark.parametrize("seed", range(4))
def test_bent_packets_end_a_session_with_a_reason_or_not_at_all(seed: int) -> None:
    tally = fuzz_mqtt.run(3000, seed)
    assert tally.packets == 3000
    ended = sum(tally.violations.values())
    assert ended > 500, "hardly anything was malformed"
    assert tally.sessions - ended > 200, "hardly anything was not"
    assert {"0x81", "0x82"} <= tally.violations.keys()


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize("seed", range(5))
def test_what_real_brokers_sent_is_read_however_it_is_cut(protocol: int, seed: int) -> None:
    chance = random.Random(seed)
    for stream in fuzz_mqtt.captured()[protocol]:
        session = Session(protocol)
        events, at = [], 0
        while at < len(stream):
            size = chance.randint(1, 300)
            events += session.receive(stream[at : at + size])
            at += size
        assert not [event for event in events if isinstance(event, ProtocolViolation)]
        assert isinstance(events[0], Connected)
        assert isinstance(events[1], Granted)
        messages = [event for event in events if isinstance(event, Messages)]
        assert sum(map(len, messages)) == 40
        assert {flags >> 1 & 3 for each in messages for flags in each.flags} == {0, 1, 2}


def test_the_judge_sees_a_core_that_breaks_its_word() -> None:
    class Grows(Session):
        @property
        def held(self) -> int:
            return 1 << 30

    with pytest.raises(fuzz_mqtt.Surprise, match="bytes held"):
        fuzz_mqtt._judge(Grows(), [], False, fuzz_mqtt.Tally())
    over = [ProtocolViolation("x", 0x81)]
    with pytest.raises(fuzz_mqtt.Surprise, match="after the end"):
        fuzz_mqtt._judge(Session(), over, True, fuzz_mqtt.Tally())
    with pytest.raises(fuzz_mqtt.Surprise, match="proper end"):
        fuzz_mqtt._judge(Session(), [ProtocolViolation("", 0)], False, fuzz_mqtt.Tally())
