"""The fleet against a real Mosquitto: what it counts is what arrives, whatever happens between."""

import argparse
import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from hazardloop.service import simulate
from hazardloop.simulators.faults import Fault, FaultKind
from hazardloop.simulators.fleet import Fleet, FleetOptions
from hazardloop.simulators.logbook import Counts
from hazardloop.simulators.scenario_file import Scenario
from hazardloop.simulators.session import Login, broker_address
from tests.brokers import Broker, free_port, mosquitto

SMALL = Scenario(gateways=9, points=150, interval_s=0.2, first_s=0.1)
WAIT_S = 30.0


@dataclass
class Listener:
    """Everything below hl/v1, as a subscriber at QoS 1 hears it."""

    client: mqtt.Client
    heard: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    changed: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, wanted: Any) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: wanted(self.heard), WAIT_S)

    def all_of_it(self) -> dict[str, list[dict[str, Any]]]:
        """Channel to payload objects; waits until the broker has passed on all it has."""
        self.client.publish("hl/v1/the/end/telemetry", b"end", qos=1)
        self.wait_for(lambda heard: "hl/v1/the/end/telemetry" in heard)
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for topic, payloads in self.heard.items():
            if "/the/end/" not in topic:
                for payload in payloads:
                    body = json.loads(payload)
                    found[topic.rpartition("/")[2]] += body if isinstance(body, list) else [body]
        return found


@contextmanager
def listening(broker: Broker, login: Login | None = None) -> Iterator[Listener]:
    # A session that outlives the connection: a broker that restarts forgets nothing of it.
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="listener", clean_session=False)
    if login is not None:
        client.username_pw_set(login.username, login.password)
    listener = Listener(client)
    ready = threading.Event()
    client.on_connect = lambda *_: client.subscribe("hl/v1/#", qos=1)
    client.on_subscribe = lambda *_: ready.set()

    def on_message(_client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        with listener.changed:
            listener.heard[message.topic].append(message.payload)
            listener.changed.notify_all()

    client.on_message = on_message
    client.reconnect_delay_set(1, 1)
    parts = urlsplit(broker.url)
    client.connect(str(parts.hostname), parts.port or 1883)
    client.loop_start()
    assert ready.wait(WAIT_S)
    try:
        yield listener
    finally:
        client.disconnect()
        client.loop_stop()


def fleet_at(url: str, scenario: Scenario = SMALL, **options: Any) -> FleetOptions:
    return FleetOptions(scenario, broker_address(url), **options)


def readings(objects: list[dict[str, Any]]) -> int:
    return sum(len(one["values"]) for one in objects)


async def until(counts: Counts, wanted: Any) -> None:
    """Returns when `wanted(counts)`; the counts are brought up to date by the running fleet."""
    async with asyncio.timeout(WAIT_S):
        while not wanted(counts):  # noqa: ASYNC110  numbers ring no bell
            await asyncio.sleep(0.02)


async def test_a_subscriber_receives_exactly_what_was_acknowledged(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker, listening(broker) as listener:
        fleet = Fleet(fleet_at(broker.url, for_s=2.0, out=tmp_path))
        counts = await fleet.run(asyncio.Event())
        heard = listener.all_of_it()
    assert counts.messages_sent == counts.messages_acknowledged
    assert len(heard["telemetry"]) + len(heard["event"]) == counts.messages_acknowledged
    assert readings(heard["telemetry"]) == counts.readings_acknowledged > 500
    assert len(heard["event"]) == counts.events_acknowledged > 0
    assert sum(counts.reports_acknowledged.values()) == len(heard["telemetry"])
    assert json.loads((tmp_path / "counts.json").read_text())["messages_acknowledged"] == (
        counts.messages_acknowledged
    )


async def test_each_gateway_counts_its_messages_without_a_gap(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker, listening(broker) as listener:
        await Fleet(fleet_at(broker.url, for_s=1.0)).run(asyncio.Event())
        listener.all_of_it()
        telemetry = {t: p for t, p in listener.heard.items() if t.endswith("/telemetry")}
    for topic, payloads in telemetry.items():
        if "/the/end/" not in topic:
            seqs = [json.loads(payload)["seq"] for payload in payloads]
            assert seqs == list(range(1, len(seqs) + 1)), topic


async def test_gateways_say_that_they_are_there_and_that_they_go(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker, listening(broker) as listener:
        await Fleet(fleet_at(broker.url, for_s=0.5)).run(asyncio.Event())
        listener.all_of_it()
        statuses = {t: p for t, p in listener.heard.items() if t.endswith("/status")}
    assert len(statuses) == 9
    for payloads in statuses.values():
        first, *_, last = [json.loads(payload) for payload in payloads]
        assert first["online"] is True
        assert first["fw"]
        assert last["online"] is False


async def test_an_incident_shows_in_the_readings_and_is_written_down(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker, listening(broker) as listener:
        fleet = Fleet(fleet_at(broker.url, replace(SMALL, speed=10.0), for_s=3.0, out=tmp_path))
        await fleet.run(asyncio.Event())
        heard = listener.all_of_it()
    truths = [json.loads(line) for line in (tmp_path / "truth.jsonl").read_text().splitlines()]
    assert truths == fleet.truths
    leak = truths[-1]
    shown = [one["values"].get(leak["point"], 0.0) for one in heard["telemetry"]]
    assert leak["hazard"] == "gas_leak"
    assert max(shown) >= 25.0


async def test_a_refused_gateway_tries_again_until_it_is_let_in(tmp_path: Path) -> None:
    scenario = replace(SMALL, gateways=2, points=20)
    logins = {"CHEM/GW-01": Login("CHEM.GW-01", "right"), "FINE/GW-02": Login("FINE.GW-02", "new")}
    known = {"CHEM.GW-01": "right", "FINE.GW-02": "old", "listener": "l"}
    with (
        mosquitto(tmp_path, users=known) as broker,
        listening(broker, Login("listener", "l")) as listener,
    ):
        stop = asyncio.Event()
        fleet = Fleet(fleet_at(broker.url, scenario, logins=logins))
        running = asyncio.create_task(fleet.run(stop))
        try:
            await until(fleet.counts, lambda counts: "ot authorized" in counts.trouble)
            assert fleet.counts.connected == 1
            words = ("-b", str(tmp_path / "passwords"), "FINE.GW-02", "new")
            changing = await asyncio.create_subprocess_exec("mosquitto_passwd", *words)
            assert await changing.wait() == 0
            assert broker.process is not None
            broker.process.send_signal(signal.SIGHUP)
            await until(fleet.counts, lambda counts: counts.connected == 2)
        finally:
            stop.set()
            await running
        heard = listener.all_of_it()
    assert fleet.counts.dropped == 0
    assert len(heard["telemetry"]) == sum(fleet.counts.reports_acknowledged.values())
    assert set(fleet.counts.reports_acknowledged) == set(logins)


async def test_a_gateway_without_a_login_stays_away(tmp_path: Path) -> None:
    logins = {"CHEM/GW-01": Login("CHEM.GW-01", "x")}
    with mosquitto(tmp_path) as broker, listening(broker) as listener:
        await Fleet(fleet_at(broker.url, logins=logins, for_s=0.5)).run(asyncio.Event())
        listener.all_of_it()
        gateways = {topic.split("/")[3] for topic in listener.heard} - {"end"}
    assert gateways == {"GW-01"}


async def test_a_fleet_waits_for_its_broker_and_outlives_its_restart(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker, listening(broker) as listener:
        broker.stop()
        stop = asyncio.Event()
        fleet = Fleet(fleet_at(broker.url))
        running = asyncio.create_task(fleet.run(stop))
        try:
            await until(fleet.counts, lambda counts: "refused" in counts.trouble)
            assert fleet.counts.epoch is None
            broker.start()
            await until(fleet.counts, lambda counts: counts.messages_acknowledged > 50)
            broker.restart()
            before = fleet.counts.messages_acknowledged
            await until(fleet.counts, lambda counts: counts.messages_acknowledged > before + 200)
        finally:
            stop.set()
            counts = await running
        listener.all_of_it()
        heard = {
            topic.removeprefix("hl/v1/").removesuffix("/telemetry"): {
                json.loads(payload)["seq"] for payload in payloads
            }
            for topic, payloads in listener.heard.items()
            if topic.endswith("/telemetry") and "/the/end/" not in topic
        }
    assert counts.dropped == 0
    assert counts.messages_acknowledged == counts.messages_sent
    assert heard == {
        gateway: set(range(1, reports + 1))
        for gateway, reports in counts.reports_acknowledged.items()
    }


async def test_an_offline_gateway_is_missed_by_the_broker_and_comes_back(tmp_path: Path) -> None:
    away = Fault(FaultKind.OFFLINE, "CHEM/GW-01", from_s=0.5, for_s=1.0)
    with mosquitto(tmp_path) as broker, listening(broker) as listener:
        fleet = Fleet(fleet_at(broker.url, replace(SMALL, faults=(away,)), for_s=4.0))
        counts = await fleet.run(asyncio.Event())
        heard = listener.all_of_it()
        told = [json.loads(p)["online"] for p in listener.heard["hl/v1/CHEM/GW-01/status"]]
    assert told == [True, False, True, False]
    kept = [one["seq"] for one in heard["backfill"]]
    assert len(kept) >= 3
    assert kept == list(range(kept[0], kept[-1] + 1))
    assert readings(heard["telemetry"]) + readings(heard["backfill"]) == (
        counts.readings_acknowledged
    )


async def test_a_gateway_that_cannot_send_gives_up_its_oldest_messages(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker, listening(broker) as listener:
        stop = asyncio.Event()
        fleet = Fleet(fleet_at(broker.url, limit=5))
        running = asyncio.create_task(fleet.run(stop))
        try:
            await until(fleet.counts, lambda counts: counts.messages_acknowledged > 20)
            broker.freeze()
            await until(fleet.counts, lambda counts: counts.dropped > 20)
            broker.thaw()
            before = fleet.counts.messages_acknowledged
            await until(fleet.counts, lambda counts: counts.messages_acknowledged > before + 20)
        finally:
            broker.thaw()
            stop.set()
            counts = await running
        heard = listener.all_of_it()
    assert counts.messages_acknowledged == counts.messages_sent - counts.dropped
    assert len(heard["telemetry"]) == sum(counts.reports_acknowledged.values())


def test_the_command_ends_in_good_order_when_told_to(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with mosquitto(tmp_path) as broker, listening(broker) as listener:
        process = subprocess.Popen(
            [sys.executable, "-m", "hazardloop", "simulate", "--mqtt-url", broker.url,
             "--gateways", "3", "--points", "30", "--interval", "0.2", "--out", str(out)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            listener.wait_for(lambda heard: sum(len(p) for p in heard.values()) > 20)
        finally:
            process.send_signal(signal.SIGTERM)
            printed, complaints = process.communicate(timeout=WAIT_S)
        heard = listener.all_of_it()
    assert process.returncode == 0, complaints
    counts = json.loads(printed)
    assert counts == json.loads((out / "counts.json").read_text())
    assert counts["connected"] == 0
    assert len(heard["telemetry"]) + len(heard["event"]) == counts["messages_acknowledged"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param("--scenario absent.yaml", "absent.yaml cannot be read", id="no file"),
        pytest.param("--gateways 0", "--gateways: 0", id="no gateway"),
        pytest.param("--rate 0", "--rate: 0", id="no rate"),
        pytest.param("--for -1", "--for: -1", id="less than no time"),
        pytest.param("--mqtt-url http://x", "'http://x' is not mqtt://", id="no broker URL"),
        pytest.param("--score", "--score needs --for", id="score of an endless run"),
        pytest.param("--credentials absent.json", "absent.json", id="no logins"),
    ],
)
async def test_an_option_that_cannot_be_is_refused_with_the_reason(words: str, said: str) -> None:
    parser = argparse.ArgumentParser()
    simulate.add_arguments(parser)
    with pytest.raises(simulate.SimulationWrong, match=said):
        await simulate.run(simulate.options_of(parser.parse_args(words.split())))


def test_what_is_wrong_is_one_clear_line(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "hazardloop", "simulate", "--scenario", "absent.yaml"],
        capture_output=True, text=True, timeout=WAIT_S, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "absent.yaml cannot be read" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_a_run_that_nobody_lets_in_ends_when_its_time_is_over(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "hazardloop", "simulate", "--for", "0.5",
         "--mqtt-url", f"mqtt://127.0.0.1:{free_port()}"],
        capture_output=True, text=True, timeout=WAIT_S, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 0
    assert json.loads(ended.stdout)["epoch"] is None
    assert "refused" in json.loads(ended.stdout)["trouble"]
