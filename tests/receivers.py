"""Servers that take messages, over HTTP and SMTP, and remember them."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Post:
    """One request that came."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class HttpReceiver:
    """What came, and what is answered: status and body by path, 200 and `{}` elsewhere."""

    port: int
    posts: list[Post] = field(default_factory=list)
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    hold: threading.Event = field(default_factory=threading.Event)
    """Cleared, requests are noted and then wait for it before they are answered."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def at(self, path: str) -> list[Post]:
        """Those to that path, without the query."""
        return [one for one in self.posts if one.path.partition("?")[0] == path]


@contextmanager
def http_receiver() -> Iterator[HttpReceiver]:
    """A server on a free port of the loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            receiver.posts.append(Post(self.path, dict(self.headers), body))
            receiver.hold.wait(60)
            status, answer = receiver.answers.get(self.path.partition("?")[0], (200, b"{}"))
            self.send_response(status)
            if status in (301, 302, 307):
                self.send_header("Location", answer.decode())
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a sender that was killed does not wait for its answer

    server = Server(("127.0.0.1", 0), Handler)
    receiver = HttpReceiver(server.server_address[1])
    receiver.hold.set()
    with _serving(server):
        yield receiver
        receiver.hold.set()


@dataclass
class SmtpReceiver:
    """Mail that came."""

    port: int
    mails: list[EmailMessage] = field(default_factory=list)


@contextmanager
def smtp_receiver() -> Iterator[SmtpReceiver]:
    """A server that speaks as much SMTP (RFC 5321) as it takes to hand in a mail."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say(b"220 receiver")
            for line in iter(self.rfile.readline, b""):
                word = line[:4].upper()
                if word == b"DATA":
                    self._say(b"354 go on")
                    self._take()
                self._say({b"EHLO": b"250 receiver", b"QUIT": b"221 bye"}.get(word, b"250 ok"))
                if word == b"QUIT":
                    return

        def _take(self) -> None:
            lines = []
            for line in iter(self.rfile.readline, b".\r\n"):
                lines.append(line.removeprefix(b"."))
            mail = message_from_bytes(b"".join(lines), policy=policy.default)
            assert isinstance(mail, EmailMessage)
            receiver.mails.append(mail)

        def _say(self, line: bytes) -> None:
            self.wfile.write(line + b"\r\n")

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        address_family = socket.AF_INET

    server = Server(("127.0.0.1", 0), Handler)
    receiver = SmtpReceiver(server.server_address[1])
    with _serving(server):
        yield receiver


@contextmanager
def _serving(server: socketserver.TCPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
