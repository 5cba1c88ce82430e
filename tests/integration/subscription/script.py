"""A broker that plays a part, for moments that real ones do not show on demand."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from hazardloop.ingest import packets
from hazardloop.ingest.packets import Kind

ACCEPTED = b"\x20\x02\x00\x00"
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
