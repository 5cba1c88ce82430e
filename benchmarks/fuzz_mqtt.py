"""Malformed MQTT against the receive core; prints one JSON object, exit 1 at the first surprise.

    python -m benchmarks.fuzz_mqtt --packets 1000000 --seed 1

Whole packets as we would write them, and what real brokers sent (`tests/captures`), are bent in one
to four places, joined, cut into reads of any size and fed to a session. Whatever comes, a session
gives events; breaks off with a reason and a reason code, and nothing after it; keeps no more than
one packet within the limit; and answers in time.
"""

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hazardloop.ingest import packets
from hazardloop.ingest.events import Event, ProtocolViolation
from hazardloop.ingest.framing import CUT_HEAD
from hazardloop.ingest.messages import Messages
from hazardloop.ingest.mqtt import Session
from hazardloop.ingest.packets import Kind
from hazardloop.ingest.properties import varint

LIMIT: Final = 1 << 14
"""Bytes of the packet limit: the least there is, so that it is often passed."""
SLOWEST_S: Final = 0.05
"""CPU seconds for all reads of one session, at most some 60 packets."""
CAPTURES: Final = Path(__file__).parents[1] / "tests" / "captures"
CONNACK: Final = {4: b"\x20\x02\x00\x00", 5: b"\x20\x03\x00\x00\x00"}
TELLING: Final = (0x00, 0x01, 0x7F, 0x80, 0xFF, 0x20, 0x30, 0x32, 0x34, 0x62, 0x90, 0xD0, 0xE0)
"""Bytes at which a parser is most likely to trip."""


class Surprise(Exception):
    """The core did what it must never do."""


@dataclass(slots=True)
class Tally:
    """What a run did and saw."""

    packets: int = 0
    bytes: int = 0
    sessions: int = 0
    violations: Counter[str] = field(default_factory=Counter)
    most_held: int = 0
    slowest_s: float = 0.0


def whole_packets(chance: random.Random, protocol: int) -> list[bytes]:
    """One of each kind of packet, as a broker or a client would write it."""
    number = chance.randint(1, 0xFFFF)
    topic = "hl/v1/E1/G1/telemetry"
    told = b"\x01\1" + b"\x26\0\1k\0\1v" + b"\x0b\x85\1" + b"\x23\0\1" + b"\x03\0\4text"
    body = b"\0\1t\0\1" + varint(len(told)) + told + b"payload"
    limits = b"\x21\0\x14" + b"\x27\0\1\0\0" + b"\x13\0\x1e" + b"\x12\0\2id" + b"\x2a\0"
    return [
        packets.publish(topic, b'{"values":{"GD-1.lel":1}}', qos=1, packet_id=number,
                        protocol=protocol),
        packets.publish(topic, b"x" * chance.randint(0, 300), protocol=protocol),
        packets.publish(topic, b"2", qos=2, packet_id=number, protocol=protocol),
        packets.publish(topic, b"x" * (LIMIT + chance.randint(-40, 40)), qos=1, packet_id=number,
                        protocol=protocol),
        b"\x32" + varint(len(body)) + body,
        CONNACK[protocol],
        b"\x20" + varint(3 + len(limits)) + b"\1\0" + varint(len(limits)) + limits,
        b"\x90\x04\0\1\1\1",
        b"\x90\x05\0\7\0\1\x87",
        b"\xd0\x00",
        b"\xe0\x01\x8e",
        *(packets.answer(kind, number) for kind in
          (Kind.PUBACK, Kind.PUBREC, Kind.PUBREL, Kind.PUBCOMP)),
        packets.connect("c", protocol=protocol, username="u", password="p"),
        packets.subscribe(number, [(topic, 1)], protocol),
    ]  # fmt: skip


def captured() -> dict[int, list[bytes]]:
    """What brokers sent to a subscriber, by protocol."""
    found: dict[int, list[bytes]] = {4: [], 5: []}
    for file in sorted(CAPTURES.glob("*.bin")):
        found[5 if file.stem.endswith("-5") else 4].append(file.read_bytes())
    if not all(found.values()):
        raise SystemExit(f"no captures of both protocols in {CAPTURES}")
    return found


Bend = Callable[[random.Random, bytearray], None]


def _flip(chance: random.Random, packet: bytearray) -> None:
    packet[chance.randrange(len(packet))] ^= 1 << chance.randrange(8)


def _put(chance: random.Random, packet: bytearray) -> None:
    packet[chance.randrange(len(packet))] = chance.choice(TELLING)


def _cut(chance: random.Random, packet: bytearray) -> None:
    del packet[chance.randrange(len(packet)) :]


def _drop(chance: random.Random, packet: bytearray) -> None:
    at = chance.randrange(len(packet))
    del packet[at : at + chance.randint(1, 4)]


def _insert(chance: random.Random, packet: bytearray) -> None:
    at = chance.randrange(len(packet) + 1)
    packet[at:at] = chance.randbytes(chance.randint(1, 6))


def _lie_about_length(chance: random.Random, packet: bytearray) -> None:
    packet[1:2] = varint(chance.choice((0, 1, 2, 127, 128, 16_383, 16_384, 2_097_152, 1 << 27)))


def _open_length(_: random.Random, packet: bytearray) -> None:
    packet[1:2] = b"\xff\xff\xff\xff"


def _head(chance: random.Random, packet: bytearray) -> None:
    packet[0] = chance.randrange(256)


BENDS: Final[tuple[Bend, ...]] = (
    _flip, _put, _cut, _drop, _insert, _lie_about_length, _open_length, _head,
)  # fmt: skip


def bent(chance: random.Random, packet: bytes) -> bytes:
    """`packet` with one to four places changed; now and then noise of its own."""
    if chance.random() < 0.03:
        return chance.randbytes(chance.randint(1, 200))
    changed = bytearray(packet)
    for _ in range(chance.randint(1, 4)):
        if changed:
            chance.choice(BENDS)(chance, changed)
    return bytes(changed)


def streams(chance: random.Random, count: int) -> Iterator[tuple[int, bytes, int]]:
    """Protocol, bytes and how many bent packets are in them, until there were `count`."""
    made = {protocol: whole_packets(chance, protocol) for protocol in (4, 5)}
    heard = captured()
    while count > 0:
        protocol = chance.choice((4, 5))
        parts: list[bytes] = []
        wrong = min(count, chance.choice((1, 1, 1, 1, 1, 2)))
        for _ in range(wrong):
            parts += [chance.choice(made[protocol][:2])] * chance.choice((0, 0, 0, 1, 30))
            if chance.random() < 0.3:
                capture = chance.choice(heard[protocol])
                at = chance.randrange(len(capture))
                parts.append(bent(chance, capture[at : at + chance.randint(1, 400)]))
            else:
                parts.append(bent(chance, chance.choice(made[protocol])))
        count -= wrong
        yield protocol, b"".join(parts), wrong


def feed(chance: random.Random, protocol: int, stream: bytes, tally: Tally) -> None:
    """One session from its greeting to the end of `stream`. Surprise: see the module's promise."""
    session = Session(protocol, packet_limit=LIMIT, topic_alias_maximum=chance.choice((0, 4)))
    if chance.random() < 0.95:
        session.receive(CONNACK[protocol])
    at, over = 0, False
    while at < len(stream):
        size = chance.choice((1, 7, 100, 5000, 1 << 18))
        events = session.receive(stream[at : at + size])
        at += size
        over = _judge(session, events, over, tally)


def timed(seed: int, protocol: int, stream: bytes, tally: Tally) -> None:
    """`feed`, in time; what is slow is tried again, since other work on the machine costs time."""
    tries = []
    while len(tries) < 5 and (not tries or min(tries) > SLOWEST_S):
        began = time.thread_time()
        feed(random.Random(seed), protocol, stream, Tally() if tries else tally)
        tries.append(time.thread_time() - began)
    tally.slowest_s = max(tally.slowest_s, min(tries))
    if min(tries) > SLOWEST_S:
        raise Surprise(f"took {min(tries):.3f} s of CPU")


def _judge(session: Session, events: list[Event], over: bool, tally: Tally) -> bool:
    """Whether the session is over now."""
    tally.most_held = max(tally.most_held, session.held)
    if session.held > max(LIMIT, CUT_HEAD) + CUT_HEAD:
        raise Surprise(f"{session.held} bytes held")
    if over and events:
        raise Surprise(f"events after the end: {events[:2]}")
    for event in events:
        if isinstance(event, ProtocolViolation):
            if event is not events[-1] or not event.reason or event.code < 0x80:
                raise Surprise(f"not a proper end: {event}")
            tally.violations[f"0x{event.code:02x}"] += 1
            return True
        if isinstance(event, Messages):
            columns = (event.topics, event.payloads, event.packet_ids.tolist(), event.flags)
            if len({len(column) for column in columns}) != 1 or not all(event.topics):
                raise Surprise("columns of unequal length, or a message without a topic")
            session.acknowledge(event.packet_ids)
    return over


def run(count: int, seed: int) -> Tally:
    """`count` bent packets from `seed`. Surprise: with the stream that did it."""
    chance, tally = random.Random(seed), Tally()
    for protocol, stream, wrong in streams(chance, count):
        try:
            timed(chance.getrandbits(32), protocol, stream, tally)
        except Exception as error:
            where = f"seed {seed}, packet {tally.packets}, protocol {protocol}"
            raise Surprise(f"{where}, {len(stream)} bytes {stream.hex():.2000}: {error}") from error
        tally.packets += wrong
        tally.bytes += len(stream)
        tally.sessions += 1
    return tally


def main() -> None:
    """Runs, prints what it was."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--packets", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=1)
    asked = options.parse_args()
    began = time.perf_counter()
    try:
        tally = run(asked.packets, asked.seed)
    except Surprise as surprise:
        sys.exit(str(surprise))
    print(
        json.dumps(
            {
                "fuzz": "mqtt",
                "seed": asked.seed,
                "packets": tally.packets,
                "megabytes": round(tally.bytes / 1e6, 1),
                "sessions": tally.sessions,
                "sessions_ended_for_a_reason": sum(tally.violations.values()),
                "by_reason_code": dict(sorted(tally.violations.items())),
                "most_bytes_held": tally.most_held,
                "slowest_session_cpu_ms": round(tally.slowest_s * 1e3, 2),
                "seconds": round(time.perf_counter() - began, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
