"""The MQTT session of one gateway: connects, keeps what cannot be sent yet, and tries again.

All sessions share the event loop that they are made in: paho reads and writes its socket there, and
only the dialling, which blocks, happens in a few threads.
"""

import asyncio
import random
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from hazardloop.devices.wire import ROOT, encode_status, reject_topic
from hazardloop.simulators.reporting import Message

KEEPALIVE_S: Final = 60
FIRST_WAIT_S: Final = 0.2
LONGEST_WAIT_S: Final = 5.0
ANSWER_S: Final = 10.0
"""How long a broker may take to answer CONNECT."""
HANG_UP_S: Final = 0.5
"""How long a broker may take to close after DISCONNECT."""
FIRMWARE: Final = "1.2.0"
IN_FLIGHT: Final = 100
"""Messages sent and not yet acknowledged, per gateway."""


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where the broker listens."""

    host: str
    port: int
    tls: bool


def broker_address(url: str) -> BrokerAddress:
    """The parts of `mqtt://host[:port]` or `mqtts://host[:port]`. ValueError for anything else."""
    parts = urlsplit(url)
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise ValueError(f"{url!r} is not mqtt://host[:port] or mqtts://host[:port]")
    tls = parts.scheme == "mqtts"
    return BrokerAddress(parts.hostname, parts.port or (8883 if tls else 1883), tls)


@dataclass(frozen=True, slots=True)
class Login:
    """User name and password of a gateway."""

    username: str
    password: str


@dataclass(frozen=True, slots=True)
class Ears:
    """Whom a session tells of messages acknowledged, given up, and refused by the service."""

    acknowledged: Callable[[Message], None]
    dropped: Callable[[], None]
    rejected: Callable[[], None]


class Session:
    """One gateway's connection; at most `limit` messages wait in it for their acknowledgement."""

    def __init__(
        self,
        enterprise: str,
        gateway: str,
        login: Login | None,
        address: BrokerAddress,
        ears: Ears,
        dialler: Executor,
        limit: int,
    ) -> None:
        self.connected = False
        self.trouble = ""
        """Why it is not connected, as far as known."""
        self._ears = ears
        self._dialler = dialler
        self._limit = limit
        self._topic = f"{ROOT}/{enterprise}/{gateway}"
        self._rejects = reject_topic(enterprise, gateway)
        self._loop = asyncio.get_running_loop()
        self._wanted = True
        self._changed = asyncio.Event()
        self._wakes = asyncio.Event()
        self._waiting: deque[Message] = deque()
        self._sent: dict[int, Message | None] = {}
        self._client = self._make_client(login, address)

    def _make_client(self, login: Login | None, address: BrokerAddress) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._topic.removeprefix(f"{ROOT}/").replace("/", ":"),
            protocol=mqtt.MQTTv311,
            reconnect_on_failure=False,
        )
        if login is not None:
            client.username_pw_set(login.username, login.password)
        if address.tls:
            client.tls_set()
        client.will_set(f"{self._topic}/status", encode_status(False), qos=1, retain=True)
        client.max_inflight_messages_set(IN_FLIGHT)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_socket_open = self._on_socket_open
        client.on_socket_close = self._on_socket_close
        client.on_socket_register_write = self._on_register_write
        client.on_socket_unregister_write = self._on_unregister_write
        client.connect_async(address.host, address.port, KEEPALIVE_S)
        return client

    async def run(self) -> None:
        """Stay connected while wanted, dialling again after growing waits; until cancelled."""
        wait_s = FIRST_WAIT_S
        while True:
            await self._until(self._wakes, lambda: self._wanted, None)
            if await self._dial():
                wait_s = FIRST_WAIT_S
                await self._until(self._changed, lambda: not self.connected, None)
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311
            wait_s = min(wait_s * 2.0, LONGEST_WAIT_S)

    async def _dial(self) -> bool:
        """Whether the broker let this gateway in."""
        self._changed.clear()
        try:
            await self._loop.run_in_executor(self._dialler, self._client.reconnect)
        except (OSError, ValueError) as error:
            self.trouble = str(error) or type(error).__name__
            return False
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._changed.wait()
        except TimeoutError:
            self.trouble = f"no answer to CONNECT within {ANSWER_S:g} s"
            self._hang_up()
        return self.connected

    @staticmethod
    async def _until(
        event: asyncio.Event, holds: Callable[[], bool], limit_s: float | None
    ) -> bool:
        """Wait until `holds()`, looked at each time `event` is set; False after `limit_s`."""
        try:
            async with asyncio.timeout(limit_s):
                while not holds():
                    event.clear()
                    await event.wait()
        except TimeoutError:
            return False
        return True

    def send(self, message: Message) -> None:
        """Publish on the gateway's own topic at QoS 1, now or when connected.

        When `limit` messages wait already, the oldest of them that is not under way is given up.
        """
        if self.pending() >= self._limit:
            self._ears.dropped()
            if not self._waiting:
                return  # what has been sent cannot be taken back, so it is this one that goes
            self._waiting.popleft()
        self._waiting.append(message)
        self._flush()

    def pending(self) -> int:
        """Messages that the broker has not acknowledged."""
        return len(self._waiting) + len(self._sent)

    def tick(self) -> None:
        """Keep the connection alive; to be called about once a second."""
        self._client.loop_misc()

    def sever(self) -> None:
        """Lose the link without a word, so that the broker speaks the last will; see `mend`."""
        self._wanted = False
        self._hang_up()

    def mend(self) -> None:
        """Let the link come back after `sever`."""
        self._wanted = True
        self._wakes.set()

    async def close(self, within_s: float) -> None:
        """Say goodbye: wait up to `within_s` for acknowledgements, status offline, disconnect."""
        self._wanted = False
        if self.connected:
            self._status(False)
            await self._until(self._changed, lambda: not self.pending(), within_s)
        self._client.disconnect()
        if not await self._until(self._changed, lambda: not self.connected, HANG_UP_S):
            self._hang_up()

    def _status(self, online: bool) -> None:
        ts_ms = time.time_ns() // 1_000_000
        payload = encode_status(online, ts_ms, FIRMWARE)
        found = self._client.publish(f"{self._topic}/status", payload, qos=1, retain=True)
        self._sent[found.mid] = None

    def _flush(self) -> None:
        while self.connected and self._waiting and len(self._sent) < IN_FLIGHT:
            message = self._waiting.popleft()
            topic = f"{self._topic}/{message.channel}"
            found = self._client.publish(topic, message.payload, qos=1)
            self._sent[found.mid] = message

    def _hang_up(self) -> None:
        sock = self._client.socket()
        if isinstance(sock, socket.socket):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def _on_connect(
        self, client: mqtt.Client, _data: Any, _flags: Any, code: ReasonCode, _more: Any
    ) -> None:
        self.connected = not code.is_failure
        self.trouble = str(code) if code.is_failure else ""
        self._changed.set()
        if self.connected and not self._wanted:
            client.disconnect()
        elif self.connected:
            client.subscribe(self._rejects, qos=0)
            self._status(True)
            # Not yet: paho first sends again what was never acknowledged, so order is kept.
            self._loop.call_soon(self._flush)

    def _on_disconnect(self, *_: Any) -> None:
        self.connected = False
        self._changed.set()

    def _on_publish(self, _client: mqtt.Client, _data: Any, mid: int, *_: Any) -> None:
        message = self._sent.pop(mid, None)
        if message is not None:
            self._ears.acknowledged(message)
        self._flush()
        self._changed.set()

    def _on_message(self, *_: Any) -> None:
        self._ears.rejected()

    def _on_socket_open(self, client: mqtt.Client, _data: Any, sock: Any) -> None:
        self._loop.call_soon_threadsafe(self._watch, client, sock)

    def _watch(self, client: mqtt.Client, sock: Any) -> None:
        if sock.fileno() >= 0:
            self._loop.add_reader(sock, self._read, client)

    def _read(self, client: mqtt.Client) -> None:
        client.loop_read()
        sock = client.socket()
        while isinstance(sock, ssl.SSLSocket) and sock.pending():
            # Decrypted bytes that wait in here make no descriptor readable.
            client.loop_read()
            sock = client.socket()

    def _on_socket_close(self, _client: mqtt.Client, _data: Any, sock: Any) -> None:
        fd = sock.fileno()
        if fd >= 0:
            self._loop.remove_reader(fd)
            self._loop.remove_writer(fd)

    def _on_register_write(self, client: mqtt.Client, _data: Any, sock: Any) -> None:
        self._loop.call_soon_threadsafe(self._watch_write, client, sock)

    def _watch_write(self, client: mqtt.Client, sock: Any) -> None:
        if sock.fileno() >= 0 and client.want_write():
            self._loop.add_writer(sock, client.loop_write)

    def _on_unregister_write(self, _client: mqtt.Client, _data: Any, sock: Any) -> None:
        fd = sock.fileno()
        if fd >= 0:
            self._loop.call_soon_threadsafe(self._loop.remove_writer, fd)
