"""Publishes a load as fast as the broker takes it, or at a rate: a process of its own.

Packets are made before the clock starts. Each connection speaks for some of the gateways, so the
order of a gateway's messages is kept; a bounded number is under way unconfirmed.
"""

import json
import select
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from hazardloop.ingest import packets
from hazardloop.service.benches.load import GATEWAYS, Load

WINDOW: Final = 8_000
"""Messages that all connections together may have under way."""
PUBACK_BYTES: Final = 4
CHUNK: Final = 256


class Connection:
    """One MQTT 3.1.1 session that only publishes."""

    def __init__(self, host: str, port: int, username: str, password: str, number: int) -> None:
        self.socket = socket.create_connection((host, port))
        self.socket.sendall(
            packets.connect(
                f"bench-{number}",
                username=username,
                password=password,
                clean_start=True,
                keep_alive_s=600,
                protocol=4,
            )
        )
        if self.socket.recv(4) != b"\x20\x02\x00\x00":
            raise SystemExit("the broker refused the publisher")
        self.socket.setblocking(False)
        self.packets: list[bytes] = []
        self.at = 0
        self.confirmed_bytes = 0
        self.rest = b""

    @property
    def under_way(self) -> int:
        return self.at - self.confirmed_bytes // PUBACK_BYTES

    @property
    def finished(self) -> bool:
        return self.confirmed_bytes == PUBACK_BYTES * len(self.packets)

    def send(self, most: int) -> None:
        """Sends on, as far as the socket takes it and at most so many packets."""
        if not self.rest:
            until = min(len(self.packets), self.at + most)
            self.rest = b"".join(self.packets[self.at : until])
            self.at = until
        with suppress(BlockingIOError):
            self.rest = self.rest[self.socket.send(self.rest) :]

    def receive(self) -> None:
        """Counts confirmations."""
        found = self.socket.recv(1 << 18)
        if not found:
            raise SystemExit("the broker closed the publisher's connection")
        self.confirmed_bytes += len(found)


def publish(connections: Sequence[Connection], rate: float) -> tuple[float, float]:
    """When the first packet was sent and the last one confirmed, in seconds of the Unix epoch.

    `rate` is messages per second over all connections; 0 = as fast as the broker takes them.
    """
    total = sum(len(connection.packets) for connection in connections)
    began, first = time.monotonic(), time.time()
    window = WINDOW // len(connections)
    while not all(connection.finished for connection in connections):
        share = (time.monotonic() - began) * rate / total if rate else float("inf")
        ready = {}
        for connection in connections:
            allowed = share * len(connection.packets)
            room = int(min(CHUNK, window - connection.under_way, allowed - connection.at))
            if connection.rest or (room > 0 and connection.at < len(connection.packets)):
                ready[connection.socket.fileno()] = (connection, room)
        readable, writable, _ = select.select(
            [connection.socket for connection in connections],
            [connection.socket for connection, _ in ready.values()],
            [],
            0.001 if rate else 1.0,
        )
        by_socket = {connection.socket: connection for connection in connections}
        for found in readable:
            by_socket[found].receive()
        for found in writable:
            connection, room = ready[found.fileno()]
            connection.send(room)
    return first, time.time()


def main(asked: dict[str, Any]) -> None:
    """Waits for a line on standard input when it is ready, then publishes; JSON on the output."""
    load = Load(asked["messages"], asked["values"], asked["points"])
    connections = [
        Connection(asked["host"], asked["port"], asked["username"], asked["password"], number)
        for number in range(asked["connections"])
    ]
    for number, (topic, payload) in enumerate(load.all_messages(asked["start_ms"])):
        own = connections[number % GATEWAYS % len(connections)]
        packet_id = len(own.packets) % 65_535 + 1
        own.packets.append(packets.publish(topic, payload, qos=1, packet_id=packet_id, protocol=4))
    print("ready", flush=True)
    sys.stdin.readline()
    first, last = publish(connections, asked["rate"])
    print(json.dumps({"first": first, "confirmed": last}), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
