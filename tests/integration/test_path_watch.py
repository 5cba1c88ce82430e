"""The canary through real brokers, databases and processes: found everywhere, and nowhere else."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any
from urllib.request import urlopen

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests import worlds
from tests.brokers import Broker, mosquitto, nats
from tests.integration.test_pipeline import gateway_at
from tests.receivers import HttpReceiver, http_receiver
from tests.worlds import eventually, query

QUICK = {"canary_every_s": 0.5, "canary_within_s": 3_600}
WENT_ALL_THE_WAY = "SELECT count(*) FROM canary_alarm WHERE shown_at IS NOT NULL"
AMONG_PEOPLES = """
    SELECT (SELECT count(*) FROM alarm), (SELECT count(*) FROM alarm_change),
           (SELECT count(*) FROM disposal_case), (SELECT count(*) FROM notice),
           (SELECT count(*) FROM dead_letter), (SELECT count(*) FROM limit_memory)"""
ARRIVED = "SELECT arrived_at, extract(epoch FROM arrived_at)::float8 FROM path_watch"


@pytest.fixture
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    folder = tmp_path / "broker"
    folder.mkdir()
    start = {"mosquitto": mosquitto, "nats": nats}[getattr(request, "param", "nats")]
    with start(folder) as running:
        yield running


@contextmanager
def service(
    database: str, broker: Broker, home: Path, port: int, *roles: str, **settings: object
) -> Iterator[dict[str, Popen[bytes]]]:
    """The processes of these roles by name, on one home, with what is set."""
    given = {"database_url": database, "mqtt_url": broker.url, "api_port": port} | settings
    with ExitStack() as stack:
        yield {role: stack.enter_context(worlds.process(role, home, **given)) for role in roles}


def heartbeat(port: int) -> float:
    """Of `hazardloop_heartbeat_timestamp_seconds`; 0 = not there."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    families = {one.name: one for one in text_string_to_metric_families(text)}
    samples = families["hazardloop_heartbeat_timestamp_seconds"].samples
    return max((one.value for one in samples), default=0.0)


@pytest.mark.parametrize("broker", ["mosquitto", "nats"], indirect=True)
def test_canaries_travel_the_whole_path_are_announced_and_are_nobodys_alarm(
    database: str, broker: Broker, home: Path, free_port: int
) -> None:
    worlds.register(database)
    with (
        gateway_at(broker, "listener") as listener,
        service(database, broker, home, free_port, "worker", "clerk", "api", **QUICK),
    ):
        listener.listen("hl/v1/PLATFORM/alarm")
        eventually(lambda: query(database, WENT_ALL_THE_WAY)[0][0] >= 3, "three were shown")
        ((arrived_at, first),) = eventually(
            lambda: query(database, ARRIVED + " WHERE arrived_at IS NOT NULL"), "one arrived"
        )
        assert query(database, "SELECT FROM canary_alarm WHERE raised_at = %s", [arrived_at])
        assert heartbeat(free_port) >= first
        eventually(lambda: heartbeat(free_port) > first, "the heartbeat goes on")
        assert query(database, AMONG_PEOPLES) == [(0,) * 6]
        seen = "SELECT DISTINCT alarm_id FROM live_change"
        shown = "SELECT alarm_id FROM canary_alarm"
        assert not query(database, f"{seen} EXCEPT {shown}")
        eventually(lambda: len(listener.heard) >= 4, "two were heard to come and go")
        told = [(body["change"], body["version"]) for _, body in listener.heard[:4]]
        assert told == [("raised", 1), ("cleared", 2)] * 2
        assert {body["device"] for _, body in listener.heard} == {"CANARY"}
        assert listener.heard[0][1]["recorded"] is True
    assert "Traceback" not in "".join(file.read_text() for file in home.glob("*.log"))


def test_of_several_clerks_one_watches_and_another_takes_over(
    database: str, broker: Broker, home: Path, free_port: int
) -> None:
    holder = "SELECT holder FROM path_watch WHERE held_until > clock_timestamp()"
    with ExitStack() as stack:
        stack.enter_context(service(database, broker, home, free_port, "worker", "api", **QUICK))
        clerks = {
            f":{child.pid}": child
            for child in (
                stack.enter_context(
                    worlds.process(
                        "clerk", home, home / f"clerk-{nth}.log", database_url=database,
                        mqtt_url=broker.url, **QUICK,
                    )
                )
                for nth in range(2)
            )
        }  # fmt: skip
        ((first,),) = eventually(lambda: query(database, holder), "one holds the watch")
        eventually(lambda: query(database, WENT_ALL_THE_WAY)[0][0] >= 1, "one was shown")
        clerks.pop(f":{first.rpartition(':')[2]}").kill()
        (other,) = clerks
        eventually(
            lambda: query(database, f"{holder} AND holder LIKE %s", [f"%{other}"]), "taken over"
        )
        before = query(database, ARRIVED)[0][1] or 0.0
        eventually(lambda: (query(database, ARRIVED)[0][1] or 0.0) > before, "canaries go on")
        sent = query(database, "SELECT count(*), count(DISTINCT raised_at) FROM canary_alarm")
        assert sent[0][0] == sent[0][1]


# On duty are ON-1 with two channels and ON-2 of the shift; OFF stands at no watch.
PEOPLE = """
    INSERT INTO user_account (username, display_name, role, password_hash)
    VALUES ('wang', '王', 'operator', '-'), ('li', '李', 'operator', '-');
    INSERT INTO contact (name, user_id, area, post)
    VALUES ('ON-1', NULL, '', 'duty_supervisor'),
           ('ON-2', (SELECT user_id FROM user_account WHERE username = 'wang'), '', 'assignee'),
           ('OFF', (SELECT user_id FROM user_account WHERE username = 'li'), '', 'superior');
    INSERT INTO shift (name, starts_at, ends_at, created_by, created_at)
    VALUES ('白班', now() - interval '6 h', now() + interval '6 h', 'wu', now());
    INSERT INTO roster (shift_id, post, user_id)
    SELECT shift_id, 'operator', user_id FROM shift, user_account WHERE username = 'wang';
    INSERT INTO contact_channel (contact_id, kind, position, shown, target)
    SELECT contact_id, 'webhook', nth, 'x',
           jsonb_build_object('url', current_setting('test.url') || '/' || name || '/' || nth,
                              'secret', 'shared-secret')
      FROM contact, generate_series(1, CASE name WHEN 'ON-1' THEN 2 ELSE 1 END) AS nth"""
CHANNELS = {"/ON-1/1", "/ON-1/2", "/ON-2/1"}
OUTAGE = "SELECT broken_legs, alarm_id FROM path_watch WHERE broken_since IS NOT NULL"
SHOUTS = {"canary_every_s": 0.5, "canary_within_s": 40, "notify_private": "true"}


def put_on_duty(database: str, url: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("SELECT set_config('test.url', %s, false)", [url])
        connection.execute(PEOPLE)


def told(receiver: HttpReceiver, kind: str) -> list[tuple[str, dict[str, Any]]]:
    """Where notices of this kind went, and what they said."""
    bodies = [(one.path, json.loads(one.body)) for one in receiver.posts]
    return sorted(
        ((path, body) for path, body in bodies if body["notices"][0]["kind"] == kind),
        key=lambda pair: pair[0],
    )


def test_a_dead_worker_is_shouted_of_over_every_channel_once_and_then_the_all_clear(
    database: str, broker: Broker, home: Path, free_port: int
) -> None:
    worlds.register(database)
    with (
        http_receiver() as receiver,
        gateway_at(broker, "listener") as listener,
        service(database, broker, home, free_port, "clerk", "api", **SHOUTS),
    ):
        put_on_duty(database, receiver.url)
        listener.listen("hl/v1/PLATFORM/alarm")
        with service(database, broker, home, free_port, "worker", **SHOUTS) as roles:
            eventually(lambda: query(database, ARRIVED)[0][0], "a canary arrived")
            assert not query(database, OUTAGE)
            roles["worker"].kill()
        ((legs, alarm_id),) = eventually(lambda: query(database, OUTAGE), "the outage is noted")
        assert set(legs) <= {"recorded", "heard", "shown"} != set()
        eventually(lambda: len(told(receiver, "self_watch")) >= len(CHANNELS), "all are told")
        assert [path for path, _ in told(receiver, "self_watch")] == sorted(CHANNELS)
        for _, body in told(receiver, "self_watch"):
            assert body["notices"][0]["rule"] == "platform.path_broken"
            assert body["notices"][0]["tier"] == "red"
            assert "未" in body["text"]
        path_alarms = [body for _, body in listener.heard if body["rule"] == "platform.path_broken"]
        assert [body["change"] for body in path_alarms] == ["raised"], "told without the worker"
        case = "SELECT stage FROM disposal_case WHERE alarm_id = %s"
        assert query(database, case, [alarm_id]) == [("dispatched",)]
        with service(database, broker, home, free_port, "worker", **SHOUTS):
            eventually(lambda: not query(database, OUTAGE), "it is whole again")
            eventually(
                lambda: len(told(receiver, "self_watch_over")) >= len(CHANNELS), "all are told"
            )
            cleared = "SELECT cleared_at IS NOT NULL FROM alarm WHERE alarm_id = %s"
            assert query(database, cleared, [alarm_id]) == [(True,)]
            assert [path for path, _ in told(receiver, "self_watch_over")] == sorted(CHANNELS)
            assert len(told(receiver, "self_watch")) == len(CHANNELS), "once an outage"
            assert query(database, "SELECT count(*) FROM outbox WHERE version > 2") == [(0,)]


def test_the_leg_that_is_broken_is_named(
    database: str, tmp_path: Path, home: Path, free_port: int
) -> None:
    folder = tmp_path / "broker"
    folder.mkdir()
    with mosquitto(folder) as broker, http_receiver() as receiver:
        put_on_duty(database, receiver.url)
        with service(database, broker, home, free_port, "worker", "clerk", **SHOUTS):
            with service(database, broker, home, free_port, "api", **SHOUTS):
                eventually(lambda: query(database, ARRIVED)[0][0], "a canary arrived")
            eventually(lambda: query(database, OUTAGE), "nobody would see an alarm")
            assert query(database, OUTAGE)[0][0] == ["shown"]
            eventually(lambda: told(receiver, "self_watch"), "somebody is told")
            assert "探针未上实时列表。" in told(receiver, "self_watch")[0][1]["text"]
            broker.stop()
            eventually(
                lambda: query(database, OUTAGE)[0][0] == ["sent", "recorded", "heard", "shown"],
                "that more is broken is noted",
            )
            assert len(told(receiver, "self_watch")) <= len(CHANNELS), "and told once"


@contextmanager
def watchdog(home: Path, port: int, told: str, notify: str) -> Iterator[Popen[bytes]]:
    """`hazardloop watchdog` with one channel, a webhook there; it outlives what it watches."""
    home.mkdir()
    file = home / "watchdog.yaml"
    file.write_text(f"channels: [{{kind: webhook, url: '{told}', secret: shared-secret}}]\n")
    environment = asked_from(home, port) | {
        "HAZARDLOOP_WATCHDOG_FILE": str(file),
        "HAZARDLOOP_NOTIFY_PRIVATE": "true",
        "NOTIFY_SOCKET": notify,
    }
    with (home / "watchdog.log").open("ab") as log:
        command = [sys.executable, "-m", "hazardloop", "watchdog"]
        child = Popen(command, env=environment, stdout=log, stderr=log)
    try:
        yield child
    finally:
        child.terminate()
        assert child.wait(worlds.PATIENCE_S) == 0, (home / "watchdog.log").read_text()


def asked_from(home: Path, port: int) -> dict[str, str]:
    """The environment of who asks from outside: no broker, no database."""
    return os.environ | {
        "PYTHONPATH": str(worlds.REPOSITORY / "src"),
        "HAZARDLOOP_HOME": str(home),
        "HAZARDLOOP_WATCHDOG_URL": f"http://127.0.0.1:{port}",
        "HAZARDLOOP_CANARY_EVERY_S": "0.5",
        "HAZARDLOOP_CANARY_WITHIN_S": "40",
    }


def asked_once(home: Path, port: int) -> tuple[int, str]:
    """Exit code and words of `hazardloop watchdog --once`."""
    command = [sys.executable, "-m", "hazardloop", "watchdog", "--once"]
    done = subprocess.run(command, env=asked_from(home, port), capture_output=True, text=True)
    assert done.stderr == ""
    return done.returncode, done.stdout


@contextmanager
def heard_by_systemd(address: str) -> Iterator[list[str]]:
    """What is said to a notification socket there, as systemd would hear it."""
    heard: list[str] = []

    def listen() -> None:
        while (said := listener.recv(1_000).decode()) != "END":
            heard.append(said)

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listening = threading.Thread(target=listen)
        listening.start()
        try:
            yield heard
        finally:
            listener_end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            listener_end.sendto(b"END", address)
            listener_end.close()
            listening.join()


def test_the_watchdog_shouts_by_itself_when_the_service_cannot(
    database: str, tmp_path: Path, home: Path, free_port: int
) -> None:
    folder, apart, notify = tmp_path / "broker", tmp_path / "apart", f"{tmp_path}/notify"
    folder.mkdir()
    with ExitStack() as stack:
        broker = stack.enter_context(mosquitto(folder))
        receiver = stack.enter_context(http_receiver())
        heard = stack.enter_context(heard_by_systemd(notify))
        stack.enter_context(service(database, broker, home, free_port, "worker", **QUICK))

        def news() -> list[str]:
            return [json.loads(one.body)["watchdog"] for one in receiver.at("/guard")]

        def well() -> bool:
            return asked_once(apart, free_port)[0] == 0

        def shouts_over(nth: int, role: Popen[bytes], says: str) -> None:
            role.kill()
            eventually(lambda: len(news()) > nth, "it shouts")
            code, said = asked_once(apart, free_port)
            assert code == 1
            assert says in said

        with service(database, broker, home, free_port, "api", **QUICK) as alive:
            with service(database, broker, home, free_port, "clerk", **QUICK) as roles:
                eventually(well, "canaries arrive")
                stack.enter_context(watchdog(apart, free_port, f"{receiver.url}/guard", notify))
                eventually(lambda: any("WATCHDOG=1" in said for said in heard), "it lives")
                assert heard[0] == "READY=1"
                assert news() == []
                shouts_over(0, roles["clerk"], "s ago")
            stack.enter_context(service(database, broker, home, free_port, "clerk", **QUICK))
            eventually(lambda: len(news()) > 1, "the all-clear")
            shouts_over(2, alive["api"], "does not answer")
        with service(database, broker, home, free_port, "api", **QUICK):
            eventually(lambda: len(news()) > 3, "the all-clear")
            eventually(well, "canaries arrive again")
        assert news() == ["broken", "over"] * 2
    assert "STOPPING=1" in heard
