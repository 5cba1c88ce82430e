"""How many PUBLISH packets per CPU second the MQTT core reads; prints one JSON object.

Nothing but reading: no socket, no decoding of payloads. Buffers are 256 KiB, cut anywhere, as
one read of a socket gives them.
"""

import argparse
import json
import platform
import sys
import time

from hazardloop.ingest import packets
from hazardloop.ingest.batching import BatchLimits, Gathering
from hazardloop.ingest.messages import Messages
from hazardloop.ingest.mqtt import Session
from hazardloop.ingest.packets import MQTT_5

BUFFER_BYTES = 256 * 1024
CONNACK = {4: b"\x20\x02\x00\x00", 5: b"\x20\x03\x00\x00\x00"}


def stream(messages: int, values: int, protocol: int) -> bytes:
    """QoS 1 messages of 50 gateways, as the contract writes them."""
    out = []
    for n in range(messages):
        points = ", ".join(f'"GD-{n % 50}{k:02}.lel": {n % 997 / 10}' for k in range(values))
        payload = f'{{"ts": {1795300000000 + n}, "seq": {n}, "values": {{{points}}}}}'.encode()
        topic = f"hl/v1/ENT-{n % 50}/GW-{n % 50 * 7}/telemetry"
        packet_id = n % 65535 + 1
        out.append(packets.publish(topic, payload, qos=1, packet_id=packet_id, protocol=protocol))
    return b"".join(out)


def read(buffers: list[bytes], protocol: int) -> tuple[int, float, float]:
    """Messages read, seconds and CPU seconds, to batches and acknowledgements."""
    session = Session(protocol)
    session.receive(CONNACK[protocol])
    gathering = Gathering(BatchLimits())
    count = 0
    began, cpu = time.perf_counter(), time.process_time()
    for data in buffers:
        for event in session.receive(data):
            assert isinstance(event, Messages), event
            gathering.add(event, 1, 0.0)
        if gathering.count >= 5000:
            batch = gathering.take()
            count += len(batch)
            session.acknowledge(batch.due)
    while gathering.count:
        batch = gathering.take()
        count += len(batch)
        session.acknowledge(batch.due)
    return count, time.perf_counter() - began, time.process_time() - cpu


def parse(buffers: list[bytes], protocol: int) -> tuple[int, float, float]:
    """Messages read, seconds and CPU seconds, to columns only."""
    session = Session(protocol)
    session.receive(CONNACK[protocol])
    count = 0
    began, cpu = time.perf_counter(), time.process_time()
    for data in buffers:
        for event in session.receive(data):
            assert isinstance(event, Messages), event
            count += len(event)
    return count, time.perf_counter() - began, time.process_time() - cpu


def main() -> None:
    """Best of `--rounds`, since other work on the machine only ever makes it slower."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--messages", type=int, default=200_000)
    options.add_argument("--values", type=int, default=1)
    options.add_argument("--protocol", type=int, choices=(4, MQTT_5), default=4)
    options.add_argument("--rounds", type=int, default=5)
    asked = options.parse_args()
    data = stream(asked.messages, asked.values, asked.protocol)
    buffers = [data[at : at + BUFFER_BYTES] for at in range(0, len(data), BUFFER_BYTES)]
    parsed = min((parse(buffers, asked.protocol) for _ in range(asked.rounds)), key=lambda r: r[2])
    whole = min((read(buffers, asked.protocol) for _ in range(asked.rounds)), key=lambda r: r[2])
    if parsed[0] != asked.messages or whole[0] != asked.messages:
        sys.exit(f"{parsed[0]} and {whole[0]} of {asked.messages} messages read")
    result = {
        "bench": "mqtt",
        "protocol": asked.protocol,
        "messages": asked.messages,
        "values": asked.values,
        "bytes_per_message": round(len(data) / asked.messages, 1),
        "seconds": round(parsed[1], 4),
        "cpu_seconds": round(parsed[2], 4),
        "messages_per_cpu_second": round(asked.messages / parsed[2]),
        "with_batches_and_acknowledgements_per_cpu_second": round(asked.messages / whole[2]),
        "machine": f"{platform.machine()} Python {platform.python_version()}",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
