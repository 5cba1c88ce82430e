"""Messages that a broker acknowledged and dropped are not silent."""

import asyncio
from pathlib import Path

import aiomqtt
import pytest

from hazardloop.service.embedded.accounts import gateway_account, service_accounts
from hazardloop.service.embedded.nats import EmbeddedNats
from hazardloop.service.embedded.refusals import Refusals
from hazardloop.service.gateway_secret import hashed
from tests.brokers import free_port
from tests.worlds import eventually, query

LETTERS = "SELECT reason, topic, detail, gateway_id FROM dead_letter ORDER BY 1"


async def test_a_publish_to_anothers_topic_is_set_aside_with_its_reason(
    database: str, home: Path
) -> None:
    broker = EmbeddedNats(home, "127.0.0.1", free_port(), "1s")
    known = hashed("secret")
    own = gateway_account("E1", "G1", "E1.G1", known.bcrypt, known.pbkdf2)
    broker.launch([*service_accounts("worker", "service"), own])
    try:
        await broker.accepting()
        following = asyncio.create_task(Refusals(broker.child.log).follow(database))
        async with aiomqtt.Client(
            "127.0.0.1", broker.port, username="E1.G1", password="secret", identifier="E1:G1"
        ) as gateway:
            for topic in ("hl/v1/E2/G9/telemetry", "hl/v1/E1/G1/telemetry", "elsewhere"):
                await gateway.publish(topic, b'{"values": {}}', qos=1)
        await asyncio.to_thread(
            eventually, lambda: len(query(database, LETTERS)) == 2, "both are set aside"
        )
        following.cancel()
    finally:
        broker.child.stop()
    detail = "client 'E1:G1' may not publish there: the broker acknowledged and dropped it"
    assert query(database, LETTERS) == [
        ("unknown_gateway", "elsewhere", detail, None),
        ("wrong_enterprise", "hl/v1/E2/G9/telemetry", detail, None),
    ]


def test_a_log_that_was_set_aside_is_read_from_its_new_start(tmp_path: Path) -> None:
    log = tmp_path / "nats.log"
    log.write_text("x" * 500)
    refusals = Refusals(log)
    line = '[1] [ERR] 127.0.0.1:1 - mid:7 - "c" - Publish Violation - Subject "hl.v1.E.G.event"\n'
    log.write_text(line + line[:40])
    assert [letter.topic for letter in refusals.read()] == ["hl/v1/E/G/event"]
    assert list(refusals.read()) == []
    log.write_text(line + line)
    assert len(list(refusals.read())) == 1


@pytest.mark.parametrize("text", ["", "\n", '"c" - Publish Violation - Subject ""\n', "\xff\n"])
def test_other_lines_are_none_of_its_business(tmp_path: Path, text: str) -> None:
    log = tmp_path / "nats.log"
    log.touch()
    refusals = Refusals(log)
    log.write_text(text)
    assert list(refusals.read()) == []


def test_a_dot_in_a_topic_is_a_dot_again(tmp_path: Path) -> None:
    log = tmp_path / "nats.log"
    log.touch()
    refusals = Refusals(log)
    subject = "spBv1//0.E2.NDATA.G1"
    log.write_text(f'- "c" - Publish Violation - Subject "{subject}"\n')
    (letter,) = refusals.read()
    assert (letter.topic, letter.reason) == ("spBv1.0/E2/NDATA/G1", "wrong_enterprise")
