"""Where packets begin and end in a byte stream; the hot loop of the receive path is here."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hazardloop.ingest.errors import MalformedPacket
from hazardloop.ingest.reasons import MALFORMED_PACKET, PACKET_TOO_LARGE

SMALLEST_LIMIT: Final = 1 << 14
"""Bytes. Lengths below it take one or two bytes and are not compared with the limit."""
CUT_HEAD: Final = 96 * 1024
"""Bytes kept of a packet over the limit: the longest topic, its properties, some payload."""
_PUBLISH: Final = 3


@dataclass(frozen=True, slots=True)
class Frames:
    """Whole packets that follow each other in `data` without a gap, the first one at 0.

    `ends`: (n,) where each of them ends.
    """

    data: bytes
    ends: list[int]


@dataclass(frozen=True, slots=True)
class Cut:
    """A PUBLISH over the limit that has passed: its first bytes and its size on the wire."""

    head: bytes
    size: int


class Framing:
    """Packets out of buffers cut anywhere; holds at most one packet within the limit."""

    def __init__(self, limit: int) -> None:
        """`limit`: bytes on the wire, from 16,384. ValueError below that."""
        if limit < SMALLEST_LIMIT:
            raise ValueError(f"packet limit {limit} bytes, at least {SMALLEST_LIMIT} are needed")
        self._limit = limit
        self._rest = bytearray()
        self._missing = 0  # bytes without which another look at `_rest` is in vain
        self._cut = bytearray()
        self._cut_size = 0
        self._cut_left = 0

    @property
    def held(self) -> int:
        """Bytes kept for later."""
        return len(self._rest) + len(self._cut)

    def feed(self, data: bytes) -> Iterator[Frames | Cut]:
        """What is whole now. MalformedPacket, after what came before it: no way to go on."""
        while data:
            if self._cut_left:
                data = self._pass_by(data)
                if not self._cut_left:
                    yield Cut(bytes(self._cut), self._cut_size)
                    self._cut.clear()
                continue
            if len(data) < self._missing:
                self._missing -= len(data)
                self._rest += data
                return
            if self._rest:
                self._rest += data
                data = bytes(self._rest)
                self._rest.clear()
            ends, size = walk(data, self._limit)
            at = ends[-1] if ends else 0
            if ends:
                yield Frames(data, ends)
            data = self._begin(data[at:] if at else data, size)

    def _begin(self, rest: bytes, size: int) -> bytes:
        """Keep the start of a packet of `size` bytes, 0 = unknown; gives what is left to read."""
        if size < 0:
            raise MalformedPacket("packet length over 4 bytes", MALFORMED_PACKET)
        if size > self._limit:
            if rest[0] >> 4 != _PUBLISH:
                told = f"packet of {size} bytes, at most {self._limit} are allowed"
                raise MalformedPacket(told, PACKET_TOO_LARGE)
            self._missing = 0
            self._cut_size = self._cut_left = size
            return rest
        self._missing = max(size - len(rest), 1)
        self._rest += rest
        return b""

    def _pass_by(self, data: bytes) -> bytes:
        """`data` without what belongs to the packet that is over the limit."""
        self._cut += data[: min(CUT_HEAD - len(self._cut), self._cut_left)]
        passed = min(len(data), self._cut_left)
        self._cut_left -= passed
        return data[passed:]


def walk(data: bytes, limit: int) -> tuple[list[int], int]:
    """Ends of the whole packets in `data`, and the size of the packet that follows them.

    The size is 0 where it is not known yet and -1 where it cannot be one.
    """
    ends: list[int] = []
    add = ends.append
    at, size = 0, len(data)
    try:
        while True:
            length = data[at + 1]
            if length > 127:
                more = data[at + 2]
                if more > 127:
                    length = _long_length(data, at)
                    if length < 0 or length + 2 > limit:
                        return ends, length + 2 if length > 0 else -1
                else:
                    length += (more << 7) - 127
            end = at + length + 2
            if end > size:
                return ends, end - at
            add(end)
            at = end
    except IndexError:
        return ends, 0


def _long_length(data: bytes, at: int) -> int:
    """Size of the packet less 2, of a length written in 3 or 4 bytes; -1 if in more."""
    length = data[at + 1] & 127 | (data[at + 2] & 127) << 7 | (data[at + 3] & 127) << 14
    if data[at + 3] < 128:
        return length + 2
    if data[at + 4] > 127:
        return -1
    return (length | data[at + 4] << 21) + 3
