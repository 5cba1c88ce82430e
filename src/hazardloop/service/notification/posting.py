"""One HTTP POST to an address that a person gave: no private network, no redirect, all bounded."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, urlsplit

import httptools

WITHIN_S: Final = 10.0
"""From the look-up of the name to the last byte that is read."""
MOST_BYTES: Final = 16_384
"""Of an answer, headers included, that are read; what counts stands in the first few."""

# Addresses that lead into IPv4 by another way: NAT64 and 6to4 could name a private one.
_DETOURS: Final = tuple(
    ipaddress.ip_network(net) for net in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16")
)


class PostFailed(Exception):
    """Nothing came back, or it was not even tried; says why, without the address."""


@dataclass(slots=True)
class Answer:
    """What came back."""

    status: int = 0
    body: bytes = b""
    """At most MOST_BYTES of it."""


@dataclass(slots=True)
class _Reading:
    """Callbacks of httptools."""

    body: bytearray = field(default_factory=bytearray)
    headed: bool = False
    complete: bool = False

    def on_headers_complete(self) -> None:
        self.headed = True

    def on_body(self, part: bytes) -> None:
        self.body += part

    def on_message_complete(self) -> None:
        self.complete = True


async def post(
    url: str, body: bytes, headers: Mapping[str, str], *, private: bool = False
) -> Answer:
    """What `url` answers to `body`; a redirect is an answer like any other and is not followed.

    The name is looked up once and that address is spoken to, so it cannot turn into another one
    between check and connection.

    Args:
        url: http or https; only https where `private` is not allowed.
        body: to be sent.
        headers: beside Host, Content-Length and Connection.
        private: whether addresses of private networks, and plain http, are allowed.

    Raises PostFailed.
    """
    try:
        async with asyncio.timeout(WITHIN_S):
            return await _posted(urlsplit(url), body, headers, private)
    except TimeoutError:
        raise PostFailed(f"no answer within {WITHIN_S:.0f} s") from None
    except (OSError, ssl.SSLError, httptools.HttpParserError) as error:
        raise PostFailed(f"{type(error).__name__}: {error}"[:200]) from error


async def _posted(
    url: SplitResult, body: bytes, headers: Mapping[str, str], private: bool
) -> Answer:
    secure = url.scheme == "https"
    if not secure and not private:
        raise PostFailed("plain http is for private networks only: use https")
    host, port = url.hostname or "", url.port or (443 if secure else 80)
    address = await _address_of(host, port, private)
    reader, writer = await asyncio.open_connection(
        address,
        port,
        limit=MOST_BYTES,
        ssl=_tls() if secure else None,
        server_hostname=host if secure else None,
    )
    try:
        writer.write(_request(url, host, body, headers))
        await writer.drain()
        return await _answer(reader)
    finally:
        writer.transport.abort()


def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


async def _address_of(host: str, port: int, private: bool) -> str:
    """An address of `host`. PostFailed: it has none, or one that is not of the public internet."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise PostFailed("the name of the host is not known") from error
    addresses = [str(entry[4][0]) for entry in found]
    if not private and not all(is_public(address) for address in addresses):
        raise PostFailed(
            "the host lies in a private network: set HAZARDLOOP_NOTIFY_PRIVATE=true to allow that"
        )
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether `address` is one of the public internet, for one receiver."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if any(ip in net for net in _DETOURS):
            return False
    return ip.is_global and not ip.is_multicast


def _request(url: SplitResult, host: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    path = url.path or "/"
    target = f"{path}?{url.query}" if url.query else path
    at = f"[{host}]" if ":" in host else host
    lines = [
        f"POST {target} HTTP/1.1",
        f"Host: {at}:{url.port}" if url.port else f"Host: {at}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    for line in lines:
        if not line.isprintable():
            raise PostFailed("the address or a header holds a character that HTTP does not allow")
    return "\r\n".join((*lines, "", "")).encode("utf-8") + body


async def _answer(reader: asyncio.StreamReader) -> Answer:
    reading = _Reading()
    parser = httptools.HttpResponseParser(reading)
    read = 0
    while not reading.complete and read < MOST_BYTES:
        part = await reader.read(MOST_BYTES - read)
        if not part:
            break
        read += len(part)
        parser.feed_data(part)
    if not reading.headed:
        raise PostFailed("the connection ended without an answer")
    return Answer(parser.get_status_code(), bytes(reading.body))
