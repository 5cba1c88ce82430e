"""What any broker must give and take, whatever its windows and our limits."""

import asyncio
from pathlib import Path

import pytest
import uvloop

from hazardloop.ingest.batching import BatchLimits
from tests.brokers import Broker, mosquitto, nats
from tests.integration.subscription.asking import (
    gather,
    publish,
    speak,
    subscription,
    until,
)
from tests.worlds import PATIENCE_S


class TestRealBrokers:
    """What any broker must give and take."""

    async def test_everything_published_arrives_in_order(self, broker: Broker) -> None:
        sent = [b"%d:" % n + b"x" * (n % 300) for n in range(3000)]
        async with subscription(broker.url) as worker:
            assert await worker.subscribed(PATIENCE_S)
            publishing = asyncio.create_task(publish(broker, sent))
            got, batches = await gather(worker, len(sent))
            await publishing
            state = worker.state
        assert got == sent
        assert {topic for batch in batches for topic in batch.topics} == {b"hl/v1/E/G/telemetry"}
        assert all(0 not in batch.due for batch in batches)
        assert (state.unacknowledged, state.waiting, state.received) == (0, 0, 3000)
        assert state.last_message_at <= batches[-1].received_at[-1]

    async def test_mqtt_5_gives_the_same(self, mosquitto_broker: Broker) -> None:
        sent = [b"%d" % n for n in range(2000)]
        async with subscription(mosquitto_broker.url, protocol=5, window=300) as worker:
            assert await worker.subscribed(PATIENCE_S)
            await publish(mosquitto_broker, sent)
            got, _ = await gather(worker, len(sent))
        assert got == sent

    def test_it_runs_on_uvloop(self, broker: Broker) -> None:
        async def carry() -> list[bytes]:
            async with subscription(broker.url) as worker:
                assert await worker.subscribed(PATIENCE_S)
                await publish(broker, [b"%d" % n for n in range(500)])
                return (await gather(worker, 500))[0]

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            assert runner.run(carry()) == [b"%d" % n for n in range(500)]

    async def test_what_was_published_meanwhile_is_waiting(self, broker: Broker) -> None:
        async with subscription(broker.url) as worker:
            assert await worker.subscribed(PATIENCE_S)
        await publish(broker, [b"%d" % n for n in range(200)])
        async with subscription(broker.url) as worker:
            got, _ = await gather(worker, 200)
        assert got == [b"%d" % n for n in range(200)]

    async def test_an_idle_connection_is_kept_alive(self, broker: Broker) -> None:
        async with subscription(broker.url, keep_alive_s=1) as worker:
            assert await worker.subscribed(PATIENCE_S)
            assert await worker.next_batch(3.2) is None
            assert (worker.state.connected, worker.state.generation) == (True, 1)

    async def test_a_frozen_broker_is_noticed_and_found_again(self, broker: Broker) -> None:
        async with subscription(broker.url, keep_alive_s=1, connect_timeout_s=0.5) as worker:
            assert await worker.subscribed(PATIENCE_S)
            broker.freeze()
            lost = await until(worker, lambda state: not state.connected)
            assert lost.last_error == "nothing heard for 1.5 s"
            broker.thaw()
            assert await worker.subscribed(PATIENCE_S)
            await publish(broker, [b"after"])
            assert (await gather(worker, 1))[0] == [b"after"]

    async def test_a_session_taken_over_comes_back(self, broker: Broker) -> None:
        async with subscription(broker.url) as worker:
            assert await worker.subscribed(PATIENCE_S)
            async with subscription(broker.url) as other:
                assert await other.subscribed(PATIENCE_S)
                await until(worker, lambda state: state.last_error is not None)
            await until(worker, lambda state: state.connections >= 2 and state.connected)
            await publish(broker, [b"x"])
            assert b"x" in (await gather(worker, 1))[0]


class TestWindows:
    """What a broker lets be unacknowledged bounds a batch, and never stops it."""

    async def test_the_20_messages_of_a_mosquitto_as_it_comes_do_not_block_a_batch(
        self, tmp_path: Path
    ) -> None:
        sent = [b"%d" % n for n in range(1000)]
        with mosquitto(tmp_path, inflight=20) as broker:
            async with subscription(broker.url, limits=BatchLimits(5000, 0.02)) as worker:
                assert await worker.subscribed(PATIENCE_S)
                await publish(broker, sent)
                got, batches = await gather(worker, 1000)
        assert got == sent
        assert len(batches[0]) <= 20, "the window is what it is said to be"

    async def test_what_nats_lets_be_pending_does_not_block_a_batch(self, tmp_path: Path) -> None:
        sent = [b"%d" % n for n in range(1000)]
        with nats(tmp_path, max_ack_pending=30, sync="1s") as broker:
            async with subscription(broker.url, limits=BatchLimits(5000, 0.02)) as worker:
                assert await worker.subscribed(PATIENCE_S)
                await publish(broker, sent)
                got, batches = await gather(worker, 1000)
        assert got == sent
        assert len(batches[0]) <= 30, "the window is what it is said to be"

    async def test_the_receive_maximum_of_mqtt_5_is_respected(
        self, mosquitto_broker: Broker
    ) -> None:
        given = {"protocol": 5, "window": 15}
        async with subscription(mosquitto_broker.url, **given) as worker:
            assert await worker.subscribed(PATIENCE_S)
            await publish(mosquitto_broker, [b"%d" % n for n in range(100)])
            _, batches = await gather(worker, 15, acknowledge=False)
            assert await worker.next_batch(0.3) is None, "15 are in our hands, no more may come"
            for batch in batches:
                await worker.acknowledge(batch)
            assert len((await gather(worker, 85))[0]) == 85

    async def test_qos_2_comes_once(self, broker: Broker) -> None:
        async with subscription(broker.url, qos=2) as worker:
            assert await worker.subscribed(PATIENCE_S)
            said = [("hl/v1/E/G/telemetry", b"%d" % n, n % 3, False) for n in range(60)]
            await speak(broker, *said)
            payloads, batches = await gather(worker, 60)
            assert await worker.next_batch(0.2) is None
        levels = [flags >> 1 for batch in batches for flags in batch.flags]
        came = list(zip(levels, payloads, strict=True))
        # A broker keeps the order of each level of service, not of one among the others.
        for level in range(3):
            assert [payload for qos, payload in came if qos == level] == [
                payload for _, payload, qos, _ in said if qos == level
            ]


class TestLargeMessages:
    """A message that is too large is shown and acknowledged, and never blocks the others."""

    @pytest.mark.parametrize("protocol", [4, 5])
    async def test_up_to_the_limit_whole_and_beyond_it_reported(
        self, protocol: int, mosquitto_broker: Broker
    ) -> None:
        refused, poison = b"r" * 300 * 1024, b"p" * 3_000_000
        async with subscription(mosquitto_broker.url, protocol=protocol) as worker:
            assert await worker.subscribed(PATIENCE_S)
            await publish(mosquitto_broker, [b"first", refused, poison, b"last"])
            payloads, oversized = [], []
            while b"last" not in payloads:
                _, (batch,) = await gather(worker, 0 if oversized else 1)
                payloads += batch.payloads
                oversized += batch.oversized
        async with subscription(mosquitto_broker.url, protocol=protocol) as worker:
            assert await worker.subscribed(PATIENCE_S)
            assert await worker.next_batch(0.3) is None
        assert payloads == [b"first", refused, b"last"]
        (found,) = oversized
        assert (found.topic, found.payload_bytes) == (b"hl/v1/E/G/telemetry", 3_000_000)
        assert found.head == b"p" * 4096
        assert found.received_at > 0
