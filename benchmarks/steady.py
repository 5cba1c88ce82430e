"""Publishes single values at a steady rate for as long as it is let: a process of its own.

Each message is made when it is due, so that memory does not grow with the hours. Now and then a
detector of its own goes beyond its limit; the time in the message is that of the wall clock, so who
hears the alarm knows how long it took. Says how far it is, a line of JSON a second; the last one
when a line came on standard input and the broker has confirmed everything.
"""

import json
import select
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from hazardloop.ingest import packets
from hazardloop.service.benches.publisher import PUBACK_BYTES, Connection

WINDOW: Final = 8_000
"""Messages that all connections together may have under way; beyond it nothing is made."""
AT_ONCE: Final = 256
SAY_EACH_S: Final = 1.0
LOUD: Final = "LOUD-"
READING: Final = b'{"ts":%d,"seq":%d,"values":{"%s.lel":%g}}'


@dataclass(frozen=True, slots=True)
class District:
    """Who speaks: each enterprise has one gateway, and its detectors speak in turn."""

    enterprises: int
    devices: int
    """Of each enterprise, that stay below their limits."""
    alarms: int
    """Detectors of the first enterprise that raise one alarm each."""

    def names(self) -> list[str]:
        """Of the enterprises."""
        return [f"E{n + 1}" for n in range(self.enterprises)]

    def quiet(self, enterprise: int) -> list[str]:
        """Codes of its quiet detectors."""
        return [f"E{enterprise + 1}-{n}" for n in range(self.devices)]

    def loud(self) -> list[str]:
        """Codes of the detectors that raise alarms."""
        return [f"{LOUD}{n}" for n in range(self.alarms)]


class Voice(Connection):
    """The gateway of one enterprise; `at` counts what it has said."""

    def __init__(self, district: District, enterprise: int, host: str, port: int) -> None:
        super().__init__(host, port, "", "", enterprise)
        self._topic = f"hl/v1/{district.names()[enterprise]}/G1/telemetry"
        self._codes = [code.encode() for code in district.quiet(enterprise)]
        self.quiet = 0
        """Quiet messages said."""
        self._waiting: list[bytes] = []
        """Packets behind `rest`: joined at once, as each by itself would copy all before it."""

    @property
    def confirmed(self) -> int:
        """How many the broker has confirmed."""
        return self.confirmed_bytes // PUBACK_BYTES

    @property
    def unsent(self) -> bool:
        """Whether anything waits for the socket."""
        return bool(self.rest or self._waiting)

    def send(self, most: int = 0) -> None:
        """Sends on, as far as the socket takes it."""
        if not self.rest:
            self.rest = b"".join(self._waiting)
            self._waiting.clear()
        super().send(most)

    def say_quiet(self, count: int, start_ms: int, step_ms: float) -> None:
        """The next quiet messages, each with a time of its own."""
        for number in range(self.quiet, self.quiet + count):
            code = self._codes[number % len(self._codes)]
            self.say(code, start_ms + int(number * step_ms), number % 200 / 10)
        self.quiet += count

    def say(self, code: bytes, at_ms: int, value: float) -> None:
        """One reading."""
        body = READING % (at_ms, self.at, code, value)
        packet_id = self.at % 65_535 + 1
        self._waiting.append(
            packets.publish(self._topic, body, qos=1, packet_id=packet_id, protocol=4)
        )
        self.at += 1


def main(asked: dict[str, Any]) -> None:
    """Speaks until a line comes on standard input, then until all is confirmed."""
    district = District(asked["enterprises"], asked["devices"], asked["alarms"])
    voices = [Voice(district, n, asked["host"], asked["port"]) for n in range(asked["enterprises"])]
    step_ms = 1000 * len(voices) / asked["rate"]
    loud, raise_each_s = iter(district.loud()), asked["raise_each_s"]
    began, start_ms = time.monotonic(), time.time_ns() // 1_000_000
    raise_at, say_at, raised, speaking = began + raise_each_s, began, 0, True
    while speaking or any(voice.under_way or voice.unsent for voice in voices):
        now = time.monotonic()
        if speaking:
            for voice in voices:
                due = int(1000 * (now - began) / step_ms) - voice.quiet
                room = WINDOW // len(voices) - voice.under_way
                voice.say_quiet(max(0, min(due, room, AT_ONCE)), start_ms, step_ms)
            if now >= raise_at and (code := next(loud, None)) is not None:
                raise_at += raise_each_s
                raised += 1
                voices[0].say(code.encode(), time.time_ns() // 1_000_000, 60)
        if now >= say_at:
            say_at += SAY_EACH_S
            _tell(voices, raised, now - began)
        speaking = _exchange(voices) and speaking
    _tell(voices, raised, time.monotonic() - began)


def _exchange(voices: Sequence[Voice]) -> bool:
    """Sends and hears what can be; False once a line has come on standard input."""
    sockets = {voice.socket: voice for voice in voices}
    readable, writable, _ = select.select(
        [*sockets, sys.stdin],
        [voice.socket for voice in voices if voice.unsent],
        [],
        0.004,
    )
    for found in writable:
        sockets[found].send()
    for found in readable:
        if found in sockets:
            sockets[found].receive()
    time.sleep(0.002)  # gathers what is due: a system call for each message would be dear
    return sys.stdin not in readable


def _tell(voices: Sequence[Voice], raised: int, for_s: float) -> None:
    told = {
        "sent": sum(voice.at for voice in voices),
        "confirmed": sum(voice.confirmed for voice in voices),
        "quiet": [voice.quiet for voice in voices],
        "raised": raised,
        "seconds": round(for_s, 1),
    }
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
