"""When the socket is read, and when it is left alone; the network is a transport that notes it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from hazardloop.ingest import packets
from hazardloop.ingest.connection import READ_BYTES, REST_S, Connection
from hazardloop.ingest.messages import Messages, Oversized
from hazardloop.ingest.mqtt import Session

PONG = b"\xd0\x00"


class FakeTransport(asyncio.Transport):
    """Notes whether it is being read, and what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.reads, self.closing, self.written = True, False, b""

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def is_closing(self) -> bool:
        return self.closing

    def can_write_eof(self) -> bool:
        return False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closing = True

    abort = close


class Stage:
    """A connection, its transport and its clock; time passes when it is told to."""

    def __init__(self, sink: Callable[[Messages | Oversized], None] = lambda _: None) -> None:
        self.now = 1000.0
        asyncio.get_running_loop().time = lambda: self.now  # type: ignore[method-assign]
        self.transport = FakeTransport()
        self.connection = Connection(Session(), lambda: 0, sink, keep_alive_s=8.0)

    def connect(self) -> None:
        self.connection.connection_made(self.transport)
        self.come(b"\x20\x02\x00\x00")

    def come(self, data: bytes) -> None:
        assert self.transport.reads
        self.connection.get_buffer(-1)[: len(data)] = data
        self.connection.buffer_updated(len(data))

    async def pass_s(self, seconds: float) -> None:
        self.now += seconds
        for _ in range(3):
            await asyncio.sleep(0)


async def test_reads_rest_while_they_follow_each_other_and_go_on_by_themselves() -> None:
    stage = Stage()
    stage.connect()
    assert stage.transport.reads
    await stage.pass_s(REST_S)
    stage.come(PONG)
    assert not stage.transport.reads
    await stage.pass_s(REST_S)
    assert stage.transport.reads
    await stage.pass_s(3 * REST_S)
    stage.come(PONG)
    assert stage.transport.reads


async def test_a_full_read_is_followed_by_the_next_without_a_rest() -> None:
    stage = Stage()
    stage.connect()
    stage.come(PONG * (READ_BYTES // 2))
    assert stage.transport.reads


@pytest.mark.parametrize("told", ["in the rest", "after it"])
async def test_whoever_stops_listening_in_a_rest_is_heard_and_reading_goes_on_when_told(
    told: str,
) -> None:
    stage = Stage()
    stage.connect()
    stage.come(PONG)
    stage.connection.listen(False)
    if told == "in the rest":
        stage.connection.listen(True)
        assert not stage.transport.reads
        await stage.pass_s(REST_S)
    else:
        await stage.pass_s(REST_S)
        assert not stage.transport.reads
        stage.connection.listen(True)
    assert stage.transport.reads


async def test_who_leaves_in_a_rest_or_unheard_still_sees_the_end() -> None:
    stage = Stage()
    stage.connect()
    stage.come(PONG)
    stage.connection.listen(False)
    stage.connection.leave()
    await stage.pass_s(REST_S)
    assert stage.transport.reads
    assert stage.transport.written == packets.disconnect(stage.connection.session.protocol)


async def test_a_rest_does_not_outlive_its_connection() -> None:
    stage = Stage()
    stage.connect()
    stage.come(PONG)
    stage.transport.close()
    stage.connection.connection_lost(None)
    await stage.pass_s(REST_S)
    assert not stage.transport.reads
    assert await stage.connection.lost == "closed by the broker"


async def test_nothing_is_asked_before_connect_however_long_the_way_was() -> None:
    stage = Stage()
    await stage.pass_s(7.9)
    stage.connection.connection_made(stage.transport)
    assert stage.transport.written == b""
