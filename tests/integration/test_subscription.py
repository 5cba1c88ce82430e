"""The subscription against real brokers, and against a scripted one where the moment matters."""

import asyncio
import os
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path

import numpy as np
import paho.mqtt.client as paho
import pytest
import uvloop

from hazardloop.ingest import packets
from hazardloop.ingest.batching import Batch, BatchLimits
from hazardloop.ingest.errors import SubscriptionClosed
from hazardloop.ingest.options import SubscriptionOptions, SubscriptionState
from hazardloop.ingest.packets import Kind
from hazardloop.ingest.subscription import Subscription
from tests.brokers import Broker, mosquitto, nats

PATIENCE_S = 20.0
ACCEPTED = b"\x20\x02\x00\x00"
BROKERS = {"mosquitto": mosquitto, "nats": nats}


def options(url: str, **given: object) -> SubscriptionOptions:
    standing: dict[str, object] = {
        "url": url,
        "client_id": "worker",
        "filters": ("hl/v1/+/+/telemetry", "hl/v1/+/+/event"),
    }
    return SubscriptionOptions(**(standing | given))  # type: ignore[arg-type]


def subscription(url: str, **given: object) -> Subscription:
    return Subscription(options(url, **given), chance=lambda: 0.3)


async def publish(
    broker: Broker, payloads: Sequence[bytes], topic: str = "hl/v1/E/G/telemetry"
) -> None:
    """Give them to the broker with QoS 1; returns when it has taken all of them."""

    def carry() -> None:
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=f"gw{os.urandom(4).hex()}")
        client.max_inflight_messages_set(500)
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        try:
            for sent in [client.publish(topic, payload, qos=1) for payload in payloads]:
                sent.wait_for_publish(PATIENCE_S)
                assert sent.is_published()
        finally:
            client.disconnect()
            client.loop_stop()

    await asyncio.to_thread(carry)


async def gather(
    subscribed: Subscription, count: int, acknowledge: bool = True
) -> tuple[list[bytes], list[Batch]]:
    """Payloads of batches until there are `count`, and the batches."""
    payloads: list[bytes] = []
    batches: list[Batch] = []
    while len(payloads) < count:
        batch = await subscribed.next_batch(PATIENCE_S)
        assert batch is not None, f"{len(payloads)} of {count} came; {subscribed.state}"
        payloads += batch.payloads
        batches.append(batch)
        if acknowledge:
            await subscribed.acknowledge(batch)
    return payloads, batches


async def until(
    subscribed: Subscription, wanted: Callable[[SubscriptionState], bool]
) -> SubscriptionState:
    """The state, once it is as wanted."""
    async with asyncio.timeout(PATIENCE_S):
        while not wanted(subscribed.state):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return subscribed.state


@pytest.fixture(params=["mosquitto", "nats"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    start: Callable[..., AbstractContextManager[Broker]] = BROKERS[request.param]
    with start(tmp_path) as running:
        yield running


@pytest.fixture
def mosquitto_broker(tmp_path: Path) -> Iterator[Broker]:
    with mosquitto(tmp_path) as running:
        yield running


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


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, certificates for localhost and for a worker, and a stranger's authority."""
    home = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=home, check=True, capture_output=True)

    for authority in ("ca", "stranger"):
        openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *(
                "-subj",
                f"/CN={authority}",
                "-keyout",
                f"{authority}.key",
                "-out",
                f"{authority}.pem",
            ),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )
    for name in ("localhost", "worker"):
        (home / f"{name}.ext").write_text(f"subjectAltName=DNS:{name}\n")
        openssl(
            *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"),
            *("-keyout", f"{name}.key", "-out", f"{name}.csr"),
        )
        openssl(
            *("x509", "-req", "-days", "2", "-in", f"{name}.csr", "-extfile", f"{name}.ext"),
            *("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", f"{name}.pem"),
        )
    for key in home.glob("*.key"):
        key.chmod(0o644)
    return home


class TestTls:
    """mqtts:// trusts the given authority only, and can show a certificate of its own."""

    def server(self, home: Path) -> tuple[Path, Path, Path]:
        return home / "ca.pem", home / "localhost.pem", home / "localhost.key"

    async def test_messages_come_over_tls(self, certificates: Path, tmp_path: Path) -> None:
        with mosquitto(tmp_path, tls=self.server(certificates)) as broker:
            ca_file = certificates / "ca.pem"
            async with (
                subscription(broker.url, ca_file=ca_file) as worker,
                subscription(broker.url, ca_file=ca_file, client_id="other") as other,
            ):
                assert await worker.subscribed(PATIENCE_S)
                assert await other.subscribed(PATIENCE_S)
                assert other._connection is not None
                topic, payload = "hl/v1/E/G/event", b"x" * 400_000
                other._connection.send(packets.publish(topic, payload, qos=1, packet_id=1))
                assert (await gather(worker, 1))[0] == [payload]

    async def test_an_unknown_authority_is_refused_with_the_reason(
        self, certificates: Path, tmp_path: Path
    ) -> None:
        with mosquitto(tmp_path, tls=self.server(certificates)) as broker:
            for trusted in (certificates / "stranger.pem", None):
                async with subscription(broker.url, ca_file=trusted) as worker:
                    failed = await until(worker, lambda state: state.last_error is not None)
            assert "certificate verify failed" in str(failed.last_error)
            assert not failed.connected

    async def test_a_certificate_for_another_host_is_refused(
        self, certificates: Path, tmp_path: Path
    ) -> None:
        tls = (certificates / "ca.pem", certificates / "worker.pem", certificates / "worker.key")
        with mosquitto(tmp_path, tls=tls) as broker:
            async with subscription(broker.url, ca_file=certificates / "ca.pem") as worker:
                failed = await until(worker, lambda state: state.last_error is not None)
        assert "ostname mismatch" in str(failed.last_error)

    async def test_a_client_certificate_is_shown(self, certificates: Path, tmp_path: Path) -> None:
        tls = self.server(certificates)
        shown = {"cert_file": certificates / "worker.pem", "key_file": certificates / "worker.key"}
        with mosquitto(tmp_path, tls=tls, require_client_certificate=True) as broker:
            async with subscription(broker.url, ca_file=certificates / "ca.pem") as worker:
                failed = await until(worker, lambda state: state.last_error is not None)
                assert failed.connections == 0
            ca_file = certificates / "ca.pem"
            async with subscription(broker.url, ca_file=ca_file, **shown) as worker:
                assert await worker.subscribed(PATIENCE_S)


class TestRefusals:
    """A broker that says no is named with its reason, and asked again."""

    @pytest.mark.parametrize("start", [mosquitto, nats])
    async def test_a_wrong_password_is_visible_and_the_right_one_works(
        self, start: Callable[..., AbstractContextManager[Broker]], tmp_path: Path
    ) -> None:
        with start(tmp_path, users={"worker": "right"}) as broker:
            wrong = subscription(broker.url, username="worker", password="wrong")
            async with wrong as worker:
                failed = await until(worker, lambda state: state.generation >= 2)
            assert "refused the login: not authorized" in str(failed.last_error)
            with_url = broker.url.replace("://", "://worker:right@")
            async with subscription(with_url) as worker:
                assert await worker.subscribed(PATIENCE_S)

    async def test_a_broker_of_3_1_1_refuses_mqtt_5_with_that_reason(self, tmp_path: Path) -> None:
        with nats(tmp_path) as broker:
            async with subscription(broker.url, protocol=5) as worker:
                failed = await until(worker, lambda state: state.last_error is not None)
        assert "unacceptable protocol version" in str(failed.last_error)


async def speak(broker: Broker, *said: tuple[str, bytes, int, bool], protocol: int = 4) -> None:
    """Publish (topic, payload, QoS, retain) one after the other, each taken by the broker."""

    def carry() -> None:
        client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTProtocolVersion(protocol)
        )
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        try:
            for topic, payload, qos, retain in said:
                client.publish(topic, payload, qos, retain).wait_for_publish(PATIENCE_S)
        finally:
            client.disconnect()
            client.loop_stop()

    await asyncio.to_thread(carry)


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
        assert payloads == [payload for _, payload, _, _ in said]
        assert {int(qos) for batch in batches for qos in batch.qos} == {0, 1, 2}


Part = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def read_packet(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(2)
    assert head[1] < 128
    return head + await reader.readexactly(head[1])


async def greet(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, granted: bytes = b"\1\1"
) -> None:
    assert (await read_packet(reader))[0] >> 4 == Kind.CONNECT
    writer.write(ACCEPTED)
    assert (await read_packet(reader))[0] >> 4 == Kind.SUBSCRIBE
    writer.write(bytes([0x90, 2 + len(granted), 0, 1]) + granted)


@asynccontextmanager
async def scripted(*parts: Part) -> AsyncIterator[str]:
    """A broker that plays one part per connection, and none after the last."""
    waiting = list(parts)
    failures: list[BaseException] = []

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if waiting:
                await waiting.pop(0)(reader, writer)
        except (AssertionError, asyncio.IncompleteReadError) as failure:
            failures.append(failure)
        finally:
            writer.close()

    server = await asyncio.start_server(play, "127.0.0.1", 0)
    async with server:
        yield f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    assert not failures, failures


async def rest(reader: asyncio.StreamReader) -> bytes:
    """What the client still sends until it says goodbye, the goodbye left out."""
    sent = await reader.read()
    assert sent.endswith(packets.disconnect())
    return sent[:-2]


def one(payload: bytes, packet_id: int = 1) -> bytes:
    return packets.publish("hl/v1/E/G/telemetry", payload, qos=1, packet_id=packet_id)


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


closing: list[asyncio.Task[None]] = []
