"""Moments a real broker does not show on demand."""

import asyncio

import numpy as np
import pytest

from hazardloop.ingest import packets
from hazardloop.ingest.batching import BatchLimits
from hazardloop.ingest.errors import SubscriptionClosed
from tests.integration.subscription.asking import (
    gather,
    subscription,
    until,
)
from tests.integration.subscription.script import (
    ACCEPTED,
    greet,
    one,
    read_packet,
    rest,
    scripted,
)
from tests.worlds import PATIENCE_S

closing: list[asyncio.Task[None]] = []


class TestScriptedBroker:
    """Moments a real broker does not show on demand."""

    async def test_topic_aliases_are_announced_and_understood(self) -> None:
        announced = asyncio.get_running_loop().create_future()

        async def part(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            announced.set_result(await read_packet(reader))
            writer.write(b"\x20\x03\0\0\0")
            await read_packet(reader)
            writer.write(b"\x90\x05\0\1\0\1\1")
            writer.write(b"\x30\x0a\0\3a/b\x03\x23\0\7x" + b"\x30\x07\0\0\x03\x23\0\7y" * 40)
            await reader.read()

        async with (
            scripted(part) as url,
            subscription(url, protocol=5, topic_alias_maximum=10) as worker,
        ):
            payloads, batches = await gather(worker, 41)
        assert b"\x22\0\x0a" in await announced
        assert payloads == [b"x"] + [b"y"] * 40
        assert {topic for batch in batches for topic in batch.topics} == {b"a/b"}

    async def test_a_number_sent_again_is_acknowledged_with_its_first_message(self) -> None:
        acknowledged = asyncio.get_running_loop().create_future()

        async def part(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await greet(reader, writer)
            again = packets.publish("t", b"1", qos=1, packet_id=1, dup=True)
            writer.write(one(b"1") + one(b"2", 2) + again)
            acknowledged.set_result(await rest(reader))

        async with scripted(part) as url, asyncio.timeout(PATIENCE_S):
            async with subscription(url, limits=BatchLimits(max_messages=1)) as worker:
                _, batches = await gather(worker, 3, acknowledge=False)
                for batch in batches:
                    await worker.acknowledge(batch)
            assert await acknowledged == packets.acknowledgements(np.array([1, 2]))

    async def test_an_acknowledgement_never_crosses_to_the_next_connection(self) -> None:
        acknowledged = asyncio.get_running_loop().create_future()

        async def before(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await greet(reader, writer)
            writer.write(one(b"old"))

        async def after(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await greet(reader, writer)
            writer.write(one(b"new"))
            acknowledged.set_result(await rest(reader))

        async with scripted(before, after) as url, asyncio.timeout(PATIENCE_S):
            async with subscription(url) as worker:
                _, (old,) = await gather(worker, 1, acknowledge=False)
                _, (new,) = await gather(worker, 1, acknowledge=False)
                assert (old.due.tolist(), new.due.tolist()) == ([1], [1])
                assert new.generation > old.generation
                await worker.acknowledge(old)
                assert worker.state.unacknowledged == 1
            assert await acknowledged == b""

    async def test_acknowledgements_leave_in_order_and_once(self) -> None:
        acknowledged = asyncio.get_running_loop().create_future()

        async def part(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await greet(reader, writer)
            writer.write(b"".join(one(b"%d" % n, n) for n in range(1, 7)))
            acknowledged.set_result(await rest(reader))

        async with scripted(part) as url, asyncio.timeout(PATIENCE_S):
            async with subscription(url, limits=BatchLimits(max_messages=2)) as worker:
                _, (first, second, third) = await gather(worker, 6, acknowledge=False)
                for batch in (second, first, first, second):
                    await worker.acknowledge(batch)
                assert third.due.tolist() == [5, 6]
            assert await acknowledged == packets.acknowledgements(np.array([1, 2, 3, 4]))

    @pytest.mark.parametrize(
        "given", [{"window": 500}, {"window_bytes": 500 * len(one(b"00000"))}], ids=str
    )
    async def test_a_slow_consumer_stops_the_reading_and_loses_nothing(
        self, given: dict[str, int]
    ) -> None:
        total, window = 60_000, 500

        async def part(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await greet(reader, writer)
            for n in range(total):
                writer.write(one(b"%05d" % n, n % 65_535 + 1))
                if n % 1000 == 0:
                    await writer.drain()
            await rest(reader)

        async with (
            scripted(part) as url,
            asyncio.timeout(PATIENCE_S),
            subscription(url, **given) as worker,
        ):
            await until(worker, lambda state: state.paused)
            held = worker.state.unacknowledged
            for _ in range(50):
                await asyncio.sleep(0)
            assert worker.state.unacknowledged == held
            got: list[bytes] = []
            most = 0
            while len(got) < total:
                most = max(most, worker.state.unacknowledged)
                got += (await gather(worker, 1))[0]
        assert got == [b"%05d" % n for n in range(total)]
        assert most <= window + 256 * 1024 // len(one(b"00000"))

    async def test_messages_may_come_before_the_subscription_is_confirmed(self) -> None:
        async def part(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_packet(reader)
            writer.write(ACCEPTED + one(b"early"))
            await read_packet(reader)
            writer.write(one(b"late", 2) + b"\x90\x04\0\1\1\1")
            await rest(reader)

        async with scripted(part) as url, subscription(url) as worker:
            assert (await gather(worker, 2))[0] == [b"early", b"late"]

    async def test_a_refused_filter_is_named_and_asked_for_again(self) -> None:
        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await greet(reader, writer, granted=b"\1\x80")
            await reader.read()

        async def grant(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await greet(reader, writer)
            await rest(reader)

        async with scripted(refuse, grant) as url, subscription(url) as worker:
            failed = await until(worker, lambda state: state.last_error is not None)
            told = str(failed.last_error)
            assert "hl/v1/+/+/event: unspecified error" in told
            assert "telemetry" not in told
            assert await worker.subscribed(PATIENCE_S)

    @pytest.mark.parametrize(
        ("said", "reason"),
        [
            pytest.param(b"\0\0", "protocol violation", id="garbage"),
            pytest.param(b"", "no subscription within", id="silence"),
        ],
    )
    async def test_a_broken_broker_is_left_and_called_again(self, said: bytes, reason: str) -> None:
        async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(said)
            await reader.read()

        async def sound(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await greet(reader, writer)
            await rest(reader)

        async with (
            scripted(broken, sound) as url,
            subscription(url, connect_timeout_s=0.3) as worker,
        ):
            failed = await until(worker, lambda state: state.last_error is not None)
            assert reason in str(failed.last_error)
            await until(worker, lambda state: state.connected)

    async def test_with_full_hands_it_does_not_connect_again(self) -> None:
        parts = 0

        async def part(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal parts
            parts += 1
            await greet(reader, writer)
            writer.write(b"".join(one(b"%d" % n, n) for n in range(1, 21)))
            await writer.drain()
            if parts == 2:
                await rest(reader)

        async with (
            scripted(part, part) as url,
            asyncio.timeout(PATIENCE_S),
            subscription(url, window=20, keep_alive_s=1) as worker,
        ):
            _, batches = await gather(worker, 20, acknowledge=False)
            await until(worker, lambda state: not state.connected)
            assert await worker.next_batch(0.5) is None
            assert parts == 1
            for batch in batches:
                await worker.acknowledge(batch)
            assert len((await gather(worker, 20))[0]) == 20
            assert parts == 2

    async def test_a_call_can_be_cancelled_and_made_again(self) -> None:
        speak = asyncio.Event()

        async def part(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await greet(reader, writer)
            await speak.wait()
            writer.write(one(b"x"))
            await rest(reader)

        async with scripted(part) as url, subscription(url) as worker:
            waiting = asyncio.create_task(worker.next_batch(PATIENCE_S))
            assert await worker.subscribed(PATIENCE_S)
            with pytest.raises(RuntimeError, match="one task"):
                await worker.next_batch(1.0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            speak.set()
            assert (await gather(worker, 1))[0] == [b"x"]

    async def test_closing_ends_the_iteration_and_further_calls(self) -> None:
        async def part(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await greet(reader, writer)
            writer.write(one(b"1") + one(b"2", 2))
            assert await rest(reader) == packets.acknowledgements(np.array([1, 2]))

        async with scripted(part) as url, asyncio.timeout(PATIENCE_S):
            async with subscription(url) as worker:
                async for batch in worker.batches():
                    await worker.acknowledge(batch)
                    asyncio.get_running_loop().call_later(
                        0.05, lambda: closing.append(asyncio.create_task(worker.close()))
                    )
            with pytest.raises(SubscriptionClosed):
                await worker.next_batch(1.0)
            assert worker.state.unacknowledged == 0

    async def test_without_a_broker_it_waits_and_closes_at_once(self) -> None:
        async with subscription("mqtt://127.0.0.1:1") as worker:
            failed = await until(worker, lambda state: state.last_error is not None)
            assert "Connect" in str(failed.last_error)
            assert await worker.next_batch(0.01) is None
