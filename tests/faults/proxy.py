"""A TCP proxy of our own that can be told to fail as networks do."""

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

PIECE: Final = 64 * 1024
"""Bytes read at once, and all that a direction ever holds: a slow side slows the other down."""
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Road:
    """How bytes travel now.

    frozen: connections stand and nothing passes: to either side the other is half-open.
    delay_s: each piece is that late.
    bytes_per_s: of all connections together from server to client and back; 0 = no limit.
    slice_bytes: pieces are cut this small; 0 = as they come.
    """

    frozen: bool = False
    delay_s: float = 0.0
    bytes_per_s: float = 0.0
    slice_bytes: int = 0


OPEN: Final = Road()


class Proxy:
    """Listens on `port`; passes everything to `target`, as far as the road allows.

    Runs in a thread of its own, so that a test may block.
    """

    def __init__(self, target: Path | int) -> None:
        """`target`: a Unix socket, or a TCP port of the loopback."""
        self.target = target
        self.port = 0
        self.accepted = 0
        self.passed = 0
        """Bytes, both ways."""
        self._road = OPEN
        self._closed_to_all = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._changed = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._free_at = 0.0

    def __enter__(self) -> Self:
        """Listening."""
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Gone, with all connections."""
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def be(self, road: Road) -> None:
        """From now on bytes travel like this."""
        self._call(self._be(road))

    def cut(self, *, refuse: bool = False) -> None:
        """Break all connections; with `refuse`, let nobody in until `mend`."""
        self._call(self._cut(refuse))

    def mend(self) -> None:
        """As if nothing had been; connections that stand go on."""
        self._call(self._mend())

    def _call(self, what: Coroutine[Any, Any, Answer]) -> Answer:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(30)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=PIECE)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _be(self, road: Road) -> None:
        self._road = road
        self._changed.set()
        self._changed = asyncio.Event()

    async def _cut(self, refuse: bool) -> None:
        self._closed_to_all = refuse
        for writer in list(self._writers):
            writer.transport.abort()

    async def _mend(self) -> None:
        self._closed_to_all = False
        await self._be(OPEN)

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._cut(True)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.accepted += 1
        ends = [writer]
        with suppress(OSError, asyncio.CancelledError):
            try:
                if not self._closed_to_all:
                    there, back = await self._dial()
                    ends.append(back)
                    self._writers |= {*ends}
                    await self._both_ways((reader, back), (there, writer))
            finally:
                self._writers -= {*ends}
                for end in ends:
                    end.transport.abort()
                await asyncio.gather(*(end.wait_closed() for end in ends), return_exceptions=True)

    async def _both_ways(self, *ways: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        """Until either way has ended."""
        both = [asyncio.ensure_future(self._carry(*way)) for way in ways]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in both:
                way.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.target, Path):
            return await asyncio.open_unix_connection(str(self.target), limit=PIECE)
        return await asyncio.open_connection("127.0.0.1", self.target, limit=PIECE)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(PIECE)
        while data := await reader.read(PIECE):
            while data:
                while self._road.frozen:
                    await self._changed.wait()
                road = self._road
                piece = data[: road.slice_bytes or PIECE]
                data = data[len(piece) :]
                await self._take_time(road, len(piece))
                writer.write(piece)
                self.passed += len(piece)
                await writer.drain()
        # One side has said all: let the other end the connection in its own time.
        with suppress(OSError, NotImplementedError):
            writer.write_eof()
            await asyncio.sleep(1.0)

    async def _take_time(self, road: Road, size: int) -> None:
        wait_s = road.delay_s
        if road.bytes_per_s:
            now = self._loop.time()
            self._free_at = max(self._free_at, now) + size / road.bytes_per_s
            wait_s += self._free_at - now
        if wait_s > 0:
            await asyncio.sleep(wait_s)
