"""A gateway of each dialect with a real broker, a worker that is a process, and the api."""

import asyncio
import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import psycopg
import pytest

from hazardloop.devices.dialects.sparkplug_payload import decode_payload
from tests import worlds
from tests.brokers import Broker, mosquitto, nats
from tests.integration.api.world import World
from tests.integration.test_pipeline import at_work, now_ms
from tests.unit.devices.dialects.edge_node import BOOLEAN, EdgeNode, metric
from tests.worlds import eventually, query

LEVEL = """
    SELECT value FROM reading JOIN point p USING (point_id) JOIN device d USING (device_id)
     WHERE d.code = 'TK-1' AND p.quantity = 'level' AND value = %s"""


@pytest.fixture(params=["mosquitto", "nats"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    folder = tmp_path / "broker"
    folder.mkdir()
    start = mosquitto if request.param == "mosquitto" else nats
    more: dict[str, Any] = {} if start is mosquitto else {"max_ack_pending": 10_900, "sync": "1s"}
    with start(folder, **more) as running:
        yield running


class Edge:
    """A Sparkplug edge node with a stock MQTT client; it is born again when it is asked to."""

    def __init__(self, broker: Broker, device: str = "TK-1") -> None:
        self.node = EdgeNode(clock=now_ms)
        self.device = device
        self.level = 0.0
        self.asked = 0
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="edge")
        topic, will = self.node.death()
        self._client.will_set(topic.decode(), will, qos=1)
        self._client.on_message = self._hear
        subscribed: list[int] = []
        self._client.on_subscribe = lambda *_: subscribed.append(1)
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        self._client.subscribe("spBv1.0/E1/NCMD/G1/#", 1)
        eventually(lambda: subscribed, "the edge node hears commands")

    def be_born(self) -> None:
        """NBIRTH and DBIRTH; level has the alias 7."""
        self._say(self.node.birth())
        at_ms = now_ms()
        level = metric("level", self.level, alias=7, ts=at_ms)
        self._say(
            self.node.device_birth(self.device, level, metric("fault", False, BOOLEAN, ts=at_ms))
        )

    def measure(self, level: float) -> None:
        """DDATA by alias."""
        self.level = level
        told = metric(alias=7, value=level, typed=False, ts=now_ms())
        self._say(self.node.data(told, device=self.device))

    def lose_device(self) -> None:
        """DDEATH."""
        self._say(self.node.device_death(self.device))

    def break_off(self) -> None:
        """The connection ends without a word: the broker tells the will."""
        self._client.loop_stop()
        socket = self._client.socket()
        assert socket is not None
        socket.close()

    def close(self) -> None:
        self._client.loop_stop()
        self._client.disconnect()

    def _hear(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        (asked,) = decode_payload(message.payload).metrics
        assert (asked.name, asked.boolean_value) == (b"Node Control/Rebirth", True)
        self.asked += 1
        self.be_born()

    def _say(self, message: tuple[bytes, bytes]) -> None:
        self._client.publish(message[0].decode(), message[1], qos=0)


@contextmanager
def edge_at(broker: Broker) -> Iterator[Edge]:
    edge = Edge(broker)
    try:
        yield edge
    finally:
        edge.close()


def speaks_sparkplug(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE gateway SET dialect = 'sparkplug' WHERE code = 'G1'")


def online(database: str) -> bool:
    return query(database, "SELECT online FROM gateway WHERE code = 'G1'") == [(True,)]


def test_a_worker_that_comes_back_asks_for_a_rebirth_and_goes_on(
    database: str, broker: Broker, home: Path
) -> None:
    worlds.register(database)
    speaks_sparkplug(database)
    with edge_at(broker) as edge:
        with at_work(database, broker, home, settle_s=0) as worker:
            edge.be_born()
            edge.measure(1.25)
            eventually(lambda: query(database, LEVEL, [1.25]), "data by alias is stored")
            assert online(database)
            assert edge.asked == 0
            worker.send_signal(signal.SIGKILL)
            worker.wait()
        with at_work(database, broker, home, settle_s=0):
            edge.measure(2.25)
            eventually(lambda: edge.asked, "a rebirth is asked for")
            # The birth brings the value that could not be told.
            eventually(lambda: query(database, LEVEL, [2.25]), "the birth's value is stored")
            edge.measure(3.25)
            eventually(lambda: query(database, LEVEL, [3.25]), "data goes on")
            assert edge.asked == 1
            edge.break_off()
            eventually(lambda: not online(database), "the will says that it is offline")
    letters = query(
        database,
        "SELECT reason, topic, gateway_id IS NOT NULL FROM dead_letter WHERE reason = 'no_birth'",
    )
    assert letters == [("no_birth", "spBv1.0/E1/DDATA/G1/TK-1", True)]


def test_a_device_that_is_gone_is_an_alarm(database: str, broker: Broker, home: Path) -> None:
    worlds.register(database)
    speaks_sparkplug(database)
    with at_work(database, broker, home), edge_at(broker) as edge:
        edge.device = "GD-1"
        edge.be_born()
        edge.lose_device()
        alarm = (
            "SELECT d.code || '.' || p.quantity, tier_now FROM alarm a"
            " JOIN point p USING (point_id) JOIN device d ON d.device_id = p.device_id"
            " WHERE d.code = 'GD-1'"
        )
        eventually(lambda: query(database, alarm) == [("GD-1.in_service", 1)], "it is out")


AT = "at_ms"
SPOKEN: dict[str, tuple[dict[str, Any], Callable[[float, int], Any]]] = {
    "thingsboard": (
        {"devices": {"Tank 5": "TK-1"}},
        lambda level, at: {"Tank 5": [{"ts": at, "values": {"level": level}}]},
    ),
    "senml": (
        {},
        lambda level, at: [
            {"bn": "TK-1:", "bt": at / 1000, "n": "level", "u": "mm", "v": level * 1000}
        ],
    ),
    "mapping": (
        {"ts": AT, "readings": [{"path": "l", "point": "TK-1.level", "unit": "cm"}]},
        lambda level, at: {AT: at, "l": level * 100},
    ),
    "hazardloop": ({}, lambda level, at: {"ts": at, "values": {"TK-1.level": level}}),
}


async def test_a_dialect_changed_over_the_api_takes_effect_on_a_running_worker(
    api: World, database: str, broker: Broker, home: Path
) -> None:
    admin = await api.client("admin")
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="gateway")
    client.connect("127.0.0.1", broker.port)
    client.loop_start()

    def heard(say: Callable[[float, int], Any], level: float) -> bool:
        body = json.dumps(say(level, now_ms()))
        client.publish("hl/v1/E1/GW-1/telemetry", body, qos=1).wait_for_publish(30)
        return bool(query(database, LEVEL, [level]))

    def run() -> None:
        with at_work(database, broker, home):
            for level, (dialect, (profile, say)) in enumerate(SPOKEN.items(), 1):
                body = {"dialect": dialect, "profile": profile}
                done = asyncio.run_coroutine_threadsafe(
                    admin.patch("/gateways/E1:GW-1", json=body), loop
                ).result(30)
                assert done.status_code == 200, done.text
                changed = time.monotonic()
                eventually(lambda s=say, v=level: heard(s, v + 0.25), f"{dialect} is understood")
                print(f"{broker.kind} {dialect}: {time.monotonic() - changed:.2f} s")

    loop = asyncio.get_running_loop()
    try:
        await asyncio.to_thread(run)
    finally:
        client.disconnect()
        client.loop_stop()
