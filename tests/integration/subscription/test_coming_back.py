"""Connections, sessions and processes that end while messages are in our hands."""

import asyncio
from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from hazardloop.ingest.batching import BatchLimits
from hazardloop.ingest.subscription import Subscription
from tests.brokers import Broker, mosquitto, nats
from tests.integration.subscription.asking import (
    gather,
    options,
    publish,
    subscription,
    until,
)
from tests.worlds import PATIENCE_S


def redelivering(kind: str, home: Path) -> AbstractContextManager[Broker]:
    """A broker that soon sends again what was not acknowledged, and survives `kill`."""
    return mosquitto(home, durable=True) if kind == "mosquitto" else nats(home, ack_wait_s=1.0)


class TestLostConnection:
    """A worker or a broker that goes away while messages are in our hands."""

    @pytest.mark.parametrize("kind", ["mosquitto", "nats"])
    async def test_only_what_was_not_acknowledged_comes_again(
        self, kind: str, tmp_path: Path
    ) -> None:
        limits = BatchLimits(max_messages=10)
        with redelivering(kind, tmp_path) as broker:
            async with subscription(broker.url, limits=limits) as worker:
                assert await worker.subscribed(PATIENCE_S)
                await publish(broker, [b"%d" % n for n in range(30)])
                payloads, batches = await gather(worker, 30, acknowledge=False)
                await worker.acknowledge(batches[0])
            async with subscription(broker.url) as worker:
                expected = set(payloads) - set(batches[0].payloads)
                seen: set[bytes] = set()
                while len(seen) < len(expected):
                    seen |= set((await gather(worker, 1))[0])
                assert worker.state.session_present
                assert await worker.next_batch(1.5) is None
        assert seen == expected

    @pytest.mark.parametrize("kind", ["mosquitto", "nats"])
    async def test_old_acknowledgements_lose_no_new_message(
        self, kind: str, tmp_path: Path
    ) -> None:
        with redelivering(kind, tmp_path) as broker:
            async with subscription(broker.url) as worker:
                assert await worker.subscribed(PATIENCE_S)
                await publish(broker, [b"old1", b"old2", b"old3"])
                _, old = await gather(worker, 3, acknowledge=False)
                broker.kill()
                await until(worker, lambda state: not state.connected)
                broker.start()
                assert await worker.subscribed(PATIENCE_S)
                await publish(broker, [b"new1", b"new2", b"new3"])
                for batch in old:
                    await worker.acknowledge(batch)
                assert worker.state.stale_acknowledgements == 3
            async with subscription(broker.url) as worker:
                seen: set[bytes] = set()
                while not seen >= {b"new1", b"new2", b"new3"}:
                    seen |= set((await gather(worker, 1))[0])

    async def test_a_restarted_broker_is_found_and_nothing_is_lost(self, tmp_path: Path) -> None:
        sent = [b"%d" % n for n in range(400)]
        with nats(tmp_path, ack_wait_s=1.0) as broker:
            async with subscription(broker.url) as worker:
                assert await worker.subscribed(PATIENCE_S)
                seen: Counter[bytes] = Counter()
                for part in range(4):
                    await publish(broker, sent[part * 100 : part * 100 + 100])
                    batch = await worker.next_batch(PATIENCE_S)
                    assert batch is not None
                    seen.update(batch.payloads)
                    broker.kill()
                    await worker.acknowledge(batch)
                    broker.start()
                while len(seen) < 400:
                    seen.update((await gather(worker, 1))[0])
                assert worker.state.connections >= 4
        assert set(seen) == set(sent)


class TestSessions:
    """How long a broker remembers us, and that we see it when it has forgotten."""

    async def test_a_forgotten_session_is_noticed(self, broker: Broker) -> None:
        async with subscription(broker.url, keep_alive_s=1) as worker:
            assert await worker.subscribed(PATIENCE_S)
            assert worker.state.sessions_lost == 0
            # Somebody with our name who wants no session: the broker drops ours.
            async with subscription(broker.url, clean_start=True) as thief:
                assert await thief.subscribed(PATIENCE_S)
            lost = await until(worker, lambda state: state.connections >= 2 and state.connected)
        assert (lost.session_present, lost.sessions_lost) == (False, 1)

    async def test_a_process_that_had_one_before_notices_at_its_first_login(
        self, broker: Broker
    ) -> None:
        for had, lost in ((False, 0), (True, 1)):
            fresh = options(broker.url, client_id=f"worker-{had}")
            async with Subscription(fresh, had_session=had) as worker:
                assert await worker.subscribed(PATIENCE_S)
                assert worker.state.sessions_lost == lost

    async def test_mqtt_5_sessions_expire_when_they_were_told_to(
        self, mosquitto_broker: Broker
    ) -> None:
        for expiry_s, kept in ((1, False), (60, True)):
            given = {"protocol": 5, "session_expiry_s": expiry_s, "client_id": f"w{expiry_s}"}
            async with subscription(mosquitto_broker.url, **given) as worker:
                assert await worker.subscribed(PATIENCE_S)
            await asyncio.sleep(2.5)
            async with subscription(mosquitto_broker.url, **given) as worker:
                assert await worker.subscribed(PATIENCE_S)
                assert worker.state.session_present is kept
