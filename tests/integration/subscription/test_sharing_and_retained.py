"""Who gets a message when several ask, and what a broker kept."""

import asyncio
from collections import Counter
from pathlib import Path

from hazardloop.ingest import packets
from tests.brokers import Broker, nats
from tests.integration.subscription.asking import (
    gather,
    publish,
    speak,
    subscription,
    until,
)
from tests.integration.subscription.script import (
    read_packet,
    scripted,
)
from tests.worlds import PATIENCE_S


class TestSharing:
    """$share: the members of a group get each message once among them."""

    async def test_two_members_share_all_messages_between_them(
        self, mosquitto_broker: Broker
    ) -> None:
        sent = [b"%d" % n for n in range(400)]
        given = {"protocol": 5, "share": "workers", "retained": ("hl/v1/+/+/event",)}
        url = mosquitto_broker.url
        async with (
            subscription(url, client_id="one", **given) as one_member,
            subscription(url, client_id="two", **given) as other_member,
        ):
            assert await one_member.subscribed(PATIENCE_S)
            assert await other_member.subscribed(PATIENCE_S)
            await publish(mosquitto_broker, sent)
            got: Counter[bytes] = Counter()
            shares = []
            for member in (one_member, other_member):
                mine: list[bytes] = []
                while (batch := await member.next_batch(0.5)) is not None:
                    mine += batch.payloads
                    await member.acknowledge(batch)
                shares.append(len(mine))
                got.update(mine)
            assert got == Counter(sent), "each message goes to one member"
            assert min(shares) > 0, shares
            await publish(mosquitto_broker, [b"e"], topic="hl/v1/E/G/event")
            for member in (one_member, other_member):
                assert (await gather(member, 1))[0] == [b"e"], "what is not shared goes to all"

    async def test_a_member_that_leaves_for_good_leaves_its_share_to_the_other(
        self, mosquitto_broker: Broker
    ) -> None:
        given = {"protocol": 5, "share": "workers", "session_expiry_s": 0}
        url = mosquitto_broker.url
        async with subscription(url, client_id="one", **given) as one_member:
            assert await one_member.subscribed(PATIENCE_S)
            async with subscription(url, client_id="two", **given) as other_member:
                assert await other_member.subscribed(PATIENCE_S)
            sent = [b"%d" % n for n in range(100)]
            await publish(mosquitto_broker, sent)
            assert sorted((await gather(one_member, 100))[0]) == sorted(sent)

    async def test_a_broker_of_3_1_1_is_refused_with_what_it_lacks(self, tmp_path: Path) -> None:
        with nats(tmp_path) as broker:
            async with subscription(broker.url, protocol=5, share="workers") as worker:
                failed = await until(worker, lambda state: state.last_error is not None)
        assert "does not speak MQTT 5, and shared subscriptions" in str(failed.last_error)

    async def test_a_broker_that_shares_nothing_is_refused(self) -> None:
        async def part(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_packet(reader)
            writer.write(b"\x20\x05\0\0\2\x2a\0")
            await reader.read()

        async with (
            scripted(part) as url,
            subscription(url, protocol=5, share="workers") as worker,
        ):
            failed = await until(worker, lambda state: state.last_error is not None)
        assert "$share/workers: shared subscriptions not supported" in str(failed.last_error)


class TestRetained:
    """What a broker kept is not news, and a status that it kept is wanted."""

    async def test_mqtt_5_sends_what_is_wanted_only(self, mosquitto_broker: Broker) -> None:
        broker = mosquitto_broker
        await speak(
            broker,
            ("hl/v1/E/G/telemetry", b"old", 1, True),
            ("hl/v1/E/G/event", b"status", 1, True),
        )
        async with subscription(broker.url, protocol=5, retained=("hl/v1/+/+/event",)) as worker:
            assert await worker.subscribed(PATIENCE_S)
            await speak(broker, ("hl/v1/E/G/telemetry", b"new", 1, True))
            payloads, batches = await gather(worker, 2)
        flags = {
            payload: bool(retained)
            for batch in batches
            for payload, retained in zip(batch.payloads, batch.retained, strict=True)
        }
        assert (payloads, flags) == ([b"status", b"new"], {b"status": True, b"new": False})

    async def test_3_1_1_marks_what_was_kept_at_every_subscribe(self, broker: Broker) -> None:
        for _ in range(2):
            await speak(broker, ("hl/v1/E/G/telemetry", b"kept", 1, True))
            async with subscription(broker.url) as worker:
                _, (batch, *_) = await gather(worker, 1)
                while not batch.retained.any():  # on the second round: live, while we were away
                    _, (batch, *_) = await gather(worker, 1)
                assert batch.payloads[list(batch.retained).index(True)] == b"kept"

    async def test_a_last_will_arrives_as_a_live_message(self, broker: Broker) -> None:
        topic = "hl/v1/E/G/event"
        async with subscription(broker.url) as worker:
            assert await worker.subscribed(PATIENCE_S)
            reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
            will = packets.Will(topic, b'{"online":false}', 1, True)
            writer.write(packets.connect("gateway", clean_start=True, will=will))
            await read_packet(reader)
            writer.transport.abort()
            _, (batch,) = await gather(worker, 1)
        assert (list(batch.topics), list(batch.payloads)) == (
            [topic.encode()],
            [b'{"online":false}'],
        )
        assert not batch.retained.any()
